//! Probes of MPTCP itself.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

use crate::errno::errno_symbol;
use crate::mptcp::{Endpoint, EndpointFlags, EventKind, IPPROTO_MPTCP, SocketOption, answer_of_word};
use crate::netlink::events::{EventSocket, Received};
use crate::netlink::pm::PmClient;
use crate::observe::sockets::mptcp_info;
use crate::processors::in_parts;
use crate::sys::sockopt::{getsockopt_bytes, setsockopt_bytes};
use crate::testbed::Node;

use super::text;

/// Timeout for a handshake on `lo`. It takes no time, except on an emulated kernel on a busy machine; only a kernel
/// that doesn't even try takes this long.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A token without a connection: there is none.
const NO_TOKEN: u32 = 0x0bad_cafe;

/// An MPTCP socket.
pub(super) fn socket(node: &Node, domain: Domain) -> Result<Socket, String> {
    let made = text(node.run(|| Socket::new(domain, Type::STREAM, Some(Protocol::from(IPPROTO_MPTCP)))))?;
    made.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(errno @ (Errno::EPROTONOSUPPORT | Errno::EINVAL)) => {
            let errno = errno_symbol(errno as i32);
            format!("this kernel is built without MPTCP (socket: {errno}); it needs CONFIG_MPTCP")
        }
        Some(Errno::ENOPROTOOPT) => "MPTCP is disabled (socket: ENOPROTOOPT): net.mptcp.enabled=0".to_owned(),
        _ => format!("can't open an MPTCP socket: {error}"),
    })
}

fn listen(node: &Node, address: SocketAddr) -> Result<Socket, String> {
    let socket = socket(node, Domain::for_address(address))?;
    let listening = socket.bind(&address.into()).and_then(|()| socket.listen(1));
    listening.map_err(|error| format!("can't listen on {address}: {error}"))?;
    Ok(socket)
}

pub(super) fn events(node: &Node) -> Result<EventSocket, String> {
    text(text(node.run(|| EventSocket::open(node.name(), node.devices())))?)
}

pub(super) fn path_manager(node: &Node) -> Result<PmClient, String> {
    text(text(node.run(|| PmClient::open(node.name(), node.devices())))?)
}

pub(super) fn endpoint(address: IpAddr, flags: EndpointFlags) -> Endpoint {
    Endpoint { address, port: None, id: Some(1), flags, dev: None }
}

/// Sets a socket option on an MPTCP socket.
pub(super) fn option(node: &Node, word: &str) -> Result<(), String> {
    let socket = socket(node, Domain::IPV4)?;
    let Some(option) = SocketOption::of_word(word) else { return answer(socket.as_fd(), word) };
    let (level, number) = option.number(false);
    let set = setsockopt_bytes(socket.as_fd(), level, number, &option.form.encode(&option.sample(), false));
    set.map_err(|error| {
        let errno = errno_symbol(error.raw_os_error().unwrap_or_default());
        format!("this kernel doesn't have {} on MPTCP sockets (setsockopt: {errno})", option.symbol)
    })
}

/// Asks an MPTCP socket for something that can't be set. A refusal of the request is an answer, too.
fn answer(socket: BorrowedFd<'_>, word: &str) -> Result<(), String> {
    let (symbol, (level, number)) =
        answer_of_word(word, false).ok_or_else(|| format!("there is no socket option {word}"))?;
    match getsockopt_bytes(socket, level, number, &mut []) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOPROTOOPT)) => {
            Err(format!("this kernel doesn't have {symbol} on MPTCP sockets"))
        }
        _ => Ok(()),
    }
}

/// Opens a listening socket, and checks for its event, which has arrived when listen(2) returns.
pub(super) fn listener_events(node: &Node) -> Result<(), String> {
    let mut events = events(node)?;
    let _listener = listen(node, (Ipv4Addr::LOCALHOST, 0).into())?;
    let told =
        |received: &Received| matches!(received, Received::Event(event) if event.kind == EventKind::ListenerCreated);
    if text(events.drain())?.iter().any(|reception| told(&reception.what)) {
        Ok(())
    } else {
        Err("this kernel sends no events of listening sockets".to_owned())
    }
}

/// Adds an endpoint with the flag, and checks that it keeps it: the kernel drops unknown flags without an error.
pub(super) async fn laminar(node: &Node) -> Result<(), String> {
    let path_manager = path_manager(node)?;
    let flags = EndpointFlags::SUBFLOW | EndpointFlags::LAMINAR;
    text(path_manager.add_endpoint(&endpoint(Ipv4Addr::new(192, 0, 2, 1).into(), flags)).await)?;
    if text(path_manager.dump_endpoints(None).await)?.iter().any(|endpoint| endpoint.flags.contains(flags)) {
        Ok(())
    } else {
        Err("this kernel doesn't know the laminar flag".to_owned())
    }
}

