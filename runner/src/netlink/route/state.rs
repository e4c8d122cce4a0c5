//! The state in the kernel's dumps, decoded as far as mptcplab needs it. Pure.

use std::net::IpAddr;

use netlink_packet_core::Nla;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, State};
use netlink_packet_route::neighbour::{self, NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteType as KernelType, RouteVia,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::tc::{TcAttribute, TcMessage, TcOption};

use crate::net::{Address, RouteType, RoutingRule};

use super::request::Neighbour;
use super::tbf::TokenBucket;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// Its index, from 1.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address; six bytes for Ethernet.
    pub mac: Vec<u8>,
    /// In bytes.
    pub mtu: u32,
    /// Maximum size of a frame before segmentation, in bytes; the larger of the limits for IPv4 and for all.
    pub gso_max_size: u32,
    /// Set up (`IFF_UP`).
    pub up: bool,
    /// It has a carrier, and the kernel has noticed that: it sends.
    ///
    /// This is its operational state (`IF_OPER_UP`), not only `IFF_RUNNING` and `IFF_LOWER_UP`: a new veth with a
    /// carrier has both flags at once, but drops packets until `linkwatch_do_dev` (`net/core/link_watch.c`) has
    /// attached its queue. `lo` has no operational state; for it the flags count.
    pub running: bool,
    /// It has a carrier (`IFF_LOWER_UP`), whatever its operational state.
    pub carrier: bool,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets dropped instead of sent; for a veth, also those for which the other end had no room.
    pub tx_dropped: u64,
}

impl From<LinkMessage> for LinkState {
    fn from(message: LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: Vec::new(),
            mtu: 0,
            gso_max_size: 0,
            up: flags.contains(LinkFlags::Up),
            running: false,
            carrier: flags.contains(LinkFlags::LowerUp),
            rx_bytes: 0,
            tx_bytes: 0,
            tx_dropped: 0,
        };
        let mut operational = State::Unknown;
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::OperState(state) => operational = state,
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(mac) => link.mac = mac,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::GsoMaxSize(bytes) | LinkAttribute::GsoIpv4MaxSize(bytes) => {
                    link.gso_max_size = link.gso_max_size.max(bytes);
                }
                LinkAttribute::Stats64(counts) => {
                    (link.rx_bytes, link.tx_bytes) = (counts.rx_bytes, counts.tx_bytes);
                    link.tx_dropped = counts.tx_dropped;
                }
                _ => {}
            }
        }
        link.running = flags.contains(LinkFlags::Running | LinkFlags::LowerUp)
            && (operational == State::Up || flags.contains(LinkFlags::Loopback));
        link
    }
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressState {
    /// The index of the interface.
    pub index: u32,
    /// The address with its prefix length.
    pub address: Address,
    /// It is usable: neither `IFA_F_TENTATIVE` nor `IFA_F_DADFAILED`.
    pub usable: bool,
    /// Another host has it: duplicate address detection failed (`IFA_F_DADFAILED`).
    pub duplicate: bool,
}

impl AddressState {
    /// `None` for a message without an address.
    pub(super) fn from_message(message: &AddressMessage) -> Option<Self> {
        // For a point-to-point interface, IFA_ADDRESS is the peer's; where IFA_LOCAL is, it is our own.
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        let address = local.or_else(|| {
            message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
        })?;
        let header = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
        let flags = message.attributes.iter().fold(header, |flags, attribute| match attribute {
            AddressAttribute::Flags(more) => flags | *more,
            _ => flags,
        });
        Some(Self {
            index: message.header.index,
            address: Address { address, prefix: message.header.prefix_len },
            usable: !flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
            duplicate: flags.contains(AddressFlags::Dadfailed),
        })
    }
}

/// A permanent neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourState {
    /// The index of the interface.
    pub index: u32,
    /// The neighbour behind it.
    pub neighbour: Neighbour,
}

impl NeighbourState {
    /// `None` for one that isn't permanent, or has no MAC address.
    pub(super) fn from_message(message: &NeighbourMessage) -> Option<Self> {
        if message.header.state != neighbour::NeighbourState::Permanent {
            return None;
        }
        let (mut address, mut mac) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(ipv4)) => address = Some(IpAddr::V4(*ipv4)),
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(ipv6)) => address = Some(IpAddr::V6(*ipv6)),
                NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
                _ => {}
            }
        }
        Some(Self { index: message.header.ifindex, neighbour: Neighbour { address: address?, mac: mac? } })
    }
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteState {
    /// The destination; prefix 0 is the default route of that family.
    pub to: Address,
    /// The gateway.
    pub via: Option<IpAddr>,
    /// The index of the interface.
    pub device: Option<u32>,
    /// The preferred source address.
    pub source: Option<IpAddr>,
    /// The metric; for IPv6 the kernel fills in 1024.
    pub metric: Option<u32>,
    /// Several next hops: gateway, index of the interface, and weight of each.
    pub nexthops: Vec<(Option<IpAddr>, u32, u16)>,
    /// The number of the table: 254 main, 255 local.
    pub table: u32,
    /// What it does with packets; `None`: something that no scenario asks for, as `broadcast`.
    pub kind: Option<RouteType>,
}

