//! The namespaces that both look at.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use libtest_mimic::Failed;
use mptcplab::mptcp::{Endpoint, EndpointFlags};
use mptcplab::netlink::pm::PmClient;
use mptcplab::plan::plan;
use mptcplab::recording::SourceText;
use mptcplab::scenario;
use mptcplab::scenario::model::{ListenPlan, SocketOptions, SocketProtocol};
use mptcplab::testbed::{self, BaseNamespace, Node, Testbed};
use mptcplab::traffic::{self, LiveConnection, Tell};
use tokio::net::TcpListener;

/// Four links between client and server, nothing configured.
const SCENARIO: &str = "\
title: Four links
about: Nothing but the links.
topology: four-links
steps:
  - connect: { name: unused, from: client, to: server, address: 10.0.1.1 }
expect: { limits: { client: { subflows: 2 } } }
";
const TOPOLOGY: &str = include_str!("../../../../fixtures/topologies/four-links.yaml");

pub fn four_links(home: &Arc<BaseNamespace>) -> Result<Testbed, Failed> {
    let source = |name: &str, text: &str| SourceText { name: name.to_owned(), text: text.to_owned() };
    let sources = [source("scenario.yaml", SCENARIO), source("four-links.yaml", TOPOLOGY)];
    let scenario = scenario::load_sources(Path::new("scenario.yaml"), None, &sources)
        .map_err(|diagnostics| diagnostics.render(false))?;
    Ok(testbed::build(home, &plan(&scenario).setup, 0)?)
}

pub fn client_of(node: &Node) -> Result<PmClient, Failed> {
    Ok(node.run(|| PmClient::open(node.name(), node.devices()))??)
}

/// What ip(8) says inside a namespace.
pub fn ip(node: &Node, arguments: &str) -> Result<String, Failed> {
    let output = node.run(|| Command::new("ip").args(arguments.split_whitespace()).output())??;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("ip {arguments}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

pub fn endpoint(address: &str, id: Option<u8>, flags: EndpointFlags) -> Endpoint {
    Endpoint { address: address.parse().unwrap(), port: None, id, flags, dev: None }
}

pub fn listen(node: &Node, address: &str, port: u16) -> Result<TcpListener, Failed> {
    let (namespace, protocol) = (node.name().to_owned(), SocketProtocol::Mptcp);
    let plan = ListenPlan {
        namespace,
        address: address.parse()?,
        scope: None,
        port,
        protocol,
        backlog: 128,
        options: SocketOptions::default(),
    };
    Ok(node.run(|| traffic::listen(&plan, &|_, _| {}))??)
}

/// A connection, fully established on both sides.
pub async fn connect(client: &Node, listener: &TcpListener, to: SocketAddr) -> Result<LiveConnection, Failed> {
    let connecting = client.run(|| {
        traffic::connect(
            (to, None),
            (None, None),
            (SocketProtocol::Mptcp, None),
            (&SocketOptions::default(), &|_, _| {}),
        )
    })??;
    let socket = connecting.await?;
    let server = traffic::accept_from(listener, socket.local_addr()?, &[]).await?;
    let namespaces = ("client".to_owned(), "server".to_owned());
    let mut connection = LiveConnection::new("main".to_owned(), namespaces, (socket, to), Tell::nobody())?;
    connection.accepted(server);
    connection.greet().await?;
    Ok(connection)
}
