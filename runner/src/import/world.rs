//! Links for the addresses that were seen. A report rarely tells prefixes and routes, so each network of the client gets
//! a link of its own, with a default route through it; the server has its addresses on the links that lead there.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::hosts::{Both, can_be_on_a_link};
use super::steps::quoted;
use crate::mptcp::Side;

/// The most links of a draft.
const MOST_LINKS: usize = 60;

/// A link, with the addresses of both ends.
#[derive(Debug, Default)]
struct Link {
    networks: Vec<IpAddr>,
    ends: Both<Vec<(IpAddr, u8)>>,
    devices: Both<String>,
}

/// The links of a draft, and the routes of the client.
#[derive(Debug, Default)]
pub(super) struct World {
    links: Vec<Link>,
    /// Addresses that stand for unknown ones.
    pub(super) placeholders: Vec<IpAddr>,
}

/// What is known of an address.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) address: IpAddr,
    /// The device that it is on, or bound to.
    pub(super) dev: Option<String>,
}

/// The first address of the network that an address is probably in: the report doesn't tell, so it is /24 or /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address) & !0xff).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
    }
}

/// Whether two addresses are probably in one network.
pub(super) fn same_prefix(one: IpAddr, other: IpAddr) -> bool {
    network(one) == network(other)
}

fn length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 24 } else { 64 }
}

/// The n-th address of a network.
fn nth(network: IpAddr, n: u8) -> IpAddr {
    match network {
        IpAddr::V4(network) => Ipv4Addr::from(u32::from(network) | u32::from(n)).into(),
        IpAddr::V6(network) => Ipv6Addr::from(u128::from(network) | u128::from(n)).into(),
    }
}

impl World {
    /// Builds the links. Addresses come in the order in which they are seen, those of initial subflows first; `pairs`
    /// are the addresses of client and server between which subflows were.
    pub(super) fn of(addresses: &Both<Vec<Known>>, pairs: &BTreeSet<(IpAddr, IpAddr)>) -> Self {
        let mut world = Self::default();
        for known in &addresses.client {
            world.client_address(known);
        }
        for Known { address, .. } in &addresses.server {
            world.server_address(*address, pairs);
        }
        world.fill();
        world.name(addresses);
        world
    }

    fn client_address(&mut self, Known { address, dev }: &Known) {
        if !can_be_on_a_link(*address) || self.has(*address) {
            return;
        }
        let on_device = dev.as_ref().and_then(|dev| self.links.iter().position(|link| link.devices.client == *dev));
        let in_network = self.links.iter().position(|link| link.networks.contains(&network(*address)));
        let index = match in_network.or(on_device) {
            Some(index) => index,
            None if self.links.len() < MOST_LINKS => {
                self.links.push(Link::default());
                self.links.len() - 1
            }
            None => return,
        };
        let Some(link) = self.links.get_mut(index) else { return };
        if !link.networks.contains(&network(*address)) {
            link.networks.push(network(*address));
        }
        if let Some(dev) = dev
            && link.devices.client.is_empty()
        {
            link.devices.client.clone_from(dev);
        }
        link.ends.client.push((*address, length(*address)));
    }

    fn server_address(&mut self, address: IpAddr, pairs: &BTreeSet<(IpAddr, IpAddr)>) {
        if !can_be_on_a_link(address) || self.has(address) {
            return;
        }
        if let Some(link) = self.links.iter_mut().find(|link| link.networks.contains(&network(address))) {
            link.ends.server.push((address, length(address)));
            return;
        }
        let meets = |link: &Link| link.ends.client.iter().any(|(client, _)| pairs.contains(&(*client, address)));
        let family = |link: &Link| link.ends.client.iter().any(|(client, _)| client.is_ipv4() == address.is_ipv4());
        let index = self.links.iter().position(meets).or_else(|| self.links.iter().position(family));
        let room = self.links.len() < MOST_LINKS;
        match index.and_then(|index| self.links.get_mut(index)) {
            Some(link) => link.ends.server.push((address, if address.is_ipv4() { 32 } else { 128 })),
            None if room => {
                let mut link = Link { networks: vec![network(address)], ..Link::default() };
                link.ends.server.push((address, length(address)));
                self.links.push(link);
            }
            None => {}
        }
    }

    fn has(&self, address: IpAddr) -> bool {
        let ends = self.links.iter().flat_map(|link| link.ends.client.iter().chain(&link.ends.server));
        ends.into_iter().any(|(known, _)| *known == address)
    }

    /// Each end needs an address in each network of its link.
    fn fill(&mut self) {
        let all: BTreeSet<IpAddr> = self
            .links
            .iter()
            .flat_map(|link| link.ends.client.iter().chain(&link.ends.server))
            .map(|(address, _)| *address)
            .collect();
        for link in &mut self.links {
            for network in link.networks.clone() {
                for side in [Side::Server, Side::Client] {
                    let end = link.ends.of_mut(side);
                    if end.iter().any(|(address, _)| same_prefix(*address, network)) {
                        continue;
                    }
                    let free = (1..=254)
                        .map(|n| nth(network, n))
                        .find(|address| !all.contains(address) && !self.placeholders.contains(address));
                    if let Some(address) = free {
                        end.push((address, length(address)));
                        self.placeholders.push(address);
                    }
                }
            }
        }
    }

