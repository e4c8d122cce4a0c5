//! Captures: pcap and pcapng, of Ethernet and of what `tcpdump -i any` and tunnels write instead. Read as a stream.

use std::collections::VecDeque;
use std::io::Read;

use pcap_parser::traits::{PcapNGPacketBlock as _, PcapReaderIterator};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

use super::seen::{Kind, Seen};
use super::trace::Tracer;
use crate::wire::Segment;

/// The largest block that is read: a packet of 256 KiB, the most that tcpdump takes, with comments.
const LARGEST_BLOCK: usize = 1 << 20;
/// A frame that was captured twice comes again within this number of segments.
const TWICE_WITHIN: usize = 32;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// The first bytes of a pcapng file, and of a pcap file in either byte order, with micro- or nanoseconds.
const MAGICS: [[u8; 4]; 5] = [
    [0x0a, 0x0d, 0x0d, 0x0a],
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
];

/// Whether a file that starts like this is a capture.
pub(super) fn is_capture(start: &[u8]) -> bool {
    MAGICS.iter().any(|magic| start.starts_with(magic))
}

/// Reads a capture.
pub(super) fn read(input: impl Read + Send) -> Seen {
    let mut seen = Seen::default();
    seen.kinds.insert(Kind::Capture);
    let mut tracer = Tracer::default();
    let mut frames = Frames::default();
    match create_reader(LARGEST_BLOCK, input) {
        Ok(mut reader) => frames.all(reader.as_mut(), &mut tracer, &mut seen),
        Err(error) => seen.unread.ended(format!("reading ended at byte 0: {}", words(&error))),
    }
    for link_type in frames.unknown {
        seen.unread.add(format!("packets of link type {link_type}, which mptcplab doesn't know"), "");
    }
    seen.others = frames.other;
    tracer.finish(&mut seen);
    seen
}

/// The state of reading.
#[derive(Default)]
struct Frames {
    /// The link type of each interface of the section.
    interfaces: Vec<Linktype>,
    unknown: std::collections::BTreeSet<i32>,
    other: u64,
    recent: VecDeque<Segment>,
}

impl Frames {
    fn all(&mut self, reader: &mut dyn PcapReaderIterator, tracer: &mut Tracer, seen: &mut Seen) {
        let mut stuck = false;
        loop {
            let at = reader.consumed();
            match reader.next() {
                Ok((length, block)) => {
                    stuck = false;
                    if let Some(segment) = self.block(&block) {
                        seen.segments += 1;
                        tracer.segment(&segment, seen);
                    }
                    reader.consume(length);
                }
                Err(PcapError::Eof) => return,
                Err(PcapError::Incomplete(_)) if !stuck => {
                    // Only if nothing more came, it is incomplete for good: then the next attempt says so.
                    stuck = reader.reader_exhausted();
                    if reader.refill().is_err() {
                        seen.unread.ended(format!("reading ended at byte {at}: the file can't be read"));
                        return;
                    }
                }
                Err(error) => {
                    seen.unread.ended(format!("reading ended at byte {at}: {}", words(&error)));
                    return;
                }
            }
        }
    }

    /// The segment of a block that hasn't been seen just before.
    fn block(&mut self, block: &PcapBlockOwned<'_>) -> Option<Segment> {
        let segment = match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.interfaces = vec![header.network];
                return None;
            }
            PcapBlockOwned::Legacy(packet) => self.packet(0, packet.data, packet.origlen)?,
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                self.interfaces.clear();
                return None;
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                if self.interfaces.len() < super::seen::MOST {
                    self.interfaces.push(interface.linktype);
                }
                return None;
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                self.packet(packet.if_id, packet.packet_data(), packet.origlen)?
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => self.packet(0, packet.packet_data(), packet.origlen)?,
            PcapBlockOwned::NG(_) => return None,
        };
        if self.recent.contains(&segment) {
            return None;
        }
        if self.recent.len() >= TWICE_WITHIN {
            self.recent.pop_front();
        }
        self.recent.push_back(segment.clone());
        Some(segment)
    }

    fn packet(&mut self, interface: u32, bytes: &[u8], original: u32) -> Option<Segment> {
        let link_type = usize::try_from(interface).ok().and_then(|index| self.interfaces.get(index)).copied();
        let link_type = link_type.unwrap_or(Linktype::ETHERNET);
        let segment = if link_type == Linktype::ETHERNET {
            Segment::parse(bytes, original)
        } else if is_known(link_type) {
            as_ethernet(link_type, bytes, original).and_then(|(frame, original)| Segment::parse(&frame, original))
        } else {
            self.unknown.insert(link_type.0);
            return None;
        };
        self.other += u64::from(segment.is_none());
        segment
    }
}

/// DLT_RAW as some systems write it.
const RAW_ELSEWHERE: [i32; 2] = [12, 14];

fn is_known(link_type: Linktype) -> bool {
    let known = [
        Linktype::NULL,
        Linktype::LOOP,
        Linktype::RAW,
        Linktype::IPV4,
        Linktype::IPV6,
        Linktype::LINUX_SLL,
        Linktype::LINUX_SLL2,
    ];
    known.contains(&link_type) || RAW_ELSEWHERE.contains(&link_type.0)
}

/// The IP packet behind another header, as an Ethernet frame, with the frame's original length.
fn as_ethernet(link_type: Linktype, bytes: &[u8], original: u32) -> Option<(Vec<u8>, u32)> {
    const ETHERNET: usize = 14;
    let skip = match link_type {
        Linktype::LINUX_SLL => 16,
        Linktype::LINUX_SLL2 => 20,
        Linktype::NULL | Linktype::LOOP => 4,
        _ => 0,
    };
    let packet = bytes.get(skip..)?;
    let ethertype = match packet.first()? >> 4 {
        4 => ETHERTYPE_IPV4,
        6 => ETHERTYPE_IPV6,
        _ => return None,
    };
    let frame = [&[0; ETHERNET - 2], ethertype.to_be_bytes().as_slice(), packet].concat();
    let behind = original.saturating_sub(u32::try_from(skip).ok()?);
    Some((frame, behind.saturating_add(u32::try_from(ETHERNET).ok()?)))
}

fn words<I>(error: &PcapError<I>) -> &'static str {
    match error {
        PcapError::Eof | PcapError::UnexpectedEof | PcapError::Incomplete(_) => "the file is cut off within a block",
        PcapError::BufferTooSmall => "a block is larger than 1 MiB, or damaged",
        PcapError::ReadError => "the file can't be read",
        PcapError::HeaderNotRecognized => "the header is neither that of a pcap nor of a pcapng file",
        PcapError::NomError(..) | PcapError::OwnedNomError(..) => "the block is damaged",
    }
}
