//! The MPTCP options on the wire in canonical form. Main type: [`Wire`].
//!
//! Each segment is taken where it left its sender. Options of the handshake, MP_PRIO, MP_FAIL and MP_TCPRST belong to
//! their subflow. ADD_ADDR, its echo, REMOVE_ADDR, DATA_FIN, MP_FASTCLOSE and the infinite mapping belong to the
//! connection: on which of the subflows they travel depends on which one is free at that moment. So does which subflow
//! data goes on, and whether the first data comes with MP_CAPABLE (only as long as the server was not heard yet):
//! that does not show.

mod conversation;
mod flow;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::judge::names::Names;
use crate::recording::{Direction, Observation, Side};
use crate::text;
use crate::wire::{MptcpOption, Segment, TcpFlags};

use super::alike::{Block, fold_sections};
use super::interval;
use conversation::Conversation;

/// What the kernel may send more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Repeated {
    /// An ADD_ADDR.
    AddAddr,
    /// Its echo.
    Echo,
    /// One of both that carries a port (PortAdd counts both: `mptcp_incoming_options`, net/mptcp/options.c).
    WithPort,
}

/// All that crossed the wire.
pub(super) struct Wire<'a> {
    conversations: Vec<Conversation<'a>>,
    by_name: BTreeMap<Option<&'a str>, usize>,
    /// Which subflow a pair of sockets, as (initiator, acceptor), belongs to.
    flows: BTreeMap<(SocketAddr, SocketAddr), KnownFlow>,
    sent_again: BTreeMap<(&'a str, Repeated), u64>,
    received_again: BTreeMap<(&'a str, Repeated), u64>,
}

/// A subflow that was seen.
struct KnownFlow {
    conversation: usize,
    flow: usize,
    /// The sequence number of its SYN, if that was seen.
    syn: Option<u32>,
}

/// Where a segment belongs.
struct Position {
    conversation: usize,
    flow: usize,
    from_initiator: bool,
}

impl<'a> Wire<'a> {
    /// Sorts all segments of a recording.
    pub(super) fn of(names: &Names<'a>, barriers: &[usize]) -> Self {
        let mut wire = Self {
            conversations: Vec::new(),
            by_name: BTreeMap::new(),
            flows: BTreeMap::new(),
            sent_again: BTreeMap::new(),
            received_again: BTreeMap::new(),
        };
        for (index, entry) in names.recording().entries.iter().enumerate() {
            let Observation::Packet { namespace, direction, segment, .. } = &entry.what else { continue };
            if segment.options.is_empty() {
                continue;
            }
            // On its way through a router a segment is seen again.
            if names.is_forwarded(namespace, *direction, segment) {
                continue;
            }
            match direction {
                Direction::Out => wire.sent(names, namespace, segment, interval(barriers, index)),
                Direction::In => wire.received(namespace, segment),
            }
        }
        wire
    }

    fn sent(&mut self, names: &Names<'a>, namespace: &'a str, segment: &'a Segment, interval: usize) {
        let position = match self.position(segment) {
            Some(position) if !self.opens_another(segment) => position,
            _ => self.open(names, segment),
        };
        let Some(conversation) = self.conversations.get_mut(position.conversation) else { return };
        for option in &segment.options {
            let again = conversation.add(names, position.flow, position.from_initiator, segment, option, interval);
            count_repeated(&mut self.sent_again, namespace, option, again);
        }
    }

    fn received(&mut self, namespace: &'a str, segment: &'a Segment) {
        let Some(position) = self.position(segment) else { return };
        let Some(conversation) = self.conversations.get_mut(position.conversation) else { return };
        for option in &segment.options {
            let again = conversation.received_again(position.flow, position.from_initiator, option);
            count_repeated(&mut self.received_again, namespace, option, again);
        }
    }

    fn position(&self, segment: &Segment) -> Option<Position> {
        let (source, destination) = ends(segment);
        let forth = self.flows.get(&(source, destination)).map(|found| (found, true));
        let back = || self.flows.get(&(destination, source)).map(|found| (found, false));
        let (KnownFlow { conversation, flow, .. }, from_initiator) = forth.or_else(back)?;
        Some(Position { conversation: *conversation, flow: *flow, from_initiator })
    }

    /// A SYN between two sockets that had a subflow before: the kernel has chosen the same port once more. A SYN that is
    /// repeated has the sequence number of the first one.
    fn opens_another(&self, segment: &Segment) -> bool {
        let known = self.flows.get(&ends(segment)).and_then(|known| known.syn);
        is_syn(segment) && known.is_some_and(|sequence| sequence != segment.sequence)
    }

    /// A subflow that was not seen before.
    fn open(&mut self, names: &Names<'a>, segment: &Segment) -> Position {
        let (source, destination) = ends(segment);
        let from_initiator = is_syn(segment) || !names.is_known_port(source.port());
        let (initiator, acceptor) = if from_initiator { (source, destination) } else { (destination, source) };
        let (name, initiator_side) = owner_of_flow(names, segment, initiator, acceptor);
        let next = self.conversations.len();
        let conversation = *self.by_name.entry(name).or_insert(next);
        if conversation == next {
            self.conversations.push(Conversation::new(name));
        }
        let flow = self
            .conversations
            .get_mut(conversation)
            .map_or(0, |conversation| conversation.open(names, initiator, acceptor, initiator_side));
        let syn = is_syn(segment).then_some(segment.sequence);
        self.flows.insert((initiator, acceptor), KnownFlow { conversation, flow, syn });
        Position { conversation, flow, from_initiator }
    }

    /// How many of what a namespace sent were repetitions.
    pub(super) fn sent_again(&self, namespace: &str, what: Repeated) -> u64 {
        self.sent_again.get(&(namespace, what)).copied().unwrap_or(0)
    }

    /// How many of what a namespace received were repetitions.
    pub(super) fn received_again(&self, namespace: &str, what: Repeated) -> u64 {
        self.received_again.get(&(namespace, what)).copied().unwrap_or(0)
    }

    /// Some connection was closed by MP_FASTCLOSE.
    pub(super) fn has_fastclose(&self) -> bool {
        self.conversations.iter().any(|conversation| conversation.fastclosed)
    }

    /// All conversations, in the order of the scenario's connections.
    pub(super) fn text(&self, names: &Names<'_>) -> String {
        let mut sections: Vec<(usize, String, &str)> = self
            .conversations
            .iter()
            .map(|conversation| {
                let rank = conversation.name.map_or(usize::MAX, |name| names.rank(name));
                (rank, conversation.text(), conversation.name.unwrap_or_default())
            })
            .collect();
        sections.sort();
        let blocks = sections.into_iter().map(|(_, text, name)| Block { name: name.to_owned(), lines: vec![text] });
        fold_sections(blocks.collect()).join("\n")
    }
}

/// The first segment of a subflow.
fn is_syn(segment: &Segment) -> bool {
    segment.flags.contains(TcpFlags::SYN) && !segment.flags.contains(TcpFlags::ACK)
}

fn ends(segment: &Segment) -> (SocketAddr, SocketAddr) {
    (text::socket(segment.source), text::socket(segment.destination))
}

fn count_repeated<'a>(
    counts: &mut BTreeMap<(&'a str, Repeated), u64>,
    namespace: &'a str,
    option: &MptcpOption,
    again: bool,
) {
    let MptcpOption::AddAddr { echo, body, .. } = option else { return };
    if again {
        let what = if *echo { Repeated::Echo } else { Repeated::AddAddr };
        *counts.entry((namespace, what)).or_default() += 1;
        if body.port.is_some() {
            *counts.entry((namespace, Repeated::WithPort)).or_default() += 1;
        }
    }
}

/// The connection that a subflow belongs to, and which side of it opened the subflow.
fn owner_of_flow<'a>(
    names: &Names<'a>,
    segment: &Segment,
    initiator: SocketAddr,
    acceptor: SocketAddr,
) -> (Option<&'a str>, Side) {
    for option in &segment.options {
        if let MptcpOption::MpJoinSyn { token, .. } = option {
            return match names.connection_of_receiver(*token) {
                Some((name, Side::Client)) => (Some(name), Side::Server),
                Some((name, Side::Server)) => (Some(name), Side::Client),
                None => (None, Side::Client),
            };
        }
    }
    let name = names.connected_between(initiator, acceptor);
    // connect() may have failed: then the scenario knows who wanted to go there.
    let name = name.or_else(|| names.planned_connection(acceptor));
    (name, Side::Client)
}
