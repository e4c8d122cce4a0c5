//! Captured segments as a pcapng file, for Wireshark and similar tools: [`Writer`].
//!
//! Each interface is named with its namespace (`client/eth1`), each packet has its direction and, as a comment, its
//! MPTCP options as decoded by mptcplab. Format: draft-ietf-opsawg-pcapng, sections 4.1 to 4.3.

use std::io::{self, Write};

use super::CapturedFrame;
use crate::recording::Direction;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;
/// In a section header: the program that wrote it.
const APPLICATION: u16 = 4;
/// In an interface description.
const NAME: u16 = 2;
/// In an interface description: time stamps count units of 10 to the power of minus this.
const TIME_RESOLUTION: u16 = 9;
/// In an enhanced packet: the lowest two bits are 1 for inbound, 2 for outbound.
const FLAGS: u16 = 2;

/// Ethernet, in the registry of link types.
const LINKTYPE_ETHERNET: u16 = 1;

/// Writes one pcapng section. Write errors are those of the file.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    interfaces: u32,
}

/// An interface of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface(u32);

impl<W: Write> Writer<W> {
    /// Begins the file.
    pub fn new(mut out: W) -> io::Result<Self> {
        let mut body = Vec::new();
        body.extend(0x1a2b_3c4d_u32.to_le_bytes()); // tells the byte order
        body.extend(1_u16.to_le_bytes()); // version 1.0
        body.extend(0_u16.to_le_bytes());
        body.extend(u64::MAX.to_le_bytes()); // the section's length isn't known
        option(&mut body, APPLICATION, concat!("mptcplab ", env!("CARGO_PKG_VERSION")).as_bytes());
        option(&mut body, END_OF_OPTIONS, &[]);
        block(&mut out, SECTION_HEADER, &body)?;
        Ok(Self { out, interfaces: 0 })
    }

    /// Adds an interface. Its name should include its namespace: `client/eth1`.
    pub fn interface(&mut self, name: &str) -> io::Result<Interface> {
        let mut body = Vec::new();
        body.extend(LINKTYPE_ETHERNET.to_le_bytes());
        body.extend(0_u16.to_le_bytes()); // reserved
        body.extend(0_u32.to_le_bytes()); // packets may have any length
        option(&mut body, NAME, name.as_bytes());
        option(&mut body, TIME_RESOLUTION, &[9]);
        option(&mut body, END_OF_OPTIONS, &[]);
        block(&mut self.out, INTERFACE_DESCRIPTION, &body)?;
        let interface = Interface(self.interfaces);
        self.interfaces += 1;
        Ok(interface)
    }

    /// Adds a packet.
    pub fn packet(&mut self, interface: Interface, frame: &CapturedFrame<'_>) -> io::Result<()> {
        let mut body = Vec::with_capacity(frame.bytes.len() + 128);
        body.extend(interface.0.to_le_bytes());
        // The upper half of the time stamp comes first, whatever the byte order.
        let at = frame.at_ns.to_le_bytes();
        let (lower, upper) = at.split_at(4);
        body.extend(upper.iter().chain(lower));
        body.extend(length_u32(frame.bytes)?.to_le_bytes());
        body.extend(frame.original_length.to_le_bytes());
        body.extend(frame.bytes);
        pad(&mut body);
        let direction: u32 = match frame.direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        option(&mut body, FLAGS, &direction.to_le_bytes());
        if let Some(comment) = comment(frame) {
            option(&mut body, COMMENT, comment.as_bytes());
        }
        option(&mut body, END_OF_OPTIONS, &[]);
        block(&mut self.out, ENHANCED_PACKET, &body)
    }

    /// Ends the file, and returns the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// The MPTCP options of the packet; `None` if it has none.
fn comment(frame: &CapturedFrame<'_>) -> Option<String> {
    let segment = frame.segment()?;
    let mut words: Vec<String> = segment.options.iter().map(ToString::to_string).collect();
    if segment.malformed {
        words.push("malformed TCP options".to_owned());
    }
    if words.is_empty() { None } else { Some(words.join(", ")) }
}

/// A block: type, total length, body, total length again.
fn block(out: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let length = length_u32(body)?.checked_add(12).ok_or_else(too_long)?;
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(body)?;
    out.write_all(&length.to_le_bytes())
}

/// An option: code, length without padding, value, padding. It is truncated at 64 KiB.
fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    body.extend(code.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(value.iter().take(usize::from(length)));
    pad(body);
}

/// Everything begins at a multiple of 4 bytes. (All block bodies begin at one, too.)
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

fn length_u32(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len()).map_err(|_| too_long())
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a packet of more than 4 GiB")
}

#[cfg(test)]
mod tests {
    use pcap_parser::pcapng::{OptionCode, PcapNGOption};
    use pcap_parser::{Block, PcapBlockOwned, PcapNGReader, traits::PcapReaderIterator};

    use super::*;

    /// A SYN with MP_CAPABLE, IPv4, 78 bytes of which all are there.
    fn syn() -> Vec<u8> {
        let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([10, 0, 1, 2], [10, 0, 1, 1], 64)
            .tcp(40000, 8080, 1, 64240)
            .syn()
            .options_raw(&[30, 4, 0x01, 0x01])
            .unwrap();
        let mut frame = Vec::new();
        builder.write(&mut frame, &[]).unwrap();
        frame
    }

    fn value(options: &[PcapNGOption<'_>], code: OptionCode) -> Option<Vec<u8>> {
        options.iter().find(|option| option.code == code).map(|option| option.as_bytes().unwrap().to_vec())
    }

    #[test]
    fn another_reader_finds_what_was_written() {
        let frame = syn();
        let captured = CapturedFrame {
            at_ns: 0x0000_0001_8000_0002,
            ifindex: 2,
            direction: Direction::Out,
            original_length: 70_000,
            bytes: &frame[..frame.len()],
        };
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.interface("server/eth1").unwrap();
        let client = writer.interface("client/eth1").unwrap();
        writer.packet(client, &captured).unwrap();
        // No MPTCP, an odd length, the other direction.
        writer.packet(client, &CapturedFrame { bytes: &[0; 15], direction: Direction::In, ..captured }).unwrap();
        let file = writer.finish().unwrap();

        let mut reader = PcapNGReader::new(65536, file.as_slice()).unwrap();
        let mut names = Vec::new();
        let mut packets = Vec::new();
        while let Ok((length, block)) = reader.next() {
            match block {
                PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                    assert_eq!(interface.if_tsresol, 9);
                    names.push(value(&interface.options, OptionCode::IfName).unwrap());
                }
                PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                    assert_eq!((packet.if_id, packet.origlen), (1, 70_000));
                    assert_eq!(u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low), 0x0000_0001_8000_0002);
                    let kept = packet.data[..usize::try_from(packet.caplen).unwrap()].to_vec();
                    let comment = value(&packet.options, OptionCode::Comment);
                    // In this block, 2 is epb_flags.
                    packets.push((kept, comment, value(&packet.options, OptionCode(2)).unwrap()));
                }
                PcapBlockOwned::NG(Block::SectionHeader(header)) => assert_eq!(header.major_version, 1),
                _ => panic!("an unexpected block"),
            }
            reader.consume(length);
        }
        assert_eq!(names, [b"server/eth1", b"client/eth1"]);
        assert_eq!(packets[0], (frame, Some(b"MP_CAPABLE v1 H".to_vec()), vec![2, 0, 0, 0]));
        assert_eq!(packets[1], (vec![0; 15], None, vec![1, 0, 0, 0]));
        assert_eq!(packets.len(), 2);
    }
}
