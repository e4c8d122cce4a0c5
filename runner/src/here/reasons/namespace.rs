//! What can be known without a connection: the configuration's own faults, and why sockets don't use MPTCP.

use crate::here::because::Because;
use crate::here::decision::{Candidate, Decision, Outcome};
use crate::here::host::Host;
use crate::mptcp::{Endpoint, EndpointFlags, MptcpInfo, canonical};

use super::{change, endpoints};

/// Counters of fallbacks to TCP (net/mptcp/mib.h).
pub(super) const FALLBACKS: [&str; 9] = [
    "MPCapableFallbackSYNACK",
    "MPCapableFallbackACK",
    "MPCapableDataFallback",
    "DssFallback",
    "DSSCorruptionFallback",
    "InfiniteMapRx",
    "MPFallbackTokenInit",
    "MD5SigFallback",
    "SimultConnectFallback",
];

/// The faults of the configuration.
pub fn configuration(host: &Host) -> Vec<Decision> {
    let mut found = multipath(host);
    let userspace = host.other_path_manager();
    if let Some(setting) = userspace.clone().filter(|_| !host.endpoints.is_empty()) {
        let change = Some(change::kernel_path_manager(host));
        found.push(of_all(Because::OtherPathManager { setting }, change));
    }
    if userspace.is_none() && host.mptcp {
        if host.limits.is_some_and(|limits| limits.subflows == 0) {
            found.push(of_all(Because::LimitZero, Some(change::limit(0, 2))));
        }
        if has_no_endpoints(host) {
            found.push(Decision {
                candidate: Candidate::FromEndpoints,
                outcome: Outcome::Allowed,
                ..of_all(Because::NoEndpoints, None)
            });
        }
        found.extend(host.endpoints.iter().filter_map(|endpoint| fault(host, endpoint)));
    }
    found
}

/// No endpoints but those that the kernel made itself.
pub(super) fn has_no_endpoints(host: &Host) -> bool {
    host.endpoints.iter().all(|endpoint| endpoint.flags.contains(EndpointFlags::IMPLICIT))
}

/// Why connections don't use MPTCP at all.
pub fn multipath(host: &Host) -> Vec<Decision> {
    if !host.mptcp {
        return vec![of_mptcp(Because::NoMptcp, None)];
    }
    if host.sysctls.get("net.mptcp.enabled").is_some_and(|value| value == "0") {
        return vec![of_mptcp(Because::Disabled, Some("sysctl net.mptcp.enabled=1".to_owned()))];
    }
    let mut found = Vec::new();
    let blackhole = host.mptcp_counter("Blackhole");
    if blackhole > 0 && host.mptcp_counter("MPCapableSYNTXDisabled") > 0 {
        let timeout = host.sysctls.get("net.mptcp.blackhole_timeout").cloned();
        let change = Some("sysctl net.mptcp.blackhole_timeout=0".to_owned());
        found.push(of_mptcp(Because::Blackhole { count: blackhole, timeout }, change));
    }
    let fallbacks = host.mptcp_counter("MPCapableFallbackSYNACK");
    // A connection that fell back says so itself.
    let told = host.connections.iter().any(|one| one.info.as_ref().is_some_and(MptcpInfo::fallback));
    if fallbacks > 0 && !told {
        found.push(of_mptcp(Because::PeerWithoutMptcp { count: fallbacks }, None));
    }
    if host.connections.is_empty() {
        let change = Some("mptcpize run PROGRAM".to_owned());
        found.push(of_mptcp(Because::NoConnection, change));
    }
    found
}

fn of_all(because: Because, change: Option<String>) -> Decision {
    Decision { candidate: Candidate::Additional, outcome: Outcome::No, because, change }
}

fn of_mptcp(because: Because, change: Option<String>) -> Decision {
    Decision { candidate: Candidate::Mptcp, ..of_all(because, change) }
}

/// What is wrong with an endpoint, whatever the connection.
fn fault(host: &Host, endpoint: &Endpoint) -> Option<Decision> {
    if endpoint.flags.contains(EndpointFlags::IMPLICIT) {
        return None;
    }
    let role = endpoints::role(endpoint).filter(|because| *because != Because::SignalOnly);
    let (because, change) = match role {
        Some(because) => (because, Some(endpoints::role_change(endpoint))),
        None => endpoints::unusable(host, endpoint)?,
    };
    let candidate = Candidate::Endpoint { address: canonical(endpoint.address), id: endpoint.id };
    Some(Decision { candidate, outcome: Outcome::No, because, change })
}
