//! Segments of a capture to connections, and to the events that both sides have of them: a connection, its subflows,
//! announcements and removals are all on the wire (RFC 8684 sections 3.1, 3.2 and 3.4).
//!
//! Only what was captured is known: a side's events are those of the segments that passed the point of capture.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use super::seen::{Connection, Happening, MOST, Outcome, Seen};
use crate::mptcp::crypto::token;
use crate::mptcp::{EventKind, PmEvent, Side};
use crate::wire::{AddAddrBody, MptcpOption, Segment, TcpFlags};

/// The errno of a subflow whose SYN a RST answers.
const ECONNREFUSED: u8 = 111;

/// How far the handshake of a subflow is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Syn,
    SynAck,
    Established,
    Closed,
}

#[derive(Debug)]
struct Flow {
    connection: usize,
    /// The side of the connection that opened this subflow.
    opener: Side,
    is_join: bool,
    state: State,
    /// The address IDs of the opener and of the other side.
    ids: [u8; 2],
    /// Whether the opener, or the other side, asked for backup.
    backup: [bool; 2],
    /// Who has sent a FIN.
    fins: [bool; 2],
    with_mptcp: bool,
}

/// What is kept of a connection besides.
#[derive(Debug, Default)]
struct Trace {
    announced: HashSet<(Side, u8, SocketAddr)>,
    data_fin: [bool; 2],
    /// The first and the last data sequence number of each side.
    sequences: [Option<(u64, u64)>; 2],
    closed: bool,
    deny_join_id0: bool,
}

/// Follows the connections of a capture.
#[derive(Debug, Default)]
pub(super) struct Tracer {
    connections: Vec<Connection>,
    traces: Vec<Trace>,
    /// By the addresses of opener and other side.
    flows: HashMap<(SocketAddr, SocketAddr), Flow>,
    /// Whose token is which.
    tokens: HashMap<u32, (usize, Side)>,
    happenings: Vec<Happening>,
    strays: u64,
    unanswered: HashSet<(SocketAddr, SocketAddr)>,
}

fn at(side: Side) -> usize {
    usize::from(side == Side::Server)
}

impl Tracer {
    /// Takes in the next segment.
    pub(super) fn segment(&mut self, segment: &Segment, seen: &mut Seen) {
        if self.happenings.len() >= MOST || self.flows.len() >= MOST || self.connections.len() >= MOST {
            seen.has_room(MOST);
            return;
        }
        let there = (segment.source, segment.destination);
        let back = (segment.destination, segment.source);
        if segment.flags.contains(TcpFlags::SYN) && !segment.flags.contains(TcpFlags::ACK) {
            self.syn(there, segment);
        } else if self.flows.contains_key(&there) {
            self.on_flow(there, true, segment);
        } else if self.flows.contains_key(&back) {
            self.on_flow(back, false, segment);
        } else if !segment.options.is_empty() && !segment.flags.contains(TcpFlags::RST) {
            self.strays += 1;
        }
    }

    fn syn(&mut self, key: (SocketAddr, SocketAddr), segment: &Segment) {
        let known = self.flows.get(&key).is_some_and(|flow| flow.state != State::Closed);
        for option in &segment.options {
            match option {
                MptcpOption::MpCapable { .. } if !known => {
                    let index = self.connections.len();
                    let unanswered = Connection::new(key.0.ip(), key.1);
                    self.connections.push(Connection { outcome: Outcome::Unanswered, ..unanswered });
                    self.traces.push(Trace::default());
                    self.flows.insert(key, flow(index, Side::Client, false, 0, false));
                    self.unanswered.insert(key);
                }
                MptcpOption::MpJoinSyn { backup, address_id, token, .. } if !known => {
                    let Some((connection, owner)) = self.tokens.get(token).copied() else {
                        self.strays += 1;
                        continue;
                    };
                    self.flows.insert(key, flow(connection, owner.other(), true, *address_id, *backup));
                    self.unanswered.insert(key);
                }
                _ => {}
            }
        }
    }

    fn on_flow(&mut self, key: (SocketAddr, SocketAddr), from_opener: bool, segment: &Segment) {
        self.handshake(key, from_opener, segment);
        let Some(flow) = self.flows.get(&key) else { return };
        let (connection, opener, state) = (flow.connection, flow.opener, flow.state);
        if state == State::Established {
            let sender = if from_opener { opener } else { opener.other() };
            for option in &segment.options {
                self.option(key, connection, sender, option);
            }
            self.data_closed(connection);
        }
        self.ended(key, from_opener, segment);
    }

