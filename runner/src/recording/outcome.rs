//! How steps end, and what applications get from their sockets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Awaited, EndStatus, Seen, Side, Timeout, awaited};
use crate::nanos;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum StepOutcome {
    /// As intended.
    Done,
    /// The kernel refused the operation. Only an `expect_error` step may end so.
    Refused {
        /// The symbolic errno: `EINVAL`.
        error: String,
        /// The kernel's own words (extended ACK), if there were any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// The kernel accepted the operation, and then shows something else.
    Contradicted(Contradiction),
    /// A call of an application returned something other than what the step needs.
    Application(CallEnd),
    /// A program ended otherwise, or earlier, than the step needs.
    ProgramEnded {
        /// Its name.
        program: String,
        /// How it ended.
        status: EndStatus,
    },
    /// A deadline passed.
    TimedOut(Timeout),
    /// No quiet period before the deadline.
    NotQuiet {
        /// The last thing, if it is known.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "awaited::seen")]
        seen: Option<Seen>,
        /// The timeout in nanoseconds. Recordings of older versions lack it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    /// It failed altogether: the run is in error.
    Failed {
        /// What was attempted, on what, what the kernel said, what to do.
        message: String,
    },
}

impl StepOutcome {
    /// The timeout passed.
    pub fn timed_out(conditions: Vec<Awaited>, seen: Vec<Seen>, after: Duration) -> Self {
        Self::TimedOut(Timeout { conditions, after: Some(nanos::of(after)), seen })
    }

    /// The timeout passed without a quiet period.
    pub fn not_quiet(seen: Option<Seen>, after: Duration) -> Self {
        Self::NotQuiet { seen, after: Some(nanos::of(after)) }
    }
}

/// What the kernel shows contradicts what it answered before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// What it was asked for, on what: `delete endpoint 5 in server`.
    pub asked: String,
    /// What it answered: `an ACK`.
    pub answered: String,
    /// What it shows, one sentence each.
    pub shown: Vec<String>,
}

/// How a call of an application on a socket of a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEnd {
    /// The name of the connection.
    pub connection: String,
    /// Whose call it was.
    pub side: Side,
    /// The call.
    pub call: SocketCall,
    /// What it got.
    pub got: Got,
    /// Bytes that this side had read or written by calls of this kind before, in the same step.
    #[serde(default)]
    pub bytes: u64,
}

/// Calls of one kind that an application has made in a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// The name of the connection.
    pub connection: String,
    /// Whose calls they were.
    pub side: Side,
    /// The call.
    pub call: SocketCall,
    /// Bytes that were asked for.
    pub asked: u64,
    /// Bytes that were read or written.
    pub bytes: u64,
    /// Bytes that were not those that the peer had sent.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub wrong: u64,
    /// Bytes that remain unread after the last call, if the socket has `TCP_INQ`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inq: Option<u32>,
    /// What ended them before all bytes were there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<CallEnd>,
}

impl Calls {
    /// Nothing was read or written yet.
    pub fn of(connection: &str, side: Side, call: SocketCall, asked: u64) -> Self {
        Self { connection: connection.to_owned(), side, call, asked, bytes: 0, wrong: 0, inq: None, end: None }
    }
}

/// A call of the socket interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketCall {
    /// connect()
    Connect,
    /// accept()
    Accept,
    /// read()
    Read,
    /// recv() with `MSG_PEEK`
    Peek,
    /// write()
    Write,
    /// shutdown()
    Shutdown,
    /// connect() with `AF_UNSPEC`
    Disconnect,
    /// getsockopt(`SO_ERROR`), asked when poll() reports an error of a socket on which no other call waits.
    SocketError,
}

/// What a call got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Got {
    /// The end of the stream.
    EndOfStream,
    /// Bytes that no transfer asked for.
    Bytes(u64),
    /// An errno, by its symbol: `ECONNRESET`.
    Error(String),
}

impl CallEnd {
    /// The symbol of the errno, if it is one.
    pub fn error(&self) -> Option<&str> {
        match &self.got {
            Got::Error(symbol) => Some(symbol),
            Got::EndOfStream | Got::Bytes(_) => None,
        }
    }
}
