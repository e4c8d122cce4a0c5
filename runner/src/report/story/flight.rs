//! Following segments from capture to capture: each one leaves an interface, enters another, and perhaps leaves again.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use crate::recording::{Direction, Entry, Observation, PathDeed};
use crate::wire::{Segment, TcpFlags};

use super::words::is_signalling;

/// A segment on its way.
#[derive(Debug)]
pub(super) struct Flight<'a> {
    /// When it was sent, nanoseconds since the start of the run.
    pub(super) at: u64,
    /// As it was sent.
    pub(super) sent: &'a Segment,
    /// The namespace that sent it.
    pub(super) from: &'a str,
    /// The last namespace that it arrived in, with what arrived; `None` if it never did.
    pub(super) arrived: Option<(&'a str, &'a Segment)>,
    /// What paths did to it.
    pub(super) deeds: Vec<(&'a str, &'a PathDeed)>,
    /// It left a namespace and entered no other one.
    in_the_air: bool,
}

impl Flight<'_> {
    /// It was sent, or forwarded, and did not come in anywhere.
    pub(super) fn lost(&self) -> bool {
        self.in_the_air
    }

    /// The MPTCP options changed on the way.
    pub(super) fn options_changed(&self) -> bool {
        self.arrived.is_some_and(|(_, segment)| segment.options != self.sent.options)
    }
}

/// What a segment keeps on its way. Middleboxes may change the options, so these are not part of it.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
struct Key {
    source: SocketAddr,
    destination: SocketAddr,
    sequence: u32,
    acknowledgment: u32,
    flags: TcpFlags,
    payload: u32,
}

/// Addresses outside of NATs, with those inside: a segment is the same on both sides.
type Nats = HashMap<SocketAddr, SocketAddr>;

impl Key {
    fn of(segment: &Segment, nats: &Nats) -> Self {
        let inside = |address: SocketAddr| nats.get(&address).copied().unwrap_or(address);
        Self {
            source: inside(segment.source),
            destination: inside(segment.destination),
            sequence: segment.sequence,
            acknowledgment: segment.acknowledgment,
            flags: segment.flags,
            payload: segment.payload,
        }
    }
}

/// All segments of a recording, each once, in the order in which they were sent.
///
/// Of two alike (a retransmission), the one that was sent first arrives first.
pub(super) fn flights(entries: &[Entry]) -> Vec<Flight<'_>> {
    let mut sky = Sky { nats: nats(entries), ..Sky::default() };
    for entry in entries {
        if let Observation::Packet { namespace, direction, segment, .. } = &entry.what {
            match direction {
                Direction::Out => sky.out(entry.at, namespace, segment),
                Direction::In => sky.arrive(namespace, segment),
            }
        }
    }
    sky.settle();
    sky.blame(entries);
    sky.flights
}

/// What NATs made of the first segment of each connection.
fn nats(entries: &[Entry]) -> Nats {
    let made = entries.iter().filter_map(|entry| match &entry.what {
        Observation::Path { what: PathDeed::Rule { action, made, .. }, segment: Some(segment), .. }
            if action == "nat" =>
        {
            made.first().map(|made| (made.source, segment.source))
        }
        _ => None,
    });
    made.collect()
}

/// What is known so far. Flights are named by their index.
#[derive(Default)]
struct Sky<'a> {
    nats: Nats,
    flights: Vec<Flight<'a>>,
    /// Sent, not arrived.
    in_the_air: HashMap<Key, VecDeque<usize>>,
    /// Arrived in a namespace, not forwarded.
    landed: HashMap<(&'a str, Key), VecDeque<usize>>,
    /// Arrived without having been sent so far: the two captures may be read in the wrong order.
    stray: HashMap<Key, VecDeque<(&'a str, &'a Segment)>>,
    /// Data that arrived, by addresses: where, from which sequence number, how much.
    data: HashMap<(SocketAddr, SocketAddr), Vec<(&'a str, &'a Segment)>>,
}

impl<'a> Sky<'a> {
    fn out(&mut self, at: u64, namespace: &'a str, segment: &'a Segment) {
        let key = Key::of(segment, &self.nats);
        let forwarded = self.landed.get_mut(&(namespace, key)).and_then(VecDeque::pop_front);
        let flight = forwarded.unwrap_or_else(|| {
            self.flights.push(Flight {
                at,
                sent: segment,
                from: namespace,
                arrived: None,
                deeds: Vec::new(),
                in_the_air: true,
            });
            self.flights.len() - 1
        });
        if let Some(flight) = self.flights.get_mut(flight) {
            flight.in_the_air = true;
        }
        self.in_the_air.entry(key).or_default().push_back(flight);
    }

    fn arrive(&mut self, namespace: &'a str, segment: &'a Segment) {
        let key = Key::of(segment, &self.nats);
        if segment.payload > 0 {
            self.data.entry((segment.source, segment.destination)).or_default().push((namespace, segment));
        }
        let Some(flight) = self.in_the_air.get_mut(&key).and_then(VecDeque::pop_front) else {
            self.stray.entry(key).or_default().push_back((namespace, segment));
            return;
        };
        self.land(flight, namespace, segment);
        self.landed.entry((namespace, key)).or_default().push_back(flight);
    }

