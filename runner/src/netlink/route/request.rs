//! Requests to the kernel, as data. Pure: nothing here has a socket.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, InfoVeth, InfoVlan, InfoVrf, LinkAttribute, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState as Cached};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteProtocol, RouteScope, RouteType as KernelType,
    RouteVia,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{AddressMessageBuilder, LinkMessageBuilder, LinkUnspec, LinkVeth};

use crate::net::{Address, Hardware, NextHop, Route, RouteType, RoutingRule};
use crate::scenario::model::{Device, DeviceKind};

use super::tbf::TokenBucket;

/// Flags to create something that must not exist yet.
const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// One rtnetlink request, with its description for errors.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its description: `add address 10.0.1.1/24 to eth1`.
    pub operation: String,
    pub(super) message: RouteNetlinkMessage,
    pub(super) flags: u16,
}

/// One end of a veth pair to create.
#[derive(Debug, Clone, Copy)]
pub struct VethEnd<'a> {
    /// The network namespace in which it is created.
    pub namespace: BorrowedFd<'a>,
    /// The name of the interface there.
    pub device: &'a str,
    /// Its index and its MAC address.
    pub hardware: Hardware,
}

/// A host at the other end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// One of its addresses.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: [u8; 6],
}

impl Request {
    fn new(operation: String, message: RouteNetlinkMessage, flags: u16) -> Self {
        Self { operation, message, flags }
    }

    /// Creates a veth pair, with both ends in their namespaces from the start, and both down.
    ///
    /// They are down because the ends aren't connected yet when the kernel would set the peer up: `veth_open`
    /// (drivers/net/veth.c) would return ENOTCONN.
    pub fn add_veth(ends: [VethEnd<'_>; 2], mtu: Option<u32>) -> Self {
        let [near, far] = ends;
        let peer = InfoData::Veth(InfoVeth::Peer(veth_end(LinkMessageBuilder::<LinkUnspec>::new(), far, mtu)));
        let builder = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth).set_info_data(peer);
        Self::new(
            format!("add veth pair {} (index {}) - {}", near.device, near.hardware.index, far.device),
            RouteNetlinkMessage::NewLink(veth_end(builder, near, mtu)),
            NEW,
        )
    }

    /// Creates a device that isn't the end of a link, down. `on` is the index of the interface that it is on.
    pub fn add_device(device: &Device, hardware: Hardware, on: Option<u32>) -> Self {
        let (kind, data) = match &device.kind {
            DeviceKind::Vlan { id, .. } => (InfoKind::Vlan, Some(InfoData::Vlan(vec![InfoVlan::Id(*id)]))),
            DeviceKind::Bridge { .. } => (InfoKind::Bridge, None),
            DeviceKind::Dummy => (InfoKind::Dummy, None),
            DeviceKind::Vrf { table, .. } => (InfoKind::Vrf, Some(InfoData::Vrf(vec![InfoVrf::TableId(*table)]))),
            DeviceKind::Macvlan { .. } => {
                let mode = InfoMacVlan::Mode(MacVlanMode::Bridge);
                (InfoKind::MacVlan, Some(InfoData::MacVlan(vec![mode])))
            }
        };
        let mut message = LinkMessage::default();
        message.header.index = hardware.index;
        let info = [Some(LinkInfo::Kind(kind)), data.map(LinkInfo::Data)].into_iter().flatten().collect();
        message.attributes.extend([
            LinkAttribute::IfName(device.name.clone()),
            LinkAttribute::Address(hardware.mac.to_vec()),
            LinkAttribute::LinkInfo(info),
        ]);
        message.attributes.extend(on.map(LinkAttribute::Link));
        Self::new(format!("add the device {device}"), RouteNetlinkMessage::NewLink(message), NEW)
    }

