//! Network address translation.

use std::net::SocketAddr;

use mptcplab::scenario::model::{Conditions, Injected, Injection, PacketPattern, RuleAction};
use mptcplab::wire::TcpFlags;
use smoltcp::wire::{
    ArpOperation, ArpPacket, EthernetFrame, EthernetProtocol, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, Ipv4Packet,
    Ipv6Packet,
};

use super::harness::{Harness, Seen, Tcp, any, ip, only, rule};

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn outside(ipv6: bool) -> &'static str {
    if ipv6 { "fd00:1::99" } else { "10.0.1.99" }
}

fn nat(ipv6: bool, port: Option<u16>) -> RuleAction {
    RuleAction::Nat { address: ip(outside(ipv6)), port }
}

fn syns() -> PacketPattern {
    PacketPattern { direction: Some(0), flags: TcpFlags::SYN, ..any() }
}

/// What the server sends back to what arrived there.
fn answer(seen: &Seen, ipv6: bool) -> Vec<u8> {
    let mut frame = Tcp { ports: (seen.source.port(), 8080), ..Tcp::data(5000, b"answer") }.six(ipv6).frame(1);
    // To the outer address; one's complement arithmetic allows for the checksums to be repaired right here.
    let (at, end) = if ipv6 { (53, 0x99_u16) } else { (33, 99) };
    let difference = end - u16::from(frame[at]);
    frame[at] = u8::try_from(end).unwrap();
    let mut subtract = |at: usize| {
        let sum = u32::from(!u16::from_be_bytes([frame[at], frame[at + 1]])) + u32::from(difference);
        let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    };
    subtract(if ipv6 { 70 } else { 50 });
    if !ipv6 {
        subtract(24);
    }
    Seen::read(&(0, frame.clone()));
    frame
}

#[test]
fn a_connection_is_translated_both_ways() {
    for (ipv6, port) in [(false, Some(7000)), (true, Some(7000)), (false, None), (true, None)] {
        let mut harness = Harness::with_rule(syns(), nat(ipv6, port));
        let syn = only(&harness.send(0, &Tcp::syn(1).six(ipv6).frame(0)));
        assert_eq!((syn.source.ip(), syn.source.port()), (ip(outside(ipv6)), port.unwrap_or(40000)));
        // What doesn't match belongs to the connection nevertheless.
        let data = only(&harness.send(0, &Tcp::data(2, b"data").six(ipv6).frame(0)));
        assert_eq!((data.source, data.payload.as_slice()), (syn.source, &b"data"[..]));
        let back = only(&harness.send(1, &answer(&syn, ipv6)));
        let client = if ipv6 { "[fd00:1::2]:40000" } else { "10.0.1.2:40000" };
        assert_eq!((back.destination, back.source.port(), back.to), (socket(client), 8080, 0));
        assert_eq!(back.payload, b"answer");
        assert_eq!((harness.path.rule_hits("rule"), harness.effects()), (Some(1), vec!["1 nat → 1".to_owned()]));
    }
}

#[test]
fn each_connection_gets_a_port_and_keeps_it() {
    let mut harness = Harness::with_rule(syns(), nat(false, Some(7000)));
    let mut port =
        |client: u16| only(&harness.send(0, &Tcp { ports: (client, 8080), ..Tcp::syn(1) }.frame(0))).source.port();
    assert_eq!([port(40000), port(40001), port(40000), port(40002)], [7000, 7001, 7000, 7002]);
}

#[test]
fn other_connections_are_left_alone() {
    let mut harness = Harness::with_rule(PacketPattern { to_port: Some(8080), ..syns() }, nat(false, Some(7000)));
    let other = Tcp { ports: (40000, 8081), ..Tcp::syn(1) }.frame(0);
    assert_eq!(harness.send(0, &other), [(1, other.clone())]);
    let syn = only(&harness.send(0, &Tcp::syn(1).frame(0)));
    // The outer address, but not its port.
    let stray = Seen { source: socket("10.0.1.99:7001"), ..syn };
    let stray = answer(&stray, false);
    assert_eq!(harness.send(1, &stray), [(0, stray.clone())]);
    let family = Tcp::syn(1).six(true).frame(0);
    assert_eq!(harness.send(0, &family), [(1, family.clone())]);
}

#[test]
fn errors_about_translated_packets_come_back_to_who_sent_them() {
    for ipv6 in [false, true] {
        let small = Conditions { mtu: Some(1280), ..Conditions::default() };
        let rules = vec![rule("rule", syns(), nat(ipv6, Some(7000)))];
        let mut harness = Harness::new([small, Conditions::default()], rules);
        harness.send(0, &Tcp::syn(1).six(ipv6).frame(0));
        let big = Tcp::data(2, &[0; 1400]).six(ipv6).frame(0);
        let arrived = harness.send(0, &big);
        let [(0, error)] = arrived.as_slice() else { panic!("no error: {arrived:?}") };
        let quoted = if ipv6 { &error[62..] } else { &error[42..] };
        let checked = |frame: &[u8]| {
            let ethernet = EthernetFrame::new_checked(frame).unwrap();
            if ethernet.ethertype() == EthernetProtocol::Ipv6 {
                let ip = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
                assert_eq!(ip.dst_addr().octets()[15], 2);
                let icmp = Icmpv6Packet::new_checked(&frame[54..]).unwrap();
                assert!(icmp.verify_checksum(&ip.src_addr(), &ip.dst_addr()));
            } else {
                let ip = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
                assert!(ip.verify_checksum());
                assert_eq!(ip.dst_addr().octets()[3], 2);
                assert!(Icmpv4Packet::new_checked(&frame[34..]).unwrap().verify_checksum());
                assert!(Ipv4Packet::new_unchecked(&frame[42..]).verify_checksum(), "that of the quoted header");
            }
        };
        checked(error);
        let header = if ipv6 { 48 } else { 28 };
        assert_eq!(quoted[..header], big[14..14 + header], "as it sent it");
    }
}

