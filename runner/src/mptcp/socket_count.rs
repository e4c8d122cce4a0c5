//! Numbers of sockets of a namespace, one row each: what sock_diag lists, and what it finds when it is asked for a single
//! socket. Main type: [`SocketLists`].

use std::collections::BTreeSet;

use super::{MptcpInfo, TCP_ESTABLISHED};

/// What the kernel lists in a namespace at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SocketLists {
    /// MPTCP sockets that don't listen: their states, numbered as TCP states, and their `MPTCP_INFO`.
    pub mptcp: Vec<(u8, MptcpInfo)>,
    /// Those in which bytes wait to be read.
    pub unread: u64,
    /// The sizes of their send buffers.
    pub send_buffers: BTreeSet<u32>,
    /// Of the first [`ASKED_BY_PORTS`], those that the kernel lists when it is asked for their ports, and no other.
    pub by_ports: u64,
    /// Of the same, those that it lists when their ports are swapped.
    pub by_swapped_ports: u64,
    /// MPTCP sockets that the kernel finds by their tokens (`mptcp_diag_dump_one`, net/mptcp/mptcp_diag.c).
    pub found_by_token: u64,
    /// MPTCP sockets that listen.
    pub mptcp_listeners: u64,
    /// Connections that wait for accept().
    pub waiting: u64,
    /// The backlogs, added up.
    pub backlog: u64,
    /// Those that the kernel lists when it is asked for their port, and no other.
    pub listeners_by_port: u64,
    /// The same by their address and port.
    pub listeners_by_address: u64,
    /// The same with their port as the peer's: there is none.
    pub listeners_by_peer_port: u64,
    /// TCP sockets that belong to a connection.
    pub subflows: u64,
    /// Those that the kernel finds by their addresses, with the same token (`inet_diag_dump_one_icsk`,
    /// net/ipv4/inet_diag.c).
    pub found_by_addresses: u64,
    /// TCP sockets that listen.
    pub tcp_listeners: u64,
    /// MPTCP sockets, by `/proc/net/protocols`.
    pub in_use: u64,
}

/// A number: its word, its value, and its meaning.
pub type SocketCount = (&'static str, fn(&SocketLists) -> u64, &'static str);

/// The most MPTCP sockets that are asked for by their ports: each takes a walk through all.
pub const ASKED_BY_PORTS: usize = 16;

