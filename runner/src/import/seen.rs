//! What a report shows: facts, without any guess.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::mptcp::{Endpoint, Limits, PmEvent, Side};

use super::notes::Unread;

/// The port of a `connect` step that doesn't name one.
pub(super) const PORT: u16 = 8080;

/// The most events, sockets and the like that are kept of one report.
pub(super) const MOST: usize = 100_000;

/// What kind of report something is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Monitor,
    Endpoints,
    Limits,
    Sockets,
    Sysctls,
    Capture,
}

impl Kind {
    /// The words for it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Monitor => "the log of `ip mptcp monitor`",
            Self::Endpoints => "`ip mptcp endpoint show`",
            Self::Limits => "`ip mptcp limits show`",
            Self::Sockets => "`ss`",
            Self::Sysctls => "sysctls",
            Self::Capture => "a capture",
        }
    }
}

/// Everything that a report shows. Text is from one host, "here"; a capture from anywhere.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) kinds: BTreeSet<Kind>,
    /// The kernel's release.
    pub(super) kernel: Option<String>,
    /// Configuration of this host.
    pub(super) endpoints: Option<Vec<Endpoint>>,
    pub(super) limits: Option<Limits>,
    pub(super) sysctls: BTreeMap<String, String>,
    /// Events of this host.
    pub(super) events: Vec<PmEvent>,
    /// Sockets of this host, by their addresses: the latest state of each.
    pub(super) sockets: BTreeMap<Pair, Socket>,
    pub(super) subflows: BTreeMap<Pair, Subflow>,
    /// Ports on which this host listens.
    pub(super) listening: BTreeSet<u16>,
    /// Connections of a capture, and what happened to them.
    pub(super) connections: Vec<Connection>,
    pub(super) happenings: Vec<Happening>,
    /// Packets of a capture: TCP segments, each counted once, and others.
    pub(super) segments: u64,
    pub(super) others: u64,
    /// What could not be read.
    pub(super) unread: Unread,
    /// What the report leaves open, found while reading.
    pub(super) open: Vec<String>,
    /// Addresses, names and the like must not be told.
    pub(super) anonymous: bool,
}

/// The local and the remote address of a socket.
pub(super) type Pair = (SocketAddr, SocketAddr);

/// An MPTCP socket, as `ss` shows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Socket {
    pub(super) token: Option<u32>,
    /// Fields of `struct mptcp_info` by their names in scenarios.
    pub(super) info: BTreeMap<&'static str, u64>,
    pub(super) fallback: bool,
}

/// A subflow, as `ss` shows it.
#[derive(Debug, Clone)]
pub(super) struct Subflow {
    pub(super) local_id: u8,
    pub(super) remote_id: u8,
    pub(super) local_token: u32,
    pub(super) dev: Option<String>,
    pub(super) flags: String,
}

/// How a connection ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Mptcp,
    Tcp,
    Refused,
    /// Nothing answered, as far as the report shows.
    Unanswered,
}

/// A connection, as far as it was seen.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// The client's initial address.
    pub(super) client: IpAddr,
    /// The server's initial address.
    pub(super) server: SocketAddr,
    /// The side that the report is from; none in a capture.
    pub(super) here: Option<Side>,
    pub(super) outcome: Outcome,
    /// The report shows its beginning.
    pub(super) from_start: bool,
    /// The report shows its state, not how that came about.
    pub(super) state_only: bool,
    /// Who closed it first, and whether by MP_FASTCLOSE.
    pub(super) closed: Option<(Side, bool)>,
    /// Bytes that the client and the server sent.
    pub(super) bytes: Option<(u64, u64)>,
    /// Fields of `struct mptcp_info`, of `here`.
    pub(super) info: BTreeMap<&'static str, u64>,
}

impl Connection {
    /// A connection of which nothing else is known.
    pub(super) fn new(client: IpAddr, server: SocketAddr) -> Self {
        Self {
            client,
            server,
            here: None,
            outcome: Outcome::Mptcp,
            from_start: true,
            state_only: false,
            closed: None,
            bytes: None,
            info: BTreeMap::new(),
        }
    }
}

/// Something that happened to a connection: an event, as one of its sides has it.
#[derive(Debug, Clone)]
pub(super) struct Happening {
    pub(super) connection: usize,
    pub(super) side: Side,
    pub(super) event: PmEvent,
}

impl Seen {
    /// Visits each address, so that it can be replaced.
    pub(super) fn each_address(&mut self, visit: &mut impl FnMut(&mut IpAddr)) {
        fn socket(address: &mut SocketAddr, visit: &mut impl FnMut(&mut IpAddr)) {
            let mut ip = address.ip();
            visit(&mut ip);
            *address = SocketAddr::new(ip, address.port());
        }
        let happened = self.happenings.iter_mut().map(|happening| &mut happening.event);
        for event in self.events.iter_mut().chain(happened) {
            event.local.iter_mut().chain(&mut event.remote).for_each(&mut *visit);
        }
        for connection in &mut self.connections {
            visit(&mut connection.client);
            socket(&mut connection.server, visit);
        }
        for endpoint in self.endpoints.iter_mut().flatten() {
            visit(&mut endpoint.address);
        }
        let mut replaced = |(mut local, mut remote): Pair| {
            socket(&mut local, visit);
            socket(&mut remote, visit);
            (local, remote)
        };
        self.sockets = std::mem::take(&mut self.sockets).into_iter().map(|(pair, it)| (replaced(pair), it)).collect();
        self.subflows = std::mem::take(&mut self.subflows).into_iter().map(|(pair, it)| (replaced(pair), it)).collect();
    }

    /// Visits each name of a device.
    pub(super) fn each_device(&mut self, visit: &mut impl FnMut(&mut String)) {
        let events = self.events.iter_mut().filter_map(|event| event.dev.as_mut());
        let endpoints = self.endpoints.iter_mut().flatten().filter_map(|endpoint| endpoint.dev.as_mut());
        let subflows = self.subflows.values_mut().filter_map(|subflow| subflow.dev.as_mut());
        events.chain(endpoints).chain(subflows).for_each(visit);
    }

    /// Whether there is room for one more of something.
    pub(super) fn has_room(&mut self, count: usize) -> bool {
        if count < MOST {
            return true;
        }
        self.unread.ended(format!("reading ended after {MOST} entries of one kind: the rest is left out"));
        false
    }
}
