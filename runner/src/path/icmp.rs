//! What a router answers to packets that are too large for its next link.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded;
use etherparse::{EtherType, Icmpv4Type, Icmpv6Type, IpNumber, PacketBuilder};

use super::frame::{ETHERNET, address_at, array_at, ether_type};

/// How much of the packet is quoted: an IPv4 answer has at most 576 bytes (RFC 1812 section 4.3.2.3), one of IPv6 at most
/// 1280 (RFC 4443 section 2.4).
const QUOTED: [usize; 2] = [576 - 20 - 8, 1280 - 40 - 8];

/// The frame that tells the sender of `frame` to send IP packets of at most `mtu` bytes. It seems to come from the
/// packet's destination: the one address that is certainly routed the way it has to come.
///
/// `None` if there must be no answer: to ICMP errors and multicasts (RFC 1122 section 3.2.2), and to what is no packet.
pub(super) fn too_big(frame: &[u8], mtu: u32) -> Option<Vec<u8>> {
    let ipv6 = match ether_type(frame) {
        EtherType::IPV4 => false,
        EtherType::IPV6 => true,
        _ => return None,
    };
    let packet = frame.get(ETHERNET..).filter(|packet| packet.len() >= if ipv6 { 40 } else { 20 })?;
    if !may_be_answered(packet, ipv6) {
        return None;
    }
    let quoted = packet.get(..packet.len().min(QUOTED[usize::from(ipv6)]))?;
    let ethernet = PacketBuilder::ethernet2(array_at(frame, 0), array_at(frame, 6));
    let mut answer = Vec::new();
    match (address_at(frame, ipv6, false), address_at(frame, ipv6, true)) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let next_hop_mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
            let kind = Icmpv4Type::DestinationUnreachable(FragmentationNeeded { next_hop_mtu });
            ethernet.ipv4(destination.octets(), source.octets(), 64).icmpv4(kind).write(&mut answer, quoted).ok()?;
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let kind = Icmpv6Type::PacketTooBig { mtu };
            ethernet.ipv6(destination.octets(), source.octets(), 64).icmpv6(kind).write(&mut answer, quoted).ok()?;
        }
        _ => return None,
    }
    Some(answer)
}

fn may_be_answered(packet: &[u8], ipv6: bool) -> bool {
    let byte = |at: usize| packet.get(at).copied().unwrap_or_default();
    if ipv6 {
        let error = byte(6) == IpNumber::IPV6_ICMP.0 && byte(40) < 128;
        !error && !Ipv6Addr::from(array_at::<16>(packet, 24)).is_multicast()
    } else {
        let kind = byte(usize::from(byte(0) & 0x0f) * 4);
        let error = byte(9) == IpNumber::ICMP.0 && !matches!(kind, 0 | 8);
        let later_fragment = byte(6) & 0x1f != 0 || byte(7) != 0;
        let destination = Ipv4Addr::from(array_at::<4>(packet, 16));
        !error && !later_fragment && !destination.is_multicast() && !destination.is_broadcast()
    }
}