    /// Makes an interface a port of a bridge, or a device of a VRF.
    pub fn set_master(index: u32, device: &str, master: u32) -> Self {
        let mut message = LinkUnspec::new_with_index(index).build();
        message.attributes.push(LinkAttribute::Controller(master));
        Self::new(format!("make {device} a port"), RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Deletes a device; with one end of a veth pair, the other one.
    pub fn delete_device(index: u32, device: &str) -> Self {
        let message = LinkUnspec::new_with_index(index).build();
        Self::new(format!("delete {device}"), RouteNetlinkMessage::DelLink(message), 0)
    }

    /// Makes the kernel notice an interface's carrier now. By itself it does so up to a second later, if another
    /// interface of the machine changed just before (`linkwatch_schedule_work`, net/core/link_watch.c). Since Linux
    /// 6.15, requesting a single link triggers it (`rtnl_getlink`, net/core/rtnetlink.c); before, it has no effect.
    pub fn notice_carrier(index: u32, device: &str) -> Self {
        let mut message = LinkMessage::default();
        message.header.index = index;
        Self::new(format!("look at {device}"), RouteNetlinkMessage::GetLink(message), 0)
    }

    /// Sets an interface up or down.
    pub fn set_link(index: u32, device: &str, up: bool) -> Self {
        let builder = LinkUnspec::new_with_index(index);
        let message = if up { builder.up() } else { builder.down() }.build();
        Self::new(format!("set {device} {}", if up { "up" } else { "down" }), RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Limits the size of frames that an interface sends before segmentation (generic segmentation offload), including
    /// the Ethernet header: frames are shorter than this. It applies to IPv4 as well, where that has its own limit
    /// (`netif_set_gso_max_size`, net/core/dev.h).
    pub fn set_gso_max_size(index: u32, device: &str, bytes: u32) -> Self {
        let mut message = LinkUnspec::new_with_index(index).build();
        message.attributes.push(LinkAttribute::GsoMaxSize(bytes));
        Self::new(format!("set gso_max_size of {device} to {bytes}"), RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Adds an address. An IPv6 address is usable at once, without duplicate address detection (`IFA_F_NODAD`).
    pub fn add_address(index: u32, device: &str, address: Address) -> Self {
        let mut message = address_message(index, address);
        if address.address.is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        Self::new(format!("add address {address} to {device}"), RouteNetlinkMessage::NewAddress(message), NEW)
    }

    /// Deletes an address.
    pub fn delete_address(index: u32, device: &str, address: Address) -> Self {
        Self::new(
            format!("delete address {address} from {device}"),
            RouteNetlinkMessage::DelAddress(address_message(index, address)),
            0,
        )
    }

    /// Adds a permanent neighbour entry to an interface (`NUD_PERMANENT`), so that no request for it is sent.
    pub fn add_neighbour(index: u32, device: &str, neighbour: Neighbour) -> Self {
        let Neighbour { address, mac } = neighbour;
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = index;
        message.header.state = Cached::Permanent;
        message.attributes =
            vec![NeighbourAttribute::Destination(address.into()), NeighbourAttribute::LinkLayerAddress(mac.to_vec())];
        let operation = format!("add the neighbour {address} of {device}");
        Self::new(operation, RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Adds a route. `devices` are the indices of the interfaces that its next hops name, as far as they do.
    pub fn add_route(route: &Route, devices: &[Option<u32>]) -> Self {
        let message = RouteNetlinkMessage::NewRoute(route_message(route, devices));
        Self::new(format!("add route {route}"), message, NEW)
    }

    /// Deletes a route.
    pub fn delete_route(route: &Route, devices: &[Option<u32>]) -> Self {
        let message = RouteNetlinkMessage::DelRoute(route_message(route, devices));
        Self::new(format!("delete route {route}"), message, 0)
    }

    /// Adds a routing rule.
    pub fn add_rule(rule: &RoutingRule) -> Self {
        Self::new(format!("add rule {rule}"), RouteNetlinkMessage::NewRule(rule_message(rule)), NEW)
    }

    /// Deletes the first routing rule that has all of this.
    pub fn delete_rule(rule: &RoutingRule) -> Self {
        Self::new(format!("delete rule {rule}"), RouteNetlinkMessage::DelRule(rule_message(rule)), 0)
    }

    /// Limits the rate at which an interface sends.
    pub fn set_rate(index: u32, device: &str, bucket: TokenBucket) -> Self {
        let mut message = queue_message(index);
        message.attributes = vec![TcAttribute::Kind(TokenBucket::KIND.to_owned()), bucket.attribute()];
        Self::new(
            format!("limit {device} to {} bit/s", bucket.bits_per_second()),
            RouteNetlinkMessage::NewQueueDiscipline(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }
}

fn veth_end<T>(builder: LinkMessageBuilder<T>, end: VethEnd<'_>, mtu: Option<u32>) -> LinkMessage {
    // The kernel uses the peer's index only if the other end has one, too (rtnl_newlink_create, net/core/rtnetlink.c).
    let builder = builder
        .name(end.device)
        .index(end.hardware.index)
        .address(end.hardware.mac.to_vec())
        .setns_by_fd(end.namespace.as_raw_fd());
    match mtu {
        Some(mtu) => builder.mtu(mtu).build(),
        None => builder.build(),
    }
}

fn address_message(index: u32, address: Address) -> AddressMessage {
    let mut message = match address.address {
        IpAddr::V4(ipv4) => AddressMessageBuilder::<std::net::Ipv4Addr>::new().address(ipv4, address.prefix).build(),
        IpAddr::V6(ipv6) => AddressMessageBuilder::<std::net::Ipv6Addr>::new().address(ipv6, address.prefix).build(),
    };
    message.header.index = index;
    if let IpAddr::V6(ipv6) = address.address
        && ipv6.is_unicast_link_local()
    {
        message.header.scope = AddressScope::Link;
    }
    message
}

/// Built without rtnetlink's builder, which refuses inconsistent routes: that is up to the kernel.
fn route_message(route: &Route, devices: &[Option<u32>]) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.to.address);
    message.header.destination_prefix_length = route.to.prefix;
    let number = table_number(route.table());
    message.header.table = number;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = kernel_type(route.kind);
    message.header.scope = scope(route);
    // For a prefix of length 0, the kernel wants no address (fib_valid_key_len, net/ipv4/fib_frontend.c).
    let to = (route.to.prefix > 0).then(|| RouteAttribute::Destination(route.to.address.into()));
    let mut devices = devices.iter().copied();
    let mut next_device = || devices.next().flatten();
    let single = if route.nexthops.is_empty() { next_device() } else { None };
    let nexthops: Vec<RouteNextHop> = route.nexthops.iter().map(|hop| next_hop(route, hop, next_device())).collect();
    message.attributes = [
        to,
        (number == RouteHeader::RT_TABLE_UNSPEC).then(|| RouteAttribute::Table(route.table())),
        route.via.map(|via| gateway(route, via)),
        single.map(RouteAttribute::Oif),
        (!nexthops.is_empty()).then_some(RouteAttribute::MultiPath(nexthops)),
        route.source.map(|source| RouteAttribute::PrefSource(source.into())),
        route.metric.map(RouteAttribute::Priority),
    ]
    .into_iter()
    .flatten()
    .collect();
    message
}

/// As ip-route(8) chooses it: a route without a gateway leads to neighbours; for IPv4 the kernel needs the scope.
fn scope(route: &Route) -> RouteScope {
    let no_gateway = route.hops().all(|(via, _)| via.is_none());
    match route.kind {
        RouteType::Unicast if no_gateway && route.to.address.is_ipv4() => RouteScope::Link,
        RouteType::Local if route.to.address.is_ipv4() => RouteScope::Host,
        _ => RouteScope::Universe,
    }
}

fn gateway(route: &Route, via: IpAddr) -> RouteAttribute {
    match (route.to.address, via) {
        (IpAddr::V4(_), IpAddr::V6(via)) => RouteAttribute::Via(RouteVia::Inet6(via)),
        (_, via) => RouteAttribute::Gateway(via.into()),
    }
}

fn next_hop(route: &Route, hop: &NextHop, device: Option<u32>) -> RouteNextHop {
    let mut message = RouteNextHop::default();
    // The kernel adds 1 (`fib_get_nhs`, net/ipv4/fib_semantics.c; `ip6_route_multipath_add`, net/ipv6/route.c).
    let weight = hop.weight.unwrap_or(1).saturating_sub(1);
    message.hops = u8::try_from(weight).unwrap_or(u8::MAX);
    message.interface_index = device.unwrap_or(0);
    message.attributes.extend(hop.via.map(|via| gateway(route, via)));
    message
}

fn kernel_type(kind: RouteType) -> KernelType {
    match kind {
        RouteType::Unicast => KernelType::Unicast,
        RouteType::Local => KernelType::Local,
        RouteType::Blackhole => KernelType::BlackHole,
        RouteType::Unreachable => KernelType::Unreachable,
        RouteType::Prohibit => KernelType::Prohibit,
        RouteType::Throw => KernelType::Throw,
    }
}

/// The header has room for numbers up to 255; others are an attribute.
fn table_number(table: u32) -> u8 {
    u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC)
}

fn rule_message(rule: &RoutingRule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let ipv4 = rule.is_ipv4().unwrap_or(true);
    message.header.family = if ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    // For a prefix of length 0, the kernel wants no address (`validate_rulemsg`, net/core/fib_rules.c).
    let selector = |selector: Option<Address>| selector.filter(|selector| selector.prefix > 0);
    let (from, to) = (selector(rule.from), selector(rule.to));
    message.header.src_len = from.map_or(0, |from| from.prefix);
    message.header.dst_len = to.map_or(0, |to| to.prefix);
    let number = rule.table.map_or(RouteHeader::RT_TABLE_UNSPEC, table_number);
    message.header.table = number;
    message.header.action = match rule.kind {
        Some(RouteType::Blackhole) => RuleAction::Blackhole,
        Some(RouteType::Unreachable) => RuleAction::Unreachable,
        Some(RouteType::Prohibit) => RuleAction::Prohibit,
        Some(RouteType::Unicast | RouteType::Local | RouteType::Throw) | None => RuleAction::ToTable,
    };
    message.attributes = [
        from.map(|from| RuleAttribute::Source(from.address)),
        to.map(|to| RuleAttribute::Destination(to.address)),
        rule.priority.map(RuleAttribute::Priority),
        rule.mark.map(RuleAttribute::FwMark),
        rule.incoming.clone().map(RuleAttribute::Iifname),
        rule.outgoing.clone().map(RuleAttribute::Oifname),
        rule.protocol.map(|protocol| RuleAttribute::IpProtocol(protocol.into())),
        rule.table.filter(|_| number == RouteHeader::RT_TABLE_UNSPEC).map(RuleAttribute::Table),
    ]
    .into_iter()
    .flatten()
    .collect();
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn queue_message(index: u32) -> TcMessage {
    // The kernel's indices are `int`s, and positive.
    let mut message = TcMessage::with_index(i32::try_from(index).unwrap_or(i32::MAX));
    message.header.parent = TcHandle::ROOT;
    message.header.handle = TcHandle { major: 1, minor: 0 };
    message
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::RouteAddress;

    use super::*;

    fn address(text: &str) -> Address {
        let (address, prefix) = text.split_once('/').unwrap();
        Address { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    #[test]
    fn a_failure_can_name_what_was_attempted() {
        let route = Route {
            via: Some("2001:db8::1".parse().unwrap()),
            dev: Some("eth1".into()),
            source: Some("2001:db8::2".parse().unwrap()),
            metric: Some(7),
            table: Some(1000),
            ..Route::new(address("::/0"))
        };
        assert_eq!(
            Request::add_route(&route, &[Some(2)]).operation,
            "add route default via 2001:db8::1 dev eth1 src 2001:db8::2 metric 7 table 1000"
        );
        let rule = RoutingRule { from: Some(address("10.0.0.1/32")), table: Some(2), ..RoutingRule::default() };
        assert_eq!(Request::delete_rule(&rule).operation, "delete rule from 10.0.0.1 table 2");
        assert_eq!(Request::set_link(2, "eth1", false).operation, "set eth1 down");
        let neighbour = Neighbour { address: "fe80::1".parse().unwrap(), mac: [2, 0, 0, 0, 1, 1] };
        assert_eq!(Request::add_neighbour(2, "eth1", neighbour).operation, "add the neighbour fe80::1 of eth1");
        assert_eq!(
            Request::delete_address(2, "eth1", address("10.0.0.1/8")).operation,
            "delete address 10.0.0.1/8 from eth1"
        );
    }

    #[test]
    fn only_what_must_be_new_is_asked_to_be() {
        let new = address("10.0.0.1/8");
        assert_eq!(Request::add_address(2, "eth1", new).flags, NLM_F_CREATE | NLM_F_EXCL);
        assert_eq!(Request::delete_address(2, "eth1", new).flags, 0);
        assert_eq!(Request::set_link(2, "eth1", true).flags, 0);
    }

    #[test]
    fn a_default_route_has_no_destination_and_a_foreign_gateway_is_left_to_the_kernel() {
        let route = |to, via: &str| Route { via: via.parse().ok(), ..Route::new(address(to)) };
        let message = route_message(&route("0.0.0.0/0", "10.0.0.1"), &[None]);
        assert_eq!(message.attributes, [RouteAttribute::Gateway(RouteAddress::Inet([10, 0, 0, 1].into()))]);
        let message = route_message(&route("10.0.0.0/8", "fe80::1"), &[None]);
        assert!(matches!(message.attributes.as_slice(), [_, RouteAttribute::Via(_)]), "RFC 5549");
        let message = route_message(&route("2001:db8::/32", "10.0.0.1"), &[None]);
        assert!(matches!(message.attributes.as_slice(), [_, RouteAttribute::Gateway(RouteAddress::Inet(_))]));
    }

    #[test]
    fn a_table_is_in_the_header_if_its_number_fits() {
        let route = |table| Route { table, ..Route::new(address("10.0.0.0/8")) };
        let parts = |table| {
            let message = route_message(&route(table), &[]);
            (message.header.table, message.attributes.contains(&RouteAttribute::Table(table.unwrap_or(0))))
        };
        assert_eq!([None, Some(7), Some(1000)].map(parts), [(254, false), (7, false), (0, true)]);
    }

    #[test]
    fn next_hops_have_a_device_each_and_weights_from_zero() {
        let hop = |via: &str, weight| NextHop { via: via.parse().ok(), dev: None, weight };
        let nexthops = vec![hop("10.0.1.1", None), hop("10.0.2.1", Some(256))];
        let message = route_message(&Route { nexthops, ..Route::new(address("0.0.0.0/0")) }, &[Some(2), Some(3)]);
        let [RouteAttribute::MultiPath(hops)] = message.attributes.as_slice() else { panic!("{message:?}") };
        assert_eq!(hops.iter().map(|hop| (hop.interface_index, hop.hops)).collect::<Vec<_>>(), [(2, 0), (3, 255)]);
    }
}
