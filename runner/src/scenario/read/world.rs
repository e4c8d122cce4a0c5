//! Namespaces and links: those of the topology, then those of the scenario itself.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::diagnostic::Diagnostic;
use super::super::grammar;
use super::super::model::{Address, Link, LinkEnd, Namespace, Place, Route, World};
use super::super::scalar;
use super::super::yaml::{Entry, Node};
use super::scope::Scope;
use super::{Fields, Read, Reader, Reported, all};
use crate::mptcp::{Endpoint, EndpointFlags, Limits};

/// The most namespaces of a world.
const MOST_NAMESPACES: usize = 64;
/// The most links of a world.
const MOST_LINKS: usize = 256;
/// The most addresses, endpoints, routes or sysctls of one thing.
const MOST_PARTS: usize = 1024;

/// Reads the world. The scope knows the names even if something else is wrong, unless a topology is missing.
pub fn read(
    reader: &Reader,
    scenario: &Fields<'_>,
    topology: Option<&Node>,
    topology_missing: bool,
) -> (Read<World>, Scope) {
    let mut scope = Scope { names_are_missing: topology_missing, ..Scope::default() };
    let topology = topology.map(|node| reader.record(node, &grammar::TOPOLOGY)).transpose();
    let files: Vec<Fields<'_>> = topology.iter().flatten().copied().chain([*scenario]).collect();
    declare(&files, &mut scope);
    let links = read_links(reader, &files);
    if let Ok(links) = &links {
        scope.enter(links);
    }
    let namespaces = read_namespaces(reader, &files, &mut scope);
    let paths = super::path::read(reader, &files, &links, &mut scope);
    let world = (|| {
        let (_, links, namespaces, paths) = (topology?, links?, namespaces?, paths?);
        if topology_missing {
            return Err(Reported(()));
        }
        if namespaces.is_empty() && scenario.get("topology").is_none() {
            return Err(reader.report(
                Diagnostic::new(scenario.place(), "the scenario has no world")
                    .help("`topology:` names one, `links:` and `namespaces:` describe one"),
            ));
        }
        Ok(World { namespaces, links, paths })
    })();
    (world, scope)
}

/// Collects the names, whatever else is wrong.
fn declare(files: &[Fields<'_>], scope: &mut Scope) {
    let mut seen = HashSet::new();
    for file in files {
        for link in file.get("links").map_or(&[][..], Node::entries) {
            let ends = link.value.get("ends").map_or(&[][..], Node::entries);
            for end in ends {
                if seen.insert(&end.key) {
                    scope.namespaces.push(end.key.clone());
                }
            }
            scope.links.push((link.key.clone(), ends.iter().map(|end| end.key.clone()).collect()));
        }
    }
    // Without links, and in a topology, the configuration of a namespace declares it.
    let last = files.len().saturating_sub(1);
    for (index, file) in files.iter().enumerate() {
        if index < last || scope.namespaces.is_empty() {
            for namespace in file.get("namespaces").map_or(&[][..], Node::entries) {
                if seen.insert(&namespace.key) {
                    scope.namespaces.push(namespace.key.clone());
                }
            }
        }
    }
}

fn read_links(reader: &Reader, files: &[Fields<'_>]) -> Read<Vec<Link>> {
    let mut links = Vec::new();
    for file in files {
        let Some(node) = file.get("links") else { continue };
        let entries = reader.table(node, "`links`")?;
        if links.len() + entries.len() > MOST_LINKS {
            let message = format!("the world has too many links: {}, at most {MOST_LINKS} are allowed", entries.len());
            return Err(reader.error(node.place, message));
        }
        links.extend(entries.iter().map(|entry| read_link(reader, entry)));
    }
    let links = all(links)?;
    check_ends(reader, &links)?;
    Ok(links.into_iter().map(|(link, _)| link).collect())
}

/// A link, and the places of its devices and addresses.
type PlacedLink = (Link, Vec<(Place, Vec<Place>)>);

fn read_link(reader: &Reader, entry: &Entry) -> Read<PlacedLink> {
    let name = reader.key(entry, scalar::name);
    let fields = reader.record(&entry.value, &grammar::LINK)?;
    let mtu = fields.optional("mtu", scalar::integer(68, 65535));
    let rate = fields.optional("rate", scalar::rate);
    let ends_node = fields.need_node("ends")?;
    let entries = reader.table(ends_node, "`ends`")?;
    if entries.len() != 2 {
        let count = if entries.len() == 1 { "one end".to_owned() } else { format!("{} ends", entries.len()) };
        return Err(reader.report(
            Diagnostic::new(entry.place, format!("a link has two ends, and `{}` has {count}", entry.key))
                .help("like `ends: { client: { addresses: [10.0.1.2/24] }, server: { addresses: [10.0.1.1/24] } }`"),
        ));
    }
    let ends = all(entries.iter().map(|end| read_end(reader, end, &entry.key, entry.place)))?;
    let Ok([(first, first_places), (second, second_places)]) = <[_; 2]>::try_from(ends) else {
        return Err(reader.error(entry.place, "a link has two ends"));
    };
    let link = Link {
        name: name?,
        place: entry.place,
        mtu: mtu?.and_then(|mtu| u32::try_from(mtu).ok()),
        rate: rate?,
        ends: [first, second],
    };
    Ok((link, vec![first_places, second_places]))
}

fn read_end(reader: &Reader, entry: &Entry, link: &str, link_place: Place) -> Read<(LinkEnd, (Place, Vec<Place>))> {
    let namespace = reader.key(entry, scalar::name);
    let fields = reader.record(&entry.value, &grammar::END)?;
    let (device, place) = match fields.get("device") {
        Some(node) => (reader.scalar(node, scalar::device), node.place),
        None => (scalar::device(link).map_err(|problem| reader.problem(link_place, problem)), entry.place),
    };
    let items = match fields.get("addresses") {
        Some(node) => parts(reader, node, "`addresses`")?,
        None => &[],
    };
    let addresses = all(items.iter().map(|item| reader.scalar(item, scalar::host_address)));
    let places = items.iter().map(|item| item.place).collect();
    Ok((LinkEnd { namespace: namespace?, device: device?, addresses: addresses? }, (place, places)))
}

/// A list with a sane number of items.
fn parts<'a>(reader: &Reader, node: &'a Node, what: &str) -> Read<&'a [Node]> {
    let items = reader.list(node, what)?;
    if items.len() > MOST_PARTS {
        return Err(reader.error(node.place, format!("{what} has too many items: at most {MOST_PARTS} are allowed")));
    }
    Ok(items)
}

