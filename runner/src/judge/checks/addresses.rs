//! Endpoint dumps and limits.

use serde_json::json;

use crate::judge::{Finding, FindingKind, nearest, render};
use crate::mptcp::{Endpoint, canonical};
use crate::recording::Observation;
use crate::scenario::model::{EndpointsExpectation, LimitsExpectation};

use super::scope::Scope;
use super::sockets::pair_up;

/// What is wrong with the endpoints of a namespace.
pub(super) fn endpoints(scope: &Scope<'_, '_>, expected: &EndpointsExpectation) -> Option<Finding> {
    let dump = scope.taken(|what, now| match &expected.connection {
        None => pick!(what, Observation::Endpoints { namespace, moment, endpoints }
            if *namespace == expected.namespace && moment == now => endpoints),
        Some(of) => pick!(what, Observation::ConnectionEndpoints { namespace, connection, moment, endpoints }
            if connection == of
                && *namespace == expected.namespace
                && (moment == now || *moment == scope.sockets) => endpoints),
    });
    let whose = match &expected.connection {
        Some(connection) => format!("{} for {connection}", expected.namespace),
        None => expected.namespace.clone(),
    };
    let Some(dump) = dump else {
        return Some(scope.missing(&format!("the endpoints of {whose}")).placed(expected.place));
    };
    let pairs = pair_up(&expected.endpoints, dump, same_endpoint);
    if dump.len() == expected.endpoints.len() && pairs.iter().all(Option::is_some) {
        return None;
    }
    let missing = expected.endpoints.iter().zip(&pairs).filter(|(_, pair)| pair.is_none());
    let mut first = None;
    let missing = missing.map(|(endpoint, _)| {
        let free = dump.iter().enumerate().filter(|(index, _)| !pairs.contains(&Some(*index)));
        let free = free.map(|(_, dumped)| (dumped, nearest::of_endpoint(endpoint, dumped)));
        let (nearest, differs) = nearest::miss(free, ToString::to_string).unzip();
        first = first.take().or(differs);
        format!("  - missing: {endpoint}{}\n", nearest.unwrap_or_default())
    });
    let dumped = dump.iter().enumerate().map(|(index, endpoint)| {
        let sign = if pairs.contains(&Some(index)) { "    as expected:" } else { "  + unexpected:" };
        format!("{sign} {endpoint}\n")
    });
    let detail: String = missing.chain(dumped).collect();
    let summary = format!(
        "endpoints of {whose} {}: expected {}, found {}, {} of them as expected{}",
        scope.when,
        expected.endpoints.len(),
        dump.len(),
        pairs.iter().flatten().count(),
        first.unwrap_or_default()
    );
    let finding = Finding::new(FindingKind::Endpoints, summary).placed(expected.place).detailed(detail).at(scope.at());
    Some(finding.valued(&expected.endpoints, dump))
}

fn same_endpoint(expected: &Endpoint, dumped: &Endpoint) -> bool {
    canonical(expected.address) == canonical(dumped.address)
        && expected.port == dumped.port
        && (expected.id.is_none() || expected.id == dumped.id)
        && expected.flags == dumped.flags
        && expected.dev == dumped.dev
}

/// What is wrong with the limits of a namespace.
pub(super) fn limits(scope: &Scope<'_, '_>, expected: &LimitsExpectation) -> Option<Finding> {
    let observed = scope.taken(|what, now| {
        pick!(what, Observation::Limits { namespace, moment, limits }
            if *namespace == expected.namespace && moment == now => *limits)
    });
    let Some(observed) = observed else {
        return Some(scope.missing(&format!("the limits of {}", expected.namespace)).placed(expected.place));
    };
    let subflows = expected.subflows.is_none_or(|wanted| wanted == observed.subflows);
    let accepted = expected.add_addr_accepted.is_none_or(|wanted| wanted == observed.add_addr_accepted);
    if subflows && accepted {
        return None;
    }
    let mut wanted = String::new();
    render::push(&mut wanted, "add_addr_accepted", expected.add_addr_accepted);
    render::push(&mut wanted, "subflows", expected.subflows);
    let summary = format!("limits of {} {}: expected{wanted}, found {observed}", expected.namespace, scope.when);
    let finding = Finding::new(FindingKind::Limits, summary).placed(expected.place).at(scope.at());
    let wanted = json!({ "subflows": expected.subflows, "add_addr_accepted": expected.add_addr_accepted });
    Some(finding.valued(wanted, observed))
}
