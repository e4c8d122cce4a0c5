//! When connections begin to end: by a step, or by a program.

use std::collections::HashMap;

use crate::recording::{Direction, Moment, Observation, Recording};
use crate::scenario::model::{Action, Scenario};
use crate::wire::MptcpOption;

use super::{Conversation, Half};

/// When a connection begins to end.
#[derive(Clone, Copy, Default)]
pub(super) struct Closing {
    /// The first step that closes it, or a direction of it; the earliest time at which a program may have done so.
    pub(super) step: Option<u64>,
    /// Its last sockets were recorded, which comes right before it is closed, also at the end of the run.
    sockets: Option<u64>,
    /// It was seen to have fallen back to TCP.
    fallback: bool,
}

impl Closing {
    /// From then on, nothing is said about it.
    pub(super) fn over_at(self) -> u64 {
        if self.fallback {
            return 0;
        }
        [self.step, self.sockets].into_iter().flatten().min().unwrap_or(u64::MAX)
    }
}

/// When each connection begins to end, by its name.
pub(super) fn closings<'a>(
    scenario: &'a Scenario,
    recording: &'a Recording,
    connections: &[Conversation<'a>],
) -> HashMap<&'a str, Closing> {
    let mut closings: HashMap<&str, Closing> = HashMap::new();
    for entry in &recording.entries {
        if let Observation::StepStarted { step, .. } = &entry.what
            && let Some(Action::Close { connection, .. }) = scenario.steps.get(*step).map(|step| &step.action)
        {
            let closing = closings.entry(connection).or_default();
            closing.step = closing.step.or(Some(entry.at));
        } else if let Observation::Sockets { connection, moment, info, .. } = &entry.what {
            let closing = closings.entry(connection).or_default();
            closing.fallback |= info.as_ref().is_none_or(|info| info.fallback());
            if *moment == Moment::BeforeClose {
                closing.sockets = closing.sockets.or(Some(entry.at));
            }
        }
    }
    for Conversation { client, server } in connections.iter().filter(|both| both.client.connection.by_programs) {
        let earliest = [client, server].into_iter().filter_map(|half| may_close_at(half, recording)).min();
        closings.entry(client.name).or_default().step = earliest;
    }
    closings
}

/// The earliest time at which a program may have closed its side, or stopped sending on it.
///
/// After close(), the kernel sends what was written, then a DATA_FIN at once (`mptcp_check_send_data_fin`,
/// net/mptcp/protocol.c). So the program may have closed the connection as soon as it began to write what came last before
/// the DATA_FIN. When all that was sent is acknowledged and the peer sends something to which the program answers, it has
/// not been closed yet.
fn may_close_at(half: &Half<'_>, recording: &Recording) -> Option<u64> {
    let (mut writes_since, mut in_flight) = (None, HashMap::new());
    let mut is_asked = false;
    for seen in &half.seen {
        let Some(entry) = recording.entries.get(seen.entry as usize) else { continue };
        let Observation::Packet { direction, segment, .. } = &entry.what else { continue };
        let (at, flow) = (entry.at, seen.flow);
        if *direction == Direction::In {
            is_asked |= segment.payload > 0;
            if in_flight.get(&flow).is_some_and(|end| *end == segment.acknowledgment) {
                in_flight.remove(&flow);
            }
            continue;
        }
        if segment.payload > 0 {
            if writes_since.is_none() || (in_flight.is_empty() && is_asked) {
                writes_since = Some(at);
            }
            is_asked = false;
            in_flight.insert(flow, segment.sequence.wrapping_add(segment.payload));
        }
        if segment.options.iter().any(closes) {
            return writes_since.or(Some(at));
        }
    }
    writes_since.filter(|_| !in_flight.is_empty())
}

fn closes(option: &MptcpOption) -> bool {
    matches!(option, MptcpOption::Dss { data_fin: true, .. } | MptcpOption::MpFastclose { .. })
}

#[cfg(test)]
mod tests {
    use crate::recording::{Direction, Observation, Recording};
    use crate::reference::consult;
    use crate::reference::view::View;
    use crate::wire::Head;

    /// A recording of the repository, as if programs had made its connection.
    fn recording() -> Recording {
        let path = format!("{}/../fixtures/recordings/fullmesh-ipv4.jsonl", env!("CARGO_MANIFEST_DIR"));
        let mut recording =
            crate::recording::read(std::io::BufReader::new(std::fs::File::open(path).unwrap())).unwrap();
        for entry in &mut recording.entries {
            if let Observation::Connected { connection } = &mut entry.what {
                connection.by_programs = true;
            }
        }
        recording
    }

    #[test]
    fn a_program_may_have_closed_when_it_began_to_write_what_came_last() {
        let recording = recording();
        let scenario = recording.header.scenario().unwrap();
        let view = View::new(&scenario, &recording);
        let closing = view.connections[0].client.closing_at.unwrap();
        let data = recording.entries.iter().filter(|entry| {
            matches!(&entry.what, Observation::Packet { namespace, direction: Direction::Out, segment, .. }
                if segment.payload > 0 && (["client", "server"].contains(&namespace.as_str())))
        });
        let data: Vec<u64> = data.map(|entry| entry.at).collect();
        assert!(data.contains(&closing) && closing > data[0], "{closing}: {data:?}");
    }

    #[test]
    fn nothing_is_said_about_the_bytes_of_programs() {
        let mut recording = recording();
        let scenario = recording.header.scenario().unwrap();
        for entry in &mut recording.entries {
            if let Observation::Packet { segment, .. } = &mut entry.what {
                segment.head = Head::default();
            }
        }
        let reference = consult(&scenario, &recording);
        assert!(reference.decisions.iter().all(|decision| decision.rule.name != "payload"));
        assert_eq!(reference.violations().count(), 0);
    }
}
