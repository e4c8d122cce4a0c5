//! Whether a host can open a subflow between two addresses, by its addresses, links and routes.

use std::net::IpAddr;

use crate::net::{Address, Route};
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
    let ends = view.scenario.world.links.iter().flat_map(|link| &link.ends);
    let own = ends.filter(|end| end.namespace == host.namespace.name);
    let mut all: Vec<(&str, Address)> =
        own.flat_map(|end| end.addresses.iter().map(|address| (end.device.as_str(), *address))).collect();
    for (_, operation) in &host.operations {
        if let Operation::AddAddress { device, address, .. } = *operation {
            all.push((device.as_str(), *address));
        }
    }
    all
}

fn address_presence(view: &View<'_>, host: &Host<'_>, wanted: IpAddr, at: u64) -> Presence {
    let ends = view.scenario.world.links.iter().flat_map(|link| &link.ends);
    let mut own = ends.filter(|end| end.namespace == host.namespace.name).flat_map(|end| &end.addresses);
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
    let changes = host.operations.iter().filter_map(
        |(span, operation)| pick!(operation, Operation::SetLink { device, up, .. } if device == wanted => (*span, *up)),
    );
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
            return Obstacle::Certain(format!(
                "no route{from} to {remote} at that time: connect() fails ({errno}), and the kernel does not try again"
            ));
        }
        // Bound to a device, IPv4 takes what has no route for a neighbour.
        Some(Routed::By { .. }) if device.is_none() => return Obstacle::None,
        Some(Routed::By { .. }) | None => {}
    }
    let all = routes(view, host, remote, at);
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

/// The devices by which routes lead to an address.
fn routes(view: &View<'_>, host: &Host<'_>, remote: IpAddr, at: u64) -> Vec<(String, Presence)> {
    let own = addresses(view, host);
    let there = |presence: Presence, device: &str| match (presence, link_presence(host, device, at)) {
        (Presence::No, _) | (_, Presence::No) => None,
        (Presence::Yes, Presence::Yes) => Some((device.to_owned(), Presence::Yes)),
        _ => Some((device.to_owned(), Presence::Perhaps)),
    };
    let connected = own.iter().filter(|(_, address)| address.covers(remote)).filter_map(|(device, address)| {
        there(address_presence(view, host, address.address.to_canonical(), at), device)
    });
    let mut all: Vec<(String, Presence)> = connected.collect();
    let mut known: Vec<&Route> = host.namespace.routes.iter().collect();
    for (_, operation) in &host.operations {
        if let Operation::AddRoute { route, .. } = *operation {
            known.push(route);
        }
    }
    for route in known.into_iter().filter(|route| route.to.covers(remote)) {
        let by_gateway = || {
            let gateway = route.via?;
            own.iter().find(|(_, address)| address.covers(gateway)).map(|(device, _)| *device)
        };
        let Some(device) = route.dev.as_deref().or_else(by_gateway) else { continue };
        let changes = host.operations.iter().filter_map(|(span, operation)| {
            let operation: &Operation = operation;
            let change = pick!(operation, Operation::AddRoute { route: added, .. } => (added == route, true));
            let change = change.or_else(
                || pick!(operation, Operation::DeleteRoute { route: gone, .. } => (gone.to == route.to, false)),
            );
            change.filter(|(is_it, _)| *is_it).map(|(_, adds)| (*span, adds))
        });
        all.extend(there(presence(host.namespace.routes.contains(route), changes, at), device));
    }
    all
}
