//! Endpoints and limits.

use std::net::Ipv4Addr;

use libtest_mimic::Completion;
use mptcplab::mptcp::{Endpoint, EndpointFlags, Limits};
use mptcplab::netlink::pm::{
    AddressAttribute, AddressParts, EndpointSelector, PmAttribute, PmClient, PmCommand, PmMessage, RequestKind,
};

use super::world::{assert_one_of, assert_refused, client, endpoint, outcome, refusal};

async fn add_all(client: &PmClient, addresses: impl IntoIterator<Item = String>) {
    for address in addresses {
        client.add_endpoint(&endpoint(&address, EndpointFlags::SUBFLOW)).await.unwrap();
    }
}

async fn ids(client: &PmClient) -> Vec<u8> {
    client.dump_endpoints(None).await.unwrap().into_iter().map(|endpoint| endpoint.id.unwrap()).collect()
}

pub async fn an_endpoint_comes_back_as_it_was_added() -> Completion {
    let client = client();
    let all = EndpointFlags::SUBFLOW | EndpointFlags::BACKUP | EndpointFlags::FULLMESH;
    let endpoints = [
        Endpoint { id: Some(7), dev: Some("lo".into()), ..endpoint("10.0.1.1", EndpointFlags::SUBFLOW) },
        Endpoint { id: Some(255), ..endpoint("2001:db8::1", all) },
        Endpoint { id: Some(3), ..endpoint("::ffff:10.0.2.1", EndpointFlags::SIGNAL) },
        Endpoint { id: Some(9), ..endpoint("10.0.3.1", EndpointFlags::empty()) },
    ];
    for endpoint in &endpoints {
        client.add_endpoint(endpoint).await.unwrap();
        assert_eq!(client.get_endpoint(endpoint.id.unwrap(), None).await.unwrap(), *endpoint);
    }
    // The dump is in the order of the ids, whatever the order of the additions.
    let mut by_id = endpoints.to_vec();
    by_id.sort_by_key(|endpoint| endpoint.id);
    assert_eq!(client.dump_endpoints(None).await.unwrap(), by_id);

    // With a port the kernel listens at once.
    let listening = Endpoint { id: Some(4), port: Some(10100), ..endpoint("127.0.0.1", EndpointFlags::SIGNAL) };
    client.add_endpoint(&listening).await.unwrap();
    assert_eq!(client.get_endpoint(4, None).await.unwrap(), listening);

    client.delete_endpoint(7, None).await.unwrap();
    assert_refused(client.delete_endpoint(7, None).await, "EINVAL: address not found");
    assert_refused(client.get_endpoint(7, None).await, "EINVAL: address not found");
    client.flush().await.unwrap();
    assert_eq!(client.dump_endpoints(None).await.unwrap(), []);
    Completion::Completed
}

pub async fn ids_are_given_in_order_and_not_again() -> Completion {
    let client = client();
    add_all(&client, ["10.0.1.1".into(), "10.0.1.2".into()]).await;
    client.delete_endpoint(1, None).await.unwrap();
    add_all(&client, ["10.0.1.1".into()]).await;
    assert_eq!(ids(&client).await, [2, 3]);
    client.flush().await.unwrap();
    add_all(&client, ["10.0.1.1".into()]).await;
    assert_eq!(ids(&client).await, [1]);
    // An id of 0 is never sent: kernels differ in what they would do.
    client.add_endpoint(&Endpoint { id: Some(0), ..endpoint("10.0.1.2", EndpointFlags::SUBFLOW) }).await.unwrap();
    assert_eq!(ids(&client).await, [1, 2]);
    Completion::Completed
}

pub async fn limits_are_set_together_or_not_at_all() -> Completion {
    let client = client();
    let limits = async || client.get_limits().await.unwrap();
    assert_eq!(limits().await, Limits::default(), "the limits of a new namespace");
    client.set_limits(Some(8), Some(1)).await.unwrap();
    assert_eq!(limits().await, Limits { subflows: 8, add_addr_accepted: 1 });
    client.set_limits(Some(4), None).await.unwrap();
    client.set_limits(None, Some(8)).await.unwrap();
    assert_eq!(limits().await, Limits { subflows: 4, add_addr_accepted: 8 });
    for refused in [client.set_limits(Some(9), Some(0)).await, client.set_limits(Some(0), Some(u32::MAX)).await] {
        let (errno, words) = refusal(refused);
        assert_eq!(errno, "EINVAL");
        assert!(words.starts_with("limit greater than maximum"), "{words}");
    }
    assert_eq!(limits().await, Limits { subflows: 4, add_addr_accepted: 8 }, "nothing changed");
    Completion::Completed
}

