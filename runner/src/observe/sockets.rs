//! Socket options of our own MPTCP sockets (`SOL_MPTCP`, net/mptcp/sockopt.c): pure decoders of the kernel's
//! structures, and the calls that read them.
//!
//! All structures are in host byte order, except addresses and ports. They grow from kernel to kernel; the returned
//! length says how much the kernel filled in.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::libc;
use thiserror::Error;

use crate::mptcp::{MptcpInfo, SOL_MPTCP, TcpInfo};
use crate::sys::full_info::mptcp_full_info;
use crate::sys::sockopt::getsockopt_bytes;

const MPTCP_INFO: i32 = 1;
const MPTCP_TCPINFO: i32 = 2;
const MPTCP_SUBFLOW_ADDRS: i32 = 3;
/// `TCP_IS_MPTCP` (`include/uapi/linux/tcp.h`), Linux 6.6.
const TCP_IS_MPTCP: i32 = 43;

/// `struct mptcp_info` has 96 bytes in Linux 6.18.
const INFO_ROOM: usize = 256;
/// `struct mptcp_subflow_data`, in front of the arrays of `MPTCP_TCPINFO` and `MPTCP_SUBFLOW_ADDRS`.
const SUBFLOW_DATA: usize = 16;
/// `struct sockaddr_storage`.
const SOCKADDR: usize = 128;
/// `struct mptcp_subflow_addrs`: the local and the remote address.
const SUBFLOW_ADDRS: usize = 2 * SOCKADDR;
/// `struct mptcp_subflow_info`: the id, padding, the addresses.
const SUBFLOW_INFO: usize = 8 + SUBFLOW_ADDRS;
/// `struct tcp_info` had 248 bytes in Linux 6.12; later fields aren't needed.
const TCP_INFO: usize = 248;
/// The kernel's limit is 9 in Linux 6.18: the initial subflow and 8 more. If there are more, the call is repeated.
const USUAL_ROOM: usize = 16;

/// The two ends of a subflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubflowAddresses {
    /// The local address and port.
    pub local: SocketAddr,
    /// The remote address and port.
    pub remote: SocketAddr,
}

/// `MPTCP_FULL_INFO`: connection and subflows at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullInfo {
    /// The connection.
    pub info: MptcpInfo,
    /// Its subflows.
    pub subflows: Vec<FullSubflow>,
}

/// A subflow in [`FullInfo`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullSubflow {
    /// Its number in the connection, from 1 in the order of creation; never reused.
    pub id: u32,
    /// Its ends.
    pub addresses: SubflowAddresses,
    /// Its TCP state.
    pub tcp: TcpInfo,
}

/// Why a socket option can't be read.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The kernel refused.
    #[error("can't read socket option {option}: getsockopt: {errno}")]
    Refused {
        /// The option's name.
        option: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The kernel returned less than any version of the structure has.
    #[error("can't read socket option {option}: the kernel returned only {length} bytes; this is a bug in mptcplab")]
    Short {
        /// The option's name.
        option: &'static str,
        /// The number of returned bytes.
        length: usize,
    },
}

/// `MPTCP_INFO`; `None` if the socket isn't MPTCP, or has fallen back to TCP.
pub fn mptcp_info(socket: BorrowedFd<'_>) -> Result<Option<MptcpInfo>, SocketError> {
    let option = "MPTCP_INFO";
    let mut buffer = [0; INFO_ROOM];
    let Some(length) = ask(option, getsockopt_bytes(socket, SOL_MPTCP, MPTCP_INFO, &mut buffer))? else {
        return Ok(None);
    };
    let info = buffer.get(..length).and_then(MptcpInfo::decode).ok_or(SocketError::Short { option, length })?;
    Ok(Some(info))
}

/// Whether MPTCP is in use on the socket: false for TCP sockets, and for MPTCP sockets that have fallen back to TCP.
pub fn is_mptcp(socket: BorrowedFd<'_>) -> Result<bool, SocketError> {
    let mut value = [0; 4];
    match ask("TCP_IS_MPTCP", getsockopt_bytes(socket, libc::SOL_TCP, TCP_IS_MPTCP, &mut value))? {
        Some(_) => Ok(i32::from_ne_bytes(value) != 0),
        // The kernel is too old for this option.
        None => mptcp_info(socket).map(|info| info.is_some()),
    }
}

