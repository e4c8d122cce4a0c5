//! Making a testbed from a plan.

use std::mem;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::net::Hardware;
use crate::netlink::NetlinkError;
use crate::netlink::route::{Request, RouteClient, RouteMonitor, TokenBucket};
use crate::plan::{INNER_DEVICES, Setup};
use crate::processors;
use crate::scenario::model::{Address, Device, LinkEnd, Route, RoutingRule};

use super::expected::{self, Expected, ExpectedLink};
use super::sysctl::{self, SysctlError};
use super::world::path_place;
use super::{BaseNamespace, Namespace, NamespaceError, Node, Testbed, TestbedError, baseline, neighbours};

/// `ETH_DATA_LEN`: the default MTU of a veth.
const DEFAULT_MTU: u32 = 1500;
/// More sockets than this slow down a table of the usual size.
const MANY_SOCKETS: usize = 128;
/// `LOOPBACK_IFINDEX`
const LOOPBACK: u32 = 1;

/// The offset of interface indices where the kernel puts its own interfaces into a new namespace: it does so for
/// tunnels whose module is loaded (`sit0`, `tunl0`; the sysctl `net.core.fb_tunnels_only_for_init_net`).
const OFFSET: u32 = 1000;

/// Builds the world of a plan: everything but [`Setup::Path`] and [`Setup::Operation`], which need more than a testbed.
/// The calling thread must be in the base namespace (see [`BaseNamespace::enter_for_good`]). When this returns,
/// everything exists, was read back, and is usable: links have their carrier, addresses are not tentative. `sockets` is
/// the approximate number of TCP sockets in a namespace.
///
/// # Errors
///
/// [`TestbedError`]; nothing is left behind then.
pub fn build(base: &Arc<BaseNamespace>, setup: &[Setup], sockets: usize) -> Result<Testbed, TestbedError> {
    let _pass = base.may_build();
    if sockets > MANY_SOCKETS {
        BaseNamespace::expect_sockets(sockets);
    }
    let built = build_all(base, setup);
    if sockets > MANY_SOCKETS {
        BaseNamespace::expect_sockets(0);
    }
    built
}

fn build_all(base: &Arc<BaseNamespace>, setup: &[Setup]) -> Result<Testbed, TestbedError> {
    let mut builder =
        Builder { base, testbed: Testbed::default(), pending: IndexMap::new(), expected: IndexMap::new() };
    let mut last = None;
    for step in setup {
        // Steps of the same kind are independent, so their requests can be sent together.
        let kind = mem::discriminant(step);
        if last.replace(kind) != Some(kind) {
            builder.flush()?;
        }
        builder.step(step)?;
    }
    builder.flush()?;
    builder.introduce()?;
    builder.verify()
}

/// Makes new interfaces in the namespace of the calling thread queue received frames in the backlog of the thread's
/// processor, if it stays on one, whichever processor sends. Otherwise a frame from one processor may overtake a frame
/// from another: the sending thread may migrate, and TCP timers run on any processor (`netif_rx_internal` and
/// `get_rps_cpu`, net/core/dev.c; `rx_queue_default_mask`, net/core/net-sysfs.c).
///
/// Kernels before 6.3 and those without CONFIG_RPS lack the sysctl: there, pinning the threads has to suffice.
fn keep_order() {
    if let Some(number) = processors::only_one() {
        let _ = sysctl::write("net.core.rps_default_mask", &cpu_mask(number));
    }
}

/// The format of cpumask_parse() (lib/bitmap-str.c): hexadecimal words of 32 bits, separated by commas.
fn cpu_mask(number: usize) -> String {
    let first = format!("{:x}", 1_u32 << (number % 32));
    std::iter::once(first).chain(std::iter::repeat_n("00000000".to_owned(), number / 32)).collect::<Vec<_>>().join(",")
}

/// A testbed in the making.
struct Builder<'a> {
    base: &'a Arc<BaseNamespace>,
    testbed: Testbed,
    /// Requests that can be sent together, by namespace.
    pending: IndexMap<String, Vec<Request>>,
    /// The expected final state of each namespace.
    expected: IndexMap<String, Expected>,
}

