//! The subflows that exist.

use std::net::IpAddr;

use crate::here::because::Because;
use crate::here::decision::{Candidate, Decision, Outcome};
use crate::here::host::{Answer, Connection, Host, is_join, is_open};
use crate::mptcp::{Endpoint, EndpointFlags, SubflowFlags, SubflowState, TCP_ESTABLISHED, TCP_SYN_SENT, canonical};

use super::{change, endpoints};

/// `TCP_SYN_RECV`
const SYN_RECEIVED: u8 = 3;
/// `TCP_NEW_SYN_RECV`
const NEW_SYN_RECEIVED: u8 = 12;
/// `TCP_CLOSE_WAIT`
const CLOSE_WAIT: u8 = 8;

pub(super) fn existing(host: &Host, connection: &Connection) -> Vec<Decision> {
    connection.subflows().iter().map(|subflow| about(host, connection, subflow)).collect()
}

fn about(host: &Host, connection: &Connection, subflow: &SubflowState) -> Decision {
    let (outcome, because) = why(host, connection, subflow);
    let change = change_of(host, subflow, &because);
    Decision { candidate: candidate(connection, subflow), outcome, because, change }
}

fn candidate(connection: &Connection, subflow: &SubflowState) -> Candidate {
    let usual = [connection.remote.port(), connection.local.port()];
    // The port of a peer that opened the subflow says nothing.
    let chosen = subflow.flags.contains(SubflowFlags::JOIN_REM) && !subflow.flags.contains(SubflowFlags::JOIN_LOC);
    let port = subflow.remote.port();
    Candidate::Subflow {
        local: Some(canonical(subflow.local.ip())),
        remote: canonical(subflow.remote.ip()),
        port: (!chosen && !usual.contains(&port)).then_some(port),
        local_id: Some(subflow.local_id),
        remote_id: Some(subflow.remote_id),
        backup: subflow.flags.intersects(SubflowFlags::BKUP_LOC | SubflowFlags::BKUP_REM),
    }
}

fn why(host: &Host, connection: &Connection, subflow: &SubflowState) -> (Outcome, Because) {
    match subflow.tcp_state {
        TCP_SYN_SENT => (Outcome::Waiting, unanswered(host, subflow)),
        CLOSE_WAIT => (Outcome::Closing, Because::PeerCloses),
        SYN_RECEIVED | NEW_SYN_RECEIVED => (Outcome::Waiting, Because::Unconfirmed),
        TCP_ESTABLISHED => established(host, connection, subflow),
        state => (Outcome::Closing, Because::Closing { state }),
    }
}

fn established(host: &Host, connection: &Connection, subflow: &SubflowState) -> (Outcome, Because) {
    let local = canonical(subflow.local.ip());
    if let Some(because) = other_device(host, connection, subflow) {
        return (Outcome::But, because);
    }
    if !host.addresses.is_empty() && host.places(local).next().is_none() && !local.is_loopback() {
        return (Outcome::But, Because::AddressGone);
    }
    let opened_here = subflow.flags.contains(SubflowFlags::JOIN_LOC);
    if opened_here && !subflow.flags.contains(SubflowFlags::FULLY_ESTABLISHED) {
        return (Outcome::Waiting, Because::Unconfirmed);
    }
    let because = if !is_join(subflow) {
        match endpoint_at(host, local) {
            Some(endpoint) => Because::InitialEndpoint { id: endpoint.id },
            None => Because::Initial,
        }
    } else if !opened_here {
        Because::ByPeer
    } else if canonical(subflow.remote.ip()) == canonical(connection.remote.ip()) {
        Because::FromEndpoint
    } else {
        Because::ToAnnounced
    };
    (Outcome::Yes, because)
}

fn endpoint_at(host: &Host, address: IpAddr) -> Option<&Endpoint> {
    host.endpoints.iter().find(|endpoint| canonical(endpoint.address) == address)
}

