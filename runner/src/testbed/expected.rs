//! The expected state of a namespace, to compare with the kernel's. Pure.

use std::net::{IpAddr, Ipv6Addr};

use crate::net::{Hardware, RouteType};
use crate::netlink::route::{AddressState, LinkState, Neighbour, NeighbourState, QueueState, RouteState};
use crate::scenario::model::{Address, Route, RoutingRule};
use crate::text;

/// `IP6_RT_PRIO_USER` (`include/uapi/linux/ipv6_route.h`): the default metric of an IPv6 route.
const IPV6_METRIC: u32 = 1024;

/// The expected state of a namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    pub(super) links: Vec<ExpectedLink>,
    /// With the indices of the interfaces that their next hops name.
    pub(super) routes: Vec<(Route, Vec<Option<u32>>)>,
    pub(super) rules: Vec<RoutingRule>,
}

/// An expected interface.
#[derive(Debug, Clone)]
pub(super) struct ExpectedLink {
    pub(super) device: String,
    pub(super) hardware: Hardware,
    pub(super) mtu: Option<u32>,
    /// In bytes.
    pub(super) gso_max_size: Option<u32>,
    /// Up, and also running if the other end is up.
    pub(super) up: bool,
    pub(super) running: bool,
    /// Bits per second.
    pub(super) rate: Option<u64>,
    /// Exactly these, including the testbed's link-local one.
    pub(super) addresses: Vec<Address>,
    /// The host at the other end.
    pub(super) neighbours: Vec<Neighbour>,
}

/// The state that the kernel reports.
#[derive(Debug)]
pub(super) struct Actual {
    pub(super) links: Vec<LinkState>,
    pub(super) addresses: Vec<AddressState>,
    pub(super) neighbours: Vec<NeighbourState>,
    pub(super) routes: Vec<RouteState>,
    pub(super) rules: Vec<RoutingRule>,
    pub(super) queues: Vec<QueueState>,
}

impl Actual {
    /// What is wrong with an interface that was set up or down, including addresses that don't receive yet.
    pub(super) fn complaints_about_link(&self, device: &str, up: bool, running: bool) -> Vec<String> {
        let Some(link) = self.links.iter().find(|link| link.name == device) else {
            return vec![format!("there is no interface {device}")];
        };
        let mut complaints: Vec<String> = self.complaints_about_state(device, up).into_iter().collect();
        if link.running != running {
            complaints.push(format!("{device} has {} carrier", if link.running { "a" } else { "no" }));
        }
        let own = self.addresses.iter().filter(|state| state.index == link.index);
        complaints.extend(own.filter_map(|state| lacks_address(self, device, link.index, state.address)));
        complaints
    }

    /// That an interface is not up or down, as it should be.
    pub(super) fn complaints_about_state(&self, device: &str, up: bool) -> Option<String> {
        match self.links.iter().find(|link| link.name == device) {
            None => Some(format!("there is no interface {device}")),
            Some(link) => (link.up != up).then(|| format!("{device} is {}", if link.up { "up" } else { "down" })),
        }
    }

    /// Which of these neighbours an interface lacks.
    pub(super) fn complaints_about_neighbours(
        &self,
        device: &str,
        index: u32,
        neighbours: &[Neighbour],
    ) -> impl Iterator<Item = String> {
        let known = move |neighbour| self.neighbours.contains(&NeighbourState { index, neighbour });
        let missing = neighbours.iter().filter(move |wanted| !known(**wanted));
        missing.map(move |neighbour| format!("{device} lacks the neighbour {}", neighbour.address))
    }
}

impl Expected {
    pub(super) fn link(&self, device: &str) -> Option<&ExpectedLink> {
        self.links.iter().find(|link| link.device == device)
    }

    pub(super) fn link_mut(&mut self, device: &str) -> Option<&mut ExpectedLink> {
        self.links.iter_mut().find(|link| link.device == device)
    }

    /// All differences, one sentence each.
    pub(super) fn differences(&self, actual: &Actual) -> Vec<String> {
        let mut differences = Vec::new();
        for link in &self.links {
            link.compare(actual, &mut differences);
        }
        differences.extend(self.routes.iter().filter_map(|(route, devices)| lacks_route(actual, route, devices)));
        differences.extend(self.rules.iter().filter_map(|rule| lacks_rule(actual, rule)));
        differences
    }
}

