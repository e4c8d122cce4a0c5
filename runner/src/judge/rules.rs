//! What the reference says about a run: findings of kind `rule`, and how much was decided. Main type: [`RuleCounts`].

use std::collections::BTreeMap;

use serde::Serialize;

use crate::reference::{self, Candidate, Decision, Outcome, Reference};

use super::checks::may_be_explained;
use super::names::{Names, side_namespace};
use super::{Finding, FindingKind, Reason};

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

/// How much the reference decided, by the names of the rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleCounts(pub BTreeMap<&'static str, Decided>);

/// How much one rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Decided {
    /// All decisions.
    pub decisions: usize,
    /// Those that the recording leaves open.
    pub undetermined: usize,
}

impl RuleCounts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (rule, more) in &other.0 {
            let own = self.0.entry(rule).or_default();
            own.decisions += more.decisions;
            own.undetermined += more.undetermined;
        }
    }

    /// Those of all rules together.
    pub fn total(&self) -> Decided {
        self.0.values().fold(Decided::default(), |sum, one| Decided {
            decisions: sum.decisions + one.decisions,
            undetermined: sum.undetermined + one.undetermined,
        })
    }

    fn of(reference: &Reference) -> Self {
        let mut counts = Self::default();
        for decision in &reference.decisions {
            let own = counts.0.entry(decision.rule.name).or_default();
            own.decisions += 1;
            own.undetermined += usize::from(decision.outcome == Outcome::Undetermined);
        }
        counts
    }
}

/// Applies the rules: the broken ones, and how much was decided.
pub(super) fn check(names: &Names<'_>, findings: &mut Vec<Finding>) -> RuleCounts {
    let reference = reference::consult(names.scenario(), names.recording());
    if let Some(first) = findings.first_mut().filter(|first| may_be_explained(first.kind)) {
        first.reasons.extend(not_done(names, &reference));
    }
    findings.extend(reference.violations().map(finding));
    RuleCounts::of(&reference)
}

/// Maximum number of such reasons.
const TOLD: usize = 5;

/// Subflows and announcements that a rule kept from happening: they may explain why an expectation failed.
fn not_done(names: &Names<'_>, reference: &Reference) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for decision in reference.decisions.iter().filter(|decision| is_asked_for(decision)) {
        let Some((_, connection)) = names.index().connected.get(decision.connection.as_str()) else { continue };
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
    Finding::new(FindingKind::Rule, summary).detailed(detail).at(Some(*at))
}
