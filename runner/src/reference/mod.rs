//! The reference: what RFC 8684 and the in-kernel path manager's rules say should happen, and why. Its main type is the
//! [`Reference`].
//!
//! [`consult`] applies each of the [`RULES`] to a recording. A rule looks at what a host knew (its configuration, what
//! it received) and at what it did, and makes [`Decision`]s. It needs no expectation and no snapshot. What can't be
//! known from the recording is [`Outcome::Undetermined`], never a guess.

// A new step, observation or option is handled in each place or doesn't compile; one shape is asked for with `pick!`.
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

mod announce;
#[cfg(test)]
mod consequences;
mod decision;
mod ledger;
mod page;
mod programs;
mod rule;
mod subflow;
mod traffic;
mod view;
mod wire;

pub use decision::{Candidate, Decision, Outcome};
pub use page::{named, page};
pub use rule::{RULES, Rule};
pub use traffic::{Carried, Traffic};

use crate::mptcp::crypto;
use crate::recording::Recording;
use crate::scenario::model::Scenario;

use ledger::Ledger;
use view::View;

/// What the reference says about a run.
#[derive(Debug, Clone, Default)]
pub struct Reference {
    /// All decisions, ordered by time.
    pub decisions: Vec<Decision>,
}

impl Reference {
    /// The decisions that contradict a rule.
    pub fn violations(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().filter(|decision| decision.outcome.is_violation())
    }

    /// The decisions that the recording leaves open.
    pub fn undetermined(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().filter(|decision| decision.outcome == Outcome::Undetermined)
    }
}

/// Applies each rule to a recording, in the form that the scenario has on its kernel. Pure; it panics on no recording.
pub fn consult(scenario: &Scenario, recording: &Recording) -> Reference {
    let view = View::new(recording.header.form(scenario).scenario(), recording);
    let mut decisions = Vec::new();
    for rule in RULES {
        let mut ledger = Ledger::new(rule);
        (rule.apply)(&view, &mut ledger);
        decisions.extend(ledger.into_decisions());
    }
    programs::leave_open(&view, &mut decisions);
    decisions.sort_by_key(|decision| decision.at);
    Reference { decisions }
}
