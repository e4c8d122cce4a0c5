//! Subflows that aren't established, limits that are reached, and segments that left through an unexpected device.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use crate::judge::index::End;
use crate::mptcp::{TCP_ESTABLISHED, TCP_SYN_SENT, canonical};
use crate::recording::{Direction, Name, Observation, canonical_socket};
use crate::scenario::model::{Address, Operation};
use crate::wire::TcpFlags;

use super::{Facts, Reason, SynCounts};

/// The subflows that aren't established.
pub(super) fn states(known: &Facts<'_, '_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let handshakes = Handshakes::of(known);
    for sockets in known.sockets() {
        for subflow in sockets.subflows.iter().filter(|subflow| subflow.tcp_state != TCP_ESTABLISHED) {
            let waits = subflow.tcp_state == TCP_SYN_SENT;
            reasons.push(Reason::State {
                namespace: sockets.namespace().to_owned(),
                connection: sockets.connection.name.clone(),
                local: subflow.local,
                remote: subflow.remote,
                state: subflow.tcp_state,
                syns: waits.then(|| handshakes.syns(known, sockets.namespace(), subflow.local, subflow.remote)),
            });
        }
    }
    reasons
}

/// A SYN or SYN/ACK that was captured: in which namespace, on which device, which way it went.
type Captured<'a> = (&'a Name, &'a Name, Direction);

/// SYNs and SYN/ACKs by their ends, source first.
struct Handshakes<'a> {
    syns: HashMap<(End, End), Vec<Captured<'a>>>,
    answers: HashMap<(End, End), Vec<Captured<'a>>>,
    translates: bool,
}

impl<'a> Handshakes<'a> {
    fn of(known: &Facts<'_, 'a>) -> Self {
        let mut found = Self { syns: HashMap::new(), answers: HashMap::new(), translates: known.translates() };
        for what in known.observations() {
            let Observation::Packet { namespace, device, direction, segment } = what else { continue };
            if segment.flags.contains(TcpFlags::SYN) {
                let ends = (canonical_socket(segment.source), canonical_socket(segment.destination));
                let answers = segment.flags.contains(TcpFlags::ACK);
                let known = if answers { &mut found.answers } else { &mut found.syns };
                known.entry(ends).or_default().push((namespace, device, *direction));
            }
        }
        found
    }

    fn syns(&self, known: &Facts<'_, '_>, wanted: &str, local: SocketAddr, remote: SocketAddr) -> SynCounts {
        let (local, remote) = (canonical_socket(local), canonical_socket(remote));
        let peer = known.names.owner(remote.0).filter(|_| !self.translates);
        let mut syns = SynCounts { arrived: peer.map(|peer| (peer.to_owned(), 0)), ..SynCounts::default() };
        for (namespace, device, direction) in self.syns.get(&(local, remote)).into_iter().flatten() {
            match direction {
                Direction::Out if **namespace == *wanted => {
                    syns.sent += 1;
                    if !syns.devices.iter().any(|known| **device == *known) {
                        syns.devices.push(device.to_string());
                    }
                }
                Direction::In => {
                    if let Some((_, arrived)) = syns.arrived.as_mut().filter(|(peer, _)| **namespace == *peer) {
                        *arrived += 1;
                    }
                }
                Direction::Out => {}
            }
        }
        let answers = self.answers.get(&(remote, local)).into_iter().flatten();
        let sent = |(namespace, _, direction): &&Captured<'_>| {
            *direction == Direction::Out && Some(namespace.as_str()) == peer
        };
        syns.answered = answers.filter(sent).count();
        syns
    }
}

/// The limits of additional subflows that are reached. A userspace path manager has none.
pub(super) fn limits(known: &Facts<'_, '_>) -> Vec<Reason> {
    let sockets = known.sockets().iter();
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
pub(super) fn other_devices(known: &Facts<'_, '_>) -> Vec<Reason> {
    let addresses = addresses(known);
    let own = addresses.iter().map(|(namespace, device, own)| ((*namespace, canonical(own.address)), *device));
    let devices: BTreeMap<(&str, IpAddr), &str> = own.collect();
    let mut reasons: Vec<Reason> = Vec::new();
    let mut told = BTreeSet::new();
    let world = &known.names.scenario().world;
    for what in known.observations() {
        let Observation::Packet { namespace, device, direction: Direction::Out, segment } = what else { continue };
        let source = canonical(segment.source.ip());
        let Some(belongs_to) = devices.get(&(namespace.as_str(), source)) else { continue };
        // On the loopback device nothing has an address of its own, and everything may leave by it.
        let is_on = |by: &str| world.is_on(namespace, by, device);
        if is_on(belongs_to) || *belongs_to == "lo" || device == "lo" {
            continue;
        }
        let destination = canonical(segment.destination.ip());
        if !told.insert((namespace, source, destination, device)) {
            continue;
        }
        let leads_there =
            |(of, by, own): &(&str, &str, Address)| namespace == *of && is_on(by) && own.covers(destination);
        if addresses.iter().any(leads_there) {
            continue;
        }
        reasons.push(Reason::OtherDevice {
            namespace: namespace.to_string(),
            source,
            destination,
            left_by: device.to_string(),
            belongs_to: (*belongs_to).to_owned(),
        });
    }
    reasons
}

/// The addresses of the namespaces' devices, with those that steps add: namespace, device, address.
fn addresses<'a>(known: &Facts<'_, 'a>) -> Vec<(&'a str, &'a str, Address)> {
    let first = known.names.scenario().world.addresses();
    let later = known.operations().filter_map(|(_, operation)| {
        pick!(operation, Operation::AddAddress { namespace, device, address }
            => (namespace.as_str(), device.as_str(), *address))
    });
    first.chain(later).collect()
}
