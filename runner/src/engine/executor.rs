//! The executor of a plan: it has the namespaces, listeners and connections of the running scenario.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::try_join_all;
use indexmap::IndexMap;
use tokio::net::{TcpListener, TcpStream};

use super::KernelFeatures;
use super::configuration::LookedAt;
use super::descriptors;
use super::known::Known;
use super::node::{Node, Opened};
use super::operation::OperationError;
use super::paths::{self, Paths};
use super::programs::Programs;
use super::recorder::Recorder;
use crate::mptcp::SubflowState;
use crate::observe::{is_gauge, sockets};
use crate::plan::{Plan, Setup};
use crate::recording::{Connection, Moment, Observation, OptionSocket, Side};
use crate::scenario::model::{ConnectPlan, Feature, ListenPlan};
use crate::testbed::{self, BaseNamespace, Testbed};
use crate::traffic::{self, LiveConnection};

/// A listening socket of the scenario.
pub(super) struct Listener {
    pub(super) plan: ListenPlan,
    pub(super) socket: TcpListener,
}

/// Takes the steps of a plan, and owns everything that the running scenario has. Dropping it closes all, and with the last
/// descriptor the kernel deletes the namespaces.
pub(super) struct Executor<'a> {
    pub(super) plan: &'a Plan,
    pub(super) recorder: Rc<Recorder>,
    pub(super) connections: IndexMap<String, LiveConnection>,
    /// All connections that have names, with their tokens.
    pub(super) known: Known,
    /// How connections that nobody has accepted were opened.
    pub(super) waiting: IndexMap<String, ConnectPlan>,
    /// Sockets of clients that were disconnected, by their connections.
    pub(super) disconnected: HashMap<String, TcpStream>,
    pub(super) listeners: Vec<Listener>,
    /// Before the testbed: they live in its namespaces.
    pub(super) programs: Programs,
    pub(super) looked_at: LookedAt,
    pub(super) nodes: IndexMap<String, Node>,
    /// Before the testbed: their threads end with them.
    pub(super) paths: Paths,
    pub(super) testbed: Testbed,
    /// Filters that are installed: namespace and name.
    pub(super) filters: Vec<(String, String)>,
    /// GET_ADDR answers for a token. Kernels without `token_dump` answer with the namespace's endpoints instead.
    pub(super) token_dump: bool,
    /// The factor of all timeouts.
    pub(super) timeout_scale: u32,
}

impl<'a> Executor<'a> {
    /// Builds the world and starts the observers, then configures the path managers.
    pub(super) async fn build(
        plan: &'a Plan,
        base: &Arc<BaseNamespace>,
        kernel: &KernelFeatures,
        recorder: Rc<Recorder>,
    ) -> Result<Self, OperationError> {
        descriptors::check(&plan.steps)?;
        let testbed = testbed::build(base, &plan.setup, 2 * plan.connects())?;
        let starting = paths::prepare(plan, &testbed)?;
        let mut opened = Vec::new();
        for observer in &plan.observers {
            let name = observer.namespace.as_str();
            let place = testbed.node(name).map_err(|error| error.to_string())?;
            let (devices, upper) = (place.devices(), place.upper().to_vec());
            opened.push(
                place
                    .run(|| Opened::open(name, devices, upper, observer.events))
                    .map_err(|error| error.to_string())?
                    .map_err(|error| format!("observe namespace {name}: {error}"))?,
            );
        }
        let sizes = plan.observers.iter().map(|observer| observer.capture_bytes);
        let started = opened.into_iter().zip(sizes).map(|(opened, bytes)| opened.start(&recorder, bytes));
        let started = try_join_all(started).await?;
        let paths = Paths::start(plan, &testbed, starting, &recorder)?;
        let names = plan.observers.iter().map(|observer| observer.namespace.clone());
        let nodes = names.zip(started).collect();
        let mut executor = Self {
            plan,
            recorder,
            connections: IndexMap::new(),
            known: Known::new(plan),
            waiting: IndexMap::new(),
            disconnected: HashMap::new(),
            listeners: Vec::new(),
            programs: Programs::default(),
            looked_at: LookedAt::new(),
            nodes,
            paths,
            testbed,
            filters: Vec::new(),
            token_dump: kernel.has.contains(&Feature::TokenDump),
            timeout_scale: plan.timeout_scale.get(),
        };
        executor.configure().await?;
        Ok(executor)
    }

    async fn configure(&mut self) -> Result<(), OperationError> {
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        for name in &names {
            self.take_counters(name, &Moment::Start)?;
        }
        self.take_bytes(&Moment::Start)?;
        self.take_path_totals(&Moment::Start)?;
        for setup in &self.plan.setup {
            if let Setup::Operation(operation) = setup {
                self.perform(operation).await?;
            }
        }
        self.ask_routes()?;
        self.observe_now();
        Ok(())
    }

