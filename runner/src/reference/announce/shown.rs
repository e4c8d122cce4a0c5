//! What `MPTCP_INFO` and the subflows show about announcements and priorities.

use std::collections::HashMap;

use super::{Case, cases, is_announced, port};
use crate::mptcp::{EndpointFlags, MptcpInfo, SubflowFlags, SubflowState, canonical};
use crate::recording::{Observation, Side, canonical_socket};
use crate::reference::ledger::Ledger;
use crate::reference::view::{Said, View};
use crate::reference::{Candidate, Outcome, Rule};

/// The numbers in `MPTCP_INFO`, and the backup flags of the subflows.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "show-announcements-and-priorities",
    statement: "MPTCP_INFO shows the number of announced addresses that still exist, of accepted announcements and the \
                limit of these, and of `signal`, `subflow` and `laminar` endpoints, as they are now. The backup flags of a subflow are those of the last \
                MP_PRIO in either direction, or of its MP_JOINs.",
    source: "net/mptcp/sockopt.c, mptcp_diag_fill_info; net/mptcp/diag.c, subflow_get_info; RFC 8684 section 3.3.8",
    kernels: "",
    apply,
};

/// What happens so shortly before the values are read may be in them or not.
const JUST_NOW: u64 = 5_000_000;

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    let cases: HashMap<(&str, Side), Case<'_, '_>> =
        cases(view).map(|case| ((case.half.name, case.half.side), case)).collect();
    for (index, entry) in view.recording.entries.iter().enumerate() {
        let Observation::Sockets { connection, side, info, subflows, .. } = &entry.what else { continue };
        let Some(case) = cases.get(&(connection.as_str(), *side)) else { continue };
        let shown = info.as_ref().map_or_else(Vec::new, |info| case.numbers(entry.at, info, view.stalled()));
        let flags = subflows.iter().flat_map(|subflow| case.flags(view, entry.at, subflow));
        for (what, is_right, because) in shown.into_iter().chain(flags) {
            let outcome = if is_right { Outcome::Done } else { Outcome::Wrong };
            ledger.decide(case.half, entry.at, Candidate::Shown { what }, outcome, because, [index]);
        }
    }
}

/// What is shown, whether it is right, and why.
type Shown = (String, bool, String);

fn number(name: &str, shown: u8, (least, most): (usize, usize), of: &str) -> Shown {
    let is_right = (least..=most).contains(&usize::from(shown));
    let range = if least == most { least.to_string() } else { format!("{least} to {most}") };
    (format!("{name} {shown} in MPTCP_INFO"), is_right, format!("{range} {of}"))
}

impl Case<'_, '_> {
    fn numbers(&self, at: u64, info: &MptcpInfo, stalled: u64) -> Vec<Shown> {
        if self.is_userspace != Some(false) || info.fallback() {
            return Vec::new();
        }
        let before = at.saturating_sub(JUST_NOW.saturating_add(stalled));
        let after = at.saturating_add(JUST_NOW);
        let with = |flags: EndpointFlags| {
            let periods = self.host.endpoints().iter();
            periods.filter(move |period| period.endpoint.flags.contains(flags))
        };
        let signal = || with(EndpointFlags::SIGNAL);
        let endpoints = |flags: EndpointFlags| {
            let through = with(flags).filter(|period| period.is_through(at, at)).count();
            (through, with(flags).filter(|period| period.may_be_in(at, at)).count())
        };
        let limits = self.host.limits().iter().filter(|period| period.may_be_in(at, at));
        let limits = limits.map(|period| usize::try_from(period.limits.add_addr_accepted).unwrap_or(usize::MAX));
        let limits = (limits.clone().min().unwrap_or(0), limits.max().unwrap_or(0));
        let mut shown = vec![
            number("add_addr_accepted_max", info.add_addr_accepted_max, limits, "is the limit add_addr_accepted"),
            number(
                "add_addr_signal_max",
                info.add_addr_signal_max,
                endpoints(EndpointFlags::SIGNAL),
                "signal endpoints",
            ),
        ];
        let later = [
            ("local_addr_max", info.local_addr_max, EndpointFlags::SUBFLOW, "subflow endpoints"),
            ("endp_laminar_max", info.endp_laminar_max, EndpointFlags::LAMINAR, "laminar endpoints"),
        ];
        shown.extend(
            later.into_iter().filter_map(|(name, value, flags, of)| Some(number(name, value?, endpoints(flags), of))),
        );
        // A deletion that timed out may have been done, or not.
        let announced_by = |until: u64, is_least: bool| {
            let there = signal().filter(
                move |period| {
                    if is_least { period.is_through(at, at) } else { period.may_be_in(at, at) }
                },
            );
            there.filter(move |period| {
                self.half.signals.sent().any(|signal| {
                    signal.at <= until
                        && (period.changed || signal.at >= period.from.started)
                        && matches!(signal.what, Said::Announce(announced, _) if is_announced(period, announced, self.half))
                })
            }).count()
        };
        // An announcement that has no room is counted, and never sent.
        let unsent =
            signal().filter(|period| canonical(period.endpoint.address).is_ipv6() && port(&period.endpoint).is_some());
        let announced = (announced_by(before, true), announced_by(after, false) + unsent.count());
        shown.push(number("add_addr_signal", info.add_addr_signal, announced, "announced addresses"));
        shown.push(number(
            "add_addr_accepted",
            info.add_addr_accepted,
            self.accepted(before, after),
            "accepted announcements",
        ));
        shown
    }

