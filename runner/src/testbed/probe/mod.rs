//! Probing the kernel's features by trying them in a scratch namespace. Versions say nothing: distributions backport.

mod listeners;
mod mptcp;
mod path_manager;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::files;
use crate::net::{Address, Hardware, Route, RouteType, RoutingRule};
use crate::netlink::nft::NftClient;
use crate::netlink::route::{Request, TokenBucket};
use crate::plan::Setup;
use crate::scenario::model::{Device, DeviceKind, Feature};
use crate::sys::sandbox;

use super::{BaseNamespace, Node, TestbedError, build, sysctl};
pub use listeners::watch_listeners;

/// Whether the kernel has a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// It does.
    Yes,
    /// It doesn't, with the reason: `this kernel has no counter MPTcpExtFoo`.
    No(String),
}

/// Probes these features without side effects: the namespace is gone afterwards. Takes a few milliseconds. The calling
/// thread must be in the base namespace (see [`BaseNamespace::enter_for_good`]), in a tokio runtime.
///
/// # Errors
///
/// The scratch namespace can't be created. A feature that can't be tried isn't available, and the reason says why.
pub async fn probe(
    base: &Arc<BaseNamespace>,
    features: &BTreeSet<Feature>,
) -> Result<BTreeMap<Feature, Availability>, TestbedError> {
    let mut found = BTreeMap::new();
    for feature in features {
        // Each in its own namespace, so that no probe can affect the next one.
        let programs = *feature == Feature::Programs;
        let testbed = build(base, &[Setup::Namespace { name: SCRATCH.to_owned(), programs }], 0)?;
        let tried = try_feature(testbed.node(SCRATCH)?, feature).await;
        found.insert(feature.clone(), tried.map_or_else(Availability::No, |()| Availability::Yes));
    }
    Ok(found)
}

/// The name of the scratch namespace, for errors.
const SCRATCH: &str = "scratch";

async fn try_feature(node: &Node, feature: &Feature) -> Result<(), String> {
    match feature {
        Feature::Mptcp => mptcp::socket(node, socket2::Domain::IPV4).map(drop),
        Feature::ListenerEvents => mptcp::listener_events(node),
        Feature::Laminar => mptcp::laminar(node).await,
        Feature::TokenDump => mptcp::token_dump(node).await,
        Feature::MixedFamilies => mptcp::mixed_families(node).await,
        Feature::FamilyRules => path_manager::family_rules(node).await,
        Feature::FullmeshOnce => path_manager::fullmesh_once(node).await,
        Feature::SubflowDevice => path_manager::subflow_device(node).await,
        Feature::EndpointErrnos => path_manager::endpoint_errnos(node).await,
        Feature::Info(field) => mptcp::info(node, field).await,
        Feature::Option(word) => mptcp::option(node, word),
        Feature::NoEventListener => listeners::no_event_listener(node).await,
        Feature::Nftables => text(node.run(NftClient::available))?,
        Feature::Nat => text(node.run(NftClient::translates))?,
        Feature::Device(kind) => device(node, kind),
        Feature::Tbf => tbf(node),
        Feature::RoutingRules => routing_rules(node),
        Feature::Programs => node.host().map(drop),
        Feature::ForcedMptcp => sandbox::can_be_forced(),
        Feature::Program(name) if sandbox::installed(name) => Ok(()),
        Feature::Program(name) => Err(format!("{name} is not installed")),
        Feature::Counter(name) => counter(node, name),
        Feature::Sysctl(name) => text(text(node.run(|| sysctl::read(name)))?).map(drop),
    }
}

/// The error's own words.
fn text<T, E: std::error::Error>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// On `lo`, where nothing runs.
fn tbf(node: &Node) -> Result<(), String> {
    const LOOPBACK: u32 = 1;
    let bucket = TokenBucket::for_link(1_000_000, 1500).ok_or("no bucket")?;
    text(node.route().request(Request::set_rate(LOOPBACK, "lo", bucket)))?;
    let queues = text(node.route().queues())?;
    let rate = queues.iter().find(|queue| queue.index == LOOPBACK).and_then(|queue| queue.rate);
    match rate {
        Some(rate) if rate == bucket.bits_per_second() => Ok(()),
        Some(rate) => Err(format!("the kernel accepted the rate, but it reads {rate} bit/s")),
        None => Err("the kernel accepted the rate, but shows none".to_owned()),
    }
}

/// On one end of a veth pair.
fn device(node: &Node, word: &str) -> Result<(), String> {
    let name = |text: &str| text.to_owned();
    let kind = match word {
        "vlan" => DeviceKind::Vlan { on: name("lower"), id: 7 },
        "macvlan" => DeviceKind::Macvlan { on: name("lower") },
        "bridge" => DeviceKind::Bridge { ports: Vec::new() },
        "vrf" => DeviceKind::Vrf { ports: Vec::new(), table: 1000 },
        _ => DeviceKind::Dummy,
    };
    let hardware = |index: u32| Hardware { index: 100_000 + index, mac: [2, 0, 0, 0, 9, 9] };
    let ends = [node.veth_end("lower", hardware(1)), node.veth_end("other", hardware(2))];
    text(node.route().request(Request::add_veth(ends, None)))?;
    let on = kind.on().map(|_| hardware(1).index);
    let device = Device { name: name("upper"), kind, addresses: Vec::new() };
    text(node.route().request(Request::add_device(&device, hardware(3), on)))
}

/// Kernels without `CONFIG_IP_MULTIPLE_TABLES` put a route of any table into the main one (`fib_new_table`,
/// include/net/ip_fib.h): reading back tells.
fn routing_rules(node: &Node) -> Result<(), String> {
    const TABLE: u32 = 1000;
    for address in [IpAddr::from([192, 0, 2, 0]), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 0])] {
        let prefix = Address { address, prefix: 24 };
        let route = Route { kind: RouteType::Blackhole, table: Some(TABLE), ..Route::new(prefix) };
        text(node.add_route(&route))?;
        text(node.add_rule(&RoutingRule { from: Some(prefix), table: Some(TABLE), ..RoutingRule::default() }))?;
    }
    Ok(())
}

fn counter(node: &Node, name: &str) -> Result<(), String> {
    // Not /proc/net, which is the main thread's.
    let read = |file: &str| files::kernel::read_text(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    let tables = text(node.run(|| ["netstat", "snmp"].map(read)))?;
    if tables.iter().any(|table| has_counter(table, name)) {
        Ok(())
    } else {
        Err(format!("this kernel has no counter {name}"))
    }
}

/// Whether a table in the format of /proc/net/netstat (`Prefix: Name Name…`, then a line with the values) has the
/// counter that nstat(8) calls `PrefixName`.
fn has_counter(table: &str, name: &str) -> bool {
    table.lines().step_by(2).any(|line| {
        line.split_once(": ").is_some_and(|(prefix, names)| {
            name.strip_prefix(prefix).is_some_and(|rest| names.split_whitespace().any(|name| name == rest))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_known_by_their_nstat_names() {
        let table = "TcpExt: SyncookiesSent MPTCPRetrans\nTcpExt: 7 0\nMPTcpExt: MPJoinSynRx\nMPTcpExt: 0\n";
        assert!(has_counter(table, "MPTcpExtMPJoinSynRx"));
        assert!(has_counter(table, "TcpExtSyncookiesSent"));
        for name in ["MPTcpExtMPTCPRetrans", "MPTcpExtMPJoin", "MPJoinSynRx", "TcpExt7", "TcpExt", ""] {
            assert!(!has_counter(table, name), "{name}");
        }
    }
}