pub async fn refusals_have_the_known_errnos_and_words() -> Completion {
    /// Linux 6.1 has one errno for three reasons, and no number in the words.
    const TOO_MANY: &str = "EINVAL: too many addresses or duplicate one";
    const EXISTS: [&str; 2] = ["EEXIST: too many addresses or duplicate one: -17", TOO_MANY];
    const BUSY: [&str; 2] = ["EBUSY: too many addresses or duplicate one: -16", TOO_MANY];
    const RANGE: [&str; 2] = ["ERANGE: too many addresses or duplicate one: -34", TOO_MANY];
    let client = client();
    let add = async |endpoint: Endpoint| client.add_endpoint(&endpoint).await;
    let plain = |address: &str| endpoint(address, EndpointFlags::SUBFLOW);

    assert_refused(
        add(Endpoint { port: Some(1), ..plain("10.0.1.1") }).await,
        "EINVAL: flags must have signal and not subflow when using port",
    );
    assert_refused(
        add(endpoint("10.0.1.1", EndpointFlags::SIGNAL | EndpointFlags::FULLMESH)).await,
        "EINVAL: flags mustn't have both signal and fullmesh",
    );
    assert_refused(add(endpoint("10.0.1.1", EndpointFlags::IMPLICIT)).await, "EINVAL: can't create IMPLICIT endpoint");
    assert_one_of(
        add(Endpoint { port: Some(1), ..endpoint("10.0.9.9", EndpointFlags::SIGNAL) }).await,
        &["EADDRNOTAVAIL: create listen socket error: -99", "EADDRNOTAVAIL: create listen socket error"],
    );
    add(Endpoint { id: Some(1), ..plain("10.0.1.1") }).await.unwrap();
    assert_one_of(add(plain("10.0.1.1")).await, &EXISTS);
    assert_one_of(add(plain("::ffff:10.0.1.1")).await, &EXISTS);
    assert_one_of(add(Endpoint { id: Some(1), ..plain("10.0.1.2") }).await, &BUSY);
    add_all(&client, (2..=8).map(|last| format!("10.0.1.{last}"))).await;
    assert_one_of(add(plain("10.0.1.9")).await, &RANGE);

    let (flags, not_found) = (EndpointFlags::BACKUP, ["EINVAL: address not found", "EINVAL"]);
    assert_one_of(client.set_flags(EndpointSelector::Id(99), flags).await, &not_found);
    let nobody = EndpointSelector::Address([10, 0, 9, 9].into(), None);
    assert_one_of(client.set_flags(nobody, flags).await, &not_found);
    let (errno, _) = refusal(client.set_flags(EndpointSelector::Id(0), flags).await);
    assert_eq!(errno, "EOPNOTSUPP");
    Completion::Completed
}

pub async fn flags_are_overwritten_as_a_whole() -> Completion {
    let client = client();
    let flags = async || client.get_endpoint(1, None).await.unwrap().flags;
    add_all(&client, ["10.0.1.1".into()]).await;
    client.set_flags(EndpointSelector::Id(1), EndpointFlags::FULLMESH).await.unwrap();
    assert_eq!(flags().await, EndpointFlags::SUBFLOW | EndpointFlags::FULLMESH);
    let by_address = EndpointSelector::Address([10, 0, 1, 1].into(), None);
    client.set_flags(by_address, EndpointFlags::BACKUP).await.unwrap();
    assert_eq!(flags().await, EndpointFlags::SUBFLOW | EndpointFlags::BACKUP, "fullmesh is gone");
    client.set_flags(by_address, EndpointFlags::empty()).await.unwrap();
    assert_eq!(flags().await, EndpointFlags::SUBFLOW);
    Completion::Completed
}

