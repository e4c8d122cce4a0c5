//! The end of a run that doesn't come to its own: its time is up, or the program has to end at once.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::plan::Plan;
use crate::recording::StepOutcome;

/// Whether all runs are to be given up.
static ABANDONED: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// How many sessions there are that may have runs.
static SESSIONS: AtomicUsize = AtomicUsize::new(0);

/// Gives up all runs of this process, those to come included. Each takes its namespaces down in good order. Returns
/// whether there may be any.
pub fn abandon_all() -> bool {
    ABANDONED.send_replace(true);
    SESSIONS.load(Ordering::SeqCst) > 0
}

/// Whether all runs are given up.
pub(crate) fn abandoned() -> bool {
    *ABANDONED.borrow()
}

/// What is said of a run that was given up.
pub(crate) const INTERRUPTED: &str = "interrupted before its end";

/// A session that is counted as long as this lives.
#[derive(Debug)]
pub(crate) struct Counted(());

impl Counted {
    pub(crate) fn new() -> Self {
        SESSIONS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        SESSIONS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// When a run has to be over.
pub(super) struct Limit {
    end: Instant,
    whole: Duration,
}

impl Limit {
    /// From now on.
    pub(super) fn of(plan: &Plan, patience: u32) -> Self {
        let limit = plan.time_limit(patience);
        Self { end: Instant::now() + limit, whole: limit }
    }

    /// Takes a step, unless the run's time ends first.
    pub(super) async fn keep(&self, step: impl Future<Output = StepOutcome>) -> StepOutcome {
        let mut abandoned = ABANDONED.subscribe();
        tokio::select! {
            biased;
            _ = abandoned.wait_for(|abandoned| *abandoned) => StepOutcome::Failed { message: INTERRUPTED.to_owned() },
            outcome = step => outcome,
            () = sleep_until(self.end) => {
                StepOutcome::timed_out("the run to end", "the time limit of the whole run has passed", self.whole)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_without_an_end_ends_with_the_run() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let limit = |end| Limit { end, whole: Duration::from_secs(1830) };
        runtime.block_on(async {
            let over = limit(Instant::now()).keep(std::future::pending()).await;
            let StepOutcome::TimedOut { seen, after, .. } = over else { panic!("{over:?}") };
            assert_eq!(seen, "the time limit of the whole run has passed");
            assert_eq!(after, Some(1_830_000_000_000));
            // What is done is done, however late.
            assert_eq!(limit(Instant::now()).keep(std::future::ready(StepOutcome::Done)).await, StepOutcome::Done);
        });
    }
}
