//! Whether all bytes of each transfer arrived as they were sent.

use std::collections::HashMap;

use serde_json::json;

use crate::judge::names::Names;
use crate::judge::outcome::{Arrived, arrival_words};
use crate::judge::time_line::around;
use crate::judge::verdict::range_value;
use crate::judge::{Finding, FindingKind};
use crate::recording::{Integrity, Observation, Side, StepOutcome};
use crate::scenario::model::{Action, CloseHow, Step, TransferPlan};

use super::steps::Progress;

/// One direction of a transfer step.
struct Direction<'a> {
    index: usize,
    step: &'a Step,
    plan: &'a TransferPlan,
    sender: Side,
    bytes: u64,
    /// The entry with which its step began.
    begin: usize,
    /// The scenario closes the connection abruptly while the transfer may still run.
    cut_off: bool,
}

/// What is wrong with the transfers.
pub(super) fn check(names: &Names<'_>, progress: Progress) -> Vec<Finding> {
    let directions = directions(names);
    let mut by_connection: HashMap<(&str, Side), Vec<usize>> = HashMap::new();
    for (number, direction) in directions.iter().enumerate() {
        by_connection.entry((&direction.plan.connection, direction.sender)).or_default().push(number);
    }
    let mut has_result = vec![false; directions.len()];
    let mut findings = Vec::new();
    for (index, entry) in names.recording().entries.iter().enumerate() {
        let Observation::Transferred { connection, sender, bytes, integrity, .. } = &entry.what else { continue };
        // Transfers of a connection follow one another: the result is of the last one that was begun.
        let begun = by_connection.get(&(connection.as_str(), *sender)).map_or(&[][..], Vec::as_slice);
        let of = begun.iter().rev().filter_map(|number| Some((*number, directions.get(*number)?)));
        let of = of.into_iter().find(|(_, direction)| direction.begin <= index);
        let whose = format!("transfer on {connection} from the {}", sender.word());
        let Some((number, direction)) = of else {
            findings.push(Finding::new(FindingKind::Incomplete, format!("{whose}: the scenario has none")));
            continue;
        };
        if let Some(slot) = has_result.get_mut(number) {
            *slot = true;
        }
        // Why is said by the call that failed.
        let is_told = matches!(integrity, Integrity::Short { .. }) && has_failed(names, connection);
        if !is_told && is_problem(direction, *bytes, integrity) {
            let (wanted, tolerated) = (direction.bytes, direction.plan.tolerate_corrupt);
            let arrived = arrived(*bytes, integrity);
            let problem = arrival_words(wanted, tolerated, &arrived);
            findings.push(
                Finding::new(FindingKind::Integrity, format!("{whose}: {problem}"))
                    .placed(direction.step.place)
                    .detailed(around(names, index))
                    .valued(json!({ "bytes": wanted, "corrupt": range_value(&(0..=tolerated)) }), arrived)
                    .at(Some(entry.at)),
            );
        }
    }
    let missing = directions.iter().zip(has_result).filter(|(direction, has_result)| {
        let ended = progress == Progress::Whole || (!direction.plan.background && progress.is_done(direction.index));
        ended && !has_result && !direction.cut_off
    });
    findings.extend(missing.map(|(direction, _)| {
        let (connection, sender) = (&direction.plan.connection, direction.sender.word());
        let summary = format!("transfer on {connection} from the {sender}: its result is not in the recording");
        Finding::new(FindingKind::Incomplete, summary).placed(direction.step.place)
    }));
    findings
}

/// A step ended because a call on this connection failed.
fn has_failed(names: &Names<'_>, connection: &str) -> bool {
    names.recording().entries.iter().any(|entry| {
        matches!(&entry.what, Observation::StepFinished { outcome: StepOutcome::Application(end), .. }
            if end.connection == connection)
    })
}

fn directions<'a>(names: &Names<'a>) -> Vec<Direction<'a>> {
    let steps = &names.scenario().steps;
    let mut directions = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let Action::Transfer(plan) = &step.action else { continue };
        let begin = names.index().started.get(&index).copied();
        let Some(begin) = begin else { continue };
        let cut_off = plan.background && is_cut_off(steps.get(index.saturating_add(1)..).unwrap_or_default(), plan);
        for (sender, bytes) in [(Side::Client, plan.from_client), (Side::Server, plan.from_server)] {
            if bytes > 0 {
                directions.push(Direction { index, step, plan, sender, bytes, begin, cut_off });
            }
        }
    }
    directions
}

/// Whether the connection is closed abruptly before its background transfer was waited for.
fn is_cut_off(later: &[Step], plan: &TransferPlan) -> bool {
    later
        .iter()
        .find_map(|step| {
            let waited = pick!(&step.action, Action::FinishTransfer { connection, .. } => (connection, false));
            let cut = || {
                pick!(&step.action, Action::Close { connection, how: CloseHow::Abrupt | CloseHow::Disconnect, .. }
                    => (connection, true))
            };
            waited.or_else(cut).filter(|(connection, _)| **connection == plan.connection)
        })
        .is_some_and(|(_, cut)| cut)
}

fn is_problem(direction: &Direction<'_>, bytes: u64, integrity: &Integrity) -> bool {
    match integrity {
        Integrity::Corrupt { count, .. } if *count > direction.plan.tolerate_corrupt => true,
        Integrity::Short { .. } => !direction.cut_off,
        Integrity::Intact | Integrity::Corrupt { .. } => bytes != direction.bytes && !direction.cut_off,
    }
}

fn arrived(bytes: u64, integrity: &Integrity) -> Arrived {
    let corrupt = pick!(integrity, Integrity::Corrupt { first, count } => (*count, *first));
    Arrived { bytes, corrupt: corrupt.map_or(0, |(count, _)| count), first_corrupt: corrupt.map(|(_, first)| first) }
}
