//! Changes of the configuration during a run: path manager, links, addresses, routes, sysctls, filters.
//!
//! What the kernel accepts is read back and compared: it drops unknown endpoint flags without an error, for example
//! (`mptcp_pm_parse_entry`, net/mptcp/pm_netlink.c).

use std::net::IpAddr;
use std::time::Duration;

use super::executor::Executor;
use super::step::{done_or_failed, failed};
use super::wait::Watch;
use crate::mptcp::{Endpoint, EndpointFlags};
use crate::nanos;
use crate::netlink::pm::EndpointSelector;
use crate::netlink::{Cause, NetlinkError};
use crate::recording::{Awaited, Contradiction, Observation, StepOutcome, Timeout};
use crate::scenario::model::{FlagChange, Operation, WhichEndpoints};
use crate::testbed::TestbedError;

/// Why an operation failed.
#[derive(Debug)]
pub(super) enum OperationError {
    /// The kernel refused it.
    Refused {
        /// The symbolic errno.
        error: String,
        /// The kernel's own words: what `message` of an `expect_error` step is looked for in, and nothing else.
        message: Option<String>,
        /// All that is known about it.
        report: String,
    },
    /// The kernel accepted it, but shows something else.
    Contradicted(Contradiction),
    /// Its result timed out.
    TimedOut(Timeout),
    /// Anything else.
    Failed(String),
}

impl From<NetlinkError> for OperationError {
    fn from(error: NetlinkError) -> Self {
        match error {
            NetlinkError { operation, cause: Cause::Different(shown) } => Self::contradicted(operation, [shown]),
            error => match error.refusal() {
                Some(refusal) => Self::Refused {
                    error: refusal.symbol(),
                    message: refusal.message.clone(),
                    report: error.to_string(),
                },
                None => Self::Failed(error.to_string()),
            },
        }
    }
}

impl From<TestbedError> for OperationError {
    fn from(error: TestbedError) -> Self {
        match error.into_contradiction() {
            Ok(contradiction) => Self::Contradicted(contradiction),
            Err(TestbedError::Netlink(error)) => error.into(),
            Err(error) => match error.symbol() {
                Some(symbol) => Self::Refused {
                    error: symbol,
                    message: error.message().map(str::to_owned),
                    report: error.to_string(),
                },
                None => Self::Failed(error.to_string()),
            },
        }
    }
}

impl OperationError {
    /// The kernel acknowledged a request over netlink, and then shows this.
    pub(super) fn contradicted(asked: impl Into<String>, shown: impl IntoIterator<Item = String>) -> Self {
        let shown = shown.into_iter().collect();
        Self::Contradicted(Contradiction { asked: asked.into(), answered: "an ACK".to_owned(), shown })
    }

    /// What is recorded of the set-up.
    pub(super) fn in_set_up(self) -> Observation {
        let message = match self {
            Self::Contradicted(contradiction) => return Observation::SetupContradicted(contradiction),
            Self::Refused { report, .. } => report,
            // No operation of a set-up waits for peers: there is no connection yet.
            Self::TimedOut(_) => "timed out waiting for the peers to process a REMOVE_ADDR".to_owned(),
            Self::Failed(message) => message,
        };
        Observation::SetupFailed { message }
    }
}

impl From<String> for OperationError {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

/// How long the peer may take to process a REMOVE_ADDR before the next deletion of `all: true`.
const REMOVE_ADDR_DEADLINE: Duration = Duration::from_secs(2);

impl Executor<'_> {
    /// Does it, and says how it ended.
    pub(super) async fn operate(&mut self, operation: &Operation) -> StepOutcome {
        match self.perform(operation).await {
            Ok(()) => done_or_failed(self.ask_changed_routes(operation)),
            Err(OperationError::Refused { error, message, .. }) => StepOutcome::Refused { error, message },
            Err(OperationError::Contradicted(contradiction)) => StepOutcome::Contradicted(contradiction),
            Err(OperationError::TimedOut(timeout)) => StepOutcome::TimedOut(timeout),
            Err(OperationError::Failed(message)) => failed(message),
        }
    }

