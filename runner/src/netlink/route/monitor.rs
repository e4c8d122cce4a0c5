//! Notifications of changes, to wait without polling.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::libc::MSG_DONTWAIT;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::netlink::{Cause, NetlinkError};

/// `RTNLGRP_LINK`, `RTNLGRP_IPV6_IFADDR` and `RTNLGRP_IPV6_ROUTE` (`include/uapi/linux/rtnetlink.h`): what the kernel
/// does later, from a work queue. IPv4 addresses and routes are in place when the request is acknowledged.
const GROUPS: [u32; 3] = [1, 9, 11];

/// A socket that becomes readable when a link, an IPv6 address or an IPv6 route of its namespace changed.
///
/// It reports only *that* something changed: a dump shows the new state.
#[derive(Debug)]
pub struct RouteMonitor {
    socket: Socket,
}

impl RouteMonitor {
    /// Opens the socket in the network namespace of the calling thread. Changes from now on are noticed.
    ///
    /// # Errors
    ///
    /// The socket can't be opened, or can't join the groups.
    pub fn open(place: &str) -> Result<Self, NetlinkError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            for group in GROUPS {
                socket.add_membership(group)?;
            }
            io::Result::Ok(socket)
        };
        let socket = open().map_err(|error| Cause::Io(error).of(format!("watch the links of {place}")))?;
        Ok(Self { socket })
    }

    /// Blocks until something changed since the last call, or until the deadline: then `false`.
    ///
    /// # Errors
    ///
    /// The error of poll(2) or recv(2).
    pub fn changed(&self, deadline: Instant) -> io::Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        if !self.readable(left)? {
            return Ok(false);
        }
        let mut buffer = Vec::with_capacity(64);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, MSG_DONTWAIT) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                // Notifications were lost, so something changed.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn readable(&self, timeout: Duration) -> io::Result<bool> {
        // Rounded up: a poll that returns too early would spin.
        let milliseconds = timeout.as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(true), // as good as a change: the caller looks, and comes back
            Err(errno) => Err(errno.into()),
        }
    }
}