/// The device by which packets leave, unless it has the source address.
fn leaves_elsewhere<'a>(host: &'a Host, subflow: &'a SubflowState) -> Option<(&'a str, &'a str)> {
    let (local, remote) = (canonical(subflow.local.ip()), canonical(subflow.remote.ip()));
    let Some(Answer::Leaves { device, .. }) = host.answer(local, subflow.dev.as_deref(), remote) else { return None };
    let own = host.places(local).next()?;
    let fits = host.places(local).any(|place| place.device == *device);
    // On the loopback device, nothing has an address of its own, and everything may leave by it.
    (!fits && own.device != "lo" && device != "lo").then_some((device.as_str(), own.device.as_str()))
}

/// If the peer chose the pair of addresses, and its address is on the link of the other device, there is no better way.
fn other_device(host: &Host, connection: &Connection, subflow: &SubflowState) -> Option<Because> {
    let answer = host.answer(subflow.local.ip(), subflow.dev.as_deref(), subflow.remote.ip());
    let on_link = matches!(answer, Some(Answer::Leaves { via: None, .. }));
    if on_link && !subflow.flags.contains(SubflowFlags::JOIN_LOC) {
        return None;
    }
    let (left_by, belongs_to) = leaves_elsewhere(host, subflow)?;
    let with = connection.subflows().iter().filter(|other| *other != subflow && is_open(other));
    let with = with.filter(|other| leaves_by(host, other) == Some(left_by)).map(|other| canonical(other.local.ip()));
    Some(Because::OtherDevice { left_by: left_by.to_owned(), belongs_to: belongs_to.to_owned(), with: with.collect() })
}

fn leaves_by<'a>(host: &'a Host, subflow: &SubflowState) -> Option<&'a str> {
    match host.answer(subflow.local.ip(), subflow.dev.as_deref(), subflow.remote.ip())? {
        Answer::Leaves { device, .. } => Some(device),
        Answer::Refused(_) => None,
    }
}

/// Why a SYN has no answer, as far as this side can know.
fn unanswered(host: &Host, subflow: &SubflowState) -> Because {
    let (local, remote) = (canonical(subflow.local.ip()), canonical(subflow.remote.ip()));
    if let Some(because) = endpoints::reverse_path(host, local, subflow.dev.as_deref(), remote) {
        return because;
    }
    if let Some((device, via)) = host.late_gateway(local, subflow.dev.as_deref(), remote) {
        return Because::BeforeRoute { device: device.to_owned(), via };
    }
    match host.answer(local, subflow.dev.as_deref(), remote) {
        Some(Answer::Leaves { device, assumed: true, .. }) => Because::NoAnswerOnLink { device: device.clone() },
        Some(Answer::Leaves { device, via, .. }) => Because::NoAnswer {
            device: Some(device.clone()),
            via: *via,
            belongs_to: leaves_elsewhere(host, subflow).map(|(_, own)| own.to_owned()),
        },
        Some(Answer::Refused(errno)) => Because::NoRoute { errno: errno.clone(), device: subflow.dev.clone() },
        None => Because::NoAnswer { device: None, via: None, belongs_to: None },
    }
}

fn change_of(host: &Host, subflow: &SubflowState, because: &Because) -> Option<String> {
    let local = canonical(subflow.local.ip());
    let endpoint = endpoint_at(host, local).filter(|endpoint| !endpoint.flags.contains(EndpointFlags::IMPLICIT));
    match because {
        Because::OtherDevice { belongs_to, .. } | Because::NoAnswer { belongs_to: Some(belongs_to), .. } => {
            Some(match endpoint.filter(|_| is_join(subflow)) {
                Some(endpoint) if endpoint.dev.is_none() => {
                    change::add_again(endpoint, endpoint.flags, Some(belongs_to))
                }
                _ => change::source_route(local, belongs_to),
            })
        }
        Because::NoAnswer { device: Some(_), .. } | Because::BeforeRoute { .. } => endpoint.map(change::retry),
        Because::NoAnswerOnLink { device } => {
            endpoint.map(|endpoint| change::route(subflow.remote.ip(), device, endpoint))
        }
        Because::NoRoute { device, .. } => {
            let own = host.places(local).next().map(|own| own.device.as_str());
            let device = device.as_deref().or(own).unwrap_or("DEVICE");
            endpoint.map(|endpoint| change::route(subflow.remote.ip(), device, endpoint))
        }
        Because::ReversePath { device, .. } => Some(format!("sysctl net.ipv4.conf.{device}.rp_filter=2")),
        _ => None,
    }
}
