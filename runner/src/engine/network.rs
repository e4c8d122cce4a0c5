//! Changes of the network during a run: links, addresses, routes, sysctls, packet filters.

use std::collections::BTreeMap;

use super::executor::Executor;
use super::operation::OperationError;
use crate::netlink::nft::NftClient;
use crate::recording::Observation;
use crate::scenario::model::Filter;

impl Executor<'_> {
    /// Sets an interface up or down. What is dropped meanwhile is no loss.
    pub(super) fn set_link(&self, namespace: &str, device: &str, up: bool) -> Result<(), OperationError> {
        self.count_drops()?;
        self.testbed.set_link(namespace, device, up)?;
        Ok(self.forgive_drops()?)
    }

    /// Deletes an interface.
    pub(super) fn delete_device(&self, namespace: &str, device: &str) -> Result<(), OperationError> {
        if let Some(link) = self.testbed.spliced_link(namespace, device) {
            let message = format!("{device} of {namespace} can't be deleted: its link {link} has a path");
            return Err(OperationError::Failed(message));
        }
        Ok(self.testbed.delete_device(namespace, device)?)
    }

    /// Bytes that the interfaces of a namespace sent and received, headers included, by their names.
    pub(super) fn link_bytes(&self, namespace: &str) -> Result<BTreeMap<String, (u64, u64)>, String> {
        let node = self.testbed.node(namespace).map_err(|error| error.to_string())?;
        let links = node.route().links().map_err(|error| error.to_string())?;
        Ok(links.into_iter().map(|link| (link.name, (link.tx_bytes, link.rx_bytes))).collect())
    }

    /// Installs a packet filter.
    pub(super) fn add_filter(&mut self, filter: &Filter) -> Result<(), OperationError> {
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
    pub(super) fn remove_filter(&mut self, namespace: &str, name: &str) -> Result<(), OperationError> {
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
