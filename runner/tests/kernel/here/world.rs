//! A world as a scenario declares it, after its steps: what `explain --here` is asked about.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use mptcplab::mptcp::TCP_ESTABLISHED;
use mptcplab::netlink::diag::DiagSocket;
use mptcplab::netlink::pm::PmClient;
use mptcplab::plan::{Setup, plan};
use mptcplab::scenario;
use mptcplab::scenario::model::{
    Action, Condition, ConnectPlan, ListenPlan, Operation, Scenario, SocketOptions, WhichEndpoints,
};
use mptcplab::testbed::{self, BaseNamespace, Node, Testbed};
use mptcplab::traffic::{self, LiveConnection, Tell};
use tokio::net::TcpListener;

/// What a step waits for in vain, it waits for no longer than this.
const SHORT: Duration = Duration::from_secs(1);
/// What must happen has happened by then, on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(10);

/// The world, with what its steps opened.
pub struct World {
    testbed: Testbed,
    open: Vec<(TcpListener, LiveConnection)>,
}

impl World {
    /// Builds the world of a scenario, with its limits and endpoints.
    pub async fn before(home: &Arc<BaseNamespace>, file: &Path) -> Result<Self, Failed> {
        let plan = plan(&load(file)?);
        let world = Self { testbed: testbed::build(home, &plan.setup, 0)?, open: Vec::new() };
        for setup in &plan.setup {
            if let Setup::Operation(operation) = setup {
                world.operation(operation).await?;
            }
        }
        Ok(world)
    }

    /// The same, and does its steps.
    pub async fn after(home: &Arc<BaseNamespace>, file: &Path) -> Result<Self, Failed> {
        let mut world = Self::before(home, file).await?;
        world.steps(file).await?;
        Ok(world)
    }

    /// Does the steps of the scenario, up to the first that neither connects nor changes anything.
    pub async fn steps(&mut self, file: &Path) -> Result<(), Failed> {
        for step in &load(file)?.steps {
            match &step.action {
                Action::Connect(connect) => self.connect(connect).await?,
                Action::Do(operation) => self.operation(operation).await?,
                Action::Wait { conditions, deadline } if *deadline > SHORT => {
                    for condition in conditions {
                        self.wait(condition)?;
                    }
                }
                // This one is in vain.
                Action::Wait { .. } => {}
                _ => break,
            }
        }
        Ok(())
    }

    pub fn node(&self, name: &str) -> Result<&Node, Failed> {
        Ok(self.testbed.node(name)?)
    }

    async fn connect(&mut self, connect: &ConnectPlan) -> Result<(), Failed> {
        let (client, server) = (self.testbed.node(&connect.from)?, self.testbed.node(&connect.to)?);
        let namespace = server.name().to_owned();
        let listen = ListenPlan {
            namespace,
            address: [0; 16].into(),
            scope: None,
            port: connect.address.port(),
            protocol: connect.protocol,
            backlog: 128,
            options: SocketOptions::default(),
        };
        let listener = server.run(|| traffic::listen(&listen, &|_, _| {}))??;
        let socket = client
            .run(|| {
                traffic::connect(
                    (connect.address, None),
                    (connect.source, connect.source_port),
                    (connect.protocol, None),
                    (&connect.options, &|_, _| {}),
                )
            })??
            .await?;
        let accepted = traffic::accept_from(&listener, socket.local_addr()?, &[]).await?;
        let namespaces = (client.name().to_owned(), server.name().to_owned());
        let client = (socket, connect.address);
        let mut connection = LiveConnection::new(connect.name.clone(), namespaces, client, Tell::nobody())?;
        connection.accepted(accepted);
        connection.greet().await?;
        self.open.push((listener, connection));
        Ok(())
    }

    /// Waits until both sides of the connection have so many established subflows.
    fn wait(&self, condition: &Condition) -> Result<(), Failed> {
        let Condition::Subflows { count, .. } = condition else { return Ok(()) };
        let start = Instant::now();
        for name in ["client", "server"] {
            let node = self.node(name)?;
            let diag = node.run(|| DiagSocket::open(name, node.devices()))??;
            let established = || -> Result<usize, Failed> {
                let subflows = diag.subflows(None)?;
                Ok(subflows.iter().filter(|subflow| subflow.tcp_state == TCP_ESTABLISHED).count())
            };
            while established()? < *count {
                assert!(start.elapsed() < DEADLINE, "{name} has {} subflows", established()?);
            }
        }
        Ok(())
    }

    async fn operation(&self, operation: &Operation) -> Result<(), Failed> {
        match operation {
            Operation::SetLimits { namespace, subflows, add_addr_accepted } => {
                self.path_manager(namespace)?.set_limits(*subflows, *add_addr_accepted).await?;
            }
            Operation::AddEndpoint { namespace, endpoint } => {
                self.path_manager(namespace)?.add_endpoint(endpoint).await?;
            }
            Operation::DeleteEndpoint { namespace, which: WhichEndpoints::Id { id, address } } => {
                self.path_manager(namespace)?.delete_endpoint(*id, *address).await?;
            }
            Operation::SetSysctl { namespace, name, value } => self.node(namespace)?.set_sysctl(name, value)?,
            Operation::SetLink { namespace, device, up } => self.testbed.set_link(namespace, device, *up)?,
            Operation::AddAddress { namespace, device, address } => {
                self.testbed.add_address(namespace, device, *address)?;
            }
            Operation::AddRoute { namespace, route } => self.node(namespace)?.add_route(route)?,
            other => return Err(format!("not done here: {other:?}").into()),
        }
        Ok(())
    }

    fn path_manager(&self, namespace: &str) -> Result<PmClient, Failed> {
        let node = self.node(namespace)?;
        Ok(node.run(|| PmClient::open(node.name(), node.devices()))??)
    }

    /// Runs the program inside a namespace.
    pub fn explain(&self, namespace: &str, how: impl FnOnce(&mut Command)) -> Result<Output, Failed> {
        let mut command = program();
        how(&mut command);
        Ok(self.node(namespace)?.run(|| command.output())??)
    }
}

/// `mptcplab explain --here`.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mptcplab"));
    command.args(["explain", "--here"]).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

fn load(file: &Path) -> Result<Scenario, Failed> {
    let scenarios = scenario::load(file).map_err(|errors| errors.render(false))?;
    Ok(scenarios.into_iter().next().ok_or("no variant")?)
}
