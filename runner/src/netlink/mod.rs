//! Typed netlink clients for what a testbed of MPTCP needs: the path manager ([`pm`]), its events ([`events`]), the
//! kernel's list of sockets ([`diag`]), links, addresses and routes ([`route`]), packet filters ([`nft`]).
//! Typed netlink clients for what MPTCP needs: the path manager ([`pm`]), its events ([`events`]), the kernel's list
//! of sockets ([`diag`]), the links, addresses and routes of a namespace ([`route`]) and packet filters ([`nft`]).
//!
//! A netlink socket belongs for life to the network namespace in which it was made. Each constructor here therefore
//! makes its socket at once, in the namespace of the calling thread; what is done with it later can be done from
//! anywhere.
//!
//! The codecs are pure functions. Nothing received may panic: what can't be decoded is an error, or is kept raw.

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
