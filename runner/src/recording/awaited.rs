//! What a timeout was waiting for, and what was there instead: facts, which the judge puts into words.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::mptcp::{Endpoint, EndpointFlags, EventKind, Side};

/// What was waited for. Patterns are in the words of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Awaited {
    /// Events that match a pattern.
    #[expect(missing_docs, reason = "the names say it")]
    Events { namespace: String, pattern: String, count: usize },
    /// A counter has increased.
    #[expect(missing_docs, reason = "the names say it")]
    Counter { namespace: String, name: String, at_least: u64 },
    /// A number of established subflows on both sides.
    #[expect(missing_docs, reason = "the names say it")]
    Subflows { connection: String, count: usize },
    /// A subflow like a pattern on one side, or none any more.
    #[expect(missing_docs, reason = "the names say it")]
    Subflow { connection: String, side: Side, pattern: String, present: bool },
    /// An endpoint, or none any more.
    Endpoint {
        /// Whose.
        namespace: String,
        /// Its address.
        address: IpAddr,
        /// Exactly these flags; `None`: any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flags: Option<EndpointFlags>,
        /// `false`: has none.
        present: bool,
    },
    /// Bytes of a transfer have arrived.
    #[expect(missing_docs, reason = "the names say it")]
    Transferred { connection: String, sender: Side, bytes: u64 },
    /// A queue of a socket has a number of bytes, in words.
    #[expect(missing_docs, reason = "the names say it")]
    Queue { connection: String, side: Side, name: String, count: String },
    /// A namespace has a number of sockets, in words.
    #[expect(missing_docs, reason = "the names say it")]
    Sockets { namespace: String, name: String, count: String },
    /// A rule of a path has matched.
    #[expect(missing_docs, reason = "the names say it")]
    Rule { link: String, rule: String, matched: u64 },
    /// Segments with an MPTCP option like a pattern were sent.
    #[expect(missing_docs, reason = "the names say it")]
    Segments { sender: String, pattern: String, count: usize },
    /// connect() comes to an end.
    #[expect(missing_docs, reason = "the names say it")]
    Connect { connection: String, address: SocketAddr },
    /// accept() returns a connection.
    #[expect(missing_docs, reason = "the names say it")]
    Accept { connection: String },
    /// A transfer ends.
    #[expect(missing_docs, reason = "the names say it")]
    EndOfTransfer { connection: String },
    /// The peer sees the end of a connection that was closed.
    #[expect(missing_docs, reason = "the names say it")]
    EndOfStream { connection: String },
    /// The peers process the REMOVE_ADDR of an endpoint.
    #[expect(missing_docs, reason = "the names say it")]
    RemoveAddr { namespace: String, id: u8 },
    /// A program is ready.
    #[expect(missing_docs, reason = "the names say it")]
    ProgramReady { program: String, condition: String },
    /// A program ends.
    #[expect(missing_docs, reason = "the names say it")]
    EndOfProgram { program: String },
    /// A program has written lines with a text.
    #[expect(missing_docs, reason = "the names say it")]
    Output { program: String, contains: String, count: usize },
    /// A step that has no end of its own ends.
    EndOfStep,
    /// In words: recordings of older versions.
    Words {
        /// Fits after "waiting for".
        text: String,
    },
}

/// What was there instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Seen {
    /// Number of events that match the pattern.
    #[expect(missing_docs, reason = "the names say it")]
    Events { namespace: String, count: usize },
    /// The increase of the counter.
    #[expect(missing_docs, reason = "the names say it")]
    Counter { moved: u64 },
    /// The subflows of one side.
    Subflows {
        /// The side.
        side: Side,
        /// How many of them are established, where that was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        established: Option<usize>,
        /// All of them.
        subflows: Vec<SubflowSeen>,
    },
    /// Programs have not made the connection.
    #[expect(missing_docs, reason = "the names say it")]
    NoConnection { connection: String },
    /// The endpoints of a namespace.
    #[expect(missing_docs, reason = "the names say it")]
    Endpoints { namespace: String, endpoints: Vec<Endpoint> },
    /// Bytes that have arrived.
    #[expect(missing_docs, reason = "the names say it")]
    Transferred { bytes: u64 },
    /// The bytes of a queue.
    #[expect(missing_docs, reason = "the names say it")]
    Queue { count: u64 },
    /// The number of sockets.
    #[expect(missing_docs, reason = "the names say it")]
    Sockets { count: u64 },
    /// Segments that the rule has matched.
    #[expect(missing_docs, reason = "the names say it")]
    Rule { matched: u64 },
    /// Number of segments that match the pattern.
    #[expect(missing_docs, reason = "the names say it")]
    Segments { sender: String, count: usize },
    /// How far each direction of a transfer has come.
    #[expect(missing_docs, reason = "the names say it")]
    Transfer { client: Progress, server: Progress },
    /// Number of Address IDs that were processed.
    #[expect(missing_docs, reason = "the names say it")]
    RemoveAddr { processed: u64, sent: u64 },
    /// Number of lines with the text.
    #[expect(missing_docs, reason = "the names say it")]
    Output { count: usize },
    /// An event of the path manager.
    #[expect(missing_docs, reason = "the names say it")]
    Event { namespace: String, kind: EventKind },
    /// A segment.
    #[expect(missing_docs, reason = "the names say it")]
    Segment { namespace: String, source: SocketAddr, destination: SocketAddr },
    /// A path did something to a packet.
    #[expect(missing_docs, reason = "the names say it")]
    Path { link: String, sender: String },
    /// A packet in flight on a path.
    #[expect(missing_docs, reason = "the names say it")]
    InFlight { link: String },
    /// Neither an end nor an error.
    Nothing,
    /// It could not be looked at any more; or the words of an older version.
    Words {
        /// A sentence without a full stop.
        text: String,
    },
}