pub async fn laminar_is_dumped_back() -> Completion {
    let client = client();
    client.add_endpoint(&endpoint("10.0.1.1", EndpointFlags::LAMINAR)).await.unwrap();
    match client.get_endpoint(1, None).await.unwrap().flags {
        EndpointFlags::LAMINAR => Completion::Completed,
        flags if flags.is_empty() => Completion::ignored_with("this kernel has no laminar endpoints"),
        other => panic!("laminar became {other}"),
    }
}

pub async fn unknown_flags_vanish_without_an_error() -> Completion {
    let client = client();
    let flags = EndpointFlags::from_bits_retain(1 << 30) | EndpointFlags::SUBFLOW;
    client.add_endpoint(&endpoint("10.0.1.1", flags)).await.unwrap();
    assert_eq!(client.get_endpoint(1, None).await.unwrap().flags, EndpointFlags::SUBFLOW);
    Completion::Completed
}

pub async fn an_unknown_interface_index_is_accepted() -> Completion {
    let client = client();
    let parts = AddressParts {
        address: Some([10, 0, 1, 1].into()),
        flags: Some(EndpointFlags::SUBFLOW),
        interface_index: Some(77),
        ..AddressParts::default()
    };
    let message = PmMessage::new(PmCommand::AddAddr, [PmAttribute::Address(parts.attributes())]);
    client.request("add", message, RequestKind::Do).await.unwrap();
    assert_eq!(client.get_endpoint(1, None).await.unwrap().dev.as_deref(), Some("if77"));
    Completion::Completed
}

pub async fn id_zero_can_be_deleted_without_effect() -> Completion {
    let client = client();
    add_all(&client, ["10.0.1.1".into()]).await;
    client.delete_endpoint(0, None).await.unwrap();
    client.delete_endpoint(0, Some([10, 0, 1, 1].into())).await.unwrap();
    assert_eq!(ids(&client).await, [1]);
    assert_refused(client.get_endpoint(0, None).await, "EINVAL: address not found");
    Completion::Completed
}

pub async fn a_device_without_a_name_is_not_asked_for() -> Completion {
    let client = client();
    let endpoint = Endpoint { dev: Some("eth9".into()), ..endpoint("10.0.1.1", EndpointFlags::SUBFLOW) };
    let error = client.add_endpoint(&endpoint).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "add endpoint 10.0.1.1 subflow dev eth9 in here: no device eth9; expected one of: lo"
    );
    assert_eq!(client.dump_endpoints(None).await.unwrap(), []);
    Completion::Completed
}

pub async fn odd_requests_are_refused() -> Completion {
    let client = client();
    let send = async |command, attributes: Vec<PmAttribute>| {
        client.request("try", PmMessage::new(command, attributes), RequestKind::Do).await
    };
    let address = |nest: &[AddressAttribute]| vec![PmAttribute::Address(nest.to_vec())];
    assert_eq!(outcome(send(PmCommand::Other(200), vec![]).await), "EOPNOTSUPP");
    // Linux 6.1 and 6.12 say it in words, 6.18 by the attribute's type.
    let missing = send(PmCommand::AddAddr, vec![]).await.unwrap_err().refusal().unwrap().clone();
    assert_eq!(missing.symbol(), "EINVAL");
    assert!(missing.missing_attribute == Some(1) || missing.message.is_some_and(|it| it == "missing address info"));
    let no_family = address(&[AddressAttribute::Ipv4(Ipv4Addr::LOCALHOST)]);
    assert_refused(send(PmCommand::AddAddr, no_family).await, "EINVAL: missing family");
    let bad_family = address(&[AddressAttribute::Family(1), AddressAttribute::Ipv4(Ipv4Addr::LOCALHOST)]);
    assert_refused(send(PmCommand::AddAddr, bad_family).await, "EINVAL: unknown address family");
    let other_family = address(&[AddressAttribute::Family(10), AddressAttribute::Ipv4(Ipv4Addr::LOCALHOST)]);
    assert_refused(send(PmCommand::AddAddr, other_family).await, "EINVAL: missing address data");
    Completion::Completed
}
