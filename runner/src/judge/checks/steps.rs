//! How each step ended, against what was expected: steps are done, `expect_error` steps are refused.

use crate::judge::names::Names;
use crate::judge::outcome::{needed_words, outcome_words};
use crate::judge::time_line::around;
use crate::judge::{Finding, FindingKind, render};
use crate::recording::{Direction, Got, Observation, Seen, StepOutcome};
use crate::scenario::model::{Action, CloseHow, EndStatus, RunPlan, Step, expected_transfer_error};
use crate::text;
use crate::wire::MptcpOption;

/// How far the run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Through all steps.
    Whole,
    /// Up to the step of that index, which failed or did not end.
    CutShort(usize),
}

impl Progress {
    /// Whether the step of that index was done.
    pub(super) fn is_done(self, step: usize) -> bool {
        match self {
            Self::Whole => true,
            Self::CutShort(last) => step < last,
        }
    }
}

/// How far the run got, and the problems of its steps.
pub(super) fn check(names: &Names<'_>) -> (Progress, Vec<Finding>) {
    let steps = &names.scenario().steps;
    if names.recording().entries.iter().any(|entry| is_failed_setup(&entry.what)) {
        // That is a finding of its own, and no step was begun.
        return (Progress::CutShort(0), Vec::new());
    }
    let (outcomes, mut findings) = outcomes(names);
    for (index, (step, outcome)) in steps.iter().zip(&outcomes).enumerate() {
        let Some((entry, outcome)) = *outcome else {
            // After a failed step there are no more.
            if findings.is_empty() {
                findings.push(unfinished(names, index, step));
            }
            return (Progress::CutShort(index), findings);
        };
        let Some(finding) = finding(names, index, step, entry, outcome) else { continue };
        findings.push(finding);
        let is_last = outcomes.iter().skip(index.saturating_add(1)).all(Option::is_none);
        if is_last {
            return (Progress::CutShort(index), findings);
        }
    }
    (Progress::Whole, findings)
}

/// An outcome, with the index of its entry.
type Recorded<'a> = (usize, &'a StepOutcome);

/// The outcome of each step. One of a step that the scenario doesn't have is a finding.
fn outcomes<'a>(names: &Names<'a>) -> (Vec<Option<Recorded<'a>>>, Vec<Finding>) {
    let steps = names.scenario().steps.len();
    let (mut outcomes, mut findings) = (vec![None; steps], Vec::new());
    for (entry, what) in names.recording().entries.iter().enumerate().map(|(index, entry)| (index, &entry.what)) {
        let Observation::StepFinished { step, outcome } = what else { continue };
        if let Some(slot) = outcomes.get_mut(*step) {
            *slot = Some((entry, outcome));
        } else {
            let step = step.saturating_add(1);
            let summary = format!("the recording has a step {step}, but the scenario has only {steps}");
            findings.push(Finding::new(FindingKind::Incomplete, summary));
        }
    }
    (outcomes, findings)
}

/// What is wrong with the end of a step, which the recording has at `entry`.
fn finding(names: &Names<'_>, index: usize, step: &Step, entry: usize, outcome: &StepOutcome) -> Option<Finding> {
    let transfer_error = expected_transfer_error(&names.scenario().steps, index);
    let (kind, problem) = match transfer_error {
        Some(error) => transfer_problem(error, &step.action, outcome),
        None => problem(step, outcome),
    }?;
    // What was waited for says as much as the step's own words.
    let summary = if kind == FindingKind::Deadline {
        format!("step {} {problem}", index.saturating_add(1))
    } else {
        format!("step {}: {problem}", describe(names, index))
    };
    let mut detail = around(names, entry);
    if let StepOutcome::NotQuiet { .. } = outcome {
        detail.insert_str(0, &disturbances(names, index, entry));
    }
    let at = names.recording().entries.get(entry).map(|entry| entry.at);
    let wanted = transfer_error.map(|error| Got::Error(error.to_owned()));
    let finding = valued(Finding::new(kind, summary), &step.action, wanted, outcome);
    Some(finding.placed(step.place).detailed(detail).at(at))
}

