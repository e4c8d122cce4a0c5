//! What hosts say by themselves to find each other on a link. A path must neither count nor lose it: when the kernel asks
//! for a neighbour depends on timers, and no packet's fate may depend on those.

use etherparse::{EtherType, IpNumber};

use super::frame::{ETHERNET, ether_type};

/// Whether a frame is an IP packet that counts.
pub(super) fn counts(frame: &[u8]) -> bool {
    let byte = |at: usize| frame.get(ETHERNET + at).copied();
    match ether_type(frame) {
        EtherType::IPV4 => byte(9) != Some(IpNumber::IGMP.0),
        EtherType::IPV6 => {
            let protocol = match byte(6) {
                // Multicast listener reports have a router alert before them (RFC 3810 section 5).
                Some(0) => byte(40),
                protocol => protocol,
            };
            protocol != Some(IpNumber::IPV6_ICMP.0) || !is_neighbourly(frame)
        }
        _ => false,
    }
}

/// Whether an ICMPv6 packet doesn't leave its link: neighbour discovery (RFC 4861: types 133 to 137), or to or from
/// addresses that have no meaning elsewhere.
fn is_neighbourly(frame: &[u8]) -> bool {
    let link_local = |at: usize| matches!(frame.get(ETHERNET + at..), Some([0xfe, 0x80..=0xbf, ..]));
    let kind = frame.get(ETHERNET + 40).copied().unwrap_or_default();
    let multicast = frame.get(ETHERNET + 24) == Some(&0xff);
    matches!(kind, 133..=137) || multicast || link_local(8) || link_local(24)
}
