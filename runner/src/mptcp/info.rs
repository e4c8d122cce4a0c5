//! The kernel's information about a connection and its subflows: `MPTCP_INFO` and the ULP part of sock_diag.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::SubflowOptions;

/// `struct mptcp_info` (`include/uapi/linux/mptcp.h`). A field that this kernel does not report is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MptcpInfo {
    /// Additional subflows, without the initial one.
    pub subflows: u8,
    /// ADD_ADDRs sent and echoed.
    pub add_addr_signal: u8,
    /// ADD_ADDRs accepted.
    pub add_addr_accepted: u8,
    /// The limit of additional subflows.
    pub subflows_max: u8,
    /// The number of signal endpoints.
    pub add_addr_signal_max: u8,
    /// The limit of accepted ADD_ADDRs.
    pub add_addr_accepted_max: u8,
    /// Bit 0: fell back to TCP. Bit 1: the remote key was received.
    pub flags: u32,
    /// The local token.
    pub token: u32,
    /// The data sequence number of the next byte to be written.
    pub write_seq: u64,
    /// The oldest data sequence number that is not acknowledged.
    pub snd_una: u64,
    /// The next expected data sequence number.
    pub rcv_nxt: u64,
    /// Subflow endpoints used as a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_addr_used: Option<u8>,
    /// The number of subflow endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_addr_max: Option<u8>,
    /// DSS checksums are in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csum_enabled: Option<u8>,
    /// MPTCP-level retransmissions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u32>,
    /// Bytes retransmitted at the MPTCP level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_retrans: Option<u64>,
    /// Bytes sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_sent: Option<u64>,
    /// Bytes received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
    /// Bytes acknowledged by the peer at the MPTCP level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_acked: Option<u64>,
    /// All subflows, including the initial one while it is attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subflows_total: Option<u8>,
    /// The number of laminar endpoints (Linux 6.18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endp_laminar_max: Option<u8>,
    /// Milliseconds since data was last sent (Linux 6.10).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_data_sent: Option<u32>,
    /// Milliseconds since data was last received (Linux 6.10).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_data_recv: Option<u32>,
    /// Milliseconds since a DATA_ACK was last received (Linux 6.10).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ack_recv: Option<u32>,
    /// The number of bytes that the kernel filled in.
    pub size: u32,
}

/// A field of `struct mptcp_info` that scenarios can check: its name, its maximum value, its value if this kernel
/// reports it, and its description.
pub type InfoField = (&'static str, u64, fn(&MptcpInfo) -> Option<u64>, &'static str);

const U8: u64 = u8::MAX as u64;
const U32: u64 = u32::MAX as u64;

/// Each field. `csum_enabled` is a bool of the kernel (`mptcp_diag_fill_info`, net/mptcp/sockopt.c), `fallback` is one
/// bit of `flags`.
#[rustfmt::skip]
pub static INFO_FIELDS: [InfoField; 25] = [
    ("subflows", U8, |info| Some(info.subflows.into()), "Additional subflows, without the initial one."),
    ("add_addr_signal", U8, |info| Some(info.add_addr_signal.into()), "Addresses announced to the peer."),
    ("add_addr_accepted", U8, |info| Some(info.add_addr_accepted.into()), "Announced addresses of the peer that were accepted."),
    ("subflows_max", U8, |info| Some(info.subflows_max.into()), "The limit of additional subflows, as sampled when the socket was created."),
    ("add_addr_signal_max", U8, |info| Some(info.add_addr_signal_max.into()), "`signal` endpoints."),
    ("add_addr_accepted_max", U8, |info| Some(info.add_addr_accepted_max.into()), "The limit of accepted announcements."),
    ("flags", U32, |info| Some(info.flags.into()), "Bit 0: fallback to TCP; bit 1: the peer's key was received."),
    ("fallback", 1, |info| Some(info.fallback().into()), "Bit 0 of `flags`, as 0 or 1."),
    ("token", U32, |info| Some(info.token.into()), "The local token."),
    ("write_seq", u64::MAX, |info| Some(info.write_seq), "The data sequence number of the next byte to be written."),
    ("snd_una", u64::MAX, |info| Some(info.snd_una), "The oldest unacknowledged data sequence number."),
    ("rcv_nxt", u64::MAX, |info| Some(info.rcv_nxt), "The next expected data sequence number."),
    ("local_addr_used", U8, |info| info.local_addr_used.map(u64::from), "`subflow` endpoints in use as a source."),
    ("local_addr_max", U8, |info| info.local_addr_max.map(u64::from), "`subflow` endpoints."),
    ("csum_enabled", 1, |info| info.csum_enabled.map(u64::from), "1: DSS checksums are in use."),
    ("retransmits", U32, |info| info.retransmits.map(u64::from), "MPTCP-level retransmissions."),
    ("bytes_retrans", u64::MAX, |info| info.bytes_retrans, "Bytes retransmitted at the MPTCP level."),
    ("bytes_sent", u64::MAX, |info| info.bytes_sent, "Bytes sent."),
    ("bytes_received", u64::MAX, |info| info.bytes_received, "Bytes received."),
    ("bytes_acked", u64::MAX, |info| info.bytes_acked, "Bytes that the peer acknowledged."),
    ("subflows_total", U8, |info| info.subflows_total.map(u64::from), "All subflows, with the initial one while it lives."),
    ("endp_laminar_max", U8, |info| info.endp_laminar_max.map(u64::from), "`laminar` endpoints."),
    ("last_data_sent", U32, |info| info.last_data_sent.map(u64::from), "Milliseconds since data was sent."),
    ("last_data_recv", U32, |info| info.last_data_recv.map(u64::from), "Milliseconds since data was received."),
    ("last_ack_recv", U32, |info| info.last_ack_recv.map(u64::from), "Milliseconds since a DATA_ACK was received."),
];