/// What the step should have got, and what it got. `wanted`: of the last read() or write() of its transfer.
fn valued(finding: Finding, action: &Action, wanted: Option<Got>, outcome: &StepOutcome) -> Finding {
    match outcome {
        StepOutcome::TimedOut(timeout) => finding.valued(&timeout.conditions, &timeout.seen),
        StepOutcome::NotQuiet { seen, .. } => finding.valued(None::<Seen>, seen),
        StepOutcome::Application(end) => finding.valued(wanted.or_else(|| needed(action)), &end.got),
        StepOutcome::Refused { error, .. } => finding.valued(refusal(action), error),
        StepOutcome::Done => match wanted {
            Some(wanted) => finding.valued(wanted, None::<Got>),
            None => finding.valued(refusal(action), None::<&str>),
        },
        StepOutcome::ProgramEnded { status, .. } => finding.valued(wanted_end(action), status),
        StepOutcome::Contradicted(_) | StepOutcome::Failed { .. } => finding,
    }
}

/// How the program of a step must end.
fn wanted_end(action: &Action) -> Option<&EndStatus> {
    pick!(action, Action::Run(RunPlan { end, .. }) | Action::FinishProgram { end, .. } => &end.status)
}

fn refusal(action: &Action) -> Option<&str> {
    action.expected_refusal().map(|(error, _)| error)
}

fn is_failed_setup(what: &Observation) -> bool {
    matches!(what, Observation::SetupContradicted(_))
}

/// The activity between the start of a quiet step and its end; similar entries are counted.
fn disturbances(names: &Names<'_>, index: usize, end: usize) -> String {
    let begin = names.index().started.get(&index).copied().unwrap_or(end);
    let mut seen: Vec<(String, usize, u64)> = Vec::new();
    for entry in names.recording().entries.get(begin..end).unwrap_or_default() {
        let words = if let Observation::Event { namespace, event } = &entry.what {
            format!("{namespace}: event {}", render::event(names, namespace, event))
        } else if let Observation::Packet { namespace, direction: Direction::Out, segment, .. } = &entry.what {
            let options: Vec<&str> = segment.options.iter().map(MptcpOption::word).collect();
            let (source, destination) = (text::socket(segment.source), text::socket(segment.destination));
            format!("{namespace}: segment {source} > {destination} <{}>", options.join(" "))
        } else if let Observation::Path { link, sender, .. } = &entry.what {
            format!("path {link}: a packet of {sender}")
        } else {
            continue;
        };
        match seen.iter_mut().find(|(known, ..)| *known == words) {
            Some((_, count, last)) => (*count, *last) = (*count + 1, entry.at),
            None => seen.push((words, 1, entry.at)),
        }
        // A step that is disturbed by more kinds of things than that is not understood by a list of them.
        if seen.len() >= MOST_DISTURBANCES {
            break;
        }
    }
    if seen.is_empty() {
        return String::new();
    }
    let lines = seen.iter().map(|(words, count, last)| {
        format!("{count} × {words}, last at {}.{:03} ms", last / 1_000_000, last / 1_000 % 1_000)
    });
    format!("activity during the quiet step:\n{}", render::indented(lines))
}

/// How many kinds of disturbances are listed.
const MOST_DISTURBANCES: usize = 20;

fn unfinished(names: &Names<'_>, index: usize, step: &Step) -> Finding {
    let entry = names.index().started.get(&index).copied();
    let summary = match entry {
        Some(_) => format!("step {} did not end", describe(names, index)),
        None => format!("step {} did not start", index.saturating_add(1)),
    };
    let entry = entry.unwrap_or(names.recording().entries.len());
    Finding::new(FindingKind::Incomplete, summary).placed(step.place).detailed(around(names, entry))
}

/// The number and the words of a step.
fn describe(names: &Names<'_>, index: usize) -> String {
    let text = names
        .recording()
        .entries
        .iter()
        .find_map(|entry| pick!(&entry.what, Observation::StepStarted { step, text } if *step == index => text));
    match text {
        Some(text) => format!("{} ({text})", index.saturating_add(1)),
        None => index.saturating_add(1).to_string(),
    }
}

