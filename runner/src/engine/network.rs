//! Changes of the network during a run: links, addresses, routes, sysctls, packet filters.

use std::collections::BTreeMap;

use super::lab::Lab;
use super::operation::NotDone;
use crate::netlink::nft::NftClient;
use crate::recording::Observation;
use crate::scenario::model::{Filter, Operation};

impl Lab<'_> {
    /// Links, addresses, routes and sysctls.
    pub(super) fn change_network(&self, operation: &Operation) -> Result<(), NotDone> {
        let testbed = &self.testbed;
        match operation {
            Operation::SetSysctl { namespace, name, value } => testbed.node(namespace)?.set_sysctl(name, value)?,
            Operation::SetLink { namespace, device, up } => {
                self.count_drops()?;
                testbed.set_link(namespace, device, *up)?;
                self.forgive_drops()?;
            }
            Operation::AddAddress { namespace, device, address } => {
                testbed.add_address(namespace, device, *address)?;
            }
            Operation::DeleteAddress { namespace, device, address } => {
                testbed.node(namespace)?.delete_address(device, *address)?;
            }
            Operation::AddRoute { namespace, route } => testbed.node(namespace)?.add_route(route)?,
            Operation::DeleteRoute { namespace, route } => testbed.node(namespace)?.delete_route(route)?,
            _ => {}
        }
        Ok(())
    }

    /// Bytes that the interfaces of a namespace sent and received, headers included, by their names.
    pub(super) fn link_bytes(&self, namespace: &str) -> Result<BTreeMap<String, (u64, u64)>, String> {
        let node = self.testbed.node(namespace).map_err(|error| error.to_string())?;
        let links = node.route().links().map_err(|error| error.to_string())?;
        Ok(links.into_iter().map(|link| (link.name, (link.tx_bytes, link.rx_bytes))).collect())
    }

    /// Installs a packet filter.
    pub(super) fn add_filter(&mut self, filter: &Filter) -> Result<(), NotDone> {
        if self.node(&filter.namespace)?.filters.is_none() {
            let client = self.inside(&filter.namespace, NftClient::open)??;
            if let Some(node) = self.nodes.get_mut(&filter.namespace) {
                node.filters = Some(client);
            }
        }
        let client = self.nodes.get_mut(&filter.namespace).and_then(|node| node.filters.as_mut());
        client.ok_or_else(|| format!("there is no namespace {}", filter.namespace))?.add_filter(filter)?;
        self.filters.push((filter.namespace.clone(), filter.name.clone()));
        Ok(())
    }

    /// Removes it, and records how often it matched.
    pub(super) fn remove_filter(&mut self, namespace: &str, name: &str) -> Result<(), NotDone> {
        let client = self.nodes.get_mut(namespace).and_then(|node| node.filters.as_mut());
        let packets = client.ok_or_else(|| format!("there is no filter {name} in {namespace}"))?.remove_filter(name)?;
        self.filters.retain(|(ns, filter)| ns != namespace || filter != name);
        self.recorder.note(Observation::FilterHits {
            namespace: namespace.to_owned(),
            filter: name.to_owned(),
            packets,
        });
        Ok(())
    }

    /// How often a filter matched until now.
    pub(super) fn filter_hits(&mut self, namespace: &str, name: &str) -> Result<u64, String> {
        let client = self.nodes.get_mut(namespace).and_then(|node| node.filters.as_mut());
        client
            .ok_or_else(|| format!("there is no filter {name} in {namespace}"))?
            .hits(name)
            .map_err(|error| error.to_string())
    }
}
