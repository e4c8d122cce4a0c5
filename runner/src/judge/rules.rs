//! What the reference says about a run: findings of kind `rule`, and how much was decided. Main type: [`RuleCounts`].

use std::collections::BTreeMap;

use serde::Serialize;

use crate::mptcp::canonical;
use crate::recording::Recording;
use crate::reference::{self, Candidate, Decision, Outcome, Reference};
use crate::scenario::model::{BrokenRule, Scenario};

use super::checks::{is_whole, may_be_explained};
use super::names::{Names, side_namespace};
use super::{Finding, FindingKind, Reason, Unused};

/// Whether the rules of the reference are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rules {
    /// Besides the expectations and the snapshot.
    #[default]
    Apply,
    /// Not at all.
    Ignore,
    /// Instead of the expectations and the snapshot.
    Only,
}

/// How much the reference decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleCounts {
    /// By the names of the rules.
    pub by_rule: BTreeMap<&'static str, Decided>,
    /// The violations that the scenario expects of this kernel.
    pub known_faults: Vec<Finding>,
}

/// How much one rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Decided {
    /// All decisions.
    pub decisions: usize,
    /// Those that the recording leaves open.
    pub undetermined: usize,
    /// Violations that the scenario expects of this kernel.
    #[serde(skip_serializing_if = "is_zero")]
    pub known_faults: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl RuleCounts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (rule, more) in &other.by_rule {
            let own = self.by_rule.entry(rule).or_default();
            *own = own.and(*more);
        }
    }

    /// Those of all rules together.
    pub fn total(&self) -> Decided {
        self.by_rule.values().fold(Decided::default(), |sum, one| sum.and(*one))
    }

    fn of(reference: &Reference) -> Self {
        let mut counts = Self::default();
        for decision in &reference.decisions {
            let own = counts.by_rule.entry(decision.rule.name).or_default();
            own.decisions += 1;
            own.undetermined += usize::from(decision.outcome == Outcome::Undetermined);
        }
        counts
    }

    fn add_known_fault(&mut self, decision: &Decision, broken: &BrokenRule) {
        self.by_rule.entry(decision.rule.name).or_default().known_faults += 1;
        self.known_faults.push(known_fault(decision, broken));
    }
}

impl Decided {
    fn and(self, more: Self) -> Self {
        Self {
            decisions: self.decisions + more.decisions,
            undetermined: self.undetermined + more.undetermined,
            known_faults: self.known_faults + more.known_faults,
        }
    }
}

/// Applies the rules: the broken ones, and how much was decided.
pub(super) fn check(names: &Names<'_>, rules: Rules, findings: &mut Vec<Finding>) -> RuleCounts {
    let reference = reference::consult(names.scenario(), names.recording());
    if let Some(first) = findings.first_mut().filter(|first| may_be_explained(first.kind)) {
        add_not_done(names, &reference, &mut first.reasons);
    }
    let mut counts = RuleCounts::of(&reference);
    let expected = (rules != Rules::Only).then_some(&names.scenario().expect);
    for decision in reference.violations() {
        match expected.and_then(|expected| expected.broken_rule(decision.rule.name)) {
            Some(broken) => counts.add_known_fault(decision, broken),
            None => findings.push(finding(decision)),
        }
    }
    // A run that was cut short may have ended before.
    if is_whole(names) {
        let broken = expected.iter().flat_map(|expected| &expected.broken_rules);
        let kept = broken.filter(|broken| reference.violations().all(|decision| decision.rule.name != broken.rule));
        findings.extend(kept.map(not_broken));
    }
    counts
}

/// The violations of rules that the scenario expects of the kernel of the recording.
pub fn known_faults(scenario: &Scenario, recording: &Recording) -> Vec<Finding> {
    let scenario = recording.header.form(scenario).scenario();
    if scenario.expect.broken_rules.is_empty() {
        return Vec::new();
    }
    let reference = reference::consult(scenario, recording);
    let known = |decision: &Decision| {
        scenario.expect.broken_rule(decision.rule.name).map(|broken| known_fault(decision, broken))
    };
    reference.violations().filter_map(known).collect()
}

/// The scenario expects a fault that this kernel doesn't have.
fn not_broken(broken: &BrokenRule) -> Finding {
    let summary = format!("the scenario says that this kernel breaks the rule {}, but it keeps it", broken.rule);
    Finding::new(FindingKind::Rule, summary).placed(broken.place)
}

