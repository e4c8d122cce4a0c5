//! `mptcplab explain --here`: why the MPTCP connections of a host have the subflows that they have, and no others.
//!
//! [`collect()`] reads the network namespace of the calling thread, `reasons` has pure functions of the `Host` that it
//! returns, [`text()`] and [`json()`] render it all. [`Follower`] does the same for events as they
//! come.

mod because;
mod collect;
mod decision;
mod follow;
mod host;
mod reasons;
mod render;

pub use collect::collect;
pub use follow::{Follower, Told};
pub use render::{json, text, told_json, told_text};
