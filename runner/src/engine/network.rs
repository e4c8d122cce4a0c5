//! Changes of the network during a run: links, addresses, routes, sysctls, packet filters.

use super::lab::Lab;
use super::operation::NotDone;
use crate::netlink::nft::NftClient;
use crate::recording::Observation;
use crate::scenario::model::{Filter, Operation};
use crate::testbed::sysctl;

impl Lab<'_> {
    /// Writes a sysctl and reads it back.
    pub(super) fn set_sysctl(&self, namespace: &str, name: &str, value: &str) -> Result<(), NotDone> {
        match self.inside(namespace, || sysctl::write(name, value))? {
            Ok(()) => Ok(()),
            Err(error) => match error.symbol() {
                Some(symbol) => Err(NotDone::Refused { error: symbol, message: Some(error.to_string()) }),
                None => Err(NotDone::Failed(error.to_string())),
            },
        }
    }

    /// Links, addresses and routes.
    pub(super) async fn change_network(&self, operation: &Operation) -> Result<(), NotDone> {
        match operation {
            Operation::SetLink { namespace, device, up } => {
                self.place(namespace)?.set_link(device, *up).await?;
            }
            Operation::AddAddress { namespace, device, address } => {
                self.place(namespace)?.add_address(device, *address).await?;
            }
            Operation::DeleteAddress { namespace, device, address } => {
                self.place(namespace)?.delete_address(device, *address).await?;
            }
            Operation::AddRoute { namespace, route } => self.place(namespace)?.add_route(route).await?,
            Operation::DeleteRoute { namespace, route } => self.place(namespace)?.delete_route(route).await?,
            _ => {}
        }
        Ok(())
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
        let packets =
            client.ok_or_else(|| format!("there is no filter {name} in {namespace}"))?.remove_filter(name)?;
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
