//! Answers for an address that no host on the link has (proxy ARP, RFC 1027; neighbour advertisements, RFC 4861).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::icmpv6::NeighborAdvertisementHeader;
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, Icmpv6Type, IpNumber, PacketBuilder};

use super::frame::{ETHERNET, array_at, ether_type, u16_at};

/// The target link-layer address option, with its length in units of 8 bytes (RFC 4861 section 4.6.1).
const TARGET_ADDRESS: [u8; 2] = [2, 1];
const NEIGHBOUR_SOLICITATION: u8 = 135;

/// If the frame asks who has the address: the answer that `hardware` has it.
pub(super) fn answer(frame: &[u8], address: IpAddr, hardware: [u8; 6]) -> Option<Vec<u8>> {
    let ethernet = PacketBuilder::ethernet2(hardware, array_at(frame, 6));
    let mut answer = Vec::new();
    match address {
        IpAddr::V4(address) => {
            let (asker, asker_hardware) = asks_arp(frame, address)?;
            let reply = ArpPacket::new(
                ArpHardwareId::ETHERNET,
                EtherType::IPV4,
                ArpOperation::REPLY,
                &hardware,
                &address.octets(),
                &asker_hardware,
                &asker.octets(),
            );
            ethernet.arp(reply.ok()?).write(&mut answer).ok()?;
        }
        IpAddr::V6(address) => {
            let asker = asks_neighbour(frame, address)?;
            let header = NeighborAdvertisementHeader { router: false, solicited: true, r#override: true };
            let body = [address.octets().as_slice(), &TARGET_ADDRESS, &hardware].concat();
            let ip = ethernet.ipv6(address.octets(), asker.octets(), 255);
            ip.icmpv6(Icmpv6Type::NeighborAdvertisement(header)).write(&mut answer, &body).ok()?;
        }
    }
    Some(answer)
}

/// Who asks for the IPv4 address: an ARP request (RFC 826).
fn asks_arp(frame: &[u8], address: Ipv4Addr) -> Option<(Ipv4Addr, [u8; 6])> {
    let request = ether_type(frame) == EtherType::ARP
        && frame.len() >= ETHERNET + 28
        && u16_at(frame, ETHERNET + 2) == EtherType::IPV4.0
        && u16_at(frame, ETHERNET + 6) == ArpOperation::REQUEST.0;
    let target = Ipv4Addr::from(array_at::<4>(frame, ETHERNET + 24));
    let asker = (Ipv4Addr::from(array_at::<4>(frame, ETHERNET + 14)), array_at(frame, ETHERNET + 8));
    (request && target == address).then_some(asker)
}

/// Who asks for the IPv6 address: a neighbour solicitation. `None` also for duplicate address detection: nobody on the
/// link takes it.
fn asks_neighbour(frame: &[u8], address: Ipv6Addr) -> Option<Ipv6Addr> {
    let solicitation = ether_type(frame) == EtherType::IPV6
        && frame.get(ETHERNET + 6) == Some(&IpNumber::IPV6_ICMP.0)
        && frame.get(ETHERNET + 40) == Some(&NEIGHBOUR_SOLICITATION);
    let target = Ipv6Addr::from(array_at::<16>(frame, ETHERNET + 48));
    let asker = Ipv6Addr::from(array_at::<16>(frame, ETHERNET + 8));
    (solicitation && target == address && !asker.is_unspecified()).then_some(asker)
}
