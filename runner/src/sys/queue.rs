//! The queues of a socket: bytes that wait in it (`SIOCINQ`, `SIOCOUTQ`, `SIOCOUTQNSD`; `mptcp_ioctl`,
//! net/mptcp/protocol.c).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// `SIOCOUTQNSD` (`include/uapi/linux/sockios.h`)
const SIOCOUTQNSD: libc::Ioctl = 0x894b;

/// A queue of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Bytes that have arrived and were not read (`SIOCINQ`, also `FIONREAD`).
    Unread,
    /// Bytes that were written and are not acknowledged (`SIOCOUTQ`).
    Unacknowledged,
    /// Bytes that were written and not sent (`SIOCOUTQNSD`).
    Unsent,
}

/// The number of bytes in a queue.
///
/// # Errors
///
/// The error of ioctl(2).
pub fn queued(socket: BorrowedFd<'_>, queue: Queue) -> io::Result<u64> {
    let request = match queue {
        Queue::Unread => libc::FIONREAD,
        Queue::Unacknowledged => libc::TIOCOUTQ,
        Queue::Unsent => SIOCOUTQNSD,
    };
    let mut bytes: libc::c_int = 0;
    // SAFETY: for these requests the kernel writes one int through the pointer, which is that of a local variable.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut bytes) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(bytes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn bytes_wait_in_the_receiver() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (receiver, _) = listener.accept().unwrap();
        assert_eq!(queued(receiver.as_fd(), Queue::Unread).unwrap(), 0);
        sender.write_all(b"28 bytes").unwrap();
        // On the loopback device they have arrived when write() returns.
        assert_eq!(queued(receiver.as_fd(), Queue::Unread).unwrap(), 8);
        assert_eq!(queued(sender.as_fd(), Queue::Unsent).unwrap(), 0);
    }
}
