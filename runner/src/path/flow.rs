//! What the path knows of each TCP connection, so that segments can be forged that its ends accept.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::frame::Layout;
use crate::wire::{Segment, TcpFlags};

/// What one end of a connection has sent, as far as it went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// The sequence number behind everything that it sent.
    pub(super) next_sequence: u32,
    /// Its latest acknowledgment number.
    pub(super) acknowledgment: u32,
    /// Its latest window, unscaled.
    pub(super) window: u16,
}

/// All connections, each direction by itself: keyed by source and destination.
#[derive(Debug, Default)]
pub(super) struct Flows(HashMap<(SocketAddr, SocketAddr), Sent>);

impl Flows {
    /// Takes note of a segment that goes on. It is known by these ends, too: those that it had before it was translated.
    pub(super) fn note(&mut self, segment: &Segment, frame: &[u8], entered: Option<&Segment>) {
        let Some(layout) = Layout::of(frame) else { return };
        let now = Sent {
            next_sequence: end_of(segment),
            acknowledgment: segment.acknowledgment,
            window: layout.window(frame),
        };
        let key = (segment.source, segment.destination);
        self.note_as(key, segment, now);
        if let Some(before) =
            entered.map(|entered| (entered.source, entered.destination)).filter(|before| *before != key)
        {
            self.note_as(before, segment, now);
        }
    }

    fn note_as(&mut self, key: (SocketAddr, SocketAddr), segment: &Segment, now: Sent) {
        if segment.flags.contains(TcpFlags::SYN) {
            self.0.insert(key, now);
            return;
        }
        let sent = self.0.entry(key).or_insert(now);
        if !is_before(now.next_sequence, sent.next_sequence) {
            sent.next_sequence = now.next_sequence;
        }
        if !is_before(now.acknowledgment, sent.acknowledgment) {
            sent.acknowledgment = now.acknowledgment;
            sent.window = now.window;
        }
    }

    /// What that source has sent to that destination.
    pub(super) fn sent(&self, source: SocketAddr, destination: SocketAddr) -> Option<Sent> {
        self.0.get(&(source, destination)).copied()
    }
}

/// The sequence number behind a segment: SYN and FIN take one (RFC 9293 section 3.4).
pub(super) fn end_of(segment: &Segment) -> u32 {
    let flag = |flag| u32::from(segment.flags.contains(flag));
    segment.sequence.wrapping_add(segment.payload + flag(TcpFlags::SYN) + flag(TcpFlags::FIN))
}

/// Sequence numbers wrap around (RFC 9293 section 3.4).
pub(super) fn is_before(a: u32, b: u32) -> bool {
    b.wrapping_sub(a).wrapping_sub(1) < 1 << 31 && a != b
}

/// The later of the two.
pub(super) fn later(a: u32, b: u32) -> u32 {
    if is_before(a, b) { b } else { a }
}
