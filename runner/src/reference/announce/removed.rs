//! The REMOVE_ADDRs that a host receives.

use super::{cases, milliseconds};
use crate::reference::ledger::Ledger;
use crate::reference::view::{Said, Signal, View};
use crate::reference::{Candidate, Outcome, Rule};
use crate::text;

/// A removed address loses its subflows.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "close-subflows-to-removed-addresses",
    statement: "A received REMOVE_ADDR closes each subflow whose remote address ID it names, with any path manager.",
    source: "RFC 8684 section 3.4.2; net/mptcp/pm_kernel.c and net/mptcp/pm.c, mptcp_pm_nl_rm_addr_or_subflow",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for case in cases(view) {
        let half = case.half;
        let received: Vec<(&Signal, &Vec<u8>)> = half
            .signals
            .received()
            .filter_map(|signal| pick!(&signal.what, Said::Remove(ids) => (signal, ids)))
            .collect();
        for (signal, ids) in &received {
            // There is room for one that waits for the worker (RmAddrDrop).
            let is_alone = received.iter().all(|(other, _)| {
                other.entry == signal.entry
                    || view.until_late(signal.at) < other.at
                    || view.until_late(other.at) < signal.at
            });
            for id in *ids {
                let mut found = false;
                for ((flow, life), course) in half.flows.iter().zip(&half.lives).zip(&half.signals.courses) {
                    if course.remote_id != Some(*id)
                        || course.up_at.is_none_or(|up| up >= signal.at)
                        || course.left_at.is_some_and(|left| left < signal.at)
                    {
                        continue;
                    }
                    found = true;
                    let ends = format!("{} → {}", text::socket(flow.local), text::socket(flow.remote));
                    // Where the device is down, no segment tells, but the event does.
                    let told = life.closed.map(|closed| closed.at).filter(|_| case.has_link_down());
                    let left = course.left_at.or(course.reset_at).or(told);
                    let settled = view.settled_after(half, signal.at);
                    let (outcome, because) = match (left, settled) {
                        (Some(left), _) => (
                            Outcome::Done,
                            format!("closes {ends} after {}", milliseconds(left.saturating_sub(signal.at))),
                        ),
                        (None, Some(_))
                            if signal.is_sure && is_alone && !case.host.may_send_unseen(signal.at, view.end()) =>
                        {
                            (Outcome::Missing, format!("{ends} was not closed"))
                        }
                        (None, _) => continue,
                    };
                    ledger.decide(half, signal.at, Candidate::Removal { id: *id }, outcome, because, [signal.entry]);
                }
                if !found {
                    let because = "received; no subflow goes to this address ID";
                    ledger.decide(
                        half,
                        signal.at,
                        Candidate::Removal { id: *id },
                        Outcome::NotDone,
                        because,
                        [signal.entry],
                    );
                }
            }
        }
    }
}