/// What is wrong with the end of a step.
fn problem(step: &Step, outcome: &StepOutcome) -> Option<(FindingKind, String)> {
    match (outcome, step.action.expected_refusal()) {
        (StepOutcome::Done, None) => None,
        (StepOutcome::Done, Some((wanted, _))) => {
            Some((FindingKind::Refusal, format!("expected {wanted}, but it succeeded")))
        }
        (StepOutcome::Refused { error, message }, Some((wanted, part))) => {
            let words = outcome_words(outcome);
            if error != wanted {
                return Some((FindingKind::Refusal, format!("expected {wanted}, but it was {words}")));
            }
            let part = part.filter(|part| !message.as_ref().is_some_and(|message| message.contains(part)))?;
            Some((
                FindingKind::Refusal,
                format!("expected {wanted} with \"{part}\" in its message, but it was {words}"),
            ))
        }
        (StepOutcome::Refused { .. }, None) => Some((FindingKind::Refusal, outcome_words(outcome))),
        (StepOutcome::TimedOut(_) | StepOutcome::NotQuiet { .. }, _) => {
            Some((FindingKind::Deadline, outcome_words(outcome)))
        }
        (StepOutcome::Contradicted(_), _) => Some((FindingKind::Contradiction, outcome_words(outcome))),
        (StepOutcome::Application(_), _) => {
            let words = outcome_words(outcome);
            let problem = match needed(&step.action) {
                Some(needed) => format!("{words}; expected {}", needed_words(&needed)),
                None => words,
            };
            Some((FindingKind::Application, problem))
        }
        (StepOutcome::ProgramEnded { .. }, _) => {
            let words = outcome_words(outcome);
            let needed = wanted_end(&step.action).map(|status| format!("; expected {status}"));
            let before = pick!(&step.action, Action::Start(_) => " before it was ready".to_owned());
            let already = pick!(&step.action, Action::Stop { .. } => " before this step".to_owned());
            Some((FindingKind::Program, words + &needed.or(before).or(already).unwrap_or_default()))
        }
        (StepOutcome::Failed { .. }, _) => Some((FindingKind::Setup, outcome_words(outcome))),
    }
}

/// What is wrong with the end of a transfer, or of single calls, that must fail with this errno.
fn transfer_problem(wanted: &str, action: &Action, outcome: &StepOutcome) -> Option<(FindingKind, String)> {
    let calls = if matches!(action, Action::Shutdown { .. }) { "shutdown()" } else { "a read() or write()" };
    let words = outcome_words(outcome);
    let kind = match outcome {
        StepOutcome::Application(end) if end.error() == Some(wanted) => return None,
        StepOutcome::Done => {
            let problem = format!("expected {calls} to fail with {wanted}, but none failed");
            return Some((FindingKind::Application, problem));
        }
        StepOutcome::TimedOut(_) => {
            let problem = format!("{words}; expected {calls} to fail with {wanted}");
            return Some((FindingKind::Deadline, problem));
        }
        StepOutcome::Failed { .. } => return Some((FindingKind::Setup, words)),
        StepOutcome::Contradicted(_) => FindingKind::Contradiction,
        StepOutcome::NotQuiet { .. } => FindingKind::Deadline,
        StepOutcome::Application(_) | StepOutcome::Refused { .. } | StepOutcome::ProgramEnded { .. } => {
            FindingKind::Application
        }
    };
    Some((kind, format!("{words}; expected {wanted}")))
}

/// What a step expects from its last call, where that isn't bytes.
fn needed(action: &Action) -> Option<Got> {
    pick!(action, Action::Close { how, .. } => match how {
        CloseHow::Abrupt | CloseHow::Disconnect => Got::Error("ECONNRESET".to_owned()),
        CloseHow::Graceful | CloseHow::HalfClose => Got::EndOfStream,
    })
}
