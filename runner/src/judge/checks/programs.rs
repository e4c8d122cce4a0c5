//! Programs: what they wrote, and that they ended only when they should.

use std::fmt::Write as _;

use crate::judge::names::Names;
use crate::judge::outcome::ended_words;
use crate::judge::time_line::around;
use crate::judge::verdict::range_value;
use crate::judge::{Finding, FindingKind};
use crate::recording::{Observation, StepOutcome};
use crate::scenario::model::{Action, LinesLike, Program, RunPlan, Sockets, StartPlan, Step};
use crate::text;

use super::steps::Progress;

/// What is wrong with the programs of the steps that were done.
pub(super) fn check(names: &Names<'_>, progress: Progress) -> Vec<Finding> {
    let steps = names.scenario().steps.iter().enumerate();
    let done = steps.filter(|(index, _)| progress.is_done(*index));
    let mut findings: Vec<Finding> = done.flat_map(|(index, step)| output(names, index, step)).collect();
    findings.extend(early_ends(names));
    if progress == Progress::Whole {
        findings.extend(not_forced(names));
    }
    findings
}

/// The output of the program whose end a step waits for.
fn output(names: &Names<'_>, index: usize, step: &Step) -> Vec<Finding> {
    let of_run = pick!(&step.action, Action::Run(RunPlan { end, .. }) => (index, end.output.as_slice()));
    let of_end = pick!(&step.action, Action::FinishProgram { program, end, .. }
        => (started(names, program), end.output.as_slice()));
    let of_stop = pick!(&step.action, Action::Stop { program, output, .. }
        => (started(names, program), output.as_slice()));
    let Some((start, expected)) = of_run.or(of_end).or(of_stop) else { return Vec::new() };
    expected
        .iter()
        .filter_map(|lines| unlike(names, start, index, lines))
        .map(|finding| finding.placed(step.place))
        .collect()
}

/// The step that starts a program; programs have different names.
fn started(names: &Names<'_>, program: &str) -> usize {
    let steps = &names.scenario().steps;
    let starts = |step: &Step| matches!(&step.action, Action::Start(StartPlan { name, .. }) if name == program);
    steps.iter().position(starts).unwrap_or(usize::MAX)
}

fn unlike(names: &Names<'_>, start: usize, end: usize, lines: &LinesLike) -> Option<Finding> {
    let last = names.index().finished.get(&end).copied().unwrap_or(usize::MAX);
    let entries = names.recording().entries.iter().take(last);
    let written = entries.filter_map(|entry| {
        pick!(&entry.what, Observation::ProgramOutput { step, stream, line, .. } if *step == start => (*stream, line.as_str()))
    });
    let written: Vec<_> = written.collect();
    let count = written.iter().filter(|(stream, line)| lines.matches(*stream, line)).count() as u64;
    if lines.count.contains(&count) {
        return None;
    }
    let left_out = names.recording().entries.iter().find_map(
        |entry| pick!(&entry.what, Observation::ProgramOutputLeftOut { step, lines, .. } if *step == start => *lines),
    );
    let stream = lines.stream.map(|stream| format!(" on {}", stream.word())).unwrap_or_default();
    let mut summary = format!(
        "output of step {}: expected {} with “{}”{stream}, but there {} {count}",
        start.saturating_add(1),
        expected_words(lines),
        lines.contains,
        if count == 1 { "is" } else { "are" }
    );
    let mut kind = FindingKind::Program;
    if let Some(left_out) = left_out {
        _ = write!(summary, "; {} more were not recorded", text::count(left_out, "line"));
        kind = FindingKind::Incomplete;
    }
    let shown = written
        .iter()
        .rev()
        .take(MOST_SHOWN)
        .rev()
        .map(|(stream, line)| format!("{}: {}", stream.word(), text::one_line(line)));
    let detail = if written.is_empty() {
        "it wrote nothing\n".to_owned()
    } else {
        format!("its last lines:\n{}", crate::judge::render::indented(shown))
    };
    Some(Finding::new(kind, summary).detailed(detail).valued(range_value(&lines.count), count))
}

/// As many lines are shown.
const MOST_SHOWN: usize = 20;

fn expected_words(lines: &LinesLike) -> String {
    match (*lines.count.start(), *lines.count.end()) {
        (least, most) if least == most => text::count(least, "line"),
        (least, u64::MAX) => format!("at least {}", text::count(least, "line")),
        (least, most) => format!("{least} to {most} lines"),
    }
}

/// Programs that ended although no step waits for their end, or before it was stopped.
fn early_ends(names: &Names<'_>) -> Vec<Finding> {
    let entries = names.recording().entries.iter().enumerate();
    let ended = entries.filter_map(|(at, entry)| {
        pick!(&entry.what, Observation::ProgramEnded { step, program, status } => (at, *step, program, status))
    });
    let early = ended.filter(|(_, start, ..)| !is_awaited(names, *start));
    early
        .map(|(at, start, program, status)| {
            let summary = format!("{}, although no step waits for its end", ended_words(program, status));
            let place = names.scenario().steps.get(start).map(|step| step.place);
            let finding = Finding::new(FindingKind::Program, summary).detailed(around(names, at));
            let finding = finding.at(names.recording().entries.get(at).map(|entry| entry.at));
            place.into_iter().fold(finding, Finding::placed)
        })
        .collect()
}

/// Whether a step waits for the end of the program that was started by that one: `run` does, `finish_program` does
/// whenever it comes, and `stop` from its beginning on. What ends before that is a problem of those steps themselves.
fn is_awaited(names: &Names<'_>, start: usize) -> bool {
    let steps = &names.scenario().steps;
    let name = match steps.get(start).map(|step| &step.action) {
        Some(Action::Start(plan)) => plan.name.as_str(),
        _ => return true,
    };
    let begun = |index: usize| names.index().started.get(&index).copied();
    // It ended before it was ready: so says its step.
    let finished = names.index().finished.get(&start).and_then(|at| names.recording().entries.get(*at));
    let was_ready = finished
        .is_some_and(|entry| matches!(&entry.what, Observation::StepFinished { outcome: StepOutcome::Done, .. }));
    !was_ready
        || steps.iter().enumerate().any(|(index, step)| {
            let is_awaited = matches!(&step.action, Action::FinishProgram { program, .. } if program == name);
            let is_stopped = matches!(&step.action, Action::Stop { program, .. } if program == name);
            is_awaited || (is_stopped && begun(index).is_some())
        })
}

/// Programs whose sockets were to become MPTCP sockets, but that opened none.
fn not_forced(names: &Names<'_>) -> Vec<Finding> {
    let forced =
        |step: &Step| step.action.program().is_some_and(|program: &Program| program.sockets == Sockets::Forced);
    let steps = names.scenario().steps.iter().enumerate().filter(|(_, step)| forced(step));
    let entries = &names.recording().entries;
    let opened = |index: usize| {
        entries.iter().any(|entry| matches!(&entry.what, Observation::ProgramSocket { step, .. } if *step == index))
    };
    let none = steps.filter(|(index, _)| !opened(*index));
    none.map(|(index, step)| {
        let summary = format!(
            "the program of step {} opened no TCP socket that could become an MPTCP socket",
            index.saturating_add(1)
        );
        Finding::new(FindingKind::Program, summary).placed(step.place)
    })
    .collect()
}
