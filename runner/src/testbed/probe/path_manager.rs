//! Probes of the in-kernel path manager on `lo`, where all of 127.0.0.0/8 is local.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use socket2::{Domain, Socket};

use crate::mptcp::{Endpoint, EndpointFlags, EventKind, MptcpInfo, PmEvent};
use crate::netlink::events::{EventSocket, Received};
use crate::netlink::pm::PmClient;
use crate::observe::sockets::mptcp_info;
use crate::processors::in_parts;
use crate::testbed::Node;

use super::mptcp::{HANDSHAKE_TIMEOUT, connect, endpoint, events, path_manager};
use super::text;

/// The source addresses of additional subflows. The initial subflow uses 127.0.0.1.
const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
const LAST: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 4));

/// Adds an endpoint twice, and checks the errno.
pub(super) async fn endpoint_errnos(node: &Node) -> Result<(), String> {
    let path_manager = path_manager(node)?;
    let endpoint = Endpoint { id: None, ..endpoint(FIRST, EndpointFlags::SUBFLOW) };
    text(path_manager.add_endpoint(&endpoint).await)?;
    match path_manager.add_endpoint(&endpoint).await {
        Ok(()) => Err("this kernel accepts the same endpoint twice".to_owned()),
        Err(error) => match error.refusal() {
            Some(refusal) if Errno::from_raw(refusal.errno) == Errno::EEXIST => Ok(()),
            Some(refusal) => {
                Err(format!("this kernel refuses a duplicate endpoint with {} instead of EEXIST", refusal.symbol()))
            }
            None => Err(error.to_string()),
        },
    }
}

/// Adds two endpoints with the fullmesh flag, and one without: when the last one's subflow is up, the others have been
/// requested. The server has one address, so each endpoint should open one subflow.
pub(super) async fn fullmesh_once(node: &Node) -> Result<(), String> {
    let mesh = EndpointFlags::SUBFLOW | EndpointFlags::FULLMESH;
    let info = subflows_from(node, &[(FIRST, mesh), (SECOND, mesh), (LAST, EndpointFlags::SUBFLOW)]).await?;
    match info.subflows {
        3 => Ok(()),
        number => Err(format!("this kernel opens {number} subflows from 3 endpoints to one address, instead of 3")),
    }
}

/// Adds an IPv6 endpoint and an IPv4 one, in this order, for an IPv4 connection. A kernel that checks both families
/// when it creates subflows counts the first one as used; one that selects endpoints by the socket's family passes over
/// it.
pub(super) async fn family_rules(node: &Node) -> Result<(), String> {
    let other = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let info = subflows_from(node, &[(other, EndpointFlags::SUBFLOW), (LAST, EndpointFlags::SUBFLOW)]).await?;
    match (info.subflows, info.local_addr_used) {
        (1, Some(2)) => Ok(()),
        (1, Some(1)) => Err("this kernel compares only the families of the endpoint and the socket".to_owned()),
        (subflows, used) => {
            let used = used.map_or_else(|| "an unknown number".to_owned(), |used| used.to_string());
            Err(format!("expected 1 subflow and 1 or 2 endpoints in use, got {subflows} and {used}"))
        }
    }
}

/// Opens an IPv4 connection on `lo` with these endpoints, waits for the subflow from [`LAST`], and returns the client's
/// `MPTCP_INFO`.
async fn subflows_from(node: &Node, endpoints: &[(IpAddr, EndpointFlags)]) -> Result<MptcpInfo, String> {
    let path_manager = path_manager(node)?;
    text(path_manager.set_limits(Some(8), Some(0)).await)?;
    for (id, (address, flags)) in (1..).zip(endpoints) {
        let endpoint = Endpoint { id: Some(id), ..endpoint(*address, *flags) };
        text(path_manager.add_endpoint(&endpoint).await)?;
    }
    let mut events = events(node)?;
    let [_listener, client, _server] = connect(node, Domain::IPV4)?;
    let is_last = |event: &PmEvent| event.kind == EventKind::SubEstablished && event.local == Some(LAST);
    wait_for(&mut events, is_last).await?;
    info_of(&client)
}

/// Opens a subflow with a device by a userspace path manager, and checks whether its socket is bound to the device.
pub(super) async fn subflow_device(node: &Node) -> Result<(), String> {
    text(node.set_sysctl("net.mptcp.pm_type", "1"))?;
    let path_manager: PmClient = path_manager(node)?;
    let mut events = events(node)?;
    let [listener, client, _server] = connect(node, Domain::IPV4)?;
    let token = info_of(&client)?.token;
    let port = listener.local_addr().ok().and_then(|address| address.as_socket()).map_or(0, |address| address.port());
    let local = Endpoint { dev: Some("lo".to_owned()), ..endpoint(LAST, EndpointFlags::empty()) };
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    text(path_manager.create_subflow(token, &local, remote).await)?;
    let is_last = |event: &PmEvent| event.kind == EventKind::SubEstablished && event.local == Some(LAST);
    match wait_for(&mut events, is_last).await?.dev {
        Some(_) => Ok(()),
        None => {
            Err("this kernel binds a subflow to the device of the endpoint with its address ID, not to the requested device"
                .to_owned())
        }
    }
}

fn info_of(socket: &Socket) -> Result<MptcpInfo, String> {
    text(mptcp_info(socket.as_fd()))?.ok_or_else(|| "the connection on lo fell back to TCP".to_owned())
}

async fn wait_for(events: &mut EventSocket, wanted: impl Fn(&PmEvent) -> bool) -> Result<PmEvent, String> {
    let came = async {
        loop {
            match text(events.next().await)?.what {
                Received::Event(event) if wanted(&event) => return Ok(event),
                Received::Lost => return Err("events were lost".to_owned()),
                _ => {}
            }
        }
    };
    in_parts(HANDSHAKE_TIMEOUT, came).await.unwrap_or_else(|| Err("no subflow came up on lo".to_owned()))
}
