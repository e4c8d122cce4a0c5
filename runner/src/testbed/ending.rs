//! The end of a namespace: removing what would keep it alive after its last descriptor.
//!
//! It must go, with its interfaces and their memory: worlds follow each other quickly, and a thousand leftovers would
//! exhaust the machine.

use crate::netlink::diag::DiagSocket;
use crate::netlink::pm;

use super::{Node, sysctl};

/// How often TCP retransmits unacknowledged data, for closed sockets and for open ones (`tcp_write_timeout`,
/// net/ipv4/tcp_timer.c), among them those of closed MPTCP sockets that fell back. By default they try for minutes.
const RETRIES: [(&str, &str); 2] = [("net.ipv4.tcp_orphan_retries", "1"), ("net.ipv4.tcp_retries2", "1")];

/// Releases a namespace that is no longer used: connections that are still open in it are aborted. Where the kernel
/// can't do that, the namespace ends later; there is nobody left to tell.
pub(super) fn let_go(node: &Node) {
    let _ = node.run(|| {
        for (name, value) in RETRIES {
            let _ = sysctl::write(name, value);
        }
        let Ok(diag) = DiagSocket::open(node.name(), node.devices()) else { return };
        // A closed connection of MPTCP waits a minute for the acknowledgment of its end, whatever
        // `net.mptcp.close_timeout` says (mptcp_close_timeout, net/mptcp/ctrl.c), unless it has no subflow any more.
        let _ = diag.break_off();
        // The listener of an endpoint with a port refers to its namespace (mptcp_subflow_create_socket,
        // net/mptcp/subflow.c), which deletes its endpoints only when nothing refers to it: never. Without a listener,
        // the kernel is spared the flush, in which it waits for an RCU grace period.
        if !diag.listeners().is_ok_and(|listeners| listeners.is_empty()) {
            let _ = pm::flush_here(node.name());
        }
    });
}
