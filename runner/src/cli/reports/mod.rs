//! Reports on the results of runs: a list, of which each member is told of every run. Main type: [`Report`].
//!
//! A new report is a file here, its option in [`Requested`] and a line in [`all`].

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

use clap::{Args, ValueEnum};

use crate::evidence::Case;
use crate::report::{Printer, Totals};
use crate::results::Store;

use super::args::RunArgs;

pub(super) use row::Row;

/// A report on the results of runs. An error says what could not be written.
pub(super) trait Report<'a> {
    /// Before the first run.
    fn begin(&mut self, _printer: &mut Printer) {}

    /// A run has ended, possibly before an earlier one. Returns where to find more about it.
    fn ended(&mut self, _run: &Ended<'_>) -> Result<Option<PathBuf>, String> {
        Ok(None)
    }

    /// Whether [`Self::row`] needs the recording of a run.
    fn needs_recording(&self, _position: usize, _bad: bool) -> bool {
        false
    }

    /// A run, in order.
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
    /// It failed or was an error, or it may explain a kernel warning that belongs to no scenario.
    pub(super) telling: bool,
}

/// How it ended.
pub(super) struct Ending {
    pub(super) totals: Totals,
    pub(super) took: Duration,
    /// Where runs of the same scenario differ: its position, and the text.
    pub(super) departures: Vec<(usize, String)>,
    /// Problems that the kernel reported while nothing ran.
    pub(super) late_trouble: Vec<String>,
    /// The written snapshots, one line each.
    pub(super) updates: Vec<String>,
    /// A file that a report writes for each run could not be written.
    pub(super) unwritten: bool,
}

impl Ending {
    /// Why there are fewer runs than requested.
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
    /// The number of runs; `None` if there is no end.
    pub(super) planned: Option<usize>,
    /// Scenarios run more than once.
    pub(super) repeats: bool,
    /// All scenarios are from one file.
    pub(super) one_file: bool,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Text for people
    Human,
    /// TAP 13, as the kernel's selftests print it
    Tap,
    /// One JSON object per run, each on a line
    Json,
}

/// The reports that the command line requests.
#[derive(Debug, Args)]
pub(super) struct Requested {
    /// Print the results as FORMAT
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Human)]
    pub(super) format: Format,
    /// Print one JSON object per run: short for `--format json`
    #[arg(long, conflicts_with = "format")]
    pub(super) json: bool,
    /// Also write the results to FILE, as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
}

/// All requested reports. Those to files come before the one to standard output.
pub(super) fn all<'a>(args: &'a RunArgs, scope: Scope, results: Option<Store>) -> Vec<Box<dyn Report<'a> + 'a>> {
    let mut reports: Vec<Box<dyn Report<'a> + 'a>> = Vec::new();
    reports.extend(evidence::report(args));
    reports.extend(record::report(args));
    reports.extend(results::report(results));
    reports.extend(junit::report(args));
    reports.push(match if args.reports.json { Format::Json } else { args.reports.format } {
        Format::Human => terminal::report(args, scope),
        Format::Tap => tap::report(args, scope),
        Format::Json => json::report(),
    });
    reports
}