    /// The namespace of that name.
    pub(super) fn node(&self, name: &str) -> Result<&Node, String> {
        self.nodes.get(name).ok_or_else(|| format!("there is no namespace {name}"))
    }

    /// Does something inside a namespace.
    pub(super) fn inside<T>(&self, name: &str, act: impl FnOnce() -> T) -> Result<T, String> {
        self.testbed.node(name).and_then(|place| place.run(act)).map_err(|error| error.to_string())
    }

    /// Records everything pending, in all namespaces.
    pub(super) fn observe_now(&self) {
        for node in self.nodes.values() {
            node.observers.observe_now();
        }
        self.paths.observe_now();
        self.programs.observe_now();
        self.known.look(&self.recorder, false);
    }

    /// Opens a listening socket.
    pub(super) fn listen(&mut self, plan: ListenPlan) -> Result<(), String> {
        let address = SocketAddr::new(plan.address, plan.port);
        let listener = OptionSocket::Listener { namespace: plan.namespace.clone(), address };
        let hear = self.hear(&listener);
        let socket = self
            .inside(&plan.namespace, || traffic::listen(&plan, &hear))?
            .map_err(|error| format!("in {}: {error}", plan.namespace))?;
        self.listeners.push(Listener { plan, socket });
        Ok(())
    }

    /// The listener that accepts a connection to that address.
    pub(super) fn listener_for(&self, namespace: &str, address: SocketAddr) -> Result<&Listener, String> {
        let candidates = || {
            self.listeners
                .iter()
                .filter(|listener| listener.plan.namespace == namespace && listener.plan.port == address.port())
        };
        let exact = |listener: &&Listener| listener.plan.address.to_canonical() == address.ip().to_canonical();
        candidates()
            .find(exact)
            .or_else(|| candidates().find(|listener| listener.plan.address.is_unspecified()))
            .ok_or_else(|| format!("the scenario has no listener in {namespace} on {address}"))
    }

    /// Learns the tokens of both sides, where they are MPTCP.
    pub(super) fn learn_tokens(connection: &mut LiveConnection) -> Result<(), String> {
        for side in [Side::Client, Side::Server] {
            let token = match connection.socket(side) {
                None => None,
                Some(socket) => sockets::mptcp_info(socket)
                    .map_err(|error| format!("MPTCP_INFO of `{}`: {error}", connection.name))?
                    .filter(|info| !info.fallback())
                    .map(|info| info.token),
            };
            match side {
                Side::Client => connection.client_token = token,
                Side::Server => connection.server_token = token,
            }
        }
        Ok(())
    }

    /// Takes over a connection of which the tokens are known.
    pub(super) fn take_over(&mut self, connection: LiveConnection) {
        self.known.remember(described(&connection));
        self.connections.insert(connection.name.clone(), connection);
    }

    /// The subflows of a token in a namespace.
    pub(super) fn subflows(&self, namespace: &str, token: u32) -> Result<Vec<SubflowState>, String> {
        self.node(namespace)?.diag.subflows(Some(token)).map_err(|error| error.to_string())
    }

    /// The subflows of one side of a connection. `None`: programs have not made it yet.
    pub(super) fn subflows_of(&self, connection: &str, side: Side) -> Result<Option<Vec<SubflowState>>, String> {
        let Some(connection) = self.known.get(connection)? else { return Ok(None) };
        let subflows = connection.token(side).map(|token| self.subflows(connection.namespace(side), token));
        Ok(Some(subflows.transpose()?.unwrap_or_default()))
    }

    /// By how much a counter moved since the start; a gauge: its value. A counter that this kernel doesn't have is
    /// an error: it must be named in `requires`.
    pub(super) fn counter_moved(&self, namespace: &str, name: &str) -> Result<u64, String> {
        let values = self.node(namespace)?.read_counters()?;
        let value = *values.get(name).ok_or_else(|| {
            format!("this kernel has no counter {name}: add `counter:{name}` to the scenario's `requires`")
        })?;
        if is_gauge(name) {
            return Ok(value);
        }
        let start = self.recorder.with_entries(|entries| {
            let moved = entries.iter().find_map(|entry| {
                pick!(&entry.what, Observation::Counters { namespace: ns, moment: Moment::Start, values }
                    if ns == namespace => values.get(name).copied())
            });
            moved.flatten()
        });
        Ok(value.saturating_sub(start.unwrap_or(0)))
    }
}

/// A connection as recordings describe it.
pub(super) fn described(connection: &LiveConnection) -> Connection {
    Connection {
        name: connection.name.clone(),
        client: connection.client_namespace.clone(),
        server: connection.server_namespace.clone(),
        client_address: connection.client_address,
        server_address: connection.server_address,
        client_token: connection.client_token,
        server_token: connection.server_token,
        by_programs: false,
        unaccepted: connection.waits(),
    }
}
