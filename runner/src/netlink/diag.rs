//! The kernel's list of sockets (`sock_diag(7)`): subflows and listeners.
//!
//! [`DiagSocket`] asks, [`decode_subflow`] and [`decode_listener`] decode. Structures and constants are those of
//! `include/uapi/linux/inet_diag.h` and `include/uapi/linux/mptcp.h`; the answers come from `net/ipv4/inet_diag.c`,
//! `net/ipv4/tcp_diag.c` and `net/mptcp/diag.c`.
//!
//! The kernel's own list of MPTCP sockets (`INET_DIAG_REQ_PROTOCOL` with 262) serves only [`DiagSocket::connections`]: it
//! shows the listener of an endpoint with a port as `0.0.0.0:0`, and needs `CONFIG_INET_MPTCP_DIAG`. The TCP socket
//! inside each listener is listed with its true address, and with "mptcp" as its upper layer protocol.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use netlink_packet_core::DecodeError;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::errno::Errno;

use super::attribute::attributes;
use super::exchange::{Exchange, RawMessage};
use super::{Cause, DeviceNames, NetlinkError};
use crate::mptcp::numbers::subflow_attribute;
use crate::mptcp::{IPPROTO_MPTCP, SubflowFlags, SubflowOptions, SubflowState};

/// `SOCK_DIAG_BY_FAMILY`
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `SOCK_DESTROY`
const SOCK_DESTROY: u16 = 21;
/// `INET_DIAG_CONG`, `INET_DIAG_TOS`, `INET_DIAG_TCLASS`, `INET_DIAG_SKMEMINFO`: bits as well.
const CONG: u8 = 4;
const TOS: u8 = 5;
const TCLASS: u8 = 6;
const SKMEMINFO: u8 = 7;
/// `INET_DIAG_MARK` and `INET_DIAG_SOCKOPT`, which need no bit.
const MARK: u8 = 15;
const SOCKOPT: u8 = 22;
/// All that is asked for with a bit.
const EXTENSIONS: u8 = 1 << (INFO - 1) | 1 << (CONG - 1) | 1 << (TOS - 1) | 1 << (TCLASS - 1) | 1 << (SKMEMINFO - 1);
/// `INET_DIAG_INFO`; the request names it as bit `1 << (INET_DIAG_INFO - 1)`.
const INFO: u8 = 2;
/// `INET_DIAG_REQ_PROTOCOL`: a protocol that doesn't fit into the 8 bits of the request.
const REQ_PROTOCOL: u16 = 3;
/// `INET_DIAG_REQ_BYTECODE`: a filter.
const REQ_BYTECODE: u16 = 1;
/// `INET_DIAG_BC_S_COND`, `INET_DIAG_BC_D_EQ`
const BC_S_COND: u8 = 7;
const BC_D_EQ: u8 = 12;
/// `INET_DIAG_ULP_INFO`, a nest.
const ULP_INFO: u16 = 19;
/// `INET_ULP_INFO_NAME`, text.
const ULP_NAME: u16 = 1;
/// `INET_ULP_INFO_MPTCP`, a nest of `MPTCP_SUBFLOW_ATTR_*`.
const ULP_MPTCP: u16 = 3;
/// `AF_INET`
const AF_INET: u8 = 2;
/// `AF_INET6`
const AF_INET6: u8 = 10;
/// `IPPROTO_TCP`
const IPPROTO_TCP: u8 = 6;
/// `TCP_ESTABLISHED` (`include/net/tcp_states.h`)
const TCP_ESTABLISHED: u8 = 1;
/// `TCP_CLOSE_WAIT`
const TCP_CLOSE_WAIT: u8 = 8;
/// `TCP_LISTEN`
const TCP_LISTEN: u8 = 10;
/// `TCP_NEW_SYN_RECV`
const TCP_NEW_SYN_RECV: u8 = 12;
/// All states of subflows, a bit each: up to `TCP_NEW_SYN_RECV`, but not `TCP_LISTEN`. `TCP_BOUND_INACTIVE`, which
/// follows them, is for sockets that are only bound. To find those, the kernel would walk through the whole machine's
/// table of ports in each dump (`inet_diag_dump_icsk`, net/ipv4/inet_diag.c).
const SUBFLOWS: u32 = (1 << (TCP_NEW_SYN_RECV + 1)) - (1 << TCP_ESTABLISHED) - (1 << TCP_LISTEN);
/// `sizeof(struct inet_diag_req_v2)`
const REQUEST_LENGTH: usize = 56;
/// `sizeof(struct inet_diag_msg)`
const MESSAGE_LENGTH: usize = 72;
/// Where the local and the remote port are in `struct inet_diag_req_v2`.
const PORTS: usize = 8;
/// Where the first half of the cookie is in `struct inet_diag_req_v2`.
const COOKIE: Range<usize> = 48..52;
/// Where `struct inet_diag_sockid` is in `struct inet_diag_msg`.
const SOCKET_ID: Range<usize> = 4..52;

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Its address and port.
    pub address: SocketAddr,
    /// It is an MPTCP listener: an application's, or that of an endpoint with a port.
    pub mptcp: bool,
}

