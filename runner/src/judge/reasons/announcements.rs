//! Announced addresses that led to no subflow.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use indexmap::IndexMap;

use crate::mptcp::{EndpointFlags, EventKind, canonical};
use crate::recording::{Direction, Observation};
use crate::scenario::model::Operation;
use crate::wire::TcpFlags;

use super::{Facts, Reason, Sockets, Unused, counters};

/// Counters of subflows that could not be opened (`__mptcp_subflow_connect`, net/mptcp/subflow.c).
const REFUSALS: [&str; 3] =
    ["MPTcpExtMPJoinSynTxConnectErr", "MPTcpExtMPJoinSynTxBindErr", "MPTcpExtMPJoinSynTxCreatSkErr"];

/// The announced addresses that no subflow was opened to.
pub(super) fn unused(known: &Facts<'_, '_>) -> Vec<Reason> {
    let sockets = known.sockets().iter();
    let sockets: HashMap<(&str, &str), &Sockets<'_>> =
        sockets.map(|sockets| ((sockets.connection.name.as_str(), sockets.namespace()), sockets)).collect();
    let used = Used::of(known);
    let mut unused: IndexMap<(&String, &str, IpAddr), Unused> = IndexMap::new();
    let mut places: HashMap<&str, Place> = HashMap::new();
    for (at, what) in known.observations().enumerate() {
        let Observation::Event { namespace, event } = what else { continue };
        let (EventKind::Announced, Some(address), Some(token)) = (event.kind, event.remote, event.token) else {
            continue;
        };
        let address = canonical(address);
        let Some(connection) = known.names.connection(namespace, token) else { continue };
        let sockets = sockets.get(&(connection, namespace.as_str())).copied();
        let place = places.entry(namespace).or_insert_with(|| Place::of(known, namespace));
        let why = if used.has(namespace, token, address) {
            forgotten(place, at, address, sockets)
        } else {
            Some(why(place, address, sockets))
        };
        // The last announcement counts: the endpoint has to come after it.
        let key = (namespace, connection, address);
        match why {
            Some(why) => {
                unused.insert(key, why);
            }
            None => {
                unused.shift_remove(&key);
            }
        }
    }
    let reason = |((namespace, connection, address), why): ((&String, &str, IpAddr), Unused)| {
        Reason::UnusedAnnouncement { namespace: namespace.clone(), connection: connection.to_owned(), address, why }
    };
    unused.into_iter().map(reason).collect()
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
    fn of(known: &Facts<'_, 'a>) -> Self {
        let mut used = Self::default();
        for what in known.observations() {
            if let Observation::Event { namespace, event } = what
                && event.kind == EventKind::SubEstablished
                && let (Some(token), Some(address)) = (event.token, event.remote)
            {
                used.established.insert((namespace, token, canonical(address)));
            }
            if let Observation::Packet { namespace, direction: Direction::Out, segment, .. } = what
                && segment.flags.contains(TcpFlags::SYN)
                && segment.has_mp_join_syn()
            {
                used.joined.insert((namespace, canonical(segment.destination.ip())));
            }
        }
        used
    }

    fn has(&self, namespace: &str, token: u32, address: IpAddr) -> bool {
        self.joined.contains(&(namespace, address)) || self.established.contains(&(namespace, token, address))
    }
}

/// What matters for all announcements that a namespace received.
struct Place {
    /// A userspace path manager has its connections.
    userspace: bool,
    /// The counter of subflows that it could not open, if that moved.
    refused: Option<&'static str>,
    /// The last step that added an endpoint with `fullmesh`, or changed one into such, and where in the recording it ended.
    fullmesh: Option<(usize, usize)>,
}

impl Place {
    fn of(known: &Facts<'_, '_>, namespace: &str) -> Self {
        let moved = counters::moved(known, namespace);
        let refused = REFUSALS.into_iter().find(|name| moved.contains_key(name));
        let fullmesh = known.operations().filter(|(_, operation)| makes_fullmesh(operation, namespace));
        let fullmesh = fullmesh.filter_map(|(step, _)| Some((step, *known.names.index().finished.get(&step)?)));
        Self { userspace: known.userspace(namespace).is_some(), refused, fullmesh: fullmesh.last() }
    }
}

fn makes_fullmesh(operation: &Operation, wanted: &str) -> bool {
    let fullmesh = EndpointFlags::FULLMESH | EndpointFlags::SUBFLOW;
    matches!(operation, Operation::AddEndpoint { namespace, endpoint }
        if namespace == wanted && endpoint.flags.contains(fullmesh))
        || matches!(operation, Operation::ChangeEndpoint { namespace, change, .. }
            if namespace == wanted && change.fullmesh)
}

/// A subflow led to the address, is gone, and an endpoint with `fullmesh` came later: the kernel keeps no list of what was
/// announced, it takes the addresses that subflows lead to at that moment (`fill_remote_addresses_vec`,
/// net/mptcp/pm_kernel.c).
fn forgotten(place: &Place, announced: usize, address: IpAddr, sockets: Option<&Sockets<'_>>) -> Option<Unused> {
    let (step, ended) = place.fullmesh?;
    let gone = !sockets?.subflows.iter().any(|subflow| canonical(subflow.remote.ip()) == address);
    (announced < ended && gone).then_some(Unused::Forgotten { step })
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
