//! From the world of a scenario to the ordered list of what sets it up.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::net::Hardware;
use crate::scenario::model::{
    Action, Device, Link, LinkEnd, Namespace, Operation, PathPlan, ProgramConnection, Scenario, World,
};

use super::capture::capture_bytes;
use super::questions::route_questions;
use super::rings::rings;
use super::{Frames, GSO_MAX_SIZE, Observer, Origin, PathSetup, Plan, Setup, WantedConnection};

/// The plan of a scenario. The same scenario always has the same plan.
///
/// The order is what the kernel asks for: sysctls before anything that samples them, addresses before the routes and
/// the endpoints with a port that need them, limits before endpoints, everything before the first socket (limits and
/// the path manager's type are sampled when a socket is made; `mptcp_pm_data_reset`, net/mptcp/pm.c).
pub fn plan(scenario: &Scenario) -> Plan {
    let world = &scenario.world;
    let mut setup: Vec<Setup> = world.namespaces.iter().map(|namespace| self::namespace(scenario, namespace)).collect();
    setup.extend(world.namespaces.iter().flat_map(|namespace| sysctls(world, namespace, SysctlOf::Namespace)));
    let mut hardware = Numbers::default();
    setup.extend(links(world, &mut hardware));
    setup.extend(devices(world, &mut hardware));
    let paths: Vec<PathSetup> = world.paths.iter().filter_map(|path| path_setup(scenario, path)).collect();
    let observers = world.namespaces.iter().map(|namespace| observer(scenario, namespace, &paths)).collect();
    setup.extend(paths.iter().map(frames));
    setup.extend(paths.into_iter().map(|path| Setup::Path(Box::new(path))));
    setup.extend(world.namespaces.iter().flat_map(|namespace| sysctls(world, namespace, SysctlOf::Interface)));
    let ends = || world.links.iter().flat_map(|link| link.ends.iter().map(move |end| (link, end)));
    let upper = || {
        let all = world.namespaces.iter();
        all.flat_map(|namespace| namespace.devices.iter().map(move |device| (namespace, device)))
    };
    setup.extend(ends().flat_map(|(_, end)| addresses(end)));
    setup.extend(ends().map(|(_, end)| Setup::LinkUp { namespace: end.namespace.clone(), device: end.device.clone() }));
    // What is below a device comes before it.
    setup.extend(upper().flat_map(|(namespace, device)| {
        let (namespace, device, addresses) = (&namespace.name, &device.name, device.addresses.iter());
        addresses.map(|address| Setup::Address {
            namespace: namespace.clone(),
            device: device.clone(),
            address: *address,
        })
    }));
    setup.extend(
        upper().map(|(namespace, device)| Setup::LinkUp {
            namespace: namespace.name.clone(),
            device: device.name.clone(),
        }),
    );
    setup.extend(ends().filter_map(|(link, end)| rate(link, end)));
    setup.extend(world.namespaces.iter().flat_map(routes));
    setup.extend(world.namespaces.iter().flat_map(rules));
    setup.extend(world.namespaces.iter().flat_map(path_manager_state));
    let of = Origin {
        title: scenario.title.clone(),
        file: scenario.file.display().to_string(),
        variant: scenario.variant.clone(),
        sources: scenario.sources.clone(),
    };
    let mut counted: Vec<String> = scenario.expect.counted_namespaces().map(str::to_owned).collect();
    counted.sort();
    counted.dedup();
    let mut plan = Plan {
        of,
        setup,
        observers,
        translated: scenario.nat_addresses(),
        counted,
        connections: scenario.connections.iter().map(|connection| wanted(scenario, connection)).collect(),
        steps: scenario.steps.clone(),
        route_questions: BTreeMap::new(),
        timeout_scale: NonZeroU32::MIN,
    };
    plan.route_questions = route_questions(&plan);
    plan
}

