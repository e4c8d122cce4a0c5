//! Subflows that endpoints of this side could open, and that don't exist.

use std::net::IpAddr;

use crate::here::because::Because;
use crate::here::decision::{Candidate, Decision, Outcome};
use crate::here::host::{AddressUse, Answer, Connection, Host, is_join};
use crate::mptcp::{Endpoint, EndpointFlags, Side, SubflowFlags, SubflowState, canonical};

use super::{change, closed_but_counted};

/// The endpoints from which one might expect a subflow to the peer's initial address.
pub(super) fn missing(host: &Host, connection: &Connection) -> Vec<Decision> {
    let without = without_subflow(host, connection);
    let tried = Tried::of(host, connection, &without);
    let decide = |endpoint: &&Endpoint| {
        let (outcome, because, change) = why(host, connection, endpoint, tried)?;
        let candidate = Candidate::Subflow {
            local: Some(canonical(endpoint.address)),
            remote: canonical(connection.remote.ip()),
            port: None,
            local_id: endpoint.id,
            remote_id: Some(0),
            backup: endpoint.flags.contains(EndpointFlags::BACKUP),
        };
        Some(Decision { candidate, outcome, because, change })
    };
    without.iter().filter_map(decide).collect()
}

/// Endpoints without a subflow from their address. That of the initial subflow is none of them while that exists.
fn without_subflow<'a>(host: &'a Host, connection: &Connection) -> Vec<&'a Endpoint> {
    let has = |endpoint: &Endpoint| {
        let address = canonical(endpoint.address);
        let initial = address == canonical(connection.local.ip()) && connection.has_initial();
        let mut joins = connection.subflows().iter().filter(|subflow| is_join(subflow));
        initial || joins.any(|subflow| canonical(subflow.local.ip()) == address)
    };
    let endpoints = host.endpoints.iter();
    endpoints.filter(|endpoint| !endpoint.flags.contains(EndpointFlags::IMPLICIT) && !has(endpoint)).collect()
}

/// Whether the kernel has already used the `subflow` endpoints that have no subflow. `local_addr_used` counts all that
/// it used, except that of the initial subflow (`mptcp_pm_create_subflow_or_signal_addr`, net/mptcp/pm_kernel.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    All,
    None,
    Some,
}

impl Tried {
    fn of(host: &Host, connection: &Connection, without: &[&Endpoint]) -> Self {
        let initial = canonical(connection.local.ip());
        let counts = |endpoint: &&Endpoint| {
            endpoint.flags.contains(EndpointFlags::SUBFLOW) && canonical(endpoint.address) != initial
        };
        let all = host.endpoints.iter().filter(|endpoint| counts(endpoint)).count();
        let missing = without.iter().filter(|endpoint| counts(endpoint)).count();
        let used = connection.info.as_ref().and_then(|info| info.local_addr_used).map_or(0, usize::from);
        match used.saturating_sub(all.saturating_sub(missing)) {
            0 => Self::None,
            used if used >= missing => Self::All,
            _ => Self::Some,
        }
    }
}

type Verdict = (Outcome, Because, Option<String>);

fn why(host: &Host, connection: &Connection, endpoint: &Endpoint, tried: Tried) -> Option<Verdict> {
    if !endpoint.flags.contains(EndpointFlags::SUBFLOW) {
        // Announcements have a row of their own.
        let because = role(endpoint).filter(|because| *because != Because::SignalOnly)?;
        let change = Some(role_change(endpoint));
        return Some((Outcome::No, because, change));
    }
    if connection.subflows.is_none() {
        let count = connection.info.as_ref().map_or(0, |info| info.subflows);
        let known = obstacle(host, connection, endpoint).or_else(|| doubt(host, endpoint, connection.remote.ip()));
        return Some(known.map_or(
            (Outcome::Unknown, Because::Unreadable { count }, Some("sudo mptcplab explain --here".to_owned())),
            |(because, change)| (Outcome::No, because, change),
        ));
    }
    let (because, change) = if connection.side == Some(Side::Server) {
        (Because::ServerSide, server_change(endpoint))
    } else {
        not_there(host, connection, endpoint, tried)
    };
    Some((Outcome::No, because, change))
}