    /// The least and the greatest possible number of accepted announcements.
    fn accepted(&self, before: u64, after: u64) -> (usize, usize) {
        let signals = &self.half.signals;
        let received = self.received();
        let most =
            received.iter().filter(|one| one.announced.id != 0 && one.is_right && one.signal.at <= after).count();
        if signals.received().any(|signal| matches!(signal.what, Said::Remove(_)) && signal.at <= after) {
            return (0, most);
        }
        let mut addresses: Vec<_> = received
            .iter()
            .filter(|one| one.announced.id != 0 && one.is_right && one.signal.at <= before)
            .map(|one| (one.announced.address, one.announced.port, one.signal.at))
            .collect();
        addresses.sort_unstable();
        addresses.dedup_by_key(|(address, port, _)| (*address, *port));
        let initial = self.half.initial();
        let least = addresses.into_iter().filter(|(address, port, at)| {
            let is_initial = initial.is_some_and(|initial| canonical(initial.remote.ip()) == *address);
            let flows = self.half.flows.iter().zip(&signals.courses);
            let mut to = flows.filter(|(flow, _)| canonical(flow.remote.ip()) == *address);
            let opened = to.next();
            !is_initial
                && opened.is_some_and(|(flow, course)| {
                    flow.is_opener
                        && course.begun_at > *at
                        && course.begun_at <= before
                        && port.is_none_or(|port| port == flow.remote.port())
                })
        });
        (least.count(), most)
    }

    fn flags(&self, view: &View<'_>, at: u64, subflow: &SubflowState) -> Vec<Shown> {
        let ends = (canonical_socket(subflow.local), canonical_socket(subflow.remote));
        let found = self
            .half
            .flows
            .iter()
            .rposition(|flow| (canonical_socket(flow.local), canonical_socket(flow.remote)) == ends);
        let Some((index, course)) = found.and_then(|index| Some((index, self.half.signals.courses.get(index)?))) else {
            return Vec::new();
        };
        let before = at.saturating_sub(JUST_NOW.saturating_add(view.stalled()));
        if !course.is_up(before, at) {
            return Vec::new();
        }
        let sides = [
            (true, SubflowFlags::BKUP_LOC, course.backup.0, "this side"),
            (false, SubflowFlags::BKUP_REM, course.backup.1, "the peer"),
        ];
        let mut shown = Vec::new();
        for (is_sent, flag, joined, who) in sides {
            let mut all =
                self.half.signals.all.iter().filter(|signal| signal.is_sent == is_sent && signal.flow == index);
            let last = all.rfind(|signal| signal.at <= at && matches!(signal.what, Said::Priority(_)));
            if last.is_some_and(|signal| !signal.is_sure || signal.at > before) {
                continue;
            }
            let told = last.and_then(|signal| pick!(signal.what, Said::Priority(backup) => backup));
            let expected = told.or(joined).unwrap_or(false);
            if told.is_none() && !expected && !subflow.flags.contains(flag) {
                continue;
            }
            let word = |flag: bool| if flag { "backup" } else { "no backup" };
            let is_shown = subflow.flags.contains(flag);
            let by = if told.is_some() {
                "MP_PRIO"
            } else if joined.is_some() {
                "MP_JOIN"
            } else {
                "MP_CAPABLE"
            };
            let what = format!("{} of {who} for {} → {}", word(is_shown), ends.0.0, ends.1.0);
            shown.push((what, is_shown == expected, format!("the {by} of {who} says {}", word(expected))));
        }
        shown
    }
}