impl ExpectedLink {
    /// An interface that was just created.
    pub(super) fn new(device: &str, hardware: Hardware, mtu: Option<u32>) -> Self {
        let device = device.to_owned();
        Self {
            device,
            hardware,
            mtu,
            gso_max_size: None,
            up: false,
            running: false,
            rate: None,
            addresses: Vec::new(),
            neighbours: Vec::new(),
        }
    }

    fn compare(&self, actual: &Actual, differences: &mut Vec<String>) {
        let Self { device, hardware, .. } = self;
        let Some(link) = actual.links.iter().find(|link| link.name == *device) else {
            differences.push(format!("there is no interface {device}"));
            return;
        };
        let mut must = |is: bool, what: &str| {
            if !is {
                differences.push(format!("{device} {what}"));
            }
        };
        must(link.index == hardware.index, &format!("has index {} instead of {}", link.index, hardware.index));
        let (mac, wanted) = (text::mac(&link.mac), text::mac(&hardware.mac));
        must(mac == wanted, &format!("has MAC address {mac} instead of {wanted}"));
        if let Some(mtu) = self.mtu {
            must(link.mtu == mtu, &format!("has MTU {} instead of {mtu}", link.mtu));
        }
        if let Some(size) = self.gso_max_size {
            must(link.gso_max_size == size, &format!("has gso_max_size {} instead of {size}", link.gso_max_size));
        }
        must(link.up == self.up, if link.up { "is up instead of down" } else { "is down instead of up" });
        must(link.running || !self.running, "has no carrier");
        if let Some(rate) = self.rate {
            let rate = rate / 8 * 8;
            let mut rates = actual.queues.iter().filter(|queue| queue.index == link.index).map(|queue| queue.rate);
            let limited = rates.any(|read| read == Some(rate));
            must(limited, &format!("has another rate limit than {rate} bit/s, or none"));
        }
        self.compare_addresses(actual, differences);
        differences.extend(actual.complaints_about_neighbours(device, hardware.index, &self.neighbours));
    }

    fn compare_addresses(&self, actual: &Actual, differences: &mut Vec<String>) {
        let Self { device, hardware: Hardware { index, .. }, .. } = self;
        differences.extend(self.addresses.iter().filter_map(|own| lacks_address(actual, device, *index, *own)));
        for state in actual.addresses.iter().filter(|state| state.index == *index) {
            if !self.addresses.contains(&state.address) {
                let Address { address, prefix } = state.address;
                differences.push(format!("{device} has the unexpected address {address}/{prefix}"));
            }
        }
    }
}

/// Why an address of an interface can't be used (yet); `None` if it can.
pub(super) fn lacks_address(actual: &Actual, device: &str, index: u32, own: Address) -> Option<String> {
    let Address { address, prefix } = own;
    let state = actual.addresses.iter().find(|state| state.index == index && state.address == own);
    let up = actual.links.iter().any(|link| link.index == index && link.up);
    match state {
        None => Some(format!("{device} lacks the address {address}/{prefix}")),
        Some(state) if !state.usable => Some(format!("{address} of {device} is tentative")),
        // An IPv6 address needs its local route. A work queue adds that (addrconf_dad_completed, net/ipv6/addrconf.c),
        // and it goes when the interface is set down.
        Some(_) if (up || address.is_ipv4()) && !is_local(address, &actual.routes) => {
            Some(format!("{address} of {device} has no local route, so nothing sent to it is received"))
        }
        Some(_) => None,
    }
}

/// The link-local address that the testbed gives to an interface: the one that the kernel would derive from the MAC
/// address (RFC 4291 appendix A).
pub(super) fn link_local(mac: [u8; 6]) -> Address {
    let [m0, m1, m2, m3, m4, m5] = mac;
    let address = Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, m0 ^ 2, m1, m2, 0xff, 0xfe, m3, m4, m5]);
    Address { address: IpAddr::V6(address), prefix: 64 }
}

