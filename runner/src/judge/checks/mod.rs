//! All checks on a recording: those that every run is put to, and the expectations that the scenario writes down.

mod accounted;
mod addresses;
mod attempts;
mod calls;
mod completeness;
mod connections;
mod counters;
mod either;
mod events;
mod integrity;
mod options;
mod pairs;
pub(in crate::judge) mod paths;
mod programs;
mod replies;
mod scope;
mod sockets;
mod steps;
mod unused;
mod wire;

pub(super) use counters::is_gauge;

use crate::recording::{Observation, Recording};
use crate::scenario::model::{Action, Expectation, Scenario};

use super::names::Names;
use super::reasons::{Facts, reasons};
use super::{Finding, FindingKind};
use scope::Scope;
use steps::Progress;

/// Everything in a recording that isn't as the scenario says, except for the snapshot.
///
/// A run that a failed step cut short is only judged by what was done before it: that everything after it is missing
/// would say nothing new.
pub fn judge(scenario: &Scenario, recording: &Recording) -> Vec<Finding> {
    findings(&Names::of(scenario, recording))
}

/// The same for a recording of which the names are known.
pub(super) fn findings(names: &Names<'_>) -> Vec<Finding> {
    let (scenario, recording) = (names.scenario(), names.recording());
    let mut findings = completeness::check(names);
    let (progress, step_findings) = steps::check(names);
    findings.extend(step_findings);
    findings.extend(options::check(names, progress));
    findings.extend(calls::check(names, progress));
    findings.extend(replies::check(names, progress));
    findings.extend(programs::check(names, progress));
    findings.extend(connections::check(names, progress));
    findings.extend(integrity::check(names, progress));
    findings.extend(unused::check(names, progress));
    let mut failed_check = None;
    for (index, step) in scenario.steps.iter().enumerate() {
        if let Action::Check(expectation) = &step.action
            && progress.is_done(index)
        {
            match Scope::of_check(names, index) {
                Some(scope) => {
                    let before = findings.len();
                    findings.extend(expectation_findings(&scope, expectation));
                    if before == 0 && !findings.is_empty() {
                        failed_check = Some(index);
                    }
                }
                None => findings.push(
                    Finding::new(FindingKind::Incomplete, format!("step {} was not recorded", index.saturating_add(1)))
                        .placed(step.place),
                ),
            }
        }
    }
    if progress == Progress::Whole {
        findings.extend(expectation_findings(&Scope::of_run(names), &scenario.expect));
        findings.extend(accounted::check(&Scope::of_run(names)));
    }
    let begun = recording.entries.iter().any(|entry| matches!(entry.what, Observation::StepStarted { .. }));
    if let Some(finding) = findings.iter_mut().find(|finding| begun && may_be_explained(finding.kind)) {
        let known = match failed_check {
            Some(step) => Facts::in_check(names, step),
            None => Facts::at_the_end(names, progress != Progress::Whole),
        };
        finding.reasons = reasons(&known);
    }
    findings
}

/// All steps of the scenario were done.
pub(super) fn is_whole(names: &Names<'_>) -> bool {
    steps::check(names).0 == Progress::Whole
}

/// Whether the state of the run may explain it. Lost entries and kernel warnings speak for themselves.
pub(super) fn may_be_explained(kind: FindingKind) -> bool {
    !matches!(
        kind,
        FindingKind::Incomplete
            | FindingKind::Kernel
            | FindingKind::Refusal
            | FindingKind::SnapshotChanged
            | FindingKind::SnapshotNew
    )
}

/// The differences from an expectation.
fn expectation_findings(scope: &Scope<'_, '_>, expectation: &Expectation) -> Vec<Finding> {
    let mut findings = findings_of(scope, expectation, &either::said(Some(scope), expectation));
    findings.extend(expectation.either.iter().filter_map(|choice| either::check(scope, choice, expectation)));
    findings
}

/// The differences from an expectation, without its alternatives. `listed`: the expectations whose counters are listed,
/// for `others: 0`.
fn findings_of(scope: &Scope<'_, '_>, expectation: &Expectation, listed: &[&Expectation]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(expectation.events.iter().filter_map(|expected| events::check(scope, expected)));
    findings.extend(counters::check(scope, expectation, listed));
    findings.extend(expectation.subflows.iter().filter_map(|expected| sockets::subflows(scope, expected)));
    findings.extend(expectation.sockets.iter().filter_map(|expected| sockets::counts(scope, expected)));
    findings.extend(expectation.info.iter().filter_map(|expected| sockets::info(scope, expected)));
    findings.extend(expectation.endpoints.iter().filter_map(|expected| addresses::endpoints(scope, expected)));
    findings.extend(expectation.limits.iter().filter_map(|expected| addresses::limits(scope, expected)));
    findings.extend(expectation.bytes.iter().filter_map(|expected| counters::bytes(scope, expected)));
    findings.extend(expectation.wire.iter().filter_map(|expected| wire::check(scope, expected)));
    findings.extend(expectation.paths.iter().filter_map(|expected| paths::check(scope, expected)));
    findings
}
