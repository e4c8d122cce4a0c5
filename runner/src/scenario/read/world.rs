//! Namespaces and links: those of the topology, then those of the scenario itself.

use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::net::IpAddr;

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{Kind, Shape};
use super::super::model::{Link, LinkEnd, Namespace, Place, World};
use super::super::record::{Group as _, List, Part, Placed, part, record, unread, words};
use super::super::scalar::{
    self, DeviceName, EndpointId, HostAddress, Ip, Line, Mtu, Number, Octet, Port, Rate, Switch, Text,
};
use super::super::yaml::{Entry, Node};
use super::device::{self, Devices};
use super::part::{Device, Flags};
use super::path::PathKeys;
use super::routing::{self, RouteKeys, RoutingRuleKeys};
use super::scope::Scope;
use super::{At, Fields, Read, Reader, Reported, all};
use crate::mptcp::{Endpoint, EndpointFlags, Limits};

record! {
    /// A topology file.
    #[expect(dead_code, reason = "its world is read by itself, whatever is wrong with the rest")]
    TopologyKeys as "topology", "a topology" {
        title: maybe Line = "title", "What the topology looks like, in one line.";
        about: maybe Text = "about", "What the topology is for.";
        world: group WorldKeys;
    }
}

record! {
    /// What a topology and a scenario say about the world.
    WorldKeys {
        links: maybe Links = "links", "veth pairs, by name.";
        paths: maybe Paths = "paths", "What links do to packets, by link. Other links are plain veth pairs.";
        namespaces: maybe Namespaces = "namespaces",
            "Configuration of namespaces before the first step. Only namespaces with a configuration need to be listed.";
    }
}

part! {
    /// Links by name.
    Links: Node = Shape::Table("link", Kind::Name, &LinkKeys::SHAPE), unread
}

part! {
    /// Paths by link.
    Paths: Node = Shape::Table("link", Kind::Name, &PathKeys::SHAPE), unread
}

part! {
    /// Configuration by namespace.
    Namespaces: Node = Shape::Table("namespace", Kind::Name, &NamespaceKeys::SHAPE), unread
}

record! {
    /// A link.
    LinkKeys as "link", "a link" {
        mtu: maybe Mtu = "mtu", "The MTU of both ends in bytes.";
        rate: maybe Rate = "rate", "The rate of each direction (a token bucket).";
        ends: need Ends = "ends", "Its two ends, by namespace.";
    }
}

record! {
    /// An end of a link.
    EndKeys as "end", "the end of a link" {
        device: maybe Placed<DeviceName> = "device", "The name of the interface; by default, that of the link.";
        addresses: or(Vec::new()) Several<Placed<HostAddress>> = "addresses", "Its addresses, like 10.0.1.2/24.";
    }
}

record! {
    /// The configuration of a namespace.
    NamespaceKeys as "namespace", "a namespace" {
        limits: maybe LimitKeys = "limits", "Limits of the path manager; see ip-mptcp(8).";
        endpoints: or(Vec::new()) Several<Placed<EndpointKeys>> = "endpoints", "Endpoints, added in this order.";
        routes: or(Vec::new()) Several<Placed<RouteKeys>> = "routes", "Routes besides those of the links.";
        rules: or(Vec::new()) Several<Placed<RoutingRuleKeys>> = "rules",
            "Rules that select the table in which a packet's route is looked up; see ip-rule(8).";
        source_routing: maybe Switch = "source_routing",
            "Packets leave by the interface that has their source address, by its default route.";
        sysctls: or(Vec::new()) Sysctls = "sysctls", "Sysctls of the namespace by name (`net.`…), set before anything else.";
        path_manager: maybe PathManager = "path_manager",
            "Who manages paths: the kernel (the default), or steps of the scenario.";
        events: maybe Switch = "events",
            "Whether events are recorded (the default). A listener changes what a userspace path manager's \
             namespace does: without one, it refuses every MP_JOIN.";
        forwarding: maybe Switch = "forwarding", "Forwards packets between its links.";
        devices: or(Vec::new()) Devices = "devices", "Devices besides the ends of its links, by name, in the order in which they are made.";
        baseline: maybe Baseline = "baseline",
            "The settings to begin with: lab (the default), which makes runs repeatable, or host, those of most distributions.";
    }
}

record! {
    /// Limits; at least one of them.
    LimitKeys as "limits", "limits" then some_limit {
        subflows: maybe Number = "subflows", "The most additional subflows of a connection; 2 by default.";
        add_addr_accepted: maybe Number = "add_addr_accepted",
            "The most ADD_ADDRs of a connection that may become subflows; 0 by default.";
    }
}

