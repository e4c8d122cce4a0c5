//! A world that is dropped is gone soon, whatever was open in it.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed};
use mptcplab::mptcp::{Endpoint, EndpointFlags, IPPROTO_MPTCP};
use mptcplab::netlink::pm::PmClient;
use mptcplab::testbed::{BaseNamespace, Namespace, Node, Testbed};
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_sys::Socket as Netlink;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::world::{build, ip, two_hosts};

/// `RTNLGRP_NSID` (include/uapi/linux/rtnetlink.h)
const RTNLGRP_NSID: u32 = 28;
/// The server.
const IPV4: &str = "10.0.1.2";
const IPV6: &str = "2001:db8:1::2";
/// What doesn't stay takes a second or two. What does: a minute (`mptcp_close_timeout`, net/mptcp/ctrl.c), minutes
/// (`tcp_orphan_retries`, net/ipv4/tcp_timer.c), for ever.
const SOON: Duration = Duration::from_secs(20);

/// Is told when namespaces are gone: `cleanup_net` (net/core/net_namespace.c) says so to all namespaces that have a
/// number for it, once nothing refers to it any more.
struct Watch {
    socket: Netlink,
}

impl Watch {
    /// From a namespace of its own: numbers belong to the namespace that gives them.
    fn open(home: &Arc<BaseNamespace>) -> Result<Self, Failed> {
        let open = || {
            let mut socket = Netlink::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.add_membership(RTNLGRP_NSID)?;
            io::Result::Ok(socket)
        };
        Ok(Self { socket: Namespace::create(home)?.run(open)?? })
    }

    /// Gives a namespace a number.
    fn number(&self, node: &Node, number: i32) -> Result<(), Failed> {
        let mut message = NsidMessage::default();
        let file = u32::try_from(node.namespace().as_fd().as_raw_fd())?;
        message.attributes = vec![NsidAttribute::Id(number), NsidAttribute::Fd(file)];
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewNsId(message));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            if let NetlinkPayload::Error(answer) = self.next()?.payload {
                return if answer.code.is_none() { Ok(()) } else { Err(format!("number {number}: {answer}").into()) };
            }
        }
    }

    fn next(&self) -> Result<NetlinkMessage<RouteNetlinkMessage>, Failed> {
        let (bytes, _) = self.socket.recv_from_full()?;
        Ok(NetlinkMessage::deserialize(&bytes)?)
    }

    /// The number of the next namespace that is gone, if one goes before the deadline.
    fn gone(&self, deadline: Instant) -> Result<Option<i32>, Failed> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left.as_micros().div_ceil(1000))?;
            if poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
                return Ok(None);
            }
            let NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNsId(message)) = self.next()?.payload else {
                continue;
            };
            let number = message.attributes.iter().find_map(|attribute| match attribute {
                NsidAttribute::Id(number) => Some(*number),
                _ => None,
            });
            return Ok(Some(number.ok_or("a namespace without a number is gone")?));
        }
    }
}

pub fn sockets_of_tcp_do_not_stay(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    ends_soon_with_data_under_way(home, [Protocol::TCP; 2], IPV4)
}

pub fn sockets_of_mptcp_do_not_stay(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    ends_soon_with_data_under_way(home, [Protocol::from(IPPROTO_MPTCP); 2], IPV4)?;
    ends_soon_with_data_under_way(home, [Protocol::from(IPPROTO_MPTCP); 2], IPV6)
}

pub fn sockets_that_fell_back_do_not_stay(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    ends_soon_with_data_under_way(home, [Protocol::from(IPPROTO_MPTCP), Protocol::TCP], IPV4)
}

/// A connection has data under way over a link that is down, when its world ends.
fn ends_soon_with_data_under_way(
    home: &Arc<BaseNamespace>,
    protocols: [Protocol; 2],
    server: &str,
) -> Result<Completion, Failed> {
    let testbed = build(home, &two_hosts(1))?;
    let sockets = connection(&testbed, protocols, server)?;
    testbed.set_link("server", "eth1", false)?;
    (&sockets[0]).write_all(b"nobody hears it")?;
    ends_soon(home, testbed, || drop(sockets))
}

pub fn the_listener_of_an_endpoint_does_not_stay(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let testbed = build(home, &two_hosts(1))?;
    let server = testbed.node("server")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let endpoint =
        Endpoint { address: ip(IPV4), port: Some(10_100), id: None, flags: EndpointFlags::SIGNAL, dev: None };
    runtime.block_on(async {
        let client = server.run(|| PmClient::open("server", server.devices()))??;
        client.add_endpoint(&endpoint).await?;
        Ok::<_, Failed>(())
    })?;
    ends_soon(home, testbed, || drop(runtime))
}

/// Drops all of a world, as the engine does it: first what is open in it.
fn ends_soon(home: &Arc<BaseNamespace>, testbed: Testbed, close: impl FnOnce()) -> Result<Completion, Failed> {
    let watch = Watch::open(home)?;
    let names: Vec<String> = testbed.nodes().map(|node| node.name().to_owned()).collect();
    for (number, node) in (0..).zip(testbed.nodes()) {
        watch.number(node, number)?;
    }
    close();
    drop(testbed);
    let deadline = Instant::now() + SOON;
    let mut left: Vec<i32> = (0..).take(names.len()).collect();
    while !left.is_empty() {
        let Some(number) = watch.gone(deadline)? else {
            let held = left.iter().filter_map(|number| names.get(usize::try_from(*number).ok()?));
            return Err(format!("still held after {SOON:?}: {}", held.cloned().collect::<Vec<_>>().join(", ")).into());
        };
        left.retain(|other| *other != number);
    }
    Ok(Completion::Completed)
}

/// The two ends of a connection from client to server.
fn connection(testbed: &Testbed, [of_client, of_server]: [Protocol; 2], server: &str) -> Result<[Socket; 2], Failed> {
    let address = SocketAddr::new(ip(server), 0);
    let domain = Domain::for_address(address);
    let socket = |host: &str, protocol| testbed.node(host)?.run(|| Socket::new(domain, Type::STREAM, protocol));
    let listener = socket("server", Some(of_server))??;
    listener.bind(&address.into())?;
    listener.listen(1)?;
    let connecting = socket("client", Some(of_client))??;
    connecting.connect_timeout(&listener.local_addr()?, Duration::from_secs(5))?;
    let (accepted, _) = listener.accept()?;
    Ok([connecting, accepted])
}
