//! How long a thread has waited for a processor: [`Waited`].

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

/// The time that the calling thread was runnable but did not run (`sched_info.run_delay`, shown as the second number of
/// `/proc/thread-self/schedstat`; `proc_pid_schedstat`, fs/proc/base.c).
///
/// Waiting for a lock, for an answer or for a stopped process is not included.
#[derive(Debug)]
pub struct Waited {
    file: Option<File>,
    last: Option<u64>,
}

impl Waited {
    /// For the calling thread, from now on. A kernel without CONFIG_SCHED_INFO doesn't report it.
    #[expect(clippy::disallowed_methods, reason = "it is read again and again, a line at a time")]
    pub fn of_this_thread() -> Self {
        let mut waited = Self { file: File::open("/proc/thread-self/schedstat").ok(), last: None };
        waited.last = waited.read();
        waited
    }

    /// The time since the last call; `None` if the kernel doesn't report it.
    pub fn since_last(&mut self) -> Option<Duration> {
        let now = self.read()?;
        let before = self.last.replace(now)?;
        Some(Duration::from_nanos(now.saturating_sub(before)))
    }

    fn read(&self) -> Option<u64> {
        let mut buffer = [0; 64];
        let length = self.file.as_ref()?.read_at(&mut buffer, 0).ok()?;
        run_delay(std::str::from_utf8(buffer.get(..length)?).ok()?)
    }
}

/// Time running, time waiting, and number of runs. A thread that reads this has run: zeros mean that the kernel doesn't
/// count.
pub(super) fn run_delay(text: &str) -> Option<u64> {
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let (ran, waited) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (ran > 0).then_some(waited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_number_counts_where_the_kernel_counts() {
        assert_eq!(run_delay("2187654 13579 12\n"), Some(13579));
        assert_eq!(run_delay("0 0 0\n"), None);
        assert_eq!(run_delay(""), None);
    }

    #[test]
    fn it_counts_from_the_last_call_on() {
        let mut waited = Waited::of_this_thread();
        if let Some(first) = waited.since_last() {
            assert!(first < Duration::from_secs(60), "{first:?}");
        }
    }
}
