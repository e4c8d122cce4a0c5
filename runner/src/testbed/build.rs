//! Making a testbed from a plan.

use std::mem;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::netlink::route::{Request, RouteClient, RouteMonitor, TokenBucket};
use crate::plan::{Hardware, Setup};
use crate::scenario::model::{Address, LinkEnd, Route};

use super::expected::{self, Expected, ExpectedLink};
use super::{Home, Namespace, Node, Testbed, TestbedError, baseline};

/// `ETH_DATA_LEN`: the MTU of a veth that nobody gave one.
const DEFAULT_MTU: u32 = 1500;
/// `LOOPBACK_IFINDEX`
const LOOPBACK: u32 = 1;

/// What is added to each interface index where the kernel has put interfaces of its own into a new namespace: it
/// does so for tunnels whose module is loaded (`sit0`, `tunl0`; the sysctl `net.core.fb_tunnels_only_for_init_net`).
const OFFSET: u32 = 1000;

/// Makes the world of a plan: everything but [`Setup::Operation`], which needs more than a testbed. The calling
/// thread must be at home (see [`Home::enter_for_good`]). When this returns, everything is there, was read back, and
/// can be used: links have their carrier, addresses are not tentative.
///
/// # Errors
///
/// [`TestbedError`]; nothing is left behind then.
pub fn build(home: &Arc<Home>, setup: &[Setup]) -> Result<Testbed, TestbedError> {
    let mut builder =
        Builder { home, testbed: Testbed::default(), pending: IndexMap::new(), expected: IndexMap::new() };
    let mut last = None;
    for step in setup {
        // Steps of the same kind don't depend on each other: their requests can go together.
        let kind = mem::discriminant(step);
        if last.replace(kind) != Some(kind) {
            builder.flush()?;
        }
        builder.step(step)?;
    }
    builder.flush()?;
    builder.verify()
}

/// A testbed in the making.
struct Builder<'a> {
    home: &'a Arc<Home>,
    testbed: Testbed,
    /// Requests that can go together, by namespace.
    pending: IndexMap<String, Vec<Request>>,
    /// What each namespace must look like in the end.
    expected: IndexMap<String, Expected>,
}

impl Builder<'_> {
    fn step(&mut self, step: &Setup) -> Result<(), TestbedError> {
        match step {
            Setup::Namespace { name } => self.namespace(name),
            Setup::Sysctl { namespace, name, value } => self.testbed.node(namespace)?.set_sysctl(name, value),
            Setup::Link { link: _, mtu, ends } => self.link(*mtu, ends),
            Setup::Address { namespace, device, address } => self.address(namespace, device, *address),
            Setup::LinkUp { namespace, device } => self.link_up(namespace, device),
            Setup::Rate { namespace, device, rate } => self.rate(namespace, device, *rate),
            Setup::Route { namespace, route } => self.route(namespace, route),
            Setup::PathManager { namespace } => self.userspace_path_manager(namespace),
            Setup::Operation(_) => Ok(()),
        }
    }

    /// Before Linux 6.15 there is only the older of the two names.
    fn userspace_path_manager(&self, namespace: &str) -> Result<(), TestbedError> {
        let node = self.testbed.node(namespace)?;
        match node.set_sysctl("net.mptcp.path_manager", "userspace") {
            Err(TestbedError::Sysctl { source, .. }) if source.is_missing() => {
                node.set_sysctl("net.mptcp.pm_type", "1")
            }
            result => result,
        }
    }

    fn namespace(&mut self, name: &str) -> Result<(), TestbedError> {
        let namespace_error = |source| TestbedError::Namespace { name: name.to_owned(), source };
        let sysctl_error = |source| TestbedError::Sysctl { namespace: name.to_owned(), source };
        let namespace = Namespace::create(self.home).map_err(namespace_error)?;
        let prepare = || -> Result<_, TestbedError> {
            baseline::apply().map_err(sysctl_error)?;
            Ok((RouteClient::open(name)?, RouteMonitor::open(name)?))
        };
        let (route, monitor) = namespace.run(prepare).map_err(namespace_error)??;
        let strangers = route.links()?.iter().any(|link| link.index != LOOPBACK);
        let mut node = Node::new(name, namespace, route, monitor);
        node.offset = if strangers { OFFSET } else { 0 };
        self.testbed.nodes.insert(name.to_owned(), node);
        self.pend(name, Request::set_link(LOOPBACK, "lo", true));
        Ok(())
    }

    fn link(&mut self, mtu: Option<u32>, ends: &[(LinkEnd, Hardware); 2]) -> Result<(), TestbedError> {
        let mut hardware = [Hardware { index: 0, mac: [0; 6] }; 2];
        for ((end, planned), hardware) in ends.iter().zip(&mut hardware) {
            let node = self.testbed.node_mut(&end.namespace)?;
            *hardware = Hardware { index: planned.index.saturating_add(node.offset), mac: planned.mac };
            node.devices.push((end.device.clone(), *hardware));
            let link = ExpectedLink::new(&end.device, *hardware, mtu);
            self.expected.entry(end.namespace.clone()).or_default().links.push(link);
        }
        let [(near, _), (far, _)] = ends;
        let [near_hardware, far_hardware] = hardware;
        let request = Request::add_veth(
            [
                self.testbed.node(&near.namespace)?.veth_end(&near.device, near_hardware),
                self.testbed.node(&far.namespace)?.veth_end(&far.device, far_hardware),
            ],
            mtu,
        );
        self.pend(&near.namespace, request);
        self.testbed.links.push([near, far].map(|end| (end.namespace.clone(), end.device.clone())));
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
        let index = self.testbed.node(namespace)?.index(device)?;
        self.pend(namespace, Request::set_link(index, device, true));
        if let Some(link) = self.expected_link(namespace, device) {
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
        let device = self.testbed.node(namespace)?.route_device(route)?;
        self.pend(namespace, Request::add_route(route, device));
        self.expected.entry(namespace.to_owned()).or_default().routes.push(route.clone());
        Ok(())
    }

    fn expected_link(&mut self, namespace: &str, device: &str) -> Option<&mut ExpectedLink> {
        self.expected.get_mut(namespace)?.link_mut(device)
    }

    fn pend(&mut self, namespace: &str, request: Request) {
        self.pending.entry(namespace.to_owned()).or_default().push(request);
    }

    fn flush(&mut self) -> Result<(), TestbedError> {
        for (namespace, requests) in self.pending.drain(..) {
            self.testbed.node(&namespace)?.route().submit(requests)?;
        }
        Ok(())
    }

    /// Waits until everything is as it was asked for.
    fn verify(mut self) -> Result<Testbed, TestbedError> {
        let up = |expected: &IndexMap<String, Expected>, (namespace, device): &(String, String)| {
            expected.get(namespace).and_then(|expected| expected.link(device)).is_some_and(|link| link.up)
        };
        for ends in self.testbed.links.clone() {
            let running = ends.iter().all(|end| up(&self.expected, end));
            for (namespace, device) in ends {
                if let Some(link) = self.expected_link(&namespace, &device) {
                    link.running = running;
                }
            }
        }
        for (name, expected) in &self.expected {
            self.testbed.node(name)?.settle(|actual| expected.differences(actual))?;
        }
        Ok(self.testbed)
    }
}
