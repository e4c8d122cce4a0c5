//! Which received announcements are accepted.

use std::net::IpAddr;

use super::echo::Received;
use super::{Case, cases};
use crate::mptcp::{EndpointFlags, canonical};
use crate::recording::Routed;
use crate::reference::ledger::Ledger;
use crate::reference::subflow::facts::increased;
use crate::reference::view::View;
use crate::reference::{Outcome, Rule};

/// An announcement becomes a subflow, within the limits.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "accept-announcements",
    statement: "The in-kernel path manager opens a subflow to an announced address, unless one exists, the address has \
                another family, or a limit is reached: `add_addr_accepted` announcements, `subflows` additional subflows. \
                Whether it accepts any is decided when the connection is created. With the limit at 0, the announcement \
                is echoed and then ignored, except if the peer forbids joins to its initial address (C flag).",
    source: "ip-mptcp(8): \"add_addr_accepted\"; net/mptcp/pm.c, mptcp_pm_add_addr_received and mptcp_pm_data_reset; \
             net/mptcp/pm_kernel.c, mptcp_pm_nl_add_addr_received",
    kernels: "",
    apply,
};

/// The guards at the moment when an announcement was received.
struct Guards {
    /// The number of announcements accepted before, and the limit.
    accepted: (usize, u32),
    /// The number of additional subflows, and their limit.
    additional: (usize, u32),
    /// Announcements were accepted when the connection was created.
    is_open: bool,
}

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for case in cases(view) {
        let received = case.received();
        let mut accepted: Vec<(u64, &Received<'_>)> = Vec::new();
        for one in received.iter().filter(|one| one.is_right) {
            let at = one.signal.at;
            let flow = case.opened_to(one);
            let begun = flow.and_then(|flow| case.half.signals.courses.get(flow)).map(|course| course.begun_at);
            let guards = case.guards(view, at, &accepted);
            let refusal = case.refusal(one, &guards);
            let (outcome, because) = match (begun, refusal) {
                (Some(_), Some((because, true))) => (Outcome::Wrong, format!("accepted, but {because}")),
                (_, Some((because, _))) => (Outcome::NotDone, because),
                (Some(begun), None) => {
                    accepted.push((begun, one));
                    let ((count, limit), (extra, most)) = (guards.accepted, guards.additional);
                    let because =
                        format!("add_addr_accepted {count} of {limit}, additional subflows {extra} of {most}");
                    (Outcome::Done, because)
                }
                (None, None) => match case.without_subflow(view, &received, one) {
                    Some(decided) => decided,
                    None => continue,
                },
            };
            ledger.decide(case.half, at, one.announced.candidate(), outcome, because, [one.signal.entry]);
        }
    }
}

impl Case<'_, '_> {
    /// The first subflow that this side opened to an announced address after it was announced.
    fn opened_to(&self, one: &Received<'_>) -> Option<usize> {
        let port = one.announced.port.or_else(|| self.half.initial().map(|initial| initial.remote.port()))?;
        self.half.flows.iter().zip(&self.half.signals.courses).position(|(flow, course)| {
            let is_there = canonical(flow.remote.ip()) == one.announced.address && flow.remote.port() == port;
            flow.is_opener && !flow.is_initial && is_there && course.begun_at >= one.signal.at
        })
    }

