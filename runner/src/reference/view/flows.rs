//! Which segments belong to which subflow of which connection.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::recording::{Connection, Direction, Observation, Recording, Side, canonical_socket};
use crate::reference::crypto;
use crate::wire::{MptcpOption, Segment, TcpFlags};

use super::{Conversation, Flow, Half, Seen};

/// A subflow of one host before it is known to which connection it belongs.
struct Loose<'a> {
    namespace: &'a str,
    flow: Flow,
    syn: u32,
    entries: Vec<u32>,
    first_at: u64,
    capable: Capable,
    /// The token of its MP_JOIN SYN.
    token: Option<u32>,
}

/// The keys that an initial subflow showed, by their owner's role.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Capable {
    has_option: bool,
    opener: Option<u64>,
    acceptor: Option<u64>,
}

type End = (std::net::IpAddr, u16);

/// The connections with their segments.
pub(super) fn connections(recording: &Recording) -> Vec<Conversation<'_>> {
    let loose = collect(recording);
    let mut found = Vec::new();
    let mut taken = vec![false; loose.len()];
    for (index, entry) in recording.entries.iter().enumerate() {
        let Observation::Connected { connection } = &entry.what else { continue };
        found.push(open(connection, index, entry.at));
    }
    let mut initial: HashMap<(&str, End, End, bool), Vec<usize>> = HashMap::new();
    let mut keys: HashMap<(&str, u64, u64), usize> = HashMap::new();
    for (index, loose) in loose.iter().enumerate().filter(|(_, loose)| loose.token.is_none()) {
        let ends = (canonical_socket(loose.flow.local), canonical_socket(loose.flow.remote));
        initial.entry((loose.namespace, ends.0, ends.1, loose.flow.is_opener)).or_default().push(index);
        if let (false, Some(opener), Some(acceptor)) =
            (loose.flow.is_opener, loose.capable.opener, loose.capable.acceptor)
        {
            keys.entry((loose.namespace, opener, acceptor)).or_insert(index);
        }
    }
    // The last one before the connect step ended: a pair of ports may be used again.
    let before = |namespace: &str, local: SocketAddr, remote: SocketAddr, opens: bool, at: u64| {
        let ends = (namespace, canonical_socket(local), canonical_socket(remote), opens);
        let all = initial.get(&ends).map_or(&[][..], Vec::as_slice).iter().copied();
        all.rev().find(|index| loose.get(*index).is_some_and(|loose| loose.first_at <= at))
    };
    for (conversation, at) in &mut found {
        let Connection { client, server, client_address, server_address, .. } = conversation.client.connection;
        let first = before(client, *client_address, *server_address, true, *at);
        let shown = first.and_then(|index| loose.get(index)).map(|loose| loose.capable).unwrap_or_default();
        let by_keys = shown
            .opener
            .zip(shown.acceptor)
            .and_then(|(opener, acceptor)| keys.get(&(server.as_str(), opener, acceptor)).copied());
        let second = by_keys.or_else(|| before(server, *server_address, *client_address, false, *at));
        for (half, index) in [(&mut conversation.client, first), (&mut conversation.server, second)] {
            let Some(loose) = index.and_then(|index| loose.get(index)) else { continue };
            half.take_initial(loose);
            if let Some(taken) = index.and_then(|index| taken.get_mut(index)) {
                *taken = true;
            }
        }
    }
    let mut connections: Vec<Conversation<'_>> = found.into_iter().map(|(conversation, _)| conversation).collect();
    attach_joins(&mut connections, &loose);
    for conversation in &mut connections {
        for half in [&mut conversation.client, &mut conversation.server] {
            half.seen.sort_by_key(|seen| seen.entry);
        }
    }
    connections
}

fn open(connection: &Connection, _entry: usize, at: u64) -> (Conversation<'_>, u64) {
    let half = |side: Side| Half {
        name: &connection.name,
        side,
        namespace: match side {
            Side::Client => &connection.client,
            Side::Server => &connection.server,
        },
        connection,
        token: match side {
            Side::Client => connection.client_token,
            Side::Server => connection.server_token,
        },
        own_key: None,
        peer_key: None,
        flows: Vec::new(),
        lives: Vec::new(),
        controls: Vec::new(),
        seen: Vec::new(),
        events: Vec::new(),
        closing_at: None,
        signals: super::Signals::default(),
    };
    (Conversation { client: half(Side::Client), server: half(Side::Server) }, at)
}

impl Half<'_> {
    fn take_initial(&mut self, loose: &Loose<'_>) {
        (self.own_key, self.peer_key) = match self.side {
            Side::Client => (loose.capable.opener, loose.capable.acceptor),
            Side::Server => (loose.capable.acceptor, loose.capable.opener),
        };
        self.token = self.token.or_else(|| self.own_key.map(crypto::token));
        self.take(loose, true);
    }

    fn take(&mut self, loose: &Loose<'_>, is_initial: bool) {
        let flow = u32::try_from(self.flows.len()).unwrap_or(u32::MAX);
        self.flows.push(Flow { is_initial, ..loose.flow.clone() });
        self.seen.extend(loose.entries.iter().map(|entry| Seen { entry: *entry, flow }));
    }
}

