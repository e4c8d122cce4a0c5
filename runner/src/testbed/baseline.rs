//! What every namespace starts from, whatever the host is set to.
//!
//! A new network namespace has the kernel's defaults, except that it takes the settings of IPv4's interfaces over
//! from the initial one (`devinet_init_net`, net/ipv4/devinet.c, and the sysctl `net.core.devconf_inherit_init_net`), and
//! TCP's congestion control and buffers (`tcp_sk_init`, net/ipv4/tcp_ipv4.c). On a host that forwards, for example, it would
//! forward. A scenario must behave the same everywhere.

use super::sysctl::{self, SysctlError};

/// Sysctls and the values that they start from. In this order: `ip_forward` resets others when it is written
/// (`inet_forward_change`, net/ipv4/devinet.c).
const BASELINE: [(&str, &str); 27] = [
    // Taken over: a host that forwards must not make our hosts forward.
    ("net.ipv4.ip_forward", "0"),
    ("net.ipv4.conf.default.forwarding", "0"),
    ("net.ipv6.conf.all.forwarding", "0"),
    // Taken over: strict filtering drops what a multihomed host receives.
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    // Taken over: a host answers for each of its addresses, and asks with the address that it sends from.
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
    // Taken over: what is sent when, what is lost in a queue and how fast a transfer is depends on it. Each kernel has
    // this one, and takes it from anyone (`tcp_set_default_congestion_control`, net/ipv4/tcp_cong.c).
    ("net.ipv4.tcp_congestion_control", "reno"),
    // Taken over: how much may be under way. The kernel's own, unless the machine has little memory (`tcp_init`,
    // net/ipv4/tcp.c).
    ("net.ipv4.tcp_rmem", "4096 131072 6291456"),
    ("net.ipv4.tcp_wmem", "4096 16384 4194304"),
    // An ADD_ADDR that finds the peer busy with another one is dropped there. It comes again after this time, of which
    // the default is 120 s, unless the kernel goes by the subflows' retransmission time-out.
    ("net.mptcp.add_addr_timeout", "1"),
    // Taken over from the kernel's command line.
    ("net.ipv6.conf.all.disable_ipv6", "0"),
    ("net.ipv6.conf.default.disable_ipv6", "0"),
    // An address must be usable at once, and nothing may be sent that the scenario doesn't send.
    ("net.ipv6.conf.all.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    ("net.ipv6.conf.default.autoconf", "0"),
    ("net.ipv6.conf.default.router_solicitations", "0"),
    // No link-local address by itself, at some time: the testbed adds one with the first IPv6 address.
    ("net.ipv6.conf.default.addr_gen_mode", "1"),
    // A link that goes down and up again has the same addresses as before. IPv4 has no other way.
    ("net.ipv6.conf.all.keep_addr_on_down", "1"),
    ("net.ipv6.conf.default.keep_addr_on_down", "1"),
];

/// What the namespace of a path starts from: nobody lives there, so nothing in it may answer or announce anything.
const PATH: [(&str, &str); 4] = [
    ("net.ipv6.conf.all.disable_ipv6", "1"),
    ("net.ipv6.conf.default.disable_ipv6", "1"),
    ("net.ipv4.ip_forward", "0"),
    ("net.ipv4.conf.default.forwarding", "0"),
];

/// Gives the namespace of the calling thread what every namespace starts from. What a kernel doesn't have (all of
/// IPv6, say) is left out: it can't differ.
///
/// # Errors
///
/// [`SysctlError`] if one of them can't be set.
pub(super) fn apply() -> Result<(), SysctlError> {
    ensure_all(&BASELINE)
}

/// Gives the namespace of the calling thread what the namespace of a path starts from.
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