/// `MPTCP_SUBFLOW_ADDRS`: the ends of all subflows; `None` if the socket isn't MPTCP, or has fallen back to TCP.
pub fn subflow_addresses(socket: BorrowedFd<'_>) -> Result<Option<Vec<SubflowAddresses>>, SocketError> {
    let elements = subflow_array(socket, "MPTCP_SUBFLOW_ADDRS", MPTCP_SUBFLOW_ADDRS, SUBFLOW_ADDRS)?;
    Ok(elements.map(|elements| elements.iter().filter_map(|element| decode_addresses(element)).collect()))
}

/// `MPTCP_TCPINFO`: the TCP state of all subflows, in the order of [`subflow_addresses`]; `None` if the socket isn't
/// MPTCP, or has fallen back to TCP.
pub fn subflow_tcp_info(socket: BorrowedFd<'_>) -> Result<Option<Vec<TcpInfo>>, SocketError> {
    let elements = subflow_array(socket, "MPTCP_TCPINFO", MPTCP_TCPINFO, TCP_INFO)?;
    Ok(elements.map(|elements| elements.iter().map(|element| decode_tcp_info(element)).collect()))
}

/// `MPTCP_FULL_INFO` (Linux 6.5): connection and subflows at one moment; `None` if the kernel doesn't have it, if the
/// socket isn't MPTCP, or has fallen back to TCP.
pub fn full_info(socket: BorrowedFd<'_>) -> Result<Option<FullInfo>, SocketError> {
    let option = "MPTCP_FULL_INFO";
    let mut room = USUAL_ROOM;
    loop {
        let mut subflow_info = vec![0; room * SUBFLOW_INFO];
        let mut tcp_info = vec![0; room * TCP_INFO];
        let answer = mptcp_full_info(socket, room, (&mut subflow_info, SUBFLOW_INFO), (&mut tcp_info, TCP_INFO));
        let Some(head) = ask(option, answer)? else { return Ok(None) };
        let short = SocketError::Short { option, length: head.len() };
        let Some((size, info, count)) = decode_full_head(&head) else { return Err(short) };
        if count > room {
            room = count;
            continue;
        }
        // The kernel advances by our size, or by its own if that is smaller.
        let subflows = subflow_info
            .chunks_exact(size.subflow_info.max(1))
            .zip(tcp_info.chunks_exact(size.tcp_info.max(1)))
            .take(count)
            .filter_map(|(subflow, tcp)| {
                let addresses = decode_addresses(subflow.get(8..)?)?;
                Some(FullSubflow { id: u32_at(subflow, 0)?, addresses, tcp: decode_tcp_info(tcp) })
            })
            .collect();
        return Ok(Some(FullInfo { info, subflows }));
    }
}

/// The kernel's answer; `None` if this isn't an MPTCP socket (any more). IPv4 and IPv6 sockets report that with
/// different errors.
fn ask<T>(option: &'static str, answer: io::Result<T>) -> Result<Option<T>, SocketError> {
    match answer.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default())) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::EOPNOTSUPP | Errno::ENOPROTOOPT) => Ok(None),
        Err(errno) => Err(SocketError::Refused { option, errno }),
    }
}

/// One element of at most `size` bytes for each subflow.
fn subflow_array(
    socket: BorrowedFd<'_>,
    option: &'static str,
    number: i32,
    size: usize,
) -> Result<Option<Vec<Vec<u8>>>, SocketError> {
    let mut room = USUAL_ROOM;
    loop {
        let mut buffer = vec![0; SUBFLOW_DATA + room * size];
        // struct mptcp_subflow_data: its own size, the number of subflows, the kernel's size of an element and ours.
        let request = [SUBFLOW_DATA, 0, 0, size].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        for (place, byte) in buffer.iter_mut().zip(request.iter().flat_map(|number| number.to_ne_bytes())) {
            *place = byte;
        }
        let Some(length) = ask(option, getsockopt_bytes(socket, SOL_MPTCP, number, &mut buffer))? else {
            return Ok(None);
        };
        let short = SocketError::Short { option, length };
        let (Some(count), Some(step)) = (usize_at(&buffer, 4), usize_at(&buffer, 12)) else { return Err(short) };
        if count > room {
            room = count;
            continue;
        }
        let Some(elements) = buffer.get(SUBFLOW_DATA..length) else { return Err(short) };
        return Ok(Some(elements.chunks_exact(step.max(1)).take(count).map(<[u8]>::to_vec).collect()));
    }
}

