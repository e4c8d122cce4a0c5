//! What a scenario does.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::mptcp::EndpointFlags;
use crate::mptcp::Side;

use super::super::record::words;
use super::{EventPattern, Expectation, Operation, PathChange, PathRule, Place, SubflowPattern};

/// One step with its place.
#[derive(Debug, Clone)]
pub struct Step {
    /// Where it is written.
    pub place: Place,
    /// What to do.
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Opens a listening socket.
    Listen(ListenPlan),
    /// Closes it.
    StopListening {
        /// The namespace.
        namespace: String,
        /// Its port.
        port: u16,
        /// Its address, if there are several on that port.
        address: Option<IpAddr>,
    },
    /// Opens a connection.
    Connect(ConnectPlan),
    /// Sends bytes through a connection and compares what arrives.
    Transfer(TransferPlan),
    /// Waits until a background transfer of the connection is done, and compares.
    FinishTransfer {
        /// The connection.
        connection: String,
        /// The longest it may take.
        deadline: Duration,
    },
    /// Waits for a condition.
    Wait {
        /// All of them must hold.
        conditions: Vec<Condition>,
        /// The longest it may take.
        deadline: Duration,
    },
    /// Nothing may be observed (no event, no segment) for so long.
    Quiet {
        /// The period.
        period: Duration,
        /// The longest it may take to get there.
        deadline: Duration,
    },
    /// Closes a connection.
    Close {
        /// The connection.
        connection: String,
        /// Who begins.
        by: Side,
        /// How.
        how: CloseHow,
        /// The longest it may take.
        deadline: Duration,
    },
    /// Takes the state of the world, and compares it with an expectation when the run is judged.
    Check(Box<Expectation>),
    /// Changes the conditions of a path.
    SetPath(PathChange),
    /// Installs a rule on a path, behind those that are there.
    AddRule {
        /// The link.
        link: String,
        /// The rule.
        rule: PathRule,
    },
    /// Removes a rule from a path. What it holds is dropped.
    RemoveRule {
        /// The link.
        link: String,
        /// Its name.
        rule: String,
    },
    /// Lets go what a `hold` rule of a path holds, in order. What it matches from now on is held again.
    Release {
        /// The link.
        link: String,
        /// Its name.
        rule: String,
    },
    /// Changes the configuration.
    Do(Operation),
    /// An operation that the kernel must refuse.
    ExpectError {
        /// The symbolic errno, like `EINVAL`.
        error: String,
        /// A part of the kernel's own words.
        message: Option<String>,
        /// The operation.
        operation: Operation,
    },
}

words! {
    /// MPTCP or plain TCP.
    #[derive(Default)]
    SocketProtocol {
        /// `IPPROTO_MPTCP`.
        #[default]
        Mptcp = "mptcp",
        /// `IPPROTO_TCP`.
        Tcp = "tcp",
    }
}

/// A listening socket.
#[derive(Debug, Clone)]
pub struct ListenPlan {
    /// The namespace.
    pub namespace: String,
    /// The address: `::`, `0.0.0.0` or one of the namespace.
    pub address: IpAddr,
    /// The port, host byte order.
    pub port: u16,
    /// MPTCP or TCP.
    pub protocol: SocketProtocol,
}

/// A connection to open.
#[derive(Debug, Clone)]
pub struct ConnectPlan {
    /// Its name, unique in the scenario.
    pub name: String,
    /// The client's namespace.
    pub from: String,
    /// The server's namespace.
    pub to: String,
    /// The server's address and port.
    pub address: SocketAddr,
    /// Bind to this before connecting.
    pub source: Option<IpAddr>,
    /// What the client's socket is.
    pub protocol: SocketProtocol,
    /// What must come of it.
    pub outcome: ConnectionOutcome,
    /// A listener opened for this connection because none of the scenario's is there; `None` if one is.
    pub implicit_listener: Option<ListenPlan>,
    /// Whether a byte goes each way before the step ends: without it the client isn't fully established.
    pub handshake: bool,
    /// The longest it may take.
    pub deadline: Duration,
}

/// What must come of a connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionOutcome {
    /// MPTCP on both sides. A fallback is a failure.
    Mptcp,
    /// A connection on which MPTCP isn't used: plain TCP on one side, or a fallback.
    Tcp,
    /// connect() fails with this errno.
    Error(String),
}

