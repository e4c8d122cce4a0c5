//! The kernel log during a run: [`KernelLog`]. A warning or an oops of the kernel under test outweighs any verdict.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files;
use crate::recording::{Trouble, trouble_in};

/// The kernel returns one record per read, and never truncates it (`EINVAL`). This is more than the longest record
/// (`PRINTK_MESSAGE_MAX`, kernel/printk/internal.h: 2048).
const LONGEST_RECORD: usize = 8192;

/// `/dev/kmsg`, from the moment of opening on. The whole machine has one log: its lines may have nothing to do with our
/// namespaces.
#[derive(Debug)]
pub struct KernelLog {
    file: File,
}

/// The lines since the last look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogDrain {
    /// The lines, in order.
    pub lines: Vec<LogLine>,
    /// Lines were overwritten before they were read.
    pub overrun: bool,
}

/// A line of the kernel log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogLine {
    /// From 0, emergency, to 7, debug (syslog(2)).
    pub level: u8,
    /// 0 is the kernel; everything else is a program that wrote to the log.
    pub facility: u32,
    /// Microseconds since boot.
    pub since_boot_us: u64,
    /// The message, without the key-value pairs that may follow it.
    pub text: String,
}

/// Why there is no kernel log.
#[derive(Debug, Error)]
pub enum KernelLogError {
    /// It can't be opened, which is usual without root.
    #[error("can't open /dev/kmsg: {0}; without CAP_SYSLOG it needs kernel.dmesg_restrict=0")]
    Open(Errno),
    /// It can't be read.
    #[error("can't read /dev/kmsg: {0}")]
    Read(Errno),
}

impl KernelLog {
    /// Opens the log at its present end.
    pub fn open() -> Result<Self, KernelLogError> {
        Self::open_at(SeekFrom::End(0))
    }

    /// Opens the log at the oldest line that the kernel still has.
    pub fn from_start() -> Result<Self, KernelLogError> {
        Self::open_at(SeekFrom::Start(0))
    }

    fn open_at(position: SeekFrom) -> Result<Self, KernelLogError> {
        let errno = |error: io::Error| KernelLogError::Open(Errno::from_raw(error.raw_os_error().unwrap_or_default()));
        let mut file = files::kernel::open_with("/dev/kmsg", libc::O_NONBLOCK).map_err(errno)?;
        file.seek(position).map_err(errno)?;
        Ok(Self { file })
    }

    /// All lines since the last call. Never waits.
    pub fn drain(&mut self) -> Result<LogDrain, KernelLogError> {
        let mut drained = LogDrain::default();
        let mut record = [0; LONGEST_RECORD];
        loop {
            let errno = match self.file.read(&mut record) {
                Ok(0) => return Ok(drained),
                Ok(length) => {
                    drained.lines.extend(record.get(..length).and_then(LogLine::parse));
                    continue;
                }
                Err(error) => Errno::from_raw(error.raw_os_error().unwrap_or_default()),
            };
            match errno {
                Errno::EAGAIN => return Ok(drained),
                Errno::EINTR => {}
                // The next record was overwritten; the next read continues with the oldest one.
                Errno::EPIPE => drained.overrun = true,
                errno => return Err(KernelLogError::Read(errno)),
            }
        }
    }
}

impl LogLine {
    /// Parses a record of `/dev/kmsg`: `6,339,5140900,-;message`, then lines that begin with a blank
    /// (Documentation/ABI/testing/dev-kmsg).
    fn parse(record: &[u8]) -> Option<Self> {
        let record = String::from_utf8_lossy(record);
        let (prefix, rest) = record.split_once(';')?;
        let mut fields = prefix.split(',');
        let priority: u32 = fields.next()?.parse().ok()?;
        let since_boot_us = fields.nth(1)?.parse().ok()?;
        let text = rest.lines().next().unwrap_or_default().to_owned();
        Some(Self { level: (priority & 7) as u8, facility: priority >> 3, since_boot_us, text })
    }

    /// Whether the kernel reports a problem of its own in this line.
    pub fn trouble(&self) -> Option<Trouble> {
        if self.facility == 0 { trouble_in(&self.text) } else { None }
    }
}

/// As dmesg(1) shows it: `[   77.000123] eth1: link becomes ready`.
impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:5}.{:06}] {}", self.since_boot_us / 1_000_000, self.since_boot_us % 1_000_000, self.text)
    }
}

/// It becomes readable when there is something to [drain](KernelLog::drain).
impl AsFd for KernelLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_a_record() {
        let line = LogLine::parse(b"4,339,5140900,-;NET: Registered; protocol\n SUBSYSTEM=net\n DEVICE=n1\n").unwrap();
        assert_eq!((line.level, line.facility, line.since_boot_us), (4, 0, 5_140_900));
        assert_eq!(line.text, "NET: Registered; protocol");
        assert_eq!(LogLine::parse(b"30,1,2,-;x").unwrap().facility, 3);
        assert_eq!(LogLine::parse(b"no record"), None);
    }

    #[test]
    fn a_program_that_writes_to_the_log_is_not_the_kernel() {
        let line = LogLine::parse(b"12,1,2,-;WARNING: disk almost full").unwrap();
        assert_eq!((line.facility, line.trouble()), (1, None));
        assert_eq!(LogLine::parse(b"4,1,2,-;WARNING: x").unwrap().trouble(), Some(Trouble::Warning));
    }

    #[test]
    fn reads_this_kernels_log_or_says_why_not() {
        match KernelLog::open_at(SeekFrom::Start(0)) {
            // Each record there is has to be understood: the parser drops what it doesn't know.
            Ok(mut log) => assert!(!log.drain().unwrap().lines.is_empty()),
            Err(error) => assert!(error.to_string().contains("CAP_SYSLOG"), "{error}"),
        }
    }

    proptest! {
        #[test]
        fn arbitrary_records_do_not_panic(record in prop::collection::vec(any::<u8>(), 0..80), text in ".*") {
            LogLine::parse(&record);
            trouble_in(&text);
        }
    }
}
