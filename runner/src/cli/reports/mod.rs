//! What is made of the results of runs: a list of reports, each told of every run. Main type: [`Report`].
//!
//! A new report is a file here and a line in [`all`].

mod evidence;
mod json;
mod junit;
mod record;
mod results;
mod row;
mod tap;
mod terminal;

use std::path::PathBuf;
use std::time::Duration;

use crate::evidence::Case;
use crate::report::{Printer, Totals};
use crate::results::Store;

use super::args::{Format, RunArgs};

pub(super) use row::Row;

/// Makes something of the results of runs. An error says what could not be written.
pub(super) trait Report<'a> {
    /// Before the first run.
    fn begin(&mut self, _printer: &mut Printer) {}

    /// A run has ended, and one that comes before it may still be on. Returns where more is to be found about it.
    fn ended(&mut self, _run: &Ended<'_>) -> Result<Option<PathBuf>, String> {
        Ok(None)
    }

    /// Whether [`Self::row`] needs the recording of a run.
    fn needs_recording(&self, _position: usize, _bad: bool) -> bool {
        false
    }

    /// It is a run's turn.
    fn row(&mut self, _printer: &mut Printer, _row: &Row<'a>) {}

    /// After the last run.
    fn finish(&mut self, _printer: &mut Printer, _ending: &Ending) -> Result<(), String> {
        Ok(())
    }
}

/// A run that has just ended.
pub(super) struct Ended<'r> {
    pub(super) case: Case<'r>,
    /// The position of the scenario among all.
    pub(super) position: usize,
    /// It is bad, or what it has left behind may tell whose the kernel's complaint is.
    pub(super) telling: bool,
}

/// How it ended.
pub(super) struct Ending {
    pub(super) totals: Totals,
    pub(super) took: Duration,
    /// Where runs of the same scenario differ: its position, and what is to be said.
    pub(super) departures: Vec<(usize, String)>,
    /// What the kernel said about problems of its own while nothing ran.
    pub(super) late_trouble: Vec<String>,
    /// Which snapshots were written, a line each.
    pub(super) updates: Vec<String>,
    /// Something that a report writes run by run could not be written.
    pub(super) unwritten: bool,
}

impl Ending {
    /// Why there are fewer runs than were asked for.
    fn cut_short(&self) -> Option<&'static str> {
        if self.totals.interrupted {
            Some("interrupted")
        } else if self.totals.left_out > 0 {
            Some("stopped after the first failure")
        } else {
            None
        }
    }
}

/// What is known before the first run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    /// How many runs there will be; `None` without an end.
    pub(super) planned: Option<usize>,
    /// Scenarios run several times.
    pub(super) repeats: bool,
    /// All scenarios are of one file.
    pub(super) one_file: bool,
}

/// All reports that were asked for. What goes to files comes before what goes to standard output.
pub(super) fn all<'a>(args: &'a RunArgs, scope: Scope, results: Option<Store>) -> Vec<Box<dyn Report<'a> + 'a>> {
    let mut reports: Vec<Box<dyn Report<'a> + 'a>> = Vec::new();
    reports.extend(evidence::report(args));
    reports.extend(record::report(args));
    reports.extend(results::report(results));
    reports.extend(junit::report(args));
    reports.push(match args.format() {
        Format::Human => terminal::report(args, scope),
        Format::Tap => tap::report(args, scope),
        Format::Json => json::report(),
    });
    reports
}