/// An MPTCP socket that doesn't listen: a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MptcpSocket {
    /// Its local address and port: those of the initial subflow.
    pub local: SocketAddr,
    /// Its remote address and port.
    pub remote: SocketAddr,
    /// Its state, numbered as a TCP state.
    pub state: u8,
    /// Bytes wait in it (`idiag_rqueue`).
    pub has_unread: bool,
    /// The size of its send buffer.
    pub send_buffer: Option<u32>,
    /// `struct mptcp_info`, as the kernel filled it in.
    pub info: Vec<u8>,
}

/// An MPTCP socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MptcpListener {
    /// Its address and port. The listener of an endpoint with a port has `0.0.0.0:0`.
    pub address: SocketAddr,
    /// Connections that wait for accept().
    pub waiting: u32,
    /// The backlog: the most that may wait.
    pub backlog: u32,
}

/// Which sockets the kernel lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Those with these local and remote ports; 0 stands for any. In the request itself, where each protocol's list looks at
    /// it (`mptcp_diag_dump`, net/mptcp/mptcp_diag.c).
    Ports(u16, u16),
    /// Those with this local address and port; an unspecified address stands for any.
    Address(SocketAddr),
    /// Those whose peer has this port.
    PeerPort(u16),
}

impl Filter {
    /// Each socket.
    pub const ALL: Self = Self::Ports(0, 0);

    /// The local and the remote port in the request; 0: any.
    fn ports(self) -> (u16, u16) {
        match self {
            Self::Ports(local, remote) => (local, remote),
            Self::Address(_) | Self::PeerPort(_) => (0, 0),
        }
    }

    /// The filter as an attribute (`inet_diag_bc_run`, net/ipv4/inet_diag.c).
    fn attribute(self) -> Vec<u8> {
        let code = self.code();
        let length = u16::try_from(code.len() + 4).unwrap_or_default();
        if code.is_empty() { code } else { [&length.to_ne_bytes()[..], &REQ_BYTECODE.to_ne_bytes(), &code].concat() }
    }

    /// One condition as `struct inet_diag_bc_op` with what follows it: where it holds, the code is at its end; where it
    /// doesn't, beyond it.
    fn code(self) -> Vec<u8> {
        let condition = |code: u8, rest: &[u8]| {
            let length = u8::try_from(rest.len() + 4).unwrap_or_default();
            [&[code, length], &(u16::from(length) + 4).to_ne_bytes()[..], rest].concat()
        };
        match self {
            Self::Ports(..) => Vec::new(),
            Self::PeerPort(port) => condition(BC_D_EQ, &[&[0, 0], &port.to_ne_bytes()[..]].concat()),
            Self::Address(address) => {
                let (family, octets) = match address.ip() {
                    IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
                    IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
                };
                let bits = if address.ip().is_unspecified() { 0 } else { octets.len() * 8 };
                let head = [family, u8::try_from(bits).unwrap_or_default(), 0, 0];
                condition(BC_S_COND, &[&head[..], &i32::from(address.port()).to_ne_bytes(), &octets].concat())
            }
        }
    }
}

/// Lists the sockets of one network namespace. Each call is one dump per address family, and takes microseconds.
#[derive(Debug)]
pub struct DiagSocket {
    exchange: Exchange,
    namespace: String,
    devices: DeviceNames,
}