impl RouteState {
    /// `None` for a route that is neither IPv4 nor IPv6.
    pub(super) fn from_message(message: &RouteMessage) -> Option<Self> {
        let header: &RouteHeader = &message.header;
        let default = match header.address_family {
            AddressFamily::Inet => IpAddr::from([0; 4]),
            AddressFamily::Inet6 => IpAddr::from([0; 16]),
            _ => return None,
        };
        let mut route = Self {
            to: Address { address: default, prefix: header.destination_prefix_length },
            via: None,
            device: None,
            source: None,
            metric: None,
            nexthops: Vec::new(),
            table: u32::from(header.table),
            kind: kind(header.kind),
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(to) => route.to.address = address(to).unwrap_or(default),
                RouteAttribute::MultiPath(hops) => route.nexthops = hops.iter().map(next_hop).collect(),
                RouteAttribute::Oif(index) => route.device = Some(*index),
                RouteAttribute::PrefSource(source) => route.source = address(source),
                RouteAttribute::Priority(metric) => route.metric = Some(*metric),
                RouteAttribute::Table(table) => route.table = *table,
                other => route.via = route.via.or(gateway(other)),
            }
        }
        Some(route)
    }
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(via) => address(via),
        RouteAttribute::Via(RouteVia::Inet6(via)) => Some(IpAddr::V6(*via)),
        _ => None,
    }
}

fn next_hop(hop: &RouteNextHop) -> (Option<IpAddr>, u32, u16) {
    (hop.attributes.iter().find_map(gateway), hop.interface_index, u16::from(hop.hops) + 1)
}

fn kind(kind: KernelType) -> Option<RouteType> {
    Some(match kind {
        KernelType::Unicast => RouteType::Unicast,
        KernelType::Local => RouteType::Local,
        KernelType::BlackHole => RouteType::Blackhole,
        KernelType::Unreachable => RouteType::Unreachable,
        KernelType::Prohibit => RouteType::Prohibit,
        KernelType::Throw => RouteType::Throw,
        _ => return None,
    })
}

/// A routing rule, as far as a scenario can ask for it. `None`: it does something else.
pub(super) fn rule(message: &RuleMessage) -> Option<RoutingRule> {
    let header = &message.header;
    let kind = match header.action {
        RuleAction::ToTable => None,
        RuleAction::Blackhole => Some(RouteType::Blackhole),
        RuleAction::Unreachable => Some(RouteType::Unreachable),
        RuleAction::Prohibit => Some(RouteType::Prohibit),
        _ => return None,
    };
    let any = match header.family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let mut rule = RoutingRule {
        // The rule for the table `local` has this one, and no attribute for it.
        priority: Some(0),
        from: Some(Address { address: any, prefix: header.src_len }),
        table: (header.action == RuleAction::ToTable).then_some(u32::from(header.table)),
        kind,
        ..RoutingRule::default()
    };
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Source(address) => rule.from = Some(Address { address: *address, prefix: header.src_len }),
            RuleAttribute::Destination(address) => {
                rule.to = Some(Address { address: *address, prefix: header.dst_len });
            }
            RuleAttribute::Priority(priority) => rule.priority = Some(*priority),
            RuleAttribute::FwMark(mark) => rule.mark = Some(*mark),
            RuleAttribute::Iifname(device) => rule.incoming = Some(device.clone()),
            RuleAttribute::Oifname(device) => rule.outgoing = Some(device.clone()),
            RuleAttribute::IpProtocol(protocol) => rule.protocol = Some(u8::from(*protocol)),
            RuleAttribute::Table(table) => rule.table = rule.table.map(|_| *table),
            _ => {}
        }
    }
    Some(rule)
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// The root queueing discipline of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueState {
    /// The index of the interface.
    pub index: u32,
    /// Its name: `noqueue`, `tbf`.
    pub kind: String,
    /// The rate of a `tbf`, in bits per second.
    pub rate: Option<u64>,
}

impl QueueState {
    pub(super) fn from_message(message: &TcMessage) -> Option<Self> {
        let kind = message.attributes.iter().find_map(|attribute| match attribute {
            TcAttribute::Kind(kind) => Some(kind.clone()),
            _ => None,
        })?;
        let options = message.attributes.iter().find_map(|attribute| match attribute {
            TcAttribute::Options(options) => options.first(),
            _ => None,
        });
        let rate = match options {
            Some(TcOption::Other(options)) if kind == TokenBucket::KIND => {
                let mut bytes = vec![0; options.value_len()];
                options.emit_value(&mut bytes);
                TokenBucket::rate_of(&bytes)
            }
            _ => None,
        };
        Some(Self { index: u32::try_from(message.header.index).ok()?, kind, rate })
    }
}
