//! The initial settings of every namespace, independent of the host.
//!
//! A new network namespace has the kernel's defaults, but inherits from the initial one the IPv4 interface settings
//! (`devinet_init_net`, net/ipv4/devinet.c, and the sysctl `net.core.devconf_inherit_init_net`) and TCP's congestion
//! control and buffers (`tcp_sk_init`, net/ipv4/tcp_ipv4.c). On a host that forwards, for example, it would forward. A
//! scenario must behave the same everywhere.

use super::sysctl::{self, SysctlError};

/// Sysctls and their initial values. The order matters: writing `ip_forward` resets others (`inet_forward_change`,
/// net/ipv4/devinet.c).
const BASELINE: [(&str, &str); 27] = [
    // Inherited: a host that forwards must not make our hosts forward.
    ("net.ipv4.ip_forward", "0"),
    ("net.ipv4.conf.default.forwarding", "0"),
    ("net.ipv6.conf.all.forwarding", "0"),
    // Inherited: strict filtering drops packets to multihomed hosts.
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    // Inherited: a host answers for each of its addresses, and asks with the source address of the packet.
    ("net.ipv4.conf.all.arp_ignore", "0"),
    ("net.ipv4.conf.default.arp_ignore", "0"),
    ("net.ipv4.conf.all.arp_announce", "0"),
    ("net.ipv4.conf.default.arp_announce", "0"),
    // Joins are refused elsewhere under 2, and the server's SYN/ACK has no state.
    ("net.ipv4.tcp_syncookies", "1"),
    // They share the option space with MPTCP; TFO also puts data into the SYN.
    ("net.ipv4.tcp_timestamps", "1"),
    ("net.ipv4.tcp_sack", "1"),
    ("net.ipv4.tcp_fastopen", "1"),
    // Inherited: the times of segments, losses in queues, and the speed of transfers depend on it. Every kernel has
    // this one, and lets any user set it (`tcp_set_default_congestion_control`, net/ipv4/tcp_cong.c).
    ("net.ipv4.tcp_congestion_control", "reno"),
    // Inherited: the amount of data in flight. These are the kernel's defaults, unless the machine has little memory
    // (`tcp_init`, net/ipv4/tcp.c).
    ("net.ipv4.tcp_rmem", "4096 131072 6291456"),
    ("net.ipv4.tcp_wmem", "4096 16384 4194304"),
    // A peer that is busy with one ADD_ADDR drops another. It is retransmitted after this timeout, by default 120 s,
    // unless the kernel uses the subflows' retransmission timeout.
    ("net.mptcp.add_addr_timeout", "1"),
    // Inherited from the kernel command line.
    ("net.ipv6.conf.all.disable_ipv6", "0"),
    ("net.ipv6.conf.default.disable_ipv6", "0"),
    // An address must be usable at once, and nothing may be sent but the scenario's own packets.
    ("net.ipv6.conf.all.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    ("net.ipv6.conf.default.autoconf", "0"),
    ("net.ipv6.conf.default.router_solicitations", "0"),
    // No automatic link-local address: the testbed adds one with the first IPv6 address.
    ("net.ipv6.conf.default.addr_gen_mode", "1"),
    // A link keeps its addresses when it goes down and up again, as is always so for IPv4.
    ("net.ipv6.conf.all.keep_addr_on_down", "1"),
    ("net.ipv6.conf.default.keep_addr_on_down", "1"),
];

/// The initial settings of a path's namespace: it has no host, so nothing in it may answer or announce anything.
const PATH: [(&str, &str); 4] = [
    ("net.ipv6.conf.all.disable_ipv6", "1"),
    ("net.ipv6.conf.default.disable_ipv6", "1"),
    ("net.ipv4.ip_forward", "0"),
    ("net.ipv4.conf.default.forwarding", "0"),
];

/// Sets the initial settings in the namespace of the calling thread. Sysctls that the kernel lacks (all of IPv6, say)
/// are left out: they can't differ.
///
/// # Errors
///
/// [`SysctlError`] if one of them can't be set.
pub(super) fn apply() -> Result<(), SysctlError> {
    ensure_all(&BASELINE)
}

/// Sets the initial settings of a path's namespace in the namespace of the calling thread.
///
/// # Errors
///
/// [`SysctlError`] if one of them can't be set.
pub(super) fn apply_to_path() -> Result<(), SysctlError> {
    ensure_all(&PATH)
}

fn ensure_all(wanted: &[(&str, &str)]) -> Result<(), SysctlError> {
    for (name, value) in wanted {
        match sysctl::ensure(name, value) {
            Err(error) if error.is_missing() => {}
            result => result?,
        }
    }
    Ok(())
}
