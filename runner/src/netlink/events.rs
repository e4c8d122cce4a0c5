//! The events of the path manager: [`EventSocket`] listens to a namespace, [`decode_event`] decodes.
//!
//! The socket is a bare one, without the netlink-proto connection that requests use: that would read ahead in its own
//! task, so that neither the time of reception nor "nothing is pending" would mean anything.
//!
//! Listening is not neutral: with the userspace path manager, the kernel accepts additional subflows and `ADD_ADDR`s
//! only while a process listens (`mptcp_userspace_pm_active`, `net/mptcp/pm_userspace.c`).

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{DecodeError, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlHeader;
use netlink_packet_generic::constants::GENL_HDRLEN;
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{AsyncSocket, TokioSocket};
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::attribute::attributes;
use super::exchange::{Exchange, RECEIVE_BUFFER, RawMessage, family};
use super::{Cause, DeviceNames, NetlinkError, pm};
use crate::mptcp::{EventKind, PmEvent};
use crate::nanos;

/// Room for thousands of unread events; each takes less than 1 KiB of it.
const SOCKET_BUFFER: usize = 8 * 1024 * 1024;

/// Something received from an [`EventSocket`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reception {
    /// When it was read, in nanoseconds since the epoch (`CLOCK_REALTIME`). The kernel gives events no time stamp.
    pub at: u64,
    /// What it was.
    pub what: Received,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// An event.
    Event(PmEvent),
    /// The buffer overflowed (ENOBUFS): at least one event is lost after those read so far.
    Lost,
    /// A message that isn't an event.
    Undecodable {
        /// The whole datagram.
        raw: Vec<u8>,
        /// What is wrong with it.
        reason: String,
    },
}

/// Listens to the path-manager events of one network namespace. They arrive in the order in which they happened.
pub struct EventSocket {
    socket: TokioSocket,
    namespace: String,
    devices: DeviceNames,
    family: u16,
    buffer: Vec<u8>,
}

impl AsFd for EventSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.socket_ref().as_fd()
    }
}

impl EventSocket {
    /// Listens to the network namespace that the calling thread is in, from now on. `namespace` is its name in
    /// messages.
    ///
    /// Must be called in a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// [`NoFamily`](Cause::NoFamily) if the kernel lacks MPTCP. EPERM without `CAP_NET_ADMIN` in the user namespace
    /// that owns the network namespace.
    pub fn open(namespace: &str, devices: DeviceNames) -> Result<Self, NetlinkError> {
        Self::try_open(namespace, devices)
            .map_err(|cause| cause.of(format!("listen to the path manager's events in {namespace}")))
    }

    fn try_open(namespace: &str, devices: DeviceNames) -> Result<Self, Cause> {
        let family = family(&Exchange::open(NETLINK_GENERIC)?, pm::FAMILY)?;
        let group = family.groups.iter().find(|(name, _)| name == pm::EVENT_GROUP).map(|(_, id)| *id);
        let group = group.ok_or_else(|| Cause::NoGroup { family: pm::FAMILY.into(), group: pm::EVENT_GROUP.into() })?;
        let mut tokio_socket = TokioSocket::new(NETLINK_GENERIC)?;
        let socket = tokio_socket.socket_mut();
        // An unbound socket may join a group, but receives nothing: its port ID is 0, like that of an event's sender,
        // and no socket receives its own broadcast (do_one_broadcast, net/netlink/af_netlink.c).
        socket.bind_auto()?;
        // Beyond rmem_max only with CAP_NET_ADMIN in the initial user namespace.
        if setsockopt(socket, sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
            setsockopt(socket, sockopt::RcvBuf, &SOCKET_BUFFER).map_err(io::Error::from)?;
        }
        socket.add_membership(group)?;
        Ok(Self {
            socket: tokio_socket,
            namespace: namespace.to_owned(),
            devices,
            family: family.id,
            buffer: Vec::with_capacity(RECEIVE_BUFFER),
        })
    }

    /// The size of the socket's buffer in bytes, as the kernel counts it (`SO_RCVBUF`, twice what was granted).
    pub fn buffer_size(&self) -> Result<usize, NetlinkError> {
        getsockopt(self.socket.socket_ref(), sockopt::RcvBuf).map_err(|errno| self.failed(errno.into()))
    }

    /// Waits for the next event. It is cancel-safe: no event is lost if the future is dropped.
    ///
    /// # Errors
    /// If the socket fails. Lost events are [`Received::Lost`], after which reading continues.
    pub async fn next(&mut self) -> Result<Reception, NetlinkError> {
        self.buffer.clear();
        let (socket, buffer) = (&self.socket, &mut self.buffer);
        let received = poll_fn(|context| socket.poll_recv_from(context, buffer)).await;
        self.reception(received.map(drop))
    }

