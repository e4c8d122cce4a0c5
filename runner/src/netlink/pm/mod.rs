//! The generic netlink family `mptcp_pm`: endpoints, limits and the userspace path manager.
//!
//! [`PmClient`] is what the rest of mptcplab uses; it deals in [`Endpoint`](crate::mptcp::Endpoint)s and
//! [`Limits`](crate::mptcp::Limits). Below it lies the pure codec: a [`PmMessage`] is a [`PmCommand`] with
//! [`PmAttribute`]s, an address nest a list of [`AddressAttribute`]s. [`PmClient::request`] sends all other requests,
//! including deliberately invalid ones.
//!
//! Requests are built for the strictest kernels: Linux 6.1 validates everything, 6.12 and later only dumps. So nests
//! have `NLA_F_NESTED` set, sizes are exact, and each command gets only the attributes in its policy
//! (`Documentation/netlink/specs/mptcp_pm.yaml`, `net/mptcp/mptcp_pm_gen.c`).

mod attribute;
mod client;
mod endpoint;
mod message;
#[cfg(test)]
mod tests;

pub use attribute::{AddressAttribute, PmAttribute};
pub use client::{EndpointSelector, PmClient, RequestKind, flush_here};
pub use endpoint::{AddressParts, endpoint_from_attributes};
pub use message::{PmCommand, PmMessage};

/// The name of the family (`MPTCP_PM_NAME`).
pub const FAMILY: &str = "mptcp_pm";
/// The multicast group of its events (`MPTCP_PM_EV_GRP_NAME`).
pub const EVENT_GROUP: &str = "mptcp_pm_events";