    /// SYN/ACK and third ACK.
    fn handshake(&mut self, key: (SocketAddr, SocketAddr), from_opener: bool, segment: &Segment) {
        let Some(flow) = self.flows.get_mut(&key) else { return };
        let (connection, opener) = (flow.connection, flow.opener);
        match (flow.state, from_opener) {
            (State::Syn, false) if segment.flags.contains(TcpFlags::SYN | TcpFlags::ACK) => {
                flow.state = State::SynAck;
                self.unanswered.remove(&key);
                self.accepted(key, segment);
            }
            (State::SynAck, true)
                if segment.flags.contains(TcpFlags::ACK) && !segment.flags.contains(TcpFlags::RST) =>
            {
                flow.state = State::Established;
                let with_mptcp = flow.with_mptcp && (!flow.is_join || is_join_ack(segment));
                let keys = segment.options.iter().find_map(|option| match option {
                    MptcpOption::MpCapable { sender_key, .. } => *sender_key,
                    _ => None,
                });
                if let Some(client) = keys {
                    self.tokens.insert(token(client), (connection, Side::Client));
                }
                if with_mptcp {
                    self.opened(key, opener.other());
                }
            }
            _ => {}
        }
    }

    /// The SYN/ACK: the answer to the SYN, with MPTCP or without.
    fn accepted(&mut self, key: (SocketAddr, SocketAddr), segment: &Segment) {
        let Some(flow) = self.flows.get_mut(&key) else { return };
        let (connection, opener) = (flow.connection, flow.opener);
        for option in &segment.options {
            match option {
                MptcpOption::MpCapable { sender_key: Some(server), flags, .. } if !flow.is_join => {
                    flow.with_mptcp = true;
                    // The bit C of its sender: no joins to this address.
                    self.traces.get_mut(connection).into_iter().for_each(|it| it.deny_join_id0 = flags & 0x20 != 0);
                    self.tokens.insert(token(*server), (connection, Side::Server));
                }
                MptcpOption::MpJoinSynAck { backup, address_id, .. } if flow.is_join => {
                    flow.with_mptcp = true;
                    flow.ids[1] = *address_id;
                    flow.backup[1] = *backup;
                }
                _ => {}
            }
        }
        let (with_mptcp, is_join) = (flow.with_mptcp, flow.is_join);
        if let Some(it) = self.connections.get_mut(connection).filter(|_| !is_join) {
            it.outcome = if with_mptcp { Outcome::Mptcp } else { Outcome::Tcp };
        }
        if with_mptcp {
            self.opened(key, opener);
        }
    }

    /// A side has the connection, or the subflow, from now on.
    fn opened(&mut self, key: (SocketAddr, SocketAddr), side: Side) {
        let Some(flow) = self.flows.get(&key) else { return };
        let is_join = flow.is_join;
        let mut event = subflow(EventKind::SubEstablished, key, flow, side);
        let connection = flow.connection;
        if !is_join {
            let deny = self.traces.get(connection).is_some_and(|trace| trace.deny_join_id0);
            event = PmEvent {
                kind: EventKind::Created,
                backup: None,
                server_side: side == Side::Server,
                deny_join_id0: deny && side == Side::Client,
                ..event
            };
            let established = PmEvent { kind: EventKind::Established, ..event.clone() };
            self.happened(connection, side, event);
            event = established;
        }
        self.happened(connection, side, event);
    }

    fn happened(&mut self, connection: usize, side: Side, event: PmEvent) {
        self.happenings.push(Happening { connection, side, event });
    }

    /// What an option of an established subflow tells the other side.
    fn option(&mut self, key: (SocketAddr, SocketAddr), connection: usize, sender: Side, option: &MptcpOption) {
        let receiver = sender.other();
        let Some(trace) = self.traces.get_mut(connection) else { return };
        match option {
            MptcpOption::AddAddr { echo: false, address_id, body: AddAddrBody { address, port, .. } } => {
                // What is announced again is a retransmission.
                let news = (sender, *address_id, SocketAddr::new(*address, port.unwrap_or(0)));
                if trace.announced.len() < 1024 && trace.announced.insert(news) {
                    let mut event = PmEvent::new(EventKind::Announced);
                    event.remote = Some(*address);
                    event.remote_port = *port;
                    event.remote_id = Some(*address_id);
                    self.happened(connection, receiver, event);
                }
            }
            MptcpOption::RemoveAddr { address_ids } => {
                for id in address_ids {
                    trace.announced.retain(|(side, announced, _)| (side, announced) != (&sender, id));
                    let mut event = PmEvent::new(EventKind::Removed);
                    event.remote_id = Some(*id);
                    self.happenings.push(Happening { connection, side: receiver, event });
                }
            }
            MptcpOption::MpPrio { backup } => {
                let Some(flow) = self.flows.get_mut(&key) else { return };
                flow.backup[usize::from(sender != flow.opener)] = *backup;
                let event = subflow(EventKind::SubPriority, key, flow, receiver);
                self.happened(connection, receiver, event);
            }
            MptcpOption::MpFastclose { .. } if !trace.closed => {
                trace.closed = true;
                self.closed(connection, sender, true);
            }
            MptcpOption::Dss { data_fin, mapping, .. } => {
                if let Some(mapping) = mapping {
                    let length = u64::from(mapping.length).saturating_sub(u64::from(*data_fin));
                    trace.mapped(sender, mapping.data_sequence, length);
                }
                if *data_fin && !trace.data_fin[at(sender)] {
                    trace.data_fin[at(sender)] = true;
                    if let Some(it) = self.connections.get_mut(connection) {
                        it.closed.get_or_insert((sender, false));
                    }
                }
            }
            _ => {}
        }
    }