record! {
    /// An endpoint.
    EndpointKeys as "endpoint", "an endpoint" then not_implicit for Endpoint {
        address: need Ip = "address", "The address.";
        flags: or(EndpointFlags::empty()) Flags = "flags",
            "Words of ip-mptcp(8): signal, subflow, backup, fullmesh, implicit, laminar; or a number like `raw 0x40`.";
        id: maybe EndpointId = "id", "The address id; by default, the kernel chooses it.";
        port: maybe Port = "port", "The port of a signal endpoint; the kernel listens on it.";
        dev: maybe Device = "dev", "The interface that subflows from it are bound to.";
    }
}

record! {
    /// An endpoint that a connection has. A userspace path manager's list has the address of the initial subflow, too,
    /// with the id 0.
    ConnectionEndpoint as "connection_endpoint", "an endpoint" for Endpoint {
        address: need Ip = "address", "The address.";
        flags: or(EndpointFlags::empty()) Flags = "flags",
            "Words of ip-mptcp(8): signal, subflow, backup, fullmesh, implicit, laminar; or a number like `raw 0x40`.";
        id: maybe Octet = "id", "The address id.";
        port: maybe Port = "port", "The port of a signal endpoint; the kernel listens on it.";
        dev: maybe Device = "dev", "The interface that subflows from it are bound to.";
    }
}

words! {
    /// The settings that a namespace begins with.
    Baseline {
        /// Those that make runs repeatable.
        Lab = "lab",
        /// Those of most distributions.
        Host = "host",
    }
}

words! {
    /// Who manages paths.
    PathManager {
        /// The kernel.
        Kernel = "kernel",
        /// Steps of the scenario.
        Userspace = "userspace",
    }
}

/// A list with a sane number of items.
#[derive(Debug)]
pub struct Several<P>(PhantomData<P>);

impl<P: Part> Part for Several<P> {
    type Value = Vec<P::Value>;
    const SHAPE: Shape = <List<P>>::SHAPE;

    fn read(at: &At<'_>, node: &Node) -> Read<Vec<P::Value>> {
        if at.list(node)?.len() > MOST_PARTS {
            let message = format!("{} has too many items: at most {MOST_PARTS} are allowed", at.named(node));
            return Err(at.reader.error(node.place, message));
        }
        <List<P>>::read(at, node)
    }
}

part! {
    /// The ends of a link with their namespaces.
    Ends: Vec<(String, EndKeys, Place)> = Shape::Table("namespace", Kind::Name, &EndKeys::SHAPE), |at, node| {
        at.table(node, |end| {
            let (namespace, keys) = (at.reader.key(end, scalar::name), EndKeys::read(at, &end.value));
            Ok((namespace?, keys?, end.place))
        })
    }
}

part! {
    /// Sysctls with their values.
    Sysctls: Vec<(String, String)> = Shape::Table("sysctl", Kind::Sysctl, &Shape::Scalar(Kind::Line)), |at, node| {
        if node.entries().len() > MOST_PARTS {
            let message = format!("`sysctls` has too many items: at most {MOST_PARTS} are allowed");
            return Err(at.reader.error(node.place, message));
        }
        at.table(node, |entry| {
            let (name, value) = (at.reader.key(entry, scalar::sysctl), at.reader.scalar(&entry.value, scalar::line));
            Ok((name?, value?))
        })
    }
}

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
    let topology = topology.map(|node| reader.record(node, TopologyKeys::RECORD)).transpose();
    let described = topology.as_ref().map_or(Err(Reported(())), |fields| {
        fields.as_ref().map(|fields| TopologyKeys::from_keys(&At::new(fields, &scope))).transpose()
    });
    let files = topology.iter().flatten().chain([scenario]);
    let files = all(files.map(|fields| WorldKeys::from_keys(&At::new(fields, &scope)))).unwrap_or_default();
    declare(&files, &mut scope);
    let links = read_links(reader, &files, &scope);
    if let Ok(links) = &links {
        scope.enter(links);
    }
    let configured = files.iter().flat_map(|file| entries(file.namespaces.as_ref()));
    let devices = device::declare(reader, configured, &mut scope);
    let mut namespaces = read_namespaces(reader, scenario.place(), &files, &mut scope);
    if let (Ok(known), Ok(links)) = (&mut namespaces, &links)
        && let Err(reported) = routing::by_source(reader, known, links, &scope)
    {
        namespaces = Err(reported);
    }
    let paths = super::path::read(reader, &files, &links, &mut scope);
    let world = (|| {
        let (_, links, (), namespaces, paths) = (described?, links?, devices?, namespaces?, paths?);
        if topology_missing {
            return Err(Reported(()));
        }
        if namespaces.is_empty() && scenario.get("topology").is_none() {
            return Err(reader.report(
                Diagnostic::new(scenario.place(), "the scenario has no world")
                    .help("add `topology:`, or `links:` and `namespaces:`"),
            ));
        }
        Ok(World { namespaces, links, paths })
    })();
    (world, scope)
}