/// No link, no address and, in a namespace, no device may occur twice.
fn check_ends(reader: &Reader, links: &[PlacedLink]) -> Read<()> {
    let mut addresses: HashMap<IpAddr, Place> = HashMap::new();
    let mut devices: HashMap<(&str, &str), Place> = HashMap::new();
    let mut names: HashMap<&str, Place> = HashMap::new();
    let mut result = Ok(());
    for (link, places) in links {
        if let Some(first) = names.insert(&link.name, link.place) {
            let message = format!("two links are called `{}`", link.name);
            result = Err(reader.report(Diagnostic::new(link.place, message).context(first, "the other one")));
        }
        for (end, (device_place, address_places)) in link.ends.iter().zip(places) {
            if let Some(first) = devices.insert((&end.namespace, &end.device), *device_place) {
                let message = format!("`{}` has two interfaces called `{}`", end.namespace, end.device);
                result = Err(reader.report(
                    Diagnostic::new(*device_place, message)
                        .context(first, "the other one")
                        .help("`device:` gives an interface another name than that of its link"),
                ));
            }
            for (address, place) in end.addresses.iter().zip(address_places) {
                if let Some(first) = addresses.insert(address.address.to_canonical(), *place) {
                    let message = format!("the address {} is given to two interfaces", address.address);
                    result = Err(reader.report(Diagnostic::new(*place, message).context(first, "the other one")));
                }
            }
        }
    }
    result
}

