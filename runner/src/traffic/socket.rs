//! Opening sockets: listening, connecting, accepting. A socket belongs for life to the network namespace of the thread
//! that opens it; for that reason, [`listen`] and the first half of [`connect`] are synchronous.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::option::{Hear, set_options};
use crate::errno::errno_symbol;
use crate::mptcp::IPPROTO_MPTCP;
use crate::scenario::model::{ListenPlan, SocketOptions, SocketProtocol};

/// A socket operation failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {}", describe(source))]
pub struct SocketError {
    /// What was attempted, on what.
    pub operation: String,
    /// What the kernel answered.
    pub source: io::Error,
}

impl SocketError {
    /// The symbol of the errno: `ECONNREFUSED`.
    pub fn symbol(&self) -> String {
        symbol(&self.source)
    }

    /// Whether the error is the kernel's answer, rather than one found here.
    pub fn is_answer(&self) -> bool {
        self.source.raw_os_error().is_some()
    }
}

/// The symbol of an error's errno, or the error in words if it has none.
pub(super) fn symbol(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), errno_symbol)
}

fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => format!("{}: {}", errno_symbol(errno), Errno::from_raw(errno).desc()),
        None => error.to_string(),
    }
}

fn failed(operation: impl Into<String>) -> impl FnOnce(io::Error) -> SocketError {
    let operation = operation.into();
    move |source| SocketError { operation, source }
}

/// The unread contents of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// The number of bytes that a read would return now, up to [`PEEKED`].
    pub bytes: usize,
    /// Whether poll() reports the socket as readable.
    pub readable: bool,
}

/// Maximum number of bytes to peek at.
const PEEKED: usize = 64 * 1024;

/// The unread contents of a socket. poll() comes first, since a read may make the kernel notice what it had overlooked.
pub fn unread(socket: BorrowedFd<'_>) -> Option<Unread> {
    let mut polled = [PollFd::new(socket, PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).ok()?;
    let readable = polled.iter().any(|polled| polled.any().unwrap_or(false));
    let mut buffer = vec![0; PEEKED];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    Some(Unread { bytes: recv(socket.as_raw_fd(), &mut buffer, flags).unwrap_or(0), readable })
}

/// A socket of that protocol, non-blocking.
fn open(address: IpAddr, protocol: SocketProtocol) -> Result<Socket, SocketError> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let (number, name) = match protocol {
        SocketProtocol::Mptcp => (Protocol::from(IPPROTO_MPTCP), "an MPTCP socket"),
        SocketProtocol::Tcp => (Protocol::TCP, "a TCP socket"),
    };
    let socket = Socket::new(domain, Type::STREAM, Some(number)).map_err(failed(format!("open {name}")))?;
    socket.set_nonblocking(true).map_err(failed("make the socket non-blocking"))?;
    Ok(socket)
}

/// Opens a listening socket. Call it inside the namespace.
///
/// A listener on `::` also accepts IPv4, whatever `net.ipv6.bindv6only` says.
pub fn listen(plan: &ListenPlan, hear: Hear<'_>) -> Result<TcpListener, SocketError> {
    let address = scoped(plan.address, plan.port, plan.scope.as_deref())?;
    let socket = open(plan.address, plan.protocol)?;
    socket.set_reuse_address(true).map_err(failed("set SO_REUSEADDR"))?;
    if plan.address.is_ipv6() {
        socket.set_only_v6(false).map_err(failed("clear IPV6_V6ONLY"))?;
    }
    set_options(socket.as_fd(), &plan.options, hear).map_err(failed("set the options of the listener"))?;
    socket.bind(&address.into()).map_err(failed(format!("bind to {address}")))?;
    socket.listen(plan.backlog.into()).map_err(failed(format!("listen on {address}")))?;
    TcpListener::from_std(socket.into()).map_err(failed("register the listener"))
}

/// Opens a socket, or uses one again that was disconnected; the returned future connects it. Call this inside the namespace;
/// poll the future anywhere.
pub fn connect(
    (address, scope): (SocketAddr, Option<&str>),
    (source, source_port): (Option<IpAddr>, Option<u16>),
    (protocol, again): (SocketProtocol, Option<TcpStream>),
    (options, hear): (&SocketOptions, Hear<'_>),
) -> Result<impl Future<Output = Result<TcpStream, SocketError>> + use<>, SocketError> {
    let address = scoped(address.ip(), address.port(), scope)?;
    let socket = match again {
        None => open(address.ip(), protocol)?,
        Some(again) => again.into_std().map_err(failed("take the socket out of the event loop"))?.into(),
    };
    set_options(socket.as_fd(), options, hear).map_err(failed("set the options of the socket"))?;
    if source.is_some() || source_port.is_some() {
        let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let source = scoped(source.unwrap_or(any), source_port.unwrap_or(0), scope)?;
        let what = if source.port() == 0 { source.ip().to_string() } else { source.to_string() };
        socket.bind(&source.into()).map_err(failed(format!("bind to {what}")))?;
    }
    let socket = TcpSocket::from_std_stream(socket.into());
    Ok(async move { socket.connect(address).await.map_err(failed(format!("connect to {address}"))) })
}

/// The address of a socket, with the interface that a link-local one is on. Call it inside the namespace.
fn scoped(address: IpAddr, port: u16, interface: Option<&str>) -> Result<SocketAddr, SocketError> {
    match (address, interface) {
        (IpAddr::V6(address), Some(interface)) if address.is_unicast_link_local() => {
            let index = if_nametoindex(interface).map_err(io::Error::from);
            let index = index.map_err(failed(format!("look for the interface {interface}")))?;
            Ok(SocketAddrV6::new(address, port, 0, index).into())
        }
        _ => Ok(SocketAddr::new(address, port)),
    }
}

/// Accepts the connection from this client address and port, or from one of the addresses that a NAT on the way gives
/// it, with any port.
///
/// A connection from elsewhere isn't the scenario's: that is an error, and never skipped.
pub async fn accept_from(
    listener: &TcpListener,
    client: SocketAddr,
    translated: &[IpAddr],
) -> Result<TcpStream, SocketError> {
    let (stream, peer) = listener.accept().await.map_err(failed("accept"))?;
    let address = peer.ip().to_canonical();
    let is_client = peer.port() == client.port() && address == client.ip().to_canonical();
    if !is_client && !translated.contains(&address) {
        return Err(SocketError {
            operation: format!("accept the connection from {client}"),
            source: io::Error::other(format!("got one from {peer} instead")),
        });
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_waits_in_a_socket_is_seen_and_stays_there() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        assert_eq!(unread(there.as_fd()), Some(Unread { bytes: 0, readable: false }));
        here.write_all(b"28 bytes").unwrap();
        assert_eq!(unread(there.as_fd()), Some(Unread { bytes: 8, readable: true }));
        let mut all = [0; 8];
        there.read_exact(&mut all).unwrap();
        assert_eq!(&all, b"28 bytes");
    }
}