/// Gives the additional subflows to the connections that their tokens name.
fn attach_joins(connections: &mut [Conversation<'_>], loose: &[Loose<'_>]) {
    // A token names a socket of one host. The peer of the host that has it sends it.
    let mut owners: HashMap<(&str, u32, bool), usize> = HashMap::new();
    for (index, conversation) in connections.iter().enumerate() {
        let (client, server) = (&conversation.client, &conversation.server);
        for (half, peer) in [(client, server), (server, client)] {
            if let Some(token) = half.token {
                owners.insert((half.namespace, token, false), index);
            }
            let sent = half.peer_key.map(crypto::token).or(peer.token);
            if let Some(token) = sent {
                owners.insert((half.namespace, token, true), index);
            }
        }
    }
    for loose in loose {
        let Some(token) = loose.token else { continue };
        let opens = loose.flow.is_opener;
        let Some(index) = owners.get(&(loose.namespace, token, opens)) else { continue };
        let Some(conversation) = connections.get_mut(*index) else { continue };
        // In one namespace, both sides are told apart by whose token it is.
        let owns = |half: &Half<'_>| half.token == Some(token);
        let is_client = if opens { owns(&conversation.server) } else { owns(&conversation.client) };
        let half = if is_client { &mut conversation.client } else { &mut conversation.server };
        if half.namespace == loose.namespace {
            half.take(loose, false);
        }
    }
}

/// The subflows that each host saw, with their segments.
fn collect(recording: &Recording) -> Vec<Loose<'_>> {
    let mut all: Vec<Loose<'_>> = Vec::new();
    let mut current: HashMap<(&str, SocketAddr, SocketAddr), usize> = HashMap::new();
    for (index, entry) in recording.entries.iter().enumerate() {
        let Observation::Packet { namespace, direction, segment, .. } = &entry.what else { continue };
        let Ok(index) = u32::try_from(index) else { break };
        let (local, remote) = match direction {
            Direction::Out => (segment.source, segment.destination),
            Direction::In => (segment.destination, segment.source),
        };
        let known = current.get(&(namespace.as_str(), local, remote)).copied();
        let is_syn = segment.flags.contains(TcpFlags::SYN) && !segment.flags.contains(TcpFlags::ACK);
        let begins = match known.and_then(|known| all.get(known)) {
            None => true,
            Some(known) => is_syn && known.syn != segment.sequence,
        };
        let known = known.filter(|_| !begins).unwrap_or_else(|| {
            let is_opener = is_syn && *direction == Direction::Out;
            all.push(Loose {
                namespace: namespace.as_str(),
                flow: Flow { local, remote, is_opener, is_initial: false },
                syn: segment.sequence,
                entries: Vec::new(),
                first_at: entry.at,
                capable: Capable::default(),
                token: None,
            });
            current.insert((namespace.as_str(), local, remote), all.len() - 1);
            all.len() - 1
        });
        if let Some(loose) = all.get_mut(known) {
            loose.entries.push(index);
            loose.note(segment, *direction);
        }
    }
    all
}

impl Loose<'_> {
    fn note(&mut self, segment: &Segment, direction: Direction) {
        if !segment.flags.intersects(TcpFlags::SYN) && self.capable.opener.is_some() {
            return;
        }
        for option in &segment.options {
            if let MptcpOption::MpJoinSyn { token, .. } = option {
                self.token = self.token.or(Some(*token));
            }
            let MptcpOption::MpCapable { sender_key, receiver_key, .. } = option else { continue };
            self.capable.has_option = true;
            let by_opener = (direction == Direction::Out) == self.flow.is_opener;
            if by_opener {
                self.capable.opener = self.capable.opener.or(*sender_key);
                self.capable.acceptor = self.capable.acceptor.or(*receiver_key);
            } else {
                self.capable.acceptor = sender_key.or(self.capable.acceptor);
            }
        }
    }
}

/// Gives the events to the connections that their tokens name.
pub(super) fn add_events<'a>(connections: &mut [Conversation<'a>], recording: &'a Recording) {
    let mut owners: HashMap<(&str, u32), Vec<(usize, Side)>> = HashMap::new();
    for (index, conversation) in connections.iter().enumerate() {
        for half in [&conversation.client, &conversation.server] {
            if let Some(token) = half.token {
                owners.entry((half.namespace, token)).or_default().push((index, half.side));
            }
        }
    }
    for (at, entry) in recording.entries.iter().enumerate() {
        let Observation::Event { namespace, event } = &entry.what else { continue };
        let Some(token) = event.token else { continue };
        for (index, side) in owners.get(&(namespace.as_str(), token)).into_iter().flatten() {
            let Some(conversation) = connections.get_mut(*index) else { continue };
            let half = match side {
                Side::Client => &mut conversation.client,
                Side::Server => &mut conversation.server,
            };
            half.events.push((at, event));
        }
    }
}
