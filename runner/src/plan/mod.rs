//! The Plan: what will be done to set a scenario up, in order, as data. Pure.
//!
//! [`plan()`] makes it, the testbed and the engine carry it out, and [`shell`](shell()) shows what a person would type
//! instead. [`describe`] and [`awaited`] put steps and what they wait for into words; the engine records
//! those, so dry run, story and messages say the same.

// A new operation, step or observation is handled in each place or doesn't compile; one shape is asked for with `pick!`.
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use crate::net::Hardware;
use crate::scenario::SourceText;
use crate::scenario::model::{
    Action, Address, Device, LinkEnd, Operation, PathPlan, ProgramConnection, Route, RoutingRule, Step,
};

mod capture;
mod order;
mod path_words;
mod questions;
mod rings;
mod shell;
mod timeouts;
mod words;

pub use capture::DEFAULT_RING_BYTES;
pub use order::plan;
pub use path_words::{describe_conditions, describe_done, describe_path, describe_rule};
pub use questions::RouteQuestion;
pub use rings::{Frames, GSO_MAX_SIZE, Rings};
pub use shell::shell;
pub use timeouts::step_limit;
pub use words::{awaited, describe, describe_operation, describe_ready};

/// What will be done. All that a run needs to know: the engine takes nothing else.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Of which scenario.
    pub of: Origin,
    /// What sets the world up, in order.
    pub setup: Vec<Setup>,
    /// What is observed, a namespace each, in the order of their declaration.
    pub observers: Vec<Observer>,
    /// The addresses that NATs on the way give to those who connect.
    pub translated: Vec<IpAddr>,
    /// The namespaces whose sockets are counted at the end.
    pub counted: Vec<String>,
    /// The connections of programs to look for.
    pub connections: Vec<WantedConnection>,
    /// The steps of the scenario.
    pub steps: Vec<Step>,
    /// The routes to ask the kernel for, by namespace: those that subflows from endpoints would take.
    pub route_questions: BTreeMap<String, Vec<RouteQuestion>>,
    /// The timeout scale, a factor. All durations in here are already multiplied by it.
    pub timeout_scale: NonZeroU32,
}

/// A connection of programs to look for.
#[derive(Debug, Clone)]
pub struct WantedConnection {
    /// As the scenario declares it.
    pub connection: ProgramConnection,
    /// The addresses that the client may connect to.
    pub addresses: Vec<IpAddr>,
}

impl WantedConnection {
    /// Whether a client in that namespace that connects to this socket may make it.
    pub fn may_be(&self, client: &str, server: SocketAddr) -> bool {
        let ProgramConnection { client: from, port, server: to, .. } = &self.connection;
        let address = server.ip().to_canonical();
        from == client
            && *port == server.port()
            && (self.addresses.contains(&address) || (from == to && address.is_loopback()))
    }
}

/// The scenario that a plan was made of, for the head of the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// One line.
    pub title: String,
    /// The file as it was named on the command line.
    pub file: String,
    /// The label of the matrix variant.
    pub variant: Option<String>,
    /// The texts that it was read from.
    pub sources: Vec<SourceText>,
}

/// What is observed in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observer {
    /// The namespace.
    pub namespace: String,
    /// Path-manager events are recorded. A listener changes what a userspace path manager's namespace does.
    pub events: bool,
    /// A userspace path manager has its connections, each with endpoints of its own.
    pub userspace: bool,
    /// Size of the ring for captured frames, in bytes.
    pub capture_bytes: usize,
}

/// A path with everything that its thread needs.
#[derive(Debug, Clone)]
pub struct PathSetup {
    /// What it does to packets.
    pub path: PathPlan,
    /// The ends of its link.
    pub ends: [LinkEnd; 2],
    /// The MTU of its link, in bytes.
    pub mtu: Option<u32>,
    /// How its frames are taken from the kernel.
    pub rings: Rings,
}

impl Plan {
    /// The paths, in the order of their declaration.
    pub fn paths(&self) -> impl Iterator<Item = &PathSetup> {
        self.setup.iter().filter_map(|setup| pick!(setup, Setup::Path(path) => &**path))
    }

