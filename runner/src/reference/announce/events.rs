//! The events about addresses and priorities: `announced`, `removed`, `sub_priority`.

use std::collections::VecDeque;

use super::{Case, cases};
use crate::mptcp::{EventKind, PmEvent, canonical};
use crate::recording::canonical_socket;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Said, Signal, View};
use crate::reference::{Candidate, Outcome, Rule};

/// Each received ADD_ADDR, REMOVE_ADDR and MP_PRIO is an event.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "report-addresses-and-priorities",
    statement: "Each ADD_ADDR that is received with a right HMAC gives an event `announced` with its address ID, address and \
                port (or the remote port of the subflow), each address ID in a REMOVE_ADDR an event `removed`, each MP_PRIO \
                an event `sub_priority` with the ends of the subflow and the flag. There are no others.",
    source: "include/uapi/linux/mptcp_pm.h, enum mptcp_event_type; net/mptcp/options.c, mptcp_incoming_options; \
             net/mptcp/pm_netlink.c and net/mptcp/pm_kernel.c, mptcp_event_addr_announced and mptcp_event_addr_removed",
    kernels: "",
    apply,
};

/// What happens so shortly before a connection is closed may be reported or not, in nanoseconds.
const JUST_NOW: u64 = 200_000;

/// An event that a received option causes.
struct Expected<'v> {
    signal: &'v Signal,
    event: PmEvent,
    is_taken: bool,
}

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for case in cases(view).filter(|case| case.host.namespace.events) {
        let mut expected: Vec<Expected<'_>> = Vec::new();
        for signal in case.half.signals.received() {
            expected.extend(case.caused_by(signal).into_iter().map(|event| Expected {
                signal,
                event,
                is_taken: false,
            }));
        }
        // Those that were not yet found, by kind: a long connection has many of them.
        let mut open: VecDeque<usize> = (0..expected.len()).collect();
        for (entry, event) in &case.half.events {
            if !matches!(event.kind, EventKind::Announced | EventKind::Removed | EventKind::SubPriority) {
                continue;
            }
            let fits = |index: &usize| {
                expected.get(*index).is_some_and(|one| one.signal.entry < *entry && shows(event, &one.event))
            };
            if let Some(position) = open.iter().position(fits) {
                if let Some(one) = open.remove(position).and_then(|index| expected.get_mut(index)) {
                    one.is_taken = true;
                }
                continue;
            }
            let at = view.recording.entries.get(*entry).map_or(0, |entry| entry.at);
            let candidate = Candidate::Event { event: event.kind.word() };
            ledger.decide(case.half, at, candidate, Outcome::Wrong, "no option that was received says this", [*entry]);
        }
        for one in expected {
            let candidate = Candidate::Event { event: one.event.kind.word() };
            let (outcome, because) = if one.is_taken {
                (Outcome::Done, "its option was received")
            } else if one.signal.is_sure && case.is_reported(view, one.signal.at, one.signal.flow) {
                (Outcome::Missing, "its option was received")
            } else {
                continue;
            };
            ledger.decide(case.half, one.signal.at, candidate, outcome, because, [one.signal.entry]);
        }
    }
}

/// Whether an event says what another one says.
fn shows(event: &PmEvent, expected: &PmEvent) -> bool {
    event.kind == expected.kind
        && event.remote_id.is_none_or(|id| expected.remote_id.is_none_or(|known| known == id))
        && event.remote.map(canonical) == expected.remote
        && event.remote_port == expected.remote_port
        && event.local.map(canonical) == expected.local
        && event.local_port == expected.local_port
        && event.backup == expected.backup
}

impl Case<'_, '_> {
    /// Whether what happened on a subflow at this time is surely in the recording as an event. Events are made while the
    /// segment is processed, and read until the end of the run.
    pub(super) fn is_reported(&self, view: &View<'_>, at: u64, flow: usize) -> bool {
        let signals = &self.half.signals;
        let is_up = signals.courses.get(flow).is_some_and(|course| course.up_at.is_some_and(|up| up <= at));
        is_up && at.saturating_add(JUST_NOW) < signals.over_at && view.has_ended
    }

    fn caused_by(&self, signal: &Signal) -> Vec<PmEvent> {
        let Some(flow) = self.half.flows.get(signal.flow) else { return Vec::new() };
        let (local, remote) = (canonical_socket(flow.local), canonical_socket(flow.remote));
        match &signal.what {
            Said::Announce(announced, true) => vec![PmEvent {
                remote_id: Some(announced.id),
                remote: Some(announced.address),
                remote_port: Some(announced.port.unwrap_or(remote.1)),
                ..PmEvent::new(EventKind::Announced)
            }],
            Said::Remove(ids) => {
                let event = |id: &u8| PmEvent { remote_id: Some(*id), ..PmEvent::new(EventKind::Removed) };
                ids.iter().map(event).collect()
            }
            Said::Priority(backup) => vec![PmEvent {
                local: Some(local.0),
                local_port: Some(local.1),
                remote: Some(remote.0),
                remote_port: Some(remote.1),
                backup: Some(u8::from(*backup)),
                ..PmEvent::new(EventKind::SubPriority)
            }],
            Said::Announce(_, false) | Said::Echo(_) => Vec::new(),
        }
    }
}
