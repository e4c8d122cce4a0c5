//! rtnetlink: the links, addresses, neighbours, routes and queueing disciplines of a network namespace.
//!
//! A [`Request`] is what is to be done, as data; a [`RouteClient`] has the kernel do it, and lists what there is
//! ([`LinkState`], [`AddressState`], [`NeighbourState`], [`RouteState`], [`QueueState`]); a [`RouteMonitor`] tells that
//! something changed.
//!
//! The client is synchronous on purpose. The kernel handles an rtnetlink request inside of sendmsg(2), so that its
//! answer is there when the call returns (`netlink_unicast_kernel`, `net/netlink/af_netlink.c`): there is nothing to
//! wait for, no task that could end unnoticed, and many requests go in one system call.

mod client;
mod monitor;
mod request;
mod state;
mod tbf;

pub use client::RouteClient;
pub use monitor::RouteMonitor;
pub use request::{Neighbour, Request, VethEnd};
pub use state::{AddressState, LinkState, NeighbourState, QueueState, RouteState};
pub use tbf::TokenBucket;
