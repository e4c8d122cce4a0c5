//! The world of a scenario in the kernel: anonymous network namespaces, links, addresses, routes, sysctls.
//!
//! [`build()`] makes a [`Testbed`] from a plan and reads everything back. A [`Namespace`] is a file descriptor and
//! nothing else, so that no trace of a testbed survives the process, however it ends. Every thread that works with
//! namespaces lives in the [`BaseNamespace`], an empty namespace: mistakes affect that one, and not the network in which
//! mptcplab was started. [`probe`] finds out what the kernel supports.

mod baseline;
mod build;
mod ending;
mod error;
mod expected;
mod gate;
mod namespace;
mod neighbours;
mod node;
pub mod probe;
pub mod sysctl;
pub mod visit;
mod world;

pub use build::build;
pub use error::TestbedError;
pub use namespace::{BaseNamespace, Namespace, NamespaceError};
pub use node::Node;
pub use world::Testbed;
