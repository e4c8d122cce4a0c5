//! The kernel's information about a connection and its subflows: `MPTCP_INFO` and the ULP part of sock_diag.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::SubflowOptions;

/// A field of `struct mptcp_info` that scenarios can check: its name, its maximum value, its value if this kernel
/// reports it, and its description.
pub type InfoField = (&'static str, u64, fn(&MptcpInfo) -> Option<u64>, &'static str);

const BIT: u64 = 1;
const U8: u64 = u8::MAX as u64;
const U32: u64 = u32::MAX as u64;
const U64: u64 = u64::MAX;

/// The least length: that of Linux 5.16.
const LEAST: usize = 48;

/// A number at an offset of the structure, in host byte order.
macro_rules! number {
    ($bytes:ident, $type:ty, $offset:literal) => {
        $bytes.get($offset..).and_then(<[u8]>::first_chunk).copied().map(<$type>::from_ne_bytes)
    };
}

/// The fields, one row each: name, type, offset, maximum and meaning. `later` ones have the length from which on a
/// kernel reports them. Of `reserved` bytes, 0 may also mean that the kernel doesn't use them yet.
macro_rules! info {
    (
        always { $($name:ident: $type:ty = $offset:literal, $most:ident, $doc:literal;)* }
        later { $($later:ident: $later_type:ty = $later_offset:literal from $length:literal, $later_most:ident, $later_doc:literal;)* }
        reserved { $($reserved:ident = $reserved_offset:literal, $reserved_doc:literal;)* }
    ) => {
        /// `struct mptcp_info` (`include/uapi/linux/mptcp.h`, Linux 7.3). A field that this kernel doesn't report is
        /// `None`: getsockopt(2) returns the length.
        #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct MptcpInfo {
            $(#[doc = $doc] pub $name: $type,)*
            $(
                #[doc = $later_doc]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $later: Option<$later_type>,
            )*
            $(
                #[doc = $reserved_doc]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $reserved: Option<u8>,
            )*
            /// The number of bytes that the kernel filled in.
            pub size: u32,
        }

        /// Each field. `csum_enabled` is a bool of the kernel (`mptcp_diag_fill_info`, net/mptcp/sockopt.c), `fallback`
        /// is one bit of `flags`.
        pub static INFO_FIELDS: &[InfoField] = &[
            $((stringify!($name), $most, |info| Some(info.$name.into()), $doc),)*
            ("fallback", BIT, |info| Some(info.fallback().into()), "Bit 0 of `flags`, as 0 or 1."),
            $((stringify!($later), $later_most, |info| info.$later.map(u64::from), $later_doc),)*
            $((stringify!($reserved), U8, |info| info.$reserved.map(u64::from), $reserved_doc),)*
        ];

        /// Fields in bytes that were reserved before.
        const RESERVED: &[&str] = &[$(stringify!($reserved)),*];

        impl MptcpInfo {
            /// The part of `struct mptcp_info` that a kernel has filled in. `None` if it is less than Linux 5.16 has.
            pub fn decode(bytes: &[u8]) -> Option<Self> {
                let length = bytes.len();
                (length >= LEAST).then_some(())?;
                Some(Self {
                    $($name: number!(bytes, $type, $offset)?,)*
                    $($later: number!(bytes, $later_type, $later_offset).filter(|_| length >= $length),)*
                    $($reserved: number!(bytes, u8, $reserved_offset).filter(|value| *value != 0),)*
                    size: u32::try_from(length).ok()?,
                })
            }
        }
    };
}