/// Whether the kernel delivers packets to this address locally. The route of an address in a VRF is in the VRF's table.
fn is_local(address: IpAddr, routes: &[RouteState]) -> bool {
    routes.iter().any(|route| route.kind == Some(RouteType::Local) && route.to.address == address)
}

/// That a route is missing, if it is.
pub(super) fn lacks_route(actual: &Actual, route: &Route, devices: &[Option<u32>]) -> Option<String> {
    let there = actual.routes.iter().any(|state| is_route(route, devices, state));
    (!there).then(|| format!("there is no route {route}"))
}

/// That a routing rule is missing, if it is.
pub(super) fn lacks_rule(actual: &Actual, rule: &RoutingRule) -> Option<String> {
    (!actual.rules.iter().any(|state| is_rule(rule, state))).then(|| format!("there is no rule {rule}"))
}

/// Whether `state` is how the kernel shows `route`. `devices` are the interfaces of its next hops.
pub(super) fn is_route(route: &Route, devices: &[Option<u32>], state: &RouteState) -> bool {
    let default_metric = if route.to.address.is_ipv6() { Some(IPV6_METRIC) } else { None };
    state.table == route.table()
        && state.kind == Some(route.kind)
        // The kernel stores an IPv6 destination without its host part, and refuses an IPv4 one that has one.
        && state.to == route.to.network()
        && has_hops(route, devices, state)
        && (route.source.is_none() || state.source == route.source)
        && state.metric.or(default_metric) == route.metric.or(default_metric)
}

fn has_hops(route: &Route, devices: &[Option<u32>], state: &RouteState) -> bool {
    if route.nexthops.is_empty() {
        let device = devices.first().copied().flatten();
        return state.nexthops.is_empty() && state.via == route.via && (device.is_none() || state.device == device);
    }
    // The kernel may show them in another order.
    let mut shown = state.nexthops.clone();
    let mut each = route.nexthops.iter().zip(devices).map(|(hop, device)| {
        let is_it = |(via, index, weight): &(Option<IpAddr>, u32, u16)| {
            *via == hop.via && device.is_none_or(|device| device == *index) && *weight == hop.weight.unwrap_or(1)
        };
        shown.iter().position(is_it).map(|index| shown.remove(index)).is_some()
    });
    each.by_ref().all(|there| there) && shown.is_empty()
}

/// Whether `state` is how the kernel shows `rule`.
pub(super) fn is_rule(rule: &RoutingRule, state: &RoutingRule) -> bool {
    let selects = |wanted: Option<Address>, shown: Option<Address>| {
        // It stores both with theirs.
        let known = |selector: Option<Address>| selector.filter(|it| it.prefix > 0);
        known(wanted) == known(shown)
    };
    rule.is_ipv4().unwrap_or(true) == state.is_ipv4().unwrap_or(true)
        && selects(rule.from, state.from)
        && selects(rule.to, state.to)
        && (rule.priority.is_none() || rule.priority == state.priority)
        && RoutingRule { priority: None, from: None, to: None, ..rule.clone() }
            == RoutingRule { priority: None, from: None, to: None, ..state.clone() }
}

#[cfg(test)]
mod tests {
    use crate::net::{LOCAL_TABLE, MAIN_TABLE, NextHop};

    use super::*;

    const HARDWARE: Hardware = Hardware { index: 2, mac: [2, 0, 0, 0, 1, 1] };