/// The entries of a map, if it is there and is one.
fn entries(node: Option<&Node>) -> &[Entry] {
    node.map_or(&[], Node::entries)
}

/// Links with the entries of their ends.
fn ends(file: &WorldKeys) -> impl Iterator<Item = (&Entry, &[Entry])> {
    entries(file.links.as_ref()).iter().map(|link| (link, entries(link.value.get("ends"))))
}

/// Collects the names, whatever else is wrong.
fn declare(files: &[WorldKeys], scope: &mut Scope) {
    let mut seen = HashSet::new();
    for (link, ends) in files.iter().flat_map(ends) {
        for end in ends {
            if seen.insert(&end.key) {
                scope.namespaces.push(end.key.clone());
            }
        }
        scope.links.push((link.key.clone(), ends.iter().map(|end| end.key.clone()).collect()));
    }
    // Without links, and in a topology, the configuration of a namespace declares it.
    let last = files.len().saturating_sub(1);
    for (index, file) in files.iter().enumerate() {
        if index < last || scope.namespaces.is_empty() {
            for namespace in entries(file.namespaces.as_ref()) {
                if seen.insert(&namespace.key) {
                    scope.namespaces.push(namespace.key.clone());
                }
            }
        }
    }
}

fn read_links(reader: &Reader, files: &[WorldKeys], scope: &Scope) -> Read<Vec<Link>> {
    let mut links = Vec::new();
    for node in files.iter().filter_map(|file| file.links.as_ref()) {
        let entries = reader.table(node, "`links`")?;
        if links.len() + entries.len() > MOST_LINKS {
            let message = format!("the world has too many links: {}, at most {MOST_LINKS} are allowed", entries.len());
            return Err(reader.error(node.place, message));
        }
        links.extend(entries.iter().map(|entry| read_link(reader, entry, scope)));
    }
    let links = all(links)?;
    check_ends(reader, &links)?;
    Ok(links.into_iter().map(|(link, _)| link).collect())
}

/// A link, and the places of its devices and addresses.
type PlacedLink = (Link, Vec<(Place, Vec<Place>)>);