#[test]
fn resets_from_the_middle_reach_both_sides_of_it() {
    for (before, forward) in [(true, true), (true, false), (false, true), (false, false)] {
        let inject = RuleAction::Inject(Injection { forward, what: Injected::Reset });
        let inject = rule("inject", PacketPattern { payload: Some(3..=3), ..any() }, inject);
        let translate = rule("nat", syns(), nat(false, Some(7000)));
        let mut harness =
            Harness::new(Default::default(), if before { vec![inject, translate] } else { vec![translate, inject] });
        let syn = only(&harness.send(0, &Tcp::syn(99).frame(0)));
        harness.send(1, &answer(&syn, false));
        let arrived: Vec<Seen> = harness.send(0, &Tcp::data(100, b"abc").frame(0)).iter().map(Seen::read).collect();
        let reset = arrived.iter().find(|seen| seen.flags.contains('R')).unwrap();
        if forward {
            assert_eq!((reset.to, reset.source, reset.sequence), (1, socket("10.0.1.99:7000"), 103));
        } else {
            assert_eq!((reset.to, reset.destination, reset.sequence), (0, socket("10.0.1.2:40000"), 5006));
        }
    }
}

#[test]
fn the_path_answers_for_its_address() {
    let question = |target: [u8; 4]| {
        let ends = [&[2, 0, 0, 0, 0, 1][..], &[10, 0, 1, 1], &[0; 6], &target].concat();
        [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &ends].concat()
    };
    let mut harness = Harness::with_rule(syns(), nat(false, None));
    let asked = question([10, 0, 1, 99]);
    assert_eq!(harness.send(1, &asked), [(0, asked.clone())], "nobody has been translated yet");
    harness.send(0, &Tcp::syn(1).frame(0));
    let arrived = harness.send(1, &asked);
    let [(1, reply)] = arrived.as_slice() else { panic!("no reply: {arrived:?}") };
    let ethernet = EthernetFrame::new_checked(reply.as_slice()).unwrap();
    assert_eq!((ethernet.dst_addr().0[5], ethernet.ethertype()), (1, EthernetProtocol::Arp));
    let arp = ArpPacket::new_checked(ethernet.payload()).unwrap();
    assert_eq!(arp.operation(), ArpOperation::Reply);
    assert_eq!(
        (arp.source_protocol_addr(), arp.source_hardware_addr()),
        (&[10, 0, 1, 99][..], &[2, 0, 0, 0, 0, 2][..])
    );
    assert_eq!((arp.target_protocol_addr(), arp.target_hardware_addr()), (&[10, 0, 1, 1][..], &[2, 0, 0, 0, 0, 1][..]));
    let other = question([10, 0, 1, 98]);
    assert_eq!(harness.send(1, &other), [(0, other)]);
}

#[test]
fn the_path_answers_for_its_ipv6_address() {
    let mut outer = [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x99];
    let server = [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let solicitation = |target: &[u8; 16]| {
        let icmp = [&[135, 0, 0, 0, 0, 0, 0, 0][..], target, &[1, 1, 2, 0, 0, 0, 0, 1]].concat();
        let ip = [&[0x60, 0, 0, 0, 0, 32, 58, 255][..], &server, &[0xff; 16], &icmp].concat();
        [&[0x33; 6][..], &[2, 0, 0, 0, 0, 1, 0x86, 0xdd], &ip].concat()
    };
    let mut harness = Harness::with_rule(syns(), nat(true, None));
    harness.send(0, &Tcp::syn(1).six(true).frame(0));
    let arrived = harness.send(1, &solicitation(&outer));
    let [(1, reply)] = arrived.as_slice() else { panic!("no reply: {arrived:?}") };
    let ip = Ipv6Packet::new_checked(&reply[14..]).unwrap();
    assert_eq!((ip.hop_limit(), ip.dst_addr().octets(), ip.src_addr().octets()), (255, server, outer));
    let icmp = Icmpv6Packet::new_checked(&reply[54..]).unwrap();
    assert!(icmp.verify_checksum(&ip.src_addr(), &ip.dst_addr()));
    assert_eq!((icmp.msg_type(), icmp.target_addr().octets()), (Icmpv6Message::NeighborAdvert, outer));
    assert_eq!(reply[78..], [2, 1, 2, 0, 0, 0, 0, 2], "target link-layer address");
    outer[15] = 0x98;
    assert_eq!(harness.send(1, &solicitation(&outer)).first().unwrap().0, 0);
}
