//! Permanent neighbour entries at both ends of a link, so that neither end needs ARP or neighbour discovery.
//!
//! Then a packet's fate doesn't depend on earlier requests: it isn't delayed by one, nor overtaken by the next packet
//! when the answer arrives (`neigh_update` sets the state before it flushes the queue). And a kernel limits the number
//! of neighbours in all namespaces together (1024, `net.ipv4.neigh.default.gc_thresh3`): ending worlds, and others
//! beside ours, would use them up. Permanent entries don't count (`neigh_alloc`; all in net/core/neighbour.c).

use super::{Testbed, TestbedError};
use crate::netlink::route::{Neighbour, Request};
use crate::scenario::model::Address;

/// The neighbour entries for the far end of a link, in the address families that this end has: IPv6 may be disabled.
pub(super) fn known(own: &[Address], far: &[Address], mac: [u8; 6]) -> Vec<Neighbour> {
    let speaks = |far: &&Address| own.iter().any(|own| own.address.is_ipv4() == far.address.is_ipv4());
    far.iter().filter(speaks).map(|far| Neighbour { address: far.address, mac }).collect()
}

impl Testbed {
    /// Adds the neighbour entries of an interface for the current addresses at the other end. Call it after the
    /// interface was set up, since the kernel removes all entries when it is set down (`neigh_ifdown`), and after the
    /// other end got an address.
    ///
    /// A deleted address keeps its entry, as a discovered neighbour would while it is in use.
    pub(super) fn introduce(&self, namespace: &str, device: &str) -> Result<(), TestbedError> {
        let Some((far_namespace, far_device)) = self.peer(namespace, device) else { return Ok(()) };
        let (near, far) = (self.node(namespace)?, self.node(far_namespace)?);
        let Some(hardware) = far.hardware(far_device) else { return Ok(()) };
        let index = near.index(device)?;
        let neighbours = known(&near.addresses_of(device)?, &far.addresses_of(far_device)?, hardware.mac);
        let requests =
            neighbours.into_iter().map(|neighbour| Request::add_neighbour(index, device, neighbour)).collect();
        Ok(near.route().submit(requests)?)
    }
}