impl DiagSocket {
    /// Opens a socket in the network namespace of the calling thread. `namespace` is its name in messages.
    ///
    /// # Errors
    /// If the socket can't be opened.
    pub fn open(namespace: &str, devices: DeviceNames) -> Result<Self, NetlinkError> {
        let exchange = Exchange::open(NETLINK_SOCK_DIAG)
            .map_err(|error| Cause::Io(error).of(format!("open a sock_diag socket in {namespace}")))?;
        Ok(Self { exchange, namespace: namespace.to_owned(), devices })
    }

    /// All subflow sockets, or those of the connection with that (local) token. Listening sockets are left out, and
    /// sockets in `TIME_WAIT`, which no longer belong to a connection.
    ///
    /// # Errors
    /// The kernel's refusal. Before Linux 6.18, the list is empty without `CAP_NET_ADMIN` in the user namespace that
    /// owns the network namespace.
    pub fn subflows(&self, token: Option<u32>) -> Result<Vec<SubflowState>, NetlinkError> {
        let mut found = self.dump("subflows", SUBFLOWS, decode_subflow)?;
        found.retain(|subflow| token.is_none_or(|token| token == subflow.token_local));
        Ok(found)
    }

    /// The subflow sockets of the connection with that (local) token, among those with these local and remote ends. The
    /// kernel looks up each of them (`inet_diag_dump_one_icsk`, net/ipv4/inet_diag.c), independent of the number of
    /// sockets.
    ///
    /// # Errors
    /// As [`DiagSocket::subflows`]. A socket that no longer exists is no error.
    pub fn subflows_between(
        &self,
        token: u32,
        ends: impl Iterator<Item = (SocketAddr, SocketAddr)>,
    ) -> Result<Vec<SubflowState>, NetlinkError> {
        let operation = || format!("look up a subflow in {}", self.namespace);
        let mut found = Vec::new();
        for (local, remote) in ends {
            let replies = match self.exchange.ask(lookup(local, remote)) {
                Err(Cause::Refused(refusal)) if refusal.errno == Errno::ENOENT as i32 => continue,
                answer => answer.map_err(|cause| cause.of(operation()))?,
            };
            for reply in &replies {
                let decoded = decode_subflow(&reply.payload, &self.devices);
                found.extend(decoded.map_err(|error| Cause::Undecodable(error.to_string()).of(operation()))?);
            }
        }
        found.retain(|subflow| subflow.token_local == token);
        Ok(found)
    }

    /// All MPTCP sockets that don't listen and pass a filter of the kernel. They have `MPTCP_INFO` for any user (`mptcp_diag_get_info`,
    /// net/mptcp/mptcp_diag.c).
    ///
    /// # Errors
    /// The kernel's refusal: `ENOENT` where it is built without `CONFIG_INET_MPTCP_DIAG`.
    pub fn connections(&self, filter: Filter) -> Result<Vec<MptcpSocket>, NetlinkError> {
        self.dump_with("connections", SUBFLOWS, (filter, &of_mptcp()), |payload, _| decode_connection(payload))
    }

    /// All MPTCP sockets that listen and pass a filter of the kernel.
    ///
    /// # Errors
    /// As [`DiagSocket::connections`].
    pub fn mptcp_listeners(&self, filter: Filter) -> Result<Vec<MptcpListener>, NetlinkError> {
        let decode = |payload: &[u8], _: &DeviceNames| {
            let SocketMessage { local: address, receive_queue: waiting, send_queue: backlog, .. } =
                SocketMessage::parse(payload)?;
            Ok(Some(MptcpListener { address, waiting, backlog }))
        };
        self.dump_with("MPTCP listeners", 1 << TCP_LISTEN, (filter, &of_mptcp()), decode)
    }

