//! A scenario made by hand, for tests of what comes after parsing.

use std::path::PathBuf;
use std::time::Duration;

use crate::mptcp::{Endpoint, EndpointFlags, Limits};
use crate::recording::{Side, SourceText};
use crate::scenario::model::{
    Action, Address, CloseHow, Condition, ConnectPlan, ConnectionOutcome, Expectation, KernelVariants, Link, LinkEnd,
    ListenPlan, Namespace, Operation, Place, Route, Scenario, SocketOptions, SocketProtocol, Step, TransferPlan, World,
};

/// The text that the places of [`scenario`] point into.
pub(crate) const SOURCE: &str = "\
title: fullmesh opens a subflow from each endpoint
expect:
  counters:
    server: { MPTcpExtMPJoinAckRx: 1 }
";

pub(crate) fn endpoint(address: &str, flags: EndpointFlags) -> Endpoint {
    Endpoint { address: address.parse().unwrap(), port: None, id: None, flags, dev: None }
}

fn end(namespace: &str, device: &str, addresses: &[&str]) -> LinkEnd {
    LinkEnd {
        namespace: namespace.to_owned(),
        device: device.to_owned(),
        addresses: addresses.iter().map(|text| address(text)).collect(),
    }
}

pub(crate) fn address(text: &str) -> Address {
    let (address, prefix) = text.split_once('/').unwrap();
    Address { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

pub(crate) fn link(name: &str, left: (&str, &str, &[&str]), right: (&str, &str, &[&str])) -> Link {
    Link {
        name: name.to_owned(),
        place: Place::default(),
        mtu: None,
        rate: None,
        ends: [end(left.0, left.1, left.2), end(right.0, right.1, right.2)],
    }
}

pub(crate) fn step(action: Action) -> Step {
    Step { place: Place::default(), action }
}

/// Two namespaces, two links, two endpoints, and a few steps.
pub(crate) fn scenario() -> Scenario {
    let mut client = Namespace::new("client");
    client.limits = Some(Limits { subflows: 4, add_addr_accepted: 1 });
    client.endpoints = vec![(endpoint("10.0.2.2", EndpointFlags::SUBFLOW | EndpointFlags::FULLMESH), Place::default())];
    client.routes = vec![Route {
        via: Some("dead:beef:1::1".parse().unwrap()),
        dev: Some("eth1".to_owned()),
        metric: Some(101),
        ..Route::new(address("::/0"))
    }];
    client.sysctls = vec![
        ("net.ipv4.conf.eth1.rp_filter".to_owned(), "0".to_owned()),
        ("net.mptcp.checksum_enabled".to_owned(), "1".to_owned()),
    ];
    let mut server = Namespace::new("server");
    server.limits = Some(Limits { subflows: 4, add_addr_accepted: 0 });
    let mut wifi = link(
        "wifi",
        ("client", "eth1", &["10.0.1.2/24", "dead:beef:1::2/64"]),
        ("server", "eth1", &["10.0.1.1/24", "dead:beef:1::1/64"]),
    );
    wifi.rate = Some(20_000_000);
    wifi.mtu = Some(1400);
    let cellular = link("cellular", ("client", "eth2", &["10.0.2.2/24"]), ("server", "eth2", &["10.0.2.1/24"]));
    Scenario {
        file: PathBuf::from("scenarios/fullmesh.yaml"),
        variant: Some("ipv4".to_owned()),
        title: "fullmesh opens a subflow from each endpoint".to_owned(),
        about: "The client has one fullmesh endpoint.".to_owned(),
        see: vec!["ip-mptcp(8)".to_owned()],
        requires: Vec::new(),
        kernel_variants: KernelVariants::default(),
        left_out: None,
        exclusive: false,
        world: World { namespaces: vec![client, server], links: vec![wifi, cellular], paths: Vec::new() },
        connections: Vec::new(),
        steps: steps(),
        expect: Expectation::default(),
        sources: vec![SourceText { name: "scenarios/fullmesh.yaml".to_owned(), text: SOURCE.to_owned() }],
    }
}

fn steps() -> Vec<Step> {
    let connect = ConnectPlan {
        accepts: true,
        again: None,
        name: "main".to_owned(),
        from: "client".to_owned(),
        to: "server".to_owned(),
        address: "10.0.1.1:8080".parse().unwrap(),
        scope: None,
        source: None,
        source_port: None,
        protocol: SocketProtocol::Mptcp,
        outcome: ConnectionOutcome::Mptcp,
        server_protocol: None,
        implicit_listener: Some(ListenPlan {
            namespace: "server".to_owned(),
            address: "0.0.0.0".parse().unwrap(),
            scope: None,
            port: 8080,
            protocol: SocketProtocol::Mptcp,
            backlog: 128,
            options: SocketOptions::default(),
        }),
        options: SocketOptions::default(),
        accepted: SocketOptions::default(),
        translated: None,
        handshake: true,
        deadline: Duration::from_secs(5),
    };
    let transfer = TransferPlan {
        zero_copy: false,
        connection: "main".to_owned(),
        from_client: 64 * 1024,
        from_server: 64 * 1024,
        pace: None,
        background: false,
        tolerate_corrupt: 0,
        error: None,
        deadline: Duration::from_secs(10),
    };
    let wait = Action::Wait {
        conditions: vec![Condition::Subflows { connection: "main".to_owned(), count: 2 }],
        deadline: Duration::from_secs(5),
    };
    let announce = Operation::AddEndpoint {
        namespace: "server".to_owned(),
        endpoint: endpoint("10.0.2.1", EndpointFlags::SIGNAL),
    };
    let close = Action::Close {
        connection: "main".to_owned(),
        by: Side::Client,
        how: CloseHow::Graceful,
        deadline: Duration::from_secs(5),
    };
    [Action::Connect(connect), wait, Action::Do(announce), Action::Transfer(transfer), close].map(step).into()
}
