//! What a worker does: one run of one scenario, from the scenario to its verdict.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::engine::{AtWork, Run};
use crate::judge::{Candidate, Finding, FindingKind, Judged, Measures, RuleCounts, Snapshots, Verdict};
use crate::recording::Recording;
use crate::scenario::model::{Feature, Scenario};
use crate::session::{lacking, regressions};

use super::args::{Pause, Requirement, RunArgs};
use super::backend::{Availability, Backend, Trouble};
use super::shell;

/// The result of a run.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) verdict: Verdict,
    pub(super) run: Option<Run>,
    /// How much the rules of the reference decided.
    pub(super) rules: Option<RuleCounts>,
    /// The possible new snapshot, if an update was requested and the expectations hold.
    pub(super) candidate: Option<Candidate>,
    pub(super) duration: Duration,
}

/// Runs and judges one scenario. `at_work` is held until its namespaces are gone.
pub(super) fn carry_out(
    scenario: &Scenario,
    at_work: AtWork,
    features: &BTreeMap<Feature, Availability>,
    args: &RunArgs,
    backend: &dyn Backend,
) -> Done {
    let begin = Instant::now();
    if let Some(verdict) = without(scenario, features, &args.require) {
        return Done { verdict, run: None, rules: None, candidate: None, duration: begin.elapsed() };
    }
    // A panic in one scenario must not affect the verdicts of the others.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let run = match args.pause {
            Some(Pause::OnFailure) => backend.visited(scenario, shell::on_failure(scenario, args.measures()))?,
            None => backend.run(scenario)?,
        };
        drop(at_work);
        let (judged, candidate) = judged(scenario, &run.recording, args, backend);
        Ok::<_, Trouble>((judged, run, candidate))
    }));
    settled(outcome, begin)
}

/// Runs a scenario again, only for the kernel log: nothing is compared with its snapshot.
pub(super) fn run_again(scenario: &Scenario, at_work: AtWork, args: &RunArgs, backend: &dyn Backend) -> Done {
    let begin = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let run = backend.run(scenario)?;
        drop(at_work);
        let judged =
            backend.judged(scenario, &run.recording, Measures { snapshots: Snapshots::Ignore, ..args.measures() });
        Ok::<_, Trouble>((judged, run, None))
    }));
    settled(outcome, begin)
}

/// The verdict on a recording, and the possible new snapshot.
pub(super) fn judged(
    scenario: &Scenario,
    recording: &Recording,
    args: &RunArgs,
    backend: &dyn Backend,
) -> (Judged, Option<Candidate>) {
    let judged = backend.judged(scenario, recording, args.measures());
    let candidate = args.update && judged.verdict == Verdict::Passed;
    let candidate = candidate.then(|| backend.candidate(scenario, recording));
    (judged, candidate)
}

/// A run with its verdict and its possible new snapshot; or why there is none.
type Outcome = Result<(Judged, Run, Option<Candidate>), Trouble>;

/// `outcome`: an error if the run panicked.
fn settled(outcome: std::thread::Result<Outcome>, begin: Instant) -> Done {
    let (Judged { verdict, rules }, run, candidate) = match outcome {
        Ok(Ok((judged, run, candidate))) => (judged, Some(run), candidate),
        Ok(Err(trouble)) if trouble.kernel => (
            Verdict::Failed(vec![Finding { kind: FindingKind::Kernel, ..trouble_finding(trouble) }]).into(),
            None,
            None,
        ),
        Ok(Err(trouble)) => (Verdict::Error(vec![trouble_finding(trouble)]).into(), None, None),
        Err(_) => {
            let summary = "mptcplab panicked (see its message above): this is a bug in mptcplab";
            (Verdict::Error(vec![setup_finding(summary.to_owned())]).into(), None, None)
        }
    };
    Done { verdict, run, rules, candidate, duration: begin.elapsed() }
}

/// Skips a scenario if the kernel lacks a feature that it requires; with `--require all` that is an error. It fails if
/// the kernel lacks one that it must have, since it has newer ones.
fn without(
    scenario: &Scenario,
    features: &BTreeMap<Feature, Availability>,
    required: &[Requirement],
) -> Option<Verdict> {
    let regressions = regressions(scenario, features);
    if !regressions.is_empty() {
        let finding = |summary| Finding { kind: FindingKind::Feature, ..setup_finding(summary) };
        return Some(Verdict::Failed(regressions.into_iter().map(finding).collect()));
    }
    let reason = lacking(scenario, features)?;
    Some(if required.contains(&Requirement::All) {
        Verdict::Error(vec![setup_finding(format!("{reason} (an error because of `--require all`)"))])
    } else {
        Verdict::Skipped { reason }
    })
}

fn setup_finding(summary: String) -> Finding {
    Finding {
        kind: FindingKind::Setup,
        place: None,
        summary,
        detail: String::new(),
        at: None,
        reasons: Vec::new(),
        values: None,
    }
}

fn trouble_finding(trouble: Trouble) -> Finding {
    let (summary, rest) = match trouble.message.split_once('\n') {
        Some((first, rest)) => (first.to_owned(), rest.to_owned()),
        None => (trouble.message, String::new()),
    };
    let hints = trouble.hints.iter().map(|hint| format!("hint: {hint}"));
    let detail: Vec<String> = Some(rest).filter(|rest| !rest.is_empty()).into_iter().chain(hints).collect();
    Finding { detail: detail.join("\n"), ..setup_finding(summary) }
}