    fn guards(&self, view: &View<'_>, at: u64, accepted: &[(u64, &Received<'_>)]) -> Guards {
        let most = |from: u64| {
            let limits = self.host.limits().iter().filter(|period| period.may_be_in(from, at));
            limits.fold((0, 0), |(accepted, subflows), period| {
                (accepted.max(period.limits.add_addr_accepted), subflows.max(period.limits.subflows))
            })
        };
        let (first_accepted, first_subflows) = {
            let limits = self.host.limits().iter().filter(|period| period.may_be_in(self.begun_at, self.begun_at));
            limits.fold((0, 0), |(accepted, subflows), period| {
                (accepted.max(period.limits.add_addr_accepted), subflows.max(period.limits.subflows))
            })
        };
        let now = most(at);
        let courses = self.half.flows.iter().zip(&self.half.signals.courses);
        let live = courses.filter(|(flow, course)| {
            !flow.is_initial && course.begun_at < at && course.ended_at.is_none_or(|ended| ended > at)
        });
        // One that was accepted at this very moment may not have been counted yet.
        let counted = accepted.iter().filter(|(begun, one)| view.until_late(*begun) < at && one.announced.id != 0);
        Guards {
            accepted: (counted.count(), now.0),
            additional: (live.count(), now.1),
            is_open: first_accepted > 0 && first_subflows > 0,
        }
    }

    /// The guard that keeps an announcement from being accepted, and whether it is certain that it does.
    fn refusal(&self, one: &Received<'_>, guards: &Guards) -> Option<(String, bool)> {
        let (half, announced, at) = (self.half, one.announced, one.signal.at);
        if self.is_userspace != Some(false) {
            return Some(("a userspace path manager decides about it".to_owned(), false));
        }
        let initial = half.initial()?;
        let is_initial = canonical(initial.remote.ip()) == announced.address;
        if announced.id == 0 && !is_initial {
            return Some(("address ID 0 belongs to another address, that of the initial subflow".to_owned(), true));
        }
        let courses = half.flows.iter().zip(&half.signals.courses);
        let mut live = courses.filter(|(flow, course)| {
            canonical(flow.remote.ip()) == announced.address
                && announced.port.is_none_or(|port| port == flow.remote.port())
                && course.begun_at < at
                && course.ended_at.is_none_or(|ended| ended > at)
        });
        if live.next().is_some() {
            return Some(("a subflow to this address exists".to_owned(), false));
        }
        let is_v4 = |address: IpAddr| canonical(address).is_ipv4();
        if is_v4(initial.local.ip()) && initial.local.is_ipv4() && !is_v4(announced.address) {
            return Some(("the connection is IPv4, the address is not".to_owned(), true));
        }
        let ((accepted, limit), (additional, most)) = (guards.accepted, guards.additional);
        let is_special = half.signals.is_denied && limit == 0;
        if announced.id != 0 && !guards.is_open && !is_special {
            let because = if limit == 0 {
                "add_addr_accepted 0: the announcement is echoed and then ignored"
            } else {
                "the limits were 0 when the connection was created: it is echoed and then ignored"
            };
            return Some((because.to_owned(), true));
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if announced.id != 0 && accepted >= limit && !is_special {
            return Some((format!("add_addr_accepted {accepted} of {limit}"), true));
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        (additional >= most).then(|| (format!("additional subflows {additional} of limit {most}"), false))
    }

    /// Why no guard stopped an announcement, and still no subflow came of it.
    fn without_subflow(
        &self,
        view: &View<'_>,
        received: &[Received<'_>],
        one: &Received<'_>,
    ) -> Option<(Outcome, String)> {
        let at = one.signal.at;
        if !one.signal.is_sure {
            return None;
        }
        let is_alone = received.iter().all(|other| {
            let (one, other) = (one.signal, other.signal);
            other.entry == one.entry || view.until_late(one.at) < other.at || view.until_late(other.at) < one.at
        });
        // There is room for one until the worker runs (`mptcp_pm_schedule_work`, net/mptcp/pm.c).
        if !is_alone {
            return (increased(view, self.half, "MPTcpExtAddAddrDrop") != Some(false))
                .then(|| (Outcome::NotDone, "another ADD_ADDR was waiting at that moment".to_owned()));
        }
        let mut own = view.scenario.world.addresses_of(self.half.namespace);
        let is_near = own.any(|own| own.covers(one.announced.address));
        let was_limited = self.half.flows.iter().filter(|flow| !flow.is_initial).count();
        let limit = self.host.limits().iter().map(|period| period.limits.subflows).min().unwrap_or(0);
        // Once a limit was reached, only a REMOVE_ADDR opens the gate again.
        let may_be_shut = was_limited >= usize::try_from(limit).unwrap_or(usize::MAX) || received.len() > 1;
        let special = EndpointFlags::FULLMESH | EndpointFlags::LAMINAR;
        let is_special = self.half.signals.is_denied
            || self.host.endpoints().iter().any(|period| period.endpoint.flags.intersects(special));
        let changes = self.operations().any(|(span, _)| span.started <= view.end());
        if !is_near {
            return match self.host.route(at, None, None, one.announced.address) {
                Some(Routed::Refused(errno)) => {
                    let because = format!("no route to {}: connect() fails ({errno})", one.announced.address);
                    Some((Outcome::NotDone, because))
                }
                Some(Routed::By { .. }) => None,
                None => Some((Outcome::NotDone, "no link of this host leads to this address".to_owned())),
            };
        }
        if matches!(one.announced.address, IpAddr::V6(address) if address.is_unicast_link_local()) {
            let because = "connect() to a link-local address fails without a device: it needs a `laminar` or `fullmesh` \
                           endpoint with a `dev`";
            return Some((Outcome::NotDone, because.to_owned()));
        }
        let settled = view.settled_after(self.half, at)?;
        let is_established = self.half.signals.established_at.is_some_and(|established| established <= at);
        if may_be_shut || is_special || changes || !is_established || self.host.may_send_unseen(at, settled) {
            return None;
        }
        Some((Outcome::Missing, "no limit was reached, and the address is on a link of this host".to_owned()))
    }
}