/// Requests an endpoint of a connection that doesn't exist. A kernel that ignores the token still finds the endpoint.
pub(super) async fn token_dump(node: &Node) -> Result<(), String> {
    let path_manager = path_manager(node)?;
    let endpoint = endpoint(Ipv4Addr::new(192, 0, 2, 1).into(), EndpointFlags::SUBFLOW);
    text(path_manager.add_endpoint(&endpoint).await)?;
    text(path_manager.get_endpoint(1, None).await)?;
    match path_manager.get_endpoint(1, Some(NO_TOKEN)).await {
        Ok(_) => Err("this kernel ignores the token in GET_ADDR".to_owned()),
        Err(error) if error.refusal().is_some() => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads the `MPTCP_INFO` of a connection. There is an endpoint of each kind that a reserved byte may count: without one,
/// a kernel that counts has the same 0 there as one that doesn't.
pub(super) async fn info(node: &Node, field: &str) -> Result<(), String> {
    let kinds = [("endp_laminar_max", EndpointFlags::LAMINAR), ("endp_fullmesh_max", EndpointFlags::FULLMESH)];
    if let Some((_, flag)) = kinds.iter().find(|(counts, _)| *counts == field) {
        let counted = endpoint(Ipv4Addr::new(192, 0, 2, 1).into(), EndpointFlags::SUBFLOW | *flag);
        text(path_manager(node)?.add_endpoint(&counted).await)?;
    }
    let [_listener, _client, server] = connect(node, Domain::IPV6)?;
    let info = text(mptcp_info(server.as_fd()))?.ok_or("the connection on lo fell back to TCP")?;
    match info.field(field) {
        Some(Some(_)) => Ok(()),
        Some(None) | None => Err(format!("this kernel's struct mptcp_info has no {field}")),
    }
}

/// Opens a connection over IPv4 with IPv6 sockets, lets the server announce an IPv6 address, and checks whether the
/// client joins there. Nothing cheaper is reliable: no errno and no counter shows this.
pub(super) async fn mixed_families(node: &Node) -> Result<(), String> {
    let path_manager = path_manager(node)?;
    text(path_manager.set_limits(Some(1), Some(1)).await)?;
    text(path_manager.add_endpoint(&endpoint(Ipv6Addr::LOCALHOST.into(), EndpointFlags::SIGNAL)).await)?;
    let mut events = events(node)?;
    let _connection = connect(node, Domain::IPV6)?;
    let joined = async {
        loop {
            match text(events.next().await)?.what {
                Received::Event(event) if event.kind == EventKind::SubEstablished => {
                    return Ok(event.remote.is_some_and(|remote| remote.to_canonical().is_ipv6()));
                }
                Received::Lost => return Err("events were lost".to_owned()),
                _ => {}
            }
        }
    };
    match in_parts(HANDSHAKE_TIMEOUT, joined).await {
        Some(Ok(true)) => Ok(()),
        Some(Ok(false)) | None => Err("this kernel doesn't mix IPv4 and IPv6 subflows".to_owned()),
        Some(Err(error)) => Err(error),
    }
}

/// A connection on `lo` over IPv4 between sockets of this domain, after a byte each way. Returns the sockets that must
/// stay open: the listener, the client, the server.
pub(super) fn connect(node: &Node, domain: Domain) -> Result<[Socket; 3], String> {
    let v6 = domain == Domain::IPV6;
    let any: IpAddr = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let server = if v6 { Ipv4Addr::LOCALHOST.to_ipv6_mapped().into() } else { IpAddr::from(Ipv4Addr::LOCALHOST) };
    let listener = listen(node, (any, 0).into())?;
    let mut client = socket(node, domain)?;
    let mut connect = || {
        let port = listener.local_addr()?.as_socket().map_or(0, |address| address.port());
        client.connect_timeout(&SocketAddr::from((server, port)).into(), HANDSHAKE_TIMEOUT)?;
        listener.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?; // of accept(2), too
        let (mut server, _) = listener.accept()?;
        exchange(&mut client, &mut server)?;
        exchange(&mut server, &mut client)?;
        Ok(server)
    };
    let server = connect().map_err(|error: std::io::Error| format!("can't connect on lo: {error}"))?;
    Ok([listener, client, server])
}

/// Sends a byte.
fn exchange(from: &mut Socket, to: &mut Socket) -> std::io::Result<()> {
    to.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
    from.write_all(b"!")?;
    to.read_exact(&mut [0])
}