info! {
    always {
        subflows: u8 = 0, U8, "Additional subflows, without the initial one.";
        add_addr_signal: u8 = 1, U8, "Addresses announced to the peer.";
        add_addr_accepted: u8 = 2, U8, "Announced addresses of the peer that were accepted.";
        subflows_max: u8 = 3, U8, "The limit of additional subflows, as sampled when the socket was created.";
        add_addr_signal_max: u8 = 4, U8, "`signal` endpoints.";
        add_addr_accepted_max: u8 = 5, U8, "The limit of accepted announcements.";
        flags: u32 = 8, U32, "Bit 0: fallback to TCP; bit 1: the peer's key was received.";
        token: u32 = 12, U32, "The local token.";
        write_seq: u64 = 16, U64, "The data sequence number of the next byte to be written.";
        snd_una: u64 = 24, U64, "The oldest unacknowledged data sequence number.";
        rcv_nxt: u64 = 32, U64, "The next expected data sequence number.";
    }
    later {
        local_addr_used: u8 = 40 from 48, U8, "`subflow` endpoints in use as a source.";
        local_addr_max: u8 = 41 from 48, U8, "`subflow` endpoints.";
        csum_enabled: u8 = 42 from 48, BIT, "1: DSS checksums are in use.";
        // Padding in 48 bytes.
        retransmits: u32 = 44 from 80, U32, "MPTCP-level retransmissions.";
        bytes_retrans: u64 = 48 from 56, U64, "Bytes retransmitted at the MPTCP level.";
        bytes_sent: u64 = 56 from 64, U64, "Bytes sent.";
        bytes_received: u64 = 64 from 72, U64, "Bytes received.";
        bytes_acked: u64 = 72 from 80, U64, "Bytes that the peer acknowledged.";
        subflows_total: u8 = 80 from 81, U8, "All subflows, with the initial one while it lives.";
        // In 88 bytes there is padding where later kernels have the first of three times.
        last_data_sent: u32 = 84 from 96, U32, "Milliseconds since data was sent.";
        last_data_recv: u32 = 88 from 96, U32, "Milliseconds since data was received.";
        last_ack_recv: u32 = 92 from 96, U32, "Milliseconds since a DATA_ACK was received.";
    }
    reserved {
        endp_laminar_max = 81, "`laminar` endpoints (Linux 6.18).";
        endp_fullmesh_max = 82, "`fullmesh` endpoints (Linux 6.19).";
    }
}

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

    /// The kernel has this field in a byte that was reserved before: 0 may also mean that it doesn't use it yet.
    pub fn is_reserved(name: &str) -> bool {
        RESERVED.contains(&name)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A structure whose byte at each offset is that offset.
    fn counting(length: u8) -> Vec<u8> {
        (0..length).collect()
    }

    #[test]
    fn an_older_kernels_info_lacks_what_came_later() {
        let info = MptcpInfo::decode(&counting(48)).unwrap();
        assert_eq!((info.subflows, info.add_addr_accepted_max, info.csum_enabled), (0, 5, Some(42)));
        assert_eq!(info.token, u32::from_ne_bytes([12, 13, 14, 15]));
        assert_eq!((info.retransmits, info.bytes_sent, info.subflows_total), (None, None, None));
        assert_eq!(info.size, 48);
        assert_eq!(MptcpInfo::decode(&counting(47)), None);
    }

    #[test]
    fn a_newer_kernels_info_is_read_to_its_end_and_beyond() {
        let info = MptcpInfo::decode(&counting(96)).unwrap();
        assert_eq!(info.retransmits, Some(u32::from_ne_bytes([44, 45, 46, 47])));
        assert_eq!(info.bytes_acked, Some(u64::from_ne_bytes([72, 73, 74, 75, 76, 77, 78, 79])));
        assert_eq!(
            (info.subflows_total, info.endp_laminar_max, info.endp_fullmesh_max),
            (Some(80), Some(81), Some(82))
        );
        assert_eq!(info.last_data_sent, Some(u32::from_ne_bytes([84, 85, 86, 87])));
        assert_eq!(info.last_ack_recv, Some(u32::from_ne_bytes([92, 93, 94, 95])));
        assert_eq!(MptcpInfo::decode(&counting(88)).unwrap().last_data_sent, None);
        assert_eq!(MptcpInfo::decode(&counting(200)).unwrap().bytes_acked, info.bytes_acked);
    }

    #[test]
    fn a_reserved_byte_is_no_field() {
        let mut bytes = counting(96);
        bytes[81..84].fill(0);
        let info = MptcpInfo::decode(&bytes).unwrap();
        assert_eq!((info.endp_laminar_max, info.field("endp_fullmesh_max")), (None, Some(None)));
        assert!(MptcpInfo::is_reserved("endp_fullmesh_max") && !MptcpInfo::is_reserved("subflows_total"));
    }
}