    /// Does it, and reads back.
    pub(super) async fn perform(&mut self, operation: &Operation) -> Result<(), OperationError> {
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
            Operation::SetSysctl { namespace, name, value } => {
                Ok(self.testbed.node(namespace)?.set_sysctl(name, value)?)
            }
            Operation::SetLink { namespace, device, up } => self.set_link(namespace, device, *up),
            Operation::DeleteDevice { namespace, device } => self.delete_device(namespace, device),
            Operation::AddAddress { namespace, device, address } => {
                Ok(self.testbed.add_address(namespace, device, *address)?)
            }
            Operation::DeleteAddress { namespace, device, address } => {
                Ok(self.testbed.node(namespace)?.delete_address(device, *address)?)
            }
            Operation::AddRoute { namespace, route } => Ok(self.testbed.node(namespace)?.add_route(route)?),
            Operation::DeleteRoute { namespace, route } => Ok(self.testbed.node(namespace)?.delete_route(route)?),
            Operation::AddRoutingRule { namespace, rule } => Ok(self.testbed.node(namespace)?.add_rule(rule)?),
            Operation::DeleteRoutingRule { namespace, rule } => Ok(self.testbed.node(namespace)?.delete_rule(rule)?),
            Operation::Announce { namespace, token, endpoint } => self.announce(namespace, token, endpoint).await,
            Operation::RemoveAddress { namespace, token, id } => self.remove_address(namespace, token, *id).await,
            Operation::CreateSubflow { namespace, token, endpoint, remote, remote_port } => {
                self.create_subflow(namespace, token, endpoint, (*remote, *remote_port)).await
            }
            Operation::DestroySubflow { namespace, token, local, local_port, remote, remote_port } => {
                self.destroy_subflow(namespace, token, (*local, *local_port), (*remote, *remote_port)).await
            }
            Operation::SetSubflowBackup { namespace, token, local, remote, backup } => {
                self.set_subflow_backup(namespace, token, (*local, *remote), *backup).await
            }
            Operation::GetEndpoint { namespace, token, id } => self.get_endpoint(namespace, token.as_ref(), *id).await,
            Operation::AddFilter(filter) => self.add_filter(filter),
            Operation::RemoveFilter { namespace, name } => self.remove_filter(namespace, name),
        }
    }

    async fn add_endpoint(&self, namespace: &str, endpoint: &Endpoint) -> Result<(), OperationError> {
        let pm = &self.node(namespace)?.pm;
        pm.add_endpoint(endpoint).await?;
        let dump = pm.dump_endpoints(None).await?;
        let asked = || format!("add endpoint {endpoint} in {namespace}");
        let shown = dump.iter().find(|shown| is_at(shown, endpoint.address, endpoint.port.or(Some(0))));
        let Some(shown) = shown else { return Err(OperationError::contradicted(asked(), shows(&dump))) };
        let named = EndpointFlags::from_bits_retain(endpoint.flags.bits() & NAMED_FLAGS.bits());
        let lost = named.difference(shown.flags);
        let wrong_id = endpoint.id.is_some_and(|id| shown.id != Some(id));
        if !lost.is_empty() || wrong_id || endpoint.dev != shown.dev {
            return Err(OperationError::contradicted(asked(), shows([shown])));
        }
        Ok(())
    }

    async fn delete_endpoint(&mut self, namespace: &str, which: &WhichEndpoints) -> Result<(), OperationError> {
        let (id, address) = match which {
            WhichEndpoints::All => return self.delete_all_endpoints(namespace).await,
            WhichEndpoints::Id { id, address } => (*id, *address),
            WhichEndpoints::Address { address, port } => (self.endpoint_id(namespace, *address, *port).await?, None),
        };
        let pm = &self.node(namespace)?.pm;
        pm.delete_endpoint(id, address).await?;
        // Address ID 0 is the initial subflow's, and no endpoint.
        let left = pm.dump_endpoints(None).await?.into_iter().filter(|shown| id != 0 && shown.id == Some(id));
        no_more(format!("delete endpoint {id} in {namespace}"), left)
    }

    /// One after the other: the kernel has a single slot for a REMOVE_ADDR, a second one before the first was sent
    /// is dropped (`mptcp_pm_remove_addr`, net/mptcp/pm.c).
    async fn delete_all_endpoints(&mut self, namespace: &str) -> Result<(), OperationError> {
        let dump = self.node(namespace)?.pm.dump_endpoints(None).await?;
        let deadline = REMOVE_ADDR_DEADLINE.saturating_mul(self.timeout_scale);
        for id in dump.iter().filter_map(|endpoint| endpoint.id) {
            self.node(namespace)?.pm.delete_endpoint(id, None).await?;
            let watch = Watch::RemovalsProcessed { sender: namespace.to_owned() };
            self.wait_for(&watch, deadline).await.map_err(|seen| {
                let conditions = vec![Awaited::RemoveAddr { namespace: namespace.to_owned(), id }];
                OperationError::TimedOut(Timeout { conditions, after: Some(nanos::of(deadline)), seen })
            })?;
        }
        let left = self.node(namespace)?.pm.dump_endpoints(None).await?;
        no_more(format!("delete all endpoints in {namespace}"), left)
    }

    async fn endpoint_id(&self, namespace: &str, address: IpAddr, port: Option<u16>) -> Result<u8, OperationError> {
        let dump = self.node(namespace)?.pm.dump_endpoints(None).await?;
        dump.iter()
            .find(|shown| is_at(shown, address, port))
            .and_then(|shown| shown.id)
            .ok_or_else(|| OperationError::Failed(format!("{namespace} has no endpoint {address}")))
    }

    async fn change_endpoint(
        &self,
        namespace: &str,
        which: &WhichEndpoints,
        change: FlagChange,
    ) -> Result<(), OperationError> {
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
            let dump = pm.dump_endpoints(None).await?;
            let changed = named(&dump, selector);
            if changed.is_none_or(|shown| shown.flags.intersection(changeable) != flags) {
                let asked = format!("change {} to the flags [{flags}] in {namespace}", words(selector));
                return Err(OperationError::contradicted(
                    asked,
                    shows(changed.map_or(&dump[..], std::slice::from_ref)),
                ));
            }
        }
        Ok(())
    }

    async fn flush_endpoints(&self, namespace: &str) -> Result<(), OperationError> {
        let pm = &self.node(namespace)?.pm;
        pm.flush().await?;
        no_more(format!("flush the endpoints in {namespace}"), pm.dump_endpoints(None).await?)
    }

    async fn set_limits(
        &self,
        namespace: &str,
        subflows: Option<u32>,
        add_addr_accepted: Option<u32>,
    ) -> Result<(), OperationError> {
        let pm = &self.node(namespace)?.pm;
        pm.set_limits(subflows, add_addr_accepted).await?;
        let shown = pm.get_limits().await?;
        let same = |asked: Option<u32>, shown: u32| asked.is_none_or(|asked| asked == shown);
        if same(subflows, shown.subflows) && same(add_addr_accepted, shown.add_addr_accepted) {
            return Ok(());
        }
        let asked = [("subflows", subflows), ("add_addr_accepted", add_addr_accepted)]
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name} {}", value?)));
        let asked = format!("set the limits {} in {namespace}", asked.collect::<Vec<_>>().join(" "));
        Err(OperationError::contradicted(asked, [format!("it shows `{shown}`")]))
    }
}