    /// Both sides have sent a DATA_FIN: the connection is closed.
    fn data_closed(&mut self, connection: usize) {
        let Some(trace) = self.traces.get_mut(connection) else { return };
        if trace.data_fin == [true; 2] && !trace.closed {
            trace.closed = true;
            for side in [Side::Client, Side::Server] {
                self.happened(connection, side, PmEvent::new(EventKind::Closed));
            }
        }
    }

    /// MP_FASTCLOSE: its receiver has no event, since its token is gone (`mptcp_check_fastclose`, `__mptcp_close`,
    /// net/mptcp/protocol.c).
    fn closed(&mut self, connection: usize, by: Side, abruptly: bool) {
        if let Some(it) = self.connections.get_mut(connection) {
            it.closed = Some((by, abruptly));
        }
        self.happened(connection, by, PmEvent::new(EventKind::Closed));
    }

    /// FIN and RST end a subflow; the end of the connection ends all of them, without an event.
    fn ended(&mut self, key: (SocketAddr, SocketAddr), from_opener: bool, segment: &Segment) {
        let Some(flow) = self.flows.get_mut(&key) else { return };
        if flow.state == State::Closed {
            return;
        }
        let reset = segment.flags.contains(TcpFlags::RST);
        flow.fins[usize::from(!from_opener)] |= segment.flags.contains(TcpFlags::FIN);
        if !reset && flow.fins != [true; 2] {
            return;
        }
        let before = std::mem::replace(&mut flow.state, State::Closed);
        let connection = flow.connection;
        let closing = self.traces.get(connection).is_none_or(|trace| trace.closed || trace.data_fin != [false; 2]);
        if closing {
            return;
        }
        match before {
            State::Syn if !from_opener => {
                self.unanswered.remove(&key);
                let mut event = subflow(EventKind::SubClosed, key, flow, flow.opener);
                event.error = Some(ECONNREFUSED);
                let (is_join, opener) = (flow.is_join, flow.opener);
                if is_join {
                    self.happened(connection, opener, event);
                } else if let Some(it) = self.connections.get_mut(connection) {
                    it.outcome = Outcome::Refused;
                }
            }
            State::Established if flow.with_mptcp => {
                let events =
                    [Side::Client, Side::Server].map(|side| (side, subflow(EventKind::SubClosed, key, flow, side)));
                for (side, event) in events {
                    self.happened(connection, side, event);
                }
            }
            _ => {}
        }
    }

    /// Hands over what was traced.
    pub(super) fn finish(mut self, seen: &mut Seen) {
        for (connection, trace) in self.connections.iter_mut().zip(&self.traces) {
            let [client, server] = trace.sequences.map(|range| range.map_or(0, |(first, end)| end.wrapping_sub(first)));
            connection.bytes = Some((client, server));
            if !trace.closed {
                connection.closed = None;
            }
        }
        if self.strays > 0 {
            seen.open.push(format!(
                "{} of MPTCP connections that began before the capture: they are left out",
                crate::text::count(self.strays, "segment")
            ));
        }
        if !self.unanswered.is_empty() {
            let count = crate::text::count(self.unanswered.len() as u64, "SYN");
            seen.open
                .push(format!("{count} with MPTCP without an answer: the capture doesn't say what became of them"));
        }
        seen.connections = self.connections;
        seen.happenings = self.happenings;
    }
}

impl Trace {
    /// Data of a mapping.
    fn mapped(&mut self, side: Side, first: u64, length: u64) {
        let end = first.wrapping_add(length);
        let range = &mut self.sequences[at(side)];
        *range = Some(match *range {
            None => (first, end),
            // Sequence numbers wrap: what is less than half of them ahead is later.
            Some((start, known)) if end.wrapping_sub(known) < u64::MAX / 2 => (start, end),
            Some(known) => known,
        });
    }
}

fn flow(connection: usize, opener: Side, is_join: bool, id: u8, backup: bool) -> Flow {
    Flow {
        connection,
        opener,
        is_join,
        state: State::Syn,
        ids: [id, 0],
        backup: [backup, false],
        fins: [false; 2],
        with_mptcp: false,
    }
}

fn is_join_ack(segment: &Segment) -> bool {
    segment.options.iter().any(|option| matches!(option, MptcpOption::MpJoinAck { .. }))
}

/// An event about a subflow, as one side has it.
fn subflow(kind: EventKind, (opener, other): (SocketAddr, SocketAddr), flow: &Flow, side: Side) -> PmEvent {
    let is_opener = side == flow.opener;
    let (local, remote) = if is_opener { (opener, other) } else { (other, opener) };
    let [own, theirs] = if is_opener { [0, 1] } else { [1, 0] };
    let mut event = PmEvent::new(kind);
    event.local = Some(local.ip());
    event.local_port = Some(local.port());
    event.remote = Some(remote.ip());
    event.remote_port = Some(remote.port());
    event.local_id = flow.ids.get(own).copied();
    event.remote_id = flow.ids.get(theirs).copied();
    event.backup = flow.backup.get(theirs).map(|backup| u8::from(*backup));
    event
}
