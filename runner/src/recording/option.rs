//! Socket options: what was asked, and what the kernel answered.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Side;
use crate::mptcp::OptionValue;

/// An application set an option of a socket, or its socket got it from the listener that accepted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionCall {
    /// Whose socket.
    pub socket: OptionSocket,
    /// The word of the option ([`crate::mptcp::SocketOption`]).
    pub option: String,
    /// The value that it should have.
    pub asked: OptionValue,
    /// What the kernel answered.
    pub answer: OptionAnswer,
    /// It was set on the listener, and read on the accepted socket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passed_on: bool,
}

/// A socket with options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum OptionSocket {
    /// One that listens.
    #[expect(missing_docs, reason = "the names say it")]
    Listener { namespace: String, address: SocketAddr },
    /// One of a connection, perhaps before connect().
    #[expect(missing_docs, reason = "the names say it")]
    Connection { connection: String, side: Side },
}

/// What the kernel answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptionAnswer {
    /// getsockopt() says this.
    Shown(OptionValue),
    /// It can't be read: the errno of getsockopt(), if it was tried.
    Hidden(Option<String>),
    /// setsockopt() failed with this errno.
    Refused(String),
}

/// What getsockopt() answered to a buffer of some length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionReply {
    /// The name of the connection.
    pub connection: String,
    /// Whose socket.
    pub side: Side,
    /// The word of what was asked for.
    pub option: String,
    /// The length of the buffer.
    pub length: u32,
    /// The errno, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The length that the kernel returned.
    pub returned: u32,
    /// What it wrote, as numbers of 32 bits from the beginning; of less than four bytes, one number. Pointers are 0.
    pub numbers: Vec<u32>,
    /// The bytes that it wrote to the arrays that the buffer points to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arrays: Vec<u32>,
    /// It also wrote behind the returned length.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beyond: bool,
}
