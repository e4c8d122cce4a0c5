//! Who is at the other end of a link: both ends are told, and need not ask.
//!
//! What a packet meets then doesn't depend on who has asked before. It has no delay of the question's, and isn't
//! overtaken by the next one when the answer comes (`neigh_update` sets the state before it lets the queue go). And a
//! kernel takes only so many neighbours, of all namespaces together (1024, `net.ipv4.neigh.default.gc_thresh3`): worlds
//! that end, and others beside ours, would use them up. It doesn't count those that it was told for good
//! (`neigh_alloc`; all in net/core/neighbour.c).

use super::{Testbed, TestbedError};
use crate::netlink::route::{Neighbour, Request};
use crate::scenario::model::Address;

/// What an end of a link is told about the far end. Of IPv4 and IPv6, what it has itself: it may have IPv6 switched off.
pub(super) fn known(own: &[Address], far: &[Address], mac: [u8; 6]) -> Vec<Neighbour> {
    let speaks = |far: &&Address| own.iter().any(|own| own.address.is_ipv4() == far.address.is_ipv4());
    far.iter().filter(speaks).map(|far| Neighbour { address: far.address, mac }).collect()
}

impl Testbed {
    /// Tells an interface who is at the other end, as its addresses are now. To be done when it was set up, as the
    /// kernel forgets them all when it is set down (`neigh_ifdown`), and when the other end has got an address.
    ///
    /// An address that is deleted stays known: that is how it would be with neighbours that were asked, too, for as long
    /// as they are used.
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
