//! An ICMP error as it was captured: [`IcmpError`]. Routers and hosts report with it what they didn't forward or deliver.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use etherparse::{EtherType, IpNumber, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use serde::{Deserialize, Serialize};

/// An ICMP or `ICMPv6` error.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IcmpError {
    /// Who reports.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The type of the message, of the protocol of the addresses (RFC 792, RFC 4443).
    pub kind: u8,
    /// The code of the message.
    pub code: u8,
    /// The MTU of the link that a packet was too large for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The source and the destination of the TCP segment that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<(SocketAddr, SocketAddr)>,
}

/// The header of both, before the quoted packet.
const HEADER: usize = 8;

impl IcmpError {
    /// Parses an Ethernet frame, of which the capture may have cut off the end. `None` if it isn't an ICMP error.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
        let (source, destination): (IpAddr, IpAddr) = match packet.net.as_ref()? {
            LaxNetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            LaxNetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            LaxNetSlice::Arp(_) => return None,
        };
        let message = match packet.transport.as_ref()? {
            TransportSlice::Icmpv4(icmp) => icmp.slice(),
            TransportSlice::Icmpv6(icmp) => icmp.slice(),
            _ => return None,
        };
        let [kind, code, ..] = *message.first_chunk::<HEADER>()?;
        let is_error = if source.is_ipv4() { matches!(kind, 3 | 4 | 5 | 11 | 12) } else { kind < 128 };
        if !is_error {
            return None;
        }
        let number = |at: usize| Some(u32::from_be_bytes(*message.get(at..)?.first_chunk()?));
        let mtu = match (source.is_ipv4(), kind, code) {
            (true, 3, 4) => number(4).map(|field| field & 0xffff),
            (false, 2, _) => number(4),
            _ => None,
        };
        Some(Self { source, destination, kind, code, mtu, about: quoted(message.get(HEADER..)?, source.is_ipv4()) })
    }

    /// What it says.
    pub fn words(&self) -> String {
        let words = match (self.source.is_ipv4(), self.kind, self.code) {
            (true, 3, 0) => "network unreachable",
            (true, 3, 1) => "host unreachable",
            (true, 3, 3) | (false, 1, 4) => "port unreachable",
            (true, 3, 4) => "fragmentation needed",
            (true, 3, 9 | 10 | 13) | (false, 1, 1) => "administratively prohibited",
            (false, 1, 0) => "no route",
            (false, 1, 3) => "address unreachable",
            (false, 1, 5) => "source address failed policy",
            (false, 1, 6) => "route rejected",
            (true, 3, _) | (false, 1, _) => "destination unreachable",
            (false, 2, _) => "packet too big",
            (true, 5, _) => "redirect",
            (true, 11, _) | (false, 3, _) => "time exceeded",
            (true, 12, _) | (false, 4, _) => "parameter problem",
            _ => return format!("ICMP type {} code {}", self.kind, self.code),
        };
        let mtu = self.mtu.map(|mtu| format!(", MTU {mtu}")).unwrap_or_default();
        format!("ICMP {words}{mtu}")
    }
}

impl fmt::Display for IcmpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.words())?;
        self.about.map_or(Ok(()), |(source, destination)| write!(f, " about {source} → {destination}"))
    }
}

/// The ends of the quoted segment. At least its ports are quoted (RFC 792, RFC 4443 section 2.4).
fn quoted(packet: &[u8], is_ipv4: bool) -> Option<(SocketAddr, SocketAddr)> {
    let kind = if is_ipv4 { EtherType::IPV4 } else { EtherType::IPV6 };
    let packet = LaxSlicedPacket::from_ether_type(kind, packet);
    let (source, destination, payload): (IpAddr, IpAddr, _) = match packet.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into(), ip.payload())
        }
        LaxNetSlice::Ipv6(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into(), ip.payload())
        }
        LaxNetSlice::Arp(_) => return None,
    };
    if payload.ip_number != IpNumber::TCP {
        return None;
    }
    let port = |at: usize| Some(u16::from_be_bytes(*payload.payload.get(at..)?.first_chunk()?));
    Some((SocketAddr::new(source, port(0)?), SocketAddr::new(destination, port(2)?)))
}