    /// The next event, if one is pending. `None` means that every event that the kernel has emitted was read.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Reception>, NetlinkError> {
        self.buffer.clear();
        match self.socket.socket_ref().recv_from(&mut self.buffer, 0) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            received => self.reception(received.map(drop)).map(Some),
        }
    }

    /// Everything that is pending, in order.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn drain(&mut self) -> Result<Vec<Reception>, NetlinkError> {
        std::iter::from_fn(|| self.try_next().transpose()).collect()
    }

    fn reception(&self, received: io::Result<()>) -> Result<Reception, NetlinkError> {
        let at = nanos::now();
        let what = match received {
            // A datagram larger than the buffer is truncated, which its own length shows.
            Ok(()) => decode(&self.buffer, Some(self.family), &self.devices).map_or_else(
                |error| Received::Undecodable { raw: self.buffer.clone(), reason: error.to_string() },
                Received::Event,
            ),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => Received::Lost,
            Err(error) => return Err(self.failed(error)),
        };
        Ok(Reception { at, what })
    }

    fn failed(&self, error: io::Error) -> NetlinkError {
        Cause::Io(error).of(format!("read the path manager's events in {}", self.namespace))
    }
}

impl fmt::Debug for EventSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSocket").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Decodes one datagram: netlink header, generic netlink header with the event's number, attributes
/// (`enum mptcp_event_attr`, `include/uapi/linux/mptcp_pm.h`; sent by `mptcp_event*`, `net/mptcp/pm_netlink.c`).
///
/// Integers are in host byte order, but ports and addresses in network byte order. An attribute without a name here,
/// or of an unexpected size, is kept in [`PmEvent::unknown`].
///
/// # Errors
/// If it isn't exactly one well-formed message.
pub fn decode_event(datagram: &[u8], devices: &DeviceNames) -> Result<PmEvent, DecodeError> {
    decode(datagram, None, devices)
}

