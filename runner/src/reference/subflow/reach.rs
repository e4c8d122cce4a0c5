//! Whether a host can open a subflow between two addresses, by its addresses, links and routes.

use std::net::IpAddr;

use crate::net::{Address, MAIN_TABLE, Route, RouteType, RoutingRule};
use crate::recording::Routed;
use crate::reference::view::{Host, Span, View};
use crate::scenario::model::Operation;

/// Whether something is there at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Yes,
    No,
    Perhaps,
}

impl Presence {
    /// Both are there.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Perhaps,
        }
    }
}

/// What keeps a host from sending a SYN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::reference) enum Obstacle {
    /// Nothing that the configuration tells.
    None,
    /// This, certainly.
    Certain(String),
    /// Perhaps this.
    Perhaps(String),
}

/// A change: when, and whether it adds.
type Change = (Span, bool);

/// By what comes last: added or taken away.
fn presence(at_start: bool, changes: impl Iterator<Item = Change>, at: u64) -> Presence {
    let mut there = if at_start { Presence::Yes } else { Presence::No };
    for (span, adds) in changes.filter(|(span, _)| span.started <= at) {
        let now = if adds { Presence::Yes } else { Presence::No };
        there = if span.finished <= at || there == now { now } else { Presence::Perhaps };
    }
    there
}

/// The addresses of a host, with their devices.
fn addresses<'a>(view: &View<'a>, host: &Host<'a>) -> Vec<(&'a str, Address)> {
    let own = view.scenario.world.addresses().filter(|(owner, ..)| *owner == host.namespace.name);
    let mut all: Vec<(&str, Address)> = own.map(|(_, device, address)| (device, address)).collect();
    for (_, operation) in &host.operations {
        if let Operation::AddAddress { device, address, .. } = *operation {
            all.push((device.as_str(), *address));
        }
    }
    all
}

fn address_presence(view: &View<'_>, host: &Host<'_>, wanted: IpAddr, at: u64) -> Presence {
    let mut own = view.scenario.world.addresses_of(&host.namespace.name);
    let at_start = wanted.is_loopback() || own.any(|address| address.address.to_canonical() == wanted);
    let changes = host.operations.iter().filter_map(|(span, operation)| {
        let operation: &Operation = operation;
        let change = pick!(operation, Operation::AddAddress { address, .. } => (address, true));
        let change = change.or(pick!(operation, Operation::DeleteAddress { address, .. } => (address, false)));
        change.filter(|(address, _)| address.address.to_canonical() == wanted).map(|(_, adds)| (*span, adds))
    });
    presence(at_start, changes, at)
}

fn link_presence(host: &Host<'_>, wanted: &str, at: u64) -> Presence {
    let changes = host.operations.iter().filter_map(|(span, operation)| {
        let operation: &Operation = operation;
        let change = pick!(operation, Operation::SetLink { device, up, .. } => (device, *up));
        let change = change.or(pick!(operation, Operation::DeleteDevice { device, .. } => (device, false)));
        change.filter(|(device, _)| *device == wanted).map(|(_, up)| (*span, up))
    });
    presence(true, changes, at)
}

/// The device that an address of this host belongs to.
pub(in crate::reference) fn device_of<'a>(view: &View<'a>, host: &Host<'a>, wanted: IpAddr) -> Option<&'a str> {
    let mut all = addresses(view, host).into_iter().filter(|(_, address)| address.address.to_canonical() == wanted);
    let (device, _) = all.next()?;
    all.all(|(other, _)| other == device).then_some(device)
}

/// What keeps a host from sending a SYN from an address, by a device if the endpoint has one, to another address.
pub(in crate::reference) fn obstacle(
    view: &View<'_>,
    host: &Host<'_>,
    local: Option<IpAddr>,
    device: Option<&str>,
    remote: IpAddr,
    at: u64,
) -> Obstacle {
    let name = &host.namespace.name;
    if let Some(local) = local {
        match address_presence(view, host, local, at) {
            Presence::Yes => {}
            Presence::No => {
                return Obstacle::Certain(format!(
                    "{name} does not have the address {local} at that time: bind() fails (EADDRNOTAVAIL), and the kernel does not try again"
                ));
            }
            Presence::Perhaps => return Obstacle::Perhaps(format!("{name} may not have had the address {local}")),
        }
    }
    if remote.is_multicast() || remote.is_unspecified() {
        return Obstacle::Certain(format!("{remote} is no address of a host: connect() fails (ENETUNREACH)"));
    }
    if remote.is_loopback() || address_presence(view, host, remote, at) != Presence::No {
        return Obstacle::None;
    }
    let from = local.map_or_else(String::new, |local| format!(" from {local}"));
    match host.route(at, local, device, remote) {
        Some(Routed::Refused(errno)) => {
            if let Some(down) = device.filter(|device| link_presence(host, device, at) == Presence::No) {
                return Obstacle::Certain(format!(
                    "{down} is down at that time: connect() fails ({errno}), and the kernel does not try again"
                ));
            }
            // What `blackhole`, `unreachable` and `prohibit` answer (`fib_props`, net/ipv4/fib_semantics.c).
            let route = if errno == "ENETUNREACH" { "no route" } else { "the routes refuse packets" };
            return Obstacle::Certain(format!(
                "{route}{from} to {remote} at that time: connect() fails ({errno}), and the kernel does not try again"
            ));
        }
        // Bound to a device, IPv4 takes what has no route for a neighbour.
        Some(Routed::By { .. }) if device.is_none() => return Obstacle::None,
        Some(Routed::By { .. }) | None => {}
    }
    let all = routes(view, host, local, remote, at);
    let fitting: Vec<&(String, Presence)> =
        all.iter().filter(|(leaves_by, _)| device.is_none_or(|device| device == leaves_by)).collect();
    if let Some(down) = device.filter(|device| link_presence(host, device, at) != Presence::Yes) {
        return Obstacle::Perhaps(format!("the link of {down} is down at that time"));
    }
    if fitting.iter().any(|(_, presence)| *presence == Presence::Yes) {
        return Obstacle::None;
    }
    if fitting.is_empty() {
        return Obstacle::Certain(match device {
            Some(device) if remote.is_ipv4() => format!(
                "no route{from} to {remote} by {device} at that time: the kernel takes {remote} for a neighbour on \
                 {device}, where nobody answers, and does not try another way when a route appears"
            ),
            Some(device) => format!(
                "no route{from} to {remote} by {device} at that time: connect() fails (ENETUNREACH), and the kernel \
                 does not try again"
            ),
            None => format!(
                "no route{from} to {remote} at that time: connect() fails (ENETUNREACH), and the kernel does not try again"
            ),
        });
    }
    Obstacle::Perhaps(format!("there may have been no route{from} to {remote}"))
}

