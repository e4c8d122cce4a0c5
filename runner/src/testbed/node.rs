//! One namespace of a testbed: the changes that a scenario can make, each read back.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::net::{Hardware, Offload};
use crate::netlink::route::{Request, RouteClient, RouteMonitor, RouteState, VethEnd};
use crate::netlink::{Cause, DeviceNames, NetlinkError};
use crate::scenario::model::{Address, Route, RoutingRule};
use crate::sys::ethtool::{self};
use crate::sys::sandbox::Host;
use crate::text;

use super::expected::{self, Actual};
use super::{Namespace, NamespaceError, TestbedError, sysctl};

/// Timeout for the kernel's work queues to carry out an acknowledged change. They usually take milliseconds, tens of
/// milliseconds on a loaded machine; what takes longer than this never happens.
const WORK_QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// The remaining time for the kernel's work queues. The time that the kernel takes to answer doesn't count: it delays
/// the work queues as well, since both need RTNL, the machine-wide lock of the network configuration (`rtnl_lock`,
/// net/core/rtnetlink.c). A single wait counts at most [`PART`], since during a longer one the thread was not
/// scheduled.
#[derive(Debug)]
struct TimeLeft {
    left: Duration,
    /// The total time of the kernel's answers, and the longest one.
    held: (Duration, Duration),
    asked: Duration,
}

/// Maximum wait before looking again.
const PART: Duration = Duration::from_millis(500);

impl TimeLeft {
    fn new(left: Duration) -> Self {
        Self { left, held: (Duration::ZERO, Duration::ZERO), asked: Duration::ZERO }
    }

    /// Notes the time of an answer.
    fn asked(&mut self, took: Duration) {
        let (all, longest) = self.held;
        self.held = (all + took, longest.max(took));
        self.asked = took;
    }

    /// How long to wait now; zero after the timeout.
    fn next_part(&self) -> Duration {
        self.left.min(PART)
    }

    /// Charges the time since the last request began.
    fn waited(&mut self, both: Duration) {
        // At least a little, so that it ends even if something changes all the time.
        let waited = both.saturating_sub(self.asked).clamp(Duration::from_micros(100), PART);
        self.left = self.left.saturating_sub(waited);
    }

    /// What delayed the kernel, if the delay matters.
    fn held(&self) -> Option<String> {
        let (all, longest) = self.held;
        (longest >= PART).then(|| {
            format!(
                "the kernel took {} to answer, {} for a single request: requests wait for RTNL, the machine-wide lock of the \
                 network configuration, while others hold it",
                text::measured(all),
                text::measured(longest)
            )
        })
    }
}

/// A network namespace of a testbed.
#[derive(Debug)]
pub struct Node {
    name: String,
    namespace: Namespace,
    route: RouteClient,
    monitor: RouteMonitor,
    pub(super) devices: Vec<(String, Hardware)>,
    /// The indices of those that aren't ends of links: what they carry is captured there.
    pub(super) upper: Vec<u32>,
    /// The indices of those that were deleted.
    deleted: RefCell<Vec<u32>>,
    /// The offset to the planned interface indices.
    pub(super) offset: u32,
}

impl Node {
    pub(super) fn new(name: &str, namespace: Namespace, route: RouteClient, monitor: RouteMonitor) -> Self {
        let (devices, upper, deleted) = (Vec::new(), Vec::new(), RefCell::default());
        Self { name: name.to_owned(), namespace, route, monitor, devices, upper, deleted, offset: 0 }
    }

    /// Its name in the scenario.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace itself, as a file.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Starts a host for programs in it.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or the namespace isn't made for programs.
    pub fn host(&self) -> Result<Host, String> {
        let enclosure = self.namespace.enclosure().ok_or("this namespace is not made for programs")?;
        Host::start(enclosure.users(), self.namespace.as_fd(), &self.name).map_err(|error| error.to_string())
    }

    /// The rtnetlink socket in it.
    pub fn route(&self) -> &RouteClient {
        &self.route
    }

