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
