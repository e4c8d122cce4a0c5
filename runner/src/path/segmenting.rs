//! Cutting segments, and making one of several.

use std::sync::Arc;

use super::frame::{ETHERNET, Layout};
use super::packet::Packet;
use crate::wire::{Segment, TcpFlags};

/// How long a segment waits for the next one, in nanoseconds.
pub(super) const MERGE_TIMEOUT: u64 = 50_000_000;

/// What only the last part has.
const LAST: u8 = TcpFlags::FIN.union(TcpFlags::PSH).bits();
/// Congestion window reduced: only the first part has it, as with segmentation offload.
const CWR: u8 = 0x80;

/// Whether `split` may cut it.
pub(super) fn can_split(segment: &Segment, size: u32) -> bool {
    let whole = TcpFlags::SYN | TcpFlags::RST | TcpFlags::from_bits_retain(0x20);
    size > 0 && segment.payload > size && !segment.flags.intersects(whole)
}

/// Cuts a segment into parts with at most `size` bytes of payload. Each has all options.
pub(super) fn split(frame: &[u8], layout: &Layout, size: usize) -> Vec<Vec<u8>> {
    let payload = frame.get(layout.payload.clone()).unwrap_or_default();
    let header = frame.get(..layout.payload.start).unwrap_or_default();
    let count = payload.len().div_ceil(size.max(1));
    let flags = layout.flags(frame);
    let part = |(index, chunk): (usize, &[u8])| {
        let mut part = [header, chunk].concat();
        let layout = Layout { payload: layout.payload.start..layout.payload.start + chunk.len(), ..layout.clone() };
        #[expect(clippy::cast_possible_truncation, reason = "a payload has less than 2^16 bytes")]
        let (sequence, identification) = ((index * size.max(1)) as u32, index as u16);
        layout.set_sequence(&mut part, layout.sequence(frame).wrapping_add(sequence));
        layout.advance_identification(&mut part, identification);
        let not_here = if index + 1 < count { LAST } else { 0 } | if index > 0 { CWR } else { 0 };
        layout.set_flags(&mut part, flags & !not_here);
        layout.repair(&mut part);
        part
    };
    payload.chunks(size.max(1)).enumerate().map(part).collect()
}

/// Whether `merge` applies: it has payload, and nothing that must not be merged.
pub(super) fn can_merge(segment: &Segment) -> bool {
    let alone = TcpFlags::SYN | TcpFlags::RST | TcpFlags::from_bits_retain(0x20);
    segment.payload > 0 && !segment.flags.intersects(alone)
}

/// A packet that went into another one.
#[derive(Debug)]
pub(super) struct Merged {
    /// Which of its direction.
    pub(super) number: u64,
    /// When it entered.
    pub(super) came: u64,
    /// Which of what was made of it.
    pub(super) part: u64,
    /// As it entered.
    pub(super) entered: Option<Arc<Segment>>,
}

impl Merged {
    fn of(packet: &Packet<'_>) -> Self {
        Self { number: packet.number, came: packet.came, part: packet.part, entered: packet.entered.clone() }
    }
}

/// Segments that are to become one.
#[derive(Debug)]
pub(super) struct Bundle {
    /// The first one, with the payload of those after it.
    pub(super) packet: Packet<'static>,
    layout: Layout,
    /// What went into it.
    pub(super) parts: Vec<Merged>,
    next_sequence: u32,
    /// Until when it waits.
    pub(super) until: u64,
}

impl Bundle {
    pub(super) fn new(packet: Packet<'static>, now: u64) -> Option<Self> {
        let layout = Layout::of(&packet.frame)?;
        let parts = vec![Merged::of(&packet)];
        let next_sequence = end_of(&packet.frame, &layout);
        Some(Self { packet, layout, parts, next_sequence, until: now.saturating_add(MERGE_TIMEOUT) })
    }

    /// Whether that segment can follow: it is the next one, and both fit into a packet of `mtu` bytes.
    pub(super) fn fits(&self, frame: &[u8], layout: &Layout, mtu: usize) -> bool {
        let length = self.layout.payload.end + layout.payload.len() - ETHERNET;
        self.layout.flags(&self.packet.frame) & TcpFlags::FIN.bits() == 0
            && layout.sequence(frame) == self.next_sequence
            && length <= mtu
    }

    /// Takes the next one in. Acknowledgment number, window, FIN and PSH are the newer ones.
    pub(super) fn append(&mut self, packet: &Packet<'_>, layout: &Layout) {
        let frame = self.packet.frame.to_mut();
        frame.truncate(self.layout.payload.end);
        frame.extend_from_slice(packet.frame.get(layout.payload.clone()).unwrap_or_default());
        self.layout.payload.end = frame.len();
        let flags = self.layout.flags(frame) | layout.flags(&packet.frame) & LAST;
        self.layout.set_flags(frame, flags);
        self.layout.set_acknowledgment(frame, layout.acknowledgment(&packet.frame));
        self.layout.set_window(frame, layout.window(&packet.frame));
        self.layout.repair(frame);
        self.next_sequence = end_of(&packet.frame, layout);
        self.parts.push(Merged::of(packet));
    }
}

/// The sequence number behind the payload.
fn end_of(frame: &[u8], layout: &Layout) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a payload has less than 2^16 bytes")]
    let length = layout.payload.len() as u32;
    layout.sequence(frame).wrapping_add(length)
}
