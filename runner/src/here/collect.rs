//! Reads everything from the kernel: the network namespace of the calling thread, without changing anything and without
//! entering another one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::files;
use crate::mptcp::{MptcpInfo, Side, SubflowFlags, SubflowState, canonical};
use crate::netlink::diag::{DiagSocket, Filter, Listener, MptcpSocket};
use crate::netlink::pm::PmClient;
use crate::netlink::route::{AddressState, LinkState, RouteClient};
use crate::netlink::{Cause, DeviceNames, NetlinkError};
use crate::observe::Counters;
use crate::sys::privilege;
use crate::testbed::sysctl;
use crate::text;

use super::host::{AddressUse, Answer, Connection, Device, Host, Lookup, Neighbour, OwnAddress, Unread};

/// How this namespace is called in errors.
pub(super) const PLACE: &str = "this network namespace";
/// How to get what an ordinary user can't read.
const AS_ROOT: &str = "sudo mptcplab explain --here";
/// The states of connections that can have subflows: ESTABLISHED, SYN-SENT, CLOSE-WAIT.
const LIVE: [u8; 3] = [1, 2, 8];

/// Reads the host. What can't be read is in [`Host::unread`].
///
/// Must be called in a tokio runtime with I/O and time enabled.
pub async fn collect() -> Host {
    let mut host = Host { sysctls: sysctls(), ..Host::default() };
    let route = kept(&mut host, "links, addresses and routes", RouteClient::open(PLACE));
    let links = route.as_ref().and_then(|route| kept(&mut host, "links", route.links())).unwrap_or_default();
    let devices: DeviceNames = links.iter().map(|link| (link.index, link.name.clone())).collect();
    host.devices = links.iter().map(device).collect();
    let addresses = route.as_ref().and_then(|route| kept(&mut host, "addresses", route.addresses()));
    host.addresses = addresses.unwrap_or_default().iter().map(|state| own_address(state, &devices)).collect();
    path_manager(&mut host, &devices).await;
    match Counters::open().and_then(|mut counters| counters.read()) {
        Ok(counters) => host.counters = reasons(counters),
        Err(error) => host.unread.push(unread("counters", error.to_string(), "mount /proc")),
    }
    host.unresolved = unresolved(&files::kernel::read_text("/proc/thread-self/net/arp").unwrap_or_default());
    connections(&mut host, &devices);
    if let Some(route) = route {
        host.routes = lookups(&host, &devices, &route);
    }
    host
}

/// The route to an announced address, from the address that routing chooses.
pub fn route_to(to: IpAddr) -> Option<Lookup> {
    let route = RouteClient::open(PLACE).ok()?;
    let devices = route.links().ok()?.into_iter().map(|link| (link.index, link.name)).collect();
    Some(lookup(&devices, &route, (None, None, canonical(to))))
}

/// The value, or a note that it couldn't be read.
fn kept<T>(host: &mut Host, what: &str, result: Result<T, NetlinkError>) -> Option<T> {
    result.map_err(|error| host.unread.push(refused(what, &error))).ok()
}

fn refused(what: &str, error: &NetlinkError) -> Unread {
    unread(what, error.to_string(), AS_ROOT)
}

fn unread(what: &str, why: impl Into<String>, how: &str) -> Unread {
    Unread { what: what.to_owned(), why: why.into(), how: how.to_owned() }
}

/// `net.mptcp.*`. A kernel without MPTCP has none.
fn sysctls() -> BTreeMap<String, String> {
    let Ok(folder) = std::fs::read_dir("/proc/sys/net/mptcp") else { return BTreeMap::new() };
    let names = folder.filter_map(|entry| Some(format!("net.mptcp.{}", entry.ok()?.file_name().to_str()?)));
    names.filter_map(|name| sysctl::read(&name).ok().map(|value| (name, value))).collect()
}

