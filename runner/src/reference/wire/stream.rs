//! The data of one direction, as the segments and the mappings of each subflow show it: [`Stream`].

use std::collections::BTreeMap;

use crate::recording::Direction;
use crate::reference::crypto;
use crate::reference::view::{Half, Passed};
use crate::wire::{MptcpOption, Segment, TcpFlags};

/// Data sequence numbers are in the space of a key if they are not further from its initial one: no recording has as
/// much data.
pub(super) const SPACE: u64 = 1 << 40;

/// A mapping (RFC 8684 section 3.3), of a DSS or of an MP_CAPABLE with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapping {
    /// The data sequence number of the first byte, in 64 bits.
    pub(super) dsn: u64,
    /// The relative subflow sequence number of the first byte: the first one of a subflow has 1.
    pub(super) relative: u32,
    /// The number of bytes, without the DATA_FIN.
    pub(super) length: u32,
    /// The length in the option: with the DATA_FIN; 0 is the infinite mapping.
    pub(super) declared: u16,
    /// The DATA_FIN is behind the last byte.
    pub(super) data_fin: bool,
    /// The checksum, if there is one.
    pub(super) checksum: Option<u16>,
}

impl Mapping {
    /// The infinite mapping (section 3.7).
    pub(super) fn is_infinite(self) -> bool {
        self.declared == 0
    }

    /// The data sequence number behind the last byte, which is that of the DATA_FIN if there is one.
    pub(super) fn end(self) -> u64 {
        self.dsn.wrapping_add(u64::from(self.length))
    }

    /// Whether bytes of a subflow are within it.
    pub(super) fn covers(self, piece: &Piece) -> bool {
        piece.offset >= self.relative
            && u64::from(piece.offset) + u64::from(piece.length) <= u64::from(self.relative) + u64::from(self.length)
    }

    /// The data sequence number of a byte of the subflow.
    pub(super) fn dsn_of(self, offset: u32) -> u64 {
        self.dsn.wrapping_add(u64::from(offset)).wrapping_sub(u64::from(self.relative))
    }
}

/// The bytes of one segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// The relative subflow sequence number of the first one.
    pub(super) offset: u32,
    /// How many.
    pub(super) length: u32,
    /// The mapping that the segment carries.
    pub(super) mapping: Option<Mapping>,
}

/// One direction of a subflow.
#[derive(Default)]
struct Track {
    /// The sequence numbers of its SYNs: a SYN/ACK with a cookie may have another one than the one before.
    starts: Vec<u32>,
    /// Which of them holds.
    start: Option<u32>,
    /// Data in the SYN is not looked at (TCP Fast Open).
    is_fast_open: bool,
    mappings: BTreeMap<u32, Mapping>,
}

/// The data that goes in one direction of a connection.
pub(super) struct Stream {
    direction: Direction,
    /// The data sequence number of the first byte.
    origin: u64,
    /// The highest one so far: what has 32 bits is near.
    highest: u64,
    flows: Vec<Track>,
}

impl Stream {
    /// What a side sends or receives; `None` if its sender's key is unknown.
    pub(super) fn new(half: &Half<'_>, direction: Direction) -> Option<Self> {
        let key = match direction {
            Direction::Out => half.own_key,
            Direction::In => half.peer_key,
        }?;
        let origin = crypto::initial_data_sequence(key).wrapping_add(1);
        let flows = half.flows.iter().map(|_| Track::default()).collect();
        Some(Self { direction, origin, highest: origin, flows })
    }

    /// The same without keys: plain TCP.
    pub(super) fn plain(half: &Half<'_>, direction: Direction) -> Self {
        let flows = half.flows.iter().map(|_| Track::default()).collect();
        Self { direction, origin: 1, highest: 1, flows }
    }

    /// Where a data sequence number is in the stream; `None` if it isn't in the space of the sender's key.
    pub(super) fn position(&self, dsn: u64) -> Option<u64> {
        Some(dsn.wrapping_sub(self.origin)).filter(|position| *position < SPACE)
    }

    /// The data sequence number of the first byte.
    pub(super) fn origin(&self) -> u64 {
        self.origin
    }

