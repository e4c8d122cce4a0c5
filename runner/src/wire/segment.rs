//! One TCP segment as it was captured: addresses, flags and MPTCP options; the payload only by its length.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::MptcpOption;

bitflags::bitflags! {
    /// The flags of a TCP header (RFC 9293 section 3.1).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct TcpFlags: u8 {
        /// The sender is done.
        const FIN = 1;
        /// Opens.
        const SYN = 2;
        /// Aborts.
        const RST = 4;
        /// Push.
        const PSH = 8;
        /// The acknowledgment number counts.
        const ACK = 16;
        /// URG, ECE and CWR are kept, too.
        const _ = !0;
    }
}

impl Serialize for TcpFlags {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bits().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TcpFlags {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer).map(Self::from_bits_retain)
    }
}

/// One captured TCP segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes to.
    pub destination: SocketAddr,
    /// The flags.
    pub flags: TcpFlags,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgment number.
    pub acknowledgment: u32,
    /// The length of the payload in bytes. With segmentation offload it may exceed the MTU.
    pub payload: u32,
    /// All MPTCP options, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<MptcpOption>,
    /// The TCP options could not be walked to their end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub malformed: bool,
}
