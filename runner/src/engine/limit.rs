//! The end of a run that doesn't end by itself: its time limit, or an interruption of the program.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::nanos;
use crate::plan::Plan;
use crate::recording::{Awaited, Seen, StepOutcome};
use crate::text;

/// Whether all runs are to be given up.
static ABANDONED: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// Number of running jobs that may have namespaces.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// Gives up all runs of this process, those to come included. Each takes its namespaces down in good order. Returns
/// whether there may be any: what is judged, written and printed afterwards has none.
pub fn abandon_all() -> bool {
    ABANDONED.send_replace(true);
    AT_WORK.load(Ordering::SeqCst) > 0
}

/// Whether all runs are given up.
pub(crate) fn abandoned() -> bool {
    *ABANDONED.borrow()
}

/// The message of an abandoned run.
pub(crate) const INTERRUPTED: &str = "interrupted before its end";

/// Work that may have namespaces, now or soon, counted as long as this lives.
#[derive(Debug)]
pub struct AtWork(());

impl AtWork {
    /// Work that begins soon, on whatever thread: if all is given up before it does, it still comes to an end of its own.
    #[expect(clippy::new_without_default, reason = "it counts")]
    pub fn new() -> Self {
        AT_WORK.fetch_add(1, Ordering::SeqCst);
        Self(())
    }

    /// `None` if all runs are given up. It is counted first and asks then, [`abandon_all`] does it the other way round: one
    /// of both sees the other.
    pub(crate) fn unless_abandoned() -> Option<Self> {
        let at_work = Self::new();
        (!abandoned()).then_some(at_work)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits for this, unless all runs are given up.
pub(super) async fn unless_abandoned<T>(wait: impl Future<Output = T>) -> Option<T> {
    let mut abandoned = ABANDONED.subscribe();
    tokio::select! {
        biased;
        _ = abandoned.wait_for(|abandoned| *abandoned) => None,
        what = wait => Some(what),
    }
}

/// When the steps of a run have to be over.
pub(super) struct Limit {
    end: Instant,
    whole: Duration,
}

impl Limit {
    /// From now on.
    pub(super) fn of(plan: &Plan) -> Self {
        let whole = plan.time_limit();
        Self { end: Instant::now() + whole, whole }
    }

    /// Takes a step that may take `most`, unless that or the run's time ends first. A step that has had all its time and
    /// goes on was not ended by the kernel. That the run's time is up, on the other hand, says nothing about the step that
    /// was on: others, or this program, took the time.
    pub(super) async fn keep(&self, most: Duration, step: impl Future<Output = StepOutcome>) -> StepOutcome {
        let mut abandoned = ABANDONED.subscribe();
        tokio::select! {
            biased;
            _ = abandoned.wait_for(|abandoned| *abandoned) => StepOutcome::Failed { message: INTERRUPTED.to_owned() },
            outcome = step => outcome,
            () = sleep_until(Instant::now() + most) => StepOutcome::timed_out(vec![Awaited::EndOfStep], vec![Seen::Nothing], most),
            () = sleep_until(self.end) => StepOutcome::Failed {
                message: format!(
                    "time limit: the steps took longer than {}, the sum of all timeouts",
                    text::seconds(nanos::of(self.whole))
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Timeout;

    fn limit(end: Instant) -> Limit {
        Limit { end, whole: Duration::from_secs(1830) }
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
    }

    #[test]
    fn a_step_without_an_end_ends() {
        run(async {
            let later = limit(Instant::now() + Duration::from_secs(3600));
            let over = later.keep(Duration::from_millis(1), std::future::pending()).await;
            let StepOutcome::TimedOut(Timeout { conditions, after, .. }) = over else { panic!("{over:?}") };
            assert_eq!((conditions, after), (vec![Awaited::EndOfStep], Some(1_000_000)));
            // What is done is done, however late.
            let done = later.keep(Duration::ZERO, std::future::ready(StepOutcome::Done)).await;
            assert_eq!(done, StepOutcome::Done);
        });
    }

    #[test]
    fn that_the_time_of_the_run_is_up_is_nobodys_failure() {
        run(async {
            let over = limit(Instant::now()).keep(Duration::from_secs(30), std::future::pending()).await;
            let StepOutcome::Failed { message } = over else { panic!("{over:?}") };
            assert!(message.contains("the steps took longer than 1830.00 s"), "{message}");
        });
    }
}