fn not_there(host: &Host, connection: &Connection, endpoint: &Endpoint, tried: Tried) -> (Because, Option<String>) {
    if connection.deny_join_id0 {
        return (Because::DenyJoinId0, None);
    }
    if tried == Tried::None {
        if !is_established(connection) {
            return (Because::NotEstablished, None);
        }
        if let Some((because, limit)) = limit(connection) {
            return (because, Some(format!("{limit} && {}", change::retry(endpoint))));
        }
    }
    if let Some(found) = obstacle(host, connection, endpoint) {
        return found;
    }
    let peer = connection.remote.ip();
    let now = doubt(host, endpoint, peer);
    let again = now.as_ref().map_or_else(|| Some(change::retry(endpoint)), |(_, change)| change.clone());
    if let Some((device, via)) = host.late_gateway(endpoint.address, endpoint.dev.as_deref(), peer) {
        return (Because::BeforeRoute { device: device.to_owned(), via }, again);
    }
    let bind = host.mptcp_counter("MPJoinSynTxBindErr");
    if tried != Tried::None && bind > 0 {
        return (Because::TriedWithoutAddress { count: bind }, again);
    }
    if let Some(found) = now {
        return found;
    }
    let connect = host.mptcp_counter("MPJoinSynTxConnectErr");
    match tried {
        Tried::None => (Because::NotTriggered, again),
        _ if connect > 0 => (Because::TriedWithoutRoute { count: connect }, again),
        _ if host.counters.get("MPTcpExtMPJoinSynTx") == Some(&0) => (Because::NeverSent, None),
        Tried::Some | Tried::All => (gone(host), again),
    }
}

/// What prevents a subflow from this endpoint now, whatever the connection has done so far.
fn obstacle(host: &Host, connection: &Connection, endpoint: &Endpoint) -> Option<(Because, Option<String>)> {
    let (address, peer) = (canonical(endpoint.address), canonical(connection.remote.ip()));
    if address.is_ipv4() != peer.is_ipv4() {
        return Some((Because::Family, None));
    }
    if let Some(found) = unusable(host, endpoint) {
        return Some(found);
    }
    let errno = match host.answer(address, endpoint.dev.as_deref(), peer)? {
        Answer::Refused(errno) => errno.clone(),
        Answer::Leaves { .. } => return None,
    };
    let own = host.places(address).next().map_or("DEVICE", |own| own.device.as_str());
    let change = change::route(peer, endpoint.dev.as_deref().unwrap_or(own), endpoint);
    Some((Because::NoRoute { errno, device: endpoint.dev.clone() }, Some(change)))
}

/// What lets the kernel send a SYN that probably gets no answer.
fn doubt(host: &Host, endpoint: &Endpoint, peer: IpAddr) -> Option<(Because, Option<String>)> {
    let (address, peer) = (canonical(endpoint.address), canonical(peer));
    let dev = endpoint.dev.as_deref();
    if let Some(Answer::Leaves { device, assumed: true, .. }) = host.answer(address, dev, peer) {
        let because = Because::OnLinkAssumed { device: device.clone() };
        return Some((because, Some(change::route(peer, device, endpoint))));
    }
    let because = reverse_path(host, address, dev, peer)?;
    let change = pick!(&because, Because::ReversePath { device, .. } => {
        format!("sysctl net.ipv4.conf.{device}.rp_filter=2 && {}", change::retry(endpoint))
    });
    Some((because, change))
}

/// What is wrong with an endpoint by itself.
pub(super) fn unusable(host: &Host, endpoint: &Endpoint) -> Option<(Because, Option<String>)> {
    let address = canonical(endpoint.address);
    if let Some(dev) = &endpoint.dev
        && !host.devices.is_empty()
        && host.device(dev).is_none()
    {
        return Some((Because::NoDevice { dev: dev.clone() }, None));
    }
    let Some(place) = host.places(address).next() else {
        return Some((Because::NoAddress, Some(change::address(endpoint))));
    };
    if let std::net::IpAddr::V6(v6) = address
        && v6.is_unicast_link_local()
        && endpoint.dev.is_none()
    {
        return Some((Because::LinkLocal, Some(change::add_again(endpoint, endpoint.flags, Some(&place.device)))));
    }
    let named = endpoint.dev.as_deref();
    let place = host.places(address).find(|place| named == Some(&place.device)).unwrap_or(place);
    if let Some(dev) = named.filter(|dev| *dev != place.device) {
        let because = Because::WrongDevice { dev: dev.to_owned(), has: place.device.clone() };
        return Some((because, Some(change::add_again(endpoint, endpoint.flags, Some(&place.device)))));
    }
    match place.state {
        AddressUse::Usable => {}
        AddressUse::Tentative => return Some((Because::Tentative, Some(change::retry(endpoint)))),
        AddressUse::Duplicate => return Some((Because::Duplicate, None)),
    }
    let device = host.device(&place.device).filter(|device| !device.up || !device.carrier)?;
    let change = (!device.up).then(|| format!("ip link set {} up && {}", device.name, change::retry(endpoint)));
    Some((Because::DeviceDown { device: device.name.clone(), up: device.up }, change))
}

