//! The time of a path: [`Clock`].

use std::time::Instant;

use crate::nanos;

/// What a frame waited for at most until it was read. A time stamp that is older was made before the clock was set.
const OLDEST: u64 = 1_000_000_000;

/// Nanoseconds that never jump (`CLOCK_MONOTONIC`), and how they are told from those of the kernel's time stamps
/// (`CLOCK_REALTIME`), which do: delays are right whoever sets or slews the clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    /// On the path's clock.
    pub(super) path: u64,
    /// In nanoseconds since the epoch.
    real: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// On the path's clock.
    pub(super) fn now(&self) -> u64 {
        // Not from 0 on: a frame may have come before the start.
        nanos::of(self.0.elapsed()).saturating_add(OLDEST)
    }

    pub(super) fn both(&self) -> Now {
        let real = nanos::now();
        Now { path: self.now(), real }
    }
}

impl Now {
    /// When a frame came, on the path's clock, by the kernel's time stamp, if that can be; else now.
    pub(super) fn arrival(&self, stamp: u64) -> u64 {
        let age = self.real.checked_sub(stamp).filter(|age| *age <= OLDEST).unwrap_or(0);
        self.path.saturating_sub(age)
    }

    /// A time on the path's clock, in nanoseconds since the epoch.
    pub(super) fn real(&self, at: u64) -> u64 {
        self.real.saturating_add(at).saturating_sub(self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_stamp_is_told_on_the_clock_of_the_path() {
        let now = Now { path: 5_000_000_000, real: 1_000_000_000_000 };
        assert_eq!(now.arrival(now.real - 70_000), now.path - 70_000);
        assert_eq!(now.arrival(now.real + 1), now.path, "from the future");
        assert_eq!(now.arrival(now.real - OLDEST - 1), now.path, "from before the clock was set");
        assert_eq!(now.real(now.path - 70_000), now.real - 70_000);
        assert_eq!(now.real(now.path), now.real);
    }

    #[test]
    fn it_goes_on() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(clock.now() >= first && clock.both().path >= first);
    }
}
