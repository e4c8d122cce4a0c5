//! The processors that runs share: which one a run gets ([`Processors::seat`]), and how late threads are scheduled
//! there.
//!
//! Each run has one processor, on which all of its threads stay. Frames that a thread sends over a veth go into the
//! backlog of its processor (`netif_rx`, net/core/dev.c), and each processor empties its backlog independently: a
//! thread that moves to another processor would overtake its own frames.
//!
//! A thread that only sleeps watches each processor ([`watch`]): if it wakes up late, other threads there were late,
//! too, while the kernel's timers went on. It also notes how long the kernel's workers waited there.

mod timeout;
mod waited;
mod watch;
mod workers;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

pub use timeout::in_parts;
pub use waited::Waited;
use watch::Log;
pub use watch::{Late, NOTED, PERIOD};

/// The processors that this process may use.
#[derive(Debug)]
pub struct Processors(Vec<Arc<Processor>>);

#[derive(Debug)]
struct Processor {
    number: usize,
    /// The number of runs on it.
    runs: Mutex<usize>,
    log: Log,
    workers_log: Log,
    over: AtomicBool,
}

/// A run's place on a processor. It is released when dropped.
#[derive(Debug)]
pub struct Seat(Arc<Processor>);

impl Processors {
    /// All processors that the calling thread may use, each watched from now on. If they can't be identified, or a
    /// thread can't be started, there are fewer or none: then the kernel places the runs.
    pub fn watched() -> Self {
        let processors = allowed().into_iter().map(|number| Processor {
            number,
            runs: Mutex::new(0),
            log: Log::default(),
            workers_log: Log::default(),
            over: AtomicBool::new(false),
        });
        Self(processors.map(Arc::new).filter(|processor| watch::start(Arc::clone(processor)).is_ok()).collect())
    }

    /// A place on the processor with the fewest runs, for the calling thread and all threads that it starts; `None` if
    /// there is none, or the kernel refuses.
    pub fn seat(&self) -> Option<Seat> {
        let processor = self.0.iter().min_by_key(|processor| processor.runs())?;
        stay_on(processor.number).ok()?;
        *processor.runs.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Some(Seat(Arc::clone(processor)))
    }
}

impl Processor {
    fn runs(&self) -> usize {
        *self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Processors {
    fn drop(&mut self) {
        self.0.iter().for_each(|processor| processor.over.store(true, Ordering::Release));
    }
}

impl Seat {
    /// The number of the processor.
    pub fn processor(&self) -> usize {
        self.0.number
    }

    /// When threads were late here, from that time on (nanoseconds since the epoch), oldest first.
    pub fn late_since(&self, begin: u64) -> Vec<Late> {
        self.0.log.since(begin)
    }

    /// When workers of the kernel waited for the processor, likewise.
    pub fn workers_late_since(&self, begin: u64) -> Vec<Late> {
        self.0.workers_log.since(begin)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut runs = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner);
        *runs = runs.saturating_sub(1);
    }
}

/// The processors that the calling thread may run on.
fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count()).filter(|number| set.is_set(*number).unwrap_or(false)).collect()
}

/// The only processor that the calling thread may run on, if there is just one.
pub fn only_one() -> Option<usize> {
    match allowed()[..] {
        [number] => Some(number),
        _ => None,
    }
}

/// Whether the kernel's workers on the calling thread's processor have done all deferred work, as far as can be seen.
pub fn workers_are_idle() -> bool {
    only_one().is_none_or(|number| workers::of(number).iter().all(|worker| worker.is_idle()))
}

/// Pins the calling thread to a processor, and the threads that it starts.
fn stay_on(number: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(number)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_spread_over_the_processors_and_leave_them() {
        std::thread::spawn(|| {
            let all = Processors::watched();
            let number = all.0.len();
            let seats: Vec<Seat> = (0..2 * number).map(|_| all.seat().unwrap()).collect();
            assert_eq!(only_one(), seats.last().map(Seat::processor));
            let loads = || all.0.iter().map(|processor| *processor.runs.lock().unwrap()).collect::<Vec<_>>();
            assert_eq!(loads(), vec![2; number]);
            drop(seats);
            assert_eq!(loads(), vec![0; number]);
        })
        .join()
        .unwrap();
    }
}
