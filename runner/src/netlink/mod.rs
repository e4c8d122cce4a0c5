//! Typed netlink clients for an MPTCP testbed: the path manager ([`pm`]), its events ([`events`]), the kernel's list of
//! sockets ([`diag`]), links, addresses and routes ([`route`]), packet filters ([`nft`]).
//!
//! A netlink socket belongs for life to the network namespace in which it was opened. Each constructor here therefore
//! opens its socket at once, in the namespace of the calling thread; later it can be used from any thread.
//!
//! The codecs are pure functions. No received data may cause a panic: what can't be decoded is an error, or is kept
//! raw.

mod attribute;
mod device;
pub mod diag;
mod error;
pub mod events;
mod exchange;
#[cfg(test)]
mod fixture;
pub mod nft;
pub mod pm;
pub mod route;

pub use device::DeviceNames;
pub use error::{Cause, NetlinkError, Refusal};
