//! rtnetlink: the links, addresses, neighbours, routes and queueing disciplines of a network namespace.
//!
//! A [`Request`] is a change, as data; a [`RouteClient`] sends it, and lists the current state ([`LinkState`],
//! [`AddressState`], [`NeighbourState`], [`RouteState`], [`QueueState`]); a [`RouteMonitor`] notices changes.
//!
//! The client is synchronous on purpose. The kernel handles an rtnetlink request inside sendmsg(2), so that its answer
//! is queued when the call returns (`netlink_unicast_kernel`, `net/netlink/af_netlink.c`): there is nothing to wait
//! for, no task that could end unnoticed, and one system call can send many requests.

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