    /// The bytes and the mapping of a segment that goes in this direction. Look at each segment of the side, once.
    pub(super) fn see(&mut self, passed: &Passed<'_>) -> Option<Piece> {
        let segment = passed.segment;
        let (origin, highest) = (self.origin, self.highest);
        let track = self.flows.get_mut(passed.flow)?;
        if passed.direction != self.direction {
            track.settle(segment);
            return None;
        }
        if segment.flags.contains(TcpFlags::SYN) {
            track.is_fast_open |= segment.payload > 0;
            if track.starts.len() < 16 && !track.starts.contains(&segment.sequence) {
                track.starts.push(segment.sequence);
            }
            return None;
        }
        let start = track.start.or_else(|| track.starts.last().copied()).filter(|_| !track.is_fast_open)?;
        if segment.flags.contains(TcpFlags::RST) {
            return None;
        }
        let mapping = mapping_of(segment, origin, highest);
        if let Some(position) = mapping.map(|mapping| mapping.end().wrapping_sub(origin)).filter(|end| *end < SPACE) {
            self.highest = origin.wrapping_add(position.max(highest.wrapping_sub(origin)));
        }
        Some(Piece { offset: segment.sequence.wrapping_sub(start), length: segment.payload, mapping })
    }

    /// Whether data came in a SYN, so that what is on its subflow isn't looked at.
    pub(super) fn is_fast_open(&self) -> bool {
        self.flows.iter().any(|track| track.is_fast_open)
    }

    /// The mapping of a subflow that maps a byte.
    pub(super) fn at(&self, flow: usize, offset: u32) -> Option<Mapping> {
        let (_, last) = self.flows.get(flow)?.mappings.range(..=offset).next_back()?;
        Some(*last).filter(|last| u64::from(offset) < u64::from(last.relative) + u64::from(last.length))
    }

    /// The last mapping before a byte of a subflow.
    pub(super) fn before(&self, flow: usize, offset: u32) -> Option<Mapping> {
        self.flows.get(flow)?.mappings.range(..=offset).next_back().map(|(_, last)| *last)
    }

    /// Whether known mappings map all bytes of a segment.
    pub(super) fn covers(&self, flow: usize, piece: &Piece) -> bool {
        let (mut offset, end) = (u64::from(piece.offset), u64::from(piece.offset) + u64::from(piece.length));
        while offset < end {
            let Some(mapping) = u32::try_from(offset).ok().and_then(|offset| self.at(flow, offset)) else {
                return false;
            };
            offset = u64::from(mapping.relative) + u64::from(mapping.length);
        }
        true
    }

    /// Remembers a mapping of data. The earlier one that contradicts it, if there is one.
    pub(super) fn learn(&mut self, flow: usize, mapping: Mapping) -> Option<Mapping> {
        if mapping.length == 0 {
            return None;
        }
        let end = mapping.relative.saturating_add(mapping.length);
        let before = self.at(flow, mapping.relative);
        let mappings = &mut self.flows.get_mut(flow)?.mappings;
        let after = mappings.range(mapping.relative..end).next().map(|(_, after)| *after);
        let differs = |other: &Mapping| other.dsn_of(mapping.relative) != mapping.dsn;
        if let Some(other) = before.filter(differs).or_else(|| after.filter(differs)) {
            return Some(other);
        }
        let entry = mappings.entry(mapping.relative).or_insert(mapping);
        if entry.length < mapping.length {
            *entry = mapping;
        }
        None
    }

    /// The mappings that overlap these bytes of a subflow.
    pub(super) fn overlapping(&self, flow: usize, piece: &Piece) -> impl Iterator<Item = Mapping> {
        let end = piece.offset.saturating_add(piece.length);
        let first = self.at(flow, piece.offset).filter(|first| first.relative < piece.offset);
        let rest = self
            .flows
            .get(flow)
            .into_iter()
            .flat_map(move |track| track.mappings.range(piece.offset..end.max(piece.offset)));
        first.into_iter().chain(rest.map(|(_, mapping)| *mapping))
    }
}

