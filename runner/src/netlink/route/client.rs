//! The client: sends requests, reads dumps.

use std::net::IpAddr;

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage};
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_route::tc::TcMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use crate::net::RoutingRule;
use crate::netlink::exchange::{Exchange, RawMessage};
use crate::netlink::{Cause, NetlinkError};

use super::{AddressState, LinkState, NeighbourState, QueueState, Request, RouteState};

/// Maximum number of requests in one datagram. Each ACK takes its share of the receive buffer, of at least 208 KiB.
const BATCH: usize = 64;
/// How often a dump is repeated if a concurrent change disturbed it.
const DUMPS: usize = 16;

/// An rtnetlink socket in one network namespace.
#[derive(Debug)]
pub struct RouteClient {
    /// The name of the namespace, for errors.
    place: String,
    exchange: Exchange,
}

impl RouteClient {
    /// Opens a socket in the network namespace of the calling thread, to which it belongs from then on. `place` is the
    /// name of the namespace in errors.
    ///
    /// # Errors
    ///
    /// The socket can't be opened.
    pub fn open(place: &str) -> Result<Self, NetlinkError> {
        let exchange = Exchange::open(NETLINK_ROUTE);
        let exchange = exchange.map_err(|error| Cause::Io(error).of(format!("open a netlink socket in {place}")))?;
        Ok(Self { place: place.to_owned(), exchange })
    }

    /// Sends one request.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or doesn't acknowledge.
    pub fn request(&self, request: Request) -> Result<(), NetlinkError> {
        self.submit(vec![request])
    }

    /// Sends these requests, in this order, with as few system calls as possible.
    ///
    /// # Errors
    ///
    /// The error of the first request that failed. Those after it were still tried.
    pub fn submit(&self, mut requests: Vec<Request>) -> Result<(), NetlinkError> {
        let mut result = Ok(());
        while !requests.is_empty() {
            let rest = requests.split_off(requests.len().min(BATCH));
            result = result.and(self.submit_batch(requests));
            requests = rest;
        }
        result
    }

    fn submit_batch(&self, requests: Vec<Request>) -> Result<(), NetlinkError> {
        let words = |operation: &str| format!("{operation} in {}", self.place);
        let (operations, messages): (Vec<String>, Vec<_>) =
            requests.into_iter().map(|request| (request.operation, (raw(&request.message), request.flags))).unzip();
        let first = operations.first().map_or_else(String::new, |operation| words(operation));
        let answers = self.exchange.ask_all(messages).map_err(|cause| cause.of(first))?;
        let refused = operations.iter().zip(answers).find_map(|(operation, refusal)| Some((operation, refusal?)));
        refused.map_or(Ok(()), |(operation, refusal)| Err(Cause::Refused(refusal).of(words(operation))))
    }

