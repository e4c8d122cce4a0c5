//! A whole testbed: its namespaces and the links between them.

use indexmap::IndexMap;

use super::{Node, TestbedError, ending};
use crate::plan::INNER_DEVICES;
use crate::scenario::model::Address;

/// The world of a running scenario. It ends when dropped, and connections that are still open in it are aborted.
#[derive(Debug, Default)]
pub struct Testbed {
    /// By name, in the order of the plan.
    pub(super) nodes: IndexMap<String, Node>,
    /// Namespace and interface of the two ends of each link.
    pub(super) links: Vec<[(String, String); 2]>,
    /// The namespaces of paths, by [`path_place`].
    pub(super) paths: IndexMap<String, Node>,
    /// The links that are spliced through a path: their names, and their positions in `links`.
    pub(super) spliced: Vec<(String, usize)>,
}

/// The name of a path's namespace in messages. No namespace of a scenario has such a name.
pub(super) fn path_place(link: &str) -> String {
    format!("the path of {link}")
}

impl Drop for Testbed {
    fn drop(&mut self) {
        self.nodes.values().for_each(ending::let_go);
    }
}

impl Testbed {
    /// The namespace of that name.
    ///
    /// # Errors
    ///
    /// [`TestbedError::UnknownNamespace`]
    pub fn node(&self, name: &str) -> Result<&Node, TestbedError> {
        self.nodes.get(name).ok_or_else(|| self.unknown(name))
    }

    /// The namespace of a link's path, with the inner sides.
    ///
    /// # Errors
    ///
    /// [`TestbedError::UnknownNamespace`]: the link isn't spliced.
    pub fn path(&self, link: &str) -> Result<&Node, TestbedError> {
        self.place(&path_place(link))
    }

    /// A namespace of the scenario or of a path.
    pub(super) fn place(&self, name: &str) -> Result<&Node, TestbedError> {
        self.nodes.get(name).or_else(|| self.paths.get(name)).ok_or_else(|| self.unknown(name))
    }

    pub(super) fn place_mut(&mut self, name: &str) -> Result<&mut Node, TestbedError> {
        let error = self.unknown(name);
        self.nodes.get_mut(name).or_else(|| self.paths.get_mut(name)).ok_or(error)
    }

    fn unknown(&self, name: &str) -> TestbedError {
        let known: Vec<&str> = self.nodes.keys().map(String::as_str).collect();
        TestbedError::UnknownNamespace { name: name.to_owned(), known: known.join(", ") }
    }

    /// All namespaces, in the order of the plan.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Sets an interface up or down, and waits until the kernel has noticed at both ends: a link that is up at both has
    /// a carrier. An interface that is set down keeps its addresses, but loses its routes in all tables. A spliced link
    /// behaves like a plain one: its far inner side follows the interface.
    ///
    /// # Errors
    ///
    /// The kernel refuses ([`TestbedError::Netlink`]), or the link isn't as requested afterwards.
    pub fn set_link(&self, namespace: &str, device: &str, up: bool) -> Result<(), TestbedError> {
        let node = self.node(namespace)?;
        node.set_link(device, up)?;
        let inner = self.far_inner(namespace, device);
        if let Some((place, device)) = inner {
            self.place(place)?.set_link(device, up)?;
        }
        if up {
            self.introduce(namespace, device)?;
        }
        let peer = self.peer(namespace, device);
        let peer_up = match peer {
            Some((namespace, device)) => self.is_up(namespace, device)?,
            None => true, // lo has no other end
        };
        let running = up && peer_up;
        if node.is_upper(device) {
            // Its carrier depends on what it lies on.
            return node.settle(|actual| actual.complaints_about_state(device, up).into_iter().collect());
        }
        node.settle(|actual| actual.complaints_about_link(device, up, running))?;
        if let Some((place, device)) = inner {
            self.place(place)?.settle(|actual| actual.complaints_about_link(device, up, running))?;
        }
        match peer {
            Some((namespace, device)) => {
                self.node(namespace)?.settle(|actual| actual.complaints_about_link(device, peer_up, running))
            }
            None => Ok(()),
        }
    }

    /// Deletes an interface, and waits until it is gone at both ends.
    ///
    /// # Errors
    ///
    /// The kernel refuses ([`TestbedError::Netlink`]), or it still exists afterwards.
    pub fn delete_device(&self, namespace: &str, device: &str) -> Result<(), TestbedError> {
        self.node(namespace)?.delete_device(device)?;
        self.peer(namespace, device).map_or(Ok(()), |(namespace, device)| self.node(namespace)?.has_lost(device))
    }

    /// Adds an address, and waits until it is usable.
    ///
    /// # Errors
    ///
    /// The kernel refuses ([`TestbedError::Netlink`]), or it doesn't exist afterwards.
    pub fn add_address(&self, namespace: &str, device: &str, address: Address) -> Result<(), TestbedError> {
        self.node(namespace)?.add_address(device, address)?;
        // At both ends: it may be the first of its family here.
        self.introduce(namespace, device)?;
        self.peer(namespace, device).map_or(Ok(()), |(namespace, device)| self.introduce(namespace, device))
    }

    fn is_up(&self, namespace: &str, device: &str) -> Result<bool, TestbedError> {
        let links = self.node(namespace)?.route().links()?;
        Ok(links.iter().any(|link| link.name == device && link.up))
    }

    /// The link of an interface, if it is spliced through a path.
    pub fn spliced_link(&self, namespace: &str, device: &str) -> Option<&str> {
        let is = |end: &(String, String)| end.0 == namespace && end.1 == device;
        let mut spliced = self.spliced.iter();
        spliced
            .find(|(_, number)| self.links.get(*number).is_some_and(|ends| ends.iter().any(is)))
            .map(|(link, _)| &**link)
    }

    /// The inner side of a spliced link at its other end: the namespace of its path, and the device.
    pub(super) fn far_inner(&self, namespace: &str, device: &str) -> Option<(&str, &'static str)> {
        let (link, ends) = self.spliced.iter().find_map(|(link, number)| {
            let ends = self.links.get(*number)?;
            ends.iter().any(|end| end.0 == namespace && end.1 == device).then_some((link, ends))
        })?;
        let [first, second] = INNER_DEVICES;
        let [near, _] = ends;
        let far = if near.0 == namespace && near.1 == device { second } else { first };
        let (place, _) = self.paths.get_key_value(&path_place(link))?;
        Some((place.as_str(), far))
    }

    /// The other end of a link.
    pub(super) fn peer(&self, namespace: &str, device: &str) -> Option<(&str, &str)> {
        let is = |end: &(String, String)| end.0 == namespace && end.1 == device;
        self.links.iter().find_map(|[near, far]| {
            let (namespace, device) = if is(near) {
                far
            } else if is(far) {
                near
            } else {
                return None;
            };
            Some((namespace.as_str(), device.as_str()))
        })
    }
}
