//! The world of a scenario: namespaces and the links between them.

use std::net::IpAddr;

use crate::mptcp::{Endpoint, Limits};
pub use crate::net::{Address, NextHop, Route, RouteType, RoutingRule};

use super::{PathPlan, Place};

/// Namespaces and links.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// In the order of their declaration.
    pub namespaces: Vec<Namespace>,
    /// In the order of their declaration.
    pub links: Vec<Link>,
    /// What links do to the packets that cross them; links that are not named here are plain veth pairs.
    pub paths: Vec<PathPlan>,
}

impl World {
    /// The namespace of that name.
    pub fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.name == name)
    }

    /// The namespace that has this address on one of its links.
    pub fn owner(&self, address: IpAddr) -> Option<&str> {
        let address = address.to_canonical();
        self.links
            .iter()
            .flat_map(|link| &link.ends)
            .find(|end| end.addresses.iter().any(|own| own.address.to_canonical() == address))
            .map(|end| end.namespace.as_str())
    }
}

/// A network namespace.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the language")]
pub struct Namespace {
    /// Its name in the scenario.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    /// Limits to set; `None` leaves the kernel's defaults.
    pub limits: Option<Limits>,
    /// Endpoints to add before the first step, with their places.
    pub endpoints: Vec<(Endpoint, Place)>,
    /// Routes besides those of the links.
    pub routes: Vec<Route>,
    /// Routing rules besides those of the kernel.
    pub rules: Vec<RoutingRule>,
    /// Some of its routes and rules make its packets leave by the interface that has their source address.
    pub source_routing: bool,
    /// Sysctls by name with dots (`net.mptcp.checksum_enabled`), set before anything else.
    pub sysctls: Vec<(String, String)>,
    /// `true`: the userspace path manager (`net.mptcp.path_manager=userspace`, or `pm_type=1` on older kernels).
    pub userspace_path_manager: bool,
    /// Whether its events are recorded. A listener changes what a userspace path manager's namespace does.
    pub events: bool,
    /// Forwards packets between its links.
    pub forwarding: bool,
}

impl Namespace {
    /// One of which nothing is said, not even where: the kernel's defaults, and its events are recorded.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            place: Place::default(),
            limits: None,
            endpoints: Vec::new(),
            routes: Vec::new(),
            rules: Vec::new(),
            source_routing: false,
            sysctls: Vec::new(),
            userspace_path_manager: false,
            events: true,
            forwarding: false,
        }
    }
}

/// A veth pair.
#[derive(Debug, Clone)]
pub struct Link {
    /// Its name in the scenario.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    /// In bytes.
    pub mtu: Option<u32>,
    /// A rate limit in bits per second, for each direction (token bucket).
    pub rate: Option<u64>,
    /// Its two ends.
    pub ends: [LinkEnd; 2],
}

/// One end of a link.
#[derive(Debug, Clone)]
pub struct LinkEnd {
    /// The namespace that it is in.
    pub namespace: String,
    /// The name of the interface there.
    pub device: String,
    /// Its addresses.
    pub addresses: Vec<Address>,
}