    /// The MPTCP socket with that token, if there is one. The kernel looks it up (`mptcp_diag_dump_one`,
    /// net/mptcp/mptcp_diag.c).
    ///
    /// # Errors
    /// As [`DiagSocket::connections`].
    pub fn connection(&self, token: u32) -> Result<Option<MptcpSocket>, NetlinkError> {
        let operation = || format!("look up the MPTCP socket with token {token:#x} in {}", self.namespace);
        let mut request = request(AF_INET, SUBFLOWS);
        if let Some(place) = request.payload.get_mut(COOKIE) {
            place.copy_from_slice(&token.to_ne_bytes());
        }
        request.payload.extend(of_mptcp());
        let replies = match self.exchange.ask(request) {
            Err(Cause::Refused(refusal)) if refusal.errno == Errno::ENOENT as i32 => return Ok(None),
            answer => answer.map_err(|cause| cause.of(operation()))?,
        };
        let Some(reply) = replies.first() else { return Ok(None) };
        decode_connection(&reply.payload).map_err(|error| Cause::Undecodable(error.to_string()).of(operation()))
    }

    /// All listeners, MPTCP and plain TCP.
    ///
    /// # Errors
    /// The kernel's refusal. Before Linux 6.18, all listeners look like plain ones without `CAP_NET_ADMIN` in the user
    /// namespace that owns the network namespace.
    pub fn listeners(&self) -> Result<Vec<Listener>, NetlinkError> {
        self.dump("listeners", 1 << TCP_LISTEN, |payload, _| decode_listener(payload).map(Some))
    }

    /// Aborts all TCP connections that aren't closed, including subflows (`tcp_abort`, net/ipv4/tcp.c). Closed ones end
    /// by themselves; before Linux 6.12 some of them would stay for ever if they were aborted.
    ///
    /// # Errors
    /// The kernel's refusal: `EOPNOTSUPP` where it is built without `CONFIG_INET_DIAG_DESTROY`.
    pub fn break_off(&self) -> Result<(), NetlinkError> {
        let operation = || format!("break off the connections in {}", self.namespace);
        for family in [AF_INET, AF_INET6] {
            let unclosed = request(family, 1 << TCP_ESTABLISHED | 1 << TCP_CLOSE_WAIT);
            let sockets = self.exchange.dump(unclosed).map_err(|cause| cause.of(operation()))?;
            for request in sockets.iter().filter_map(|socket| destruction(family, &socket.payload)) {
                match self.exchange.ask(request) {
                    // It may have ended meanwhile.
                    Err(Cause::Refused(refusal)) if refusal.errno == Errno::ENOENT as i32 => {}
                    answer => answer.map(drop).map_err(|cause| cause.of(operation()))?,
                }
            }
        }
        Ok(())
    }

    /// All sockets in those states (a bit per TCP state) for which the decoder returns a value.
    fn dump<T>(
        &self,
        what: &str,
        states: u32,
        decode: impl Fn(&[u8], &DeviceNames) -> Result<Option<T>, DecodeError>,
    ) -> Result<Vec<T>, NetlinkError> {
        self.dump_with(what, states, (Filter::ALL, &[]), decode)
    }

    /// The same, with a filter and attributes in the request.
    fn dump_with<T>(
        &self,
        what: &str,
        states: u32,
        (filter, attributes): (Filter, &[u8]),
        decode: impl Fn(&[u8], &DeviceNames) -> Result<Option<T>, DecodeError>,
    ) -> Result<Vec<T>, NetlinkError> {
        let operation = || format!("list the {what} in {}", self.namespace);
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let mut request = request(family, states);
            let (local, remote) = filter.ports();
            let ports = [local.to_be_bytes(), remote.to_be_bytes()].concat();
            request.payload.iter_mut().skip(PORTS).zip(ports).for_each(|(place, byte)| *place = byte);
            request.payload.extend(attributes);
            request.payload.extend(filter.attribute());
            for message in self.exchange.dump(request).map_err(|cause| cause.of(operation()))? {
                let decoded = decode(&message.payload, &self.devices)
                    .map_err(|error| Cause::Undecodable(error.to_string()).of(operation()))?;
                found.extend(decoded);
            }
        }
        Ok(found)
    }
}

/// What makes a request one for MPTCP sockets.
fn of_mptcp() -> Vec<u8> {
    let protocol = u32::try_from(IPPROTO_MPTCP).unwrap_or_default().to_ne_bytes();
    [&8_u16.to_ne_bytes(), &REQ_PROTOCOL.to_ne_bytes(), protocol.as_slice()].concat()
}

