//! The codec: against what a kernel sent, and against everything else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{
    DefaultNla, Emitable, NetlinkHeader, NetlinkMessage, NetlinkPayload, ParseableParametrized as _,
};
use netlink_packet_generic::{GenlHeader, GenlMessage};
use proptest::prelude::*;

use super::*;
use crate::mptcp::{Endpoint, EndpointFlags};
use crate::netlink::{DeviceNames, Refusal, fixture};

fn devices() -> DeviceNames {
    [(1, "lo")].into_iter().collect()
}

fn captured(text: &str) -> Vec<(NetlinkHeader, NetlinkPayload<GenlMessage<PmMessage>>)> {
    let messages = fixture::messages(text);
    messages.iter().map(|bytes| NetlinkMessage::deserialize(bytes).unwrap().into_parts()).collect()
}

fn bytes_of(message: &PmMessage) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn parse(bytes: &[u8], command: u8) -> Result<PmMessage, netlink_packet_core::DecodeError> {
    PmMessage::parse_with_param(bytes, GenlHeader { cmd: command, version: 1 })
}

#[test]
fn a_captured_dump_is_decoded() {
    let endpoint = |address: &str, id, flags| Endpoint {
        address: address.parse().unwrap(),
        port: None,
        id: Some(id),
        flags,
        dev: None,
    };
    let lam = EndpointFlags::SUBFLOW | EndpointFlags::BACKUP | EndpointFlags::LAMINAR;
    let expected = [
        endpoint("::ffff:10.0.2.1", 2, EndpointFlags::SIGNAL),
        Endpoint { dev: Some("lo".into()), ..endpoint("10.0.1.1", 7, EndpointFlags::SUBFLOW) },
        endpoint("2001:db8::1", 8, lam),
        Endpoint { port: Some(10100), ..endpoint("127.0.0.1", 9, EndpointFlags::SIGNAL) },
    ];
    let mut messages = captured(include_str!("../../../fixtures/netlink/endpoints-6.18.hex"));
    let (_, done) = messages.pop().unwrap();
    assert!(matches!(done, NetlinkPayload::Done(done) if Refusal::from_done(&done).is_none()));
    let decoded: Vec<Endpoint> = messages
        .into_iter()
        .map(|(_, payload)| match payload {
            NetlinkPayload::InnerMessage(message) => match message.payload.attributes.as_slice() {
                [PmAttribute::Address(nest)] => endpoint_from_attributes(nest, &devices()).unwrap(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(decoded, expected);
}

#[test]
fn captured_limits_are_decoded() {
    let messages = captured(include_str!("../../../fixtures/netlink/limits-6.18.hex"));
    let [(_, NetlinkPayload::InnerMessage(reply)), (header, NetlinkPayload::Error(ack))] = messages.as_slice() else {
        panic!("{messages:?}");
    };
    assert_eq!(
        reply.payload,
        PmMessage::new(PmCommand::GetLimits, [PmAttribute::AddAddrAccepted(0), PmAttribute::Subflows(2)])
    );
    assert_eq!(Refusal::from_error(header, ack), None);
}

#[test]
fn captured_refusals_are_decoded() {
    let refusals: Vec<String> = captured(include_str!("../../../fixtures/netlink/refusals-6.18.hex"))
        .into_iter()
        .map(|(header, payload)| match payload {
            NetlinkPayload::Error(error) => Refusal::from_error(&header, &error).unwrap().to_string(),
            NetlinkPayload::Done(done) => Refusal::from_done(&done).unwrap().to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        refusals,
        [
            "EINVAL: limit greater than maximum (8)",
            "EINVAL: the request lacks attribute 1",
            "EEXIST: too many addresses or duplicate one: -17",
            "EINVAL: address not found",
            "EINVAL: invalid token",
            "EOPNOTSUPP",
        ]
    );
}

#[test]
fn a_request_has_exact_sizes_and_flagged_nests() {
    let parts = AddressParts {
        address: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 1, 2))),
        port: Some(0x1234),
        id: Some(7),
        flags: Some(EndpointFlags::SIGNAL),
        interface_index: Some(3),
    };
    let message = PmMessage::new(
        PmCommand::Announce,
        [PmAttribute::Address(parts.attributes()), PmAttribute::Token(0x0102_0304), PmAttribute::LocalId(9)],
    );
    let mut expected = Vec::new();
    let mut attribute = |length: u16, kind: u16, value: &[u8]| {
        expected.extend(length.to_ne_bytes());
        expected.extend(kind.to_ne_bytes());
        expected.extend(value);
    };
    attribute(52, 0x8001, &[]);
    attribute(6, 1, &[2_u16.to_ne_bytes(), [0; 2]].concat());
    attribute(5, 2, &[7, 0, 0, 0]);
    attribute(8, 3, &[10, 0, 1, 2]);
    attribute(6, 5, &[0x1234_u16.to_ne_bytes(), [0; 2]].concat());
    attribute(8, 6, &1_u32.to_ne_bytes());
    attribute(8, 7, &3_i32.to_ne_bytes());
    attribute(8, 4, &0x0102_0304_u32.to_ne_bytes());
    attribute(5, 5, &[9, 0, 0, 0]);
    assert_eq!(bytes_of(&message), expected);
}

#[test]
fn an_attribute_of_a_wrong_size_is_an_error() {
    let message = PmMessage::new(PmCommand::GetLimits, [PmAttribute::Other(DefaultNla::new(3, vec![0; 2]))]);
    let error = parse(&bytes_of(&message), 6).unwrap_err();
    assert_eq!(error.to_string(), "attribute 3 has 2 bytes instead of 4");
}

#[test]
fn an_endpoint_without_an_address_is_an_error() {
    assert!(endpoint_from_attributes(&[AddressAttribute::Id(1)], &devices()).is_err());
}

fn address_attribute() -> impl Strategy<Value = AddressAttribute> {
    prop_oneof![
        any::<u16>().prop_map(AddressAttribute::Family),
        any::<u8>().prop_map(AddressAttribute::Id),
        any::<Ipv4Addr>().prop_map(AddressAttribute::Ipv4),
        any::<Ipv6Addr>().prop_map(AddressAttribute::Ipv6),
        any::<u16>().prop_map(AddressAttribute::Port),
        any::<u32>().prop_map(AddressAttribute::Flags),
        any::<i32>().prop_map(AddressAttribute::InterfaceIndex),
        other(8).prop_map(AddressAttribute::Other),
    ]
}

fn pm_attribute() -> impl Strategy<Value = PmAttribute> {
    let nest = || prop::collection::vec(address_attribute(), 0..9);
    prop_oneof![
        nest().prop_map(PmAttribute::Address),
        any::<u32>().prop_map(PmAttribute::AddAddrAccepted),
        any::<u32>().prop_map(PmAttribute::Subflows),
        any::<u32>().prop_map(PmAttribute::Token),
        any::<u8>().prop_map(PmAttribute::LocalId),
        nest().prop_map(PmAttribute::RemoteAddress),
        other(7).prop_map(PmAttribute::Other),
    ]
}

/// An attribute without a name, from this type on.
fn other(first: u16) -> impl Strategy<Value = DefaultNla> {
    (first..0x3fff, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(kind, value)| DefaultNla::new(kind, value))
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let dev = prop::option::of(prop_oneof![Just("lo".to_owned()), Just("eth1".to_owned())]);
    (any::<IpAddr>(), prop::option::of(1..=u16::MAX), prop::option::of(1..=u8::MAX), any::<u32>(), dev).prop_map(
        |(address, port, id, flags, dev)| {
            let flags = EndpointFlags::from_bits_retain(flags);
            Endpoint { address, port, id, flags, dev }
        },
    )
}

proptest! {
    #[test]
    fn every_message_survives_a_round_trip(
        command: u8,
        attributes in prop::collection::vec(pm_attribute(), 0..6),
    ) {
        let message = PmMessage::new(PmCommand::from_number(command), attributes);
        prop_assert_eq!(message.command.number(), command);
        prop_assert_eq!(parse(&bytes_of(&message), command).unwrap(), message);
    }

    #[test]
    fn every_endpoint_survives_a_round_trip(endpoint in endpoint()) {
        let devices: DeviceNames = [(1, "lo"), (7, "eth1")].into_iter().collect();
        let nest = AddressParts::of_endpoint(&endpoint, &devices).unwrap().attributes();
        prop_assert_eq!(endpoint_from_attributes(&nest, &devices).unwrap(), endpoint);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, command: u8) {
        if let Ok(message) = parse(&bytes, command) {
            for attribute in message.attributes {
                if let PmAttribute::Address(nest) | PmAttribute::RemoteAddress(nest) = attribute {
                    let _ = endpoint_from_attributes(&nest, &devices());
                }
            }
        }
    }

    #[test]
    fn damaged_messages_never_panic(
        attributes in prop::collection::vec(pm_attribute(), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut: prop::sample::Index,
    ) {
        let mut bytes = bytes_of(&PmMessage::new(PmCommand::GetAddr, attributes));
        for (at, value) in damage {
            *at.get_mut(&mut bytes) = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = parse(&bytes, 3);
    }
}
