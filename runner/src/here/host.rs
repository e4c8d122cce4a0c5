//! What is known about the host: plain values, as the kernel gave them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::mptcp::{Endpoint, Limits, MptcpInfo, Side, SubflowFlags, SubflowState, canonical};
use crate::net::Address;

/// Everything that `explain --here` read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Host {
    /// The kernel has MPTCP.
    pub mptcp: bool,
    /// `net.mptcp.*`, by their names.
    pub sysctls: BTreeMap<String, String>,
    /// The limits of the in-kernel path manager.
    pub limits: Option<Limits>,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The interfaces.
    pub devices: Vec<Device>,
    /// Their addresses.
    pub addresses: Vec<OwnAddress>,
    /// The MPTCP connections.
    pub connections: Vec<Connection>,
    /// The routes that the kernel takes from endpoints and subflows to peers.
    pub routes: Vec<Lookup>,
    /// IPv4 neighbours that have not answered ARP.
    pub unresolved: Vec<Neighbour>,
    /// Counters of this network namespace since it exists, by their nstat names.
    pub counters: BTreeMap<String, u64>,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Set up (`IFF_UP`).
    pub up: bool,
    /// It has a carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// The effective reverse-path filter: the larger of `net.ipv4.conf.all.rp_filter` and its own (`IN_DEV_RPFILTER`,
    /// include/linux/inetdevice.h). 1 is strict.
    pub rp_filter: Option<u8>,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnAddress {
    /// The interface.
    pub device: String,
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix.
    pub prefix: u8,
    /// Whether it can be used.
    pub state: AddressUse,
}

/// Whether an address can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressUse {
    /// It can.
    Usable,
    /// Duplicate address detection goes on (`IFA_F_TENTATIVE`).
    Tentative,
    /// Another host has it (`IFA_F_DADFAILED`).
    Duplicate,
}

/// A neighbour on the link of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// The interface.
    pub device: String,
    /// Its address.
    pub address: IpAddr,
}

/// An MPTCP connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// Its token on this host.
    pub token: u32,
    /// The local end of its initial subflow.
    pub local: SocketAddr,
    /// The remote end of its initial subflow.
    pub remote: SocketAddr,
    /// Its state, numbered as a TCP state.
    pub state: u8,
    /// The side of it that this host is, if known.
    pub side: Option<Side>,
    /// `MPTCP_INFO`, if the kernel has `CONFIG_INET_MPTCP_DIAG`.
    pub info: Option<MptcpInfo>,
    /// Its subflows. `None`: they can't be read without privileges.
    pub subflows: Option<Vec<SubflowState>>,
    /// The peer forbids joins to its initial address (C flag). Only events tell.
    pub deny_join_id0: bool,
}

impl Connection {
    /// The subflows, if they can be read.
    pub fn subflows(&self) -> &[SubflowState] {
        self.subflows.as_deref().unwrap_or_default()
    }

    /// The initial subflow, while its socket exists.
    pub fn initial(&self) -> Option<&SubflowState> {
        let initial = SubflowFlags::MCAP_LOC | SubflowFlags::MCAP_REM;
        let is = |subflow: &&SubflowState| subflow.flags.intersects(initial) && !is_join(subflow);
        self.subflows().iter().find(is)
    }

    /// Whether the initial subflow is open, as far as subflows can be read.
    pub fn has_initial(&self) -> bool {
        self.subflows.is_none() || self.initial().is_some_and(is_open)
    }

    /// The additional subflows that TCP still has open or opens.
    pub fn additional(&self) -> impl Iterator<Item = &SubflowState> {
        self.subflows().iter().filter(|subflow| is_join(subflow) && is_open(subflow))
    }
}

/// An additional subflow. Either flag is set early, the one of the side that opened it (`subflow_get_info`,
/// net/mptcp/diag.c).
pub fn is_join(subflow: &SubflowState) -> bool {
    subflow.flags.intersects(SubflowFlags::JOIN_LOC | SubflowFlags::JOIN_REM)
}

/// In ESTABLISHED, SYN-SENT, SYN-RECEIVED or CLOSE-WAIT: neither side of it was closed here.
pub fn is_open(subflow: &SubflowState) -> bool {
    matches!(subflow.tcp_state, 1 | 2 | 3 | 8)
}

