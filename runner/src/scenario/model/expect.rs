//! What a scenario expects.

use std::net::IpAddr;

use crate::mptcp::Side;
use crate::mptcp::{Endpoint, EventKind};

use super::Place;

/// What must be observed: in the whole run, or in a check step.
///
/// In a check step, events are those since the start of the run, counters the change since then, sockets,
/// endpoints and limits the state at that moment. At the end of the run, sockets are taken right before the
/// connection is closed.
#[derive(Debug, Clone, Default)]
pub struct Expectation {
    /// Events of namespaces.
    pub events: Vec<EventExpectation>,
    /// Counters.
    pub counters: Vec<CounterExpectation>,
    /// Namespaces of which every MPTCP counter that is not mentioned must stay 0.
    pub other_counters_zero: Vec<(String, Place)>,
    /// Subflow sets.
    pub subflows: Vec<SubflowsExpectation>,
    /// Fields of `MPTCP_INFO`.
    pub info: Vec<InfoExpectation>,
    /// Endpoint dumps.
    pub endpoints: Vec<EndpointsExpectation>,
    /// Limits.
    pub limits: Vec<LimitsExpectation>,
    /// Bytes carried by links.
    pub bytes: Vec<BytesExpectation>,
    /// MPTCP options on the wire.
    pub wire: Vec<WireExpectation>,
    /// What paths did.
    pub paths: Vec<PathExpectation>,
    /// Alternatives. An alternative has none itself.
    pub either: Vec<Choice>,
}

/// Of several alternatives, one must hold.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Where it is written.
    pub place: Place,
    /// Why each of them is right: one line.
    pub because: String,
    /// At least one.
    pub alternatives: Vec<Alternative>,
}

/// One of several expectations.
#[derive(Debug, Clone)]
pub struct Alternative {
    /// Where it is written.
    pub place: Place,
    /// All of it must hold.
    pub expectation: Expectation,
}

/// How often a path did something.
#[derive(Debug, Clone)]
pub struct PathExpectation {
    /// The link.
    pub link: String,
    /// Where it is written.
    pub place: Place,
    /// What is counted.
    pub what: PathCount,
    /// How often.
    pub range: Range,
}

/// What is counted of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathCount {
    /// Segments that a rule matched.
    Rule(String),
    /// A number of [`crate::recording::PathTotals`], by the name of its field.
    Total {
        /// The namespace at the end that sends.
        sender: String,
        /// `entered`, `left`, `lost`, `queue_full`, `too_big`, `reordered`, `duplicated`, `added`,
        /// `dropped`, `merged`, `entered_bytes`, `left_bytes`.
        field: String,
    },
}

/// The inclusive range that a number must be in.
pub type Range = std::ops::RangeInclusive<u64>;

/// The events of one namespace.
#[derive(Debug, Clone)]
pub struct EventExpectation {
    /// The namespace.
    pub namespace: String,
    /// Where it is written.
    pub place: Place,
    /// `true` (the default): each event must be matched by one item. `false`: others may come in between.
    pub complete: bool,
    /// In order.
    pub items: Vec<EventItem>,
}

/// One item of an event list.
#[derive(Debug, Clone)]
pub enum EventItem {
    /// One event, or several alike in a row.
    One {
        /// Where it is written.
        place: Place,
        /// What it must look like.
        pattern: EventPattern,
        /// How many: 1..=1 unless said otherwise.
        count: Range,
    },
    /// All of these, in any order (each list keeps its own order).
    AnyOrder {
        /// Where it is written.
        place: Place,
        /// Sequences that may interleave.
        branches: Vec<Vec<EventItem>>,
    },
}

/// What an event must look like. A field that is `None` is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPattern {
    /// The kind.
    pub kind: EventKind,
    /// The connection that it is about.
    pub connection: Option<String>,
    /// Compared without the v4-mapped prefix.
    pub local: Option<IpAddr>,
    /// Compared without the v4-mapped prefix. Of ANNOUNCED: the announced address.
    pub remote: Option<IpAddr>,
    /// Host byte order.
    pub local_port: Option<u16>,
    /// Host byte order.
    pub remote_port: Option<u16>,
    /// The local address id.
    pub local_id: Option<u8>,
    /// The remote address id.
    pub remote_id: Option<u8>,
    /// The backup attribute.
    pub backup: Option<bool>,
    /// The errno's symbol, like `ECONNREFUSED`; `none`: there must be none.
    pub error: Option<ErrorPattern>,
    /// The device.
    pub dev: Option<String>,
    /// The reason of the MP_TCPRST.
    pub reset_reason: Option<u32>,
    /// The server's side.
    pub server_side: Option<bool>,
    /// The peer forbids joins to its initial address.
    pub deny_join_id0: Option<bool>,
}

impl EventPattern {
    /// Any event of this kind.
    pub fn of(kind: EventKind) -> Self {
        Self {
            kind,
            connection: None,
            local: None,
            remote: None,
            local_port: None,
            remote_port: None,
            local_id: None,
            remote_id: None,
            backup: None,
            error: None,
            dev: None,
            reset_reason: None,
            server_side: None,
            deny_join_id0: None,
        }
    }
}

