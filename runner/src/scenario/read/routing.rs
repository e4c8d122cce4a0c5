//! Routes and routing rules, and what `source_routing` makes of the default routes of a namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{Kind, Shape};
use super::super::model::{Address, Link, Namespace, NextHop, Place, Route, RouteType, RoutingRule};
use super::super::record::{List, part, record};
use super::super::scalar::{self, Ip, Number, Ordinal, Protocol, RouteKind, RuleKind, Selector, Table, Weight};
use super::part::Device;
use super::scope::Scope;
use super::{At, Read, Reader};
use crate::net::MAIN_TABLE;

record! {
    /// A route.
    RouteKeys as "route", "a route" then leads_somewhere for Route {
        to: need Destination = "to", "The destination: `default`, or a prefix like 10.0.9.0/24.";
        kind: or(RouteType::Unicast) RouteKind = "type",
            "What it does with packets: sends them to a next hop (`unicast`, the default), delivers them (`local`), \
             drops them (`blackhole`), refuses them (`unreachable`, `prohibit`), or ends the lookup in its table \
             (`throw`).";
        via: maybe Ip = "via", "The gateway.";
        dev: maybe Device = "dev", "The interface.";
        nexthops: or(Vec::new()) NextHops = "nexthops",
            "Several next hops instead of `via` and `dev` (multipath). A hash of the packet's addresses chooses one.";
        metric: maybe Number = "metric", "Of several routes in a table, that with the lowest metric is used.";
        table: maybe Table = "table", "The number of the table; by default main, 254. Rules select tables.";
        source: maybe Ip = "source", "The preferred source address.";
    }
}

/// Several next hops.
type NextHops = List<NextHopKeys>;

record! {
    /// One of several next hops.
    NextHopKeys as "nexthop", "a next hop" then hops_somewhere for NextHop {
        via: maybe Ip = "via", "The gateway.";
        dev: maybe Device = "dev", "The interface.";
        weight: maybe Weight = "weight", "Its share, relative to the others; 1 by default.";
    }
}

record! {
    /// A routing rule.
    RoutingRuleKeys as "routing_rule", "a routing rule" then selects_something for RoutingRule {
        from: maybe Selector = "from", "Packets from this address or prefix; 0.0.0.0/0 or ::/0: from any.";
        to: maybe Selector = "to", "Packets to this address or prefix.";
        mark: maybe Ordinal = "fwmark", "Packets with this mark.";
        incoming: maybe Device = "iif", "Packets that arrive by this interface; `lo`: those of this host.";
        outgoing: maybe Device = "oif", "Packets of sockets that are bound to this interface.";
        protocol: maybe Protocol = "ipproto", "Packets of this transport protocol.";
        table: maybe Table = "table", "The table in which the route is looked up; main is 254.";
        kind: maybe RuleKind = "type", "What happens instead of a lookup.";
        priority: maybe Number = "priority",
            "Rules are tried from the lowest priority on. By default, the kernel puts a rule before those without a \
             priority.";
    }
}

part! {
    /// A destination. The other keys of the route tell the address family of `default`.
    Destination: Address = Shape::Scalar(Kind::Destination), |at, node| {
        if node.text() != Some("default") {
            return at.reader.scalar(node, scalar::address_prefix);
        }
        let (via, source, hops) = (at.maybe::<Ip>("via"), at.maybe::<Ip>("source"), at.maybe::<NextHops>("nexthops"));
        let of_hops = || hops.ok().flatten().into_iter().flatten().find_map(|hop| hop.via);
        default_of(via?.or(source?).or_else(of_hops)).ok_or_else(|| {
            at.reader.report(
                Diagnostic::new(node.place, "expected the address family of `default`")
                    .help("add `via:` or `source:`, or write `to: 0.0.0.0/0` or `to: \"::/0\"`"),
            )
        })
    }
}

fn leads_somewhere(at: &At<'_>, route: Route) -> Read<Route> {
    let wrong = |message: String, help: &str| {
        let diagnostic = Diagnostic::new(at.fields.place(), message);
        Err(at.reader.report(diagnostic.help(help)))
    };
    let gateways = route.hops().filter_map(|(via, _)| via);
    if gateways.chain(route.source).any(|address| address.is_ipv4() != route.to.address.is_ipv4()) {
        let message = "the route mixes IPv4 and IPv6; expected one address family";
        return Err(at.reader.error(at.fields.place(), message));
    }
    let has_hop = route.hops().next().is_some();
    if route.kind.leads_somewhere() && !has_hop {
        return wrong("the route has no next hop".to_owned(), "add `via:`, `dev:`, or both");
    }
    if !route.kind.leads_somewhere() && has_hop {
        let message = format!("a route of the type `{}` has no next hop", route.kind.word());
        return wrong(message, "leave `via:`, `dev:` and `nexthops:` out");
    }
    match route.nexthops.len() {
        0 => Ok(route),
        _ if route.via.is_some() || route.dev.is_some() => {
            wrong("a route takes either `nexthops` or `via` and `dev`".to_owned(), "write all next hops in `nexthops:`")
        }
        1 => wrong("`nexthops` has a single next hop".to_owned(), "write `via:` and `dev:` without `nexthops:`"),
        _ => Ok(route),
    }
}

fn hops_somewhere(at: &At<'_>, hop: NextHop) -> Read<NextHop> {
    if hop.via.is_none() && hop.dev.is_none() {
        let diagnostic = Diagnostic::new(at.fields.place(), "the next hop leads nowhere");
        return Err(at.reader.report(diagnostic.help("add `via:`, `dev:`, or both")));
    }
    Ok(hop)
}

