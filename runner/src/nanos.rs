//! Times as recordings have them: nanoseconds in 64 bits, which is enough for 584 years.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A duration in nanoseconds.
pub(crate) fn of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds since the epoch. The kernel's time stamps of packets are of the same clock (`CLOCK_REALTIME`).
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, of)
}
