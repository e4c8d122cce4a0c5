//! The engine: runs one scenario on the calling thread and returns its [`Recording`], and what else the run has left
//! behind ([`Run`]).
//!
//! It builds the world, starts the observers, takes the steps and waits, and takes states. It decides nothing: what
//! it saw goes into the recording, which is judged elsewhere.

// A new operation, step or observation is handled in each place or doesn't compile; one shape is asked for with `pick!`.
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

mod configuration;
mod descriptors;
mod executor;
mod kernel_log;
mod known;
mod limit;
mod network;
mod node;
mod operation;
mod option;
mod paths;
mod programs;
mod recorder;
mod routes;
mod settle;
mod stalls;
mod state;
mod step;
mod transfer;
mod userspace;
mod visit;
mod wait;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::observe::LogLine;
use crate::plan::{Origin, Plan, step_limit};
use crate::processors::{Processors, Seat};
use crate::recording::{Header, Moment, Observation, Recording, StepOutcome};
use crate::scenario::model::{Action, Feature, expected_transfer_error};
use crate::testbed::BaseNamespace;

use executor::Executor;
use kernel_log::LogWatch;
use limit::Limit;
pub use limit::{AtWork, abandon_all};
pub(crate) use limit::{INTERRUPTED, abandoned};
pub use node::NamespaceFrames;
use recorder::Recorder;
use stalls::Stalls;
pub use visit::{Standing, Visitor};

/// What was probed of the kernel that a scenario runs on: the features that the scenario asks for.
#[derive(Debug, Clone, Default)]
pub struct KernelFeatures {
    /// Features that it has.
    pub has: BTreeSet<Feature>,
    /// Features that it lacks.
    pub lacks: BTreeSet<Feature>,
    /// The processors that runs share.
    pub processors: Option<Arc<Processors>>,
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct Run {
    /// What was observed: all that a verdict depends on.
    pub recording: Recording,
    /// The captured frames of each namespace, for other tools to look at.
    pub frames: Vec<NamespaceFrames>,
    /// All lines of the kernel's log that came meanwhile, or why it could not be read. The log is the machine's: other
    /// runs may have brought them about.
    pub kernel_log: Result<Vec<LogLine>, String>,
}

/// Carries a plan out. The calling thread must be in the base namespace (see [`crate::testbed`]); it is there again
/// afterwards, and everything that the scenario made is gone.
///
/// What the kernel was found to have goes into the header.
pub fn run(plan: &Plan, base: &Arc<BaseNamespace>, kernel: &KernelFeatures) -> Run {
    run_visited(plan, base, kernel, None)
}

/// The same. A visitor is let in after the last step, or the first one that failed, and before the world is taken down.
pub fn run_visited(plan: &Plan, base: &Arc<BaseNamespace>, kernel: &KernelFeatures, visitor: Option<Visitor>) -> Run {
    let recorder = Rc::new(Recorder::new());
    let seat = kernel.processors.as_ref().and_then(|processors| processors.seat());
    let (frames, kernel_log) = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let local = LocalSet::new();
            let left = local.block_on(&runtime, run_in(plan, base, kernel, seat.as_ref(), &recorder, visitor));
            // Tasks hold sockets: they end before the runtime does, and the namespaces go with the last of them.
            drop(local);
            left
        }
        Err(error) => {
            recorder.note(Observation::SetupFailed { message: format!("can't start the event loop: {error}") });
            recorder.note(Observation::Ended);
            (Vec::new(), Err("the kernel log was not watched".to_owned()))
        }
    };
    Run { recording: recorder.finish(header(&plan.of, kernel)), frames, kernel_log }
}

/// What goes before the entries.
fn header(of: &Origin, features: &KernelFeatures) -> Header {
    let words = |features: &BTreeSet<Feature>| features.iter().map(Feature::word).collect();
    let kernel = nix::sys::utsname::uname()
        .map_or_else(|_| "unknown".to_owned(), |name| name.release().to_string_lossy().into_owned());
    Header {
        format: crate::recording::FORMAT,
        mptcplab: env!("CARGO_PKG_VERSION").to_owned(),
        kernel,
        title: of.title.clone(),
        file: of.file.clone(),
        variant: of.variant.clone(),
        sources: of.sources.clone(),
        features: words(&features.has),
        lacks: words(&features.lacks),
    }
}

