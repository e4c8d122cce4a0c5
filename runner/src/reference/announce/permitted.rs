//! What may be announced.

use super::{Case, Episode, cases, is_announced};
use crate::reference::ledger::Ledger;
use crate::reference::view::{Signal, View};
use crate::reference::{Outcome, Rule};
use crate::scenario::model::Operation;

/// An ADD_ADDR needs a signal endpoint, or a command of a userspace path manager.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "announce-only-signal-endpoints",
    statement: "An ADD_ADDR names a signal endpoint that exists: its address, its port, and its address ID, or address \
                ID 0 for the address of the initial subflow. With a userspace path manager, it names what `announce` \
                asked for. Nothing is announced after its removal.",
    source: "ip-mptcp(8): \"signal: The endpoint will be announced/signaled to each peer via an MPTCP ADD_ADDR \
             sub-option\"; net/mptcp/pm_kernel.c, select_signal_address; net/mptcp/pm_userspace.c, \
             mptcp_pm_nl_announce_doit",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for case in cases(view) {
        for episode in case.episodes() {
            for (count, signal) in episode.sent.iter().enumerate() {
                let (outcome, because) = judge(view, &case, &episode, signal);
                // Of the retransmissions, only what is wrong with them counts here.
                if count == 0 || outcome != Outcome::Done {
                    let candidate = episode.announced.candidate();
                    ledger.decide(case.half, signal.at, candidate, outcome, because, [signal.entry]);
                }
            }
        }
    }
}

fn judge(view: &View<'_>, case: &Case<'_, '_>, episode: &Episode<'_>, signal: &Signal) -> (Outcome, String) {
    match case.is_userspace {
        None => (Outcome::Undetermined, "the path manager was being changed".to_owned()),
        Some(true) => by_userspace(view, case, episode, signal),
        Some(false) => by_kernel(view, case, episode, signal),
    }
}

fn by_userspace(view: &View<'_>, case: &Case<'_, '_>, episode: &Episode<'_>, signal: &Signal) -> (Outcome, String) {
    let announced = episode.announced;
    let asked: Vec<_> = case.announcing(announced).filter(|span| span.started <= signal.at).collect();
    let removed = case.operations().any(|(span, operation)| {
        let is_removal = matches!(operation, Operation::RemoveAddress { token, id, .. }
            if *id == announced.id && case.is_named(token));
        let is_later = asked.iter().all(|asked| asked.finished <= span.started);
        is_removal && is_later && view.until_late(span.finished) < signal.at
    });
    if asked.is_empty() {
        (Outcome::Wrong, "no userspace path manager asked for it".to_owned())
    } else if removed {
        (Outcome::Wrong, "the userspace path manager had removed it".to_owned())
    } else {
        (Outcome::Done, "a userspace path manager asked for it".to_owned())
    }
}

fn by_kernel(view: &View<'_>, case: &Case<'_, '_>, episode: &Episode<'_>, signal: &Signal) -> (Outcome, String) {
    let all = case.host.endpoints().iter();
    let matching: Vec<_> = all.filter(|period| is_announced(period, episode.announced, case.half)).collect();
    if let Some(period) = matching.iter().find(|period| period.may_be_in(signal.at, signal.at)) {
        return (Outcome::Done, format!("signal endpoint {}", period.endpoint));
    }
    let deleted = matching.iter().filter_map(|period| period.until).map(|until| until.finished);
    let Some(deleted) = deleted.filter(|deleted| *deleted < signal.at).max() else {
        return (Outcome::Wrong, "no signal endpoint has this address, port and address ID".to_owned());
    };
    // What waited in the slot when the endpoint was deleted may still go out.
    let was_sent = episode.sent.iter().any(|sent| sent.at < deleted);
    if was_sent && view.until_late(deleted) < signal.at {
        (Outcome::Wrong, "its endpoint was deleted before".to_owned())
    } else {
        (Outcome::Undetermined, "its endpoint was being deleted".to_owned())
    }
}
