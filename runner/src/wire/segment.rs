//! One TCP segment as it was captured: addresses, flags and MPTCP options; the payload only by its length.

use std::net::SocketAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use serde::{Deserialize, Serialize};

use super::decode::window_scale;
use super::{Head, MptcpOption};

bitflags::bitflags! {
    /// The flags of a TCP header (RFC 9293 section 3.1).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct TcpFlags: u8 {
        /// The sender is done.
        const FIN = 1;
        /// Opens.
        const SYN = 2;
        /// Aborts.
        const RST = 4;
        /// Push.
        const PSH = 8;
        /// The acknowledgment number counts.
        const ACK = 16;
        /// URG, ECE and CWR are kept, too.
        const _ = !0;
    }
}

impl Serialize for TcpFlags {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bits().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TcpFlags {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer).map(Self::from_bits_retain)
    }
}

/// One captured TCP segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes to.
    pub destination: SocketAddr,
    /// The traffic class of the IP header (RFC 2474; with the two bits of ECN). Older recordings don't have it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub traffic_class: u8,
    /// The flags.
    pub flags: TcpFlags,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgment number.
    pub acknowledgment: u32,
    /// The window in the header, not shifted. Older recordings don't have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u16>,
    /// By how many bits the windows of later segments are shifted (RFC 7323 section 2.2): in SYNs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_scale: Option<u8>,
    /// The length of the payload in bytes. With segmentation offload it may exceed the MTU.
    pub payload: u32,
    /// The first bytes of the payload; older recordings have none.
    #[serde(default, skip_serializing_if = "Head::is_empty")]
    pub head: Head,
    /// All MPTCP options, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<MptcpOption>,
    /// The TCP options could not be walked to their end, or something stands behind it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub malformed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(octet: &u8) -> bool {
    *octet == 0
}

impl Segment {
    /// Parses an Ethernet frame, of which the capture may have cut off the end. `original_length` is the length that
    /// the frame had on the wire, in bytes.
    ///
    /// `None` if it isn't TCP over IPv4 or IPv6, is a fragment, or is cut off within its headers.
    pub fn parse(frame: &[u8], original_length: u32) -> Option<Self> {
        let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return None };
        let (source, destination, end, traffic_class) = match packet.net.as_ref()? {
            LaxNetSlice::Ipv4(ip) => {
                let header = ip.header();
                let start = offset_in(frame, header.slice())?;
                let end = ip_end(start, u32::from(header.total_len()), original_length);
                (header.source_addr().into(), header.destination_addr().into(), end, *header.slice().get(1)?)
            }
            LaxNetSlice::Ipv6(ip) => {
                let header = ip.header();
                let payload = offset_in(frame, header.slice())? + u32::try_from(header.slice().len()).ok()?;
                let end = ip_end(payload, u32::from(header.payload_length()), original_length);
                (header.source_addr().into(), header.destination_addr().into(), end, header.traffic_class())
            }
            LaxNetSlice::Arp(_) => return None,
        };
        let payload_start = offset_in(frame, tcp.slice())? + u32::try_from(tcp.header_len()).ok()?;
        let payload = end.saturating_sub(payload_start);
        let shown = payload_start as usize..(payload_start.saturating_add(payload) as usize).min(frame.len());
        let (mut options, malformed) = MptcpOption::decode_all(tcp.options());
        // There are as many segments as a transfer takes, and hardly any has more than one option.
        options.shrink_to_fit();
        Some(Self {
            source: SocketAddr::new(source, tcp.source_port()),
            destination: SocketAddr::new(destination, tcp.destination_port()),
            traffic_class,
            flags: TcpFlags::from_bits_retain(*tcp.header_slice().get(13)?),
            sequence: tcp.sequence_number(),
            acknowledgment: tcp.acknowledgment_number(),
            window: Some(tcp.window_size()),
            window_scale: tcp.syn().then(|| window_scale(tcp.options())).flatten(),
            payload,
            head: Head::of(frame.get(shown).unwrap_or_default()),
            options,
            malformed,
        })
    }
}

impl Segment {
    /// Whether it carries an MP_CAPABLE.
    pub fn has_mp_capable(&self) -> bool {
        self.options.iter().any(|option| matches!(option, MptcpOption::MpCapable { .. }))
    }

    /// Whether it carries an MP_JOIN as a SYN does.
    pub fn has_mp_join_syn(&self) -> bool {
        self.options.iter().any(|option| matches!(option, MptcpOption::MpJoinSyn { .. }))
    }

    /// The first one of its direction, without payload, for tests.
    #[cfg(test)]
    pub(crate) fn bare(
        source: SocketAddr,
        destination: SocketAddr,
        flags: TcpFlags,
        options: Vec<MptcpOption>,
    ) -> Self {
        Self {
            source,
            destination,
            traffic_class: 0,
            flags,
            sequence: 1,
            acknowledgment: 1,
            window: None,
            window_scale: None,
            payload: 0,
            head: Head::default(),
            options,
            malformed: false,
        }
    }
}

