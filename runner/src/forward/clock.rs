//! The time of a path: [`Clock`].

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a frame waited for at most until it was read. A time stamp that is older was made before the clock was set.
const OLDEST: u64 = 1_000_000_000;

/// Nanoseconds since the epoch that never jump: those of `CLOCK_REALTIME` at the start, then those of `CLOCK_MONOTONIC`.
/// So they can be compared with the time stamps of packets, and delays are right whoever sets the clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    epoch: u64,
    start: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos);
        Self { epoch, start: Instant::now() }
    }

    pub(super) fn now(&self) -> u64 {
        self.epoch.saturating_add(nanos(self.start.elapsed()))
    }

    /// When a frame came, by the kernel's time stamp, if that can be; else now.
    pub(super) fn arrival(now: u64, stamp: u64) -> u64 {
        if now.checked_sub(stamp).is_some_and(|age| age <= OLDEST) { stamp } else { now }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_stamp_that_cannot_be_is_not_believed() {
        let now = 10_000_000_000;
        assert_eq!(Clock::arrival(now, now - 70_000), now - 70_000);
        assert_eq!(Clock::arrival(now, now + 1), now, "from the future");
        assert_eq!(Clock::arrival(now, now - OLDEST - 1), now, "from before the clock was set");
    }

    #[test]
    fn it_goes_on() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
