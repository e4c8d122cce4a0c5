//! Changes of the configuration during a run: path manager, links, addresses, routes, sysctls, filters.
//!
//! What the kernel accepts is read back and compared: it drops unknown endpoint flags without an error, for example
//! (`mptcp_pm_parse_entry`, net/mptcp/pm_netlink.c).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::lab::Lab;
use super::step::failed;
use super::wait::Watch;
use crate::mptcp::{Endpoint, EndpointFlags};
use crate::netlink::NetlinkError;
use crate::netlink::pm::EndpointSelector;
use crate::recording::{Side, StepOutcome};
use crate::scenario::model::{FlagChange, Operation, TokenChoice, WhichEndpoints};
use crate::testbed::TestbedError;

/// Why an operation was not done.
#[derive(Debug)]
pub(super) enum NotDone {
    /// The kernel said no.
    Refused {
        /// The symbolic errno.
        error: String,
        /// The kernel's own words: what `message` of an `expect_error` step is looked for in, and nothing else.
        message: Option<String>,
        /// All that is known about it.
        report: String,
    },
    /// Anything else.
    Failed(String),
}

impl From<NetlinkError> for NotDone {
    fn from(error: NetlinkError) -> Self {
        match error.refusal() {
            Some(refusal) => {
                Self::Refused { error: refusal.symbol(), message: refusal.message.clone(), report: error.to_string() }
            }
            None => Self::Failed(error.to_string()),
        }
    }
}

impl From<TestbedError> for NotDone {
    fn from(error: TestbedError) -> Self {
        match error.symbol() {
            Some(symbol) => {
                Self::Refused { error: symbol, message: error.message().map(str::to_owned), report: error.to_string() }
            }
            None => Self::Failed(error.to_string()),
        }
    }
}

impl NotDone {
    /// In words.
    pub(super) fn message(self) -> String {
        match self {
            Self::Refused { report, .. } => report,
            Self::Failed(message) => message,
        }
    }
}

impl From<String> for NotDone {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

/// How long the peer may take to process a REMOVE_ADDR before the next deletion of `all: true`.
const REMOVE_ADDR_DEADLINE: Duration = Duration::from_secs(2);

impl Lab<'_> {
    /// Does it, and says how it ended.
    pub(super) async fn operate(&mut self, operation: &Operation) -> StepOutcome {
        match self.perform(operation).await {
            Ok(()) => StepOutcome::Done,
            Err(NotDone::Refused { error, message, .. }) => StepOutcome::Refused { error, message },
            Err(NotDone::Failed(message)) => failed(message),
        }
    }

    /// Does it, and reads back.
    pub(super) async fn perform(&mut self, operation: &Operation) -> Result<(), NotDone> {
        match operation {
            Operation::AddEndpoint { namespace, endpoint } => self.add_endpoint(namespace, endpoint).await,
            Operation::DeleteEndpoint { namespace, which } => self.delete_endpoint(namespace, which).await,
            Operation::ChangeEndpoint { namespace, which, change } => {
                self.change_endpoint(namespace, which, *change).await
            }
            Operation::FlushEndpoints { namespace } => self.flush_endpoints(namespace).await,
            Operation::SetLimits { namespace, subflows, add_addr_accepted } => {
                self.set_limits(namespace, *subflows, *add_addr_accepted).await
            }
            Operation::SetSysctl { .. }
            | Operation::SetLink { .. }
            | Operation::AddAddress { .. }
            | Operation::DeleteAddress { .. }
            | Operation::AddRoute { .. }
            | Operation::DeleteRoute { .. } => self.change_network(operation),
            Operation::Announce { .. }
            | Operation::RemoveAddress { .. }
            | Operation::CreateSubflow { .. }
            | Operation::DestroySubflow { .. }
            | Operation::SetSubflowBackup { .. }
            | Operation::GetEndpoint { .. } => self.command_path_manager(operation).await,
            Operation::AddFilter(filter) => self.add_filter(filter),
            Operation::RemoveFilter { namespace, name } => self.remove_filter(namespace, name),
        }
    }