    /// The names and indices of its interfaces, `lo` included.
    pub fn devices(&self) -> DeviceNames {
        let links = self.devices.iter().map(|(name, hardware)| (hardware.index, name.clone()));
        [(1, "lo".to_owned())].into_iter().chain(links).collect()
    }

    /// The indices of the interfaces that aren't ends of links.
    pub fn upper(&self) -> &[u32] {
        &self.upper
    }

    /// Whether an interface isn't the end of a link.
    pub(super) fn is_upper(&self, device: &str) -> bool {
        self.hardware(device).is_some_and(|hardware| self.upper.contains(&hardware.index))
    }

    /// Deletes an interface.
    ///
    /// # Errors
    ///
    /// The kernel refuses ([`TestbedError::Netlink`]), or it still exists afterwards.
    pub(super) fn delete_device(&self, device: &str) -> Result<(), TestbedError> {
        self.route.request(Request::delete_device(self.index(device)?, device))?;
        self.has_lost(device)
    }

    /// Whether a step has deleted an interface, or the other end of its link.
    pub fn is_deleted(&self, device: &str) -> bool {
        self.hardware(device).is_some_and(|hardware| self.deleted.borrow().contains(&hardware.index))
    }

    /// Waits until an interface is gone.
    pub(super) fn has_lost(&self, device: &str) -> Result<(), TestbedError> {
        self.deleted.borrow_mut().push(self.index(device)?);
        self.settle(|actual| {
            let there = actual.links.iter().any(|link| link.name == device);
            there.then(|| format!("there is still the interface {device}")).into_iter().collect()
        })
    }

    /// The index of an interface.
    ///
    /// # Errors
    ///
    /// [`Cause::NoDevice`]
    pub fn index(&self, device: &str) -> Result<u32, NetlinkError> {
        let devices = self.devices();
        devices.index(device).ok_or_else(|| {
            let known = devices.names().collect::<Vec<_>>().join(", ");
            Cause::NoDevice { name: device.to_owned(), known }.of(format!("look for {device} in {}", self.name))
        })
    }

    /// Runs a short synchronous section in this namespace, to open sockets and files: see [`Namespace::run`].
    ///
    /// # Errors
    ///
    /// [`TestbedError::Namespace`]
    pub fn run<T>(&self, section: impl FnOnce() -> T) -> Result<T, TestbedError> {
        let error = |source: NamespaceError| TestbedError::Namespace { name: self.name.clone(), source };
        self.namespace.run(section).map_err(error)
    }

    /// Sets a sysctl and reads it back.
    ///
    /// # Errors
    ///
    /// [`TestbedError::Sysctl`]
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<(), TestbedError> {
        let error = |source| TestbedError::Sysctl { namespace: self.name.clone(), source };
        self.run(|| sysctl::write(name, value))?.map_err(error)
    }

    /// Switches all offloads of an interface off, and reads back that they are.
    pub(super) fn switch_offloads_off(&self, device: &str) -> Result<(), TestbedError> {
        let (namespace, device_name) = (|| self.name.clone(), || device.to_owned());
        let switch = |offload: Offload| {
            let switched =
                ethtool::set_offload(device, offload, false).and_then(|()| ethtool::offload(device, offload));
            match switched {
                Ok(false) => Ok(()),
                Ok(true) => Err(TestbedError::OffloadStays {
                    namespace: namespace(),
                    device: device_name(),
                    offload: offload.word(),
                }),
                Err(source) => Err(TestbedError::Offload {
                    namespace: namespace(),
                    device: device_name(),
                    offload: offload.word(),
                    source,
                }),
            }
        };
        self.run(|| Offload::ALL.into_iter().try_for_each(switch))?
    }

    /// Adds an address, and waits until it is usable.
    ///
    /// # Errors
    ///
    /// The kernel refuses ([`TestbedError::Netlink`]), or it doesn't exist afterwards.
    pub(super) fn add_address(&self, device: &str, address: Address) -> Result<(), TestbedError> {
        let index = self.index(device)?;
        self.route.request(Request::add_address(index, device, address))?;
        if address.address.is_ipv6() {
            self.add_link_local(device)?;
        }
        self.settle(|actual| expected::lacks_address(actual, device, index, address).into_iter().collect())
    }