/// An endpoint is at this address; and at this port, if one is given.
fn is_at(shown: &Endpoint, address: IpAddr, port: Option<u16>) -> bool {
    shown.address.to_canonical() == address.to_canonical() && port.is_none_or(|port| shown.port.unwrap_or(0) == port)
}

fn words(selector: EndpointSelector) -> String {
    match selector {
        EndpointSelector::Id(id) => format!("endpoint {id}"),
        EndpointSelector::Address(address, Some(port)) => format!("endpoint {address} port {port}"),
        EndpointSelector::Address(address, None) => format!("endpoint {address}"),
    }
}

/// What the kernel shows, in words.
fn shows<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> Vec<String> {
    let shown: Vec<String> = endpoints.into_iter().map(|endpoint| format!("it shows `{endpoint}`")).collect();
    if shown.is_empty() { vec!["it shows no endpoint".to_owned()] } else { shown }
}

/// Endpoints that were deleted must not be shown any more. The kernel may have made *implicit* ones since, of the same
/// address and even with the same id: the peer joins an address that was announced before (`mptcp_pm_nl_get_local_id`,
/// net/mptcp/pm_netlink.c). No user can add such a one, so it isn't the one that was deleted.
fn no_more(asked: String, shown: impl IntoIterator<Item = Endpoint>) -> Result<(), OperationError> {
    let is_implicit = |endpoint: &Endpoint| endpoint.flags.contains(EndpointFlags::IMPLICIT);
    let left: Vec<Endpoint> = shown.into_iter().filter(|endpoint| !is_implicit(endpoint)).collect();
    if left.is_empty() { Ok(()) } else { Err(OperationError::contradicted(asked, shows(&left))) }
}