impl Track {
    /// The other side has acknowledged one of the SYNs.
    fn settle(&mut self, segment: &Segment) {
        let is_ack = segment.flags.contains(TcpFlags::ACK) && !segment.flags.contains(TcpFlags::RST);
        if self.start.is_none() && is_ack && self.starts.len() > 1 {
            let acknowledged = segment.acknowledgment.wrapping_sub(1);
            self.start = self.starts.iter().copied().find(|start| *start == acknowledged);
        }
    }
}

/// The mapping of a segment.
fn mapping_of(segment: &Segment, origin: u64, highest: u64) -> Option<Mapping> {
    segment.options.iter().find_map(|option| of_capable(option, origin).or_else(|| of_dss(option, highest)))
}

fn of_capable(option: &MptcpOption, origin: u64) -> Option<Mapping> {
    pick!(option, MptcpOption::MpCapable { data_length: Some(length), checksum, .. } => Mapping {
        dsn: origin,
        relative: 1,
        length: u32::from(*length),
        declared: *length,
        data_fin: false,
        checksum: *checksum,
    })
}

fn of_dss(option: &MptcpOption, highest: u64) -> Option<Mapping> {
    pick!(option, MptcpOption::Dss { data_fin, mapping: Some(mapping), .. } => Mapping {
        dsn: if mapping.wide { mapping.data_sequence } else { expand(mapping.data_sequence, highest) },
        relative: mapping.subflow_sequence,
        length: u32::from(mapping.length.saturating_sub(u16::from(*data_fin))),
        declared: mapping.length,
        data_fin: *data_fin,
        checksum: mapping.checksum,
    })
}

/// A data sequence number of 32 bits in 64: the nearest one to a known one (section 3.3.1).
pub(super) fn expand(low: u64, near: u64) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "32 bits were sent")]
    let ahead = (low as u32).wrapping_sub(near as u32);
    if ahead < 1 << 31 {
        near.wrapping_add(u64::from(ahead))
    } else {
        near.wrapping_sub(u64::from(ahead.wrapping_neg()))
    }
}

/// The data ACK of a segment, in 64 bits.
pub(super) fn data_ack(segment: &Segment, near: u64) -> Option<u64> {
    let ack = segment
        .options
        .iter()
        .find_map(|option| pick!(option, MptcpOption::Dss { data_ack: Some(data_ack), .. } => *data_ack));
    ack.map(|(value, wide)| if wide { value } else { expand(value, near) })
}

/// Ranges of numbers, merged where they touch.
#[derive(Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds `from..to`.
    pub(super) fn add(&mut self, mut from: u64, mut to: u64) {
        if from >= to {
            return;
        }
        while let Some((start, end)) = self.0.range(..=to).next_back().map(|(start, end)| (*start, *end)) {
            if end < from {
                break;
            }
            self.0.remove(&start);
            (from, to) = (from.min(start), to.max(end));
        }
        self.0.insert(from, to);
    }

    /// The end of the range that contains this number, or the number itself.
    pub(super) fn end_from(&self, number: u64) -> u64 {
        self.0.range(..=number).next_back().map_or(number, |(_, end)| (*end).max(number))
    }

    /// The parts of `from..to` that are in it.
    pub(super) fn within(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
        let first = self.0.range(..from).next_back().into_iter();
        let all = first.chain(self.0.range(from..to.max(from)));
        all.map(move |(start, end)| ((*start).max(from), (*end).min(to))).filter(|(start, end)| start < end)
    }

    /// The last number, and one more.
    pub(super) fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_merged() {
        let mut ranges = Ranges::default();
        for (from, to) in [(10, 20), (30, 40), (0, 5), (20, 25), (5, 8), (24, 31)] {
            ranges.add(from, to);
        }
        assert_eq!(ranges.0.clone().into_iter().collect::<Vec<_>>(), [(0, 8), (10, 40)]);
        assert_eq!((ranges.end_from(0), ranges.end_from(9), ranges.end()), (8, 9, 40));
        assert_eq!(ranges.within(4, 12).collect::<Vec<_>>(), [(4, 8), (10, 12)]);
    }

    #[test]
    fn short_sequence_numbers_are_expanded() {
        assert_eq!(expand(5, 0x1_ffff_fff0), 0x2_0000_0005);
        assert_eq!(expand(0xffff_fff0, 0x2_0000_0005), 0x1_ffff_fff0);
        assert_eq!(expand(7, 7), 7);
    }
}
