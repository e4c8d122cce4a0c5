//! The steps that send bytes, and those that close.

use std::time::Duration;

use tokio::time::timeout;

use super::executor::Executor;
use super::step::failed;
use crate::nanos;
use crate::payload::Comparison;
use crate::recording::{
    Awaited, CallEnd, Calls, Integrity, Moment, Observation, Progress, Seen, Side, StepOutcome, Unread,
};
use crate::scenario::model::{CloseHow, TransferPlan};
use crate::traffic::{CloseError, Deliveries, Delivery, LiveConnection, unread};

impl Executor<'_> {
    /// The first byte each way.
    pub(super) async fn greet(&self, name: &str) -> StepOutcome {
        let Some(connection) = self.connections.get(name) else { return no_connection(name) };
        let deliveries = match connection.greet().await {
            Ok(deliveries) => deliveries,
            Err(error) => return failed(format!("the first byte each way on `{name}`: {error}")),
        };
        // Recorded only if something went wrong: each connection begins like this.
        if deliveries.iter().flatten().all(|delivery| integrity(delivery) == Integrity::Intact) {
            StepOutcome::Done
        } else {
            self.note_deliveries(name, deliveries, None)
        }
    }

    pub(super) async fn transfer(&mut self, plan: &TransferPlan) -> StepOutcome {
        let Some(connection) = self.connections.get(&plan.connection) else { return no_connection(&plan.connection) };
        match timeout(plan.deadline, connection.transfer(plan)).await {
            Err(_) => self.stuck(&plan.connection, plan.deadline),
            Ok(Err(error)) => failed(format!("transfer on `{}`: {error}", plan.connection)),
            Ok(Ok(deliveries)) => self.note_deliveries(&plan.connection, deliveries, plan.error.as_deref()),
        }
    }

    pub(super) fn start_transfer(&mut self, plan: &TransferPlan) -> StepOutcome {
        let Some(connection) = self.connections.get_mut(&plan.connection) else {
            return no_connection(&plan.connection);
        };
        match connection.start_transfer(plan) {
            Ok(()) => StepOutcome::Done,
            Err(error) => failed(format!("transfer on `{}`: {error}", plan.connection)),
        }
    }

    /// `error`: the errno that a call must fail with.
    pub(super) async fn finish_transfer(&mut self, name: &str, error: Option<&str>, deadline: Duration) -> StepOutcome {
        let Some(connection) = self.connections.get_mut(name) else { return no_connection(name) };
        match timeout(deadline, connection.finish_transfer()).await {
            Err(_) => self.stuck(name, deadline),
            Ok(None) => failed(format!("no transfer runs in the background on `{name}`")),
            Ok(Some(Err(error))) => failed(format!("transfer on `{name}`: {error}")),
            Ok(Some(Ok(deliveries))) => self.note_deliveries(name, deliveries, error),
        }
    }

    /// The timeout passed. Corrupted bytes are recorded all the same: then it isn't for lack of time that the last ones are
    /// missing.
    fn stuck(&self, name: &str, deadline: Duration) -> StepOutcome {
        self.note_damage(name);
        let seen = self.connections.get(name).map(|connection| {
            let side = |sender: Side| {
                let progress = connection.progress(sender);
                let unread = waiting(connection, sender.other());
                Progress { sent: progress.sent(), received: progress.received(), unread }
            };
            Seen::Transfer { client: side(Side::Client), server: side(Side::Server) }
        });
        let waited_for = Awaited::EndOfTransfer { connection: name.to_owned() };
        StepOutcome::timed_out(vec![waited_for], seen.into_iter().collect(), deadline)
    }

    fn note_damage(&self, name: &str) {
        let Some(connection) = self.connections.get(name) else { return };
        for sender in [Side::Client, Side::Server] {
            let progress = connection.progress(sender);
            let Comparison { first: Some(first), wrong } = progress.comparison() else { continue };
            self.recorder.note(Observation::Transferred {
                connection: name.to_owned(),
                sender,
                bytes: progress.received_of_transfer(),
                integrity: Integrity::Corrupt { first, count: wrong },
                took: None,
            });
        }
    }

    /// Records what each direction came to. A call that failed before all bytes had arrived is the outcome; at the end of a
    /// stream, the other direction goes on. Of several calls that failed, one with the expected errno counts: what ends a
    /// connection fails the calls of both applications, with an errno each.
    fn note_deliveries(&self, name: &str, deliveries: Deliveries, error: Option<&str>) -> StepOutcome {
        let failures: Vec<CallEnd> =
            deliveries.iter().flatten().filter_map(|delivery| delivery.failure(error).cloned()).collect();
        let expected = failures.iter().find(|end| end.error() == error);
        let outcome = expected.or(failures.first()).cloned().map_or(StepOutcome::Done, StepOutcome::Application);
        for (sender, delivery) in [Side::Client, Side::Server].into_iter().zip(deliveries) {
            let Some(delivery) = delivery else { continue };
            self.recorder.note(Observation::Transferred {
                connection: name.to_owned(),
                sender,
                bytes: delivery.bytes,
                integrity: integrity(&delivery),
                took: delivery.took.map(nanos::of),
            });
        }
        outcome
    }

    pub(super) async fn write_bytes(&self, name: &str, by: Side, bytes: u64, deadline: Duration) -> StepOutcome {
        let Some(connection) = self.connections.get(name) else { return no_connection(name) };
        let made = timeout(deadline, connection.write_bytes(by, bytes)).await;
        self.note_calls(name, made.ok(), deadline)
    }

    /// How many bytes, and whether they are left in the socket.
    pub(super) async fn read_bytes(
        &self,
        name: &str,
        by: Side,
        (bytes, peek): (u64, bool),
        deadline: Duration,
    ) -> StepOutcome {
        let Some(connection) = self.connections.get(name) else { return no_connection(name) };
        let made = timeout(deadline, connection.read_bytes(by, bytes, peek)).await;
        self.note_calls(name, made.ok(), deadline)
    }

    /// Records what an application has read or written. `None`: not within the time.
    fn note_calls(&self, name: &str, made: Option<std::io::Result<Calls>>, deadline: Duration) -> StepOutcome {
        match made {
            None => self.stuck(name, deadline),
            Some(Err(error)) => failed(format!("`{name}`: {error}")),
            Some(Ok(calls)) => {
                let end = calls.end.clone().filter(|end| calls.asked > 0 || end.error().is_some());
                self.recorder.note(Observation::Calls(Box::new(calls)));
                end.map_or(StepOutcome::Done, StepOutcome::Application)
            }
        }
    }

    pub(super) async fn close(&mut self, name: &str, by: Side, how: CloseHow, deadline: Duration) -> StepOutcome {
        if how != CloseHow::HalfClose
            && let Err(message) = self.take_sockets(name, &Moment::BeforeClose)
        {
            return failed(message);
        }
        self.note_unaccepted(Some(name));
        let Some(connection) = self.connections.get_mut(name) else { return no_connection(name) };
        let disconnected = &mut self.disconnected;
        let closed = timeout(deadline, async {
            match how {
                CloseHow::Disconnect => connection.disconnect(by).await.map(|(cut_off, socket)| {
                    disconnected.extend(socket.filter(|_| by == Side::Client).map(|socket| (name.to_owned(), socket)));
                    cut_off
                }),
                CloseHow::Graceful => connection.close_gracefully(by).await.map(|()| None),
                CloseHow::Abrupt => connection.close_abruptly(by).await,
                CloseHow::HalfClose => connection.half_close(by).await.map(|()| None),
            }
        });
        match closed.await {
            Err(_) => StepOutcome::timed_out(
                vec![Awaited::EndOfStream { connection: name.to_owned() }],
                vec![Seen::Nothing],
                deadline,
            ),
            Ok(Ok(cut_off)) => {
                // That a transfer is cut off is what such a close is for.
                cut_off.map(|deliveries| self.note_deliveries(name, deliveries, None));
                StepOutcome::Done
            }
            Ok(Err(CloseError::Application(end))) => StepOutcome::Application(end),
            Ok(Err(CloseError::Closed)) => failed(format!("close `{name}`: it is already closed")),
        }
    }
}

/// Unread bytes in the socket of the reader.
fn waiting(connection: &LiveConnection, reader: Side) -> Option<Unread> {
    let unread = unread(connection.socket(reader)?).filter(|unread| unread.bytes > 0)?;
    Some(Unread { bytes: unread.bytes as u64, readable: unread.readable })
}

fn no_connection(name: &str) -> StepOutcome {
    failed(format!("there is no connection `{name}`"))
}

fn integrity(delivery: &Delivery) -> Integrity {
    match delivery.comparison.first {
        Some(first) => Integrity::Corrupt { first, count: delivery.comparison.wrong },
        None if delivery.bytes < delivery.expected => Integrity::Short { expected: delivery.expected },
        None => Integrity::Intact,
    }
}