#[cfg(test)]
mod tests {
    use etherparse::icmpv4::{DestUnreachableHeader, TimeExceededCode};
    use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder};
    use proptest::prelude::*;

    use super::*;

    /// The packet of a TCP segment, without its Ethernet header.
    fn segment(ipv6: bool) -> Vec<u8> {
        let mut packet = Vec::new();
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let ip = if ipv6 {
            ethernet.ipv6([0xfd; 16], [0xfc; 16], 64)
        } else {
            ethernet.ipv4([10, 0, 1, 2], [10, 0, 9, 1], 64)
        };
        ip.tcp(40000, 8080, 7, 64240).write(&mut packet, &[7; 100]).unwrap();
        packet.split_off(14)
    }

    fn answer(kind: Icmpv4Type) -> Vec<u8> {
        let mut frame = Vec::new();
        let ethernet = PacketBuilder::ethernet2([4; 6], [2; 6]).ipv4([10, 0, 1, 1], [10, 0, 1, 2], 64);
        ethernet.icmpv4(kind).write(&mut frame, &segment(false)[..28]).unwrap();
        frame
    }

    #[test]
    fn an_error_says_what_it_is_about() {
        let needed = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1400 };
        let found = IcmpError::parse(&answer(Icmpv4Type::DestinationUnreachable(needed))).unwrap();
        assert_eq!(found.to_string(), "ICMP fragmentation needed, MTU 1400 about 10.0.1.2:40000 → 10.0.9.1:8080");
        assert_eq!((found.source, found.destination), ([10, 0, 1, 1].into(), [10, 0, 1, 2].into()));
        let late = answer(Icmpv4Type::TimeExceeded(TimeExceededCode::TtlExceededInTransit));
        assert_eq!(IcmpError::parse(&late).unwrap().words(), "ICMP time exceeded");

        let mut frame = Vec::new();
        let ethernet = PacketBuilder::ethernet2([4; 6], [2; 6]).ipv6([0xfb; 16], [0xfd; 16], 64);
        ethernet.icmpv6(Icmpv6Type::PacketTooBig { mtu: 1280 }).write(&mut frame, &segment(true)).unwrap();
        let found = IcmpError::parse(&frame[..150]).unwrap();
        assert_eq!((found.words().as_str(), found.about.unwrap().1.port()), ("ICMP packet too big, MTU 1280", 8080));
    }

    #[test]
    fn what_is_no_error_is_none() {
        let echo = etherparse::IcmpEchoHeader { id: 1, seq: 1 };
        assert_eq!(IcmpError::parse(&answer(Icmpv4Type::EchoRequest(echo))), None);
        let segment = [[2; 12].as_slice(), &[8, 0], &segment(false)].concat();
        assert_eq!(IcmpError::parse(&segment), None);
        assert_eq!(IcmpError::parse(&[]), None);
    }

    #[test]
    fn goes_to_json_and_back() {
        let needed = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1400 };
        let error = IcmpError::parse(&answer(Icmpv4Type::DestinationUnreachable(needed))).unwrap();
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<IcmpError>(&text).unwrap(), error);
    }

    proptest! {
        #[test]
        fn damaged_frames_never_panic(at: prop::sample::Index, bits: u8, cut: prop::sample::Index) {
            let needed = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1400 };
            let mut frame = answer(Icmpv4Type::DestinationUnreachable(needed));
            let at = at.index(frame.len());
            frame[at] ^= bits;
            frame.truncate(cut.index(frame.len()) + 1);
            if let Some(found) = IcmpError::parse(&frame) {
                let _ = found.to_string();
            }
        }
    }
}
