//! What can go wrong on netlink, in the kernel's own words.
//!
//! [`Refusal`] is an answer of the kernel: an errno and, since the sockets here ask for them
//! (`NETLINK_EXT_ACK`), the attributes of the extended ACK (`enum nlmsgerr_attrs`,
//! `include/uapi/linux/netlink.h`). [`NetlinkError`] is a failed operation with what was attempted, on what.

use std::fmt;
use std::io;
use std::time::Duration;

use netlink_packet_core::{DoneMessage, ErrorMessage, NLM_F_ACK_TLVS, NLM_F_CAPPED, NetlinkHeader};
use nix::errno::Errno;
use thiserror::Error;

use super::attribute::attributes;
use crate::errno::errno_symbol;

/// `sizeof(struct nlmsghdr)`
const NLMSG_HDRLEN: usize = 16;
/// `NLMSGERR_ATTR_MSG`, text.
const ATTR_MSG: u16 = 1;
/// `NLMSGERR_ATTR_OFFS`, u32.
const ATTR_OFFS: u16 = 2;
/// `NLMSGERR_ATTR_MISS_TYPE`, u32.
const ATTR_MISS_TYPE: u16 = 5;

/// The kernel's refusal of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The errno, positive.
    pub errno: i32,
    /// The kernel's own words (`NLMSGERR_ATTR_MSG`), if it had any.
    pub message: Option<String>,
    /// The type of an attribute that the request lacks (`NLMSGERR_ATTR_MISS_TYPE`).
    pub missing_attribute: Option<u16>,
    /// Where in the request the offending attribute begins, in bytes from the netlink header
    /// (`NLMSGERR_ATTR_OFFS`).
    pub offset: Option<u32>,
}

impl Refusal {
    /// The symbolic errno: `EINVAL`.
    pub fn symbol(&self) -> String {
        errno_symbol(self.errno)
    }

    /// A refusal without a message.
    pub fn from_errno(errno: i32) -> Self {
        Self { errno, message: None, missing_attribute: None, offset: None }
    }

    /// Decodes an `NLMSG_ERROR`; `None` if it is an ACK.
    pub fn from_error(header: &NetlinkHeader, error: &ErrorMessage) -> Option<Self> {
        let code = error.code?.get();
        // The request's header is always echoed, its payload only to sockets without NETLINK_CAP_ACK
        // (netlink_ack, net/netlink/af_netlink.c).
        let echoed = if header.flags & NLM_F_CAPPED == 0 { echoed_length(&error.header) } else { NLMSG_HDRLEN };
        let tlvs =
            if header.flags & NLM_F_ACK_TLVS == 0 { &[] } else { error.header.get(echoed..).unwrap_or_default() };
        Some(Self::new(code, tlvs))
    }

    /// Decodes an `NLMSG_DONE`; `None` if the dump was complete. A dump that fails midway reports it only here.
    pub fn from_done(done: &DoneMessage) -> Option<Self> {
        (done.code != 0).then(|| Self::new(done.code, &done.extended_ack))
    }

    fn new(code: i32, tlvs: &[u8]) -> Self {
        let mut refusal = Self::from_errno(code.saturating_abs());
        // Attributes after a damaged one are lost; the errno isn't.
        for attribute in attributes(tlvs).map_while(Result::ok) {
            match attribute.kind {
                ATTR_MSG => refusal.message = Some(attribute.text()),
                ATTR_OFFS => refusal.offset = attribute.u32().ok(),
                ATTR_MISS_TYPE => {
                    refusal.missing_attribute = attribute.u32().ok().and_then(|kind| kind.try_into().ok());
                }
                _ => {}
            }
        }
        refusal
    }
}

/// The length of the echoed request in an error message: its own length field, aligned.
fn echoed_length(echo: &[u8]) -> usize {
    let length = echo.first_chunk::<4>().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    usize::try_from(length).unwrap_or(usize::MAX).checked_next_multiple_of(4).unwrap_or(usize::MAX).max(NLMSG_HDRLEN)
}

impl fmt::Display for Refusal {
    /// `EINVAL: limit greater than maximum (8)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.symbol())?;
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        if let Some(kind) = self.missing_attribute {
            write!(f, ": the request lacks attribute {kind}")?;
        }
        Ok(())
    }
}

/// An operation on netlink that failed.
#[derive(Debug, Error)]
#[error("{operation}: {cause}")]
pub struct NetlinkError {
    /// What was attempted, on what: `add endpoint 10.0.2.1 signal in client`.
    pub operation: String,
    /// Why it failed.
    pub cause: Cause,
}

