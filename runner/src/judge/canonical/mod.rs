//! The canonical form of a recording: the text that a snapshot keeps. The same scenario on the same kernel gives the
//! same text each time, on a loaded machine, too; another kernel gives another text only where MPTCP behaves
//! differently.
//!
//! # What does not show
//!
//! * **Tokens, keys, nonces, HMACs, sequence numbers, ephemeral ports.** A token becomes the name of its connection
//!   (`token-1`… if it belongs to none), a port shows if the scenario itself names it.
//! * **Many connections of which the same is said**: the first is shown, and how many follow.
//! * **Time, and how many segments data took**, and on which subflow it went: the scheduler's choice depends on it.
//! * **Retransmissions.** An ADD_ADDR is retransmitted when its echo is late (from 6.18 on after 200 ms), a SYN when its
//!   answer is. The second ANNOUNCED of the same address, or the second SYN, is folded into the first. Expectations
//!   count them, where a scenario makes them happen on purpose.
//! * **Numbers that the kernel gives in the order in which subflows happen to come up**: the ids of implicit
//!   endpoints, if a namespace has several.
//! * **What chance does on a path**, and how often a rule matched that looks for what may be sent any number of times.
//! * **What depends on the kernel's version only**: counters and fields that came later than Linux 6.1, unless the
//!   scenario requires them; listener events, unless it requires `listener_events`; the server's side mark.
//!
//! # What may change places
//!
//! A namespace reports its events in one order, but only a part of it is promised. Two events keep their order if
//! they are *dependent*; all others are concurrent, and are put into the order of connection, kind and text. The
//! text is the least order in that sense that keeps all dependent events in place, so each order that the kernel can
//! report gives the same text. Dependent are:
//!
//! * CREATED, ESTABLISHED and CLOSED of a connection, and every event of that connection: they begin and end it.
//! * Events of one subflow; of subflows between the same two addresses, all events on the side that opened them, and
//!   the SUB_ESTABLISHED on the other one.
//! * ANNOUNCED and REMOVED of one address id.
//! * ANNOUNCED of an address, and SUB_ESTABLISHED or SUB_CLOSED of a subflow that this side opened to that address:
//!   the one brings about the other. When it is the peer that opens it, the two race on different links.
//! * SUB_ESTABLISHED and REMOVED of one remote address id.
//! * Listener events of one address and port.
//!
//! REMOVED and SUB_CLOSED of one id are *not* dependent: the REMOVE_ADDR and the FIN travel on different subflows.
//! A `quiet` step that ended is a barrier: nothing changes places across it. On the wire, the options of a direction
//! are treated in the same way.

mod alike;
mod counters;
mod errors;
mod events;
mod order;
mod paths;
mod state;
mod wire;

pub(super) use counters::{is_shown, is_timing};

use std::fmt::Write as _;

use crate::recording::{Observation, Recording, StepOutcome};
use crate::scenario::model::{Action, LeftOut, Scenario, SnapshotSection};

use super::names::Names;
use alike::{Block, fold};
use wire::Wire;

/// The canonical form of a recording. Always the same for the same behaviour; never empty for a run that was
/// recorded to its end.
pub fn canonical(scenario: &Scenario, recording: &Recording) -> String {
    form(&Names::of(scenario, recording))
}

/// The same for a recording of which the names are known.
pub(super) fn form(names: &Names<'_>) -> String {
    let scenario = names.scenario();
    let barriers = barriers(names);
    let wire = Wire::of(names, &barriers);
    let namespaces = || scenario.world.namespaces.iter().map(|namespace| namespace.name.as_str());
    let mut sections = Vec::new();
    for part in SnapshotSection::ALL.into_iter().filter(|part| scenario.snapshot_has(*part)) {
        match part {
            SnapshotSection::Connections => sections.push(connections(names)),
            SnapshotSection::Events => sections.extend(
                namespaces().map(|name| section(&format!("events of {name}"), &events::lines(names, name, &barriers))),
            ),
            SnapshotSection::Wire => sections.push(wire.text(names)),
            SnapshotSection::Rules => sections.push(section("rules of paths", &paths::lines(names))),
            SnapshotSection::Counters => sections.extend(
                namespaces().map(|name| section(&format!("counters of {name}"), &counters::lines(names, name, &wire))),
            ),
            // Both stand together for each connection.
            SnapshotSection::Subflows => sections.extend(state::of_connections(names)),
            SnapshotSection::Info if !scenario.snapshot_has(SnapshotSection::Subflows) => {
                sections.extend(state::of_connections(names));
            }
            SnapshotSection::Info => {}
            SnapshotSection::Endpoints => sections.extend(state::endpoints(names)),
            SnapshotSection::Limits => sections.push(state::limits(names)),
        }
    }
    sections.retain(|section| !section.is_empty());
    // What says nothing but what it leaves out is empty.
    if let (Some(left_out), false) = (&scenario.left_out, sections.is_empty()) {
        sections.insert(0, left_out_words(left_out));
    }
    sections.join("\n")
}

/// For the reader of the snapshot: what isn't in it, and why. Another reason is a difference.
fn left_out_words(left_out: &LeftOut) -> String {
    let words: Vec<&str> = left_out.sections.iter().map(|section| section.word()).collect();
    section(&format!("without {}", words.join(", ")), &[format!("because {}", left_out.because)])
}

/// A heading with indented lines; nothing, if there are no lines.
fn section(heading: &str, lines: &[String]) -> String {
    let mut text = String::new();
    if !lines.is_empty() {
        _ = writeln!(text, "{heading}:");
        for line in lines {
            _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// What became of each connection.
fn connections(names: &Names<'_>) -> String {
    let blocks = names
        .recording()
        .connections()
        .map(|connection| {
            let sides = [("client", connection.client_token), ("server", connection.server_token)];
            let plain = sides.iter().filter(|(_, token)| token.is_none()).map(|(side, _)| *side);
            let plain: Vec<&str> = plain.collect();
            let outcome = match plain.as_slice() {
                [] => "MPTCP".to_owned(),
                [side] => format!("MPTCP, but plain TCP on the {side}'s side"),
                _ => "plain TCP".to_owned(),
            };
            let client = names.socket(connection.client_address);
            let server = names.socket(connection.server_address);
            let line = format!("{}: {client} > {server}, {outcome}", connection.name);
            Block { name: connection.name.clone(), lines: vec![line] }
        })
        .collect();
    section("connections", &fold(blocks))
}

/// The indices of the entries at which a quiet period ended.
fn barriers(names: &Names<'_>) -> Vec<usize> {
    let is_quiet = |step: usize| {
        let step = names.scenario().steps.get(step);
        step.is_some_and(|step| matches!(step.action, Action::Quiet { .. }))
    };
    let entries = names.recording().entries.iter().enumerate();
    entries
        .filter(|(_, entry)| {
            matches!(&entry.what, Observation::StepFinished { step, outcome: StepOutcome::Done }
                if is_quiet(*step))
        })
        .map(|(index, _)| index)
        .collect()
}

/// The interval between two barriers that an entry is in.
fn interval(barriers: &[usize], entry: usize) -> usize {
    barriers.partition_point(|barrier| *barrier < entry)
}
