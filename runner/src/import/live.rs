//! Subflows that are there, by the addresses of both namespaces.

use std::net::{IpAddr, SocketAddr};

use super::hosts::Observed;
use crate::mptcp::Side;

/// A subflow that is there, as each namespace has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) addresses: (IpAddr, IpAddr),
    pub(super) ids: (Option<u8>, Option<u8>),
    /// Its addresses and ports.
    pub(super) key: (SocketAddr, SocketAddr),
}

/// The subflow of an event, as the client's and the server's namespace have it.
pub(super) fn live(observed: &Observed) -> Option<Live> {
    let event = &observed.event;
    let local = SocketAddr::new(event.local?, event.local_port.unwrap_or(0));
    let remote = SocketAddr::new(event.remote?, event.remote_port.unwrap_or(0));
    Some(match observed.host {
        Side::Client => {
            Live { addresses: (local.ip(), remote.ip()), ids: (event.local_id, event.remote_id), key: (local, remote) }
        }
        Side::Server => {
            Live { addresses: (remote.ip(), local.ip()), ids: (event.remote_id, event.local_id), key: (remote, local) }
        }
    })
}

/// The address of a namespace.
pub(super) fn address_of((client, server): (IpAddr, IpAddr), host: Side) -> IpAddr {
    if host == Side::Client { client } else { server }
}

/// The port of a namespace.
pub(super) fn port_of((client, server): (SocketAddr, SocketAddr), host: Side) -> u16 {
    if host == Side::Client { client.port() } else { server.port() }
}

/// The position of the last of some things, counted from 1; 0 if there is none.
pub(super) trait LastOf: Iterator + Sized {
    /// The position.
    fn rposition_of(self, is_one: impl Fn(&Self::Item) -> bool) -> usize {
        self.enumerate().filter(|(_, it)| is_one(it)).map(|(index, _)| index + 1).last().unwrap_or(0)
    }
}

impl<I: Iterator> LastOf for I {}