/// Strict reverse-path filtering on the device of the address drops answers if packets to the peer would leave by another
/// one. The kernel looks that up without the socket's device (`__fib_validate_source`, net/ipv4/fib_frontend.c).
pub(super) fn reverse_path(host: &Host, local: IpAddr, dev: Option<&str>, peer: IpAddr) -> Option<Because> {
    const STRICT: u8 = 1;
    let device = match dev {
        Some(dev) => dev,
        None => &host.places(local).next()?.device,
    };
    if !peer.is_ipv4() || host.device(device)?.rp_filter != Some(STRICT) {
        return None;
    }
    let leaves = match host.answer(local, None, peer)? {
        Answer::Leaves { device: by, .. } if by == device => return None,
        Answer::Leaves { device: by, .. } => Some(by.clone()),
        Answer::Refused(_) => None,
    };
    let dropped = host.counters.get("TcpExtIPReversePathFilter").copied().unwrap_or(0);
    Some(Because::ReversePath { device: device.to_owned(), leaves, dropped })
}

/// The endpoint's flags give it no subflow to the peer's initial address.
pub(super) fn role(endpoint: &Endpoint) -> Option<Because> {
    let flags = endpoint.flags;
    if flags.contains(EndpointFlags::SUBFLOW) {
        None
    } else if flags.contains(EndpointFlags::SIGNAL) {
        Some(Because::SignalOnly)
    } else if flags.contains(EndpointFlags::FULLMESH) {
        Some(Because::FullmeshOnly)
    } else if flags.contains(EndpointFlags::LAMINAR) {
        Some(Because::LaminarOnly)
    } else {
        Some(Because::NoRole { backup: flags.contains(EndpointFlags::BACKUP) })
    }
}

/// The flag that is missing.
pub(super) fn role_change(endpoint: &Endpoint) -> String {
    change::add_again(endpoint, endpoint.flags | EndpointFlags::SUBFLOW, None)
}

fn server_change(endpoint: &Endpoint) -> Option<String> {
    let flags = endpoint.flags.difference(EndpointFlags::SUBFLOW | EndpointFlags::FULLMESH) | EndpointFlags::SIGNAL;
    (!endpoint.flags.contains(EndpointFlags::SIGNAL)).then(|| change::add_again(endpoint, flags, None))
}

/// The limit of additional subflows, if it is reached, and the command that raises it.
pub fn limit(connection: &Connection) -> Option<(Because, String)> {
    let info = connection.info.as_ref()?;
    let (used, limit) = (info.subflows, info.subflows_max);
    (used >= limit).then(|| {
        let because = Because::Limit { used, limit: limit.into(), closed: closed_but_counted(connection) };
        (because, change::limit(limit.into(), 1))
    })
}

fn is_established(connection: &Connection) -> bool {
    let fully = |subflow: &SubflowState| subflow.flags.contains(SubflowFlags::FULLY_ESTABLISHED);
    connection.initial().is_none_or(fully)
}

/// What the counters say about subflows that were opened. They are those of all connections.
fn gone(host: &Host) -> Because {
    let counter = ["MPJoinSynAckHMacFailure", "MPJoinAckHMacFailure", "MPJoinSynTxCreatSkErr", "MPRstRx"]
        .into_iter()
        .map(|name| (name.to_owned(), host.mptcp_counter(name)))
        .find(|(_, count)| *count > 0);
    let (syns, answers) = (host.mptcp_counter("MPJoinSynTx"), host.mptcp_counter("MPJoinSynAckRx"));
    Because::Gone { syns, answers, counter }
}
