//! The client: sends requests, reads dumps.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::tc::TcMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::libc::MSG_DONTWAIT;

use crate::netlink::{Cause, NetlinkError, Refusal};

use super::{AddressState, LinkState, QueueState, Request, RouteState};

/// More than the kernel puts into one datagram of a dump (`netlink_dump`, `net/netlink/af_netlink.c`: 32 KiB).
const BUFFER: usize = 64 * 1024;
/// So many requests go in one datagram. Each ACK takes its share of the receive buffer, of at least 208 KiB.
const BATCH: usize = 64;
/// How often a dump is repeated that something else disturbed.
const DUMPS: usize = 16;

/// An rtnetlink socket in one network namespace.
pub struct RouteClient {
    /// The name of the namespace, for errors.
    place: String,
    socket: Socket,
    sequence: Cell<u32>,
    buffer: RefCell<Vec<u8>>,
}

impl fmt::Debug for RouteClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteClient").field("place", &self.place).finish_non_exhaustive()
    }
}

impl RouteClient {
    /// Opens a socket in the network namespace of the calling thread. It stays there, wherever the thread goes.
    /// `place` is the name of the namespace in errors.
    ///
    /// # Errors
    ///
    /// The socket can't be opened.
    pub fn open(place: &str) -> Result<Self, NetlinkError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            io::Result::Ok(socket)
        };
        let socket = open().map_err(|error| Cause::Io(error).of(format!("open a netlink socket in {place}")))?;
        Ok(Self {
            place: place.to_owned(),
            socket,
            sequence: Cell::new(0),
            buffer: RefCell::new(Vec::with_capacity(BUFFER)),
        })
    }

    /// Has the kernel do one thing.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or doesn't acknowledge.
    pub fn request(&self, request: Request) -> Result<(), NetlinkError> {
        self.submit(vec![request])
    }

    /// Has the kernel do these things, in this order, with as few system calls as possible.
    ///
    /// # Errors
    ///
    /// Of the first request that failed. Those after it were tried all the same.
    pub fn submit(&self, mut requests: Vec<Request>) -> Result<(), NetlinkError> {
        let mut result = Ok(());
        while !requests.is_empty() {
            let rest = requests.split_off(requests.len().min(BATCH));
            result = result.and(self.submit_batch(requests));
            requests = rest;
        }
        result
    }

    fn submit_batch(&self, requests: Vec<Request>) -> Result<(), NetlinkError> {
        let mut datagram = Vec::new();
        let mut waiting = Vec::with_capacity(requests.len());
        for request in requests {
            let sequence = self.append(&mut datagram, request.message, request.flags);
            waiting.push((sequence, request.operation));
        }
        let words = |operation: &str| format!("{operation} in {}", self.place);
        let Some((_, first)) = waiting.first() else { return Ok(()) };
        self.socket.send(&datagram, 0).map_err(|error| Cause::Io(error).of(words(first)))?;

        // The kernel works through the datagram in its order and answers each request, the failed ones, too.
        let mut result = Ok(());
        let mut waiting = waiting.into_iter().peekable();
        while let Some((_, operation)) = waiting.peek() {
            let messages = self.receive().map_err(|cause| cause.of(words(operation)))?;
            for message in messages {
                let NetlinkPayload::Error(answer) = &message.payload else { continue };
                let expected = waiting.next_if(|(sequence, _)| *sequence == message.header.sequence_number);
                let Some((_, operation)) = expected else { continue };
                if let Some(refusal) = Refusal::from_error(&message.header, answer) {
                    result = result.and(Err(Cause::Refused(refusal).of(words(&operation))));
                }
            }
        }
        result
    }

    /// All interfaces.
    pub fn links(&self) -> Result<Vec<LinkState>, NetlinkError> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.dump("list the links", &request, |message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(LinkState::from(link)),
            _ => None,
        })
    }

    /// All addresses, IPv4 first.
    pub fn addresses(&self) -> Result<Vec<AddressState>, NetlinkError> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        self.dump("list the addresses", &request, |message| match message {
            RouteNetlinkMessage::NewAddress(address) => AddressState::from_message(&address),
            _ => None,
        })
    }

    /// All routes of all tables, IPv4 first.
    pub fn routes(&self) -> Result<Vec<RouteState>, NetlinkError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let request = RouteNetlinkMessage::GetRoute(message);
            routes.extend(self.dump("list the routes", &request, |message| match message {
                RouteNetlinkMessage::NewRoute(route) => RouteState::from_message(&route),
                _ => None,
            })?);
        }
        Ok(routes)
    }

    /// All queueing disciplines.
    pub fn queues(&self) -> Result<Vec<QueueState>, NetlinkError> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        self.dump("list the queueing disciplines", &request, |message| match message {
            RouteNetlinkMessage::NewQueueDiscipline(queue) => QueueState::from_message(&queue),
            _ => None,
        })
    }

    /// Reads a whole list; once more if it changed meanwhile (`NLM_F_DUMP_INTR`), as the kernel asks for
    /// (Documentation/userspace-api/netlink/intro.rst, "Dump consistency").
    fn dump<T>(
        &self,
        operation: &str,
        request: &RouteNetlinkMessage,
        pick: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut result = Err(Cause::Interrupted);
        for _ in 0..DUMPS {
            result = self.dump_once(request.clone(), &pick);
            if !matches!(result, Err(Cause::Interrupted)) {
                break;
            }
        }
        result.map_err(|cause| cause.of(format!("{operation} of {}", self.place)))
    }

    fn dump_once<T>(
        &self,
        request: RouteNetlinkMessage,
        pick: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, Cause> {
        let mut datagram = Vec::new();
        let sequence = self.append(&mut datagram, request, NLM_F_REQUEST | NLM_F_DUMP);
        self.socket.send(&datagram, 0)?;
        let mut items = Vec::new();
        let mut interrupted = false;
        loop {
            for message in self.receive()? {
                if message.header.sequence_number != sequence {
                    continue;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => items.extend(pick(inner)),
                    NetlinkPayload::Error(error) => {
                        let refusal = Refusal::from_error(&message.header, &error);
                        return refusal.map_or(Err(Cause::Unacknowledged), |refusal| Err(Cause::Refused(refusal)));
                    }
                    NetlinkPayload::Done(done) => {
                        return match Refusal::from_done(&done) {
                            Some(refusal) => Err(Cause::Refused(refusal)),
                            None if interrupted => Err(Cause::Interrupted),
                            None => Ok(items),
                        };
                    }
                    _ => {}
                }
            }
        }
    }

    /// Appends a message to a datagram and returns its sequence number.
    fn append(&self, datagram: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) -> u32 {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        let mut message = NetlinkMessage::from(message);
        message.header.sequence_number = sequence;
        message.header.flags = flags;
        message.finalize();
        let start = datagram.len();
        datagram.resize(start + message.buffer_len().next_multiple_of(4), 0);
        if let Some(room) = datagram.get_mut(start..) {
            message.serialize(room);
        }
        sequence
    }

    /// The messages of one datagram. It is there already, or it never comes: hence no waiting.
    fn receive(&self) -> Result<Vec<NetlinkMessage<RouteNetlinkMessage>>, Cause> {
        let mut buffer = self.buffer.borrow_mut();
        buffer.clear();
        match self.socket.recv(&mut *buffer, MSG_DONTWAIT) {
            Ok(_) => messages(&buffer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Cause::Unacknowledged),
            Err(error) => Err(Cause::Io(error)),
        }
    }
}

/// Decodes a datagram of several messages.
pub(super) fn messages<T: NetlinkDeserializable>(mut bytes: &[u8]) -> Result<Vec<NetlinkMessage<T>>, Cause> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let message = NetlinkMessage::deserialize(bytes).map_err(|error| Cause::Undecodable(error.to_string()))?;
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX).max(16).checked_next_multiple_of(4);
        bytes = length.and_then(|length| bytes.get(length..)).unwrap_or_default();
        messages.push(message);
    }
    Ok(messages)
}