fn selects_something(at: &At<'_>, rule: RoutingRule) -> Read<RoutingRule> {
    let wrong =
        |message: &str, help: &str| Err(at.reader.report(Diagnostic::new(at.fields.place(), message).help(help)));
    match (rule.table, rule.kind) {
        (None, None) => return wrong("expected what the rule does", "add `table:` or `type:`"),
        (Some(_), Some(_)) => return wrong("a rule takes either `table` or `type`, not both", "remove one of them"),
        _ => {}
    }
    match (rule.from, rule.to) {
        (None, None) => {
            let help = "add `from:` or `to:`; `from: 0.0.0.0/0` or `from: \"::/0\"` means any";
            wrong("expected the address family of the rule", help)
        }
        (Some(from), Some(to)) if from.address.is_ipv4() != to.address.is_ipv4() => {
            Err(at.reader.error(at.fields.place(), "the rule mixes IPv4 and IPv6; expected one address family"))
        }
        _ => Ok(rule),
    }
}

/// Whether the kernel refuses the second of two routes with EEXIST: it tells routes in a table apart by destination and
/// metric, whatever they lead to (`fib_table_insert`, net/ipv4/fib_trie.c; `fib6_add_rt2node`, net/ipv6/ip6_fib.c).
pub(super) fn is_same(one: &Route, other: &Route) -> bool {
    one.to == other.to && one.table() == other.table() && metric(one) == metric(other)
}

/// The metric that the kernel gives a route that has none: for IPv6 `IP6_RT_PRIO_USER` (include/uapi/linux/ipv6_route.h).
fn metric(route: &Route) -> u32 {
    match route.metric {
        None | Some(0) if route.to.address.is_ipv6() => 1024,
        metric => metric.unwrap_or(0),
    }
}

pub(super) fn already_there(namespace: &str, route: &Route, place: Place, other: Place) -> Diagnostic {
    let to = match route.to {
        Address { prefix: 0, .. } => "default route".to_owned(),
        Address { address, prefix } => format!("route to {address}/{prefix}"),
    };
    let metric = metric(route);
    let table = route.table.map(|table| format!(" in table {table}")).unwrap_or_default();
    let message = format!("`{namespace}` already has a {to} with metric {metric}{table}; the kernel takes only one");
    Diagnostic::new(place, message)
        .context(other, "this one")
        .help("give one of them another `metric:`; the route with the lowest metric is used")
}

/// The default route's destination, in the family of that address.
fn default_of(hint: Option<IpAddr>) -> Option<Address> {
    let address = match hint? {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    Some(Address { address, prefix: 0 })
}

/// Gives the namespaces with `source_routing` a table for each interface, with the connected networks and the default
/// route by that interface, and a rule for each of its addresses: the numbers of the tables are those of the
/// interfaces, from 1.
pub(super) fn by_source(reader: &Reader, namespaces: &mut [Namespace], links: &[Link], scope: &Scope) -> Read<()> {
    let mut result = Ok(());
    for namespace in namespaces {
        let Some(place) = scope.source_routing.get(&namespace.name) else { continue };
        let ends = links.iter().flat_map(|link| &link.ends).filter(|end| end.namespace == namespace.name);
        let (mut routes, mut rules) = (Vec::new(), Vec::new());
        for (table, end) in (1..).zip(ends) {
            for is_ipv4 in [true, false] {
                let own = end.addresses.iter().filter(|own| own.address.is_ipv4() == is_ipv4 && !is_link_local(own));
                let own: Vec<Address> = own.copied().collect();
                let Some(default) = namespace.routes.iter().find(|route| is_default_by(route, &end.device, &own))
                else {
                    continue;
                };
                let by_device = |route| Route { dev: Some(end.device.clone()), table: Some(table), ..route };
                let mut networks: Vec<Address> = own.iter().map(Address::network).collect();
                networks.dedup();
                routes.extend(networks.into_iter().map(|network| by_device(Route::new(network))));
                routes.push(by_device(Route { via: default.via, ..Route::new(default.to) }));
                rules.extend(own.iter().map(|own| RoutingRule {
                    from: Some(own.alone()),
                    table: Some(table),
                    ..RoutingRule::default()
                }));
            }
        }
        if rules.is_empty() {
            let diagnostic =
                Diagnostic::new(*place, format!("`{}` has no default route by an interface", namespace.name));
            let help = "add one for each interface to `routes:`, like `{ to: default, via: 10.0.2.1, dev: eth2, metric: 102 }`";
            result = Err(reader.report(diagnostic.help(help)));
        }
        for route in &routes {
            let known = scope.routes.iter().find(|((of, known), _)| *of == namespace.name && is_same(known, route));
            if let Some((_, other)) = known {
                let message = format!("`source_routing` adds the route {route}, which is already there");
                let diagnostic = Diagnostic::new(*place, message).context(*other, "this one");
                result =
                    Err(reader.report(diagnostic.help("tables 1, 2, … belong to its interfaces: use another one")));
            }
        }
        namespace.routes.extend(routes);
        namespace.rules.extend(rules);
        namespace.source_routing = true;
    }
    result
}

fn is_link_local(own: &Address) -> bool {
    matches!(own.address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Whether a route is a default route in the main table by an interface with these addresses.
fn is_default_by(route: &Route, device: &str, own: &[Address]) -> bool {
    let by_gateway = || route.via.is_some_and(|via| own.iter().any(|own| own.covers(via)));
    route.table() == MAIN_TABLE
        && route.kind == RouteType::Unicast
        && route.to.prefix == 0
        && own.first().is_some_and(|own| own.address.is_ipv4() == route.to.address.is_ipv4())
        && route.nexthops.is_empty()
        && route.dev.as_deref().map_or_else(by_gateway, |dev| dev == device)
}
