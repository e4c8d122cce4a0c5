//! Taking one step.

use std::rc::Rc;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::executor::{Executor, described};
use crate::recording::{Awaited, CallEnd, Got, Moment, Observation, OptionSocket, Seen, Side, SocketCall, StepOutcome};
use crate::scenario::model::{Action, ConnectPlan, ConnectionOutcome, Direction, expected_transfer_error};
use crate::traffic::{self, LiveConnection, SocketError, Tell};

impl Executor<'_> {
    /// Takes one step.
    pub(super) async fn take_step(&mut self, index: usize, action: &Action) -> StepOutcome {
        match action {
            Action::Listen(plan) => done_or_failed(self.listen(plan.clone())),
            Action::StopListening { namespace, port, address } => self.stop_listening(namespace, *port, *address),
            Action::Connect(plan) => self.connect(plan).await,
            Action::Accept { connection, handshake, deadline } => {
                self.accept_waiting(connection, *handshake, *deadline).await
            }
            Action::Shutdown { connection, by, direction, .. } => self.shutdown(connection, *by, *direction),
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
            Action::SetOptions { connection, side, options, length } => {
                done_or_failed(self.set_options(connection, *side, options, *length))
            }
            Action::GetOption(plan) => self.get_option(plan),
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
        let again = match &plan.again {
            None => None,
            Some(name) => match self.disconnected.remove(name) {
                None => return failed(format!("there is no disconnected socket of `{name}`")),
                again => again,
            },
        };
        let (to, from) = ((plan.address, plan.scope.as_deref()), (plan.source, plan.source_port));
        let connect = || traffic::connect(to, from, (plan.protocol, again), (&plan.options, &hear));
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
        let mut connection = match self.connected(plan, client) {
            Ok(connection) => connection,
            Err(message) => return failed(message),
        };
        if !plan.accepts {
            self.waiting.insert(plan.name.clone(), plan.clone());
            return match Self::learn_tokens(&mut connection) {
                Ok(()) => {
                    self.take_over(connection);
                    StepOutcome::Done
                }
                Err(message) => failed(message),
            };
        }
        if plan.sends_later()
            && let Err(error) = connection.begin_by_writing()
        {
            return failed(format!("the first write() on `{}`: {error}", plan.name));
        }
        match self.accept(plan, &mut connection).await {
            Ok(()) => self.begin(plan, connection).await,
            Err(outcome) => outcome,
        }
    }

    /// A connection of which the client has a socket.
    fn connected(&self, plan: &ConnectPlan, client: TcpStream) -> Result<LiveConnection, String> {
        let namespaces = (plan.from.clone(), plan.to.clone());
        let recorder = Rc::clone(&self.recorder);
        let tell = Tell::to(move |end| recorder.note(Observation::Application(end)));
        let connection = LiveConnection::new(plan.name.clone(), namespaces, (client, plan.address), tell);
        let mut connection = connection.map_err(|error| format!("connection `{}`: {error}", plan.name))?;
        connection.declare(Side::Client, &plan.options);
        Ok(connection)
    }

    /// An accept step: what its connect step left out.
    async fn accept_waiting(&mut self, name: &str, handshake: bool, deadline: Duration) -> StepOutcome {
        let (Some(plan), Some(connection)) = (self.waiting.shift_remove(name), self.connections.shift_remove(name))
        else {
            return failed(format!("`{name}` doesn't wait for accept()"));
        };
        let (plan, mut connection) = (ConnectPlan { handshake, ..plan }, connection);
        let outcome = match timeout(deadline, self.accept(&plan, &mut connection)).await {
            Ok(Ok(())) => return self.begin(&plan, connection).await,
            Ok(Err(outcome)) => outcome,
            Err(_) => {
                let (waited_for, seen) = (Awaited::Accept { connection: name.to_owned() }, Seen::Nothing);
                StepOutcome::timed_out(vec![waited_for], vec![seen], deadline)
            }
        };
        // Nobody has accepted it after all.
        self.waiting.insert(plan.name.clone(), plan);
        self.take_over(connection);
        outcome
    }

    /// The server's side of a connection.
    async fn accept(&self, plan: &ConnectPlan, connection: &mut LiveConnection) -> Result<(), StepOutcome> {
        let address = connection.client_address;
        let listener = self.listener_for(&plan.to, plan.translated.unwrap_or(plan.address)).map_err(failed)?;
        let server = match traffic::accept_from(&listener.socket, address, &self.plan.translated).await {
            Ok(server) => server,
            Err(error) if error.is_answer() => {
                return Err(self.call_failed(plan, Side::Server, SocketCall::Accept, &error));
            }
            Err(error) => return Err(failed(format!("in {}: {error}", plan.to))),
        };
        connection.accepted(server);
        self.take_options(connection, plan, &listener.plan.options).map_err(failed)
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
        self.note_connected(&connection);
        self.take_over(connection);
        if !plan.handshake {
            return StepOutcome::Done;
        }
        self.greet(&plan.name).await
    }
}

impl Executor<'_> {
    fn note_connected(&self, connection: &LiveConnection) {
        self.recorder.note(Observation::Connected { connection: Box::new(described(connection)) });
    }

    /// Notes a connection that nobody has accepted, or each of them: when it is closed, or at the end.
    pub(super) fn note_unaccepted(&mut self, name: Option<&str>) {
        let all = std::mem::take(&mut self.waiting);
        let (now, later) = all.into_iter().partition(|(waiting, _)| name.is_none_or(|name| name == waiting));
        self.waiting = later;
        for name in IndexMap::<String, ConnectPlan>::keys(&now) {
            if let Some(connection) = self.connections.get(name) {
                self.note_connected(connection);
            }
        }
    }

    fn shutdown(&self, name: &str, by: Side, direction: Direction) -> StepOutcome {
        let Some(connection) = self.connections.get(name) else {
            return failed(format!("there is no connection `{name}`"));
        };
        match connection.shutdown(by, direction) {
            Err(error) => failed(format!("`{name}`: {error}")),
            Ok(calls) => {
                let end = calls.end.clone();
                self.recorder.note(Observation::Calls(Box::new(calls)));
                end.map_or(StepOutcome::Done, StepOutcome::Application)
            }
        }
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