/// The devices by which routes lead from an address (`None`: any) to another one.
fn routes(view: &View<'_>, host: &Host<'_>, local: Option<IpAddr>, remote: IpAddr, at: u64) -> Vec<(String, Presence)> {
    let own = addresses(view, host);
    let there = |presence: Presence, device: &str| match presence.and(link_presence(host, device, at)) {
        Presence::No => None,
        found @ (Presence::Yes | Presence::Perhaps) => Some((device.to_owned(), found)),
    };
    let connected = own.iter().filter(|(_, address)| address.covers(remote)).filter_map(|(device, address)| {
        there(address_presence(view, host, address.address.to_canonical(), at), device)
    });
    let mut all: Vec<(String, Presence)> = connected.collect();
    let mut known: Vec<&Route> = host.namespace.routes.iter().collect();
    known.extend(operations(host).filter_map(|(_, it)| pick!(it, Operation::AddRoute { route, .. } => route)));
    for route in known.into_iter().filter(|route| route.kind == RouteType::Unicast && route.to.covers(remote)) {
        let changes = operations(host).filter_map(|(span, operation)| {
            let change = pick!(operation, Operation::AddRoute { route: added, .. } => (added == route, true));
            let is_gone = |gone: &Route| gone.to == route.to && gone.table() == route.table();
            let change = change
                .or_else(|| pick!(operation, Operation::DeleteRoute { route: gone, .. } => (is_gone(gone), false)));
            change.filter(|(is_it, _)| *is_it).map(|(_, adds)| (span, adds))
        });
        let presence = presence(host.namespace.routes.contains(route), changes, at);
        let presence = presence.and(table_presence(host, route.table(), local, remote, at));
        for (via, device) in route.hops() {
            let by_gateway = || own.iter().find(|(_, address)| via.is_some_and(|via| address.covers(via)));
            let device = device.or_else(|| by_gateway().map(|(device, _)| *device));
            all.extend(device.and_then(|device| there(presence, device)));
        }
    }
    all
}

fn operations<'v>(host: &'v Host<'_>) -> impl Iterator<Item = (Span, &'v Operation)> {
    host.operations.iter().map(|(span, operation)| (*span, *operation))
}

/// Whether a rule selects a table for packets from an address (`None`: any) to another one.
fn table_presence(host: &Host<'_>, table: u32, local: Option<IpAddr>, remote: IpAddr, at: u64) -> Presence {
    // The kernel's own rules select the table `main` for all packets (`fib_default_rules_init`, net/ipv4/fib_rules.c).
    if table == MAIN_TABLE {
        return Presence::Yes;
    }
    let mut known: Vec<&RoutingRule> = host.namespace.rules.iter().collect();
    known.extend(operations(host).filter_map(|(_, it)| pick!(it, Operation::AddRoutingRule { rule, .. } => rule)));
    let fits = |rule: &&RoutingRule| {
        let selects = |selector: Option<Address>, address: Option<IpAddr>| {
            selector.is_none_or(|selector| {
                address.map_or(selector.prefix == 0 && selector.covers(remote), |address| selector.covers(address))
            })
        };
        rule.table == Some(table) && selects(rule.from, local) && selects(rule.to, Some(remote))
    };
    let selected = known.into_iter().filter(fits).map(|rule| {
        let changes = operations(host).filter_map(|(span, operation)| {
            let change = pick!(operation, Operation::AddRoutingRule { rule: added, .. } => (added == rule, true));
            let change = change
                .or_else(|| pick!(operation, Operation::DeleteRoutingRule { rule: gone, .. } => (gone == rule, false)));
            change.filter(|(is_it, _)| *is_it).map(|(_, adds)| (span, adds))
        });
        let certain = RoutingRule {
            priority: rule.priority,
            from: rule.from,
            to: rule.to,
            table: rule.table,
            ..RoutingRule::default()
        };
        let certain = if *rule == certain { Presence::Yes } else { Presence::Perhaps };
        presence(host.namespace.rules.contains(rule), changes, at).and(certain)
    });
    selected.fold(Presence::No, |all, one| match (all, one) {
        (Presence::Yes, _) | (_, Presence::Yes) => Presence::Yes,
        (Presence::No, Presence::No) => Presence::No,
        _ => Presence::Perhaps,
    })
}
