//! How a run is shown to people: live runs and stored recordings alike.

use crate::judge::{FindingKind, Verdict};
use crate::recording::Recording;
use crate::report::{self, Printer, RunReport};
use crate::scenario::model::Scenario;
use crate::text;

/// How much of a story is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// All of it.
    Whole,
    /// The beginning and the end of a very long one.
    Short,
}

/// A story with more lines is shortened.
const LONG: usize = 1000;

/// Number of lines that are printed from either end of a shortened story.
const EITHER_END: usize = 200;

/// Prints the lesson, the topology and the story.
pub(super) fn show_story(printer: &mut Printer, scenario: &Scenario, recording: Option<&Recording>, length: Length) {
    let style = printer.style();
    printer.line(&report::lesson(scenario, style));
    printer.line(&report::topology(scenario, style));
    if let Some(recording) = recording {
        let story = report::story(scenario, recording, style);
        printer.line(&if length == Length::Short { shortened(story) } else { story });
    }
}

/// Thousands of connections make tens of thousands of lines.
fn shortened(story: String) -> String {
    let lines: Vec<&str> = story.lines().collect();
    let left_out = lines.len().saturating_sub(2 * EITHER_END);
    let (Some(first), Some(last)) = (lines.get(..EITHER_END), lines.get(lines.len().saturating_sub(EITHER_END)..))
    else {
        return story;
    };
    if lines.len() <= LONG {
        return story;
    }
    let note =
        format!("            … {} left out: `--verbose` tells the whole story", text::count(left_out as u64, "line"));
    [first, &[note.as_str()], last].concat().join("\n") + "\n"
}

/// The line of a run, and its findings below. `in_full`: with the text of a new snapshot.
pub(super) fn show_verdict(printer: &mut Printer, run: &RunReport, in_full: bool) {
    let style = printer.style();
    printer.line(&report::summary_line(run, style));
    show_remarks(printer, run);
    let (Verdict::Failed(findings) | Verdict::Error(findings)) = run.verdict else { return };
    for (finding, text) in report::failures(run.scenario, findings, style) {
        show_indented(printer, &text);
        if in_full && finding.kind == FindingKind::SnapshotNew {
            show_indented(printer, &text::printable(&finding.detail));
        }
    }
}

/// Remarks about a run.
pub(super) fn show_remarks(printer: &mut Printer, run: &RunReport) {
    for remark in run.remarks() {
        show_indented(printer, &text::one_line(&remark));
    }
}

/// Lines that belong to the one above, indented.
pub(super) fn show_indented(printer: &mut Printer, text: &str) {
    for line in text.lines() {
        printer.line(&if line.is_empty() { String::new() } else { format!("  {line}") });
    }
}

/// One line of JSON.
pub(super) fn show_json(printer: &mut Printer, run: &RunReport) {
    match report::json_line(run) {
        Ok(line) => printer.line(&line),
        Err(error) => super::complain(printer, &format!("{} can't be written as JSON: {error}", run.label())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_very_long_story_is_shortened() {
        let story = |lines: usize| {
            let lines: Vec<String> = (0..lines).map(|line| format!("line {line}\n")).collect();
            lines.concat()
        };
        assert_eq!(shortened(story(LONG)), story(LONG));
        let short = shortened(story(50_000));
        let lines: Vec<&str> = short.lines().collect();
        assert_eq!((lines.len(), lines.last()), (2 * EITHER_END + 1, Some(&"line 49999")));
        assert!(lines[EITHER_END].contains("49600 lines left out"), "{}", lines[EITHER_END]);
    }
}