fn decode(datagram: &[u8], family: Option<u16>, devices: &DeviceNames) -> Result<PmEvent, DecodeError> {
    let message = NetlinkMessage::<RawMessage>::deserialize(datagram)?;
    let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
    if length.checked_next_multiple_of(4).is_none_or(|aligned| aligned < datagram.len()) {
        return Err(DecodeError::from("more than one message in a datagram"));
    }
    let NetlinkPayload::InnerMessage(message) = message.payload else {
        return Err(DecodeError::from("a netlink control message"));
    };
    if family.is_some_and(|family| family != message.kind) {
        return Err(DecodeError::from(format!("message type {} is not that of the family", message.kind)));
    }
    let header = GenlHeader::parse(&message.payload)?;
    let mut event = PmEvent::new(EventKind::from_number(header.cmd));
    for attribute in attributes(message.payload.get(GENL_HDRLEN..).unwrap_or_default()) {
        let attribute = attribute?;
        if event.take(attribute.kind, attribute.value, |index| devices.name(index)).is_none() {
            event.unknown.push((attribute.kind, attribute.hex()));
        }
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::netlink::attribute::hex;
    use crate::netlink::fixture;

    fn devices() -> DeviceNames {
        [(1, "lo")].into_iter().collect()
    }

    fn captured() -> Vec<Vec<u8>> {
        fixture::messages(include_str!("../../fixtures/netlink/events-6.18.hex"))
    }

    /// A datagram of the family 28 with one attribute.
    fn datagram(number: u8, kind: u16, value: &[u8]) -> Vec<u8> {
        let length = 24 + value.len();
        let mut bytes = u32::try_from(length).unwrap().to_ne_bytes().to_vec();
        bytes.extend(28_u16.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend([number, 1, 0, 0]);
        bytes.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(length.next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn captured_events_are_decoded() {
        let events: Vec<PmEvent> =
            captured().iter().map(|datagram| decode_event(datagram, &devices()).unwrap()).collect();
        let kinds: Vec<String> = events.iter().map(|event| event.kind.word()).collect();
        assert_eq!(
            kinds.join(" "),
            "listener_created created created established established announced sub_established sub_established \
             sub_priority removed sub_closed sub_closed listener_created created created established established \
             closed closed listener_closed"
        );
        assert!(events.iter().all(|event| event.unknown.is_empty()));

        let local = Some(IpAddr::from([127, 0, 0, 1]));
        let listener =
            PmEvent { family: Some(2), local, local_port: Some(9001), ..PmEvent::new(EventKind::ListenerCreated) };
        assert_eq!(events[0], listener);
        let server = events[1..3].iter().find(|event| event.server_side).unwrap();
        let client = events[1..3].iter().find(|event| !event.server_side).unwrap();
        assert_eq!((client.remote, client.remote_port), (local, Some(9001)));
        assert_eq!((client.local_port, client.remote_port), (server.remote_port, server.local_port));
        let announced = PmEvent {
            token: client.token,
            remote: Some([127, 0, 0, 3].into()),
            remote_port: Some(9001),
            remote_id: Some(10),
            ..PmEvent::new(EventKind::Announced)
        };
        assert_eq!(events[5], announced);
        let joined = events[6..8].iter().find(|event| event.token == client.token).unwrap();
        assert_eq!((joined.local, joined.local_id, joined.backup), (Some([127, 0, 0, 2].into()), Some(5), Some(0)));
        assert_eq!((joined.dev.as_deref(), joined.error), (Some("lo"), None));
        assert_eq!((events[8].token, events[8].backup), (server.token, Some(0)));
        assert_eq!(events[9].remote_id, Some(10));
        assert_eq!((events[10].error, events[10].local_id), (Some(111), Some(6)), "nobody listens there");
        assert!(events[13..17].iter().any(|event| event.family == Some(10)
            && event.local == Some(IpAddr::V6("::ffff:127.0.0.1".parse().unwrap()))
            && event.server_side));
    }

    #[test]
    fn flags_and_the_older_attribute_tell_the_server() {
        let flags = |bits: u16| decode_event(&datagram(1, 13, &bits.to_ne_bytes()), &devices()).unwrap();
        assert!(flags(2).server_side && !flags(2).deny_join_id0);
        assert!(flags(1).deny_join_id0 && !flags(1).server_side);
        assert_eq!(flags(3).unknown, []);
        assert_eq!(flags(1 << 2).unknown, [(13, hex(&4_u16.to_ne_bytes()))]);
        assert!(decode_event(&datagram(1, 18, &[1]), &devices()).unwrap().server_side);
        assert!(!decode_event(&datagram(1, 18, &[0]), &devices()).unwrap().server_side);
    }

    #[test]
    fn nothing_is_lost_that_has_no_name() {
        let event = decode_event(&datagram(99, 77, &[0xab, 1]), &devices()).unwrap();
        assert_eq!((event.kind, event.unknown), (EventKind::Unknown(99), vec![(77, "ab01".into())]));
        let event = decode_event(&datagram(3, 1, &[1, 2]), &devices()).unwrap();
        assert_eq!((event.token, event.unknown), (None, vec![(1, "0102".into())]), "a token has four bytes");
    }

    #[test]
    fn ports_are_big_endian_and_unknown_devices_have_a_number() {
        let event = decode_event(&datagram(15, 9, &[0x23, 0x29]), &devices()).unwrap();
        assert_eq!(event.local_port, Some(9001));
        let event = decode_event(&datagram(10, 15, &9_i32.to_ne_bytes()), &devices()).unwrap();
        assert_eq!(event.dev.as_deref(), Some("if9"));
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        let good = datagram(3, 1, &[0; 4]);
        assert!(decode(&good, Some(28), &devices()).is_ok());
        assert!(decode(&good, Some(29), &devices()).is_err(), "another family");
        assert!(decode_event(&good[..good.len() - 1], &devices()).is_err(), "cut off");
        assert!(decode_event(&[good.clone(), good].concat(), &devices()).is_err(), "two messages");
        assert!(decode_event(&[], &devices()).is_err(), "nothing");
        let mut error = datagram(3, 1, &[0; 4]);
        error[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert!(decode_event(&error, &devices()).is_err(), "NLMSG_ERROR");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode_event(&bytes, &devices());
        }

        #[test]
        fn damaged_events_never_panic(
            event in prop::sample::select(captured()),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut: prop::sample::Index,
        ) {
            let mut bytes = event;
            for (at, value) in damage {
                *at.get_mut(&mut bytes) = value;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            let _ = decode_event(&bytes, &devices());
        }

        #[test]
        fn any_attribute_is_kept(number: u8, kind in 19_u16..0x3fff, value in prop::collection::vec(any::<u8>(), 0..40)) {
            let event = decode_event(&datagram(number, kind, &value), &devices()).unwrap();
            prop_assert_eq!(event.kind.number(), number);
            prop_assert_eq!(event.unknown, [(kind, hex(&value))]);
        }
    }
}
