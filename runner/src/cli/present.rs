//! How a run is shown to people: the same for one that just ended and for a stored recording.

use crate::judge::{FindingKind, Verdict};
use crate::recording::Recording;
use crate::report::{self, Printer, RunReport};
use crate::scenario::model::Scenario;
use crate::text;

/// What the scenario teaches, its world, and what happened in it.
pub(super) fn show_story(printer: &mut Printer, scenario: &Scenario, recording: Option<&Recording>) {
    let style = printer.style();
    printer.line(&report::lesson(scenario, style));
    printer.line(&report::topology(scenario, style));
    if let Some(recording) = recording {
        printer.line(&report::story(scenario, recording, style));
    }
}

/// The line of a run, with everything that was not as expected below it.
/// `in_full`: with the text of a new snapshot.
pub(super) fn show_verdict(printer: &mut Printer, run: &RunReport, in_full: bool) {
    let style = printer.style();
    printer.line(&report::summary_line(run, style));
    show_remark(printer, run);
    let (Verdict::Failed(findings) | Verdict::Error(findings)) = run.verdict else { return };
    for (finding, text) in report::failures(run.scenario, findings, style) {
        show_indented(printer, &text);
        if in_full && finding.kind == FindingKind::SnapshotNew {
            show_indented(printer, &text::printable(&finding.detail));
        }
    }
}

/// What else there is to say of a run.
pub(super) fn show_remark(printer: &mut Printer, run: &RunReport) {
    if let Some(remark) = run.remark {
        show_indented(printer, &text::one_line(remark));
    }
}

/// Lines that belong to the one above.
pub(super) fn show_indented(printer: &mut Printer, text: &str) {
    for line in text.lines() {
        printer.line(&if line.is_empty() { String::new() } else { format!("  {line}") });
    }
}

/// As JSON, a line.
pub(super) fn show_json(printer: &mut Printer, run: &RunReport) {
    match report::json_line(run) {
        Ok(line) => printer.line(&line),
        Err(error) => super::complain(printer, &format!("{} can't be written as JSON: {error}", run.label())),
    }
}
