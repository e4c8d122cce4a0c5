//! What the kernel tells about a connection and its subflows: `MPTCP_INFO` and the ULP part of sock_diag.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// `struct mptcp_info` (`include/uapi/linux/mptcp.h`). A field that this kernel does not report is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MptcpInfo {
    /// Additional subflows, the first one not counted.
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
    /// Subflow endpoints there are.
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
    /// All subflows, the first one included while it is attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subflows_total: Option<u8>,
    /// Laminar endpoints there are (Linux 6.18).
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
    /// How many bytes of the structure the kernel filled in.
    pub size: u32,
}

impl MptcpInfo {
    /// The names of the fields of `struct mptcp_info` that are numbers one can expect something of.
    pub const FIELDS: [&'static str; 25] = [
        "subflows",
        "add_addr_signal",
        "add_addr_accepted",
        "subflows_max",
        "add_addr_signal_max",
        "add_addr_accepted_max",
        "flags",
        "fallback",
        "token",
        "write_seq",
        "snd_una",
        "rcv_nxt",
        "local_addr_used",
        "local_addr_max",
        "csum_enabled",
        "retransmits",
        "bytes_retrans",
        "bytes_sent",
        "bytes_received",
        "bytes_acked",
        "subflows_total",
        "endp_laminar_max",
        "last_data_sent",
        "last_data_recv",
        "last_ack_recv",
    ];

    /// The value of a field of `struct mptcp_info`. `None`: there is no such field. `Some(None)`: this kernel does not
    /// report it.
    pub fn field(&self, name: &str) -> Option<Option<u64>> {
        Some(match name {
            "subflows" => Some(self.subflows.into()),
            "add_addr_signal" => Some(self.add_addr_signal.into()),
            "add_addr_accepted" => Some(self.add_addr_accepted.into()),
            "subflows_max" => Some(self.subflows_max.into()),
            "add_addr_signal_max" => Some(self.add_addr_signal_max.into()),
            "add_addr_accepted_max" => Some(self.add_addr_accepted_max.into()),
            "flags" => Some(self.flags.into()),
            "fallback" => Some(self.fallback().into()),
            "token" => Some(self.token.into()),
            "write_seq" => Some(self.write_seq),
            "snd_una" => Some(self.snd_una),
            "rcv_nxt" => Some(self.rcv_nxt),
            "local_addr_used" => self.local_addr_used.map(u64::from),
            "local_addr_max" => self.local_addr_max.map(u64::from),
            "csum_enabled" => self.csum_enabled.map(u64::from),
            "retransmits" => self.retransmits.map(u64::from),
            "bytes_retrans" => self.bytes_retrans,
            "bytes_sent" => self.bytes_sent,
            "bytes_received" => self.bytes_received,
            "bytes_acked" => self.bytes_acked,
            "subflows_total" => self.subflows_total.map(u64::from),
            "endp_laminar_max" => self.endp_laminar_max.map(u64::from),
            "last_data_sent" => self.last_data_sent.map(u64::from),
            "last_data_recv" => self.last_data_recv.map(u64::from),
            "last_ack_recv" => self.last_ack_recv.map(u64::from),
            _ => return None,
        })
    }

    /// The greatest value that a field can have (`struct mptcp_info`). `csum_enabled` is a bool of the kernel
    /// (`mptcp_diag_fill_info`, net/mptcp/sockopt.c), `fallback` is one bit of `flags`.
    pub fn largest(name: &str) -> u64 {
        match name {
            "fallback" | "csum_enabled" => 1,
            "flags" | "token" | "retransmits" | "last_data_sent" | "last_data_recv" | "last_ack_recv" => {
                u32::MAX.into()
            }
            "write_seq" | "snd_una" | "rcv_nxt" | "bytes_retrans" | "bytes_sent" | "bytes_received" | "bytes_acked" => {
                u64::MAX
            }
            _ => u8::MAX.into(),
        }
    }

    /// The connection fell back to plain TCP.
    pub fn fallback(&self) -> bool {
        self.flags & 1 != 0
    }
}

bitflags::bitflags! {
    /// The flags of a subflow (`include/uapi/linux/mptcp.h`, `MPTCP_SUBFLOW_FLAG_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct SubflowFlags: u32 {
        /// The peer sent MP_CAPABLE: this is the first subflow.
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
        /// Bits that this version of mptcplab has no name for are kept, too.
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

/// What `struct tcp_info` (`include/uapi/linux/tcp.h`) says of a subflow, as far as it interests us.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpInfo {
    /// The TCP state's number (1 = ESTABLISHED; `include/net/tcp_states.h`).
    pub state: u8,
    /// The smoothed round-trip time in microseconds.
    pub rtt_us: u32,
    /// The congestion window in segments.
    pub snd_cwnd: u32,
    /// Segments retransmitted in all.
    pub total_retrans: u32,
    /// Bytes that the peer acknowledged.
    pub bytes_acked: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent, retransmissions included.
    pub bytes_sent: u64,
    /// Bytes sent again.
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
    /// What the connection's own socket tells of it (`MPTCP_FULL_INFO`, or `MPTCP_SUBFLOW_ADDRS` with `MPTCP_TCPINFO`),
    /// where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpInfo>,
}