/// With the addresses of its server: those of its links, and those that steps add.
fn wanted(scenario: &Scenario, connection: &ProgramConnection) -> WantedConnection {
    let ends = scenario.world.links.iter().flat_map(|link| &link.ends);
    let own = ends.filter(|end| end.namespace == connection.server).flat_map(|end| &end.addresses);
    let added = scenario.steps.iter().filter_map(|step| {
        pick!(&step.action, Action::Do(Operation::AddAddress { namespace, address, .. })
            if *namespace == connection.server => address)
    });
    let all = own.chain(added).map(|address| address.address.to_canonical());
    let addresses = match connection.address {
        Some(address) => vec![address.to_canonical()],
        None => all.collect(),
    };
    WantedConnection { connection: connection.clone(), addresses }
}

fn namespace(scenario: &Scenario, namespace: &Namespace) -> Setup {
    let name = namespace.name.clone();
    let programs = scenario.programs().any(|program| program.namespace == name);
    Setup::Namespace { name, programs }
}

fn observer(scenario: &Scenario, namespace: &Namespace, paths: &[PathSetup]) -> Observer {
    Observer {
        namespace: namespace.name.clone(),
        events: namespace.events,
        userspace: namespace.userspace_path_manager,
        capture_bytes: capture_bytes(&scenario.steps, paths, &namespace.name),
    }
}

/// Which sysctls: an interface's own exist only once the interface does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SysctlOf {
    Namespace,
    Interface,
}

