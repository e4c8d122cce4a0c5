//! Announced addresses that led to no subflow.

use std::net::IpAddr;

use crate::mptcp::{EventKind, PmEvent, canonical};
use crate::recording::{Direction, Observation};
use crate::wire::{MptcpOption, TcpFlags};

use super::{Known, Reason, Sockets, Unused, counters};

/// Counters of subflows that could not be opened (`__mptcp_subflow_connect`, net/mptcp/subflow.c).
const REFUSALS: [&str; 3] =
    ["MPTcpExtMPJoinSynTxConnectErr", "MPTcpExtMPJoinSynTxBindErr", "MPTcpExtMPJoinSynTxCreatSkErr"];

/// The announced addresses that no subflow was opened to.
pub(super) fn unused(known: &Known<'_, '_>) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    let sockets = known.sockets();
    for what in known.observations() {
        let Observation::Event { namespace, event } = what else { continue };
        let (EventKind::Announced, Some(address), Some(token)) = (event.kind, event.remote, event.token) else {
            continue;
        };
        let Some(connection) = known.names.connection(namespace, token) else { continue };
        if is_used(known, namespace, token, address) {
            continue;
        }
        let sockets =
            sockets.iter().find(|sockets| sockets.connection.name == connection && sockets.namespace() == namespace);
        let reason = Reason::UnusedAnnouncement {
            namespace: namespace.clone(),
            connection: connection.to_owned(),
            address: canonical(address),
            why: why(known, namespace, address, sockets),
        };
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    reasons
}

/// The namespace sent a SYN with MP_JOIN to that address, or has a subflow to it.
fn is_used(known: &Known<'_, '_>, wanted: &str, token: u32, address: IpAddr) -> bool {
    let address = canonical(address);
    let established = |event: &PmEvent| {
        event.kind == EventKind::SubEstablished
            && event.token == Some(token)
            && event.remote.map(canonical) == Some(address)
    };
    known.observations().any(|what| match what {
        Observation::Event { namespace, event } => namespace == wanted && established(event),
        Observation::Packet { namespace, direction: Direction::Out, segment, .. } => {
            namespace == wanted
                && segment.flags.contains(TcpFlags::SYN)
                && canonical(segment.destination.ip()) == address
                && segment.options.iter().any(|option| matches!(option, MptcpOption::MpJoinSyn { .. }))
        }
        _ => false,
    })
}

fn why(known: &Known<'_, '_>, namespace: &str, address: IpAddr, sockets: Option<&Sockets<'_>>) -> Unused {
    if known.userspace(namespace).is_some() {
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
    if subflows.iter().any(|subflow| canonical(subflow.remote.ip()) == canonical(address)) {
        return Unused::AlreadyConnected;
    }
    let moved = counters::moved(known, namespace);
    REFUSALS.into_iter().find(|name| moved.contains_key(name)).map_or(Unused::Unknown, Unused::Refused)
}
