//! Announced addresses: those of this side, and those of the peer.

use std::net::IpAddr;

use crate::here::because::Because;
use crate::here::decision::{Candidate, Decision, Outcome};
use crate::here::host::{AddressUse, Connection, Host, OwnAddress, is_join, is_open};
use crate::mptcp::{Endpoint, EndpointFlags, MptcpInfo, Side, canonical};

use super::{change, endpoints};

/// What this side announces.
pub(super) fn own(host: &Host, connection: &Connection) -> Vec<Decision> {
    let Some(info) = &connection.info else { return Vec::new() };
    let signals = host.endpoints.iter().filter(|endpoint| endpoint.flags.contains(EndpointFlags::SIGNAL));
    signals.map(|endpoint| announcement(host, connection, info, endpoint)).collect()
}

fn announcement(host: &Host, connection: &Connection, info: &MptcpInfo, endpoint: &Endpoint) -> Decision {
    let address = canonical(endpoint.address);
    let (outcome, because, change) = announced(host, connection, info, endpoint);
    let candidate = Candidate::Announcement { address, port: endpoint.port, id: endpoint.id };
    Decision { candidate, outcome, because, change }
}

fn announced(
    host: &Host,
    connection: &Connection,
    info: &MptcpInfo,
    endpoint: &Endpoint,
) -> (Outcome, Because, Option<String>) {
    let address = canonical(endpoint.address);
    let leads_to = |subflow: &crate::mptcp::SubflowState| {
        is_join(subflow)
            && is_open(subflow)
            && canonical(subflow.local.ip()) == address
            && endpoint.port.is_none_or(|port| port == subflow.local.port())
    };
    if connection.subflows().iter().any(leads_to) {
        return (Outcome::Yes, Because::Announced, None);
    }
    if connection.has_initial() && endpoint.port.is_none() && address == canonical(connection.local.ip()) {
        return (Outcome::Allowed, Because::KnownToPeer, None);
    }
    if host.places(address).next().is_none() {
        return (Outcome::No, Because::AnnouncedNowhere, Some(change::address(endpoint)));
    }
    if info.add_addr_signal < info.add_addr_signal_max {
        let because = Because::NotAnnounced { signaled: info.add_addr_signal, signals: info.add_addr_signal_max };
        return (Outcome::Waiting, because, None);
    }
    // The peer's joins meet the limit of this side.
    if let Some((because, limit)) = endpoints::limit(connection) {
        return (Outcome::No, because, Some(format!("{limit} (for new connections)")));
    }
    if connection.side == Some(Side::Client) && !endpoint.flags.contains(EndpointFlags::SUBFLOW) {
        let change = change::add_again(endpoint, endpoint.flags | EndpointFlags::SUBFLOW, None);
        return (Outcome::No, Because::SignalOnly, Some(change));
    }
    let because =
        Because::AnnouncedInVain { link_local: is_link_local(address), echoed: host.mptcp_counter("EchoAdd") };
    (Outcome::No, because, None)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// What became of the peer's announcements. The kernel keeps no list of them: only counters and numbers tell.
pub(super) fn of_peer(host: &Host, connection: &Connection) -> Option<Decision> {
    let info = connection.info.as_ref()?;
    let received = host.mptcp_counter("AddAddr");
    // Clients rarely announce anything.
    if connection.side == Some(Side::Server) && (received == 0 || info.add_addr_accepted_max == 0) {
        return None;
    }
    let (outcome, because, change) = of_peer_because(host, connection, info, received);
    Some(Decision { candidate: Candidate::PeerAddresses, outcome, because, change })
}

fn of_peer_because(
    host: &Host,
    connection: &Connection,
    info: &MptcpInfo,
    received: u64,
) -> (Outcome, Because, Option<String>) {
    let (accepted, limit) = (info.add_addr_accepted, info.add_addr_accepted_max);
    let all_led_somewhere = u64::from(accepted) >= received;
    if received == 0 {
        let because =
            if limit == 0 { Because::AcceptLimit { accepted, limit, received } } else { Because::NoneAnnounced };
        return (Outcome::Allowed, because, None);
    }
    if accepted >= limit && !all_led_somewhere {
        return (Outcome::No, Because::AcceptLimit { accepted, limit, received }, Some(change::accept(limit)));
    }
    if all_led_somewhere {
        return (Outcome::Yes, Because::Accepted { accepted }, None);
    }
    if let Some((because, command)) = endpoints::limit(connection) {
        return (Outcome::No, because, Some(format!("{command} (for new announcements)")));
    }
    let refusals = ["MPJoinSynTxConnectErr", "MPJoinSynTxBindErr", "MPJoinSynTxCreatSkErr"];
    if let Some((name, count)) =
        refusals.into_iter().map(|name| (name, host.mptcp_counter(name))).find(|(_, count)| *count > 0)
    {
        let link_local = connection.remote.ip().to_canonical().is_ipv6();
        let because = Because::AnnouncedRefused { counter: name.to_owned(), count, link_local };
        return (Outcome::No, because, link_local.then(|| laminar(host, connection)).flatten());
    }
    let dropped = host.mptcp_counter("AddAddrDrop");
    if dropped > 0 {
        return (Outcome::No, Because::AnnouncedDropped { count: dropped }, None);
    }
    let outcome = if accepted > 0 { Outcome::Yes } else { Outcome::Unknown };
    let because = if accepted > 0 { Because::Accepted { accepted } } else { Because::NoneAccepted { received } };
    (outcome, because, None)
}

/// An endpoint that tells the device of an announced link-local address: one of another device than that of the initial
/// subflow.
fn laminar(host: &Host, connection: &Connection) -> Option<String> {
    let used = host.places(connection.local.ip()).next().map(|own| own.device.as_str());
    let fits = |own: &&OwnAddress| {
        is_link_local(own.address) && own.state == AddressUse::Usable && Some(own.device.as_str()) != used
    };
    let own = host.addresses.iter().find(fits)?;
    let has = host.endpoints.iter().any(|endpoint| canonical(endpoint.address) == own.address);
    (!has).then(|| format!("ip mptcp endpoint add {} dev {} laminar (for new announcements)", own.address, own.device))
}