    const NEIGHBOUR: Neighbour =
        Neighbour { address: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 1, 2)), mac: [2, 0, 0, 0, 1, 0] };

    fn address(text: &str, prefix: u8) -> Address {
        Address { address: text.parse().unwrap(), prefix }
    }

    fn route(to: Address, via: Option<&str>) -> Route {
        Route { via: via.map(|via| via.parse().unwrap()), ..Route::new(to) }
    }

    fn state(to: Address) -> RouteState {
        RouteState {
            to,
            via: None,
            device: Some(2),
            source: None,
            metric: None,
            nexthops: Vec::new(),
            table: MAIN_TABLE,
            kind: Some(RouteType::Unicast),
        }
    }

    /// A namespace as it should be.
    fn world() -> (Expected, Actual) {
        let (ipv4, ipv6) = (address("10.0.1.1", 24), address("2001:db8:1::1", 64));
        let link = ExpectedLink {
            device: "eth1".into(),
            hardware: HARDWARE,
            mtu: Some(1400),
            gso_max_size: Some(16_000),
            up: true,
            running: true,
            rate: Some(1_000_007),
            addresses: vec![ipv4, ipv6],
            neighbours: vec![NEIGHBOUR],
        };
        let via = route(address("10.0.9.0", 24), Some("10.0.1.2"));
        let rule = RoutingRule { from: Some(address("10.0.1.1", 32)), table: Some(7), ..RoutingRule::default() };
        let local = |to: Address| RouteState { kind: Some(RouteType::Local), table: LOCAL_TABLE, ..state(to) };
        let actual = Actual {
            links: vec![LinkState {
                index: 2,
                name: "eth1".into(),
                mac: HARDWARE.mac.to_vec(),
                mtu: 1400,
                gso_max_size: 16_000,
                up: true,
                running: true,
                carrier: true,
                rx_bytes: 0,
                tx_bytes: 0,
                tx_dropped: 0,
            }],
            addresses: [ipv4, ipv6]
                .map(|address| AddressState { index: 2, address, usable: true, duplicate: false })
                .to_vec(),
            neighbours: vec![NeighbourState { index: 2, neighbour: NEIGHBOUR }],
            routes: vec![
                local(address("10.0.1.1", 32)),
                local(address("2001:db8:1::1", 128)),
                RouteState { via: via.via, ..state(via.to) },
            ],
            rules: vec![RoutingRule { priority: Some(32_765), ..rule.clone() }],
            queues: vec![QueueState { index: 2, kind: "tbf".into(), rate: Some(1_000_000) }],
        };
        (Expected { links: vec![link], routes: vec![(via, vec![None])], rules: vec![rule] }, actual)
    }

    #[test]
    fn what_is_as_expected_has_no_differences() {
        let (expected, actual) = world();
        assert_eq!(expected.differences(&actual), Vec::<String>::new());
    }

    #[test]
    fn each_difference_is_found() {
        type Damage = fn(&mut Actual);
        let cases: [(&str, Damage); 22] = [
            ("there is no interface eth1", |actual| actual.links.clear()),
            ("eth1 has index 3 instead of 2", |actual| actual.links[0].index = 3),
            ("eth1 has MAC address 02:02:02:02:02:02 instead of 02:00:00:00:01:01", |actual| {
                actual.links[0].mac = vec![2; 6];
            }),
            ("eth1 has MTU 1500 instead of 1400", |actual| actual.links[0].mtu = 1500),
            ("eth1 has gso_max_size 65536 instead of 16000", |actual| actual.links[0].gso_max_size = 65_536),
            ("eth1 is down instead of up", |actual| actual.links[0].up = false),
            ("eth1 has no carrier", |actual| actual.links[0].running = false),
            ("eth1 has another rate limit than 1000000 bit/s, or none", |actual| actual.queues.clear()),
            ("eth1 has another rate limit than 1000000 bit/s, or none", |actual| actual.queues[0].rate = Some(8)),
            ("eth1 lacks the address 10.0.1.1/24", |actual| actual.addresses.truncate(0)),
            ("eth1 lacks the address 10.0.1.1/24", |actual| actual.addresses[0].address.prefix = 16),
            ("2001:db8:1::1 of eth1 is tentative", |actual| actual.addresses[1].usable = false),
            ("2001:db8:1::1 of eth1 has no local route", |actual| actual.routes[1].kind = None),
            ("eth1 lacks the neighbour 10.0.1.2", |actual| actual.neighbours[0].index = 3),
            ("eth1 lacks the neighbour 10.0.1.2", |actual| actual.neighbours[0].neighbour.mac[5] = 7),
            ("there is no route 10.0.9.0/24 via 10.0.1.2", |actual| actual.routes[2].via = None),
            ("there is no route 10.0.9.0/24 via 10.0.1.2", |actual| actual.routes[2].table = 7),
            ("there is no route 10.0.9.0/24 via 10.0.1.2", |actual| {
                actual.routes[2].kind = Some(RouteType::Blackhole);
            }),
            ("there is no rule from 10.0.1.1 table 7", |actual| actual.rules.clear()),
            ("there is no rule from 10.0.1.1 table 7", |actual| actual.rules[0].table = Some(8)),
            ("there is no rule from 10.0.1.1 table 7", |actual| actual.rules[0].mark = Some(1)),
            ("eth1 has the unexpected address fe80::1/64", |actual| {
                let address = address("fe80::1", 64);
                actual.addresses.push(AddressState { index: 2, address, usable: true, duplicate: false });
            }),
        ];
        for (expected_text, damage) in cases {
            let (expected, mut actual) = world();
            damage(&mut actual);
            let differences = expected.differences(&actual);
            assert!(differences.iter().any(|text| text.starts_with(expected_text)), "{expected_text}: {differences:?}");
        }
    }

    #[test]
    fn a_route_is_recognised_by_all_that_was_said_of_it() {
        let to = address("2001:db8:9::", 64);
        let plain = route(to, None);
        let kernel = RouteState { metric: Some(IPV6_METRIC), ..state(to) };
        assert!(is_route(&plain, &[None], &kernel));
        assert!(is_route(&plain, &[Some(2)], &kernel));
        assert!(
            is_route(&route(address("2001:db8:9::7", 64), None), &[None], &kernel),
            "the kernel drops the host part"
        );
        assert!(!is_route(&plain, &[Some(3)], &kernel));
        assert!(!is_route(&Route { metric: Some(7), ..plain.clone() }, &[None], &kernel));
        assert!(!is_route(&Route { source: Some(to.address), ..plain.clone() }, &[None], &kernel));
        assert!(!is_route(&plain, &[None], &RouteState { table: LOCAL_TABLE, ..kernel.clone() }));
        assert!(is_route(&route(address("::", 0), None), &[None], &RouteState { to: address("::", 0), ..kernel }));
    }

    #[test]
    fn next_hops_are_recognised_in_any_order() {
        let hop = |via: &str, dev: &str, weight| NextHop { via: via.parse().ok(), dev: Some(dev.into()), weight };
        let nexthops = vec![hop("10.0.1.2", "eth1", None), hop("10.0.2.2", "eth2", Some(3))];
        let to = address("10.0.9.0", 24);
        let (wanted, devices) = (Route { nexthops, ..Route::new(to) }, [Some(2), Some(3)]);
        let shown = vec![("10.0.2.2".parse().ok(), 3, 3), ("10.0.1.2".parse().ok(), 2, 1)];
        let kernel = RouteState { device: None, nexthops: shown, ..state(to) };
        assert!(is_route(&wanted, &devices, &kernel));
        let damages: [fn(&mut RouteState); 4] = [
            |kernel| kernel.nexthops.truncate(1),
            |kernel| kernel.nexthops.push((None, 4, 1)),
            |kernel| kernel.nexthops[0].2 = 2,
            |kernel| kernel.nexthops[1].1 = 3,
        ];
        for damage in damages {
            let mut kernel = kernel.clone();
            damage(&mut kernel);
            assert!(!is_route(&wanted, &devices, &kernel), "{kernel:?}");
        }
    }

    #[test]
    fn a_rule_is_recognised_by_all_that_was_said_of_it() {
        let any = |text| Some(address(text, 0));
        let wanted = RoutingRule { from: any("::"), mark: Some(7), table: Some(300), ..RoutingRule::default() };
        let kernel = RoutingRule { priority: Some(32_765), ..wanted.clone() };
        assert!(is_rule(&wanted, &kernel));
        assert!(!is_rule(&wanted, &RoutingRule { from: any("0.0.0.0"), ..kernel.clone() }), "the other family");
        assert!(!is_rule(&RoutingRule { priority: Some(5), ..wanted.clone() }, &kernel));
        assert!(!is_rule(&RoutingRule { to: Some(address("fd00::", 8)), ..wanted.clone() }, &kernel));
        let prohibit = RoutingRule { table: None, kind: Some(RouteType::Prohibit), ..wanted };
        assert!(!is_rule(&prohibit, &kernel));
    }

    #[test]
    fn the_link_local_address_is_the_kernels() {
        assert_eq!(link_local([0x02, 0, 0, 0, 0x01, 0x02]), address("fe80::ff:fe00:102", 64));
    }
}
