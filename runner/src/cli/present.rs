//! How a run is shown: the same for one that just ended and for a stored recording.

use crate::judge::{Finding, Verdict};
use crate::recording::Recording;
use crate::report::{self, Printer, RunReport};

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// JSON, whatever the verdict.
    Json,
    /// Failures only.
    Quiet,
    /// A line for each run, and what failed.
    Lines,
    /// Topology and story besides.
    Story,
}

/// Shows one run.
pub(super) fn show(printer: &mut Printer, detail: Detail, run: &RunReport, recording: Option<&Recording>) {
    if detail == Detail::Json {
        match report::json_line(run) {
            Ok(line) => printer.line(&line),
            Err(error) => super::complain(printer, &format!("{} can't be written as JSON: {error}", run.label())),
        }
        return;
    }
    let style = printer.style();
    if detail == Detail::Story {
        printer.line(&report::topology(run.scenario, style));
        if let Some(recording) = recording {
            printer.line(&report::story(run.scenario, recording, style));
        }
    }
    let findings: &[Finding] = match run.verdict {
        Verdict::Failed(findings) | Verdict::Error(findings) => findings,
        Verdict::Passed | Verdict::Skipped { .. } if detail == Detail::Quiet => return,
        Verdict::Passed | Verdict::Skipped { .. } => &[],
    };
    printer.line(&report::summary_line(run, style));
    for finding in findings {
        for line in report::failure(run.scenario, finding, style).lines() {
            printer.line(&if line.is_empty() { String::new() } else { format!("  {line}") });
        }
    }
}