    async fn add_endpoint(&self, namespace: &str, endpoint: &Endpoint) -> Result<(), NotDone> {
        let pm = &self.node(namespace)?.pm;
        pm.add_endpoint(endpoint).await?;
        let dump = pm.dump_endpoints(None).await?;
        let same_port = |shown: &Endpoint| shown.port.unwrap_or(0) == endpoint.port.unwrap_or(0);
        let shown = dump
            .iter()
            .find(|shown| shown.address.to_canonical() == endpoint.address.to_canonical() && same_port(shown))
            .ok_or_else(|| format!("the kernel accepted endpoint {endpoint} in {namespace} but does not show it"))?;
        let named = EndpointFlags::from_bits_retain(endpoint.flags.bits() & NAMED_FLAGS.bits());
        let lost = named.difference(shown.flags);
        let wrong_id = endpoint.id.is_some_and(|id| shown.id != Some(id));
        if !lost.is_empty() || wrong_id || endpoint.dev != shown.dev {
            return Err(NotDone::Failed(format!(
                "the kernel accepted endpoint `{endpoint}` in {namespace} but shows `{shown}`"
            )));
        }
        Ok(())
    }

    async fn delete_endpoint(&mut self, namespace: &str, which: &WhichEndpoints) -> Result<(), NotDone> {
        if *which == WhichEndpoints::All {
            return self.delete_all_endpoints(namespace).await;
        }
        let pm = &self.node(namespace)?.pm;
        let (id, address) = match which {
            WhichEndpoints::Id { id, address } => (*id, *address),
            WhichEndpoints::Address { address, port } => (self.endpoint_id(namespace, *address, *port).await?, None),
            WhichEndpoints::All => return Ok(()),
        };
        pm.delete_endpoint(id, address).await?;
        let left = pm.dump_endpoints(None).await?.into_iter().find(|shown| id != 0 && shown.id == Some(id));
        match left {
            Some(left) => {
                Err(NotDone::Failed(format!("endpoint `{left}` of {namespace} was deleted but is still shown")))
            }
            None => Ok(()),
        }
    }

    /// One after the other: the kernel has a single slot for a REMOVE_ADDR, a second one before the first was sent
    /// is dropped (`mptcp_pm_remove_addr`, net/mptcp/pm.c).
    async fn delete_all_endpoints(&mut self, namespace: &str) -> Result<(), NotDone> {
        let dump = self.node(namespace)?.pm.dump_endpoints(None).await?;
        for id in dump.iter().filter_map(|endpoint| endpoint.id) {
            self.node(namespace)?.pm.delete_endpoint(id, None).await?;
            let watch = Watch::RemovalsProcessed { sender: namespace.to_owned() };
            self.wait_for(&watch, REMOVE_ADDR_DEADLINE).await.map_err(|seen| {
                NotDone::Failed(format!(
                    "delete endpoint {id} of {namespace}: no peer processed the REMOVE_ADDR within \
                     {REMOVE_ADDR_DEADLINE:?}: {seen}"
                ))
            })?;
        }
        match self.node(namespace)?.pm.dump_endpoints(None).await?.first() {
            Some(left) => {
                Err(NotDone::Failed(format!("endpoint `{left}` of {namespace} was deleted but is still shown")))
            }
            None => Ok(()),
        }
    }

    async fn endpoint_id(&self, namespace: &str, address: IpAddr, port: Option<u16>) -> Result<u8, NotDone> {
        let dump = self.node(namespace)?.pm.dump_endpoints(None).await?;
        dump.iter()
            .find(|shown| {
                shown.address.to_canonical() == address.to_canonical() && (port.is_none() || shown.port == port)
            })
            .and_then(|shown| shown.id)
            .ok_or_else(|| NotDone::Failed(format!("{namespace} has no endpoint {address}")))
    }

