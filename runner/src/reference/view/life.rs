//! What became of each subflow, as one host saw it. Main type: [`Life`].

use std::collections::HashMap;
use std::net::IpAddr;

use crate::mptcp::EventKind;
use crate::recording::{Direction, Observation, Recording, canonical_socket};
use crate::wire::{MptcpOption, Segment, TcpFlags};

use super::{Conversation, Flow, Half};

/// An entry of the recording and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::reference) struct Mark {
    /// The index of the entry.
    pub(in crate::reference) entry: usize,
    /// Nanoseconds since the start of the run.
    pub(in crate::reference) at: u64,
}

/// The first segment of each kind that decides about a subflow.
#[derive(Debug, Clone, Default)]
pub(in crate::reference) struct Life {
    /// The first SYN.
    pub(in crate::reference) syn: Option<Mark>,
    /// The first SYN/ACK.
    pub(in crate::reference) syn_ack: Option<Mark>,
    /// The first segment of the opener after its SYN that isn't a RST; with an MP_JOIN, if the subflow is an additional
    /// one.
    pub(in crate::reference) third_ack: Option<Mark>,
    /// The first segment of the acceptor after that, and neither SYN nor RST.
    pub(in crate::reference) answer: Option<Mark>,
    /// The first FIN or RST, in either direction.
    pub(in crate::reference) end: Option<Mark>,
    /// The first RST that this host sent.
    pub(in crate::reference) reset_sent: Option<Mark>,
    /// The first RST that this host received.
    pub(in crate::reference) reset_received: Option<Mark>,
    /// The last segment that this host sent before `end`.
    pub(in crate::reference) last_sent: Option<Mark>,
    /// The event SUB_ESTABLISHED.
    pub(in crate::reference) joined: Option<Mark>,
    /// The event SUB_CLOSED.
    pub(in crate::reference) closed: Option<Mark>,
}

impl Life {
    /// When this host could first be sure that the other one uses the subflow: the opener by the SYN/ACK, the acceptor
    /// when it has answered the third ACK.
    pub(in crate::reference) fn established(&self, is_opener: bool) -> Option<Mark> {
        let by_wire = if is_opener { self.third_ack } else { self.answer };
        [by_wire, self.joined].into_iter().flatten().min_by_key(|mark| mark.at)
    }

    /// Whether the kernel certainly counted it as one of the connection's additional subflows at this time.
    pub(in crate::reference) fn is_counted(&self, is_opener: bool, at: u64) -> bool {
        let since = if is_opener { self.syn } else { self.answer };
        let is_over = |mark: Option<Mark>| mark.is_some_and(|mark| mark.at <= at);
        if since.is_none_or(|since| since.at >= at) || is_over(self.end) || is_over(self.closed) {
            return false;
        }
        // Without a FIN or RST, a subflow ends when its retransmissions or those of its SYN have been in vain, and a FIN
        // leaves late if the link is down. What the kernel sends after the event, it sends without the connection.
        let is_silent = self.closed.is_some_and(|closed| self.end.is_none_or(|end| end.at > closed.at));
        let established = self.established(is_opener).is_some_and(|mark| mark.at < at);
        let is_alive_later =
            self.last_sent.is_some_and(|last| last.at > at && self.closed.is_none_or(|closed| closed.at > last.at));
        is_alive_later || (established && !is_silent)
    }

    /// Whether the kernel may have counted it as one of the connection's additional subflows at some time in this
    /// period. It does until it says so by an event, if it says anything.
    pub(in crate::reference) fn may_be_counted(&self, from: u64, to: u64) -> bool {
        let since = self.syn.or(self.third_ack);
        since.is_some_and(|since| since.at <= to) && self.closed.is_none_or(|closed| closed.at >= from)
    }
}

