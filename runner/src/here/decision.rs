//! One row of the table: what could be there, whether it is, and why.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::Serialize;

use super::because::Because;

/// What could be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Candidate {
    /// A subflow.
    Subflow {
        /// Its local address. `None`: routing chooses it.
        local: Option<IpAddr>,
        /// The remote address.
        remote: IpAddr,
        /// The port, if it isn't that of the initial subflow.
        port: Option<u16>,
        /// The local Address ID.
        local_id: Option<u8>,
        /// The remote Address ID.
        remote_id: Option<u8>,
        /// Either side wants it as a backup.
        backup: bool,
    },
    /// An ADD_ADDR to the peer.
    Announcement {
        /// The address.
        address: IpAddr,
        /// The port, if the endpoint has one.
        port: Option<u16>,
        /// The Address ID.
        id: Option<u8>,
    },
    /// Subflows to addresses that the peer announces.
    PeerAddresses,
    /// Subflows that the peer opens.
    PeerJoins,
    /// Use of an endpoint, whatever the connection.
    Endpoint {
        /// Its address.
        address: IpAddr,
        /// Its ID.
        id: Option<u8>,
    },
    /// Subflows from endpoints, when there are none.
    FromEndpoints,
    /// Any additional subflow.
    Additional,
    /// MPTCP itself.
    Mptcp,
}

impl Display for Candidate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subflow { local, remote, port, local_id, remote_id, backup } => {
                match local {
                    Some(local) => write!(f, "{}", local.to_canonical())?,
                    None => f.write_str("any address")?,
                }
                if let Some(id) = local_id {
                    write!(f, " id {id}")?;
                }
                write!(f, " → {}", remote.to_canonical())?;
                if let Some(port) = port {
                    write!(f, " port {port}")?;
                }
                remote_id.map_or(Ok(()), |id| write!(f, " id {id}"))?;
                f.write_str(if *backup { " backup" } else { "" })
            }
            Self::Announcement { address, port, id } => {
                write!(f, "ADD_ADDR {}", address.to_canonical())?;
                if let Some(port) = port {
                    write!(f, " port {port}")?;
                }
                id.map_or(Ok(()), |id| write!(f, " id {id}"))
            }
            Self::PeerAddresses => f.write_str("subflows to announced addresses"),
            Self::PeerJoins => f.write_str("subflows that the peer opens"),
            Self::Endpoint { address, id } => {
                write!(f, "endpoint {}", address.to_canonical())?;
                id.map_or(Ok(()), |id| write!(f, " id {id}"))
            }
            Self::FromEndpoints => f.write_str("subflows from endpoints"),
            Self::Additional => f.write_str("additional subflows"),
            Self::Mptcp => f.write_str("MPTCP"),
        }
    }
}

/// Whether it is there. The order is that of the table: what needs attention first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It isn't.
    No,
    /// It is, and it is not as one might think.
    But,
    /// It was tried, and may still come.
    Waiting,
    /// It was closed, and TCP still has its socket.
    Closing,
    /// It is unknown.
    Unknown,
    /// It is.
    Yes,
    /// It may come if the peer wants it, and nothing here prevents it.
    Allowed,
}

impl Outcome {
    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::But => "yes, but",
            Self::Waiting => "not yet",
            Self::Closing => "closing",
            Self::Unknown => "unknown",
            Self::Yes => "yes",
            Self::Allowed => "allowed",
        }
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What could be there.
    pub candidate: Candidate,
    /// Whether it is.
    pub outcome: Outcome,
    /// What decided it.
    pub because: Because,
    /// A command, or advice, that changes the outcome.
    pub change: Option<String>,
}