    /// Deletes an address.
    ///
    /// # Errors
    ///
    /// The kernel refuses ([`TestbedError::Netlink`]), or it still exists afterwards.
    pub fn delete_address(&self, device: &str, address: Address) -> Result<(), TestbedError> {
        let index = self.index(device)?;
        self.route.request(Request::delete_address(index, device, address))?;
        self.settle(|actual| {
            let there = actual.addresses.iter().any(|state| state.index == index && state.address == address);
            there.then(|| format!("{device} still has address {}", address.address)).into_iter().collect()
        })
    }

    /// Adds a route.
    ///
    /// # Errors
    ///
    /// The kernel refuses ([`TestbedError::Netlink`]), or it doesn't exist afterwards.
    pub fn add_route(&self, route: &Route) -> Result<(), TestbedError> {
        let devices = self.route_devices(route)?;
        self.route.request(Request::add_route(route, &devices))?;
        self.settle(|actual| expected::lacks_route(actual, route, &devices).into_iter().collect())
    }

    /// Deletes a route.
    ///
    /// # Errors
    ///
    /// The kernel refuses ([`TestbedError::Netlink`]), or it still exists afterwards.
    pub fn delete_route(&self, route: &Route) -> Result<(), TestbedError> {
        let devices = self.route_devices(route)?;
        let alike =
            |routes: &[RouteState]| routes.iter().filter(|state| expected::is_route(route, &devices, state)).count();
        // The kernel deletes the first one that fits; others may fit as well (`fib_table_delete`, net/ipv4/fib_trie.c).
        let before = alike(&self.route.routes()?);
        self.route.request(Request::delete_route(route, &devices))?;
        self.settle(|actual| {
            let there = alike(&actual.routes) >= before.max(1);
            there.then(|| format!("there is still the route {route}")).into_iter().collect()
        })
    }

    /// Adds a routing rule.
    ///
    /// # Errors
    ///
    /// The kernel refuses ([`TestbedError::Netlink`]), or it doesn't exist afterwards.
    pub fn add_rule(&self, rule: &RoutingRule) -> Result<(), TestbedError> {
        let alike = |rules: &[RoutingRule]| rules.iter().filter(|state| expected::is_rule(rule, state)).count();
        // Without a priority, the kernel adds a second one (`rule_exists`, net/core/fib_rules.c).
        let before = alike(&self.route.rules()?);
        self.route.request(Request::add_rule(rule))?;
        self.settle(|actual| {
            let there = alike(&actual.rules) > before;
            (!there).then(|| format!("there is no rule {rule}")).into_iter().collect()
        })
    }

    /// Deletes a routing rule.
    ///
    /// # Errors
    ///
    /// The kernel refuses ([`TestbedError::Netlink`]), or it still exists afterwards.
    pub fn delete_rule(&self, rule: &RoutingRule) -> Result<(), TestbedError> {
        let alike = |rules: &[RoutingRule]| rules.iter().filter(|state| expected::is_rule(rule, state)).count();
        // The kernel deletes the first one that fits (`fib_nl_delrule`, net/core/fib_rules.c).
        let before = alike(&self.route.rules()?);
        self.route.request(Request::delete_rule(rule))?;
        self.settle(|actual| {
            let there = alike(&actual.rules) >= before.max(1);
            there.then(|| format!("there is still the rule {rule}")).into_iter().collect()
        })
    }

    /// The indices of the interfaces that the next hops of a route name, as far as they do.
    pub(super) fn route_devices(&self, route: &Route) -> Result<Vec<Option<u32>>, NetlinkError> {
        route.hops().map(|(_, device)| device.map(|device| self.index(device)).transpose()).collect()
    }

    /// One end of a link, in this namespace.
    pub(super) fn veth_end<'a>(&'a self, device: &'a str, hardware: Hardware) -> VethEnd<'a> {
        VethEnd { namespace: self.namespace.as_fd(), device, hardware }
    }

