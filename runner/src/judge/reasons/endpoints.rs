//! Endpoints that the kernel doesn't use.

use std::net::IpAddr;

use crate::mptcp::{Endpoint, EndpointFlags, canonical};
use crate::recording::Observation;
use crate::scenario::model::{Operation, WhichEndpoints};

use super::{Facts, Idle, Reason};

/// The unused endpoints, as they were dumped.
pub(super) fn idle(known: &Facts<'_, '_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for namespace in &known.names.scenario().world.namespaces {
        let name = namespace.name.as_str();
        for endpoint in dump(known, name) {
            if let Some(why) = why(known, name, endpoint) {
                reasons.push(Reason::IdleEndpoint { namespace: name.to_owned(), endpoint: endpoint.clone(), why });
            }
        }
    }
    reasons
}

fn dump<'a>(known: &Facts<'_, 'a>, wanted: &str) -> impl Iterator<Item = &'a Endpoint> + use<'a> {
    let entries = known.names.recording().entries.iter().rev();
    let dump = entries.into_iter().find_map(|entry| {
        pick!(&entry.what, Observation::Endpoints { namespace, moment, endpoints }
            if namespace == wanted && *moment == known.moment => endpoints)
    });
    let all = dump.into_iter().flatten();
    all.filter(|endpoint| !endpoint.flags.contains(EndpointFlags::IMPLICIT))
}

fn why(known: &Facts<'_, '_>, namespace: &str, endpoint: &Endpoint) -> Option<Idle> {
    if let Some(sysctl) = known.userspace(namespace) {
        return Some(Idle::UserspacePathManager(sysctl));
    }
    let flags = endpoint.flags;
    if !flags.intersects(EndpointFlags::SUBFLOW | EndpointFlags::SIGNAL | EndpointFlags::LAMINAR) {
        if flags.contains(EndpointFlags::FULLMESH) {
            return Some(Idle::FullmeshOnly);
        }
        // An endpoint with the address of the initial subflow stands for that subflow, whatever its flags are.
        return (!is_initial(known, namespace, endpoint.address)).then_some(Idle::NoRole);
    }
    if flags.contains(EndpointFlags::SIGNAL) && known.translates() {
        // What is announced may be an address on the other side of the translation.
        return None;
    }
    match arrival(known, namespace, endpoint.address) {
        Arrival::Never => Some(Idle::NoAddress),
        Arrival::SetUp => None,
        Arrival::Step(address) => {
            let added = added(known, namespace, endpoint);
            let before = added.is_none_or(|added| added < address);
            before.then_some(Idle::BeforeItsAddress { endpoint: added, address })
        }
    }
}

/// The address is that of the initial subflow of a connection of this namespace.
fn is_initial(known: &Facts<'_, '_>, namespace: &str, address: IpAddr) -> bool {
    known.names.index().by_ends.values().flatten().any(|connection| {
        let ends = [(&connection.client, connection.client_address), (&connection.server, connection.server_address)];
        ends.iter().any(|(of, end)| *of == namespace && canonical(end.ip()) == canonical(address))
    })
}

/// When an address was last added to its namespace.
enum Arrival {
    SetUp,
    Step(usize),
    /// It isn't there.
    Never,
}

fn arrival(known: &Facts<'_, '_>, wanted: &str, address: IpAddr) -> Arrival {
    let address = canonical(address);
    let mut own = known.names.scenario().world.addresses_of(wanted);
    let first = if own.any(|own| canonical(own.address) == address) { Arrival::SetUp } else { Arrival::Never };
    let later = known.operations().filter_map(|(step, operation)| {
        let added = pick!(operation, Operation::AddAddress { namespace, address, .. }
            => (namespace, address, Arrival::Step(step)));
        let deleted = pick!(operation, Operation::DeleteAddress { namespace, address, .. }
            => (namespace, address, Arrival::Never));
        added.or(deleted)
    });
    let of_this = later.filter(|(namespace, changed, _)| *namespace == wanted && canonical(changed.address) == address);
    of_this.last().map_or(first, |(_, _, arrival)| arrival)
}

/// The step that added the endpoint; `None`: it was there from the start.
fn added(known: &Facts<'_, '_>, wanted: &str, endpoint: &Endpoint) -> Option<usize> {
    let same =
        |other: &Endpoint| canonical(other.address) == canonical(endpoint.address) && other.port == endpoint.port;
    let adds = known.operations().filter(|(_, operation)| {
        // Changing it makes the kernel use it anew.
        matches!(operation, Operation::AddEndpoint { namespace, endpoint } if namespace == wanted && same(endpoint))
            || matches!(operation, Operation::ChangeEndpoint { namespace, which, .. }
                if namespace == wanted && is_of(which, endpoint))
    });
    adds.last().map(|(step, _)| step)
}

fn is_of(which: &WhichEndpoints, endpoint: &Endpoint) -> bool {
    match which {
        WhichEndpoints::Id { id, .. } => endpoint.id == Some(*id),
        WhichEndpoints::Address { address, .. } => canonical(*address) == canonical(endpoint.address),
        WhichEndpoints::All => true,
    }
}