/// The life of a run. It always ends.
async fn run_in(
    plan: &Plan,
    base: &Arc<BaseNamespace>,
    kernel: &KernelFeatures,
    seat: Option<&Seat>,
    recorder: &Rc<Recorder>,
    visitor: Option<Visitor>,
) -> (Vec<NamespaceFrames>, Result<Vec<LogLine>, String>) {
    let log = LogWatch::start(recorder);
    let stalls = Stalls::watch(recorder);
    let frames = take_steps(plan, base, kernel, recorder, visitor).await;
    let lines = match log {
        Ok(log) => log.finish().await,
        Err(reason) => Err(reason),
    };
    stalls.finish(seat, recorder);
    recorder.note(Observation::Ended);
    (frames, lines)
}

async fn take_steps(
    plan: &Plan,
    base: &Arc<BaseNamespace>,
    kernel: &KernelFeatures,
    recorder: &Rc<Recorder>,
    visitor: Option<Visitor>,
) -> Vec<NamespaceFrames> {
    let mut executor = match Executor::build(plan, base, kernel, Rc::clone(recorder)).await {
        Ok(executor) => executor,
        Err(error) => {
            recorder.note(error.in_set_up());
            return Vec::new();
        }
    };
    // From here on: however long the set-up took on a busy machine, the steps have their time.
    let limit = Limit::of(plan);
    go_through(&mut executor, plan, &limit, recorder).await;
    if let Some(visitor) = visitor {
        executor.receive(visitor, header(&plan.of, kernel)).await;
    }
    executor.tear_down().await
}

async fn go_through(executor: &mut Executor<'_>, plan: &Plan, limit: &Limit, recorder: &Recorder) {
    for (index, step) in plan.steps.iter().enumerate() {
        recorder.note(Observation::StepStarted { step: index, text: crate::plan::describe(&step.action) });
        let most = step_limit(&step.action, executor.timeout_scale);
        let outcome = limit.keep(most, executor.take_step(index, &step.action)).await;
        let goes_on = match expected_transfer_error(&plan.steps, index) {
            Some(error) => matches!(&outcome, StepOutcome::Application(end) if end.error() == Some(error)),
            None => may_go_on(&outcome, &step.action),
        };
        // What the step brought about belongs before its end.
        executor.observe_now();
        recorder.note(Observation::StepFinished { step: index, outcome });
        if let Err(message) = executor.look_after_programs().await {
            let message = format!("look at what programs have configured: {message}");
            return recorder.note(Observation::SetupFailed { message });
        }
        if abandoned() {
            return;
        }
        if !goes_on {
            executor.take_what_is_left().await;
            return;
        }
    }
    if let Err(message) = executor.finish().await {
        recorder.note(Observation::SetupFailed { message: format!("take the final state: {message}") });
    }
}

/// Whether the next step makes sense. What was refused as expected is no reason to stop; what succeeded though it had
/// to be refused is.
fn may_go_on(outcome: &StepOutcome, action: &Action) -> bool {
    match outcome {
        StepOutcome::Done => action.expected_refusal().is_none(),
        StepOutcome::Refused { error, .. } => action.expected_refusal().is_some_and(|(expected, _)| {
            // That another errno came is the judge's business: the world is as it was before.
            matches!(action, Action::ExpectError { .. }) || expected == error
        }),
        StepOutcome::Contradicted(_)
        | StepOutcome::Application(_)
        | StepOutcome::ProgramEnded { .. }
        | StepOutcome::TimedOut(_)
        | StepOutcome::NotQuiet { .. }
        | StepOutcome::Failed { .. } => false,
    }
}

impl Executor<'_> {
    /// Closes everything. With the last descriptor the kernel takes the namespaces away.
    async fn tear_down(self) -> Vec<NamespaceFrames> {
        drop((self.connections, self.disconnected, self.listeners));
        self.programs.end();
        self.paths.close();
        let mut frames = Vec::new();
        for (_, node) in self.nodes {
            frames.extend(node.close().await);
        }
        frames
    }

    /// The state after a step that failed. Nothing is expected of it; it is evidence. What can't be taken any more is
    /// missing in it.
    async fn take_what_is_left(&mut self) {
        self.note_unaccepted(None);
        self.known.look(&self.recorder, true);
        let _ = self.take_all_sockets(&Moment::BeforeClose);
        let _ = self.take_program_sockets(&Moment::BeforeClose);
        let _ = self.take_state(&Moment::End).await;
        let _ = self.take_filter_hits();
        let _ = self.take_rule_hits();
    }

    /// What is left to do when all steps are done.
    async fn finish(&mut self) -> Result<(), String> {
        self.note_unaccepted(None);
        self.take_all_sockets(&Moment::BeforeClose)?;
        self.settle().await?;
        self.known.look(&self.recorder, true);
        self.finish_paths()?;
        self.take_state(&Moment::End).await?;
        self.take_filter_hits()
    }
}
