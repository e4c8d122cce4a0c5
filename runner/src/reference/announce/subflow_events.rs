//! The events about subflows: `sub_established`, `sub_closed`.

use super::{Case, cases};
use crate::mptcp::{EventKind, PmEvent, canonical};
use crate::recording::canonical_socket;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Course, Flow, View};
use crate::reference::{Candidate, Outcome, Rule};

/// A subflow that was established, and one that was closed, is an event.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "report-subflows",
    statement: "Each additional subflow that is established gives one event `sub_established` on either side, with its ends, \
                the address IDs of the MP_JOINs, and the backup flag of the peer. `sub_closed` comes once for a subflow, \
                with its ends; its reset reason is that of the MP_TCPRST that was received, and the error ECONNRESET needs \
                a RST. A reset subflow is reported while the connection lives.",
    source: "include/uapi/linux/mptcp_pm.h, enum mptcp_event_type; net/mptcp/protocol.c, mptcp_subflow_joined and \
             mptcp_close_ssk; net/mptcp/pm_netlink.c and net/mptcp/pm_kernel.c, mptcp_event_put_token_and_ssk",
    kernels: "",
    apply,
};

/// `ECONNRESET`.
const RESET: u8 = 104;

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for case in cases(view).filter(|case| case.host.namespace.events) {
        let count = case.half.flows.len();
        let (mut established, mut closed) = (vec![false; count], vec![false; count]);
        for (entry, event) in &case.half.events {
            let is_established = event.kind == EventKind::SubEstablished;
            if !is_established && event.kind != EventKind::SubClosed {
                continue;
            }
            let at = view.recording.entries.get(*entry).map_or(0, |entry| entry.at);
            let taken = if is_established { &mut established } else { &mut closed };
            let all = case.half.flows.iter().zip(&case.half.signals.courses).zip(taken.iter_mut());
            let mut all = all.filter(|((flow, course), taken)| {
                let ends = (canonical_socket(flow.local), canonical_socket(flow.remote));
                !**taken && course.begun_at <= at && own_ends(event) == (Some(ends.0), Some(ends.1))
            });
            let because = match all.next() {
                None if case.host.may_send_unseen(0, at) => continue,
                // Its SYN never left this host: its neighbour didn't answer.
                None if !is_established && !case.has_subflow(event) => None,
                None => Some("no such subflow, or it was reported already"),
                Some(((_, course), taken)) => {
                    *taken = true;
                    if is_established { contradiction(event, course, at) } else { closing(event, course, at) }
                }
            };
            let (outcome, because) = match because {
                Some(because) => (Outcome::Wrong, because),
                None => (Outcome::Done, "with the values of its subflow"),
            };
            let candidate = Candidate::Event { event: event.kind.word() };
            ledger.decide(case.half, at, candidate, outcome, because, [*entry]);
        }
        case.missing(view, &established, &closed, ledger);
    }
}

type End = Option<(std::net::IpAddr, u16)>;

fn own_ends(event: &PmEvent) -> (End, End) {
    (event.local.map(canonical).zip(event.local_port), event.remote.map(canonical).zip(event.remote_port))
}

/// What is wrong with the values of `sub_established`.
fn contradiction(event: &PmEvent, course: &Course, at: u64) -> Option<&'static str> {
    let differs = |shown: Option<u8>, known: Option<u8>| known.is_some() && shown != known;
    if course.up_at.is_none_or(|up| up > at) {
        Some("its handshake was not completed")
    } else if differs(event.local_id, course.local_id) {
        Some("this side's MP_JOIN has another address ID")
    } else if differs(event.remote_id, course.remote_id) {
        Some("the peer's MP_JOIN has another address ID")
    } else if differs(event.backup, course.backup.1.map(u8::from)) {
        Some("the peer's MP_JOIN has another backup flag")
    } else {
        None
    }
}

/// What is wrong with the values of `sub_closed`.
fn closing(event: &PmEvent, course: &Course, at: u64) -> Option<&'static str> {
    let reset = course.reset_at.filter(|reset| *reset <= at);
    if event.error == Some(RESET) && reset.is_none() {
        Some("no RST was received")
    } else if event.reset_reason.is_some() && event.reset_reason != course.reset_reason.map(u32::from) {
        Some("no RST with this reason was received")
    } else if event.local_id.is_some() && course.local_id.is_some() && event.local_id != course.local_id {
        Some("this side's MP_JOIN has another address ID")
    } else {
        None
    }
}

impl Case<'_, '_> {
    fn has_subflow(&self, event: &PmEvent) -> bool {
        let ends = |flow: &Flow| (Some(canonical_socket(flow.local)), Some(canonical_socket(flow.remote)));
        self.half.flows.iter().any(|flow| ends(flow) == own_ends(event))
    }

    fn missing(&self, view: &View<'_>, established: &[bool], closed: &[bool], ledger: &mut Ledger) {
        let flows = self.half.flows.iter().zip(&self.half.signals.courses).enumerate();
        for (index, (flow, course)) in flows {
            let Some(up) = course.up_at else { continue };
            // The acceptor may refuse a join at its third ACK; once it uses the subflow, it has accepted it.
            let joined = if flow.is_opener { Some(up) } else { course.used_at.map(|used| used.max(up)) };
            let joined = joined.filter(|_| !flow.is_initial);
            let missing = |taken: &[bool]| taken.get(index) == Some(&false);
            if let Some(joined) = joined.filter(|joined| missing(established) && self.is_reported(view, *joined, index))
            {
                let candidate = Candidate::Event { event: EventKind::SubEstablished.word() };
                ledger.decide(self.half, joined, candidate, Outcome::Missing, "its handshake was completed", []);
            }
            let reset = course.reset_at.filter(|reset| course.ended_at == Some(*reset));
            let reset = reset.filter(|reset| missing(closed) && view.settled_after(self.half, *reset).is_some());
            if let Some(reset) = reset.filter(|_| self.half.signals.established_at.is_some()) {
                let candidate = Candidate::Event { event: EventKind::SubClosed.word() };
                ledger.decide(self.half, reset, candidate, Outcome::Missing, "a RST was received", []);
            }
        }
    }
}
