//! Where things are in a TCP segment's Ethernet frame, and how to change them: [`Layout`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use etherparse::checksum::Sum16BitWords;
use etherparse::{EtherType, IpNumber, NetSlice, SlicedPacket, TransportSlice};

use crate::wire::offset_in;

/// The length of an Ethernet header.
pub(super) const ETHERNET: usize = 14;

/// Where the headers of a TCP segment are in its frame. Made from the very frame that it is used with; on another one,
/// reading gives zeros and writing does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) ipv6: bool,
    /// Where the IP header ends (for IPv6 that is the fixed one).
    pub(super) ip_end: usize,
    /// Where the TCP header begins.
    pub(super) tcp: usize,
    pub(super) options: Range<usize>,
    pub(super) payload: Range<usize>,
}

impl Layout {
    /// `None` if it isn't a whole TCP segment.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return None };
        let (ipv6, ip) = match packet.net.as_ref()? {
            NetSlice::Ipv4(ip) => (false, ip.header().slice()),
            NetSlice::Ipv6(ip) => (true, ip.header().slice()),
            NetSlice::Arp(_) => return None,
        };
        let start = |part: &[u8]| offset_in(frame, part).and_then(|offset| usize::try_from(offset).ok());
        // With a VLAN tag the IP header would be elsewhere; there is none in our worlds.
        (start(ip)? == ETHERNET).then_some(())?;
        let begin = start(tcp.slice())?;
        let options = begin + 20..begin + tcp.header_len();
        let payload = options.end..begin + tcp.slice().len();
        Some(Self { ipv6, ip_end: ETHERNET + ip.len(), tcp: begin, options, payload })
    }

    /// Repairs lengths and checksums after the frame was changed or cut.
    pub(super) fn repair(&self, frame: &mut [u8]) {
        let ip_length = self.payload.end.saturating_sub(ETHERNET);
        if self.ipv6 {
            put(frame, ETHERNET + 4, clamp(self.payload.end.saturating_sub(self.ip_end)).to_be_bytes());
        } else {
            put(frame, ETHERNET + 2, clamp(ip_length).to_be_bytes());
            repair_ipv4(frame, ETHERNET..self.ip_end);
        }
        put(frame, self.tcp + 16, [0; 2]);
        let sum = self.pseudo_header(frame).add_slice(frame.get(self.tcp..self.payload.end).unwrap_or_default());
        put(frame, self.tcp + 16, sum.ones_complement().to_ne_bytes());
    }

    /// The sum over the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1).
    fn pseudo_header(&self, frame: &[u8]) -> Sum16BitWords {
        let addresses = if self.ipv6 { ETHERNET + 8..ETHERNET + 40 } else { ETHERNET + 12..ETHERNET + 20 };
        let length = u32::try_from(self.payload.end.saturating_sub(self.tcp)).unwrap_or(u32::MAX);
        Sum16BitWords::new()
            .add_slice(frame.get(addresses).unwrap_or_default())
            .add_2bytes([0, IpNumber::TCP.0])
            .add_4bytes(length.to_be_bytes())
    }

    pub(super) fn source(&self, frame: &[u8]) -> SocketAddr {
        SocketAddr::new(address_at(frame, self.ipv6, false), u16_at(frame, self.tcp))
    }

    pub(super) fn destination(&self, frame: &[u8]) -> SocketAddr {
        SocketAddr::new(address_at(frame, self.ipv6, true), u16_at(frame, self.tcp + 2))
    }

    /// Checksums are still to be repaired. An address of the other family is not written.
    pub(super) fn set_source(&self, frame: &mut [u8], source: SocketAddr) {
        put_address(frame, self.ipv6, false, source.ip());
        put(frame, self.tcp, source.port().to_be_bytes());
    }

    /// Checksums are still to be repaired. An address of the other family is not written.
    pub(super) fn set_destination(&self, frame: &mut [u8], destination: SocketAddr) {
        put_address(frame, self.ipv6, true, destination.ip());
        put(frame, self.tcp + 2, destination.port().to_be_bytes());
    }

    pub(super) fn sequence(&self, frame: &[u8]) -> u32 {
        u32_at(frame, self.tcp + 4)
    }

    pub(super) fn set_sequence(&self, frame: &mut [u8], sequence: u32) {
        put(frame, self.tcp + 4, sequence.to_be_bytes());
    }

    pub(super) fn acknowledgment(&self, frame: &[u8]) -> u32 {
        u32_at(frame, self.tcp + 8)
    }

    pub(super) fn set_acknowledgment(&self, frame: &mut [u8], acknowledgment: u32) {
        put(frame, self.tcp + 8, acknowledgment.to_be_bytes());
    }

    /// The octet with FIN, SYN and so on.
    pub(super) fn flags(&self, frame: &[u8]) -> u8 {
        frame.get(self.tcp + 13).copied().unwrap_or_default()
    }

    pub(super) fn set_flags(&self, frame: &mut [u8], flags: u8) {
        put(frame, self.tcp + 13, [flags]);
    }

    /// As it is in the header, without the scale.
    pub(super) fn window(&self, frame: &[u8]) -> u16 {
        u16_at(frame, self.tcp + 14)
    }

    pub(super) fn set_window(&self, frame: &mut [u8], window: u16) {
        put(frame, self.tcp + 14, window.to_be_bytes());
    }

    /// The identification of an IPv4 packet grows by so much.
    pub(super) fn advance_identification(&self, frame: &mut [u8], by: u16) {
        if !self.ipv6 {
            let identification = u16_at(frame, ETHERNET + 4).wrapping_add(by);
            put(frame, ETHERNET + 4, identification.to_be_bytes());
        }
    }

    /// The places of all TCP options, in their order, kind and length included; NOPs are left out.
    pub(super) fn each_option(&self, frame: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut at = self.options.start;
        while let Some(&kind) = frame.get(at).filter(|_| at < self.options.end) {
            let length = match kind {
                0 => break,
                1 => {
                    at += 1;
                    continue;
                }
                _ => frame.get(at + 1).copied().map_or(0, usize::from),
            };
            if length < 2 || at + length > self.options.end {
                break;
            }
            found.push(at..at + length);
            at += length;
        }
        found
    }
}