    /// All interfaces.
    pub fn links(&self) -> Result<Vec<LinkState>, NetlinkError> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.dump("list the links", &request, |message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(LinkState::from(link)),
            _ => None,
        })
    }

    /// All addresses, IPv4 first.
    pub fn addresses(&self) -> Result<Vec<AddressState>, NetlinkError> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        self.dump("list the addresses", &request, |message| match message {
            RouteNetlinkMessage::NewAddress(address) => AddressState::from_message(&address),
            _ => None,
        })
    }

    /// All permanent neighbours, without those that the kernel discovered.
    pub fn neighbours(&self) -> Result<Vec<NeighbourState>, NetlinkError> {
        let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        self.dump("list the neighbours", &request, |message| match message {
            RouteNetlinkMessage::NewNeighbour(neighbour) => NeighbourState::from_message(&neighbour),
            _ => None,
        })
    }

    /// All routes of all tables, IPv4 first.
    pub fn routes(&self) -> Result<Vec<RouteState>, NetlinkError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let request = RouteNetlinkMessage::GetRoute(message);
            routes.extend(self.dump("list the routes", &request, |message| match message {
                RouteNetlinkMessage::NewRoute(route) => RouteState::from_message(&route),
                _ => None,
            })?);
        }
        Ok(routes)
    }

    /// All routing rules, IPv4 first, in the order in which the kernel tries them. None of a family whose rules the
    /// kernel lacks (`CONFIG_IP_MULTIPLE_TABLES`, `CONFIG_IPV6_MULTIPLE_TABLES`).
    pub fn rules(&self) -> Result<Vec<RoutingRule>, NetlinkError> {
        let mut rules = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RuleMessage::default();
            message.header.family = family;
            let request = RouteNetlinkMessage::GetRule(message);
            let found = self.dump("list the routing rules", &request, |message| match message {
                RouteNetlinkMessage::NewRule(rule) => super::state::rule(&rule),
                _ => None,
            });
            rules.extend(found.or_else(|error| {
                let refusal = error.refusal().map(|refusal| refusal.errno);
                let lacks = [Errno::EAFNOSUPPORT, Errno::EOPNOTSUPP].map(|errno| Some(errno as i32));
                if lacks.contains(&refusal) { Ok(Vec::new()) } else { Err(error) }
            })?);
        }
        Ok(rules)
    }

    /// The route that the kernel would take to `to`, from this source and by the interface with this index, as far as
    /// they are given (`ip route get`). Any user may ask.
    ///
    /// IPv4 assumes any destination to be on the link if an interface is given and no route matches
    /// (`ip_route_output_key_hash_rcu`, net/ipv4/route.c): `only_by_table` asks for the route in the table instead, so
    /// that such a destination is refused.
    ///
    /// # Errors
    ///
    /// The kernel's refusal: `ENETUNREACH` where no route matches, and what `unreachable`, `prohibit` and `blackhole`
    /// routes say.
    pub fn route_to(
        &self,
        to: IpAddr,
        from: Option<IpAddr>,
        interface: Option<u32>,
        only_by_table: bool,
    ) -> Result<RouteState, NetlinkError> {
        let mut message = RouteMessage::default();
        let bits = if to.is_ipv4() { 32 } else { 128 };
        message.header.address_family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.destination_prefix_length = bits;
        message.header.flags = RouteFlags::LookupTable;
        if only_by_table {
            message.header.flags |= RouteFlags::FibMatch;
        }
        message.attributes.push(RouteAttribute::Destination(route_address(to)));
        if let Some(from) = from {
            message.header.source_prefix_length = bits;
            message.attributes.push(RouteAttribute::Source(route_address(from)));
        }
        message.attributes.extend(interface.map(RouteAttribute::Oif));
        let operation = || format!("look up the route to {to} in {}", self.place);
        let replies = self.exchange.ask(raw(&RouteNetlinkMessage::GetRoute(message)));
        let replies = replies.map_err(|cause| cause.of(operation()))?;
        for reply in &replies {
            let decoded = decode(reply).map_err(|cause| cause.of(operation()))?;
            if let RouteNetlinkMessage::NewRoute(route) = decoded
                && let Some(route) = RouteState::from_message(&route)
            {
                return Ok(route);
            }
        }
        Err(Cause::Undecodable("the reply contains no route".to_owned()).of(operation()))
    }

    /// All queueing disciplines.
    pub fn queues(&self) -> Result<Vec<QueueState>, NetlinkError> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        self.dump("list the queueing disciplines", &request, |message| match message {
            RouteNetlinkMessage::NewQueueDiscipline(queue) => QueueState::from_message(&queue),
            _ => None,
        })
    }

    /// Reads a whole list; again if it changed meanwhile (`NLM_F_DUMP_INTR`), as the kernel's documentation demands
    /// (Documentation/userspace-api/netlink/intro.rst, "Dump consistency").
    fn dump<T>(
        &self,
        operation: &str,
        request: &RouteNetlinkMessage,
        pick: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut result = Err(Cause::Interrupted);
        for _ in 0..DUMPS {
            result = self.exchange.dump(raw(request));
            if !matches!(result, Err(Cause::Interrupted)) {
                break;
            }
        }
        let decoded = result.and_then(|replies| replies.iter().map(decode).collect::<Result<Vec<_>, Cause>>());
        let messages = decoded.map_err(|cause| cause.of(format!("{operation} of {}", self.place)))?;
        Ok(messages.into_iter().filter_map(pick).collect())
    }
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

/// As bytes.
fn raw(message: &RouteNetlinkMessage) -> RawMessage {
    let mut payload = vec![0; message.buffer_len()];
    message.serialize(&mut payload);
    RawMessage { kind: message.message_type(), payload }
}

fn decode(reply: &RawMessage) -> Result<RouteNetlinkMessage, Cause> {
    let mut header = NetlinkHeader::default();
    header.message_type = reply.kind;
    RouteNetlinkMessage::deserialize(&header, &reply.payload).map_err(|error| Cause::Undecodable(error.to_string()))
}
