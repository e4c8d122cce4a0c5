//! Renderings of scenarios, recordings and verdicts: the picture of a topology ([`topology()`]), the story of a run
//! ([`story()`]), what failed ([`failure()`]), one line for each scenario ([`summary_line`]); JSON ([`json_line`]), TAP
//! ([`tap_test`]) and JUnit's XML ([`Junit`]) for other programs.
//!
//! All are pure functions to text; none looks at the kernel. A [`Style`] says whether the text may have colours and
//! box-drawing characters. The [`Printer`] alone writes, to standard output and standard error.

mod alike;
mod comparison;
mod departure;
mod explain;
mod failure;
mod json;
mod junit;
mod lesson;
mod markdown;
mod printer;
mod progress;
mod rates;
mod story;
mod style;
mod summary;
mod table;
mod tap;
mod topology;

use std::time::Duration;

use crate::judge::{Finding, RuleCounts, Verdict};
use crate::scenario::model::Scenario;

pub use alike::normal_form;
pub use comparison::{comparison_json, comparison_markdown, comparison_text};
pub use departure::departure;
pub use explain::{explanation, explanation_json};
pub use failure::{failure, failures};
pub use json::json_line;
pub use junit::Junit;
pub use lesson::lesson;
pub use printer::Printer;
pub use progress::Progress;
pub use rates::{TransferRate, transfer_rates};
pub use story::story;
pub(crate) use style::Role;
pub use style::Style;
pub use summary::{Repetitions, Totals, reference_line, repetition_line, slowest_line, summary_line};
pub use table::{Rows, table_json, table_markdown, table_text};
pub use tap::{TAP_VERSION, tap_bail_out, tap_comment, tap_plan, tap_test, tap_totals};
pub use topology::topology;

/// One run of a scenario with its verdict.
#[derive(Debug, Clone)]
pub struct RunReport<'a> {
    /// What was run.
    pub scenario: &'a Scenario,
    /// Its verdict.
    pub verdict: &'a Verdict,
    /// How much the rules of the reference decided; `None` if they were not applied.
    pub rules: Option<&'a RuleCounts>,
    /// How long it took, judging included.
    pub duration: Duration,
    /// Which run, from 1, of how many (if there is an end), if it is repeated.
    pub repetition: Option<(usize, Option<usize>)>,
    /// It was compared with its snapshot, unless it was not run or failed before that.
    pub compared: bool,
    /// How fast its transfers were, see [`transfer_rates`].
    pub rates: &'a [TransferRate],
    /// A remark, one line.
    pub remark: Option<&'a str>,
}

impl RunReport<'_> {
    /// The scenario's label, with the number of the run if there are several: `signal/port@ipv6 (run 2 of 5)`.
    pub fn label(&self) -> String {
        let label = crate::text::one_line(&self.scenario.label());
        match self.repetition {
            Some((run, Some(of))) => format!("{label} (run {run} of {of})"),
            Some((run, None)) => format!("{label} (run {run})"),
            None => label,
        }
    }

    /// The violations of rules that the scenario expects of this kernel.
    pub fn known_faults(&self) -> &[Finding] {
        self.rules.map_or(&[], |rules| rules.known_faults.as_slice())
    }

    /// The remark, and the known faults of the kernel: a line each. Of many similar faults, the first are told.
    pub fn remarks(&self) -> Vec<String> {
        let known = alike::first_of_many(self.known_faults()).into_iter().map(|(fault, more)| match more {
            0 => fault.summary.clone(),
            more => format!("{}; and {} more", fault.summary, more),
        });
        self.remark.map(str::to_owned).into_iter().chain(known).collect()
    }
}

/// Scenarios belong together by their folder: `scenarios/signal`, or `.`.
pub fn suite_name(scenario: &Scenario) -> String {
    let folder = scenario.file.parent().filter(|folder| *folder != std::path::Path::new(""));
    folder.map_or_else(|| ".".to_owned(), |folder| folder.display().to_string())
}

#[cfg(test)]
pub(crate) mod example;
#[cfg(test)]
mod tests;