/// The two element sizes of `struct mptcp_full_info`.
struct ElementSizes {
    tcp_info: usize,
    subflow_info: usize,
}

/// `struct mptcp_full_info`: the sizes that the kernel used, the connection, the number of subflows.
fn decode_full_head(head: &[u8]) -> Option<(ElementSizes, MptcpInfo, usize)> {
    let size = |kernel: usize, user: usize| Some(usize_at(head, kernel)?.min(usize_at(head, user)?));
    let sizes = ElementSizes { tcp_info: size(0, 4)?, subflow_info: size(8, 12)? };
    Some((sizes, MptcpInfo::decode(head.get(40..)?)?, usize_at(head, 16)?))
}

/// `struct mptcp_subflow_addrs`: two `struct sockaddr_storage`. `None` if they aren't IPv4 or IPv6, as for a subflow
/// that no longer exists.
pub fn decode_addresses(bytes: &[u8]) -> Option<SubflowAddresses> {
    Some(SubflowAddresses { local: decode_sockaddr(bytes)?, remote: decode_sockaddr(bytes.get(SOCKADDR..)?)? })
}

/// `struct sockaddr_in` or `struct sockaddr_in6`: port and address in network byte order.
fn decode_sockaddr(bytes: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    match i32::from(u16::from_ne_bytes(*bytes.first_chunk()?)) {
        libc::AF_INET => {
            let octets: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
            Some((Ipv4Addr::from(octets), port).into())
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            Some((Ipv6Addr::from(octets), port).into())
        }
        _ => None,
    }
}

/// `struct tcp_info`; missing fields are 0.
pub fn decode_tcp_info(bytes: &[u8]) -> TcpInfo {
    let number = |offset| u32_at(bytes, offset).unwrap_or_default();
    let long = |offset| u64_at(bytes, offset).unwrap_or_default();
    TcpInfo {
        state: bytes.first().copied().unwrap_or_default(),
        rtt_us: number(68),
        snd_cwnd: number(80),
        total_retrans: number(100),
        bytes_acked: long(120),
        bytes_received: long(128),
        bytes_sent: long(200),
        bytes_retrans: long(208),
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn usize_at(bytes: &[u8], offset: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, offset)?).ok()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read_for_both_families() {
        let mut bytes = vec![0; SUBFLOW_ADDRS];
        bytes[..2].copy_from_slice(&2_u16.to_ne_bytes());
        bytes[2..8].copy_from_slice(&[0x1f, 0x90, 10, 0, 1, 1]);
        assert_eq!(decode_addresses(&bytes), None, "the remote address has no family");
        bytes[128..130].copy_from_slice(&10_u16.to_ne_bytes());
        bytes[130..132].copy_from_slice(&[0, 80]);
        bytes[136] = 0xfd;
        bytes[151] = 1;
        let addresses = decode_addresses(&bytes).unwrap();
        assert_eq!(addresses.local, "10.0.1.1:8080".parse().unwrap());
        assert_eq!(addresses.remote, "[fd00::1]:80".parse().unwrap());
    }

    #[test]
    fn a_socket_that_cannot_be_mptcp_is_not() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(mptcp_info(socket.as_fd()).unwrap(), None);
        assert_eq!(subflow_addresses(socket.as_fd()).unwrap(), None);
        assert_eq!(full_info(socket.as_fd()).unwrap(), None);
        assert!(!is_mptcp(socket.as_fd()).unwrap());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            MptcpInfo::decode(&bytes);
            decode_addresses(&bytes);
            decode_tcp_info(&bytes);
            decode_full_head(&bytes);
        }
    }
}