    /// All links with their ends.
    pub fn links(&self) -> impl Iterator<Item = (&str, [&LinkEnd; 2])> {
        self.setup.iter().filter_map(|setup| {
            pick!(setup, Setup::Link { link, ends, .. } | Setup::PathLink { link, ends, .. }
                => (link.as_str(), ends.each_ref().map(|(end, _)| end)))
        })
    }

    /// How many connections are made.
    pub fn connects(&self) -> usize {
        connects(&self.steps)
    }
}

fn connects(steps: &[Step]) -> usize {
    steps.iter().filter(|step| matches!(step.action, Action::Connect(_))).count()
}

/// One operation of the set-up.
#[derive(Debug, Clone)]
pub enum Setup {
    /// Make a network namespace, with `lo` up.
    Namespace {
        /// Its name.
        name: String,
        /// Programs run in it: a user namespace of its own owns it.
        programs: bool,
    },
    /// Write a sysctl.
    Sysctl {
        /// The namespace.
        namespace: String,
        /// With dots.
        name: String,
        /// The text to write.
        value: String,
    },
    /// Hand the connections of a namespace to a userspace path manager: `net.mptcp.path_manager=userspace`, or
    /// `net.mptcp.pm_type=1` on kernels before 6.15 that lack it.
    PathManager {
        /// The namespace.
        namespace: String,
    },
    /// Make a veth pair, both ends in place, still down.
    Link {
        /// Its name.
        link: String,
        /// In bytes.
        mtu: Option<u32>,
        /// The two ends with what makes traces repeatable: interface index and MAC address.
        ends: [(LinkEnd, Hardware); 2],
    },
    /// Make a link that is spliced through a path: a veth pair for each end, whose inner sides are in a namespace of the
    /// path's own; everything still down.
    PathLink {
        /// Its name.
        link: String,
        /// In bytes.
        mtu: Option<u32>,
        /// The two ends, as those of a [`Setup::Link`].
        ends: [(LinkEnd, Hardware); 2],
        /// The inner sides, in the same order; they are called [`INNER_DEVICES`].
        inner: [Hardware; 2],
    },
    /// Switch the offloads of both ends of a spliced link and of its inner sides off, so that what crosses it is what a
    /// wire would carry: frames no longer than the MTU, with complete checksums.
    RealFrames {
        /// The link.
        link: String,
        /// Its ends.
        ends: [LinkEnd; 2],
    },
    /// Limit what both ends of a spliced link send in one frame: to what its path takes whole. All offloads stay as they are
    /// on a plain veth pair.
    GsoMaxSize {
        /// The link.
        link: String,
        /// Its ends.
        ends: [LinkEnd; 2],
        /// In bytes, Ethernet header included.
        bytes: u32,
    },
    /// Forward what crosses a spliced link, and do to it what its path says. The engine does it: it is a thread, not a
    /// part of the kernel's world.
    Path(Box<PathSetup>),
    /// Make a device that isn't the end of a link, with its ports; still down.
    Device {
        /// The namespace.
        namespace: String,
        /// What it is.
        device: Device,
        /// Its interface index and MAC address.
        hardware: Hardware,
    },
    /// Add an address, without duplicate address detection.
    Address {
        /// The namespace.
        namespace: String,
        /// The interface.
        device: String,
        /// The address.
        address: Address,
    },
    /// Set an interface up, and wait until it has a carrier.
    LinkUp {
        /// The namespace.
        namespace: String,
        /// The interface.
        device: String,
    },
    /// Limit what an interface sends (token bucket).
    Rate {
        /// The namespace.
        namespace: String,
        /// The interface.
        device: String,
        /// Bits per second.
        rate: u64,
    },
    /// Add a route.
    Route {
        /// The namespace.
        namespace: String,
        /// The route.
        route: Route,
    },
    /// Add a routing rule.
    Rule {
        /// The namespace.
        namespace: String,
        /// The rule.
        rule: RoutingRule,
    },
    /// Configure the path manager.
    Operation(Operation),
}

/// What the inner sides of a spliced link are called in the namespace of its path, in the order of the link's ends.
pub const INNER_DEVICES: [&str; 2] = ["first", "second"];

#[cfg(test)]
pub(crate) mod example;
