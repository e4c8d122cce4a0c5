//! A plain exchange with the kernel on one socket: a request and its answers, without a task in between.
//!
//! The kernel queues its answer, or the first part of a dump, on the socket before `sendto` returns, and each further
//! part before `recvfrom` returns (`netlink_rcv_skb` and `netlink_dump`, `net/netlink/af_netlink.c`). So the socket is
//! non-blocking, and an answer that hasn't arrived won't come.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_generic::ctrl::nlas::{GenlCtrlAttrs, McastGrpAttrs};
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily as _, GenlMessage};
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::libc::MSG_TRUNC;

use super::{Cause, Refusal};

/// The largest part of a dump (`netlink_recvmsg` lets it grow to the reader's buffer, up to 32 KiB).
pub(super) const RECEIVE_BUFFER: usize = 32 * 1024;

/// A message of any family: its type and what follows the netlink header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawMessage {
    /// `nlmsg_type`
    pub(super) kind: u16,
    /// What follows `struct nlmsghdr`.
    pub(super) payload: Vec<u8>,
}

impl NetlinkSerializable for RawMessage {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.payload.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.payload);
    }
}

impl NetlinkDeserializable for RawMessage {
    type Error = Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Infallible> {
        Ok(Self { kind: header.message_type, payload: payload.to_vec() })
    }
}

/// A bound, non-blocking socket that asks for extended ACKs.
#[derive(Debug)]
pub(super) struct Exchange {
    socket: Socket,
    sequence: Cell<u32>,
}

impl Exchange {
    /// Makes the socket in the network namespace of the calling thread.
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.set_non_blocking(true)?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.bind_auto()?;
        Ok(Self { socket, sequence: Cell::new(0) })
    }

    /// One request, its replies, its ACK.
    pub(super) fn ask(&self, message: RawMessage) -> Result<Vec<RawMessage>, Cause> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK)
    }

    /// One request for a list, the list, its end.
    pub(super) fn dump(&self, message: RawMessage) -> Result<Vec<RawMessage>, Cause> {
        self.send(message, NLM_F_REQUEST | NLM_F_DUMP)
    }

    /// Several requests in one datagram, each with its flags (`NLM_F_REQUEST` and `NLM_F_ACK` are added). The kernel
    /// processes them in order, even if some fail (`netlink_rcv_skb`). Each has an answer: its refusal, or `None` for
    /// an ACK.
    pub(super) fn ask_all(&self, requests: Vec<(RawMessage, u16)>) -> Result<Vec<Option<Refusal>>, Cause> {
        let with_ack = requests.into_iter().map(|(message, flags)| (message, flags | NLM_F_REQUEST | NLM_F_ACK));
        let answer = |sequence| match self.take(sequence) {
            Ok(_) => Ok(None),
            Err(Cause::Refused(refusal)) => Ok(Some(refusal)),
            Err(cause) => Err(cause),
        };
        self.post(with_ack)?.into_iter().map(answer).collect()
    }

    fn send(&self, message: RawMessage, flags: u16) -> Result<Vec<RawMessage>, Cause> {
        let sequences = self.post([(message, flags)])?;
        let last = sequences.last().ok_or(Cause::Unacknowledged)?;
        self.take(*last)
    }

    /// Sends requests in one datagram; returns their sequence numbers.
    fn post(&self, requests: impl IntoIterator<Item = (RawMessage, u16)>) -> io::Result<Vec<u32>> {
        let mut datagram = Vec::new();
        let mut sequences = Vec::new();
        for (message, flags) in requests {
            let sequence = self.sequence.get().wrapping_add(1);
            self.sequence.set(sequence);
            let mut request = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(message));
            request.header.flags = flags;
            request.header.sequence_number = sequence;
            request.finalize();
            let mut bytes = vec![0; request.buffer_len()];
            request.serialize(&mut bytes);
            datagram.resize(datagram.len().next_multiple_of(4), 0);
            datagram.extend(bytes);
            sequences.push(sequence);
        }
        self.socket.send_to(&datagram, &SocketAddr::new(0, 0), 0)?;
        Ok(sequences)
    }

    /// The answers to the request with that number, which must be the next one to be answered.
    fn take(&self, sequence: u32) -> Result<Vec<RawMessage>, Cause> {
        let mut replies = Vec::new();
        let mut buffer = Vec::with_capacity(RECEIVE_BUFFER);
        loop {
            self.receive(&mut buffer)?;
            // An ACK or an error has its datagram to itself (netlink_ack): nobody else's answer is dropped here.
            if take_answers(&buffer, sequence, &mut replies)? {
                return Ok(replies);
            }
        }
    }

    fn receive(&self, buffer: &mut Vec<u8>) -> Result<(), Cause> {
        buffer.clear();
        match self.socket.recv_from(buffer, MSG_TRUNC) {
            Ok((length, _)) if length > buffer.len() => {
                Err(Cause::Undecodable(format!("a datagram of {length} bytes exceeds the buffer of {}", buffer.len())))
            }
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => Err(Cause::Unacknowledged),
            Err(error) => Err(Cause::Io(error)),
        }
    }
}

