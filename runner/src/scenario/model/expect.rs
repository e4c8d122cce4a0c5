//! What a scenario expects.

use crate::mptcp::{Endpoint, Side};
pub use crate::pattern::{ErrorPattern, EventPattern, SubflowPattern, WirePattern};

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
    /// Numbers of sockets.
    pub sockets: Vec<SocketCountExpectation>,
    /// Limits.
    pub limits: Vec<LimitsExpectation>,
    /// Bytes carried by links.
    pub bytes: Vec<BytesExpectation>,
    /// MPTCP options on the wire.
    pub wire: Vec<WireExpectation>,
    /// Matches of rules, and totals of each direction.
    pub paths: Vec<PathExpectation>,
    /// Alternatives. An alternative has none itself.
    pub either: Vec<Choice>,
    /// Rules of the reference that the kernel breaks. Neither an alternative nor a check step has any.
    pub broken_rules: Vec<BrokenRule>,
}

impl Expectation {
    /// What is said about a rule of that name that the kernel breaks.
    pub fn broken_rule(&self, name: &str) -> Option<&BrokenRule> {
        self.broken_rules.iter().find(|broken| broken.rule == name)
    }
}

/// A rule of the reference that the kernel is known to break.
#[derive(Debug, Clone)]
pub struct BrokenRule {
    /// Where it is written.
    pub place: Place,
    /// Its name, one of [`super::RULE_NAMES`].
    pub rule: &'static str,
    /// Why: one line.
    pub because: Option<String>,
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

impl Expectation {
    /// The namespaces whose sockets are counted for it.
    pub fn counted_namespaces(&self) -> impl Iterator<Item = &str> {
        let alternatives = self.either.iter().flat_map(|choice| &choice.alternatives);
        let all = std::iter::once(self).chain(alternatives.map(|alternative| &alternative.expectation));
        all.flat_map(|one| &one.sockets).map(|expected| expected.namespace.as_str())
    }
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

/// A number of sockets of a namespace.
#[derive(Debug, Clone)]
pub struct SocketCountExpectation {
    /// The namespace.
    pub namespace: String,
    /// Where it is written.
    pub place: Place,
    /// The word of the number.
    pub word: &'static str,
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