/// A subflow as it was seen while it was waited for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubflowSeen {
    /// Its local end.
    pub local: SocketAddr,
    /// Its remote end.
    pub remote: SocketAddr,
    /// The state of its TCP socket (`include/net/tcp_states.h`).
    pub tcp_state: u8,
}

/// How far one direction of a transfer has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes handed to the kernel by the sender.
    pub sent: u64,
    /// Bytes read by the receiver.
    pub received: u64,
    /// What waits in the socket of the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<Unread>,
}

/// Bytes that wait in a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// How many.
    pub bytes: u64,
    /// Whether poll() says so.
    pub readable: bool,
}

/// A timeout that passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Timeout {
    /// All that was waited for.
    pub conditions: Vec<Awaited>,
    /// In nanoseconds. Recordings of older versions may have it in words only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// What was there instead, for each condition that did not hold.
    pub seen: Vec<Seen>,
}

/// A timeout as it stands in a recording; older versions have written sentences.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    conditions: Vec<Awaited>,
    #[serde(default)]
    waited_for: Option<String>,
    #[serde(default)]
    after: Option<u64>,
    seen: SeenOrWords,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SeenOrWords {
    Words(String),
    One(Seen),
    Seen(Vec<Seen>),
}

impl From<SeenOrWords> for Vec<Seen> {
    fn from(written: SeenOrWords) -> Self {
        match written {
            SeenOrWords::Words(text) => vec![Seen::Words { text }],
            SeenOrWords::One(seen) => vec![seen],
            SeenOrWords::Seen(seen) => seen,
        }
    }
}

impl From<Written> for Timeout {
    fn from(written: Written) -> Self {
        let mut conditions = written.conditions;
        conditions.extend(written.waited_for.map(|text| Awaited::Words { text }));
        Self { conditions, after: written.after, seen: written.seen.into() }
    }
}

#[cfg(test)]
impl Timeout {
    /// As in a recording of before.
    pub(crate) fn in_words(waited_for: &str, seen: &str) -> Self {
        let words = |text: &str| text.to_owned();
        let (conditions, seen) = (Awaited::Words { text: words(waited_for) }, Seen::Words { text: words(seen) });
        Self { conditions: vec![conditions], after: None, seen: vec![seen] }
    }
}

/// Reads what was seen, also where an older version has written a sentence.
pub(super) fn seen<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Seen>, D::Error> {
    let seen: Vec<Seen> = SeenOrWords::deserialize(from)?.into();
    Ok(seen.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::StepOutcome;

    #[test]
    fn a_timeout_is_written_as_values() {
        let subflow = SubflowSeen {
            local: "10.0.1.2:40000".parse().unwrap(),
            remote: "10.0.1.1:8080".parse().unwrap(),
            tcp_state: 1,
        };
        let outcome = StepOutcome::TimedOut(Timeout {
            conditions: vec![Awaited::Subflows { connection: "main".to_owned(), count: 3 }],
            after: Some(300_000_000),
            seen: vec![Seen::Subflows { side: Side::Client, established: Some(1), subflows: vec![subflow] }],
        });
        let text = serde_json::to_string(&outcome).unwrap();
        insta::assert_snapshot!(text, @r#"{"result":"timed_out","conditions":[{"what":"subflows","connection":"main","count":3}],"after":300000000,"seen":[{"what":"subflows","side":"client","established":1,"subflows":[{"local":"10.0.1.2:40000","remote":"10.0.1.1:8080","tcp_state":1}]}]}"#);
        assert_eq!(serde_json::from_str::<StepOutcome>(&text).unwrap(), outcome);
    }

    #[test]
    fn recordings_of_before_can_be_read() {
        let old = r#"{"result":"timed_out","waited_for":"3 subflows on both sides of `main`","seen":"the client has 2","after":300000000}"#;
        let expected = Timeout {
            conditions: vec![Awaited::Words { text: "3 subflows on both sides of `main`".to_owned() }],
            after: Some(300_000_000),
            seen: vec![Seen::Words { text: "the client has 2".to_owned() }],
        };
        assert_eq!(serde_json::from_str::<StepOutcome>(old).unwrap(), StepOutcome::TimedOut(expected));
        let older: StepOutcome = serde_json::from_str(r#"{"result":"not_quiet","seen":"a segment"}"#).unwrap();
        let seen = Some(Seen::Words { text: "a segment".to_owned() });
        assert_eq!(older, StepOutcome::NotQuiet { seen, after: None });
    }
}
