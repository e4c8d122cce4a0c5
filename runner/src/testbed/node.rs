//! One namespace of a testbed: what can be changed in it while a scenario runs, each change read back.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::net::{Hardware, Offload};
use crate::netlink::route::{Request, RouteClient, RouteMonitor, RouteState, VethEnd};
use crate::netlink::{Cause, DeviceNames, NetlinkError};
use crate::scenario::model::{Address, Route};
use crate::sys::ethtool::{self};
use crate::text;

use super::expected::{self, Actual};
use super::{Namespace, NamespaceError, TestbedError, sysctl};

/// The longest that the kernel's work queues may take for what it has acknowledged. Milliseconds are usual, tens of
/// them on a loaded machine; what takes longer than this never comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time for the kernel's work queues. What the kernel takes to answer is not charged: it holds the work queues up as well,
/// since both need RTNL, the one lock of the machine's network configuration (`rtnl_lock`, net/core/rtnetlink.c). Neither
/// is more than a part of the waiting at a time, for in what is longer the thread was not scheduled.
#[derive(Debug)]
struct Patience {
    left: Duration,
    /// How long the kernel's answers took altogether, and the longest of them.
    held: (Duration, Duration),
    asked: Duration,
}

/// The longest that is waited before looking again.
const PART: Duration = Duration::from_millis(500);

impl Patience {
    fn new(left: Duration) -> Self {
        Self { left, held: (Duration::ZERO, Duration::ZERO), asked: Duration::ZERO }
    }

    /// An answer took so long.
    fn asked(&mut self, took: Duration) {
        let (all, longest) = self.held;
        self.held = (all + took, longest.max(took));
        self.asked = took;
    }

    /// How long to wait now; nothing when it is over.
    fn next_part(&self) -> Duration {
        self.left.min(PART)
    }

    /// So long was asked and waited.
    fn waited(&mut self, both: Duration) {
        // At least a little, so that it ends however often something changes.
        let waited = both.saturating_sub(self.asked).clamp(Duration::from_micros(100), PART);
        self.left = self.left.saturating_sub(waited);
    }

    /// What held the kernel up, if that is a reason.
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
    /// What is added to the planned interface indices.
    pub(super) offset: u32,
}

impl Node {
    pub(super) fn new(name: &str, namespace: Namespace, route: RouteClient, monitor: RouteMonitor) -> Self {
        Self { name: name.to_owned(), namespace, route, monitor, devices: Vec::new(), offset: 0 }
    }

    /// Its name in the scenario.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace itself, as a file.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
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

    /// Runs a short synchronous section in this namespace, to open what will stay there: see [`Namespace::run`].
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

    /// Adds an address and waits until it can be used.
    ///
    /// # Errors
    ///
    /// The kernel refuses ([`TestbedError::Netlink`]), or it isn't there afterwards.
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
    /// The kernel refuses ([`TestbedError::Netlink`]), or it is there afterwards.
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
    /// The kernel refuses ([`TestbedError::Netlink`]), or it isn't there afterwards.
    pub fn add_route(&self, route: &Route) -> Result<(), TestbedError> {
        let device = self.route_device(route)?;
        self.route.request(Request::add_route(route, device))?;
        self.settle(|actual| {
            let there = actual.routes.iter().any(|state| expected::is_route(route, device, state));
            (!there).then(|| format!("there is no route to {}", route.to.address)).into_iter().collect()
        })
    }

    /// Deletes a route.
    ///
    /// # Errors
    ///
    /// The kernel refuses ([`TestbedError::Netlink`]), or it is there afterwards.
    pub fn delete_route(&self, route: &Route) -> Result<(), TestbedError> {
        let device = self.route_device(route)?;
        let alike =
            |routes: &[RouteState]| routes.iter().filter(|state| expected::is_route(route, device, state)).count();
        // The kernel deletes the first one that fits; others may fit as well (`fib_table_delete`, net/ipv4/fib_trie.c).
        let before = alike(&self.route.routes()?);
        self.route.request(Request::delete_route(route, device))?;
        self.settle(|actual| {
            let there = alike(&actual.routes) >= before.max(1);
            there.then(|| format!("there is still a route to {}", route.to.address)).into_iter().collect()
        })
    }