/// Bytes to send.
#[derive(Debug, Clone)]
pub struct TransferPlan {
    /// The connection.
    pub connection: String,
    /// Bytes from client to server.
    pub from_client: u64,
    /// Bytes from server to client.
    pub from_server: u64,
    /// Bytes per second and direction; `None`: as fast as it goes.
    pub pace: Option<u64>,
    /// The step ends at once; a `finish_transfer` step (or the close) waits for the end.
    pub background: bool,
    /// So many bytes may arrive damaged (a middlebox corrupts them on purpose).
    pub tolerate_corrupt: u64,
    /// The errno that a call of the applications must fail with before all bytes have arrived; `None`: all must arrive.
    pub error: Option<String>,
    /// The longest it may take.
    pub deadline: Duration,
}

/// The errno that the transfer must fail with whose end this step waits for.
pub fn expected_transfer_error(steps: &[Step], index: usize) -> Option<&str> {
    let plan = match &steps.get(index)?.action {
        Action::Transfer(plan) if !plan.background => plan,
        Action::FinishTransfer { connection, .. } => {
            let before = steps.get(..index)?.iter().rev();
            before.filter_map(|step| step.action.background_transfer()).find(|plan| plan.connection == *connection)?
        }
        _ => return None,
    };
    plan.error.as_deref()
}

impl Action {
    /// The errno with which the kernel must refuse it, and a part of the kernel's own words.
    pub fn expected_refusal(&self) -> Option<(&str, Option<&str>)> {
        let connect = pick!(self, Self::Connect(ConnectPlan { outcome: ConnectionOutcome::Error(error), .. })
            => (error.as_str(), None));
        connect.or_else(|| pick!(self, Self::ExpectError { error, message, .. } => (error, message.as_deref())))
    }

    /// The transfer that it starts in the background.
    pub fn background_transfer(&self) -> Option<&TransferPlan> {
        match self {
            Self::Transfer(plan) if plan.background => Some(plan),
            _ => None,
        }
    }
}

words! {
    /// How to close.
    CloseHow {
        /// close() when all is read; then the other side, when it sees the end.
        Graceful = "graceful",
        /// close() with unread data: MP_FASTCLOSE.
        Abrupt = "abrupt",
        /// shutdown(SHUT_WR) only.
        HalfClose = "half",
    }
}

/// What a wait waits for.
#[derive(Debug, Clone)]
pub enum Condition {
    /// The n-th event that matches.
    Event {
        /// The namespace.
        namespace: String,
        /// What it must look like.
        pattern: EventPattern,
        /// How many of them since the start of the run.
        count: usize,
    },
    /// A counter of a namespace has moved by at least so much since the start of the run (or is at least that, if
    /// it is a gauge).
    Counter {
        /// The namespace.
        namespace: String,
        /// Its nstat name.
        name: String,
        /// At least.
        at_least: u64,
    },
    /// Both sides have exactly so many established subflows, the first one included.
    Subflows {
        /// The connection.
        connection: String,
        /// How many.
        count: usize,
    },
    /// One side has a subflow like this.
    Subflow {
        /// The connection.
        connection: String,
        /// The side.
        side: Side,
        /// What it must look like.
        pattern: SubflowPattern,
        /// `false`: has none.
        present: bool,
    },
    /// A namespace has an endpoint with this address.
    Endpoint {
        /// The namespace.
        namespace: String,
        /// The address.
        address: IpAddr,
        /// Which flags it must have, exactly; `None`: any.
        flags: Option<EndpointFlags>,
        /// `false`: has none.
        present: bool,
    },
    /// A rule of a path has matched at least so often since it was installed.
    Rule {
        /// The link.
        link: String,
        /// Its name.
        rule: String,
        /// At least.
        matched: u64,
    },
    /// A running transfer has delivered so many bytes.
    Transferred {
        /// The connection.
        connection: String,
        /// Whose bytes.
        sender: Side,
        /// At least.
        bytes: u64,
    },
    /// A segment with an MPTCP option like this was sent by a namespace, so many times.
    Wire {
        /// What it must look like.
        pattern: super::WirePattern,
        /// How many since the start of the run.
        count: usize,
    },
}
