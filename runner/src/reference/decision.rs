//! What a rule decides about one thing that could have happened. Main type: [`Decision`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::recording::Side;
use crate::text;

use super::Rule;

/// What a rule decides about one candidate.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The name of the connection.
    pub connection: String,
    /// The side whose host decides.
    pub side: Side,
    /// When, in nanoseconds since the start of the run.
    pub at: u64,
    /// What could have happened.
    pub candidate: Candidate,
    /// What happened to it.
    pub outcome: Outcome,
    /// The rule.
    pub rule: &'static Rule,
    /// The guard that decided, with its values: `additional subflows 2 of limit 2`.
    pub because: String,
    /// The entries of the recording that show it, by their indices.
    pub evidence: Vec<usize>,
    /// Nothing asks for the candidate, or another decision says the same: it comes last where decisions are told.
    pub is_minor: bool,
}

/// What could have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// A subflow that this side opens; the local address is `None` where the kernel chooses it.
    Subflow {
        /// The local address.
        local: Option<IpAddr>,
        /// The remote address, and its port if it is known.
        remote: (IpAddr, Option<u16>),
    },
    /// A subflow that the peer opens: to accept or to refuse.
    Join {
        /// The local end.
        local: SocketAddr,
        /// The remote end.
        remote: SocketAddr,
    },
    /// An ADD_ADDR.
    Announcement {
        /// The address ID.
        id: u8,
        /// The announced address.
        address: IpAddr,
        /// The announced port.
        port: Option<u16>,
    },
    /// The echo of a received ADD_ADDR.
    Echo {
        /// The address ID.
        id: u8,
        /// The announced address.
        address: IpAddr,
        /// The announced port.
        port: Option<u16>,
    },
    /// A REMOVE_ADDR.
    Removal {
        /// The address ID.
        id: u8,
    },
    /// An MP_PRIO.
    Priority {
        /// The address of this side.
        local: IpAddr,
        /// Whether the peer is asked to use the subflow as a backup only.
        backup: bool,
    },
    /// An event of the path manager.
    Event {
        /// Its word.
        event: String,
    },
    /// A field of an MPTCP option, or the option itself.
    Option {
        /// What is looked at: `HMAC of MP_JOIN SYN/ACK`.
        what: &'static str,
        /// The sending end.
        source: SocketAddr,
        /// The receiving end.
        destination: SocketAddr,
    },
    /// A value that the kernel shows about the connection: a field of `MPTCP_INFO`, an endpoint.
    Shown {
        /// What: `additional subflows in MPTCP_INFO`.
        what: String,
    },
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It happened, as the rule says.
    Done,
    /// It did not happen, as the rule says.
    NotDone,
    /// It should have happened before all was quiet, and did not.
    Missing,
    /// It happened without a reason, or otherwise than the rule says.
    Wrong,
    /// The recording doesn't determine it.
    Undetermined,
}

impl Outcome {
    /// Whether the kernel broke the rule.
    pub fn is_violation(self) -> bool {
        matches!(self, Self::Missing | Self::Wrong)
    }

    /// The word in machine-readable output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotDone => "not_done",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Undetermined => "undetermined",
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subflow { local, remote: (address, port) } => {
                let local = local.map_or_else(|| "*".to_owned(), |local| local.to_string());
                write!(f, "subflow {local} → {}", ends(*address, *port))
            }
            Self::Join { local, remote } => {
                write!(f, "join {} ← {}", text::socket(*local), text::socket(*remote))
            }
            Self::Announcement { id, address, port } => write!(f, "ADD_ADDR id {id} {}", ends(*address, *port)),
            Self::Echo { id, address, port } => write!(f, "echo of ADD_ADDR id {id} {}", ends(*address, *port)),
            Self::Removal { id } => write!(f, "REMOVE_ADDR id {id}"),
            Self::Priority { local, backup } => {
                write!(f, "MP_PRIO of {local}: {}", if *backup { "backup" } else { "no backup" })
            }
            Self::Event { event } => write!(f, "event {event}"),
            Self::Option { what, source, destination } => {
                write!(f, "{what}, {} → {}", text::socket(*source), text::socket(*destination))
            }
            Self::Shown { what } => f.write_str(what),
        }
    }
}

/// An address, with its port if it has one.
fn ends(address: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| text::socket(SocketAddr::new(address, port)).to_string())
}