fn read_link(reader: &Reader, entry: &Entry, scope: &Scope) -> Read<PlacedLink> {
    let name = reader.key(entry, scalar::name);
    let fields = reader.record(&entry.value, LinkKeys::RECORD)?;
    let LinkKeys { mtu, rate, ends } = LinkKeys::from_keys(&At::new(&fields, scope))?;
    if ends.len() != 2 {
        let count = if ends.len() == 1 { "one end".to_owned() } else { format!("{} ends", ends.len()) };
        return Err(reader.report(
            Diagnostic::new(entry.place, format!("a link has two ends, and `{}` has {count}", entry.key))
                .help("like `ends: { client: { addresses: [10.0.1.2/24] }, server: { addresses: [10.0.1.1/24] } }`"),
        ));
    }
    let end = |(namespace, EndKeys { device, addresses }, place)| {
        // Unless given, the interface is called like the link.
        let (device, place) = match device {
            Some(device) => device,
            None => (reader.key(entry, scalar::device)?, place),
        };
        let (addresses, places) = addresses.into_iter().unzip();
        Ok((LinkEnd { namespace, device, addresses }, (place, places)))
    };
    let Ok([(first, first_places), (second, second_places)]) = <[_; 2]>::try_from(all(ends.into_iter().map(end))?)
    else {
        return Err(reader.error(entry.place, "a link has two ends"));
    };
    let link = Link { name: name?, place: entry.place, mtu, rate, ends: [first, second] };
    Ok((link, vec![first_places, second_places]))
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
fn read_namespaces(reader: &Reader, place: Place, files: &[WorldKeys], scope: &mut Scope) -> Read<Vec<Namespace>> {
    if scope.namespaces.len() > MOST_NAMESPACES {
        let message = format!(
            "the world has too many namespaces: {}, at most {MOST_NAMESPACES} are allowed",
            scope.namespaces.len()
        );
        return Err(reader.error(place, message));
    }
    let mut namespaces: Vec<Namespace> = scope.namespaces.iter().map(|name| Namespace::new(name)).collect();
    let mut result = Ok(());
    for file in files {
        for end in ends(file).flat_map(|(_, ends)| ends) {
            let namespace = namespaces.iter_mut().find(|it| it.name == end.key && it.place == Place::default());
            if let Some(namespace) = namespace {
                namespace.place = end.place;
            }
        }
        let Some(node) = &file.namespaces else { continue };
        for entry in reader.table(node, "`namespaces`")? {
            let configured = configure(reader, entry, &mut namespaces, scope);
            result = result.and(configured);
        }
    }
    result.map(|()| namespaces)
}

fn configure(reader: &Reader, entry: &Entry, namespaces: &mut [Namespace], scope: &mut Scope) -> Read<()> {
    let name = reader.key(entry, scalar::name).and_then(|name| scope.known_namespace(reader, &name, entry.place));
    let fields = reader.record(&entry.value, NamespaceKeys::RECORD)?;
    let keys = NamespaceKeys::from_keys(&At { namespace: name.clone().into(), ..At::new(&fields, scope) });
    let (name, keys) = (name?, keys?);
    match keys.events {
        Some(false) => drop(scope.silent.insert(name.clone(), fields.place_of("events"))),
        Some(true) => drop(scope.silent.remove(&name)),
        None => {}
    }
    let Some(namespace) = namespaces.iter_mut().find(|it| it.name == name) else {
        // Only if the topology that should have it is missing, which has been noted.
        return Err(Reported(()));
    };
    namespace.place = entry.place;
    if let Some(LimitKeys { subflows, add_addr_accepted }) = keys.limits {
        let so_far = namespace.limits.unwrap_or_default();
        namespace.limits = Some(Limits {
            subflows: subflows.unwrap_or(so_far.subflows),
            add_addr_accepted: add_addr_accepted.unwrap_or(so_far.add_addr_accepted),
        });
    }
    namespace.endpoints.extend(keys.endpoints);
    for (route, place) in keys.routes {
        if let Some((_, other)) =
            scope.routes.iter().find(|((of, known), _)| *of == name && routing::is_same(known, &route))
        {
            return Err(reader.report(routing::already_there(&name, &route, place, *other)));
        }
        scope.routes.push(((name.clone(), route.clone()), place));
        namespace.routes.push(route);
    }
    namespace.rules.extend(keys.rules.into_iter().map(|(rule, _)| rule));
    match keys.source_routing {
        Some(true) => drop(scope.source_routing.insert(name.clone(), fields.place_of("source_routing"))),
        Some(false) => drop(scope.source_routing.remove(&name)),
        None => {}
    }
    for (sysctl, value) in keys.sysctls {
        namespace.sysctls.retain(|(other, _)| *other != sysctl);
        namespace.sysctls.push((sysctl, value));
    }
    if let Some(manager) = keys.path_manager {
        namespace.userspace_path_manager = manager == PathManager::Userspace;
    }
    namespace.events = keys.events.unwrap_or(namespace.events);
    namespace.forwarding = keys.forwarding.unwrap_or(namespace.forwarding);
    namespace.devices.extend(keys.devices);
    if let Some(baseline) = keys.baseline {
        namespace.real_defaults = baseline == Baseline::Host;
    }
    Ok(())
}

fn some_limit(at: &At<'_>, limits: LimitKeys) -> Read<LimitKeys> {
    match limits {
        LimitKeys { subflows: None, add_addr_accepted: None } => Err(no_limit(at.fields)),
        limits => Ok(limits),
    }
}

/// Notes that a record about limits has none.
pub(super) fn no_limit(fields: &Fields<'_>) -> Reported {
    let diagnostic = Diagnostic::new(fields.place(), "expected a limit");
    fields.reader.report(diagnostic.help("add `subflows:`, `add_addr_accepted:`, or both"))
}

/// The flags of a list, joined.
pub(super) fn flags(at: &At<'_>, node: &Node) -> Read<EndpointFlags> {
    let flags = all(at.list(node)?.iter().map(|item| at.reader.scalar(item, scalar::flag)))?;
    Ok(flags.into_iter().fold(EndpointFlags::empty(), |all, flag| all | flag))
}

/// The kernel makes implicit endpoints itself and refuses to be asked for one, so the flag is an error unless a refusal
/// is what is expected.
fn not_implicit(at: &At<'_>, endpoint: Endpoint) -> Read<Endpoint> {
    if at.refusal || !endpoint.flags.contains(EndpointFlags::IMPLICIT) {
        return Ok(endpoint);
    }
    Err(at.reader.report(
        Diagnostic::new(at.fields.place_of("flags"), "an implicit endpoint can't be added")
            .help("only the kernel creates implicit endpoints; to expect its refusal, use `expect_error`"),
    ))
}