fn device(link: &LinkState) -> Device {
    let filter =
        |name: &str| -> Option<u8> { sysctl::read(&format!("net/ipv4/conf/{name}/rp_filter")).ok()?.parse().ok() };
    let rp_filter = filter("all").zip(filter(&link.name)).map(|(all, own)| all.max(own));
    Device { name: link.name.clone(), up: link.up, carrier: link.carrier, rp_filter }
}

fn own_address(state: &AddressState, devices: &DeviceNames) -> OwnAddress {
    let used = match (state.usable, state.duplicate) {
        (true, _) => AddressUse::Usable,
        (false, true) => AddressUse::Duplicate,
        (false, false) => AddressUse::Tentative,
    };
    let (address, prefix) = (state.address.address, state.address.prefix);
    OwnAddress { device: devices.name(state.index), address, prefix, state: used }
}

async fn path_manager(host: &mut Host, devices: &DeviceNames) {
    let Some(client) = kept(host, "endpoints and limits", PmClient::open(PLACE, devices.clone())) else { return };
    match client.get_limits().await {
        Ok(limits) => (host.mptcp, host.limits) = (true, Some(limits)),
        Err(NetlinkError { cause: Cause::NoFamily(_), .. }) => return,
        Err(error) => {
            host.mptcp = true;
            host.unread.push(refused("limits", &error));
        }
    }
    let endpoints = client.dump_endpoints(None).await;
    host.endpoints = kept(host, "endpoints", endpoints).unwrap_or_default();
}

/// The incomplete entries of `/proc/net/arp` (`arp_format_neigh_entry`, net/ipv4/arp.c): address, type, flags, hardware
/// address, mask, device.
fn unresolved(table: &str) -> Vec<Neighbour> {
    let neighbours = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, _, "0x0", .., device] = words.as_slice() else { return None };
        Some(Neighbour { device: (*device).to_owned(), address: address.parse().ok()? })
    });
    neighbours.collect()
}

/// The counters that can name a reason.
fn reasons(counters: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let wanted = |name: &str| name.starts_with("MPTcpExt") || name == "TcpExtIPReversePathFilter";
    counters.into_iter().filter(|(name, _)| wanted(name)).collect()
}

fn connections(host: &mut Host, devices: &DeviceNames) {
    let Some(diag) = kept(host, "connections", DiagSocket::open(PLACE, devices.clone())) else { return };
    let subflows = kept(host, "subflows", diag.subflows(None)).unwrap_or_default();
    let listeners = diag.listeners().unwrap_or_default();
    let mut sockets = match diag.connections(Filter::ALL) {
        Ok(sockets) => sockets,
        Err(error) => {
            let how = "a kernel with CONFIG_INET_MPTCP_DIAG";
            host.unread.push(unread("MPTCP_INFO of connections", error.to_string(), how));
            Vec::new()
        }
    };
    sockets.retain(|socket| LIVE.contains(&socket.state));
    let readable = !subflows.is_empty() || privilege::may_administrate();
    if !readable && !sockets.is_empty() {
        let why = "before Linux 6.18, the kernel lists them only with CAP_NET_ADMIN";
        host.unread.push(unread("the subflows of connections", why, AS_ROOT));
    }
    let mut by_token: BTreeMap<u32, Vec<SubflowState>> = BTreeMap::new();
    for subflow in subflows {
        by_token.entry(subflow.token_local).or_default().push(subflow);
    }
    let with_info = sockets.iter().filter_map(|socket| {
        let info = MptcpInfo::decode(&socket.info)?;
        let subflows = by_token.remove(&info.token);
        let subflows = if readable { Some(subflows.unwrap_or_default()) } else { None };
        Some(connection(socket, info, subflows, &listeners))
    });
    host.connections = with_info.collect();
    if sockets.is_empty() {
        host.connections.extend(by_token.into_values().filter_map(|subflows| without_info(subflows, &listeners)));
    }
    host.connections.sort_by_key(|connection| (connection.local, connection.remote));
}

