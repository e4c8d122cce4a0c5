//! Common parts of the two packet sockets: [`ring`](super::ring) observes, [`port`](super::port) forwards.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

use super::sockopt::{getsockopt_bytes, setsockopt_bytes};

/// The interface 0: all of them.
pub(super) const ALL_INTERFACES: u32 = 0;

/// Sets an option of packet sockets that is made of C ints.
pub(super) fn set_option(socket: BorrowedFd<'_>, name: i32, numbers: &[usize]) -> io::Result<()> {
    let mut value = Vec::with_capacity(numbers.len() * 4);
    for number in numbers {
        value.extend(u32::try_from(*number).map_err(|_| Errno::EINVAL)?.to_ne_bytes());
    }
    setsockopt_bytes(socket, libc::SOL_PACKET, name, &value)
}

/// Binds a packet socket to an interface, for both directions: only a socket for `ETH_P_ALL` sees outgoing frames.
pub(super) fn bind(socket: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(|_| Errno::EINVAL)?,
        sll_protocol: u16::try_from(libc::ETH_P_ALL).map_err(|_| Errno::EINVAL)?.to_be(),
        sll_ifindex: i32::try_from(interface).map_err(|_| Errno::EINVAL)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the pointer and the length describe `address`, which lives for the whole call; the kernel only reads it.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    Ok(Errno::result(result).map(drop)?)
}

/// How many frames found no room since the last call (`PACKET_STATISTICS`, `tp_drops`).
pub(super) fn dropped(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut statistics = [0; 8];
    getsockopt_bytes(socket, libc::SOL_PACKET, libc::PACKET_STATISTICS, &mut statistics)?;
    // struct tpacket_stats: tp_packets, then tp_drops.
    let [_, _, _, _, drops @ ..] = statistics;
    Ok(u32::from_ne_bytes(drops))
}