fn sysctls(world: &World, namespace: &Namespace, which: SysctlOf) -> Vec<Setup> {
    let sysctl = |name: &str, value: &str| Setup::Sysctl {
        namespace: namespace.name.clone(),
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let mut setup = Vec::new();
    if which == SysctlOf::Namespace {
        if namespace.real_defaults {
            setup.extend(HOST.map(|(name, value)| sysctl(name, value)));
        }
        if namespace.userspace_path_manager {
            setup.push(Setup::PathManager { namespace: namespace.name.clone() });
        }
        if namespace.forwarding {
            setup.push(sysctl("net.ipv4.ip_forward", "1"));
            setup.push(sysctl("net.ipv6.conf.all.forwarding", "1"));
        }
    }
    let wanted = |name: &str| is_of_interface(world, namespace, name) == (which == SysctlOf::Interface);
    setup.extend(namespace.sysctls.iter().filter(|(name, _)| wanted(name)).map(|(name, value)| sysctl(name, value)));
    setup
}

/// `net.ipv4.conf.eth1.rp_filter` and `net/ipv4/conf/eth1/rp_filter` are, where the namespace has an `eth1`.
fn is_of_interface(world: &World, namespace: &Namespace, name: &str) -> bool {
    let ends = world.links.iter().flat_map(|link| &link.ends).filter(|end| end.namespace == namespace.name);
    let mut devices = ends.map(|end| &end.device).chain(namespace.devices.iter().map(|device| &device.name));
    devices.any(|device| name.split(['.', '/']).any(|part| part == device))
}

/// What a host has that the lab has not (see [`crate::testbed`]): the kernel's defaults, and those of systemd
/// (sysctl.d/50-default.conf) for the reverse-path filter.
const HOST: [(&str, &str); 5] = [
    ("net.ipv6.conf.all.keep_addr_on_down", "0"),
    ("net.ipv6.conf.default.keep_addr_on_down", "0"),
    ("net.mptcp.add_addr_timeout", "120"),
    ("net.ipv4.conf.all.rp_filter", "2"),
    ("net.ipv4.conf.default.rp_filter", "2"),
];

/// Gives interfaces their numbers.
#[derive(Default)]
struct Numbers {
    last: Option<u32>,
}

impl Numbers {
    /// The next index; `lo` has 1.
    fn next(&mut self, mac: [u8; 6]) -> Hardware {
        let index = self.last.unwrap_or(1).saturating_add(1);
        self.last = Some(index);
        Hardware { index, mac }
    }
}

/// The devices that aren't ends of links, after all links.
fn devices(world: &World, numbers: &mut Numbers) -> Vec<Setup> {
    let all = world.namespaces.iter().flat_map(|namespace| namespace.devices.iter().map(move |it| (namespace, it)));
    let device = |(number, (namespace, device)): (usize, (&Namespace, &Device))| {
        let [high, low] = number_of(number).to_be_bytes();
        let hardware = numbers.next([0x02, 2, 0, high, low, 0]);
        Setup::Device { namespace: namespace.name.clone(), device: device.clone(), hardware }
    };
    all.enumerate().map(device).collect()
}

/// The links with their hardware. No two interfaces of the world have the same index: if both ends of a link had, the
/// kernel would take it for an interface without a lower one, and look at its carrier up to a second late
/// (`linkwatch_urgent_event`, net/core/link_watch.c).
fn links(world: &World, numbers: &mut Numbers) -> Vec<Setup> {
    let mut hardware = |mac| numbers.next(mac);
    let outer: Vec<[Hardware; 2]> =
        (0..world.links.len()).map(|link| [0, 1].map(|end| hardware(mac(number_of(link), end)))).collect();
    let mut setup = Vec::new();
    for (number, (link, [near, far])) in world.links.iter().zip(outer).enumerate() {
        let [first, second] = link.ends.clone();
        let (link, mtu, ends) = (link.name.clone(), link.mtu, [(first, near), (second, far)]);
        setup.push(if has_path(world, &link) {
            // After all others: a link looks the same with a path and without one.
            let inner = [0, 1].map(|end| hardware(inner_mac(number_of(number), end)));
            Setup::PathLink { link, mtu, ends, inner }
        } else {
            Setup::Link { link, mtu, ends }
        });
    }
    setup
}

fn has_path(world: &World, link: &str) -> bool {
    world.paths.iter().any(|path| path.link == link)
}

/// A path with its link. `None`: there is no such link, which the reader refuses.
fn path_setup(scenario: &Scenario, path: &PathPlan) -> Option<PathSetup> {
    let link = scenario.world.links.iter().find(|link| link.name == path.link)?;
    Some(PathSetup { path: path.clone(), ends: link.ends.clone(), mtu: link.mtu, rings: rings(scenario, path) })
}

/// What the frames of a spliced link look like.
fn frames(setup: &PathSetup) -> Setup {
    let (ends, link) = (setup.ends.clone(), setup.path.link.clone());
    match setup.rings.frames {
        Frames::Real => Setup::RealFrames { link, ends },
        Frames::Whole => Setup::GsoMaxSize { link, ends, bytes: GSO_MAX_SIZE },
    }
}

/// A locally administered unicast address (the 2 of the first octet) that names the link, from 1, and its end.
fn mac(link: u16, end: usize) -> [u8; 6] {
    let [high, low] = link.saturating_add(1).to_be_bytes();
    [0x02, 0, 0, high, low, u8::from(end != 0)]
}

/// That of the inner side of a spliced link. Nobody ever sees it.
fn inner_mac(link: u16, end: usize) -> [u8; 6] {
    let [m0, m1, _, m3, m4, m5] = mac(link, end);
    [m0, m1, 1, m3, m4, m5]
}

fn number_of(link: usize) -> u16 {
    u16::try_from(link).unwrap_or(u16::MAX)
}

fn addresses(end: &LinkEnd) -> impl Iterator<Item = Setup> {
    end.addresses.iter().map(|address| Setup::Address {
        namespace: end.namespace.clone(),
        device: end.device.clone(),
        address: *address,
    })
}

fn rate(link: &Link, end: &LinkEnd) -> Option<Setup> {
    let rate = link.rate?;
    Some(Setup::Rate { namespace: end.namespace.clone(), device: end.device.clone(), rate })
}

fn routes(namespace: &Namespace) -> impl Iterator<Item = Setup> {
    namespace.routes.iter().map(|route| Setup::Route { namespace: namespace.name.clone(), route: route.clone() })
}

fn rules(namespace: &Namespace) -> impl Iterator<Item = Setup> {
    namespace.rules.iter().map(|rule| Setup::Rule { namespace: namespace.name.clone(), rule: rule.clone() })
}

fn path_manager_state(namespace: &Namespace) -> impl Iterator<Item = Setup> {
    let limits = namespace.limits.map(|limits| Operation::SetLimits {
        namespace: namespace.name.clone(),
        subflows: Some(limits.subflows),
        add_addr_accepted: Some(limits.add_addr_accepted),
    });
    let endpoints = namespace
        .endpoints
        .iter()
        .map(|(endpoint, _)| Operation::AddEndpoint { namespace: namespace.name.clone(), endpoint: endpoint.clone() });
    limits.into_iter().chain(endpoints).map(Setup::Operation)
}
