//! The events about a connection: `created`, `established`, `closed`.

use super::{Case, cases};
use crate::mptcp::{EventKind, PmEvent, canonical};
use crate::recording::{Side, canonical_socket};
use crate::reference::ledger::Ledger;
use crate::reference::view::View;
use crate::reference::{Candidate, Outcome, Rule};

/// What a connection reports, and in which order.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "report-connections",
    statement: "A connection reports `created`, then `established` when it is fully established, then its addresses and \
                subflows; each of the two once, with the ends of the initial subflow, the family, the side, and whether the \
                peer forbids joins to its initial address. `closed` comes once, when the application closes it, and no \
                event about a subflow follows.",
    source: "include/uapi/linux/mptcp_pm.h, enum mptcp_event_type; net/mptcp/pm.c, mptcp_pm_new_connection and \
             mptcp_pm_fully_established; net/mptcp/protocol.c, __mptcp_close and mptcp_close_ssk",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for case in cases(view).filter(|case| case.host.namespace.events) {
        let mut seen: Vec<EventKind> = Vec::new();
        for (entry, event) in &case.half.events {
            let at = view.recording.entries.get(*entry).map_or(0, |entry| entry.at);
            let contradiction = out_of_order(&seen, event).or_else(|| case.contradiction(event, at));
            let is_own = matches!(event.kind, EventKind::Created | EventKind::Established | EventKind::Closed);
            let (outcome, because) = match contradiction {
                Some(because) => (Outcome::Wrong, because),
                None if is_own => (Outcome::Done, "with the values of the initial subflow"),
                None => continue,
            };
            let candidate = Candidate::Event { event: event.kind.word() };
            ledger.decide(case.half, at, candidate, outcome, because, [*entry]);
            seen.push(event.kind);
        }
        let Some(established) = case.half.signals.established_at else { continue };
        if case.is_reported(view, established, 0) {
            for kind in [EventKind::Created, EventKind::Established] {
                if !seen.contains(&kind) {
                    let candidate = Candidate::Event { event: kind.word() };
                    let because = "the handshake was completed";
                    ledger.decide(case.half, established, candidate, Outcome::Missing, because, []);
                }
            }
        }
    }
}

fn out_of_order(seen: &[EventKind], event: &PmEvent) -> Option<&'static str> {
    let has = |kind| seen.contains(&kind);
    match event.kind {
        EventKind::Created if has(EventKind::Created) => Some("it was created already"),
        EventKind::Established if has(EventKind::Established) => Some("it was established already"),
        EventKind::Established if !has(EventKind::Created) => Some("it was not created yet"),
        EventKind::Closed if has(EventKind::Closed) => Some("it was closed already"),
        EventKind::SubEstablished | EventKind::SubClosed if has(EventKind::Closed) => {
            Some("the connection was closed already")
        }
        EventKind::SubEstablished | EventKind::Announced if !has(EventKind::Established) => {
            Some("the connection was not established yet")
        }
        EventKind::Created
        | EventKind::Established
        | EventKind::Closed
        | EventKind::Announced
        | EventKind::Removed
        | EventKind::SubEstablished
        | EventKind::SubClosed
        | EventKind::SubPriority
        | EventKind::ListenerCreated
        | EventKind::ListenerClosed
        | EventKind::Unknown(_) => None,
    }
}

impl Case<'_, '_> {
    /// What is wrong with the values of an event about the connection.
    fn contradiction(&self, event: &PmEvent, at: u64) -> Option<&'static str> {
        if event.kind == EventKind::Closed {
            let early = self.half.closing_at.is_some_and(|closing| at < closing) && at < self.half.signals.over_at;
            return early.then_some("nobody had closed the connection");
        }
        if !matches!(event.kind, EventKind::Created | EventKind::Established) {
            return None;
        }
        let initial = self.half.initial()?;
        let ends = (canonical_socket(initial.local), canonical_socket(initial.remote));
        let own =
            (event.local.map(canonical).zip(event.local_port), event.remote.map(canonical).zip(event.remote_port));
        let family = event.local.map(|address| if address.is_ipv4() { 2 } else { 10 });
        if own != (Some(ends.0), Some(ends.1)) {
            Some("it names other ends than those of the initial subflow")
        } else if event.family != family {
            Some("its family is not that of its addresses")
        } else if event.local_id.is_some_and(|id| id != 0) || event.remote_id.is_some_and(|id| id != 0) {
            Some("the address IDs of the initial subflow are 0")
        } else if event.server_side != (self.half.side == Side::Server) {
            Some("it names the other side")
        } else if event.deny_join_id0 != self.half.signals.is_denied {
            Some("the C flag of the peer's MP_CAPABLE says otherwise")
        } else {
            None
        }
    }
}
