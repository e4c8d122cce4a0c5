//! What crosses the wire: TCP segments and the MPTCP options (kind 30) that they carry. Pure; RFC 8684 section 3.

mod option;
mod segment;

pub use option::{AddAddrBody, DssMapping, MptcpOption};
pub use segment::{Segment, TcpFlags};