/// Fills the lives of all subflows in, and finds the segments with options that say something about addresses, priority
/// and failures.
pub(super) fn fill(connections: &mut [Conversation<'_>], recording: &Recording) {
    for conversation in connections {
        for half in [&mut conversation.client, &mut conversation.server] {
            let mut lives = vec![Life::default(); half.flows.len()];
            let mut controls = Vec::new();
            for seen in &half.seen {
                let index = seen.entry as usize;
                let Some(entry) = recording.entries.get(index) else { continue };
                let Observation::Packet { direction, segment, .. } = &entry.what else { continue };
                if segment.options.iter().any(is_control) {
                    controls.push(*seen);
                }
                let (flow, life) = (half.flows.get(seen.flow as usize), lives.get_mut(seen.flow as usize));
                if let (Some(flow), Some(life)) = (flow, life) {
                    note(life, flow, segment, *direction, Mark { entry: index, at: entry.at });
                }
            }
            add_events(half, &mut lives, recording);
            half.lives = lives;
            half.controls = controls;
        }
    }
}

fn is_control(option: &MptcpOption) -> bool {
    match option {
        MptcpOption::AddAddr { .. }
        | MptcpOption::RemoveAddr { .. }
        | MptcpOption::MpPrio { .. }
        | MptcpOption::MpFail { .. }
        | MptcpOption::MpFastclose { .. } => true,
        MptcpOption::Dss { mapping, .. } => mapping.as_ref().is_some_and(|mapping| mapping.length == 0),
        MptcpOption::MpCapable { .. }
        | MptcpOption::MpJoinSyn { .. }
        | MptcpOption::MpJoinSynAck { .. }
        | MptcpOption::MpJoinAck { .. }
        | MptcpOption::MpTcprst { .. }
        | MptcpOption::Malformed { .. } => false,
    }
}

fn note(life: &mut Life, flow: &Flow, segment: &Segment, direction: Direction, mark: Mark) {
    let (is_syn, is_reset) = (segment.flags.contains(TcpFlags::SYN), segment.flags.contains(TcpFlags::RST));
    let by_opener = (direction == Direction::Out) == flow.is_opener;
    if is_reset || segment.flags.contains(TcpFlags::FIN) {
        life.end = life.end.or(Some(mark));
    }
    if is_reset {
        let reset = if direction == Direction::Out { &mut life.reset_sent } else { &mut life.reset_received };
        *reset = reset.or(Some(mark));
        return;
    }
    if direction == Direction::Out && life.end.is_none() {
        life.last_sent = Some(mark);
    }
    let kind = match (is_syn, by_opener) {
        (true, true) => &mut life.syn,
        (true, false) => &mut life.syn_ack,
        (false, true) if flow.is_initial || life.third_ack.is_some() => &mut life.third_ack,
        (false, true) => {
            let joins = segment.options.iter().any(|option| matches!(option, MptcpOption::MpJoinAck { .. }));
            if !joins {
                return;
            }
            &mut life.third_ack
        }
        (false, false) if life.third_ack.is_some() => &mut life.answer,
        (false, false) => return,
    };
    *kind = kind.or(Some(mark));
}

type End = (IpAddr, u16);

fn add_events(half: &Half<'_>, lives: &mut [Life], recording: &Recording) {
    let mut by_ends: HashMap<(End, End), Vec<usize>> = HashMap::new();
    for (index, flow) in half.flows.iter().enumerate() {
        by_ends.entry((canonical_socket(flow.local), canonical_socket(flow.remote))).or_default().push(index);
    }
    for (entry, event) in &half.events {
        let (Some(local), Some(remote)) = (event.local, event.remote) else { continue };
        let (Some(local_port), Some(remote_port)) = (event.local_port, event.remote_port) else { continue };
        let ends = ((local.to_canonical(), local_port), (remote.to_canonical(), remote_port));
        let Some(at) = recording.entries.get(*entry).map(|entry| entry.at) else { continue };
        // A pair of ports may be used again: it is the last one that was opened before.
        let candidates = by_ends.get(&ends).map_or(&[][..], Vec::as_slice).iter().copied();
        let begun = |index: &usize| lives.get(*index).is_some_and(|life| life.syn.is_none_or(|syn| syn.at <= at));
        let Some(life) = candidates.rev().find(begun).and_then(|index| lives.get_mut(index)) else { continue };
        let mark = Some(Mark { entry: *entry, at });
        if event.kind == EventKind::SubEstablished {
            life.joined = life.joined.or(mark);
        } else if event.kind == EventKind::SubClosed {
            life.closed = life.closed.or(mark);
        }
    }
}