/// The endpoint that the kernel means by a selector. An endpoint without a port is named by its address whatever the
/// port (`__lookup_addr`, net/mptcp/pm_netlink.c), but those with a port stand before it in the kernel's list
/// (`mptcp_pm_nl_append_new_local_addr`).
fn named(dump: &[Endpoint], selector: EndpointSelector) -> Option<&Endpoint> {
    match selector {
        EndpointSelector::Id(id) => dump.iter().find(|shown| shown.id == Some(id)),
        EndpointSelector::Address(address, port) => {
            let with = |own: u16| dump.iter().find(|shown| is_at(shown, address, Some(own)));
            with(port.unwrap_or(0)).or_else(|| with(0))
        }
    }
}

/// The flags that ip-mptcp(8) names. A raw bit may vanish: that is what a scenario with one is about.
const NAMED_FLAGS: EndpointFlags = EndpointFlags::SIGNAL
    .union(EndpointFlags::SUBFLOW)
    .union(EndpointFlags::BACKUP)
    .union(EndpointFlags::FULLMESH)
    .union(EndpointFlags::LAMINAR);

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(flags: EndpointFlags) -> Endpoint {
        Endpoint { address: IpAddr::from([10, 0, 2, 1]), id: Some(5), port: None, flags, dev: None }
    }

    #[test]
    fn an_implicit_endpoint_is_not_the_one_that_was_deleted() {
        assert!(no_more(String::new(), [endpoint(EndpointFlags::IMPLICIT)]).is_ok());
        let Err(OperationError::Contradicted(found)) = no_more("delete".to_owned(), [endpoint(EndpointFlags::SIGNAL)])
        else {
            panic!("a signal endpoint that is still there contradicts the ACK");
        };
        assert_eq!(found.shown, ["it shows `10.0.2.1 id 5 signal`"]);
    }

    #[test]
    fn an_endpoint_is_named_by_its_port_if_there_is_one_with_it() {
        let plain = endpoint(EndpointFlags::SIGNAL);
        let with_port = Endpoint { id: Some(6), port: Some(10100), ..plain.clone() };
        let dump = [plain.clone(), with_port.clone()];
        let by = |port| named(&dump, EndpointSelector::Address(plain.address, port));
        assert_eq!((by(None), by(Some(10100))), (Some(&plain), Some(&with_port)));
        assert_eq!(by(Some(9)), Some(&plain), "an endpoint without a port is meant whatever the port");
        assert_eq!(named(&dump[1..], EndpointSelector::Address(plain.address, Some(9))), None);
    }

    #[test]
    fn what_differs_when_read_back_contradicts_the_kernel() {
        let netlink = || Cause::Different("rule 2".to_owned()).of("add filter x");
        for error in [OperationError::from(netlink()), OperationError::from(TestbedError::Netlink(netlink()))] {
            let OperationError::Contradicted(found) = error else { panic!("{error:?}") };
            assert_eq!((found.asked.as_str(), found.shown.as_slice()), ("add filter x", &["rule 2".to_owned()][..]));
        }
        let refused = Cause::Refused(crate::netlink::Refusal::from_errno(22)).of("add filter x");
        assert!(matches!(OperationError::from(refused), OperationError::Refused { .. }));
    }
}