impl Builder<'_> {
    fn step(&mut self, step: &Setup) -> Result<(), TestbedError> {
        match step {
            Setup::Namespace { name, programs } => self.namespace(name, *programs),
            Setup::Sysctl { namespace, name, value } => self.testbed.node(namespace)?.set_sysctl(name, value),
            Setup::Link { link: _, mtu, ends } => self.link(*mtu, ends),
            Setup::Device { namespace, device, hardware } => self.device(namespace, device, *hardware),
            Setup::PathLink { link, mtu, ends, inner } => self.path_link(link, *mtu, ends, *inner),
            Setup::RealFrames { link, ends } => self.real_frames(link, ends),
            Setup::GsoMaxSize { link: _, ends, bytes } => self.gso_max_size(ends, *bytes),
            Setup::Address { namespace, device, address } => self.address(namespace, device, *address),
            Setup::LinkUp { namespace, device } => self.link_up(namespace, device),
            Setup::Rate { namespace, device, rate } => self.rate(namespace, device, *rate),
            Setup::Route { namespace, route } => self.route(namespace, route),
            Setup::Rule { namespace, rule } => {
                self.rule(namespace, rule);
                Ok(())
            }
            Setup::PathManager { namespace } => self.userspace_path_manager(namespace),
            Setup::Path(_) | Setup::Operation(_) => Ok(()),
        }
    }

    /// Linux before 6.15 has only the older of the two sysctls.
    fn userspace_path_manager(&self, namespace: &str) -> Result<(), TestbedError> {
        let node = self.testbed.node(namespace)?;
        match node.set_sysctl("net.mptcp.path_manager", "userspace") {
            Err(TestbedError::Sysctl { source, .. }) if source.is_missing() => {
                node.set_sysctl("net.mptcp.pm_type", "1")
            }
            result => result,
        }
    }

    fn namespace(&mut self, name: &str, programs: bool) -> Result<(), TestbedError> {
        let create = if programs { Namespace::create_enclosed } else { Namespace::create };
        let node = self.make_node(name, create, baseline::apply)?;
        self.testbed.nodes.insert(name.to_owned(), node);
        self.pend(name, Request::set_link(LOOPBACK, "lo", true));
        Ok(())
    }

    /// A namespace, with its initial settings.
    fn make_node(
        &self,
        name: &str,
        create: fn(&Arc<BaseNamespace>) -> Result<Namespace, NamespaceError>,
        baseline: fn() -> Result<(), SysctlError>,
    ) -> Result<Node, TestbedError> {
        let namespace_error = |source| TestbedError::Namespace { name: name.to_owned(), source };
        let sysctl_error = |source| TestbedError::Sysctl { namespace: name.to_owned(), source };
        let namespace = create(self.base).map_err(namespace_error)?;
        let prepare = || -> Result<_, TestbedError> {
            baseline().map_err(sysctl_error)?;
            keep_order();
            Ok((RouteClient::open(name)?, RouteMonitor::open(name)?))
        };
        let (route, monitor) = namespace.run(prepare).map_err(namespace_error)??;
        let strangers = route.links()?.iter().any(|link| link.index != LOOPBACK);
        let mut node = Node::new(name, namespace, route, monitor);
        node.offset = if strangers { OFFSET } else { 0 };
        Ok(node)
    }

    fn link(&mut self, mtu: Option<u32>, ends: &[(LinkEnd, Hardware); 2]) -> Result<(), TestbedError> {
        let [near, far] =
            ends.each_ref().map(|(end, hardware)| (end.namespace.as_str(), end.device.as_str(), *hardware));
        self.veth([near, far], mtu)?;
        self.testbed.links.push(ends.each_ref().map(|(end, _)| (end.namespace.clone(), end.device.clone())));
        Ok(())
    }

    /// A device that isn't the end of a link, with its ports.
    fn device(&mut self, namespace: &str, device: &Device, planned: Hardware) -> Result<(), TestbedError> {
        let node = self.testbed.place_mut(namespace)?;
        let hardware = Hardware { index: planned.index.saturating_add(node.offset), mac: planned.mac };
        let on = device.kind.on().map(|on| node.index(on)).transpose()?;
        let ports: Vec<(u32, &String)> = device
            .kind
            .ports()
            .iter()
            .map(|port| Ok((node.index(port)?, port)))
            .collect::<Result<_, NetlinkError>>()?;
        node.devices.push((device.name.clone(), hardware));
        node.upper.push(hardware.index);
        self.pend(namespace, Request::add_device(device, hardware, on));
        for (index, port) in ports {
            self.pend(namespace, Request::set_master(index, port, hardware.index));
        }
        let link = ExpectedLink::new(&device.name, hardware, None);
        self.expected.entry(namespace.to_owned()).or_default().links.push(link);
        Ok(())
    }

    /// A veth pair between two places.
    fn veth(&mut self, ends: [(&str, &str, Hardware); 2], mtu: Option<u32>) -> Result<(), TestbedError> {
        let mut hardware = [Hardware { index: 0, mac: [0; 6] }; 2];
        for ((place, device, planned), hardware) in ends.into_iter().zip(&mut hardware) {
            let node = self.testbed.place_mut(place)?;
            *hardware = Hardware { index: planned.index.saturating_add(node.offset), mac: planned.mac };
            node.devices.push((device.to_owned(), *hardware));
            let link = ExpectedLink::new(device, *hardware, mtu);
            self.expected.entry(place.to_owned()).or_default().links.push(link);
        }
        let [(near, near_device, _), (far, far_device, _)] = ends;
        let [near_hardware, far_hardware] = hardware;
        let request = Request::add_veth(
            [
                self.testbed.place(near)?.veth_end(near_device, near_hardware),
                self.testbed.place(far)?.veth_end(far_device, far_hardware),
            ],
            mtu,
        );
        self.pend(near, request);
        Ok(())
    }

    /// Two veth pairs, and the namespace of their inner sides.
    fn path_link(
        &mut self,
        link: &str,
        mtu: Option<u32>,
        ends: &[(LinkEnd, Hardware); 2],
        inner: [Hardware; 2],
    ) -> Result<(), TestbedError> {
        let place = path_place(link);
        let node = self.make_node(&place, Namespace::create, baseline::apply_to_path)?;
        self.testbed.paths.insert(place.clone(), node);
        for (((end, outer), device), inner) in ends.iter().zip(INNER_DEVICES).zip(inner) {
            self.veth([(&end.namespace, &end.device, *outer), (&place, device, inner)], mtu)?;
        }
        self.testbed.links.push(ends.each_ref().map(|(end, _)| (end.namespace.clone(), end.device.clone())));
        self.testbed.spliced.push((link.to_owned(), self.testbed.links.len() - 1));
        Ok(())
    }

    fn real_frames(&self, link: &str, ends: &[LinkEnd; 2]) -> Result<(), TestbedError> {
        for end in ends {
            self.testbed.node(&end.namespace)?.switch_offloads_off(&end.device)?;
        }
        let path = self.testbed.place(&path_place(link))?;
        INNER_DEVICES.iter().try_for_each(|device| path.switch_offloads_off(device))
    }

    fn gso_max_size(&mut self, ends: &[LinkEnd; 2], bytes: u32) -> Result<(), TestbedError> {
        for LinkEnd { namespace, device, .. } in ends {
            let index = self.testbed.node(namespace)?.index(device)?;
            self.pend(namespace, Request::set_gso_max_size(index, device, bytes));
            if let Some(link) = self.expected_link(namespace, device) {
                link.gso_max_size = Some(bytes);
            }
        }
        Ok(())
    }

    fn address(&mut self, namespace: &str, device: &str, address: Address) -> Result<(), TestbedError> {
        let index = self.testbed.node(namespace)?.index(device)?;
        // An interface with an IPv6 address needs a link-local one: see Node::add_link_local().
        let link = self.expected.entry(namespace.to_owned()).or_default().link_mut(device);
        let link_local = link.as_ref().map(|link| expected::link_local(link.hardware.mac));
        let missing = link_local.filter(|link_local| {
            address.address.is_ipv6() && link.as_ref().is_some_and(|link| !link.addresses.contains(link_local))
        });
        if let Some(link) = link {
            link.addresses.extend(missing);
            link.addresses.push(address);
        }
        for address in missing.into_iter().chain([address]) {
            self.pend(namespace, Request::add_address(index, device, address));
        }
        Ok(())
    }

    fn link_up(&mut self, namespace: &str, device: &str) -> Result<(), TestbedError> {
        self.set_up(namespace, device)?;
        // Without the far inner side, the far end has no carrier: as it has to be while this end is down.
        match self.testbed.far_inner(namespace, device).map(|(place, device)| (place.to_owned(), device)) {
            Some((place, device)) => self.set_up(&place, device),
            None => Ok(()),
        }
    }

    fn set_up(&mut self, place: &str, device: &str) -> Result<(), TestbedError> {
        let index = self.testbed.place(place)?.index(device)?;
        self.pend(place, Request::set_link(index, device, true));
        if let Some(link) = self.expected_link(place, device) {
            link.up = true;
        }
        Ok(())
    }

    fn rate(&mut self, namespace: &str, device: &str, rate: u64) -> Result<(), TestbedError> {
        let index = self.testbed.node(namespace)?.index(device)?;
        let link = self.expected_link(namespace, device);
        let mtu = link.as_ref().and_then(|link| link.mtu).unwrap_or(DEFAULT_MTU);
        if let Some(link) = link {
            link.rate = Some(rate);
        }
        let bucket = TokenBucket::for_link(rate, mtu).ok_or_else(|| TestbedError::Rate {
            namespace: namespace.to_owned(),
            device: device.to_owned(),
            rate,
        })?;
        self.pend(namespace, Request::set_rate(index, device, bucket));
        Ok(())
    }

    fn route(&mut self, namespace: &str, route: &Route) -> Result<(), TestbedError> {
        let devices = self.testbed.node(namespace)?.route_devices(route)?;
        self.pend(namespace, Request::add_route(route, &devices));
        self.expected.entry(namespace.to_owned()).or_default().routes.push((route.clone(), devices));
        Ok(())
    }

    fn rule(&mut self, namespace: &str, rule: &RoutingRule) {
        self.pend(namespace, Request::add_rule(rule));
        self.expected.entry(namespace.to_owned()).or_default().rules.push(rule.clone());
    }

    /// Adds the neighbour entries at both ends of each link: see [`neighbours`].
    fn introduce(&mut self) -> Result<(), TestbedError> {
        for [one, other] in self.testbed.links.clone() {
            for ((namespace, device), (far_namespace, far_device)) in [(&one, &other), (&other, &one)] {
                let Some(far) = self.expected_link(far_namespace, far_device).cloned() else { continue };
                let Some(near) = self.expected_link(namespace, device) else { continue };
                near.neighbours = neighbours::known(&near.addresses, &far.addresses, far.hardware.mac);
                let (neighbours, index) = (near.neighbours.clone(), near.hardware.index);
                for neighbour in neighbours {
                    self.pend(namespace, Request::add_neighbour(index, device, neighbour));
                }
            }
        }
        self.flush()
    }

    fn expected_link(&mut self, namespace: &str, device: &str) -> Option<&mut ExpectedLink> {
        self.expected.get_mut(namespace)?.link_mut(device)
    }

    fn pend(&mut self, namespace: &str, request: Request) {
        self.pending.entry(namespace.to_owned()).or_default().push(request);
    }

    fn flush(&mut self) -> Result<(), TestbedError> {
        for (namespace, requests) in self.pending.drain(..) {
            self.testbed.place(&namespace)?.route().submit(requests)?;
        }
        Ok(())
    }

    /// Waits until everything is as requested.
    fn verify(mut self) -> Result<Testbed, TestbedError> {
        let up = |expected: &IndexMap<String, Expected>, (namespace, device): &(String, String)| {
            expected.get(namespace).and_then(|expected| expected.link(device)).is_some_and(|link| link.up)
        };
        for (number, ends) in self.testbed.links.clone().into_iter().enumerate() {
            let running = ends.iter().all(|end| up(&self.expected, end));
            let spliced = self.testbed.spliced.iter().find(|(_, link)| *link == number);
            let inner = spliced.map(|(link, _)| INNER_DEVICES.map(|device| (path_place(link), device.to_owned())));
            for (namespace, device) in ends.into_iter().chain(inner.into_iter().flatten()) {
                if let Some(link) = self.expected_link(&namespace, &device) {
                    link.running = running;
                }
            }
        }
        for (name, expected) in &self.expected {
            self.testbed.place(name)?.settle(|actual| expected.differences(actual))?;
        }
        Ok(self.testbed)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_mask_has_one_bit() {
        assert_eq!(
            [0, 5, 31, 32, 70].map(super::cpu_mask),
            ["1", "20", "80000000", "1,00000000", "40,00000000,00000000"]
        );
    }
}
