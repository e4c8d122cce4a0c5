//! Taking one step.

use std::rc::Rc;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::executor::Executor;
use crate::recording::{
    Awaited, CallEnd, Connection, Got, Moment, Observation, OptionSocket, Seen, Side, SocketCall, StepOutcome,
};
use crate::scenario::model::{Action, ConnectPlan, ConnectionOutcome, expected_transfer_error};
use crate::traffic::{self, LiveConnection, SocketError, Tell};

impl Executor<'_> {
    /// Takes one step.
    pub(super) async fn take_step(&mut self, index: usize, action: &Action) -> StepOutcome {
        match action {
            Action::Listen(plan) => done_or_failed(self.listen(plan.clone())),
            Action::StopListening { namespace, port, address } => self.stop_listening(namespace, *port, *address),
            Action::Connect(plan) => self.connect(plan).await,
            Action::Transfer(plan) if plan.background => self.start_transfer(plan),
            Action::Transfer(plan) => self.transfer(plan).await,
            Action::FinishTransfer { connection, deadline } => {
                let error = expected_transfer_error(&self.plan.steps, index);
                self.finish_transfer(connection, error, *deadline).await
            }
            Action::Wait { conditions, deadline } => self.wait(conditions, *deadline).await,
            Action::Quiet { period, deadline } => self.quiet(*period, *deadline).await,
            Action::Close { connection, by, how, deadline } => self.close(connection, *by, *how, *deadline).await,
            Action::Write { connection, by, bytes, deadline, .. } => {
                self.write_bytes(connection, *by, *bytes, *deadline).await
            }
            Action::Read { connection, by, bytes, peek, deadline, .. } => {
                self.read_bytes(connection, *by, (*bytes, *peek), *deadline).await
            }
            Action::SetOptions { connection, side, options } => {
                done_or_failed(self.set_options(connection, *side, options))
            }
            Action::Start(plan) => self.start_program(index, plan).await,
            Action::Run(plan) => self.run_program(index, plan).await,
            Action::Signal { program, signal } => done_or_failed(self.programs.signal(program, signal)),
            Action::FinishProgram { program, end, deadline } => {
                self.finish_program(program, &end.status, *deadline).await
            }
            Action::Stop { program, deadline, .. } => self.stop_program(program, *deadline).await,
            Action::Check(_) => done_or_failed(self.take_check(index).await),
            Action::SetPath(change) => done_or_failed(self.set_path(change)),
            Action::AddRule { link, rule } => done_or_failed(self.add_rule(link, rule)),
            Action::RemoveRule { link, rule } => done_or_failed(self.remove_rule(link, rule)),
            Action::Release { link, rule } => done_or_failed(self.release(link, rule)),
            Action::Do(operation) | Action::ExpectError { operation, .. } => self.operate(operation).await,
        }
    }

    async fn take_check(&mut self, index: usize) -> Result<(), String> {
        let moment = Moment::Check(index);
        self.take_all_sockets(&moment)?;
        self.take_program_sockets(&moment)?;
        self.take_state(&moment).await
    }

    fn stop_listening(&mut self, namespace: &str, port: u16, address: Option<std::net::IpAddr>) -> StepOutcome {
        let before = self.listeners.len();
        self.listeners.retain(|listener| {
            let plan = &listener.plan;
            plan.namespace != namespace || plan.port != port || address.is_some_and(|only| only != plan.address)
        });
        match before - self.listeners.len() {
            0 => failed(format!("stop listening in {namespace} on port {port}: the scenario has no listener there")),
            _ => StepOutcome::Done,
        }
    }

    async fn connect(&mut self, plan: &ConnectPlan) -> StepOutcome {
        if let Some(listener) = &plan.implicit_listener
            && let Err(error) = self.listen(listener.clone())
        {
            return failed(error);
        }
        match timeout(plan.deadline, self.open_connection(plan)).await {
            Err(_) => StepOutcome::timed_out(
                vec![Awaited::Connect { connection: plan.name.clone(), address: plan.address }],
                vec![Seen::Nothing],
                plan.deadline,
            ),
            Ok(outcome) => outcome,
        }
    }

    async fn open_connection(&mut self, plan: &ConnectPlan) -> StepOutcome {
        let socket = OptionSocket::Connection { connection: plan.name.clone(), side: Side::Client };
        let hear = self.hear(&socket);
        let connect =
            || traffic::connect(plan.address, (plan.source, plan.source_port), plan.protocol, (&plan.options, &hear));
        let connecting = match self.inside(&plan.from, connect) {
            Ok(Ok(connecting)) => connecting,
            Ok(Err(error)) => return Self::socket_error(plan, &error),
            Err(message) => return failed(message),
        };
        let client = match connecting.await {
            Ok(client) => client,
            Err(error) => return self.connect_error(plan, &error),
        };
        if let ConnectionOutcome::Error(_) = &plan.outcome {
            // It should have failed: the judge says so.
            return StepOutcome::Done;
        }
        match self.accept(plan, client).await {
            Ok(connection) => self.begin(plan, connection).await,
            Err(outcome) => outcome,
        }
    }

    /// The server's side of a connection.
    async fn accept(&self, plan: &ConnectPlan, client: TcpStream) -> Result<LiveConnection, StepOutcome> {
        let address = client.local_addr().map_err(failed)?;
        let listener = self.listener_for(&plan.to, plan.address).map_err(failed)?;
        let server = match traffic::accept_from(&listener.socket, address, &self.plan.translated).await {
            Ok(server) => server,
            Err(error) if error.is_answer() => {
                return Err(self.call_failed(plan, Side::Server, SocketCall::Accept, &error));
            }
            Err(error) => return Err(failed(format!("in {}: {error}", plan.to))),
        };
        let namespaces = (plan.from.clone(), plan.to.clone());
        let recorder = Rc::clone(&self.recorder);
        let tell = Tell::to(move |end| recorder.note(Observation::Application(end)));
        let passed_on = &listener.plan.options;
        let connection = LiveConnection::new(plan.name.clone(), namespaces, client, server, tell).map_err(failed)?;
        self.take_options(connection, plan, passed_on).map_err(failed)
    }

    /// The socket could not be made or bound, which may be what the scenario wants: the judge compares.
    fn socket_error(plan: &ConnectPlan, error: &SocketError) -> StepOutcome {
        match &plan.outcome {
            ConnectionOutcome::Error(_) => StepOutcome::Refused { error: error.symbol(), message: None },
            ConnectionOutcome::Mptcp | ConnectionOutcome::Tcp => failed(format!("in {}: {error}", plan.from)),
        }
    }

    /// connect() failed, which may be what the scenario wants: the judge compares.
    fn connect_error(&self, plan: &ConnectPlan, error: &SocketError) -> StepOutcome {
        match &plan.outcome {
            ConnectionOutcome::Error(_) => StepOutcome::Refused { error: error.symbol(), message: None },
            ConnectionOutcome::Mptcp | ConnectionOutcome::Tcp => {
                self.call_failed(plan, Side::Client, SocketCall::Connect, error)
            }
        }
    }

    fn call_failed(&self, plan: &ConnectPlan, side: Side, call: SocketCall, error: &SocketError) -> StepOutcome {
        let got = Got::Error(error.symbol());
        let end = CallEnd { connection: plan.name.clone(), side, call, got, bytes: 0 };
        self.recorder.note(Observation::Application(end.clone()));
        StepOutcome::Application(end)
    }

    /// A byte each way: the client is fully established only when something came from the server
    /// (`mptcp_check_fallback`/`check_fully_established`, net/mptcp/options.c).
    async fn begin(&mut self, plan: &ConnectPlan, mut connection: LiveConnection) -> StepOutcome {
        if let Err(message) = Self::learn_tokens(&mut connection) {
            return failed(message);
        }
        let known = Connection {
            name: connection.name.clone(),
            client: connection.client_namespace.clone(),
            server: connection.server_namespace.clone(),
            client_address: connection.client_address,
            server_address: connection.server_address,
            client_token: connection.client_token,
            server_token: connection.server_token,
            by_programs: false,
        };
        self.known.add(known, &self.recorder);
        self.connections.insert(connection.name.clone(), connection);
        if !plan.handshake {
            return StepOutcome::Done;
        }
        self.greet(&plan.name).await
    }
}

/// Done, or failed.
pub(super) fn done_or_failed(result: Result<(), String>) -> StepOutcome {
    result.map_or_else(failed, |()| StepOutcome::Done)
}

/// The step failed.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err() hands over")]
pub(super) fn failed(message: impl ToString) -> StepOutcome {
    StepOutcome::Failed { message: message.to_string() }
}
