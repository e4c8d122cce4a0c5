//! Taking one step.

use std::time::Duration;

use tokio::time::timeout;

use super::lab::Lab;
use crate::recording::{Connection, Integrity, Moment, Observation, Side, StepOutcome};
use crate::scenario::model::{Action, CloseHow, ConnectPlan, ConnectionOutcome, TransferPlan};
use crate::traffic::{self, CloseError, Deliveries, Delivery, LiveConnection, SocketError};

impl Lab<'_> {
    /// Takes one step.
    pub(super) async fn take_step(&mut self, index: usize, action: &Action) -> StepOutcome {
        match action {
            Action::Listen(plan) => match self.listen(plan.clone()) {
                Ok(()) => StepOutcome::Done,
                Err(error) => failed(error),
            },
            Action::StopListening { namespace, port, address } => self.stop_listening(namespace, *port, *address),
            Action::Connect(plan) => self.connect(plan).await,
            Action::Transfer(plan) if plan.background => self.start_transfer(plan),
            Action::Transfer(plan) => self.transfer(plan).await,
            Action::FinishTransfer { connection, deadline } => self.finish_transfer(connection, *deadline).await,
            Action::Wait { conditions, deadline } => self.wait(conditions, *deadline).await,
            Action::Quiet { period, deadline } => self.quiet(*period, *deadline).await,
            Action::Close { connection, by, how, deadline } => self.close(connection, *by, *how, *deadline).await,
            Action::Check(_) => match self.take_check(index).await {
                Ok(()) => StepOutcome::Done,
                Err(message) => failed(message),
            },
            Action::SetPath(_) | Action::AddRule { .. } | Action::RemoveRule { .. } | Action::Release { .. } => {
                self.treat_path(action)
            }
            Action::Do(operation) | Action::ExpectError { operation, .. } => self.operate(operation).await,
        }
    }

    async fn take_check(&mut self, index: usize) -> Result<(), String> {
        let moment = Moment::Check(index);
        self.take_all_sockets(&moment)?;
        self.take_state(&moment).await
    }

    fn stop_listening(&mut self, namespace: &str, port: u16, address: Option<std::net::IpAddr>) -> StepOutcome {
        let before = self.listeners.len();
        self.listeners.retain(|listener| {
            let plan = &listener.plan;
            plan.namespace != namespace || plan.port != port || address.is_some_and(|only| only != plan.address)
        });
        match before - self.listeners.len() {
            0 => failed(format!("stop listening in {namespace} on port {port}: nothing of the scenario listens there")),
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
                format!("connect() of `{}` to {}", plan.name, plan.address),
                "there is neither a connection nor an error",
                plan.deadline,
            ),
            Ok(outcome) => outcome,
        }
    }

    async fn open_connection(&mut self, plan: &ConnectPlan) -> StepOutcome {
        let connecting = match self.inside(&plan.from, || traffic::connect(plan.address, plan.source, plan.protocol)) {
            Ok(Ok(connecting)) => connecting,
            Ok(Err(error)) => return Self::connect_error(plan, &error),
            Err(message) => return failed(message),
        };
        let client = match connecting.await {
            Ok(client) => client,
            Err(error) => return Self::connect_error(plan, &error),
        };
        if let ConnectionOutcome::Error(_) = &plan.outcome {
            // It should have failed: the judge says so.
            return StepOutcome::Done;
        }
        let opened = async {
            let address = client.local_addr().map_err(|error| error.to_string())?;
            let listener = self.listener_for(&plan.to, plan.address)?;
            let translated = self.scenario.nat_addresses();
            let accepted = traffic::accept_from(listener, address, &translated).await;
            let server = accepted.map_err(|error| error.to_string())?;
            let namespaces = (plan.from.clone(), plan.to.clone());
            LiveConnection::new(plan.name.clone(), namespaces, client, server).map_err(|error| error.to_string())
        };
        match opened.await {
            Ok(connection) => self.begin(plan, connection).await,
            Err(message) => failed(message),
        }
    }

    /// A failed connect, which may be what the scenario wants: the judge compares.
    fn connect_error(plan: &ConnectPlan, error: &SocketError) -> StepOutcome {
        match &plan.outcome {
            ConnectionOutcome::Error(_) => StepOutcome::Refused { error: error.symbol(), message: None },
            _ => failed(format!("in {}: {error}", plan.from)),
        }
    }

    /// A byte each way: the client is fully established only when something came from the server
    /// (`mptcp_check_fallback`/`check_fully_established`, net/mptcp/options.c).
    async fn begin(&mut self, plan: &ConnectPlan, mut connection: LiveConnection) -> StepOutcome {
        if let Err(message) = Self::learn_tokens(&mut connection) {
            return failed(message);
        }
        self.recorder.note(Observation::Connected {
            connection: Connection {
                name: connection.name.clone(),
                client: connection.client_namespace.clone(),
                server: connection.server_namespace.clone(),
                client_address: connection.client_address,
                server_address: connection.server_address,
                client_token: connection.client_token,
                server_token: connection.server_token,
            },
        });
        self.take_over(connection);
        if !plan.handshake {
            return StepOutcome::Done;
        }
        match self.greet(&plan.name).await {
            Ok(()) => StepOutcome::Done,
            Err(message) => failed(format!("the first byte each way on `{}`: {message}", plan.name)),
        }
    }

    async fn greet(&self, name: &str) -> Result<(), String> {
        let connection = self.connections.get(name).ok_or("there is no such connection")?;
        let (there, back) = connection.greet().await.map_err(|error| error.to_string())?;
        if [there, back].iter().all(|delivery| integrity(delivery) == Integrity::Intact) {
            Ok(())
        } else {
            Err(format!("{there:?} from the client, {back:?} from the server"))
        }
    }

    async fn transfer(&mut self, plan: &TransferPlan) -> StepOutcome {
        let Some(connection) = self.connections.get(&plan.connection) else {
            return failed(format!("there is no connection `{}`", plan.connection));
        };
        match timeout(plan.deadline, connection.transfer(plan)).await {
            Err(_) => self.stuck(&plan.connection, plan.deadline),
            Ok(Err(error)) => failed(format!("transfer on `{}`: {error}", plan.connection)),
            Ok(Ok(deliveries)) => self.note_deliveries(&plan.connection, deliveries),
        }
    }

    fn start_transfer(&mut self, plan: &TransferPlan) -> StepOutcome {
        let Some(connection) = self.connections.get_mut(&plan.connection) else {
            return failed(format!("there is no connection `{}`", plan.connection));
        };
        match connection.start_transfer(plan) {
            Ok(()) => StepOutcome::Done,
            Err(error) => failed(format!("transfer on `{}`: {error}", plan.connection)),
        }
    }

    async fn finish_transfer(&mut self, name: &str, deadline: Duration) -> StepOutcome {
        let Some(connection) = self.connections.get_mut(name) else {
            return failed(format!("there is no connection `{name}`"));
        };
        match timeout(deadline, connection.finish_transfer()).await {
            Err(_) => self.stuck(name, deadline),
            Ok(None) => failed(format!("no transfer runs in the background on `{name}`")),
            Ok(Some(Err(error))) => failed(format!("transfer on `{name}`: {error}")),
            Ok(Some(Ok(deliveries))) => self.note_deliveries(name, deliveries),
        }
    }

    fn stuck(&self, name: &str, deadline: Duration) -> StepOutcome {
        let seen = self.connections.get(name).map_or_else(String::new, |connection| {
            let side = |sender| {
                let progress = connection.progress(sender);
                format!("{} sent, {} received", progress.sent(), progress.received())
            };
            format!("bytes from the client: {}; from the server: {}", side(Side::Client), side(Side::Server))
        });
        StepOutcome::timed_out(format!("the end of the transfer on `{name}`"), seen, deadline)
    }

    fn note_deliveries(&self, name: &str, deliveries: Deliveries) -> StepOutcome {
        for (sender, delivery) in [(Side::Client, deliveries.0), (Side::Server, deliveries.1)] {
            match delivery {
                None => {}
                Some(Err(error)) => return failed(format!("transfer on `{name}`: {error}")),
                Some(Ok(delivery)) => self.recorder.note(Observation::Transferred {
                    connection: name.to_owned(),
                    sender,
                    bytes: delivery.bytes,
                    integrity: integrity(&delivery),
                    took: Some(u64::try_from(delivery.took.as_nanos()).unwrap_or(u64::MAX)),
                }),
            }
        }
        StepOutcome::Done
    }

    async fn close(&mut self, name: &str, by: Side, how: CloseHow, deadline: Duration) -> StepOutcome {
        if how != CloseHow::HalfClose
            && let Err(message) = self.take_sockets(name, &Moment::BeforeClose)
        {
            return failed(message);
        }
        let Some(connection) = self.connections.get_mut(name) else {
            return failed(format!("there is no connection `{name}`"));
        };
        let closed = timeout(deadline, async {
            match how {
                CloseHow::Graceful => connection.close_gracefully(by).await,
                CloseHow::Abrupt => connection.close_abruptly(by).await,
                CloseHow::HalfClose => connection.half_close(by).await,
            }
        });
        match closed.await {
            Err(_) => StepOutcome::timed_out(
                format!("the peer to see the end of `{name}`"),
                "its socket shows nothing",
                deadline,
            ),
            Ok(Ok(())) => StepOutcome::Done,
            Ok(Err(CloseError::Io(error))) => failed(format!("close `{name}`: {error}")),
            Ok(Err(CloseError::Unexpected(what))) => failed(format!("close `{name}`: {what}")),
        }
    }
}

fn integrity(delivery: &Delivery) -> Integrity {
    match delivery.comparison.first {
        Some(first) => Integrity::Corrupt { first, count: delivery.comparison.wrong },
        None if delivery.bytes < delivery.expected => Integrity::Short { expected: delivery.expected },
        None => Integrity::Intact,
    }
}

/// The step could not be done.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err() hands over")]
pub(super) fn failed(message: impl ToString) -> StepOutcome {
    StepOutcome::Failed { message: message.to_string() }
}