/// The names of these fields.
pub static INFO_WORDS: [&str; INFO_FIELDS.len()] = {
    let mut words = [""; INFO_FIELDS.len()];
    let mut index = 0;
    while index < words.len() {
        words[index] = INFO_FIELDS[index].0;
        index += 1;
    }
    words
};

impl MptcpInfo {
    /// The field of `struct mptcp_info` of that name.
    pub fn described(name: &str) -> Option<&'static InfoField> {
        INFO_FIELDS.iter().find(|(known, ..)| *known == name)
    }

    /// The value of a field. `None`: there is no such field. `Some(None)`: this kernel does not report it.
    pub fn field(&self, name: &str) -> Option<Option<u64>> {
        Self::described(name).map(|(_, _, get, _)| get(self))
    }

    /// The maximum value of a field.
    pub fn largest(name: &str) -> u64 {
        Self::described(name).map_or(u64::MAX, |(_, most, ..)| *most)
    }

    /// The connection fell back to TCP.
    pub fn fallback(&self) -> bool {
        self.flags & 1 != 0
    }
}

bitflags::bitflags! {
    /// The flags of a subflow (`include/uapi/linux/mptcp.h`, `MPTCP_SUBFLOW_FLAG_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct SubflowFlags: u32 {
        /// The peer sent MP_CAPABLE: this is the initial subflow.
        const MCAP_REM = 1;
        /// This side sent MP_CAPABLE.
        const MCAP_LOC = 1 << 1;
        /// The peer sent MP_JOIN.
        const JOIN_REM = 1 << 2;
        /// This side sent MP_JOIN.
        const JOIN_LOC = 1 << 3;
        /// The peer asked for backup.
        const BKUP_REM = 1 << 4;
        /// This side asked for backup.
        const BKUP_LOC = 1 << 5;
        /// Fully established.
        const FULLY_ESTABLISHED = 1 << 6;
        /// Connected.
        const CONNECTED = 1 << 7;
        /// There is a valid mapping.
        const MAPVALID = 1 << 8;
        /// Unknown bits are kept, too.
        const _ = !0;
    }
}

impl Serialize for SubflowFlags {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bits().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SubflowFlags {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self::from_bits_retain)
    }
}

/// Selected fields of a subflow's `struct tcp_info` (`include/uapi/linux/tcp.h`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpInfo {
    /// The TCP state's number (1 = ESTABLISHED; `include/net/tcp_states.h`).
    pub state: u8,
    /// The smoothed round-trip time in microseconds.
    pub rtt_us: u32,
    /// The congestion window in segments.
    pub snd_cwnd: u32,
    /// Segments retransmitted in total.
    pub total_retrans: u32,
    /// Bytes that the peer acknowledged.
    pub bytes_acked: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent, retransmissions included.
    pub bytes_sent: u64,
    /// Bytes retransmitted.
    pub bytes_retrans: u64,
}

/// One subflow socket of a connection, from a sock_diag dump of its namespace (`INET_DIAG_ULP_INFO`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubflowState {
    /// The local address and port.
    pub local: SocketAddr,
    /// The remote address and port.
    pub remote: SocketAddr,
    /// The TCP state's number (1 = ESTABLISHED; `include/net/tcp_states.h`).
    pub tcp_state: u8,
    /// The local address id.
    pub local_id: u8,
    /// The remote address id.
    pub remote_id: u8,
    /// The token of the connection on this side.
    pub token_local: u32,
    /// The flags.
    pub flags: SubflowFlags,
    /// The device that the socket is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Its TCP state from the connection's own socket (`MPTCP_FULL_INFO`, or `MPTCP_SUBFLOW_ADDRS` with
    /// `MPTCP_TCPINFO`), if it was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpInfo>,
    /// Its socket options, as far as sock_diag shows them. Older recordings have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Box<SubflowOptions>>,
}

impl SubflowState {
    /// Whether the subflow can carry data: in ESTABLISHED (1) or CLOSE_WAIT (8), as for `__tcp_can_send`
    /// (include/net/tcp.h).
    pub fn is_usable(&self) -> bool {
        matches!(self.tcp_state, 1 | 8)
    }
}