    async fn change_endpoint(
        &self,
        namespace: &str,
        which: &WhichEndpoints,
        change: FlagChange,
    ) -> Result<(), NotDone> {
        let pm = &self.node(namespace)?.pm;
        let mut flags = EndpointFlags::empty();
        flags.set(EndpointFlags::BACKUP, change.backup);
        flags.set(EndpointFlags::FULLMESH, change.fullmesh);
        let changeable = EndpointFlags::BACKUP | EndpointFlags::FULLMESH;
        let selectors: Vec<EndpointSelector> = match which {
            WhichEndpoints::Id { id, .. } => vec![EndpointSelector::Id(*id)],
            WhichEndpoints::Address { address, port } => {
                vec![EndpointSelector::Address(*address, *port)]
            }
            WhichEndpoints::All => {
                let dump = pm.dump_endpoints(None).await?;
                dump.iter().filter_map(|shown| shown.id).map(EndpointSelector::Id).collect()
            }
        };
        for selector in selectors {
            pm.set_flags(selector, flags).await?;
            for shown in pm.dump_endpoints(None).await? {
                let concerned = match selector {
                    EndpointSelector::Id(id) => shown.id == Some(id),
                    EndpointSelector::Address(address, port) => {
                        shown.address.to_canonical() == address.to_canonical() && (port.is_none() || shown.port == port)
                    }
                };
                if concerned && shown.flags.intersection(changeable) != flags {
                    return Err(NotDone::Failed(format!(
                        "endpoint of {namespace} was changed to `{flags}` but the kernel shows `{shown}`"
                    )));
                }
            }
        }
        Ok(())
    }

    async fn flush_endpoints(&self, namespace: &str) -> Result<(), NotDone> {
        let pm = &self.node(namespace)?.pm;
        pm.flush().await?;
        match pm.dump_endpoints(None).await?.first() {
            Some(left) => {
                Err(NotDone::Failed(format!("the endpoints of {namespace} were flushed but `{left}` is still shown")))
            }
            None => Ok(()),
        }
    }

    async fn set_limits(
        &self,
        namespace: &str,
        subflows: Option<u32>,
        add_addr_accepted: Option<u32>,
    ) -> Result<(), NotDone> {
        let pm = &self.node(namespace)?.pm;
        pm.set_limits(subflows, add_addr_accepted).await?;
        let shown = pm.get_limits().await?;
        let same = |asked: Option<u32>, shown: u32| asked.is_none_or(|asked| asked == shown);
        if same(subflows, shown.subflows) && same(add_addr_accepted, shown.add_addr_accepted) {
            return Ok(());
        }
        Err(NotDone::Failed(format!("the limits of {namespace} were set but the kernel shows `{shown}`")))
    }

