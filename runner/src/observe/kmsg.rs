//! The kernel's log while a run lasts: [`KernelLog`]. A warning or an oops of the kernel under test is worth more than
//! any verdict.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files;

/// The kernel gives one record with each read, and refuses (`EINVAL`) to cut it. This is more than it ever has
/// (`PRINTK_MESSAGE_MAX`, kernel/printk/internal.h: 2048).
const LONGEST_RECORD: usize = 8192;

/// `/dev/kmsg`, from the moment of opening on. The log is one for the whole machine: what it says need not come from
/// our namespaces.
#[derive(Debug)]
pub struct KernelLog {
    file: File,
}

/// What came since the last look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogDrain {
    /// The lines, in order.
    pub lines: Vec<LogLine>,
    /// Lines were overwritten before we could read them.
    pub overrun: bool,
}

/// A line of the kernel's log.
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

/// What a line of the kernel's log can be the first of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// `WARNING:`, lockdep's warnings among them, and those of UBSAN, of reference counts, and of kmemleak.
    Warning,
    /// `BUG:`, those of KASAN and `BUG_ON` among them.
    Bug,
    /// A fault in kernel mode, or a panic.
    Oops,
    /// A CPU or a work queue doesn't get on.
    Lockup,
    /// RCU doesn't get on.
    RcuStall,
    /// A general protection fault.
    GeneralProtection,
    /// A task hangs.
    HungTask,
    /// A network device can't be freed, because something still refers to it.
    DeviceLeak,
}

/// Why there is no kernel log.
#[derive(Debug, Error)]
pub enum KernelLogError {
    /// It can't be opened, which is usual without root.
    #[error("cannot open /dev/kmsg: {0}; without CAP_SYSLOG it needs kernel.dmesg_restrict=0")]
    Open(Errno),
    /// It can't be read.
    #[error("cannot read /dev/kmsg: {0}")]
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

    /// All lines that came since the last call. Never waits.
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
                // Our place was overwritten; the next read goes on with the oldest record there is.
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

    /// Whether the kernel says here that it has a problem of its own.
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

/// The particular comes before the general: a lockup calls itself a BUG, too.
const SIGNS: &[(&str, Trouble)] = &[
    ("soft lockup", Trouble::Lockup),
    ("hard LOCKUP", Trouble::Lockup),
    ("workqueue lockup", Trouble::Lockup),
    ("detected stall on CPU", Trouble::RcuStall),
    ("detected stalls on CPU", Trouble::RcuStall),
    ("detected expedited stalls on CPU", Trouble::RcuStall),
    ("blocked for more than", Trouble::HungTask),
    ("unregister_netdevice: waiting for", Trouble::DeviceLeak),
    ("general protection fault", Trouble::GeneralProtection),
    ("Unable to handle kernel", Trouble::Oops),
    ("BUG: unable to handle", Trouble::Oops),
    ("BUG: kernel NULL pointer dereference", Trouble::Oops),
    ("Internal error: Oops", Trouble::Oops),
    ("Oops:", Trouble::Oops),
    ("Kernel panic", Trouble::Oops),
    ("kernel BUG at", Trouble::Bug),
    ("BUG:", Trouble::Bug),
    ("WARNING:", Trouble::Warning),
    ("UBSAN:", Trouble::Warning),
    ("refcount_t:", Trouble::Warning),
    ("kmemleak:", Trouble::Warning),
];

/// Whether this text, as a line of the kernel's own, says that the kernel has a problem.
pub fn trouble_in(text: &str) -> Option<Trouble> {
    SIGNS.iter().find(|(sign, _)| contains_word(text, sign)).map(|(_, trouble)| *trouble)
}

/// Whether `sign` occurs, and not as the tail of another word: `DEBUG:` isn't `BUG:`.
fn contains_word(text: &str, sign: &str) -> bool {
    text.match_indices(sign).any(|(at, _)| !text[..at].ends_with(|before: char| before.is_alphanumeric()))
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
    fn knows_trouble_when_it_sees_it() {
        for (text, trouble) in [
            ("WARNING: CPU: 1 PID: 77 at net/mptcp/protocol.c:2800 mptcp_close+0x1/0x2", Trouble::Warning),
            ("WARNING: possible circular locking dependency detected", Trouble::Warning),
            ("BUG: KASAN: slab-use-after-free in mptcp_pm_nl_work+0x1/0x2", Trouble::Bug),
            ("kernel BUG at net/core/skbuff.c:100!", Trouble::Bug),
            ("BUG: kernel NULL pointer dereference, address: 0000000000000010", Trouble::Oops),
            ("Oops: 0000 [#1] PREEMPT SMP", Trouble::Oops),
            ("Internal error: Oops - BUG: 0 [#1] SMP", Trouble::Oops),
            ("Kernel panic - not syncing: Fatal exception", Trouble::Oops),
            ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [kworker/0:1:10]", Trouble::Lockup),
            ("BUG: workqueue lockup - pool cpus=1 node=0 flags=0x0 nice=0 stuck for 30s!", Trouble::Lockup),
            ("rcu: INFO: rcu_preempt self-detected stall on CPU", Trouble::RcuStall),
            ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", Trouble::RcuStall),
            ("Oops: general protection fault, probably for non-canonical address", Trouble::GeneralProtection),
            ("INFO: task ip:77 blocked for more than 120 seconds.", Trouble::HungTask),
            ("unregister_netdevice: waiting for lo to become free. Usage count = 2", Trouble::DeviceLeak),
        ] {
            assert_eq!(trouble_in(text), Some(trouble), "{text}");
        }
        for text in ["DEBUG: nothing", "veth0: entered promiscuous mode", "pci 0000:00:01.0: BUG in name only"] {
            assert_eq!(trouble_in(text), None, "{text}");
        }
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
