//! What crosses the wire: TCP segments and the MPTCP options (kind 30) that they carry, and ICMP errors. Pure; RFC 8684 section 3.
//!
//! [`Segment::parse`] makes a [`Segment`] from a captured Ethernet frame; [`MptcpOption`] decodes, encodes, names
//! and prints one option.

mod decode;
mod encode;
mod head;
mod hex;
mod icmp;
mod option;
mod segment;
mod words;

pub use head::Head;
pub(crate) use hex::{from_hex, to_hex};
pub use icmp::IcmpError;
pub use option::{AddAddrBody, DssMapping, MptcpOption};
pub(crate) use segment::offset_in;
pub use segment::{Segment, TcpFlags};
pub use words::OPTION_WORDS;
pub(crate) use words::reset_reason;

/// TCP option kind 30 (RFC 8684 section 3, IANA "TCP Option Kind Numbers").
pub(crate) const TCPOPT_MPTCP: u8 = 30;