    fn land(&mut self, flight: usize, namespace: &'a str, segment: &'a Segment) {
        if let Some(flight) = self.flights.get_mut(flight) {
            flight.arrived = Some((namespace, segment));
            flight.in_the_air = false;
        }
    }

    /// Finds the arrival of those that seem lost: one that was read too early, or data that was cut or joined on the
    /// way (segmentation offload).
    fn settle(&mut self) {
        let waiting: Vec<usize> = self.in_the_air.values().flatten().copied().collect();
        for index in waiting {
            let Some(flight) = self.flights.get(index) else { continue };
            let key = Key::of(flight.sent, &self.nats);
            let stray = self.stray.get_mut(&key).and_then(VecDeque::pop_front);
            let arrival = stray.or_else(|| self.covering(flight.sent));
            if let Some((namespace, segment)) = arrival {
                self.land(index, namespace, segment);
            }
        }
    }

    /// Puts what paths did to the segments that they did it to: of several alike, the last one that was sent before.
    fn blame(&mut self, entries: &'a [Entry]) {
        let mut alike: HashMap<Key, Vec<usize>> = HashMap::new();
        for (index, flight) in self.flights.iter().enumerate() {
            alike.entry(Key::of(flight.sent, &self.nats)).or_default().push(index);
        }
        for entry in entries {
            let Observation::Path { link, what, segment: Some(segment), .. } = &entry.what else { continue };
            let Some(candidates) = alike.get(&Key::of(segment, &self.nats)) else { continue };
            let sent_before = |index: &&usize| self.flights.get(**index).is_some_and(|flight| flight.at <= entry.at);
            let index = candidates.iter().rev().find(sent_before).or(candidates.first()).copied();
            if let Some(flight) = index.and_then(|index| self.flights.get_mut(index)) {
                flight.deeds.push((link, what));
            }
        }
    }

    /// A segment that arrived with the first byte of this one.
    fn covering(&self, sent: &Segment) -> Option<(&'a str, &'a Segment)> {
        // Whether plain data arrived isn't told, and there may be much of it.
        if sent.payload == 0 || !is_signalling(sent) {
            return None;
        }
        let arrivals = self.data.get(&(sent.source, sent.destination))?;
        // Sequence numbers wrap: their distance is what counts.
        arrivals.iter().find(|(_, arrived)| sent.sequence.wrapping_sub(arrived.sequence) < arrived.payload).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u32, payload: u32) -> Segment {
        Segment {
            source: "10.0.1.2:4000".parse().unwrap(),
            destination: "10.0.1.1:8080".parse().unwrap(),
            flags: TcpFlags::ACK,
            sequence,
            acknowledgment: 1,
            payload,
            options: Vec::new(),
            malformed: false,
        }
    }

    fn packet(at: u64, namespace: &str, direction: Direction, segment: Segment) -> Entry {
        let (namespace, device) = (namespace.to_owned(), "eth1".to_owned());
        Entry { at, what: Observation::Packet { namespace, device, direction, segment } }
    }

    #[test]
    fn a_forwarded_segment_is_one_flight() {
        let entries = [
            packet(1, "client", Direction::Out, segment(1, 0)),
            packet(2, "router", Direction::In, segment(1, 0)),
            packet(3, "router", Direction::Out, segment(1, 0)),
            packet(4, "server", Direction::In, segment(1, 0)),
        ];
        let flights = flights(&entries);
        assert_eq!(flights.len(), 1);
        assert_eq!((flights[0].at, flights[0].from), (1, "client"));
        assert_eq!(flights[0].arrived.map(|(namespace, _)| namespace), Some("server"));
        assert!(!flights[0].lost());
    }

    #[test]
    fn a_segment_lost_behind_a_router_is_lost() {
        let entries = [
            packet(1, "client", Direction::Out, segment(1, 0)),
            packet(2, "router", Direction::In, segment(1, 0)),
            packet(3, "router", Direction::Out, segment(1, 0)),
        ];
        let flights = flights(&entries);
        assert!(flights[0].lost());
        assert_eq!(flights[0].arrived.map(|(namespace, _)| namespace), Some("router"));
    }

    #[test]
    fn of_two_alike_the_second_is_lost() {
        let entries = [
            packet(1, "client", Direction::Out, segment(1, 0)),
            packet(2, "server", Direction::In, segment(1, 0)),
            packet(3, "client", Direction::Out, segment(1, 0)),
        ];
        let flights = flights(&entries);
        assert_eq!(flights.iter().map(Flight::lost).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn captures_read_in_the_wrong_order_still_match() {
        let entries =
            [packet(1, "server", Direction::In, segment(1, 0)), packet(2, "client", Direction::Out, segment(1, 0))];
        assert!(!flights(&entries)[0].lost());
    }

    #[test]
    fn data_that_was_cut_on_the_way_has_arrived() {
        let options = vec![crate::wire::MptcpOption::MpPrio { backup: true }];
        let entries = [
            packet(1, "client", Direction::Out, Segment { options, ..segment(u32::MAX, 3000) }),
            packet(2, "server", Direction::In, segment(u32::MAX, 1500)),
            packet(3, "server", Direction::In, segment(1499, 1500)),
        ];
        assert!(!flights(&entries)[0].lost());
    }
}
