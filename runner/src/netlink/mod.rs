//! Typed netlink clients.

#[allow(dead_code)] // used by the clients that are built beside this one
mod attribute;
mod error;
pub mod nft;

pub use error::{Cause, NetlinkError, Refusal, errno_number, errno_symbol};
