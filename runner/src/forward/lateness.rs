//! How late the thread of a path comes: [`Lateness`].

use std::time::Duration;

use crate::processors::{NOTED, Waited};

/// The longest that something has waited for the thread, since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    longest: u64,
    /// Made by the thread itself, whose time it tells.
    waited: Option<Waited>,
    /// When the kernel was asked last, on the path's clock.
    asked: u64,
}

impl Lateness {
    /// Something came, or was due, at that time, and is treated now.
    pub(super) fn add(&mut self, now: u64, at: u64) {
        self.longest = self.longest.max(now.saturating_sub(at));
    }

    /// How late the thread came, and how long of it it waited for a processor, where that is known; `None` if it wasn't
    /// late. The kernel is asked now and then, so that it tells about this time and not about an earlier one.
    pub(super) fn take(&mut self, now: u64) -> Option<(Duration, Option<Duration>)> {
        let late = Duration::from_nanos(std::mem::take(&mut self.longest));
        if late < NOTED && Duration::from_nanos(now.saturating_sub(self.asked)) < NOTED {
            return None;
        }
        self.asked = now;
        let waited = self.waited.get_or_insert_with(Waited::of_this_thread).since_last();
        (late >= NOTED).then_some((late, waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waited_longest_counts_and_only_once() {
        let mut lateness = Lateness::default();
        let now = 1_000_000_000;
        lateness.add(now, now - 5_000_000);
        assert_eq!(lateness.take(now), None);
        lateness.add(now, now + 3_000_000);
        lateness.add(now, now - 25_000_000);
        lateness.add(now, now - 12_000_000);
        let (late, waited) = lateness.take(now).unwrap();
        assert_eq!(late, Duration::from_millis(25));
        assert!(waited.is_none_or(|waited| waited < Duration::from_secs(10)));
        assert_eq!(lateness.take(now), None);
    }
}