/// A request for a dump of TCP sockets with everything about them (`struct inet_diag_req_v2`).
fn request(family: u8, states: u32) -> RawMessage {
    let mut payload = vec![family, IPPROTO_TCP, EXTENSIONS, 0];
    payload.extend(states.to_ne_bytes());
    payload.resize(REQUEST_LENGTH, 0); // the socket's addresses: any
    RawMessage { kind: SOCK_DIAG_BY_FAMILY, payload }
}

/// A request for the one socket between these ends (`struct inet_diag_req_v2`).
fn lookup(local: SocketAddr, remote: SocketAddr) -> RawMessage {
    let (family, local_bytes, remote_bytes) = match (local.ip(), remote.ip()) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => (AF_INET, padded(&local.octets()), padded(&remote.octets())),
        (local, remote) => (AF_INET6, in_v6(local), in_v6(remote)),
    };
    let mut payload = vec![family, IPPROTO_TCP, EXTENSIONS, 0];
    payload.extend(u32::MAX.to_ne_bytes());
    payload.extend(local.port().to_be_bytes());
    payload.extend(remote.port().to_be_bytes());
    payload.extend(local_bytes);
    payload.extend(remote_bytes);
    payload.extend(0_u32.to_ne_bytes()); // any interface
    payload.extend([0xff; 8]); // INET_DIAG_NOCOOKIE, twice
    RawMessage { kind: SOCK_DIAG_BY_FAMILY, payload }
}

fn padded(octets: &[u8]) -> [u8; 16] {
    std::array::from_fn(|index| octets.get(index).copied().unwrap_or_default())
}

fn in_v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// A request to abort a connection from a dump: `struct inet_diag_msg` contains the `struct inet_diag_sockid` that
/// `struct inet_diag_req_v2` needs.
fn destruction(family: u8, told: &[u8]) -> Option<RawMessage> {
    let mut payload = vec![family, IPPROTO_TCP, 0, 0];
    payload.extend([0; 4]); // the states don't matter: it is that socket
    payload.extend(told.get(SOCKET_ID)?);
    Some(RawMessage { kind: SOCK_DESTROY, payload })
}

/// A socket (`struct inet_diag_msg`) with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SocketMessage<'a> {
    tcp_state: u8,
    local: SocketAddr,
    remote: SocketAddr,
    /// The index of the device that the socket is bound to; 0: none.
    interface: u32,
    /// `idiag_rqueue`, `idiag_wqueue`
    receive_queue: u32,
    send_queue: u32,
    attributes: &'a [u8],
}

impl<'a> SocketMessage<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (message, attributes) = bytes
            .split_first_chunk::<MESSAGE_LENGTH>()
            .ok_or_else(|| DecodeError::invalid_buffer("inet_diag_msg", bytes.len(), MESSAGE_LENGTH))?;
        let family = message[0];
        Ok(Self {
            tcp_state: message[1],
            // Ports and addresses are in network byte order, the rest in host byte order.
            local: SocketAddr::new(address(family, field(message, 8))?, u16::from_be_bytes(field(message, 4))),
            remote: SocketAddr::new(address(family, field(message, 24))?, u16::from_be_bytes(field(message, 6))),
            interface: u32::from_ne_bytes(field(message, 40)),
            receive_queue: u32::from_ne_bytes(field(message, 56)),
            send_queue: u32::from_ne_bytes(field(message, 60)),
            attributes,
        })
    }
}

/// The bytes of a field; the offsets are constants, so that it is always inside.
fn field<const N: usize>(message: &[u8; MESSAGE_LENGTH], offset: usize) -> [u8; N] {
    std::array::from_fn(|index| message.get(offset + index).copied().unwrap_or_default())
}

fn address(family: u8, bytes: [u8; 16]) -> Result<IpAddr, DecodeError> {
    match family {
        AF_INET => Ok(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        AF_INET6 => Ok(Ipv6Addr::from(bytes).into()),
        other => Err(DecodeError::from(format!("address family {other} of a socket"))),
    }
}

/// The upper layer protocol of a socket (`tcp_diag_put_ulp`, `net/ipv4/tcp_diag.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct UpperLayer<'a> {
    is_mptcp: bool,
    /// `MPTCP_SUBFLOW_ATTR_*`
    details: Option<&'a [u8]>,
}

