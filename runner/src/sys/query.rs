//! getsockopt(2) with a buffer of any length, also for what has pointers in it (`MPTCP_FULL_INFO`), and what the kernel
//! wrote where.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// What memory has that nobody has written to.
const UNTOUCHED: u64 = 0xa5a5_a5a5_a5a5_a5a5;
/// The longest length that is passed.
const LONGEST: u32 = 65536;
/// What is behind the buffer, to see whether the kernel writes there.
const BEHIND: usize = 4096;
/// The room for each array: for [`MOST`] elements of 4 KiB. The kernel writes no more of an element than its own structure
/// has, whatever size it is told (`struct tcp_info` has 280 bytes in Linux 7.0).
const ROOM: usize = 256 * 1024;
/// The most elements of an array.
const MOST: u32 = 64;
/// Where `struct mptcp_full_info` has its number of elements, among its numbers of 32 bits, and the pointers behind them.
const ELEMENTS: usize = 5;

/// A question to the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The level and the number of the option.
    pub number: (i32, i32),
    /// The length of the buffer.
    pub length: u32,
    /// What is at its beginning.
    pub head: &'a [u32],
    /// It is `MPTCP_FULL_INFO`: behind six numbers there are pointers to two arrays.
    pub has_arrays: bool,
}

/// What the kernel wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The length that it returned.
    pub length: usize,
    /// What is in the buffer up to there. Pointers are 0.
    pub bytes: Vec<u8>,
    /// It wrote something behind that.
    pub beyond: bool,
    /// Up to which byte it wrote to each array.
    pub arrays: [usize; 2],
}

/// Asks.
///
/// # Errors
///
/// The error of getsockopt(2); `E2BIG`, without a call, for what there is no room for.
pub fn query(socket: BorrowedFd<'_>, query: &Query<'_>) -> io::Result<Reply> {
    let too_big = || io::Error::from_raw_os_error(libc::E2BIG);
    let is_large = query.has_arrays && query.head.get(ELEMENTS).is_some_and(|elements| *elements > MOST);
    if query.length > LONGEST || is_large {
        return Err(too_big());
    }
    let memory = |bytes: usize| vec![UNTOUCHED; bytes.div_ceil(size_of::<u64>())];
    let room = usize::try_from(query.length).map_err(|_| too_big())?.max(query.head.len().saturating_mul(4));
    let mut buffer = memory(room.saturating_add(BEHIND));
    let mut arrays = [0, 0].map(|_: i32| memory(if query.has_arrays { ROOM } else { 0 }));
    let mut head: Vec<u8> = query.head.iter().flat_map(|number| number.to_ne_bytes()).collect();
    if query.has_arrays {
        head.resize((ELEMENTS + 1) * 4, 0);
        let [subflows, tcp] = &mut arrays;
        for array in [subflows.as_mut_ptr(), tcp.as_mut_ptr()] {
            head.extend((array.expose_provenance() as u64).to_ne_bytes());
        }
    }
    let pointers = if query.has_arrays { (ELEMENTS + 1) * 4..head.len() } else { 0..0 };
    for (place, bytes) in buffer.iter_mut().zip(head.chunks(size_of::<u64>())) {
        let mut word = place.to_ne_bytes();
        word.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        *place = u64::from_ne_bytes(word);
    }
    let mut length = query.length;
    let (level, name) = query.number;
    // SAFETY: `buffer`, `length` and the arrays are borrowed mutably for the whole call. The kernel writes at most `length`
    // bytes to `buffer`, which is longer. To each array it writes at most `MOST` elements of its own size, for which there is
    // room; without arrays, it is told of none.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, buffer.as_mut_ptr().cast(), &raw mut length) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut written: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let length = usize::try_from(length).map_err(|_| too_big())?;
    let behind = written.get(length.max(head.len())..).unwrap_or_default();
    let beyond = behind.iter().any(|byte| *byte != UNTOUCHED.to_ne_bytes()[0]);
    written.get_mut(pointers).unwrap_or_default().fill(0);
    written.truncate(length);
    let last = |array: &Vec<u64>| {
        let touched = array.iter().enumerate().rev().find(|(_, word)| **word != UNTOUCHED);
        touched.map_or(0, |(index, word)| {
            let bytes = word.to_ne_bytes();
            let left =
                bytes.iter().zip(UNTOUCHED.to_ne_bytes()).rev().take_while(|(byte, untouched)| *byte == untouched);
            (index + 1) * size_of::<u64>() - left.count()
        })
    };
    Ok(Reply { length, bytes: written, beyond, arrays: arrays.each_ref().map(last) })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    fn ask(length: u32, head: &[u32], has_arrays: bool) -> io::Result<Reply> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        query(socket.as_fd(), &Query { number: (libc::IPPROTO_IP, libc::IP_TTL), length, head, has_arrays })
    }

    #[test]
    fn the_kernel_writes_no_more_than_it_says() {
        let reply = ask(16, &[], false).unwrap();
        assert_eq!((reply.length, reply.bytes.len(), reply.beyond, reply.arrays), (4, 4, false, [0, 0]));
        assert_eq!(ask(1, &[], false).unwrap().bytes, [64], "one byte, as it was asked for");
        assert!(ask(0, &[], false).unwrap().bytes.is_empty());
    }

    #[test]
    fn what_there_is_no_room_for_is_not_asked() {
        for (length, elements) in [(LONGEST + 1, 0), (64, MOST + 1)] {
            let error = ask(length, &[0, 0, 0, 0, 0, elements], true).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::E2BIG));
        }
        assert!(ask(64, &[0, 0, 0, 0, 0, MOST], true).is_ok());
    }
}
