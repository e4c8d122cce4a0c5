//! In which order, and how fast, signal endpoints are announced.

use super::{Case, cases, is_announced, port};
use crate::mptcp::{EndpointFlags, canonical};
use crate::reference::ledger::Ledger;
use crate::reference::view::{Announced, EndpointPeriod, Said, Span, View};
use crate::reference::{Outcome, Rule};
use crate::scenario::model::Operation;
use crate::wire::TcpFlags;

/// One announcement for each reason to go on, in the order of the endpoints.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "announce-one-at-a-time",
    statement: "Signal endpoints are announced one at a time, in the order in which they were added, those with a port \
                first. The next one follows when an echo arrives, when the retransmissions are exhausted, when a subflow \
                is established or closed, or when an endpoint is added or changed.",
    source: "net/mptcp/pm_kernel.c, mptcp_pm_create_subflow_or_signal_addr and select_signal_address; net/mptcp/pm.c, \
             mptcp_pm_add_addr_echoed, mptcp_pm_subflow_established and mptcp_pm_subflow_check_next",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for case in cases(view).filter(|case| case.is_userspace == Some(false)) {
        let episodes = case.episodes();
        let first = episodes.iter().filter_map(|episode| Some((*episode.sent.first()?, episode.announced)));
        let first: Vec<_> = first.collect();
        if first.is_empty() {
            continue;
        }
        let reasons = reasons(view, &case);
        let listed = listed(&case);
        for (count, (signal, announced)) in first.iter().enumerate() {
            // Being fully established is one of them.
            let known = reasons.iter().filter(|reason| **reason <= signal.at).count() + 1;
            let before: Vec<Announced> = first.iter().take(count).map(|(_, announced)| *announced).collect();
            let (outcome, because) = if known <= count {
                (Outcome::Wrong, format!("announcement {} after {known} reasons to announce one", count + 1))
            } else if let Some(endpoint) = skipped(&case, &listed, *announced, signal.at, &before) {
                (Outcome::Wrong, format!("the endpoint {endpoint} comes before it"))
            } else {
                (Outcome::Done, format!("announcement {} of this connection", count + 1))
            };
            ledger.decide(case.half, signal.at, announced.candidate(), outcome, because, [signal.entry]);
        }
    }
}

/// Everything that may make the path manager announce one more address, as early as it can have been.
fn reasons(view: &View<'_>, case: &Case<'_, '_>) -> Vec<u64> {
    let echoes = case.half.signals.received().filter(|signal| matches!(signal.what, Said::Echo(_)));
    let mut reasons: Vec<u64> = echoes.map(|signal| signal.at).collect();
    // The last retransmission, and what comes after it.
    reasons.extend(case.episodes().iter().flat_map(|episode| episode.sent.iter().skip(3).map(|signal| signal.at)));
    // Each segment of an additional subflow may be the one that establishes it.
    let segments = view.segments(case.half);
    let ends = TcpFlags::FIN | TcpFlags::RST;
    let of_subflows = segments.filter(|passed| passed.flow > 0 || passed.segment.flags.intersects(ends));
    reasons.extend(of_subflows.map(|passed| passed.at));
    let operations = case
        .operations()
        .filter(|(_, operation)| matches!(operation, Operation::AddEndpoint { .. } | Operation::ChangeEndpoint { .. }));
    reasons.extend(operations.map(|(span, _)| span.started));
    reasons
}

/// A signal endpoint that should have been announced before this one.
fn skipped(
    case: &Case<'_, '_>,
    listed: &[&EndpointPeriod],
    announced: Announced,
    at: u64,
    before: &[Announced],
) -> Option<String> {
    let own =
        listed.iter().position(|period| period.may_be_in(at, at) && is_announced(period, announced, case.half))?;
    let earlier = listed.get(..own)?.iter().find(|period| {
        let flags = period.endpoint.flags;
        // An endpoint that has been used for a subflow is not announced any more, and an IPv6 address with a port has no
        // room beside timestamps.
        let may_not_fit = canonical(period.endpoint.address).is_ipv6() && port(&period.endpoint).is_some();
        flags.contains(EndpointFlags::SIGNAL)
            && !flags.contains(EndpointFlags::SUBFLOW)
            && period.is_through(at.saturating_sub(1_000_000), at)
            && !before.iter().any(|known| is_announced(period, *known, case.half))
            && !is_initial(case, period)
            && !may_not_fit
    });
    earlier.map(|period| period.endpoint.to_string())
}

/// Whether an endpoint is that of the initial subflow: it is not announced.
pub(super) fn is_initial(case: &Case<'_, '_>, period: &EndpointPeriod) -> bool {
    case.half.initial().is_some_and(|initial| {
        canonical(period.endpoint.address) == canonical(initial.local.ip())
            && port(&period.endpoint).is_none_or(|port| port == initial.local.port())
    })
}

/// The endpoints in the order of the kernel's list: those with a port at its head, the last one first
/// (`mptcp_pm_nl_append_new_local_addr`, net/mptcp/pm_kernel.c).
pub(super) fn listed<'v>(case: &Case<'v, '_>) -> Vec<&'v EndpointPeriod> {
    // A dump is ordered by address IDs, so what was there at the start is put into the order of its declaration.
    let order = |period: &EndpointPeriod| {
        let own = &case.host.namespace.endpoints;
        let declared = own.iter().position(|(endpoint, _)| {
            canonical(endpoint.address) == canonical(period.endpoint.address) && endpoint.port == period.endpoint.port
        });
        if period.from == Span::SETUP { (0, declared) } else { (period.from.finished, None) }
    };
    let mut all: Vec<&EndpointPeriod> = case.host.endpoints().iter().filter(|period| !period.changed).collect();
    all.sort_by_key(|period| order(period));
    let (with, without): (Vec<_>, Vec<_>) = all.into_iter().partition(|period| port(&period.endpoint).is_some());
    with.into_iter().rev().chain(without).collect()
}
