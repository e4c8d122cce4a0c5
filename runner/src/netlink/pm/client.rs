//! The client: a request, its ACK, its reply.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use genetlink::{GenetlinkError, GenetlinkHandle};
use netlink_packet_core::{
    DecodeError, Emitable as _, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_generic::GenlMessage;
use netlink_sys::AsyncSocket as _;
use netlink_sys::protocols::NETLINK_GENERIC;
use nix::errno::Errno;
use tokio::task::JoinHandle;

use super::{AddressParts, FAMILY, PmAttribute, PmCommand, PmMessage, endpoint_from_attributes};
use crate::mptcp::{Endpoint, EndpointFlags, Limits};
use crate::netlink::exchange::{Exchange, RawMessage, family};
use crate::netlink::{Cause, DeviceNames, NetlinkError, Refusal};
use crate::processors::in_parts;

/// Timeout for an answer. The kernel answers before the system call returns; what takes this long never comes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The kind of answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// By an ACK, after a reply if the command has one.
    Do,
    /// By any number of replies and `NLMSG_DONE`.
    Dump,
}

/// The endpoint that a command applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointSelector {
    /// The one with that id.
    Id(u8),
    /// The one with that address, and that port if it has one (host byte order).
    Address(IpAddr, Option<u16>),
}

/// A client of the path manager of one network namespace.
///
/// Each method sends one request and requires its acknowledgement: [`Refused`](Cause::Refused) is the kernel's own
/// answer, everything else means that it is unknown whether the request was carried out. Modifying commands need
/// `CAP_NET_ADMIN` in the user namespace that owns the network namespace, `get_*` and `dump_*` need nothing.
#[derive(Debug)]
pub struct PmClient {
    namespace: String,
    devices: DeviceNames,
    handle: GenetlinkHandle,
    connection: JoinHandle<()>,
}

impl Drop for PmClient {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl PmClient {
    /// Opens a client for the network namespace of the calling thread. `namespace` is its name in messages.
    ///
    /// Must be called in a tokio runtime with I/O and time enabled; a task of that runtime serves the socket.
    ///
    /// # Errors
    /// If the socket can't be opened. A kernel without MPTCP refuses only the first request.
    pub fn open(namespace: &str, devices: DeviceNames) -> Result<Self, NetlinkError> {
        let failed = |error| Cause::Io(error).of(format!("open a path manager socket in {namespace}"));
        let (mut connection, handle, _) = genetlink::new_connection().map_err(failed)?;
        // Without these, a stream that ends because its task died looks like a success (netlink-proto turns both
        // the ACK and its own end into the end of the stream), and an error in the middle of a dump like its end.
        connection.set_forward_ack(true);
        connection.set_forward_done(true);
        let socket = connection.socket_mut().socket_mut();
        socket.set_ext_ack(true).map_err(failed)?;
        socket.set_cap_ack(true).map_err(failed)?;
        Ok(Self { namespace: namespace.to_owned(), devices, handle, connection: tokio::spawn(connection) })
    }

    /// `ip mptcp endpoint add`. The kernel doesn't return the ID that it chose: the dump shows it.
    ///
    /// The kernel drops unknown flags without an error, and binds an endpoint with a port at once. Read the endpoint
    /// back.
    pub async fn add_endpoint(&self, endpoint: &Endpoint) -> Result<(), NetlinkError> {
        let operation = self.operation(format_args!("add endpoint {endpoint}"));
        let parts = AddressParts::of_endpoint(endpoint, &self.devices).map_err(|cause| cause.of(&operation))?;
        let message = PmMessage::new(PmCommand::AddAddr, [PmAttribute::Address(parts.attributes())]);
        self.acknowledged(&operation, message).await
    }

    /// `ip mptcp endpoint delete`. ID 0 needs an address: in each connection with that initial local address, the
    /// subflows from it are closed. It is no error if there are none (`mptcp_nl_remove_id_zero_address`).
    pub async fn delete_endpoint(&self, id: u8, address: Option<IpAddr>) -> Result<(), NetlinkError> {
        let operation = match address {
            Some(address) => self.operation(format_args!("delete endpoint id {id} {address}")),
            None => self.operation(format_args!("delete endpoint id {id}")),
        };
        let parts = AddressParts { id: Some(id), address, ..AddressParts::default() };
        let message = PmMessage::new(PmCommand::DelAddr, [PmAttribute::Address(parts.attributes())]);
        self.acknowledged(&operation, message).await
    }