/// Each number.
pub static SOCKET_COUNTS: [SocketCount; 27] = [
    ("mptcp", |lists| count(lists, |_, _| true), "MPTCP sockets that don't listen."),
    (
        "established",
        |lists| count(lists, |state, _| state == TCP_ESTABLISHED),
        "Those of them in the state ESTABLISHED.",
    ),
    ("syn_sent", |lists| count(lists, |state, _| state == 2), "Those in SYN-SENT."),
    (
        "fin_wait1",
        |lists| count(lists, |state, _| state == 4),
        "Those in FIN-WAIT-1: their DATA_FIN isn't acknowledged.",
    ),
    ("fin_wait2", |lists| count(lists, |state, _| state == 5), "Those in FIN-WAIT-2: it is."),
    ("close_wait", |lists| count(lists, |state, _| state == 8), "Those in CLOSE-WAIT: the peer has sent a DATA_FIN."),
    ("last_ack", |lists| count(lists, |state, _| state == 9), "Those in LAST-ACK: both have, and this one was second."),
    ("closing", |lists| count(lists, |state, _| state == 11), "Those in CLOSING: both have, at about the same time."),
    ("closed", |lists| count(lists, |state, _| state == 7), "Those in CLOSE."),
    ("unread", |lists| lists.unread, "Those of them in which bytes wait to be read."),
    (
        "send_buffers",
        |lists| lists.send_buffers.len() as u64,
        "Different sizes of the send buffers of MPTCP sockets: 1, if all have the same.",
    ),
    ("fallback", |lists| count(lists, |_, info| info.fallback()), "Those of them that fell back to TCP."),
    (
        "remote_key",
        |lists| count(lists, |_, info| info.flags & 2 != 0),
        "Those of them that have received the peer's key.",
    ),
    ("tokens", tokens, "Different tokens of MPTCP sockets."),
    (
        "found_by_token",
        |lists| lists.found_by_token,
        "MPTCP sockets that the kernel finds when it is asked for their token.",
    ),
    (
        "by_ports",
        |lists| lists.by_ports,
        "Of the first 16 MPTCP sockets, those that the kernel lists when it is asked for their ports, and no other.",
    ),
    (
        "by_swapped_ports",
        |lists| lists.by_swapped_ports,
        "Of the same, those that it lists when it is asked for the local port as the peer's, and the other way round.",
    ),
    ("listeners", |lists| lists.mptcp_listeners, "MPTCP sockets that listen."),
    ("waiting", |lists| lists.waiting, "Connections that wait for accept() of an MPTCP listener."),
    ("backlog", |lists| lists.backlog, "The most that may wait, added up for all MPTCP listeners."),
    (
        "listeners_by_port",
        |lists| lists.listeners_by_port,
        "Those of them that the kernel finds when it is asked for their port.",
    ),
    (
        "listeners_by_address",
        |lists| lists.listeners_by_address,
        "Those of them that the kernel finds when it is asked for their address and port.",
    ),
    (
        "listeners_by_peer_port",
        |lists| lists.listeners_by_peer_port,
        "Those of them that the kernel finds when it is asked for their port as that of a peer.",
    ),
    ("subflows", |lists| lists.subflows, "TCP sockets that belong to an MPTCP connection."),
    (
        "found_by_addresses",
        |lists| lists.found_by_addresses,
        "Those of them that the kernel finds when it is asked for their addresses, with the same token.",
    ),
    ("tcp_listeners", |lists| lists.tcp_listeners, "TCP sockets that listen; each MPTCP listener has one."),
    ("in_use", |lists| lists.in_use, "MPTCP sockets that have a token, and listeners, by /proc/net/protocols."),
];

/// The words of these numbers.
pub static SOCKET_COUNT_WORDS: [&str; SOCKET_COUNTS.len()] = {
    let mut words = [""; SOCKET_COUNTS.len()];
    let mut index = 0;
    while index < words.len() {
        words[index] = SOCKET_COUNTS[index].0;
        index += 1;
    }
    words
};

fn count(lists: &SocketLists, which: impl Fn(u8, &MptcpInfo) -> bool) -> u64 {
    lists.mptcp.iter().filter(|(state, info)| which(*state, info)).count() as u64
}

fn tokens(lists: &SocketLists) -> u64 {
    let mut tokens: Vec<u32> = lists.mptcp.iter().map(|(_, info)| info.token).collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_counted_by_what_they_are() {
        let socket = |state, token, flags| (state, MptcpInfo { flags, token, ..MptcpInfo::default() });
        let mptcp = vec![socket(1, 7, 2), socket(1, 8, 1), socket(4, 8, 2)];
        let send_buffers = BTreeSet::from([7, 8]);
        let lists = SocketLists { mptcp, tcp_listeners: 5, send_buffers, ..SocketLists::default() };
        let value = |word: &str| SOCKET_COUNTS.iter().find(|(known, ..)| *known == word).map(|(_, get, _)| get(&lists));
        let words = ["mptcp", "established", "fallback", "remote_key", "tokens", "tcp_listeners", "in_use"];
        assert_eq!(words.map(|word| value(word).unwrap()), [3, 2, 1, 2, 2, 5, 0]);
        let words = ["fin_wait1", "fin_wait2", "close_wait", "send_buffers"];
        assert_eq!(words.map(|word| value(word).unwrap()), [1, 0, 0, 2]);
        assert_eq!(value("sockets"), None);
    }
}
