//! The classic BPF program that the kernel runs on each packet before it is captured: TCP and ICMP errors on Ethernet.
//! Neighbour discovery and pings are left out.

use nix::libc;
use socket2::SockFilter;

/// The number of bytes to keep, more than any packet has: the ring's frame size truncates.
const WHOLE: u32 = 0x0004_0000;

const ETHERTYPE_IPV4: u32 = 0x0800;
const ETHERTYPE_IPV6: u32 = 0x86dd;
const TCP: u32 = 6;
const ICMP: u32 = 1;
const ICMPV6: u32 = 58;
/// The types of ICMP that report errors: destination unreachable, redirect, time exceeded, parameter problem.
const ICMP_ERRORS: [u32; 4] = [3, 5, 11, 12];
/// The first type of `ICMPv6` that is no error (RFC 4443 section 2.1).
const ICMPV6_INFORMATIONAL: u32 = 128;
/// The hop-by-hop options header of IPv6. The kernel itself adds one, of 8 bytes, to packets above 64 KiB (RFC 2675).
const HOP_BY_HOP: u32 = 0;

/// The positions of the two ends of the program.
const KEEP: u8 = 22;
const DROP: u8 = 23;

/// A filter for `SO_ATTACH_FILTER`. Each line has its number, for the jumps.
///
/// The loopback interface and tunnels fail the first test; neither has an Ethernet header for the rest to look at.
pub(super) const TCP_AND_ICMP_ERRORS: [SockFilter; 24] = [
    /*  0 */ load_u16(HARDWARE_TYPE),
    /*  1 */ branch(1, libc::ARPHRD_ETHER as u32, 2, DROP),
    /*  2 */ load_u16(12), // EtherType
    /*  3 */ branch(3, ETHERTYPE_IPV4, 4, 6),
    /*  4 */ load_u8(23), // IPv4: protocol
    /*  5 */ branch(5, TCP, KEEP, 12),
    /*  6 */ branch(6, ETHERTYPE_IPV6, 7, DROP),
    /*  7 */ load_u8(20), // IPv6: next header
    /*  8 */ branch(8, TCP, KEEP, 9),
    /*  9 */ branch(9, HOP_BY_HOP, 10, 19),
    /* 10 */ load_u8(54), // the next header behind the options
    /* 11 */ branch(11, TCP, KEEP, DROP),
    /* 12 */ branch(12, ICMP, 13, DROP),
    /* 13 */ load_ipv4_length(14),
    /* 14 */ load_u8_behind(14), // ICMP: type
    /* 15 */ branch(15, ICMP_ERRORS[0], KEEP, 16),
    /* 16 */ branch(16, ICMP_ERRORS[1], KEEP, 17),
    /* 17 */ branch(17, ICMP_ERRORS[2], KEEP, 18),
    /* 18 */ branch(18, ICMP_ERRORS[3], KEEP, DROP),
    /* 19 */ branch(19, ICMPV6, 20, DROP),
    /* 20 */ load_u8(54), // ICMPv6: type
    /* 21 */ branch_at_least(21, ICMPV6_INFORMATIONAL, DROP, KEEP),
    /* 22 */ finish(WHOLE),
    /* 23 */ finish(0),
];

/// The type of the device, which isn't in the packet but at a magic offset ("ancillary data",
/// `include/uapi/linux/filter.h`).
const HARDWARE_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_HATYPE).cast_unsigned();

/// `BPF_LD | BPF_H | BPF_ABS`: two bytes of the packet, big-endian.
const fn load_u16(offset: u32) -> SockFilter {
    SockFilter::new(0x28, 0, 0, offset)
}

/// `BPF_LD | BPF_B | BPF_ABS`: one byte of the packet.
const fn load_u8(offset: u32) -> SockFilter {
    SockFilter::new(0x30, 0, 0, offset)
}

/// `BPF_JMP | BPF_JEQ | BPF_K`: continue at instruction `equal` if the loaded value is `value`, else at `different`.
/// The kernel counts jumps from the next instruction on; both targets must be ahead.
const fn branch(here: u8, value: u32, equal: u8, different: u8) -> SockFilter {
    SockFilter::new(0x15, equal - here - 1, different - here - 1, value)
}

/// `BPF_JMP | BPF_JGE | BPF_K`: the same, but continue there if the loaded value is at least `value`.
const fn branch_at_least(here: u8, value: u32, greater: u8, less: u8) -> SockFilter {
    SockFilter::new(0x35, greater - here - 1, less - here - 1, value)
}

/// `BPF_LDX | BPF_B | BPF_MSH`: the length of the IPv4 header that begins there, into the index register.
const fn load_ipv4_length(offset: u32) -> SockFilter {
    SockFilter::new(0xb1, 0, 0, offset)
}

/// `BPF_LD | BPF_B | BPF_IND`: one byte of the packet, behind as many as the index register says.
const fn load_u8_behind(offset: u32) -> SockFilter {
    SockFilter::new(0x50, 0, 0, offset)
}

/// `BPF_RET | BPF_K`: keep this many bytes of the packet.
const fn finish(bytes: u32) -> SockFilter {
    SockFilter::new(0x06, 0, 0, bytes)
}