/// Extracts the answers to the request from one datagram; true when they are complete.
fn take_answers(datagram: &[u8], sequence: u32, replies: &mut Vec<RawMessage>) -> Result<bool, Cause> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let undecodable = |error: netlink_packet_core::DecodeError| Cause::Undecodable(error.to_string());
        let length = NetlinkBuffer::new_checked(rest).map_err(undecodable)?.length();
        let message = NetlinkMessage::<RawMessage>::deserialize(rest).map_err(undecodable)?;
        let step = usize::try_from(length).unwrap_or(usize::MAX).checked_next_multiple_of(4).unwrap_or(usize::MAX);
        rest = rest.get(step..).unwrap_or_default();
        if message.header.sequence_number != sequence {
            continue; // what is left of an exchange that was broken off
        }
        if message.header.flags & NLM_F_DUMP_INTR != 0 {
            return Err(Cause::Interrupted);
        }
        let refusal = match message.payload {
            NetlinkPayload::InnerMessage(reply) => {
                replies.push(reply);
                continue;
            }
            NetlinkPayload::Error(error) => Refusal::from_error(&message.header, &error),
            NetlinkPayload::Done(done) => Refusal::from_done(&done),
            _ => {
                let kind = message.header.message_type;
                return Err(Cause::Undecodable(format!("unexpected message of type {kind}")));
            }
        };
        return refusal.map_or(Ok(true), |refusal| Err(Cause::Refused(refusal)));
    }
    Ok(false)
}

/// A generic netlink family: its message type, and the ids of its multicast groups by name. Both are numbered when
/// the kernel starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) id: u16,
    pub(super) groups: Vec<(String, u32)>,
}

/// Looks up a family at nlctrl (`ctrl_getfamily`, net/netlink/genetlink.c). The socket's protocol is `NETLINK_GENERIC`.
pub(super) fn family(exchange: &Exchange, name: &str) -> Result<Family, Cause> {
    let control = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![GenlCtrlAttrs::FamilyName(name.to_owned())] };
    let kind = control.family_id();
    let message = GenlMessage::from_payload(control);
    let mut payload = vec![0; NetlinkSerializable::buffer_len(&message)];
    message.serialize(&mut payload);
    let replies = exchange.ask(RawMessage { kind, payload }).map_err(|cause| match cause {
        Cause::Refused(refusal) if refusal.errno == Errno::ENOENT as i32 => Cause::NoFamily(name.to_owned()),
        other => other,
    })?;
    let mut found = Family { id: 0, groups: Vec::new() };
    for reply in &replies {
        let mut header = NetlinkHeader::default();
        header.message_type = reply.kind;
        let reply = GenlMessage::<GenlCtrl>::deserialize(&header, &reply.payload)
            .map_err(|error| Cause::Undecodable(error.to_string()))?;
        for attribute in reply.payload.nlas {
            match attribute {
                GenlCtrlAttrs::FamilyId(id) => found.id = id,
                GenlCtrlAttrs::McastGroups(groups) => found.groups.extend(groups.iter().filter_map(|it| group(it))),
                _ => {}
            }
        }
    }
    if found.id == 0 { Err(Cause::Undecodable(format!("family {name} has no ID"))) } else { Ok(found) }
}

fn group(attributes: &[McastGrpAttrs]) -> Option<(String, u32)> {
    let (mut name, mut id) = (None, None);
    for attribute in attributes {
        match attribute {
            McastGrpAttrs::Name(text) => name = Some(text.clone()),
            McastGrpAttrs::Id(number) => id = Some(*number),
        }
    }
    name.zip(id)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkMessage;
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let raw = RawMessage { kind, payload: payload.to_vec() };
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(raw));
        message.header.sequence_number = sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
        message.serialize(&mut bytes[..message.buffer_len()]);
        bytes
    }

    #[test]
    fn answers_are_taken_up_to_the_end_and_only_ones_own() {
        let parts = [message(20, 7, b"old"), message(20, 8, b"first"), message(20, 8, b"second")];
        let mut replies = Vec::new();
        assert!(!take_answers(&parts.concat(), 8, &mut replies).unwrap(), "there is more to come");
        let done = message(3, 8, &0_i32.to_ne_bytes());
        assert!(take_answers(&done, 8, &mut replies).unwrap());
        let payloads: Vec<&[u8]> = replies.iter().map(|reply| reply.payload.as_slice()).collect();
        assert_eq!(payloads, [b"first".as_slice(), b"second"]);
    }

    #[test]
    fn a_dump_that_fails_half_way_is_refused() {
        let datagram = [message(20, 1, b"first"), message(3, 1, &(-22_i32).to_ne_bytes())].concat();
        let failed = take_answers(&datagram, 1, &mut Vec::new());
        assert!(matches!(&failed, Err(Cause::Refused(refusal)) if refusal.symbol() == "EINVAL"), "{failed:?}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, sequence in 0_u32..2) {
            let _ = take_answers(&bytes, sequence, &mut Vec::new());
        }

        #[test]
        fn arbitrary_messages_never_panic(
            messages in prop::collection::vec((0_u16..6, prop::collection::vec(any::<u8>(), 0..24)), 0..4),
        ) {
            let bytes = messages.iter().flat_map(|(kind, payload)| message(*kind, 1, payload)).collect::<Vec<u8>>();
            let _ = take_answers(&bytes, 1, &mut Vec::new());
        }
    }
}