/// Merges what the files say about each namespace: later files override values and add to lists.
fn read_namespaces(reader: &Reader, files: &[Fields<'_>], scope: &mut Scope) -> Read<Vec<Namespace>> {
    if scope.namespaces.len() > MOST_NAMESPACES {
        let message = format!(
            "the world has too many namespaces: {}, at most {MOST_NAMESPACES} are allowed",
            scope.namespaces.len()
        );
        let place = files.last().map_or_else(Place::default, Fields::place);
        return Err(reader.error(place, message));
    }
    let mut namespaces: Vec<Namespace> = scope.namespaces.iter().map(|name| Namespace::new(name)).collect();
    let mut result = Ok(());
    for file in files {
        for link in file.get("links").map_or(&[][..], Node::entries) {
            for end in link.value.get("ends").map_or(&[][..], Node::entries) {
                let namespace = namespaces.iter_mut().find(|it| it.name == end.key && it.place == Place::default());
                if let Some(namespace) = namespace {
                    namespace.place = end.place;
                }
            }
        }
        let Some(node) = file.get("namespaces") else { continue };
        for entry in reader.table(node, "`namespaces`")? {
            let configured = configure(reader, entry, &mut namespaces, scope);
            result = result.and(configured);
        }
    }
    result.map(|()| namespaces)
}

fn configure(reader: &Reader, entry: &Entry, namespaces: &mut [Namespace], scope: &mut Scope) -> Read<()> {
    let name = reader.key(entry, scalar::name).and_then(|name| scope.known_namespace(reader, &name, entry.place));
    let fields = reader.record(&entry.value, &grammar::NAMESPACE)?;
    let limits = fields.get("limits").map(|node| read_limits(reader, node)).transpose();
    let endpoints = section(&fields, "endpoints", |item| {
        Ok((endpoint(reader, &reader.record(item, &grammar::ENDPOINT)?, &name, scope, false)?, item.place))
    });
    let routes = section(&fields, "routes", |item| {
        Ok((route(reader, &reader.record(item, &grammar::ROUTE)?, &name, scope)?, item.place))
    });
    let sysctls = fields.get("sysctls").map_or(Ok(Vec::new()), |node| read_sysctls(reader, node));
    let path_manager = fields.optional("path_manager", scalar::word(&["kernel", "userspace"]));
    let events = fields.optional("events", scalar::switch);
    let forwarding = fields.optional("forwarding", scalar::switch);

    let name = name?;
    match events {
        Ok(Some(false)) => drop(scope.silent.insert(name.clone(), fields.place_of("events"))),
        Ok(Some(true)) => drop(scope.silent.remove(&name)),
        _ => {}
    }
    let Some(namespace) = namespaces.iter_mut().find(|it| it.name == name) else {
        // Only if the topology that should have it is missing, which has been noted.
        return Err(Reported(()));
    };
    namespace.place = entry.place;
    if let Some((subflows, add_addr_accepted)) = limits? {
        let so_far = namespace.limits.unwrap_or_default();
        namespace.limits = Some(Limits {
            subflows: subflows.unwrap_or(so_far.subflows),
            add_addr_accepted: add_addr_accepted.unwrap_or(so_far.add_addr_accepted),
        });
    }
    namespace.endpoints.extend(endpoints?);
    for (route, place) in routes? {
        if let Some((_, other)) = scope.routes.iter().find(|((of, known), _)| *of == name && is_same(known, &route)) {
            return Err(reader.report(already_there(&name, &route, place, *other)));
        }
        scope.routes.push(((name.clone(), route.clone()), place));
        namespace.routes.push(route);
    }
    for (sysctl, value) in sysctls? {
        namespace.sysctls.retain(|(other, _)| *other != sysctl);
        namespace.sysctls.push((sysctl, value));
    }
    if let Some(word) = path_manager? {
        namespace.userspace_path_manager = word == "userspace";
    }
    namespace.events = events?.unwrap_or(namespace.events);
    namespace.forwarding = forwarding?.unwrap_or(namespace.forwarding);
    Ok(())
}

fn section<T>(fields: &Fields<'_>, key: &str, read: impl Fn(&Node) -> Read<T>) -> Read<Vec<T>> {
    match fields.get(key) {
        Some(node) => all(parts(fields.reader, node, &format!("`{key}`"))?.iter().map(read)),
        None => Ok(Vec::new()),
    }
}

fn read_sysctls(reader: &Reader, node: &Node) -> Read<Vec<(String, String)>> {
    let entries = reader.table(node, "`sysctls`")?;
    if entries.len() > MOST_PARTS {
        return Err(reader.error(node.place, format!("too many sysctls: at most {MOST_PARTS} are allowed")));
    }
    all(entries.iter().map(|entry| {
        let name = reader.key(entry, scalar::sysctl);
        let value = reader.scalar(&entry.value, scalar::line);
        Ok((name?, value?))
    }))
}

/// Both limits; at least one must be given.
fn read_limits(reader: &Reader, node: &Node) -> Read<(Option<u32>, Option<u32>)> {
    limits(reader, &reader.record(node, &grammar::LIMITS)?)
}

/// The limits among the keys of a record; at least one must be given.
pub(super) fn limits(reader: &Reader, fields: &Fields<'_>) -> Read<(Option<u32>, Option<u32>)> {
    let subflows = fields.optional("subflows", scalar::number);
    let accepted = fields.optional("add_addr_accepted", scalar::number);
    match (subflows?, accepted?) {
        (None, None) => Err(no_limit(reader, fields)),
        limits => Ok(limits),
    }
}

/// Notes that a record about limits has none.
pub(super) fn no_limit(reader: &Reader, fields: &Fields<'_>) -> Reported {
    let diagnostic = Diagnostic::new(fields.place(), "no limit is given");
    reader.report(diagnostic.help("`subflows:`, `add_addr_accepted:`, or both"))
}

/// The flags of a list, joined.
pub(super) fn flags(reader: &Reader, node: &Node) -> Read<EndpointFlags> {
    let items = reader.list(node, "`flags`")?;
    let flags = all(items.iter().map(|item| reader.scalar(item, scalar::flag)))?;
    Ok(flags.into_iter().fold(EndpointFlags::empty(), |all, flag| all | flag))
}

/// An endpoint. The kernel makes implicit ones itself and refuses to be asked for one, so the flag is an error unless
/// a refusal is what is expected.
pub(super) fn endpoint(
    reader: &Reader,
    fields: &Fields<'_>,
    namespace: &Read<String>,
    scope: &Scope,
    refusal: bool,
) -> Read<Endpoint> {
    let address = fields.need("address", scalar::address);
    let id = fields.optional("id", scalar::endpoint_id);
    let port = fields.optional("port", scalar::port);
    let dev = fields.get("dev").map(|node| scope.device(reader, namespace, node)).transpose();
    let flags = fields.get("flags").map_or(Ok(EndpointFlags::empty()), |node| flags(reader, node));
    if let Ok(flags) = flags
        && flags.contains(EndpointFlags::IMPLICIT)
        && !refusal
    {
        return Err(reader.report(
            Diagnostic::new(fields.place_of("flags"), "an implicit endpoint can't be asked for")
                .help("only the kernel makes them; to see it refuse, put the step into `expect_error`"),
        ));
    }
    Ok(Endpoint { address: address?, port: port?, id: id?, flags: flags?, dev: dev? })
}

/// A route.
pub(super) fn route(reader: &Reader, fields: &Fields<'_>, namespace: &Read<String>, scope: &Scope) -> Read<Route> {
    let via = fields.optional("via", scalar::address);
    let source = fields.optional("source", scalar::address);
    let metric = fields.optional("metric", scalar::number);
    let dev = fields.get("dev").map(|node| scope.device(reader, namespace, node)).transpose();
    let text = fields.need("to", |text| Ok(text.to_owned()))?;
    let (via, source) = (via?, source?);
    let to = if text == "default" {
        default_of(via.or(source)).ok_or_else(|| {
            reader.report(
                Diagnostic::new(fields.place_of("to"), "the address family of `default` is missing")
                    .help("`via:` or `source:` tells it; or write `to: 0.0.0.0/0` or `to: \"::/0\"`"),
            )
        })?
    } else {
        fields.need("to", scalar::address_prefix)?
    };
    let families = [Some(to.address), via, source].into_iter().flatten().map(|address| address.is_ipv4());
    if families.clone().any(|is_ipv4| is_ipv4 != to.address.is_ipv4()) {
        return Err(reader.error(fields.place(), "a route has one address family, this one mixes IPv4 and IPv6"));
    }
    let dev = dev?;
    if via.is_none() && dev.is_none() {
        return Err(
            reader.report(Diagnostic::new(fields.place(), "the route leads nowhere").help("`via:`, `dev:`, or both"))
        );
    }
    Ok(Route { to, via, dev, source, metric: metric? })
}

/// Whether the kernel refuses the second of two routes with EEXIST: it tells routes in a table apart by destination and
/// metric, whatever they lead to (`fib_table_insert`, net/ipv4/fib_trie.c; `fib6_add_rt2node`, net/ipv6/ip6_fib.c).
fn is_same(one: &Route, other: &Route) -> bool {
    one.to == other.to && metric(one) == metric(other)
}

/// The metric that the kernel gives a route that has none: for IPv6 `IP6_RT_PRIO_USER` (include/uapi/linux/ipv6_route.h).
fn metric(route: &Route) -> u32 {
    match route.metric {
        None | Some(0) if route.to.address.is_ipv6() => 1024,
        metric => metric.unwrap_or(0),
    }
}

fn already_there(namespace: &str, route: &Route, place: Place, other: Place) -> Diagnostic {
    let to = match route.to {
        Address { prefix: 0, .. } => "default route".to_owned(),
        Address { address, prefix } => format!("route to {address}/{prefix}"),
    };
    let metric = metric(route);
    Diagnostic::new(place, format!("`{namespace}` has a {to} with metric {metric} already; the kernel takes only one"))
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