impl<'a> UpperLayer<'a> {
    fn of(socket: &SocketMessage<'a>) -> Result<Self, DecodeError> {
        let mut found = Self::default();
        for attribute in attributes(socket.attributes) {
            let attribute = attribute?;
            if attribute.kind != ULP_INFO {
                continue;
            }
            for attribute in attributes(attribute.value) {
                let attribute = attribute?;
                match attribute.kind {
                    ULP_NAME => found.is_mptcp = attribute.text() == "mptcp",
                    ULP_MPTCP => found.details = Some(attribute.value),
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

/// Decodes one listening socket of a TCP dump: `struct inet_diag_msg` and its attributes.
///
/// # Errors
/// As [`decode_subflow`].
pub fn decode_listener(payload: &[u8]) -> Result<Listener, DecodeError> {
    let socket = SocketMessage::parse(payload)?;
    Ok(Listener { address: socket.local, mptcp: UpperLayer::of(&socket)?.is_mptcp })
}

/// Decodes one socket of a dump of MPTCP sockets. `None` without `MPTCP_INFO`.
fn decode_connection(payload: &[u8]) -> Result<Option<MptcpSocket>, DecodeError> {
    let socket = SocketMessage::parse(payload)?;
    let send_buffer = decode_options(socket.attributes)?.sndbuf;
    for attribute in attributes(socket.attributes) {
        let attribute = attribute?;
        if attribute.kind == u16::from(INFO) {
            let info = attribute.value.to_vec();
            let (local, remote, state) = (socket.local, socket.remote, socket.tcp_state);
            let has_unread = socket.receive_queue > 0;
            return Ok(Some(MptcpSocket { local, remote, state, has_unread, send_buffer, info }));
        }
    }
    Ok(None)
}

/// Decodes one socket of a TCP dump: `struct inet_diag_msg` and its attributes. `None` if it is no subflow.
///
/// # Errors
/// If the message is cut off, an attribute is malformed, or the family is neither IPv4 nor IPv6.
pub fn decode_subflow(payload: &[u8], devices: &DeviceNames) -> Result<Option<SubflowState>, DecodeError> {
    let socket = SocketMessage::parse(payload)?;
    let upper = UpperLayer::of(&socket)?;
    // Without the details the socket isn't a subflow yet, or no longer (subflow_get_info, net/mptcp/diag.c).
    let Some(details) = upper.details.filter(|_| upper.is_mptcp) else { return Ok(None) };
    let mut subflow = SubflowState {
        local: socket.local,
        remote: socket.remote,
        tcp_state: socket.tcp_state,
        local_id: 0,
        remote_id: 0,
        token_local: 0,
        flags: SubflowFlags::empty(),
        dev: (socket.interface != 0).then(|| devices.name(socket.interface)),
        tcp: None,
        options: Some(Box::new(decode_options(socket.attributes)?)),
    };
    for attribute in attributes(details) {
        let attribute = attribute?;
        match attribute.kind {
            subflow_attribute::TOKEN_LOC => subflow.token_local = attribute.u32()?,
            subflow_attribute::FLAGS => subflow.flags = SubflowFlags::from_bits_retain(attribute.u32()?),
            subflow_attribute::ID_REM => subflow.remote_id = attribute.u8()?,
            subflow_attribute::ID_LOC => subflow.local_id = attribute.u8()?,
            _ => {}
        }
    }
    Ok(Some(subflow))
}

/// The socket options among the attributes of a socket.
fn decode_options(bytes: &[u8]) -> Result<SubflowOptions, DecodeError> {
    let mut options = SubflowOptions::default();
    for attribute in attributes(bytes) {
        let attribute = attribute?;
        let word = |at: usize| attribute.value.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes);
        let bit = |at: usize, bit: u8| attribute.value.get(at).map(|byte| byte & bit != 0);
        match u8::try_from(attribute.kind).unwrap_or_default() {
            MARK => options.mark = Some(attribute.u32()?),
            TOS => options.tos = Some(attribute.u8()?),
            TCLASS => options.tclass = Some(attribute.u8()?),
            CONG => options.congestion = Some(attribute.text()),
            // SK_MEMINFO_RCVBUF and SK_MEMINFO_SNDBUF (include/uapi/linux/sock_diag.h)
            SKMEMINFO => (options.rcvbuf, options.sndbuf) = (word(4), word(12)),
            // struct inet_diag_sockopt: bits, the lowest first
            SOCKOPT => {
                options.freebind = bit(0, 1 << 2);
                options.transparent = bit(0, 1 << 5);
                options.bind_address_no_port = bit(1, 1);
            }
            _ => {}
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::fixture;

    fn devices() -> DeviceNames {
        [(1, "lo")].into_iter().collect()
    }

    /// What follows the netlink header.
    fn captured() -> Vec<Vec<u8>> {
        let messages = fixture::messages(include_str!("../../fixtures/netlink/sockets-6.18.hex"));
        messages.into_iter().map(|message| message[16..].to_vec()).collect()
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn captured_subflows_are_decoded() {
        let subflows: Vec<SubflowState> =
            captured().iter().filter_map(|payload| decode_subflow(payload, &devices()).unwrap()).collect();
        assert_eq!(subflows.len(), 5, "four of IPv4, one of IPv6, no listener");
        let server = address("127.0.0.1:9001");
        let join = subflows.iter().find(|subflow| subflow.flags.contains(SubflowFlags::JOIN_LOC)).unwrap();
        assert_eq!((join.local.ip(), join.remote, join.tcp_state), ([127, 0, 0, 2].into(), server, 1));
        assert_eq!((join.local_id, join.remote_id, join.dev.as_deref()), (5, 0, Some("lo")));
        assert!(join.flags.contains(SubflowFlags::BKUP_LOC | SubflowFlags::FULLY_ESTABLISHED));
        let first = subflows.iter().find(|subflow| subflow.token_local == join.token_local && subflow.local_id == 0);
        assert!(first.unwrap().flags.contains(SubflowFlags::MCAP_LOC));
        let other_end = subflows.iter().find(|subflow| subflow.remote == join.local).unwrap();
        assert_eq!((other_end.local, other_end.remote_id, other_end.dev.as_deref()), (server, 5, None));
        assert_ne!(other_end.token_local, join.token_local);
        let mapped = subflows.iter().find(|subflow| subflow.local.is_ipv6()).unwrap();
        assert_eq!(mapped.local, address("[::ffff:127.0.0.1]:9002"));
    }

    #[test]
    fn captured_listeners_are_decoded() {
        let all: Vec<Vec<u8>> = captured().into_iter().filter(|payload| payload[1] == TCP_LISTEN).collect();
        let listeners: Vec<Listener> = all.iter().map(|payload| decode_listener(payload).unwrap()).collect();
        let expected = ["127.0.0.1:9001", "[::]:9002"].map(|text| Listener { address: address(text), mptcp: true });
        assert_eq!(listeners, expected);
    }

    #[test]
    fn a_message_that_is_cut_off_is_an_error() {
        let message = captured().remove(0);
        assert!(decode_subflow(&message[..MESSAGE_LENGTH - 1], &devices()).is_err());
        assert!(decode_subflow(&message[..message.len() - 1], &devices()).is_err());
        assert_eq!(decode_subflow(&message[..MESSAGE_LENGTH], &devices()).unwrap(), None, "a plain socket");
        let unix = [&[1], &message[1..]].concat();
        assert!(decode_subflow(&unix, &devices()).is_err(), "address family 1");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), v6: bool) {
            let mut bytes = bytes;
            if let Some(family) = bytes.first_mut() {
                *family = if v6 { AF_INET6 } else { AF_INET };
            }
            let _ = (decode_subflow(&bytes, &devices()), decode_listener(&bytes), decode_connection(&bytes));
        }

        #[test]
        fn damaged_sockets_never_panic(
            socket in prop::sample::select(captured()),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut: prop::sample::Index,
        ) {
            let mut bytes = socket;
            for (at, value) in damage {
                *at.get_mut(&mut bytes) = value;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            let _ = (decode_subflow(&bytes, &devices()), decode_listener(&bytes));
        }
    }
}