    /// Commands of a userspace path manager; they bear a token.
    async fn command_path_manager(&self, operation: &Operation) -> Result<(), NotDone> {
        match operation {
            Operation::Announce { namespace, token, endpoint } => {
                let token = self.token(namespace, token)?;
                self.node(namespace)?.pm.announce(token, endpoint).await?;
            }
            Operation::RemoveAddress { namespace, token, id } => {
                let token = self.token(namespace, token)?;
                self.node(namespace)?.pm.remove(token, *id).await?;
            }
            Operation::CreateSubflow { namespace, token, endpoint, remote, remote_port } => {
                let port = match remote_port {
                    Some(port) => *port,
                    None => self.first_remote_port(namespace, token)?,
                };
                let token = self.token(namespace, token)?;
                self.node(namespace)?.pm.create_subflow(token, endpoint, SocketAddr::new(*remote, port)).await?;
            }
            Operation::DestroySubflow { namespace, token, local, local_port, remote, remote_port } => {
                let (local, remote) =
                    self.subflow_addresses(namespace, token, (*local, *local_port), (*remote, *remote_port))?;
                let token = self.token(namespace, token)?;
                self.node(namespace)?.pm.destroy_subflow(token, local, remote).await?;
            }
            Operation::SetSubflowBackup { namespace, token, local, remote, backup } => {
                let (local, remote) = self.subflow_addresses(namespace, token, (*local, None), (*remote, None))?;
                let token = self.token(namespace, token)?;
                let flags = if *backup { EndpointFlags::BACKUP } else { EndpointFlags::empty() };
                self.node(namespace)?.pm.set_subflow_flags(token, local, remote, flags).await?;
            }
            Operation::GetEndpoint { namespace, token, id } => {
                let token = token.as_ref().map(|token| self.token(namespace, token)).transpose()?;
                let shown = self.node(namespace)?.pm.get_endpoint(*id, token).await?;
                let listed = self.node(namespace)?.pm.dump_endpoints(token).await?;
                if shown.id != Some(*id) || !listed.contains(&shown) {
                    let listed: Vec<String> = listed.iter().map(ToString::to_string).collect();
                    let listed = listed.join(", ");
                    return Err(NotDone::Failed(format!(
                        "asked {namespace} for endpoint {id}, got `{shown}`; the whole list is: {listed}"
                    )));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The token that a command in this namespace bears.
    pub(super) fn token(&self, namespace: &str, choice: &TokenChoice) -> Result<u32, NotDone> {
        match choice {
            TokenChoice::Number(token) => Ok(*token),
            TokenChoice::Connection(name) => {
                let connection =
                    self.connections.get(name).ok_or_else(|| format!("there is no connection `{name}`"))?;
                connection
                    .side_in(namespace)
                    .and_then(|side| connection.token(side))
                    .ok_or_else(|| NotDone::Failed(format!("connection `{name}` has no token in {namespace}")))
            }
        }
    }

    fn first_remote_port(&self, namespace: &str, choice: &TokenChoice) -> Result<u16, NotDone> {
        let TokenChoice::Connection(name) = choice else {
            return Err(NotDone::Failed("a token that is no connection's needs a `remote_port`".to_owned()));
        };
        let connection = self.connections.get(name).ok_or_else(|| format!("there is no connection `{name}`"))?;
        match connection.side_in(namespace) {
            Some(Side::Client) => Ok(connection.server_address.port()),
            Some(Side::Server) => Ok(connection.client_address.port()),
            None => Err(NotDone::Failed(format!("connection `{name}` has no side in {namespace}"))),
        }
    }

    /// The full addresses of a subflow: ports that the scenario doesn't give are looked up in the subflow set.
    fn subflow_addresses(
        &self,
        namespace: &str,
        choice: &TokenChoice,
        local: (IpAddr, Option<u16>),
        remote: (IpAddr, Option<u16>),
    ) -> Result<(SocketAddr, SocketAddr), NotDone> {
        if let (Some(local_port), Some(remote_port)) = (local.1, remote.1) {
            return Ok((SocketAddr::new(local.0, local_port), SocketAddr::new(remote.0, remote_port)));
        }
        let token = self.token(namespace, choice)?;
        let fits = |address: SocketAddr, wanted: (IpAddr, Option<u16>)| {
            address.ip().to_canonical() == wanted.0.to_canonical() && wanted.1.is_none_or(|port| port == address.port())
        };
        let subflows = self.subflows(namespace, token)?;
        subflows
            .iter()
            .find(|subflow| fits(subflow.local, local) && fits(subflow.remote, remote))
            .map(|subflow| {
                (SocketAddr::new(local.0, subflow.local.port()), SocketAddr::new(remote.0, subflow.remote.port()))
            })
            .ok_or_else(|| {
                NotDone::Failed(format!(
                    "there is no subflow from {} to {} in {namespace} to look its ports up: give them",
                    local.0, remote.0
                ))
            })
    }
}

/// The flags that ip-mptcp(8) names. A raw bit may vanish: that is what a scenario with one is about.
const NAMED_FLAGS: EndpointFlags = EndpointFlags::SIGNAL
    .union(EndpointFlags::SUBFLOW)
    .union(EndpointFlags::BACKUP)
    .union(EndpointFlags::FULLMESH)
    .union(EndpointFlags::LAMINAR);
