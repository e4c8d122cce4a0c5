//! The results of a run on standard output, in each of the formats.

use std::time::Duration;

use crate::report::{Printer, TAP_VERSION, Totals, tap_bail_out, tap_comment, tap_plan, tap_test, tap_totals};

use super::human::Human;
use super::present::show_json;
use super::row::Row;

/// A format at work.
pub(super) enum Output<'a> {
    Human(Box<Human<'a>>),
    /// With the number of tests so far.
    Tap {
        tests: usize,
        planned: Option<usize>,
    },
    Json,
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
}

impl<'a> Output<'a> {
    /// Before the first run.
    pub(super) fn begin(&mut self, printer: &mut Printer) {
        if let Self::Tap { planned, .. } = self {
            printer.line(TAP_VERSION);
            if let Some(planned) = planned {
                printer.line(&tap_plan(*planned));
            }
        }
    }

    /// Whether the recording of a run is needed to show it.
    pub(super) fn needs_recording(&self, position: usize, bad: bool) -> bool {
        matches!(self, Self::Human(human) if human.tells_story(position, bad))
    }

    /// One run.
    pub(super) fn row(&mut self, printer: &mut Printer, row: Row<'a>) {
        match self {
            Self::Human(human) => human.row(printer, row),
            Self::Tap { tests, .. } => {
                *tests += 1;
                printer.line(&tap_test(*tests, &row.report()));
                if let Some(remark) = &row.remark {
                    printer.line(&tap_comment(remark));
                }
                if let Some(folder) = &row.evidence {
                    printer.line(&tap_comment(&format!("evidence: {}", folder.display())));
                }
            }
            Self::Json => show_json(printer, &row.report()),
        }
    }

    /// After the last run.
    pub(super) fn finish(self, printer: &mut Printer, ending: &Ending) {
        let totals = ending.totals.line(ending.took, printer.style());
        if !matches!(self, Self::Human(_)) {
            ending.updates.iter().for_each(|line| printer.note(line));
        }
        match self {
            Self::Human(human) => human.finish(printer, ending),
            Self::Json => printer.note(&totals),
            Self::Tap { tests, planned } => {
                if planned.is_none() {
                    printer.line(&tap_plan(tests));
                }
                if let Some(reason) = cut_short(ending) {
                    printer.line(&tap_bail_out(reason));
                }
                if ending.totals.stalled > 0 {
                    printer.line(&tap_comment(&format!("errors because of a stall: {}", ending.totals.stalled)));
                }
                printer.line(&tap_totals(&ending.totals));
                printer.note(&totals);
            }
        }
    }
}

/// Why the tests that were seen are not all there is to say.
fn cut_short(ending: &Ending) -> Option<&'static str> {
    if ending.totals.interrupted {
        Some("interrupted")
    } else if ending.totals.left_out > 0 {
        Some("the rest was left out after the first failure")
    } else if !ending.late_trouble.is_empty() {
        Some("the kernel reported a problem of its own")
    } else {
        None
    }
}