impl NetlinkError {
    /// The kernel's refusal, if that is what it was.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.cause {
            Cause::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// Why an operation on netlink failed.
#[derive(Debug, Error)]
pub enum Cause {
    /// The kernel answered with an error.
    #[error("{0}{advice}", advice = advice(.0.errno))]
    Refused(Refusal),
    /// The socket itself failed.
    #[error("{}", system_error(.0))]
    Io(#[from] io::Error),
    /// There was no answer in time.
    #[error("no answer from the kernel within {} s; is it stuck? See the kernel log", .0.as_secs())]
    NoAnswer(Duration),
    /// The task that serves the socket ended first.
    #[error(
        "the netlink connection ended before the kernel acknowledged the request: it may or may not have taken effect"
    )]
    Unacknowledged,
    /// The answer can't be decoded.
    #[error("the kernel's answer can't be decoded: {0}")]
    Undecodable(String),
    /// The list changed while it was dumped (`NLM_F_DUMP_INTR`).
    #[error("the list changed while the kernel dumped it")]
    Interrupted,
    /// The kernel lacks a generic netlink family.
    #[error("this kernel has no generic netlink family {0}; it must be built with CONFIG_MPTCP")]
    NoFamily(String),
    /// The family lacks a multicast group.
    #[error("the generic netlink family {family} of this kernel has no multicast group {group}")]
    NoGroup {
        /// The family.
        family: String,
        /// The group.
        group: String,
    },
    /// The request is invalid, and was not sent.
    #[error("{0}")]
    Invalid(String),
    /// The kernel accepted the request, but shows something else.
    #[error("the configuration read back differs: {0}")]
    Different(String),
    /// The namespace has no such device.
    #[error("no device {name}; expected one of: {known}")]
    NoDevice {
        /// Its name.
        name: String,
        /// The existing names.
        known: String,
    },
}

impl Cause {
    /// With what was attempted.
    pub fn of(self, operation: impl Into<String>) -> NetlinkError {
        NetlinkError { operation: operation.into(), cause: self }
    }
}

fn advice(errno: i32) -> &'static str {
    if errno == Errno::EPERM as i32 {
        "; this needs CAP_NET_ADMIN in the user namespace that owns the network namespace"
    } else {
        ""
    }
}

/// `EPERM: Operation not permitted`
fn system_error(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => format!("{}: {}{}", errno_symbol(errno), Errno::from_raw(errno).desc(), advice(errno)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroI32;

    use netlink_packet_core::{DefaultNla, Emitable, ErrorBuffer, Parseable};
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(attributes: &[DefaultNla]) -> Vec<u8> {
        let mut bytes = vec![0; attributes.buffer_len()];
        attributes.emit(&mut bytes);
        bytes
    }

    fn error(code: i32, flags: u16, echo_and_tlvs: &[u8]) -> (NetlinkHeader, ErrorMessage) {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let bytes = [&code.to_ne_bytes()[..], echo_and_tlvs].concat();
        let buffer = ErrorBuffer::new_checked(&bytes).unwrap();
        (header, ErrorMessage::parse(&buffer).unwrap())
    }

    #[test]
    fn an_extended_ack_is_decoded_with_and_without_the_echoed_payload() {
        let tlvs = bytes_of(&[
            DefaultNla::new(ATTR_MSG, b"limit greater than maximum (8)\0".to_vec()),
            DefaultNla::new(ATTR_OFFS, 20_u32.to_ne_bytes().to_vec()),
        ]);
        let expected = Refusal {
            errno: 22,
            message: Some("limit greater than maximum (8)".into()),
            missing_attribute: None,
            offset: Some(20),
        };
        let capped = [&[0; NLMSG_HDRLEN][..], &tlvs].concat();
        let (header, message) = error(-22, NLM_F_CAPPED | NLM_F_ACK_TLVS, &capped);
        assert_eq!(Refusal::from_error(&header, &message), Some(expected.clone()));

        // A request of 27 bytes is echoed as 28.
        let mut whole = vec![0; 28];
        whole[..4].copy_from_slice(&27_u32.to_ne_bytes());
        whole.extend(&tlvs);
        let (header, message) = error(-22, NLM_F_ACK_TLVS, &whole);
        assert_eq!(Refusal::from_error(&header, &message), Some(expected.clone()));
        assert_eq!(expected.to_string(), "EINVAL: limit greater than maximum (8)");
    }

    #[test]
    fn a_missing_attribute_is_named() {
        let tlvs = bytes_of(&[DefaultNla::new(ATTR_MISS_TYPE, 4_u32.to_ne_bytes().to_vec())]);
        let capped = [&[0; NLMSG_HDRLEN][..], &tlvs].concat();
        let (header, message) = error(-22, NLM_F_CAPPED | NLM_F_ACK_TLVS, &capped);
        let refusal = Refusal::from_error(&header, &message).unwrap();
        assert_eq!(refusal.missing_attribute, Some(4));
        assert_eq!(refusal.to_string(), "EINVAL: the request lacks attribute 4");
    }

    #[test]
    fn an_ack_is_no_refusal() {
        assert_eq!(Refusal::from_error(&NetlinkHeader::default(), &ErrorMessage::default()), None);
        assert_eq!(Refusal::from_done(&DoneMessage::default()), None);
    }

    #[test]
    fn without_the_flag_nothing_is_taken_for_words() {
        let (header, message) = error(-1, NLM_F_CAPPED, &[1; 64]);
        assert_eq!(Refusal::from_error(&header, &message), Some(Refusal::from_errno(1)));
    }

    proptest! {
        #[test]
        fn arbitrary_errors_never_panic(code: i32, flags: u16, rest: Vec<u8>) {
            let mut header = NetlinkHeader::default();
            header.flags = flags;
            let mut message = ErrorMessage::default();
            message.code = NonZeroI32::new(code);
            message.header.clone_from(&rest);
            prop_assert_eq!(Refusal::from_error(&header, &message).is_some(), code != 0);
            let mut done = DoneMessage::default();
            done.code = code;
            done.extended_ack = rest;
            prop_assert_eq!(Refusal::from_done(&done).is_some(), code != 0);
        }
    }
}
