//! Implicit endpoints.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::mptcp::EndpointFlags;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Half, View};
use crate::reference::{Candidate, Outcome, Rule};
use crate::scenario::model::Operation;

use super::facts::{initial_local, is_userspace, opened};

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "implicit-endpoints",
    statement: "The kernel adds an implicit endpoint for each local address of an additional subflow that is neither \
                the initial subflow's nor that of an endpoint, and for no other one. It stays when the connection is \
                gone, until it is deleted or flushed.",
    source: "ip-mptcp(8), `implicit`; mptcp_pm_nl_get_local_id, net/mptcp/pm_kernel.c",
    kernels: "",
    apply,
};

/// A local address, when the first subflow had it, and of which side.
type Used<'v, 'a> = BTreeMap<(&'a str, IpAddr), Vec<(u64, bool, &'v Half<'a>)>>;

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    if view.dumps.is_empty() {
        return;
    }
    let used = used(view);
    let first = |namespace: &str| view.halves().find(|half| half.namespace == namespace);
    for (at, namespace, endpoints) in &view.dumps {
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.flags.contains(EndpointFlags::IMPLICIT)) {
            let address = endpoint.address.to_canonical();
            let reason = used.get(&(*namespace, address)).and_then(|all| all.iter().find(|(since, ..)| since <= at));
            let (Some(half), outcome, because) = (match reason {
                Some((_, _, half)) => (Some(*half), Outcome::Done, format!("a subflow has the address {address}")),
                None => (first(namespace), Outcome::Wrong, format!("no subflow has the address {address}")),
            }) else {
                continue;
            };
            let what = format!("implicit endpoint {address} of {namespace}");
            ledger.decide(half, *at, Candidate::Shown { what }, outcome, because, []);
        }
    }
    for ((namespace, address), all) in &used {
        let Some((since, _, half)) = all.iter().find(|(_, is_sure, _)| *is_sure) else { continue };
        let Some(dump) = view.dumps.iter().find(|(at, of, _)| of == namespace && at > since) else { continue };
        let Some(host) = view.hosts.get(namespace) else { continue };
        let changes = host.operations.iter().any(|(span, operation)| {
            span.started <= dump.0
                && matches!(operation, Operation::DeleteEndpoint { .. } | Operation::FlushEndpoints { .. })
        });
        let changes = changes || host.deleted_by_programs().any(|(span, _)| span.started <= dump.0);
        // The list of endpoints has a maximum length.
        if changes || dump.2.len() >= MOST {
            continue;
        }
        let is_there = dump.2.iter().any(|endpoint| endpoint.address.to_canonical() == *address);
        let outcome = if is_there { Outcome::Done } else { Outcome::Missing };
        let what = format!("an endpoint {address} of {namespace}");
        let because = format!("a subflow has the address {address}");
        ledger.decide(half, dump.0, Candidate::Shown { what }, outcome, because, []);
    }
}

/// The least maximum of endpoints that a kernel has (`MPTCP_PM_ADDR_MAX`).
const MOST: usize = 8;

/// The local addresses of additional subflows, with times; `true` if the subflow was opened by this side's in-kernel path
/// manager.
fn used<'v, 'a>(view: &'v View<'a>) -> Used<'v, 'a> {
    let mut used: Used<'v, 'a> = BTreeMap::new();
    for half in view.halves() {
        let Some(host) = view.host(half) else { continue };
        let initial = initial_local(half);
        let is_kernel = is_userspace(host, half) == Some(false);
        for (flow, life) in half.flows.iter().zip(&half.lives).filter(|(flow, _)| !flow.is_initial) {
            let address = flow.local.ip().to_canonical();
            let Some(syn) = life.syn.filter(|_| address != initial) else { continue };
            used.entry((half.namespace, address)).or_default().push((syn.at, false, half));
        }
        for opened in opened(view, half).filter(|opened| is_kernel && opened.local() != initial) {
            let established = opened.life.third_ack.map(|mark| mark.at);
            used.entry((half.namespace, opened.local())).or_default().extend(established.map(|at| (at, true, half)));
        }
    }
    used
}
