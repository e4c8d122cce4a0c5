//! `MPTCP_FULL_INFO`: the one socket option of MPTCP whose argument holds pointers.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

use crate::mptcp::SOL_MPTCP;

/// `MPTCP_FULL_INFO` (`include/uapi/linux/mptcp.h`).
const MPTCP_FULL_INFO: i32 = 4;

/// Room for what the kernel may add to the end of `struct mptcp_full_info`, which has 136 bytes in Linux 6.18.
const HEAD: usize = 256;

/// `struct mptcp_full_info` as the kernel wants it: four sizes, the number of subflows, the number of array elements,
/// two pointers, and `struct mptcp_info`, for which any alignment up to 8 will do.
#[repr(C, align(8))]
struct Head([u8; HEAD]);

/// Reads `MPTCP_FULL_INFO` for at most `room` subflows. `subflow_info` has to hold `room` elements of
/// `subflow_info_size` bytes (`struct mptcp_subflow_info`), `tcp_info` as many of `tcp_info_size` bytes.
///
/// Returns the valid part of `struct mptcp_full_info`, in host byte order. Its pointers are meaningless.
///
/// # Errors
///
/// The error of getsockopt(2); `EINVAL`, without a call, if one of the arrays is too small.
pub fn mptcp_full_info(
    socket: BorrowedFd<'_>,
    room: usize,
    (subflow_info, subflow_info_size): (&mut [u8], usize),
    (tcp_info, tcp_info_size): (&mut [u8], usize),
) -> io::Result<Vec<u8>> {
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    let fits = |array: &[u8], size: usize| size.checked_mul(room).is_some_and(|needed| array.len() >= needed);
    if !fits(subflow_info, subflow_info_size) || !fits(tcp_info, tcp_info_size) {
        return Err(invalid());
    }
    let mut head = Head([0; HEAD]);
    // The sizes and counts that the kernel fills in have to be 0.
    let mut numbers = [0_u32; 6];
    for (number, value) in numbers.iter_mut().zip([0, tcp_info_size, 0, subflow_info_size, 0, room]) {
        *number = u32::try_from(value).map_err(|_| invalid())?;
    }
    let pointers = [subflow_info.as_mut_ptr(), tcp_info.as_mut_ptr()];
    let fields = numbers
        .iter()
        .flat_map(|number| number.to_ne_bytes())
        .chain(pointers.iter().flat_map(|pointer| (pointer.expose_provenance() as u64).to_ne_bytes()));
    for (place, byte) in head.0.iter_mut().zip(fields) {
        *place = byte;
    }
    let mut length = libc::socklen_t::try_from(HEAD).map_err(|_| invalid())?;
    // SAFETY: `head` and `length` are borrowed for the whole call. The kernel writes at most `length` bytes to `head`,
    // and through the two pointers at most `room` elements of the sizes given, which was checked to fit the arrays; both
    // are borrowed mutably for the whole call.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), SOL_MPTCP, MPTCP_FULL_INFO, head.0.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let valid = usize::try_from(length).map_err(|_| invalid())?;
    Ok(head.0.get(..valid).ok_or_else(invalid)?.to_vec())
}
