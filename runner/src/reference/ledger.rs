//! What one rule has decided so far: [`Ledger`].

use super::view::Half;
use super::{Candidate, Decision, Outcome, Rule};

/// The decisions of one rule.
pub(super) struct Ledger {
    rule: &'static Rule,
    decisions: Vec<Decision>,
}

impl Ledger {
    /// An empty one.
    pub(super) fn new(rule: &'static Rule) -> Self {
        Self { rule, decisions: Vec::new() }
    }

    /// Adds a decision of one side of a connection. `at`: nanoseconds since the start of the run.
    pub(super) fn decide(
        &mut self,
        half: &Half<'_>,
        at: u64,
        candidate: Candidate,
        outcome: Outcome,
        because: impl Into<String>,
        evidence: impl IntoIterator<Item = usize>,
    ) {
        self.decisions.push(Decision {
            connection: half.name.to_owned(),
            side: half.side,
            at,
            candidate,
            outcome,
            rule: self.rule,
            because: because.into(),
            evidence: evidence.into_iter().collect(),
            is_minor: false,
        });
    }

    /// Makes the last decision one that comes last where decisions are told ([`Decision::is_minor`]).
    pub(super) fn mark_minor(&mut self, is_minor: bool) {
        if let Some(last) = self.decisions.last_mut() {
            last.is_minor = is_minor;
        }
    }

    /// All decisions.
    pub(super) fn into_decisions(self) -> Vec<Decision> {
        self.decisions
    }
}
