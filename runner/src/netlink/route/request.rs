//! Requests to the kernel, as data. Pure: nothing here has a socket.

use std::fmt;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState as Cached};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{AddressMessageBuilder, LinkMessageBuilder, LinkUnspec, LinkVeth};

use crate::net::{Address, Hardware, Route};

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
        Self::new(format!("add address {} to {device}", Prefix(address)), RouteNetlinkMessage::NewAddress(message), NEW)
    }

    /// Deletes an address.
    pub fn delete_address(index: u32, device: &str, address: Address) -> Self {
        Self::new(
            format!("delete address {} from {device}", Prefix(address)),
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

    /// Adds a route to the main table. `device` is the index of the interface that the route names, if it does.
    pub fn add_route(route: &Route, device: Option<u32>) -> Self {
        let message = RouteNetlinkMessage::NewRoute(route_message(route, device));
        Self::new(format!("add route {}", Words(route)), message, NEW)
    }

    /// Deletes a route from the main table.
    pub fn delete_route(route: &Route, device: Option<u32>) -> Self {
        let message = RouteNetlinkMessage::DelRoute(route_message(route, device));
        Self::new(format!("delete route {}", Words(route)), message, 0)
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
fn route_message(route: &Route, device: Option<u32>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.to.address);
    message.header.destination_prefix_length = route.to.prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    // A route without a gateway leads to neighbours (ip-route(8)); for IPv4 the kernel needs the scope.
    let neighbours = route.via.is_none() && route.to.address.is_ipv4();
    message.header.scope = if neighbours { RouteScope::Link } else { RouteScope::Universe };
    let gateway = |via: IpAddr| match (route.to.address, via) {
        (IpAddr::V4(_), IpAddr::V6(via)) => RouteAttribute::Via(RouteVia::Inet6(via)),
        (_, via) => RouteAttribute::Gateway(via.into()),
    };
    // For a prefix of length 0, the kernel wants no address (fib_valid_key_len, net/ipv4/fib_frontend.c).
    let to = (route.to.prefix > 0).then(|| RouteAttribute::Destination(route.to.address.into()));
    message.attributes = [
        to,
        route.via.map(gateway),
        device.map(RouteAttribute::Oif),
        route.source.map(|source| RouteAttribute::PrefSource(source.into())),
        route.metric.map(RouteAttribute::Priority),
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

/// An address as ip-address(8) writes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefix(pub(super) Address);

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.address, self.0.prefix)
    }
}

/// A route as ip-route(8) writes it.
struct Words<'a>(&'a Route);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = self.0;
        write!(f, "{}", Prefix(route.to))?;
        if let Some(via) = route.via {
            write!(f, " via {via}")?;
        }
        if let Some(dev) = &route.dev {
            write!(f, " dev {dev}")?;
        }
        if let Some(source) = route.source {
            write!(f, " src {source}")?;
        }
        match route.metric {
            Some(metric) => write!(f, " metric {metric}"),
            None => Ok(()),
        }
    }
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
            to: address("::/0"),
            via: Some("2001:db8::1".parse().unwrap()),
            dev: Some("eth1".into()),
            source: Some("2001:db8::2".parse().unwrap()),
            metric: Some(7),
        };
        assert_eq!(
            Request::add_route(&route, Some(2)).operation,
            "add route ::/0 via 2001:db8::1 dev eth1 src 2001:db8::2 metric 7"
        );
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
        let route =
            |to, via: &str| Route { to: address(to), via: via.parse().ok(), dev: None, source: None, metric: None };
        let message = route_message(&route("0.0.0.0/0", "10.0.0.1"), None);
        assert_eq!(message.attributes, [RouteAttribute::Gateway(RouteAddress::Inet([10, 0, 0, 1].into()))]);
        let message = route_message(&route("10.0.0.0/8", "fe80::1"), None);
        assert!(matches!(message.attributes.as_slice(), [_, RouteAttribute::Via(_)]), "RFC 5549");
        let message = route_message(&route("2001:db8::/32", "10.0.0.1"), None);
        assert!(matches!(message.attributes.as_slice(), [_, RouteAttribute::Gateway(RouteAddress::Inet(_))]));
    }
}