/// What the error of an event must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorPattern {
    /// No error.
    None,
    /// Any error.
    Any,
    /// This one, with its number.
    Errno(String, i32),
}

/// A counter.
#[derive(Debug, Clone)]
pub struct CounterExpectation {
    /// The namespaces; several: the sum.
    pub namespaces: Vec<String>,
    /// Where it is written.
    pub place: Place,
    /// Its nstat name.
    pub name: String,
    /// Another one, by which it must be reduced first.
    pub less: Option<String>,
    /// By how much it moved since the start of the run; a gauge (`MPTcpExtMPCurrEstab`): its value.
    pub range: Range,
}

/// The subflows of one side of a connection.
#[derive(Debug, Clone)]
pub struct SubflowsExpectation {
    /// The connection.
    pub connection: String,
    /// The side.
    pub side: Side,
    /// Where it is written.
    pub place: Place,
    /// The complete set, in any order.
    pub subflows: Vec<SubflowPattern>,
}

/// What a subflow must look like. A field that is `None` is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubflowPattern {
    /// Compared without the v4-mapped prefix.
    pub local: Option<IpAddr>,
    /// Compared without the v4-mapped prefix.
    pub remote: Option<IpAddr>,
    /// The local address id.
    pub local_id: Option<u8>,
    /// The remote address id.
    pub remote_id: Option<u8>,
    /// The local port.
    pub local_port: Option<u16>,
    /// The remote port.
    pub remote_port: Option<u16>,
    /// This side or its peer asked for backup.
    pub backup: Option<bool>,
    /// This side asked for backup.
    pub backup_local: Option<bool>,
    /// The peer asked for backup.
    pub backup_remote: Option<bool>,
    /// The device that the socket is bound to.
    pub dev: Option<String>,
}

/// Fields of `MPTCP_INFO` of one side of a connection.
#[derive(Debug, Clone)]
pub struct InfoExpectation {
    /// The connection.
    pub connection: String,
    /// The side.
    pub side: Side,
    /// Where it is written.
    pub place: Place,
    /// The field's name in `struct mptcp_info`.
    pub field: String,
    /// What it must be.
    pub range: Range,
}

/// The exact endpoint dump of a namespace.
#[derive(Debug, Clone)]
pub struct EndpointsExpectation {
    /// The namespace.
    pub namespace: String,
    /// The connection, if it is a userspace path manager's dump of its addresses.
    pub connection: Option<String>,
    /// Where it is written.
    pub place: Place,
    /// In any order; an `id` that is `None` is not looked at.
    pub endpoints: Vec<Endpoint>,
}

/// The limits of a namespace.
#[derive(Debug, Clone)]
pub struct LimitsExpectation {
    /// The namespace.
    pub namespace: String,
    /// Where it is written.
    pub place: Place,
    /// SUBFLOW_NR
    pub subflows: Option<u32>,
    /// ADD_ADDR_ACCEPTED_NR
    pub add_addr_accepted: Option<u32>,
}

/// Bytes that a link carried since the start of the run, as counted by one end's interface.
#[derive(Debug, Clone)]
pub struct BytesExpectation {
    /// The link.
    pub link: String,
    /// The namespace that sent them.
    pub sent_by: String,
    /// Where it is written.
    pub place: Place,
    /// The number of bytes, headers included.
    pub range: Range,
}

/// MPTCP options that a namespace sent.
#[derive(Debug, Clone)]
pub struct WireExpectation {
    /// Where it is written.
    pub place: Place,
    /// What the option must look like.
    pub pattern: WirePattern,
    /// How many segments carried it, retransmissions included.
    pub range: Range,
}

/// What an MPTCP option on the wire must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WirePattern {
    /// The namespace that sent it.
    pub sender: String,
    /// The option's word: `mp_capable`, `mp_join_syn`, `mp_join_synack`, `mp_join_ack`, `dss`, `data_fin`,
    /// `add_addr`, `add_addr_echo`, `remove_addr`, `mp_prio`, `mp_fail`, `mp_fastclose`, `mp_tcprst`,
    /// `infinite_mapping`.
    pub option: String,
    /// The address of an ADD_ADDR, as it is: on the wire, a v4-mapped address is not the IPv4 address.
    pub address: Option<IpAddr>,
    /// The port of an ADD_ADDR.
    pub port: Option<u16>,
    /// The address id.
    pub id: Option<u8>,
    /// The B bit.
    pub backup: Option<bool>,
    /// The source address of the segment.
    pub from: Option<IpAddr>,
    /// The destination address of the segment.
    pub to: Option<IpAddr>,
    /// The flags octet of MP_CAPABLE or MP_TCPRST, exactly.
    pub flags: Option<u8>,
    /// The reason of MP_TCPRST.
    pub reason: Option<u8>,
    /// A checksum is present (DSS).
    pub checksum: Option<bool>,
}

impl WirePattern {
    /// An option of this word, whatever its fields are and whoever sends it.
    pub fn named(option: &str) -> Self {
        Self {
            sender: String::new(),
            option: option.to_owned(),
            address: None,
            port: None,
            id: None,
            backup: None,
            from: None,
            to: None,
            flags: None,
            reason: None,
            checksum: None,
        }
    }
}
