//! Subflows that aren't established, limits in use, and devices that nobody would expect.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::mptcp::{TCP_ESTABLISHED, TCP_SYN_SENT, canonical};
use crate::recording::{Direction, Observation, canonical_socket};
use crate::scenario::model::{Address, Operation};
use crate::wire::{Segment, TcpFlags};

use super::{Known, Reason, Syns};

/// The subflows that aren't established.
pub(super) fn states(known: &Known<'_, '_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for sockets in known.sockets() {
        for subflow in sockets.subflows.iter().filter(|subflow| subflow.tcp_state != TCP_ESTABLISHED) {
            let waits = subflow.tcp_state == TCP_SYN_SENT;
            reasons.push(Reason::State {
                namespace: sockets.namespace().to_owned(),
                connection: sockets.connection.name.clone(),
                local: subflow.local,
                remote: subflow.remote,
                state: subflow.tcp_state,
                syns: waits.then(|| syns(known, sockets.namespace(), subflow.local, subflow.remote)),
            });
        }
    }
    reasons
}

fn is_between(segment: &Segment, from: SocketAddr, to: SocketAddr) -> bool {
    let same = |one, other| canonical_socket(one) == canonical_socket(other);
    same(segment.source, from) && same(segment.destination, to)
}

fn syns(known: &Known<'_, '_>, wanted: &str, local: SocketAddr, remote: SocketAddr) -> Syns {
    let peer = known.names.owner(remote.ip()).filter(|_| !known.translates());
    let mut syns = Syns { arrived: peer.map(|peer| (peer.to_owned(), 0)), ..Syns::default() };
    for what in known.observations() {
        let Observation::Packet { namespace, device, direction, segment } = what else { continue };
        let (syn, ack) = (segment.flags.contains(TcpFlags::SYN), segment.flags.contains(TcpFlags::ACK));
        if syn && !ack && is_between(segment, local, remote) {
            match direction {
                Direction::Out if namespace == wanted => {
                    syns.sent += 1;
                    if !syns.devices.contains(device) {
                        syns.devices.push(device.clone());
                    }
                }
                Direction::In => {
                    if let Some((peer, arrived)) = &mut syns.arrived
                        && peer == namespace
                    {
                        *arrived += 1;
                    }
                }
                Direction::Out => {}
            }
        } else if syn && ack && is_between(segment, remote, local) {
            syns.answered += usize::from(*direction == Direction::Out && Some(namespace.as_str()) == peer);
        }
    }
    syns
}

/// The limits of additional subflows that are reached. A userspace path manager has none.
pub(super) fn limits(known: &Known<'_, '_>) -> Vec<Reason> {
    let sockets = known.sockets().into_iter();
    let reached = sockets.filter_map(|sockets| {
        let info = sockets.info?;
        let reached = info.subflows >= info.subflows_max && known.userspace(sockets.namespace()).is_none();
        reached.then(|| Reason::Limit {
            namespace: sockets.namespace().to_owned(),
            connection: sockets.connection.name.clone(),
            subflows: info.subflows,
            limit: info.subflows_max,
        })
    });
    reached.collect()
}

/// Segments that left by another device than the one with their source address, unless their destination is directly
/// reached by it: an answer to the second address of a peer, for example, whose link is the other one.
pub(super) fn other_devices(known: &Known<'_, '_>) -> Vec<Reason> {
    let addresses = addresses(known);
    let own = addresses.iter().map(|(namespace, device, own)| ((*namespace, canonical(own.address)), *device));
    let devices: BTreeMap<(&str, IpAddr), &str> = own.collect();
    let mut reasons: Vec<Reason> = Vec::new();
    for what in known.observations() {
        let Observation::Packet { namespace, device, direction: Direction::Out, segment } = what else { continue };
        let source = canonical(segment.source.ip());
        let Some(belongs_to) = devices.get(&(namespace.as_str(), source)) else { continue };
        // On the loopback device nothing has an address of its own, and everything may leave by it.
        if belongs_to == device || *belongs_to == "lo" || device == "lo" {
            continue;
        }
        let destination = canonical(segment.destination.ip());
        let leads_there =
            |(of, by, own): &(&str, &str, Address)| of == namespace && by == device && own.covers(destination);
        if addresses.iter().any(leads_there) {
            continue;
        }
        let reason = Reason::OtherDevice {
            namespace: namespace.clone(),
            source,
            destination,
            left_by: device.clone(),
            belongs_to: (*belongs_to).to_owned(),
        };
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    reasons
}

/// The addresses of the namespaces' devices, with those that steps add: namespace, device, address.
fn addresses<'a>(known: &Known<'_, 'a>) -> Vec<(&'a str, &'a str, Address)> {
    let ends = known.names.scenario().world.links.iter().flat_map(|link| &link.ends);
    let first = ends.flat_map(|end| end.addresses.iter().map(|own| (&*end.namespace, &*end.device, *own)));
    let later = known.operations().filter_map(|(_, operation)| match operation {
        Operation::AddAddress { namespace, device, address } => Some((namespace.as_str(), device.as_str(), *address)),
        _ => None,
    });
    first.chain(later).collect()
}
