//! Renderings of scenarios, recordings and verdicts: the picture of a topology ([`topology()`]), the story of a run
//! ([`story()`]), what failed ([`failure()`]), one line for each scenario ([`summary_line`]) and JSON ([`json_line`]).
//!
//! All are pure functions to text; none looks at the kernel. A [`Style`] says whether the text may have colours and
//! box-drawing characters. The [`Printer`] alone writes, to standard output and standard error.

mod failure;
mod json;
mod printer;
mod story;
mod style;
mod summary;
mod topology;

use std::time::Duration;

use crate::judge::Verdict;
use crate::scenario::model::Scenario;

pub use failure::failure;
pub use json::json_line;
pub use printer::Printer;
pub use story::story;
pub(crate) use style::Role;
pub use style::Style;
pub use summary::{Totals, summary_line};
pub use topology::topology;

/// One run of a scenario with what it came to.
#[derive(Debug, Clone)]
pub struct RunReport<'a> {
    /// What was run.
    pub scenario: &'a Scenario,
    /// What it came to.
    pub verdict: &'a Verdict,
    /// How long it took, judging included.
    pub duration: Duration,
    /// Which run of how many, if it was repeated. From 1.
    pub repetition: Option<(usize, usize)>,
}

impl RunReport<'_> {
    /// The scenario's label, with the number of the run if there are several: `signal/port@ipv6 (run 2 of 5)`.
    pub fn label(&self) -> String {
        let label = crate::text::one_line(&self.scenario.label());
        match self.repetition {
            Some((run, of)) => format!("{label} (run {run} of {of})"),
            None => label,
        }
    }
}

#[cfg(test)]
mod example;
#[cfg(test)]
mod tests;
