//! The address IDs of MP_JOIN.

use std::net::SocketAddr;

use crate::mptcp::EndpointFlags;
use crate::recording::canonical_socket;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Half, Host, View};
use crate::reference::{Candidate, Outcome, Rule};
use crate::wire::MptcpOption;

use super::facts::{created, endpoints_at, endpoints_of, initial_local, is_userspace, opened, sides};

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "address-id-of-mp-join",
    statement: "The address ID of an MP_JOIN SYN or SYN/ACK is 0 for the sender's initial address, and otherwise that \
                of the endpoint with the sender's address. For an address without an endpoint the kernel adds an \
                implicit one, with an ID of its own.",
    source: "RFC 8684 section 3.2; mptcp_pm_get_local_id, net/mptcp/pm.c; mptcp_pm_nl_get_local_id, \
             net/mptcp/pm_kernel.c",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for half in sides(view) {
        let Some(host) = view.host(half) else { continue };
        let Some(userspace) = is_userspace(host, half) else { continue };
        for opened in opened(view, half) {
            let expected = if userspace {
                asked_for(host, half, opened.flow.local, opened.flow.remote, opened.syn.at)
            } else {
                in_kernel(view, half, host, opened.flow.local, opened.syn.at)
            };
            if let Some((outcome, because)) = judge(&expected, opened.id) {
                ledger.decide(half, opened.syn.at, opened.candidate(), outcome, because, [opened.syn.entry]);
            }
        }
        for (flow, life) in half.flows.iter().zip(&half.lives).filter(|(flow, _)| !flow.is_opener) {
            let Some((mark, (_, segment))) = life.syn_ack.and_then(|mark| Some((mark, view.packet(mark.entry)?)))
            else {
                continue;
            };
            let sent = segment
                .options
                .iter()
                .find_map(|option| pick!(option, MptcpOption::MpJoinSynAck { address_id, .. } => *address_id));
            if userspace && flow.local.ip().to_canonical() != initial_local(half) {
                continue;
            }
            let expected = in_kernel(view, half, host, flow.local, mark.at);
            let Some((outcome, because)) = sent.and_then(|id| judge(&expected, id)) else { continue };
            let candidate = Candidate::Join { local: flow.local, remote: flow.remote };
            ledger.decide(half, mark.at, candidate, outcome, because, [mark.entry]);
        }
    }
}

/// What an address ID must be.
enum Expected {
    /// One of these.
    One(Vec<u8>, String),
    /// None of these.
    Other(Vec<u8>, String),
    /// It is not known.
    Unknown,
}

fn judge(expected: &Expected, id: u8) -> Option<(Outcome, String)> {
    let (is_right, because) = match expected {
        Expected::One(ids, because) => (ids.contains(&id), because),
        Expected::Other(ids, because) => (!ids.contains(&id), because),
        Expected::Unknown => return None,
    };
    let outcome = if is_right { Outcome::Done } else { Outcome::Wrong };
    Some((outcome, format!("{because}; it is {id}")))
}

fn in_kernel(view: &View<'_>, half: &Half<'_>, host: &Host<'_>, local: SocketAddr, at: u64) -> Expected {
    let (address, port) = canonical_socket(local);
    if address == initial_local(half) {
        return Expected::One(vec![0], format!("{address} is the initial subflow's address: address ID 0"));
    }
    let own: Vec<Option<u8>> = endpoints_at(host, address, at)
        .filter(|period| period.endpoint.port.is_none_or(|own| own == port))
        .map(|period| period.endpoint.id)
        .collect();
    if !own.is_empty() {
        let ids: Option<Vec<u8>> = own.into_iter().collect();
        return ids.map_or(Expected::Unknown, |ids| {
            let words: Vec<String> = ids.iter().map(u8::to_string).collect();
            let because = format!("the endpoint {address} has address ID {}", words.join(" or "));
            Expected::One(ids, because)
        });
    }
    let implicit = implicit_ids(view, half, address);
    if !implicit.is_empty() {
        let because = format!("{address} has an implicit endpoint with address ID {}", implicit[0]);
        return Expected::One(implicit, because);
    }
    let mut taken: Vec<u8> = endpoints_of(host, at)
        .filter(|period| period.is_through(at.saturating_sub(super::facts::LATE), at))
        .filter_map(|period| period.endpoint.id)
        .collect();
    taken.push(0);
    Expected::Other(taken, format!("{address} has no endpoint: its address ID is neither 0 nor that of another one"))
}

/// The IDs that dumps show for implicit endpoints with this address.
fn implicit_ids(view: &View<'_>, half: &Half<'_>, address: std::net::IpAddr) -> Vec<u8> {
    let own = view.dumps.iter().filter(|(_, namespace, _)| *namespace == half.namespace);
    let implicit = own.flat_map(|(_, _, endpoints)| *endpoints).filter(|endpoint| {
        endpoint.flags.contains(EndpointFlags::IMPLICIT) && endpoint.address.to_canonical() == address
    });
    implicit.filter_map(|endpoint| endpoint.id).collect()
}

fn asked_for(host: &Host<'_>, half: &Half<'_>, local: SocketAddr, remote: SocketAddr, at: u64) -> Expected {
    let (local, remote) = (canonical_socket(local).0, canonical_socket(remote));
    let asked = created(host, half, at)
        .filter(|asked| asked.remote == remote && asked.endpoint.address.to_canonical() == local)
        .map(|asked| asked.endpoint.id.unwrap_or(0));
    let ids: Vec<u8> = asked.collect();
    if ids.is_empty() {
        return Expected::Unknown;
    }
    let words: Vec<String> = ids.iter().map(u8::to_string).collect();
    let because = format!("the userspace path manager asked for address ID {}", words.join(" or "));
    Expected::One(ids, because)
}
