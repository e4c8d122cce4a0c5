//! Watching a processor: a thread that sleeps, and notes when it or a kernel worker was scheduled late ([`start`]).

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use super::{Processor, stay_on, workers};
use crate::nanos;

/// How long watches sleep. A stall is seen from the first missed wake-up on, so up to this much of it stays unseen.
pub const PERIOD: Duration = Duration::from_millis(10);

/// Shorter delays are not noted: no relevant kernel timer is that short, and a busy machine has many.
pub const NOTED: Duration = Duration::from_millis(10);

/// Maximum number to remember: some seconds of continuous stalls.
const REMEMBERED: usize = 1024;

/// A period in which a thread should have run, but did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// Its beginning, in nanoseconds since the epoch.
    pub from: u64,
    /// Its length, in nanoseconds.
    pub lasted: u64,
}

impl Late {
    /// Until now.
    pub fn until_now(lasted: Duration) -> Self {
        let lasted = nanos::of(lasted);
        Self { from: nanos::now().saturating_sub(lasted), lasted }
    }
}

/// The last delays of a watch.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<VecDeque<Late>>);

impl Log {
    fn add(&self, late: Late) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() >= REMEMBERED {
            log.pop_front();
        }
        log.push_back(late);
    }

    /// Those that lasted until that time or longer.
    pub(super) fn since(&self, begin: u64) -> Vec<Late> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|late| late.from.saturating_add(late.lasted) >= begin).copied().collect()
    }
}

/// Watches a processor until it is over.
pub(super) fn start(processor: Arc<Processor>) -> io::Result<()> {
    let name = format!("watch {}", processor.number);
    thread::Builder::new().name(name).stack_size(64 * 1024).spawn(move || watch(&processor)).map(drop)
}

fn watch(processor: &Processor) {
    if stay_on(processor.number).is_err() {
        return;
    }
    let mut followed = false;
    while !processor.over.load(Ordering::Acquire) {
        let due = Instant::now() + PERIOD;
        // Nobody unparks it: this measures how late it ends.
        thread::park_timeout(PERIOD);
        // The clock of the kernel's timers: it stands still while the whole machine is suspended, as they do.
        let late = Instant::now().saturating_duration_since(due);
        if late >= NOTED {
            processor.log.add(Late::until_now(late));
        }
        // Only where a run is: on a machine with many processors it would be thousands of reads a second.
        let has_runs = processor.runs() > 0;
        if has_runs {
            for worker in workers::of(processor.number) {
                let waited = worker.waited();
                // What it waited before is not one wait.
                if followed && waited >= NOTED {
                    processor.workers_log.add(Late::until_now(waited));
                }
            }
        }
        followed = has_runs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_tells_what_was_not_over() {
        let log = Log::default();
        for from in 0..2 * REMEMBERED as u64 {
            log.add(Late { from: from * 100, lasted: 50 });
        }
        assert_eq!(log.since(0).len(), REMEMBERED);
        let last = (2 * REMEMBERED as u64 - 1) * 100;
        assert_eq!(log.since(last), [Late { from: last, lasted: 50 }]);
        assert_eq!(log.since(last + 50).len(), 1);
        assert_eq!(log.since(last + 51), []);
    }
}