/// What is in a frame, by its EtherType.
pub(super) fn ether_type(frame: &[u8]) -> EtherType {
    EtherType(u16_at(frame, 12))
}

/// The source or destination address of the IP packet in a frame.
pub(super) fn address_at(frame: &[u8], ipv6: bool, destination: bool) -> IpAddr {
    let index = usize::from(destination);
    if ipv6 {
        Ipv6Addr::from(array_at::<16>(frame, ETHERNET + 8 + 16 * index)).into()
    } else {
        Ipv4Addr::from(array_at::<4>(frame, ETHERNET + 12 + 4 * index)).into()
    }
}

fn put_address(frame: &mut [u8], ipv6: bool, destination: bool, address: IpAddr) {
    let index = usize::from(destination);
    match address {
        IpAddr::V4(address) if !ipv6 => put(frame, ETHERNET + 12 + 4 * index, address.octets()),
        IpAddr::V6(address) if ipv6 => put(frame, ETHERNET + 8 + 16 * index, address.octets()),
        _ => {}
    }
}

/// Repairs the checksum of the IPv4 header there.
pub(super) fn repair_ipv4(frame: &mut [u8], header: Range<usize>) {
    put(frame, header.start + 10, [0; 2]);
    let sum = Sum16BitWords::new().add_slice(frame.get(header.clone()).unwrap_or_default());
    put(frame, header.start + 10, sum.ones_complement().to_ne_bytes());
}

pub(super) fn array_at<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    frame.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

pub(super) fn u16_at(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array_at(frame, at))
}

pub(super) fn u32_at(frame: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array_at(frame, at))
}

pub(super) fn put<const N: usize>(frame: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(field) = frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *field = value;
    }
}

fn clamp(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}