    /// Devices keep the names that the report has for them, if there can be such devices.
    fn name(&mut self, addresses: &Both<Vec<Known>>) {
        let mut taken: Both<BTreeSet<String>> = Both::default();
        for (index, link) in self.links.iter_mut().enumerate() {
            for side in [Side::Client, Side::Server] {
                let of_end = |known: &&Known| link.ends.of(side).iter().any(|(address, _)| *address == known.address);
                let known = addresses.of(side).iter().filter(of_end).find_map(|known| known.dev.clone());
                let taken = taken.of_mut(side);
                let name = known.filter(|dev| is_name(dev) && !taken.contains(dev));
                let numbered = (index + 1..).map(|number| format!("eth{number}"));
                let name = name.or_else(|| numbered.into_iter().find(|name| !taken.contains(name))).unwrap_or_default();
                taken.insert(name.clone());
                *link.devices.of_mut(side) = name;
            }
        }
    }

    /// The device of an endpoint that is bound to one: that of its address, or the one of that name.
    pub(super) fn device(&self, host: Side, address: IpAddr, dev: &str) -> Option<&str> {
        let on = |link: &&Link| link.ends.of(host).iter().any(|(known, _)| *known == address);
        let named = |link: &&Link| link.devices.of(host) == dev;
        let link = self.links.iter().find(named).or_else(|| self.links.iter().find(on))?;
        Some(link.devices.of(host))
    }

    /// The source that the kernel chooses for a destination, by the routes of the draft.
    pub(super) fn source_for(&self, host: Side, target: IpAddr) -> Option<IpAddr> {
        let on_link = self.links.iter().find(|link| link.networks.contains(&network(target)));
        let default = || match host {
            Side::Client => self.links.iter().find(|link| gateway(link, target.is_ipv4()).is_some()),
            Side::Server => None,
        };
        let link = on_link.or_else(default)?;
        let in_network = |address: &IpAddr| {
            address.is_ipv4() == target.is_ipv4() && (on_link.is_none() || same_prefix(*address, target))
        };
        let own = link.ends.of(host).iter().filter(|(_, length)| *length != 32 && *length != 128);
        own.map(|(address, _)| *address).find(in_network)
    }

    /// The lines of the section `links`.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (index, link) in self.links.iter().enumerate() {
            lines.push(format!("  link{}:", index + 1));
            lines.push("    ends:".to_owned());
            for side in [Side::Client, Side::Server] {
                let end = link.ends.of(side);
                let address = |(address, length): &(IpAddr, u8)| match address {
                    IpAddr::V4(address) => format!("{address}/{length}"),
                    IpAddr::V6(address) => format!("\"{address}/{length}\""),
                };
                let addresses: Vec<String> = end.iter().map(address).collect();
                let guessed: Vec<String> = end
                    .iter()
                    .filter(|(address, _)| self.placeholders.contains(address))
                    .map(|(address, _)| address.to_string())
                    .collect();
                let remark =
                    if guessed.is_empty() { String::new() } else { format!("  # placeholder: {}", guessed.join(", ")) };
                let (host, device) = (side.word(), link.devices.of(side));
                lines.push(format!(
                    "      {host}: {{ device: {device}, addresses: [{}] }}{remark}",
                    addresses.join(", ")
                ));
            }
        }
        lines
    }

    /// The routes of the client: a default route through each link, the first one preferred.
    pub(super) fn routes(&self) -> Vec<String> {
        let mut routes = Vec::new();
        for is_ipv4 in [true, false] {
            for (index, link) in self.links.iter().enumerate() {
                if let Some(gateway) = gateway(link, is_ipv4) {
                    let (gateway, dev, metric) = (quoted(gateway), &link.devices.client, 101 + index);
                    routes.push(format!("- {{ to: default, via: {gateway}, dev: {dev}, metric: {metric} }}"));
                }
            }
        }
        routes
    }
}

/// The server's address on a link, as the client's gateway.
fn gateway(link: &Link, is_ipv4: bool) -> Option<IpAddr> {
    let on_link = |(address, length): &&(IpAddr, u8)| {
        address.is_ipv4() == is_ipv4
            && *length != 32
            && *length != 128
            && link.ends.client.iter().any(|(own, _)| same_prefix(*own, *address))
    };
    link.ends.server.iter().find(on_link).map(|(address, _)| *address)
}

/// A name that an interface of a scenario can have, and that YAML takes for text.
fn is_name(dev: &str) -> bool {
    let letters = dev.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-.".contains(letter));
    letters
        && dev.len() <= 15
        && dev.starts_with(|first: char| first.is_ascii_lowercase())
        && dev.chars().any(|letter| letter.is_ascii_digit())
        && !["lo", "all", "default"].contains(&dev)
}
