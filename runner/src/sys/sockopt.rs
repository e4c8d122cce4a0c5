//! Socket options as bytes, for those that nix has no type for (`SOL_MPTCP`).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// Reads a socket option into `buffer`, and returns the number of bytes that the kernel wrote.
///
/// The buffer is an input, too, where the kernel reads its head (the `size_…` members of `struct mptcp_full_info`
/// and `struct mptcp_subflow_data`, `include/uapi/linux/mptcp.h`). All numbers are in host byte order.
///
/// # Errors
///
/// The error of getsockopt(2); `ENOPROTOOPT` if the kernel doesn't know the option, `EOPNOTSUPP` if the socket isn't an
/// MPTCP socket (any more).
pub fn getsockopt_bytes(socket: BorrowedFd<'_>, level: i32, name: i32, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(buffer.len()).map_err(|_| too_long())?;
    // SAFETY: the pointer and the length describe `buffer`, which is borrowed for the whole call; the kernel writes
    // at most `length` bytes to it, and the new length to a local variable.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, buffer.as_mut_ptr().cast(), &raw mut length) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    usize::try_from(length).map_err(|_| too_long())
}

/// Sets a socket option from bytes.
///
/// # Errors
///
/// The error of setsockopt(2).
pub fn setsockopt_bytes(socket: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_| too_long())?;
    // SAFETY: the pointer and the length describe `value`, which is borrowed for the whole call; the kernel only
    // reads it.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Disconnects a socket: connect(2) with an address of the family `AF_UNSPEC`.
///
/// # Errors
///
/// The error of connect(2).
pub fn disconnect(socket: BorrowedFd<'_>) -> io::Result<()> {
    let nowhere = libc::sockaddr {
        sa_family: libc::sa_family_t::try_from(libc::AF_UNSPEC).unwrap_or_default(),
        sa_data: [0; 14],
    };
    let length = libc::socklen_t::try_from(size_of_val(&nowhere)).map_err(|_| too_long())?;
    // SAFETY: the pointer and the length describe a local variable, which the kernel only reads.
    let result = unsafe { libc::connect(socket.as_raw_fd(), &raw const nowhere, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn too_long() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_was_set_is_read() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        setsockopt_bytes(socket.as_fd(), libc::IPPROTO_IP, libc::IP_TTL, &7_i32.to_ne_bytes()).unwrap();
        let mut buffer = [0xff; 16];
        let length = getsockopt_bytes(socket.as_fd(), libc::IPPROTO_IP, libc::IP_TTL, &mut buffer).unwrap();
        assert_eq!(length, 4);
        assert_eq!(buffer[..4], 7_i32.to_ne_bytes());
        assert_eq!(buffer[4..], [0xff; 12], "nothing is written past the value");
    }

    #[test]
    fn the_errno_is_kept() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = getsockopt_bytes(socket.as_fd(), libc::IPPROTO_IP, 9999, &mut [0; 4]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT));
        let error = setsockopt_bytes(socket.as_fd(), libc::IPPROTO_IP, libc::IP_TTL, &[]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