    /// Sets an interface up or down. The result also depends on the other end: see [`super::Testbed::set_link`].
    pub(super) fn set_link(&self, device: &str, up: bool) -> Result<(), TestbedError> {
        self.route.request(Request::set_link(self.index(device)?, device, up))?;
        if up { self.add_link_local(device) } else { Ok(()) }
    }

    /// The reproducible hardware properties of an interface, if it belongs to a link.
    pub(super) fn hardware(&self, device: &str) -> Option<Hardware> {
        self.devices.iter().find(|(name, _)| name == device).map(|(_, hardware)| *hardware)
    }

    /// The addresses of an interface.
    pub(super) fn addresses_of(&self, device: &str) -> Result<Vec<Address>, NetlinkError> {
        let (index, all) = (self.index(device)?, self.route.addresses()?);
        Ok(all.into_iter().filter(|state| state.index == index).map(|state| state.address).collect())
    }

    /// Gives an interface with an IPv6 address a link-local one, unless it has one. Without it, the interface could
    /// neither discover the neighbour for a packet whose source address belongs to another interface, nor forward
    /// (`ndisc_send_ns`, net/ipv6/ndisc.c). The kernel removes it when the interface is set down.
    fn add_link_local(&self, device: &str) -> Result<(), TestbedError> {
        let Some(hardware) = self.hardware(device) else { return Ok(()) };
        let link_local = expected::link_local(hardware.mac);
        let own = self.addresses_of(device)?;
        if own.iter().any(|own| own.address.is_ipv6()) && !own.contains(&link_local) {
            self.route.request(Request::add_address(hardware.index, device, link_local))?;
        }
        Ok(())
    }

    /// Waits until there are no complaints left.
    pub(super) fn settle(&self, complaints: impl Fn(&Actual) -> Vec<String>) -> Result<(), TestbedError> {
        let mut time_left = TimeLeft::new(WORK_QUEUE_TIMEOUT);
        loop {
            let begin = Instant::now();
            let differences = complaints(&self.actual()?);
            time_left.asked(begin.elapsed());
            if differences.is_empty() {
                return Ok(());
            }
            let part = time_left.next_part();
            if part.is_zero() {
                let namespace = self.name.clone();
                return Err(TestbedError::Differs { namespace, differences, held: time_left.held() });
            }
            let changed = self.monitor.changed(Instant::now() + part);
            changed.map_err(|error| Cause::Io(error).of(format!("watch the links of {}", self.name)))?;
            time_left.waited(begin.elapsed());
        }
    }

    fn actual(&self) -> Result<Actual, NetlinkError> {
        let deleted = self.deleted.borrow();
        let left = self.devices.iter().filter(|(_, hardware)| !deleted.contains(&hardware.index));
        let look = |(name, hardware): &(String, Hardware)| Request::notice_carrier(hardware.index, name);
        self.route.submit(left.map(look).collect())?;
        Ok(Actual {
            links: self.route.links()?,
            addresses: self.route.addresses()?,
            neighbours: self.route.neighbours()?,
            routes: self.route.routes()?,
            rules: self.route.rules()?,
            queues: self.route.queues()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_and_a_slow_answer_are_not_charged_and_it_ends_all_the_same() {
        let mut time_left = TimeLeft::new(Duration::from_secs(1));
        time_left.asked(Duration::from_secs(60));
        time_left.waited(Duration::from_secs(61));
        assert_eq!(time_left.next_part(), PART);
        assert!(time_left.held().unwrap().contains("60.00 s"), "{:?}", time_left.held());
        time_left.asked(Duration::from_millis(1));
        time_left.waited(Duration::from_secs(3600));
        assert_eq!(time_left.next_part(), Duration::ZERO);
        let mut time_left = TimeLeft::new(Duration::from_millis(1));
        (0..10).for_each(|_| time_left.waited(Duration::ZERO));
        assert_eq!((time_left.next_part(), time_left.held()), (Duration::ZERO, None));
    }
}
