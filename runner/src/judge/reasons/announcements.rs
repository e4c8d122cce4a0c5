//! Announced addresses that led to no subflow.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::mptcp::{EventKind, canonical};
use crate::recording::{Direction, Observation};
use crate::wire::{MptcpOption, TcpFlags};

use super::{Known, Reason, Sockets, Unused, counters};

/// Counters of subflows that could not be opened (`__mptcp_subflow_connect`, net/mptcp/subflow.c).
const REFUSALS: [&str; 3] =
    ["MPTcpExtMPJoinSynTxConnectErr", "MPTcpExtMPJoinSynTxBindErr", "MPTcpExtMPJoinSynTxCreatSkErr"];

/// The announced addresses that no subflow was opened to.
pub(super) fn unused(known: &Known<'_, '_>) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    let sockets = known.sockets().iter();
    let sockets: HashMap<(&str, &str), &Sockets<'_>> =
        sockets.map(|sockets| ((sockets.connection.name.as_str(), sockets.namespace()), sockets)).collect();
    let used = Used::of(known);
    let mut told = HashSet::new();
    let mut places: HashMap<&str, Place> = HashMap::new();
    for what in known.observations() {
        let Observation::Event { namespace, event } = what else { continue };
        let (EventKind::Announced, Some(address), Some(token)) = (event.kind, event.remote, event.token) else {
            continue;
        };
        let address = canonical(address);
        let Some(connection) = known.names.connection(namespace, token) else { continue };
        if used.has(namespace, token, address) || !told.insert((namespace, connection, address)) {
            continue;
        }
        let place = places.entry(namespace).or_insert_with(|| Place::of(known, namespace));
        reasons.push(Reason::UnusedAnnouncement {
            namespace: namespace.clone(),
            connection: connection.to_owned(),
            address,
            why: why(place, address, sockets.get(&(connection, namespace.as_str())).copied()),
        });
    }
    reasons
}

/// The addresses to which namespaces have opened subflows.
#[derive(Default)]
struct Used<'a> {
    /// A subflow was established.
    established: HashSet<(&'a str, u32, IpAddr)>,
    /// A SYN with MP_JOIN was sent.
    joined: HashSet<(&'a str, IpAddr)>,
}

impl<'a> Used<'a> {
    fn of(known: &Known<'_, 'a>) -> Self {
        let mut used = Self::default();
        for what in known.observations() {
            match what {
                Observation::Event { namespace, event } if event.kind == EventKind::SubEstablished => {
                    if let (Some(token), Some(address)) = (event.token, event.remote) {
                        used.established.insert((namespace, token, canonical(address)));
                    }
                }
                Observation::Packet { namespace, direction: Direction::Out, segment, .. }
                    if segment.flags.contains(TcpFlags::SYN)
                        && segment.options.iter().any(|option| matches!(option, MptcpOption::MpJoinSyn { .. })) =>
                {
                    used.joined.insert((namespace, canonical(segment.destination.ip())));
                }
                _ => {}
            }
        }
        used
    }

    fn has(&self, namespace: &str, token: u32, address: IpAddr) -> bool {
        self.joined.contains(&(namespace, address)) || self.established.contains(&(namespace, token, address))
    }
}

/// What a namespace has to do with all announcements that it received.
struct Place {
    /// A userspace path manager has its connections.
    userspace: bool,
    /// The counter of subflows that it could not open, if that moved.
    refused: Option<&'static str>,
}

impl Place {
    fn of(known: &Known<'_, '_>, namespace: &str) -> Self {
        let moved = counters::moved(known, namespace);
        let refused = REFUSALS.into_iter().find(|name| moved.contains_key(name));
        Self { userspace: known.userspace(namespace).is_some(), refused }
    }
}

fn why(place: &Place, address: IpAddr, sockets: Option<&Sockets<'_>>) -> Unused {
    if place.userspace {
        return Unused::UserspacePathManager;
    }
    let Some(Sockets { info: Some(info), subflows, .. }) = sockets else { return Unused::Unknown };
    if info.add_addr_accepted >= info.add_addr_accepted_max {
        return Unused::AcceptLimit { accepted: info.add_addr_accepted, limit: info.add_addr_accepted_max };
    }
    if info.subflows >= info.subflows_max {
        return Unused::SubflowLimit { subflows: info.subflows, limit: info.subflows_max };
    }
    // `mptcp_pm_nl_add_addr_received`, net/mptcp/pm_kernel.c: lookup_subflow_by_daddr()
    if subflows.iter().any(|subflow| canonical(subflow.remote.ip()) == address) {
        return Unused::AlreadyConnected;
    }
    place.refused.map_or(Unused::Unknown, Unused::Refused)
}