fn connection(
    socket: &MptcpSocket,
    info: MptcpInfo,
    subflows: Option<Vec<SubflowState>>,
    listeners: &[Listener],
) -> Connection {
    let mut connection = Connection {
        token: info.token,
        local: text::socket(socket.local),
        remote: text::socket(socket.remote),
        state: socket.state,
        side: None,
        info: Some(info),
        subflows,
        deny_join_id0: false,
    };
    connection.side = side(&connection, listeners);
    connection
}

/// A connection of which only the subflows are known.
fn without_info(subflows: Vec<SubflowState>, listeners: &[Listener]) -> Option<Connection> {
    let first = subflows.iter().find(|subflow| subflow.local_id == 0 && subflow.remote_id == 0);
    let first = first.or(subflows.first())?;
    let mut connection = Connection {
        token: first.token_local,
        local: text::socket(first.local),
        remote: text::socket(first.remote),
        state: 1,
        side: None,
        info: None,
        subflows: Some(subflows),
        deny_join_id0: false,
    };
    connection.side = side(&connection, listeners);
    Some(connection)
}

/// Who sent MP_CAPABLE; without the initial subflow, who listens.
fn side(connection: &Connection, listeners: &[Listener]) -> Option<Side> {
    if let Some(initial) = connection.initial() {
        let client = initial.flags.contains(SubflowFlags::MCAP_LOC);
        return Some(if client { Side::Client } else { Side::Server });
    }
    let opened_here = |subflow: &SubflowState| subflow.flags.contains(SubflowFlags::JOIN_LOC);
    if listeners.iter().any(|listener| listener.address.port() == connection.local.port()) {
        Some(Side::Server)
    } else {
        connection.subflows().iter().any(opened_here).then_some(Side::Client)
    }
}

/// Source, device of the socket, destination.
type Question = (Option<IpAddr>, Option<String>, IpAddr);

/// From each endpoint to the peers' initial addresses, and from each subflow's source to its destination.
fn lookups(host: &Host, devices: &DeviceNames, route: &RouteClient) -> Vec<Lookup> {
    let mut questions: BTreeSet<Question> = BTreeSet::new();
    for connection in &host.connections {
        let peer = canonical(connection.remote.ip());
        for endpoint in &host.endpoints {
            let from = canonical(endpoint.address);
            // The kernel refuses sources that no device has, which says nothing about routes.
            if from.is_ipv4() == peer.is_ipv4() && host.places(from).next().is_some() {
                questions.insert((Some(from), endpoint.dev.clone(), peer));
                questions.insert((Some(from), None, peer));
            }
        }
        for subflow in connection.subflows() {
            let (from, to) = (canonical(subflow.local.ip()), canonical(subflow.remote.ip()));
            questions.insert((Some(from), subflow.dev.clone(), to));
            questions.insert((Some(from), None, to));
        }
    }
    questions.into_iter().map(|question| lookup(devices, route, question)).collect()
}

fn lookup(devices: &DeviceNames, route: &RouteClient, (from, device, to): Question) -> Lookup {
    let index = device.as_ref().and_then(|device| devices.index(device));
    let answer = match route.route_to(to, from, index, false) {
        Ok(found) => Answer::Leaves {
            device: found.device.map_or_else(|| "no device".to_owned(), |index| devices.name(index)),
            via: found.via,
            source: found.source,
            assumed: index.is_some() && to.is_ipv4() && route.route_to(to, from, index, true).is_err(),
        },
        Err(error) => {
            Answer::Refused(error.refusal().map_or_else(|| error.to_string(), crate::netlink::Refusal::symbol))
        }
    };
    Lookup { from, device, to, answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_without_an_answer_are_found() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     10.9.1.2         0x1         0x0         00:00:00:00:00:00     *        wwan0\n\
                     10.9.1.1         0x1         0x2         02:00:00:00:01:01     *        wwan0\n";
        let expected = Neighbour { device: "wwan0".to_owned(), address: [10, 9, 1, 2].into() };
        assert_eq!(unresolved(table), [expected]);
        assert_eq!(unresolved("nonsense\n0x0\n"), []);
    }
}
