//! Endpoint dumps and limits.

use serde_json::json;

use crate::judge::{Finding, FindingKind, nearest, render};
use crate::mptcp::{Endpoint, canonical};
use crate::recording::Observation;
use crate::scenario::model::{EndpointsExpectation, LimitsExpectation};

use super::pairs::{missing, pair_up};
use super::scope::Scope;

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
        return Some(scope.missing(&format!("the endpoints of {whose}"), expected.place));
    };
    let pairs = pair_up(&expected.endpoints, dump, same_endpoint);
    if dump.len() == expected.endpoints.len() && pairs.iter().all(Option::is_some) {
        return None;
    }
    let (words, differences) = (Endpoint::to_string, nearest::of_endpoint);
    let (missing, first) = missing(&expected.endpoints, dump, &pairs, words, differences, words);
    let dumped = dump.iter().enumerate().map(|(index, endpoint)| {
        let sign = if pairs.contains(&Some(index)) { "    as expected:" } else { "  + unexpected:" };
        format!("{sign} {endpoint}")
    });
    let detail: Vec<String> = missing.into_iter().chain(dumped).collect();
    let summary = format!(
        "endpoints of {whose} {}: expected {}, found {}, {} of them as expected{}",
        scope.when,
        expected.endpoints.len(),
        dump.len(),
        pairs.iter().flatten().count(),
        first.unwrap_or_default()
    );
    let finding = scope.finding(FindingKind::Endpoints, expected.place, summary).detailed(detail.join("\n") + "\n");
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
        return Some(scope.missing(&format!("the limits of {}", expected.namespace), expected.place));
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
    let finding = scope.finding(FindingKind::Limits, expected.place, summary);
    let wanted = json!({ "subflows": expected.subflows, "add_addr_accepted": expected.add_addr_accepted });
    Some(finding.valued(wanted, observed))
}
