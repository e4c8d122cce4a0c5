//! The vocabulary of MPTCP as ip-mptcp(8), RFC 8684 and the kernel use it: endpoints, limits, path-manager
//! events, socket information. Plain values; nothing here touches the kernel.

pub(crate) mod crypto;
mod endpoint;
mod event;
mod info;
mod monitor;
pub(crate) mod numbers;
mod side;
mod socket_count;
mod socket_option;
mod tcp_state;

pub use endpoint::{Endpoint, EndpointFlags, Limits};
pub use event::{EventFlags, EventKind, PmEvent};
pub use info::{INFO_FIELDS, INFO_WORDS, InfoField, MptcpInfo, SubflowFlags, SubflowState, TcpInfo};
pub use side::Side;
pub use socket_count::{ASKED_BY_PORTS, SOCKET_COUNT_WORDS, SOCKET_COUNTS, SocketCount, SocketLists};
pub use socket_option::{
    ANSWER_WORDS, FULL_INFO, OPTIONS, OptionForm, OptionValue, Reading, SocketOption, SubflowOptions, answer_of_word,
};
pub use tcp_state::{TCP_ESTABLISHED, TCP_SYN_SENT, tcp_state_word};

use std::net::IpAddr;

/// The protocol number of MPTCP sockets (`include/uapi/linux/in.h`, `IPPROTO_MPTCP`).
pub const IPPROTO_MPTCP: i32 = 262;

/// The socket option level of MPTCP (`include/linux/socket.h`, `SOL_MPTCP`).
pub const SOL_MPTCP: i32 = 284;

/// An address as people write it: `::ffff:10.0.1.1` becomes `10.0.1.1`.
///
/// The kernel treats both as the same endpoint (`mptcp_addresses_equal`, net/mptcp/pm.c), and a listener on `::`
/// reports its IPv4 peers in the mapped form.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}
