//! The world of a scenario: namespaces and the links between them.

use std::fmt;
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

    /// All addresses, with their namespaces and devices.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, &str, Address)> {
        let ends = self.links.iter().flat_map(|link| &link.ends);
        let of_links = ends.map(|end| (end.namespace.as_str(), end.device.as_str(), &end.addresses));
        let others = self.namespaces.iter().flat_map(|namespace| {
            let devices = namespace.devices.iter();
            devices.map(|device| (namespace.name.as_str(), device.name.as_str(), &device.addresses))
        });
        of_links.chain(others).flat_map(|(namespace, device, addresses)| {
            addresses.iter().map(move |address| (namespace, device, *address))
        })
    }

    /// The addresses that a namespace has.
    pub fn addresses_of(&self, namespace: &str) -> impl Iterator<Item = Address> {
        self.addresses().filter(move |(owner, ..)| *owner == namespace).map(|(.., address)| address)
    }

    /// Whether what leaves or arrives by a device of a namespace does so by the end of a link that this is: it is that
    /// device, or that device lies on it. Captures show the ends of links only.
    pub fn is_on(&self, namespace: &str, device: &str, end: &str) -> bool {
        let devices = self.namespace(namespace).map_or(&[][..], |namespace| &namespace.devices);
        let below = devices.iter().find(|known| known.name == device).map(Device::below).unwrap_or_default();
        device == end || below.iter().any(|below| self.is_on(namespace, below, end))
    }

    /// The namespace that has this address.
    pub fn owner(&self, address: IpAddr) -> Option<&str> {
        let address = address.to_canonical();
        let mut all = self.addresses();
        all.find(|(.., own)| own.address.to_canonical() == address).map(|(namespace, ..)| namespace)
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
    /// Devices that aren't ends of links, in the order in which they are made.
    pub devices: Vec<Device>,
    /// The settings of a real host instead of those that make runs repeatable.
    pub real_defaults: bool,
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
            devices: Vec::new(),
            real_defaults: false,
        }
    }
}

/// A device that isn't the end of a link.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Its addresses.
    pub addresses: Vec<Address>,
}

/// What a device is, and what it lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceKind {
    /// Tags what it sends by another one (802.1Q).
    Vlan {
        /// That one.
        on: String,
        /// The tag.
        id: u16,
    },
    /// Connects its ports like a switch.
    Bridge {
        /// Its ports.
        ports: Vec<String>,
    },
    /// Goes nowhere.
    Dummy,
    /// Gives its devices a routing table of their own.
    Vrf {
        /// Its devices.
        ports: Vec<String>,
        /// The table.
        table: u32,
    },
    /// Another interface on the same wire.
    Macvlan {
        /// The interface that it is on.
        on: String,
    },
}

impl DeviceKind {
    /// Their words, as ip-link(8) has them.
    pub const WORDS: [&'static str; 5] = ["vlan", "bridge", "dummy", "vrf", "macvlan"];

    /// As ip-link(8) calls it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Vlan { .. } => "vlan",
            Self::Bridge { .. } => "bridge",
            Self::Dummy => "dummy",
            Self::Vrf { .. } => "vrf",
            Self::Macvlan { .. } => "macvlan",
        }
    }

    /// The interface that it is on.
    pub fn on(&self) -> Option<&str> {
        match self {
            Self::Vlan { on, .. } | Self::Macvlan { on } => Some(on),
            Self::Bridge { .. } | Self::Dummy | Self::Vrf { .. } => None,
        }
    }

    /// Its ports.
    pub fn ports(&self) -> &[String] {
        match self {
            Self::Bridge { ports } | Self::Vrf { ports, .. } => ports,
            Self::Vlan { .. } | Self::Dummy | Self::Macvlan { .. } => &[],
        }
    }
}

impl Device {
    /// The devices that its packets go through.
    fn below(&self) -> Vec<&str> {
        self.kind.on().into_iter().chain(self.kind.ports().iter().map(String::as_str)).collect()
    }
}

/// `br0 bridge of eth1, eth2`, `eth1.7 vlan 7 on eth1`
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind.word())?;
        match &self.kind {
            DeviceKind::Vlan { on, id } => write!(f, " {id} on {on}"),
            DeviceKind::Macvlan { on } => write!(f, " on {on}"),
            DeviceKind::Bridge { ports } => write!(f, " of {}", ports.join(", ")),
            DeviceKind::Vrf { ports, table } => write!(f, " of {} with table {table}", ports.join(", ")),
            DeviceKind::Dummy => Ok(()),
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