    /// The index of the interface that a route names, if it does.
    pub(super) fn route_device(&self, route: &Route) -> Result<Option<u32>, NetlinkError> {
        route.dev.as_deref().map(|device| self.index(device)).transpose()
    }

    /// One end of a link, in this namespace.
    pub(super) fn veth_end<'a>(&'a self, device: &'a str, hardware: Hardware) -> VethEnd<'a> {
        VethEnd { namespace: self.namespace.as_fd(), device, hardware }
    }

    /// Sets an interface up or down. What comes of it depends on the other end, too: see
    /// [`super::Testbed::set_link`].
    pub(super) fn set_link(&self, device: &str, up: bool) -> Result<(), TestbedError> {
        self.route.request(Request::set_link(self.index(device)?, device, up))?;
        if up { self.add_link_local(device) } else { Ok(()) }
    }

    /// What makes an interface the same in each run, if it is one of a link.
    pub(super) fn hardware(&self, device: &str) -> Option<Hardware> {
        self.devices.iter().find(|(name, _)| name == device).map(|(_, hardware)| *hardware)
    }

    /// The addresses of an interface.
    pub(super) fn addresses_of(&self, device: &str) -> Result<Vec<Address>, NetlinkError> {
        let (index, all) = (self.index(device)?, self.route.addresses()?);
        Ok(all.into_iter().filter(|state| state.index == index).map(|state| state.address).collect())
    }

    /// Gives an interface that has an IPv6 address a link-local one, unless it has it: without it, the interface
    /// could neither ask for the neighbour of a packet whose source is an address of another interface, nor forward
    /// (`ndisc_send_ns`, net/ipv6/ndisc.c). The kernel takes it away when the interface is set down.
    fn add_link_local(&self, device: &str) -> Result<(), TestbedError> {
        let Some(hardware) = self.hardware(device) else { return Ok(()) };
        let link_local = expected::link_local(hardware.mac);
        let own = self.addresses_of(device)?;
        if own.iter().any(|own| own.address.is_ipv6()) && !own.contains(&link_local) {
            self.route.request(Request::add_address(hardware.index, device, link_local))?;
        }
        Ok(())
    }

    /// Waits until there is nothing more to complain about.
    pub(super) fn settle(&self, complaints: impl Fn(&Actual) -> Vec<String>) -> Result<(), TestbedError> {
        let mut patience = Patience::new(PATIENCE);
        loop {
            let begin = Instant::now();
            let differences = complaints(&self.actual()?);
            patience.asked(begin.elapsed());
            if differences.is_empty() {
                return Ok(());
            }
            let part = patience.next_part();
            if part.is_zero() {
                let namespace = self.name.clone();
                return Err(TestbedError::Differs { namespace, differences, held: patience.held() });
            }
            let changed = self.monitor.changed(Instant::now() + part);
            changed.map_err(|error| Cause::Io(error).of(format!("watch the links of {}", self.name)))?;
            patience.waited(begin.elapsed());
        }
    }

    fn actual(&self) -> Result<Actual, NetlinkError> {
        let look = |(name, hardware): &(String, Hardware)| Request::notice_carrier(hardware.index, name);
        self.route.submit(self.devices.iter().map(look).collect())?;
        Ok(Actual {
            links: self.route.links()?,
            addresses: self.route.addresses()?,
            neighbours: self.route.neighbours()?,
            routes: self.route.routes()?,
            queues: self.route.queues()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_and_a_slow_answer_are_not_charged_and_it_ends_all_the_same() {
        let mut patience = Patience::new(Duration::from_secs(1));
        patience.asked(Duration::from_secs(60));
        patience.waited(Duration::from_secs(61));
        assert_eq!(patience.next_part(), PART);
        assert!(patience.held().unwrap().contains("60.00 s"), "{:?}", patience.held());
        patience.asked(Duration::from_millis(1));
        patience.waited(Duration::from_secs(3600));
        assert_eq!(patience.next_part(), Duration::ZERO);
        let mut patience = Patience::new(Duration::from_millis(1));
        (0..10).for_each(|_| patience.waited(Duration::ZERO));
        assert_eq!((patience.next_part(), patience.held()), (Duration::ZERO, None));
    }
}