fn known_fault(decision: &Decision, broken: &BrokenRule) -> Finding {
    let Finding { summary, detail, at, .. } = finding(decision);
    let summary = format!("this kernel breaks a rule, as the scenario says: {summary}");
    let because = broken.because.iter().map(|because| format!("fault: {because}\n"));
    Finding::new(FindingKind::Rule, summary)
        .detailed(because.chain([detail]).collect::<String>())
        .placed(broken.place)
        .at(at)
}

/// Maximum number of such reasons.
const TOLD: usize = 5;

/// Adds subflows and announcements that a rule kept from happening: they may explain why an expectation failed. What was
/// tried and failed comes first, and all of them before the counters that explain nothing.
fn add_not_done(names: &Names<'_>, reference: &Reference, reasons: &mut Vec<Reason>) {
    let mut decisions: Vec<&Decision> = reference.decisions.iter().filter(|decision| is_asked_for(decision)).collect();
    decisions.sort_by_key(|decision| (decision.is_minor, !TRIED.contains(&decision.rule.name)));
    let told = |reason: &Reason| !matches!(reason, Reason::Unmentioned { .. });
    // Minor ones are a last resort.
    let is_told = |decision: &&Decision| !decision.is_minor;
    if decisions.iter().any(is_told) || reasons.iter().any(told) {
        decisions.retain(is_told);
    }
    let decided = worded(names, &decisions, reasons);
    reasons.retain(|reason| !is_unknown(reason, &decided));
    let place = reasons.iter().position(|reason| !told(reason)).unwrap_or(reasons.len());
    reasons.splice(place..place, decided);
}

/// The rules about what was tried.
const TRIED: [&str; 2] = ["answer-to-a-join", "join-from-the-peer"];

/// It has no explanation for an announcement, and the rules have.
fn is_unknown(reason: &Reason, decided: &[Reason]) -> bool {
    let Some(unused) = pick!(reason, Reason::UnusedAnnouncement { address, why: Unused::Unknown, .. } => *address)
    else {
        return false;
    };
    let mut decided = decided.iter().filter_map(|reason| pick!(reason, Reason::Rule { candidate, .. } => candidate));
    decided.any(|candidate| {
        pick!(candidate, Candidate::Announcement { address, .. } | Candidate::Subflow { remote: (address, _), .. }
            if canonical(*address) == unused => ())
        .is_some()
    })
}

/// The first decisions as reasons, without those that say what `known` says.
fn worded(names: &Names<'_>, decisions: &[&Decision], known: &[Reason]) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for decision in decisions {
        let Some((_, connection)) = names.index().connected.get(decision.connection.as_str()) else { continue };
        let is_known = |reason: &Reason| {
            let explained =
                pick!(reason, Reason::UnusedAnnouncement { address, why, .. } if *why != Unused::Unknown => *address);
            let announced = pick!(&decision.candidate, Candidate::Announcement { address, .. } => canonical(*address));
            explained.is_some() && explained == announced
        };
        if known.iter().any(is_known) {
            continue;
        }
        let reason = Reason::Rule {
            namespace: side_namespace(connection, decision.side).to_owned(),
            connection: connection.name.clone(),
            candidate: decision.candidate.clone(),
            because: decision.because.clone(),
            rule: decision.rule.name,
        };
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
        if reasons.len() == TOLD {
            break;
        }
    }
    reasons
}

fn is_asked_for(decision: &Decision) -> bool {
    decision.outcome == Outcome::NotDone
        && matches!(
            decision.candidate,
            Candidate::Subflow { .. } | Candidate::Join { .. } | Candidate::Announcement { .. }
        )
}

fn finding(decision: &Decision) -> Finding {
    let Decision { connection, side, at, candidate, outcome, rule, because, .. } = decision;
    let what = if *outcome == Outcome::Missing { "missing: " } else { "" };
    let summary = format!("{}: {} of {connection}: {what}{candidate}: {because}", rule.name, side.word());
    let detail = format!("rule: {}\nsource: {}", rule.statement, rule.source);
    let kind = if rule.is_of_wire() && *outcome == Outcome::Wrong { FindingKind::WireRule } else { FindingKind::Rule };
    Finding::new(kind, summary).detailed(detail).at(Some(*at))
}