/// Where a part of the frame begins, in bytes from its first.
pub(crate) fn offset_in(frame: &[u8], part: &[u8]) -> Option<u32> {
    u32::try_from(part.as_ptr().addr().checked_sub(frame.as_ptr().addr())?).ok()
}

/// Where an IP packet ends, if `declared` bytes follow from `start`.
///
/// A large packet that segmentation offload has still to cut ("BIG TCP") does not fit the field, and declares 0
/// (`iph_set_totlen`, include/linux/ip.h; RFC 2675 for IPv6). Then there is no padding, and the frame's end is its end.
fn ip_end(start: u32, declared: u32, original_length: u32) -> u32 {
    if declared == 0 { original_length } else { start.saturating_add(declared) }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    /// Ethernet, IPv4, TCP with MP_PRIO (24 bytes), and this number of payload bytes.
    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 1, 2], [10, 0, 1, 1], 64);
        let tcp = ip.tcp(40000, 8080, 7, 64240).ack(9).options_raw(&[30, 3, 0x51, 0]).unwrap();
        tcp.write(&mut frame, payload).unwrap();
        frame
    }

    /// The same on IPv6, behind a jumbo payload option, with the payload length 0 (RFC 2675).
    fn jumbo_frame() -> Vec<u8> {
        let ethernet = [[2; 12].as_slice(), &[0x86, 0xdd]].concat();
        let ip = [[0x60, 0, 0, 0, 0, 0, 0, 64].as_slice(), &[0xfd; 32]].concat();
        let hop_by_hop = [6, 0, 0xc2, 4, 0, 1, 0x11, 0x70];
        [ethernet.as_slice(), &ip, &hop_by_hop, &frame(&[])[34..]].concat()
    }

    #[test]
    fn the_payload_is_what_ip_says_and_not_what_was_captured() {
        let whole = frame(&[7; 1000]);
        for captured in [whole.len(), 190, 61, 58] {
            let segment = Segment::parse(&whole[..captured], 1058).unwrap();
            assert_eq!((segment.payload, segment.sequence, segment.acknowledgment), (1000, 7, 9));
            assert_eq!((segment.options.len(), segment.malformed), (1, false));
            assert_eq!(segment.head.bytes(), &[7; 8][..captured.saturating_sub(58).min(8)]);
        }
        assert_eq!(Segment::parse(&whole[..57], 1058), None, "cut off within the options");
    }

    #[test]
    fn padding_of_short_frames_is_no_payload() {
        let mut padded = frame(&[]);
        padded.resize(60, 0);
        let segment = Segment::parse(&padded, 60).unwrap();
        assert_eq!((segment.payload, segment.head), (0, Head::default()));
    }

    #[test]
    fn packets_too_large_for_their_length_field_are_measured_by_their_frame() {
        let mut big = frame(&[0; 100]);
        big[16..18].fill(0);
        assert_eq!(Segment::parse(&big, 70_000).unwrap().payload, 70_000 - 58);

        let jumbo = Segment::parse(&jumbo_frame(), 70_086).unwrap();
        assert_eq!((jumbo.payload, jumbo.options.len()), (70_000, 1));
        assert!(jumbo.source.is_ipv6());
    }

    #[test]
    fn the_window_and_its_scale_are_read() {
        let with = |syn: bool, options: &[u8]| {
            let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 1, 2], [10, 0, 1, 1], 64);
            let tcp = ip.tcp(40000, 8080, 7, 4321).options_raw(options).unwrap();
            let mut frame = Vec::new();
            if syn { tcp.syn() } else { tcp }.write(&mut frame, &[]).unwrap();
            let segment = Segment::parse(&frame, u32::try_from(frame.len()).unwrap()).unwrap();
            (segment.window, segment.window_scale)
        };
        // Behind an MPTCP option, and behind padding.
        assert_eq!(with(true, &[30, 3, 0x51, 1, 3, 3, 9]), (Some(4321), Some(9)));
        assert_eq!(with(true, &[30, 3, 0x51]), (Some(4321), None));
        assert_eq!(with(false, &[3, 3, 9]), (Some(4321), None), "only a SYN's option counts");
    }

    #[test]
    fn options_that_cannot_be_walked_are_reported() {
        let mut broken = frame(&[]);
        broken[55] = 9;
        let segment = Segment::parse(&broken, 58).unwrap();
        assert!(segment.malformed && segment.options.is_empty());
    }

    #[test]
    fn other_things_are_no_segments() {
        let mut fragment = frame(&[0; 16]);
        fragment[20] = 0x20; // more fragments
        assert_eq!(Segment::parse(&fragment, 74), None);
        let mut udp = frame(&[]);
        udp[23] = 17;
        assert_eq!(Segment::parse(&udp, 58), None);
        assert_eq!(Segment::parse(&[], 0), None);
    }
}