    /// `ip mptcp endpoint show id`. With a token: among the addresses that the userspace path manager announced or uses
    /// for that connection. Linux 6.1 ignores the token.
    pub async fn get_endpoint(&self, id: u8, token: Option<u32>) -> Result<Endpoint, NetlinkError> {
        let operation = self.operation(format_args!("get endpoint id {id}{}", of_token(token)));
        let address = PmAttribute::Address(AddressParts::of_id(id).attributes());
        let attributes = [address].into_iter().chain(token.map(PmAttribute::Token));
        let message = PmMessage::new(PmCommand::GetAddr, attributes);
        let replies = self.request(&operation, message, RequestKind::Do).await?;
        let reply = only_reply(&operation, &replies)?;
        self.endpoint(&operation, reply)
    }

    /// `ip mptcp endpoint show`: all endpoints, ordered by ID. For the token see [`get_endpoint`](Self::get_endpoint).
    pub async fn dump_endpoints(&self, token: Option<u32>) -> Result<Vec<Endpoint>, NetlinkError> {
        let operation = self.operation(format_args!("dump the endpoints{}", of_token(token)));
        let message = PmMessage::new(PmCommand::GetAddr, token.map(PmAttribute::Token));
        let replies = self.request(&operation, message, RequestKind::Dump).await?;
        replies.iter().map(|reply| self.endpoint(&operation, reply)).collect()
    }

    /// `ip mptcp endpoint flush`: deletes all endpoints, and restarts the IDs. The limits stay.
    pub async fn flush(&self) -> Result<(), NetlinkError> {
        let operation = self.operation("flush the endpoints");
        self.acknowledged(&operation, PmMessage::new(PmCommand::FlushAddrs, [])).await
    }

    /// `ip mptcp limits set`. `None` leaves a limit unchanged; if the kernel refuses one, both stay unchanged.
    pub async fn set_limits(&self, subflows: Option<u32>, add_addr_accepted: Option<u32>) -> Result<(), NetlinkError> {
        let word = |name, value: Option<u32>| value.map_or_else(String::new, |value| format!(" {name} {value}"));
        let words = format!("set limits{}{}", word("subflows", subflows), word("add_addr_accepted", add_addr_accepted));
        let attributes =
            add_addr_accepted.map(PmAttribute::AddAddrAccepted).into_iter().chain(subflows.map(PmAttribute::Subflows));
        self.acknowledged(&self.operation(words), PmMessage::new(PmCommand::SetLimits, attributes)).await
    }

    /// `ip mptcp limits show`
    pub async fn get_limits(&self) -> Result<Limits, NetlinkError> {
        let operation = self.operation("get the limits");
        let message = PmMessage::new(PmCommand::GetLimits, []);
        let replies = self.request(&operation, message, RequestKind::Do).await?;
        let (mut subflows, mut add_addr_accepted) = (None, None);
        for attribute in &only_reply(&operation, &replies)?.attributes {
            match attribute {
                PmAttribute::Subflows(value) => subflows = Some(*value),
                PmAttribute::AddAddrAccepted(value) => add_addr_accepted = Some(*value),
                _ => {}
            }
        }
        subflows
            .zip(add_addr_accepted)
            .map(|(subflows, add_addr_accepted)| Limits { subflows, add_addr_accepted })
            .ok_or_else(|| Cause::Undecodable("the reply lacks a limit".into()).of(operation))
    }

    /// `ip mptcp endpoint change`. Only `BACKUP` and `FULLMESH` can change, and both are overwritten each time: a
    /// missing flag is cleared.
    pub async fn set_flags(&self, which: EndpointSelector, flags: EndpointFlags) -> Result<(), NetlinkError> {
        let (words, parts) = match which {
            EndpointSelector::Id(id) => (format!("id {id}"), AddressParts::of_id(id)),
            EndpointSelector::Address(address, port) => (
                port.map_or_else(|| address.to_string(), |port| format!("{address} port {port}")),
                AddressParts { port, ..AddressParts::of_address(address) },
            ),
        };
        let operation = self.operation(format_args!("change endpoint {words} to flags [{flags}]"));
        let parts = AddressParts { flags: Some(flags), ..parts };
        let message = PmMessage::new(PmCommand::SetFlags, [PmAttribute::Address(parts.attributes())]);
        self.acknowledged(&operation, message).await
    }