/// A question to the routing table, and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lookup {
    /// The source address.
    pub from: Option<IpAddr>,
    /// The interface that the socket is bound to.
    pub device: Option<String>,
    /// The destination.
    pub to: IpAddr,
    /// What the kernel answered.
    pub answer: Answer,
}

/// The kernel's answer to `RTM_GETROUTE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It sends.
    Leaves {
        /// By this interface.
        device: String,
        /// Through this gateway.
        via: Option<IpAddr>,
        /// From this address, unless a source was given.
        source: Option<IpAddr>,
        /// No route matches. The kernel assumes the destination to be on the link of the given interface
        /// (`ip_route_output_key_hash_rcu`, net/ipv4/route.c).
        assumed: bool,
    },
    /// It refuses, with this errno.
    Refused(String),
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// What it is.
    pub what: String,
    /// What the kernel answered.
    pub why: String,
    /// How to get it.
    pub how: String,
}

impl Host {
    /// A counter of `MPTcpExt`, 0 if the kernel lacks it.
    pub fn mptcp_counter(&self, name: &str) -> u64 {
        self.counters.get(&format!("MPTcpExt{name}")).copied().unwrap_or(0)
    }

    /// Where an address is. The same link-local address may be on several interfaces, and `lo` has its whole prefix.
    pub fn places(&self, address: IpAddr) -> impl Iterator<Item = &OwnAddress> {
        let wanted = canonical(address);
        let covers = move |own: &OwnAddress| Address { address: own.address, prefix: own.prefix }.covers(wanted);
        self.addresses.iter().filter(move |own| canonical(own.address) == wanted || own.device == "lo" && covers(own))
    }

    /// An interface.
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }

    /// What the kernel answered to this question about its routes.
    pub fn answer(&self, from: IpAddr, device: Option<&str>, to: IpAddr) -> Option<&Answer> {
        let (from, to) = (canonical(from), canonical(to));
        let found = self.routes.iter().find(|lookup| {
            lookup.from == Some(from) && lookup.device.as_deref() == device && canonical(lookup.to) == to
        });
        found.map(|lookup| &lookup.answer)
    }

    /// A SYN was sent to this destination before there was a route by a gateway: the kernel looked for the destination on
    /// the link. The gateway that leads to it now.
    pub fn late_gateway(&self, from: IpAddr, device: Option<&str>, to: IpAddr) -> Option<(&str, IpAddr)> {
        let Some(Answer::Leaves { device, via: Some(via), .. }) = self.answer(from, device, to) else { return None };
        let to = canonical(to);
        let looked = self.unresolved.iter().any(|neighbour| neighbour.device == *device && neighbour.address == to);
        looked.then_some((device, *via))
    }

    /// The sysctl that selects another path manager than the one in the kernel, as `name value`.
    pub fn other_path_manager(&self) -> Option<String> {
        let is_set = |name: &str, usual: &str| {
            self.sysctls.get(name).filter(|value| *value != usual).map(|value| format!("{name} {value}"))
        };
        is_set("net.mptcp.path_manager", "kernel").or_else(|| is_set("net.mptcp.pm_type", "0"))
    }

    /// The path manager that this connection has, if it isn't the one in the kernel. A connection keeps the one that was
    /// selected when it was created (`mptcp_pm_data_reset`, net/mptcp/pm.c). The kernel tells limits only where its own
    /// manages paths (`mptcp_diag_fill_info`, net/mptcp/sockopt.c); Linux 6.1 tells them in any case, in 48 bytes.
    pub fn other_path_manager_of(&self, connection: &Connection) -> Option<String> {
        let limit = self.limits.map_or(0, |limits| limits.subflows);
        let setting = self.other_path_manager();
        match &connection.info {
            Some(info) if info.subflows_max == 0 && limit > 0 => {
                Some(setting.unwrap_or_else(|| "it was selected when the connection was created".to_owned()))
            }
            Some(info) if info.subflows_max > 0 && info.size > 48 => None,
            _ => setting,
        }
    }
}
