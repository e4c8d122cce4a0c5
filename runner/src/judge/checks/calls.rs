//! What single calls of applications got.

use crate::judge::names::Names;
use crate::judge::outcome::calls_words;
use crate::judge::{Finding, FindingKind};
use crate::recording::{Calls, Observation, Side, SocketCall};
use crate::scenario::model::Action;

use super::steps::Progress;

/// What a step asks of its calls.
struct Asked<'a> {
    connection: &'a str,
    side: Side,
    is_read: bool,
    bytes: u64,
    inq: Option<u32>,
}

/// What is wrong with the calls of `read` and `write` steps. That one failed is said by the step.
pub(super) fn check(names: &Names<'_>, progress: Progress) -> Vec<Finding> {
    let steps = names.scenario().steps.iter().enumerate();
    let done = steps.filter(|(index, _)| progress.is_done(*index));
    let problems = done.filter_map(|(index, step)| {
        let asked = if let Action::Write { connection, by, bytes, error: None, .. } = &step.action {
            Asked { connection, side: *by, is_read: false, bytes: *bytes, inq: None }
        } else if let Action::Read { connection, by, bytes, inq, error: None, .. } = &step.action {
            Asked { connection, side: *by, is_read: true, bytes: *bytes, inq: *inq }
        } else {
            return None;
        };
        let (kind, summary, at) = problem(names, index, &asked)?;
        Some(Finding::new(kind, summary).placed(step.place).at(at))
    });
    problems.collect()
}

fn problem(names: &Names<'_>, step: usize, asked: &Asked<'_>) -> Option<(FindingKind, String, Option<u64>)> {
    let index = names.index();
    let range = *index.started.get(&step)?..*index.finished.get(&step)?;
    let entries = names.recording().entries.get(range).unwrap_or_default();
    let made = entries
        .iter()
        .find_map(|entry| pick!(&entry.what, Observation::Calls(calls) if is_of(calls, asked) => (entry.at, &**calls)));
    let Some((at, calls)) = made else {
        let summary = format!("step {}: what its calls got is not in the recording", step.saturating_add(1));
        return Some((FindingKind::Incomplete, summary, None));
    };
    let found = |kind, expected: String| Some((kind, format!("{}; expected {expected}", calls_words(calls)), Some(at)));
    if calls.wrong > 0 {
        return found(FindingKind::Integrity, "each byte as it was sent".to_owned());
    }
    if calls.bytes != asked.bytes {
        return found(FindingKind::Integrity, format!("{} bytes", asked.bytes));
    }
    match asked.inq {
        Some(inq) if calls.inq != Some(inq) => found(FindingKind::Application, format!("TCP_INQ {inq}")),
        _ => None,
    }
}

fn is_of(calls: &Calls, asked: &Asked<'_>) -> bool {
    let is_read = matches!(calls.call, SocketCall::Read | SocketCall::Peek);
    calls.connection == asked.connection && calls.side == asked.side && is_read == asked.is_read
}