    /// Userspace path manager: sends an `ADD_ADDR`. The endpoint needs an ID; `SIGNAL` is set here. The kernel opens no
    /// listener for an announced port.
    pub async fn announce(&self, token: u32, endpoint: &Endpoint) -> Result<(), NetlinkError> {
        let endpoint = Endpoint { flags: endpoint.flags | EndpointFlags::SIGNAL, ..endpoint.clone() };
        let operation = self.operation(format_args!("announce {endpoint}{}", of_token(Some(token))));
        let parts = AddressParts::of_endpoint(&endpoint, &self.devices).map_err(|cause| cause.of(&operation))?;
        let attributes = [PmAttribute::Address(parts.attributes()), PmAttribute::Token(token)];
        self.acknowledged(&operation, PmMessage::new(PmCommand::Announce, attributes)).await
    }

    /// Userspace path manager: sends a `REMOVE_ADDR` for an address that was announced or that a subflow uses.
    pub async fn remove(&self, token: u32, id: u8) -> Result<(), NetlinkError> {
        let operation = self.operation(format_args!("remove address id {id}{}", of_token(Some(token))));
        let attributes = [PmAttribute::Token(token), PmAttribute::LocalId(id)];
        self.acknowledged(&operation, PmMessage::new(PmCommand::Remove, attributes)).await
    }

    /// Userspace path manager: starts a subflow from the endpoint's address. Success means that the SYN was sent. Linux
    /// 6.1 ignores the flags and the device.
    pub async fn create_subflow(
        &self,
        token: u32,
        endpoint: &Endpoint,
        remote: SocketAddr,
    ) -> Result<(), NetlinkError> {
        let operation = self.operation(format_args!("create subflow {endpoint} to {remote}{}", of_token(Some(token))));
        let mut local = AddressParts::of_endpoint(endpoint, &self.devices).map_err(|cause| cause.of(&operation))?;
        // Unlike an endpoint, a subflow may have address ID 0, that of the initial subflow's address.
        local.id = endpoint.id;
        let message = PmMessage::new(PmCommand::SubflowCreate, subflow(token, local, AddressParts::of_socket(remote)));
        self.acknowledged(&operation, message).await
    }

    /// Userspace path manager: closes the subflow with exactly these addresses and ports.
    pub async fn destroy_subflow(&self, token: u32, local: SocketAddr, remote: SocketAddr) -> Result<(), NetlinkError> {
        let operation = self.operation(format_args!("destroy subflow {local} to {remote}{}", of_token(Some(token))));
        let (local, remote) = (AddressParts::of_socket(local), AddressParts::of_socket(remote));
        let message = PmMessage::new(PmCommand::SubflowDestroy, subflow(token, local, remote));
        self.acknowledged(&operation, message).await
    }

    /// Userspace path manager: sends an `MP_PRIO` on the first subflow with these addresses. A port of 0 matches any.
    pub async fn set_subflow_flags(
        &self,
        token: u32,
        local: SocketAddr,
        remote: SocketAddr,
        flags: EndpointFlags,
    ) -> Result<(), NetlinkError> {
        let operation = self
            .operation(format_args!("change subflow {local} to {remote}{} to flags [{flags}]", of_token(Some(token))));
        let local = AddressParts { flags: Some(flags), ..AddressParts::of_socket(local) };
        let message = PmMessage::new(PmCommand::SetFlags, subflow(token, local, AddressParts::of_socket(remote)));
        self.acknowledged(&operation, message).await
    }

    /// Sends any request, valid or not, and returns the replies. `operation` is for the error message.
    pub async fn request(
        &self,
        operation: &str,
        message: PmMessage,
        kind: RequestKind,
    ) -> Result<Vec<PmMessage>, NetlinkError> {
        in_parts(ANSWER_TIMEOUT, self.exchange(message, kind))
            .await
            .unwrap_or(Err(Cause::NoAnswer(ANSWER_TIMEOUT)))
            .map_err(|cause| cause.of(operation))
    }

    async fn exchange(&self, message: PmMessage, kind: RequestKind) -> Result<Vec<PmMessage>, Cause> {
        let mut request = NetlinkMessage::from(GenlMessage::from_payload(message));
        request.header.flags = NLM_F_REQUEST
            | match kind {
                RequestKind::Do => NLM_F_ACK,
                RequestKind::Dump => NLM_F_DUMP,
            };
        let mut handle = self.handle.clone();
        let answers = handle.request(request).await.map_err(not_sent)?;
        collect(answers).await
    }

