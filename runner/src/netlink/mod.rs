//! Typed netlink clients.

mod attribute;
mod device;
mod error;
pub mod route;

pub use device::DeviceNames;
pub use error::{Cause, NetlinkError, Refusal, errno_number, errno_symbol};
