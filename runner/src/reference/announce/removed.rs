//! The REMOVE_ADDRs that a host receives.

use std::collections::BTreeMap;

use super::{Case, cases, milliseconds};
use crate::reference::ledger::Ledger;
use crate::reference::subflow::facts::moved;
use crate::reference::view::{Said, Signal, View};
use crate::reference::{Candidate, Outcome, Rule};
use crate::scenario::model::Operation;
use crate::text;

/// A removed address loses its subflows.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "close-subflows-to-removed-addresses",
    statement: "A received REMOVE_ADDR closes each subflow whose remote address ID it names, with any path manager, and \
                is counted (RmAddr).",
    source: "RFC 8684 section 3.4.2; net/mptcp/pm_kernel.c and net/mptcp/pm.c, mptcp_pm_nl_rm_addr_or_subflow",
    kernels: "",
    apply,
};

/// Whether a device was set down at some time: what TCP sends then at either end of its link is not captured.
fn has_link_down(view: &View<'_>) -> bool {
    let mut operations = view.hosts.values().flat_map(|host| &host.operations);
    operations.any(|(_, operation)| {
        matches!(operation, Operation::SetLink { up: false, .. } | Operation::DeleteDevice { .. })
    })
}

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    let mut handled: BTreeMap<&str, Vec<(Received<'_, '_>, u8)>> = BTreeMap::new();
    for case in cases(view) {
        let signals = case.half.signals.received();
        let all: Vec<(&Signal, &Vec<u8>)> =
            signals.filter_map(|signal| pick!(&signal.what, Said::Remove(ids) => (signal, ids))).collect();
        for (signal, ids) in &all {
            // There is room for one that waits for the worker (RmAddrDrop).
            let is_alone = all.iter().all(|(other, _)| {
                other.entry == signal.entry
                    || view.until_late(signal.at) < other.at
                    || view.until_late(other.at) < signal.at
            });
            let settled = view.settled_after(case.half, signal.at);
            let is_due = signal.is_sure && is_alone && settled.is_some();
            let received = Received { case, signal, is_due };
            for id in *ids {
                if received.decide(view, *id, ledger) && is_due {
                    handled.entry(case.half.namespace).or_default().push((received, *id));
                }
            }
        }
    }
    for due in handled.values() {
        count(view, due, ledger);
    }
}

/// A REMOVE_ADDR that this side received.
#[derive(Clone, Copy)]
struct Received<'v, 'a> {
    case: Case<'v, 'a>,
    signal: &'v Signal,
    /// The kernel took it, and had time for it.
    is_due: bool,
}

impl Received<'_, '_> {
    /// What became of the subflows to an address ID. Returns whether there was one that nobody had begun to close.
    fn decide(&self, view: &View<'_>, id: u8, ledger: &mut Ledger) -> bool {
        let Self { case: Case { half, host, .. }, signal, is_due } = *self;
        let (mut found, mut was_up) = (false, false);
        let mut decide = |outcome, because: String| {
            ledger.decide(half, signal.at, Candidate::Removal { id }, outcome, because, [signal.entry]);
        };
        for ((flow, life), course) in half.flows.iter().zip(&half.lives).zip(&half.signals.courses) {
            if course.remote_id != Some(id)
                || course.up_at.is_none_or(|up| up >= signal.at)
                || course.left_at.is_some_and(|left| left < signal.at)
            {
                continue;
            }
            found = true;
            was_up |= course.ended_at.is_none_or(|ended| ended > signal.at);
            let ends = format!("{} → {}", text::socket(flow.local), text::socket(flow.remote));
            // Where the link is down, no segment tells, but the event does.
            let told = life.closed.map(|closed| closed.at).filter(|_| has_link_down(view));
            match course.left_at.or(course.reset_at).or(told) {
                Some(left) => {
                    let after = milliseconds(left.saturating_sub(signal.at));
                    decide(Outcome::Done, format!("closes {ends} after {after}"));
                }
                None if is_due && !host.may_send_unseen(signal.at, view.end()) => {
                    decide(Outcome::Missing, format!("{ends} was not closed"));
                }
                None => {}
            }
        }
        if !found {
            decide(Outcome::NotDone, "received; no subflow goes to this address ID".to_owned());
        }
        was_up
    }
}

/// The peer closes the subflows of an address that it removes, too, and TCP answers that. Only a counter tells that the
/// path manager has done it: some kernels increase it for each address ID, others for each subflow.
fn count(view: &View<'_>, due: &[(Received<'_, '_>, u8)], ledger: &mut Ledger) {
    let Some((Received { case, signal, .. }, id)) = due.last() else { return };
    let Some(counted) = moved(view, case.half, COUNTER) else { return };
    let wanted = due.len();
    if usize::try_from(counted).is_ok_and(|counted| counted < wanted) {
        let because =
            format!("{COUNTER} increased by {counted}, and the peer removed {wanted} address IDs of subflows");
        ledger.decide(case.half, signal.at, Candidate::Removal { id: *id }, Outcome::Missing, because, [signal.entry]);
    }
}

/// Address IDs that the path manager has removed (`mptcp_pm_nl_rm_addr_or_subflow`).
const COUNTER: &str = "MPTcpExtRmAddr";