    async fn acknowledged(&self, operation: &str, message: PmMessage) -> Result<(), NetlinkError> {
        self.request(operation, message, RequestKind::Do).await.map(drop)
    }

    fn operation(&self, what: impl Display) -> String {
        format!("{what} in {}", self.namespace)
    }

    fn endpoint(&self, operation: &str, reply: &PmMessage) -> Result<Endpoint, NetlinkError> {
        reply
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                PmAttribute::Address(nest) => Some(endpoint_from_attributes(nest, &self.devices)),
                _ => None,
            })
            .unwrap_or_else(|| Err(DecodeError::from("the reply has no endpoint")))
            .map_err(|error| Cause::Undecodable(error.to_string()).of(operation))
    }
}

/// [`PmClient::flush`] in the network namespace of the calling thread, without a runtime.
///
/// # Errors
/// [`NoFamily`](Cause::NoFamily) if the kernel lacks MPTCP; its refusal.
pub fn flush_here(namespace: &str) -> Result<(), NetlinkError> {
    let flush = || {
        let exchange = Exchange::open(NETLINK_GENERIC)?;
        let kind = family(&exchange, FAMILY)?.id;
        let message = GenlMessage::from_payload(PmMessage::new(PmCommand::FlushAddrs, []));
        let mut payload = vec![0; message.buffer_len()];
        message.emit(&mut payload);
        exchange.ask(RawMessage { kind, payload }).map(drop)
    };
    flush().map_err(|cause: Cause| cause.of(format!("flush the endpoints in {namespace}")))
}

/// The replies up to the ACK or `NLMSG_DONE`, one of which must arrive.
async fn collect(
    answers: impl Stream<Item = Result<NetlinkMessage<GenlMessage<PmMessage>>, DecodeError>>,
) -> Result<Vec<PmMessage>, Cause> {
    let mut answers = std::pin::pin!(answers);
    let mut replies = Vec::new();
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(|error| Cause::Undecodable(error.to_string()))?;
        if answer.header.flags & NLM_F_DUMP_INTR != 0 {
            return Err(Cause::Interrupted);
        }
        match answer.payload {
            NetlinkPayload::InnerMessage(reply) => replies.push(reply.payload),
            NetlinkPayload::Error(error) => {
                return Refusal::from_error(&answer.header, &error).map_or(Ok(replies), |no| Err(Cause::Refused(no)));
            }
            NetlinkPayload::Done(done) => {
                return Refusal::from_done(&done).map_or(Ok(replies), |no| Err(Cause::Refused(no)));
            }
            _ => {
                let kind = answer.header.message_type;
                return Err(Cause::Undecodable(format!("unexpected message of type {kind}")));
            }
        }
    }
    Err(Cause::Unacknowledged)
}

/// Why a request wasn't sent, or its family wasn't found.
fn not_sent(error: GenetlinkError) -> Cause {
    match error {
        GenetlinkError::NetlinkError(io) if io.raw_os_error() == Some(Errno::ENOENT as i32) => {
            Cause::NoFamily(FAMILY.to_owned())
        }
        GenetlinkError::NetlinkError(io) => Cause::Io(io),
        GenetlinkError::DecodeError(error) => Cause::Undecodable(error.to_string()),
        GenetlinkError::AttributeNotFound(attribute) => Cause::Undecodable(format!("the family lacks {attribute}")),
        GenetlinkError::ProtocolError(_) | GenetlinkError::NoMessageReceived => Cause::Unacknowledged,
    }
}

fn only_reply<'a>(operation: &str, replies: &'a [PmMessage]) -> Result<&'a PmMessage, NetlinkError> {
    match replies {
        [reply] => Ok(reply),
        other => Err(Cause::Undecodable(format!("{} replies instead of one", other.len())).of(operation)),
    }
}

fn subflow(token: u32, local: AddressParts, remote: AddressParts) -> [PmAttribute; 3] {
    [
        PmAttribute::Address(local.attributes()),
        PmAttribute::Token(token),
        PmAttribute::RemoteAddress(remote.attributes()),
    ]
}

fn of_token(token: Option<u32>) -> String {
    token.map_or_else(String::new, |token| format!(" of connection {token:#010x}"))
}
