//! Waiting: for a condition with a deadline, or for a quiet period.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::executor::Executor;
use super::known::tokens_of;
use super::step::failed;
use crate::mptcp::{SubflowState, TCP_ESTABLISHED};
use crate::nanos;
use crate::processors;
use crate::recording::{CallEnd, Direction, Entry, Observation, Seen, Side, StepOutcome, SubflowSeen};
use crate::scenario::model::{Condition, QueueName, WirePattern};
use crate::sys::queue::{Queue, queued};
use crate::wire::MptcpOption;

/// Counters, sockets and endpoints don't announce that they changed: they are looked at whenever an event or a
/// segment was observed, and at least this often.
pub(super) const TICK: Duration = Duration::from_millis(2);

/// The longest that a quiet period is prolonged for the kernel's workers: they work for the whole machine.
const WORKERS: Duration = Duration::from_millis(500);

/// What can be waited for: the conditions of the language, and those that the engine itself needs.
#[derive(Debug)]
pub(super) enum Watch<'a> {
    /// Conditions of a wait step; all must hold.
    All(&'a [Condition]),
    /// Each address id of a REMOVE_ADDR that this namespace sent was processed by its peers.
    RemovalsProcessed {
        /// The namespace.
        sender: String,
    },
}

impl Executor<'_> {
    /// A wait step.
    pub(super) async fn wait(&mut self, conditions: &[Condition], deadline: Duration) -> StepOutcome {
        match self.wait_for(&Watch::All(conditions), deadline).await {
            Ok(()) => StepOutcome::Done,
            Err(seen) => self.ended_transfer(conditions).map_or_else(
                || {
                    let wanted = conditions.iter().map(crate::plan::awaited).collect();
                    StepOutcome::timed_out(wanted, seen, deadline)
                },
                StepOutcome::Application,
            ),
        }
    }

    /// Waits; when the deadline passes, says what was seen instead.
    pub(super) async fn wait_for(&mut self, watch: &Watch<'_>, deadline: Duration) -> Result<(), Vec<Seen>> {
        let deadline = Instant::now() + deadline;
        loop {
            self.observe_now();
            let unmet = self.unmet(watch).await.map_err(|text| vec![Seen::Words { text }])?;
            if unmet.is_empty() {
                return Ok(());
            }
            let in_vain = matches!(watch, Watch::All(conditions) if self.ended_transfer(conditions).is_some());
            if Instant::now() >= deadline || in_vain {
                return Err(unmet);
            }
            let next = deadline.min(Instant::now() + TICK);
            // Either something was observed, or it is time to look again.
            let _ = timeout_at(next, self.recorder.changed()).await;
        }
    }

    /// What ended a transfer in the background of which more bytes are waited for: they never come.
    fn ended_transfer(&self, conditions: &[Condition]) -> Option<CallEnd> {
        conditions.iter().find_map(|condition| {
            if let Condition::Transferred { connection, sender, bytes } = condition {
                let connection = self.connections.get(connection)?;
                connection.stopped().filter(|_| connection.progress(*sender).received_of_transfer() < *bytes)
            } else {
                None
            }
        })
    }

    /// The conditions that don't hold yet, each with what was seen instead.
    async fn unmet(&self, watch: &Watch<'_>) -> Result<Vec<Seen>, String> {
        let mut unmet = Vec::new();
        match watch {
            Watch::All(conditions) => {
                for condition in *conditions {
                    unmet.extend(self.look(condition).await?);
                }
            }
            Watch::RemovalsProcessed { sender } => {
                let (sent, processed) = (self.removals_sent(sender), self.removals_processed(sender)?);
                if processed < sent {
                    unmet.push(Seen::RemoveAddr { processed, sent });
                }
            }
        }
        Ok(unmet)
    }

    /// Empty if it holds; otherwise what was seen instead.
    async fn look(&self, condition: &Condition) -> Result<Vec<Seen>, String> {
        match condition {
            Condition::Event { namespace, pattern, count } => {
                let connection = pattern.connection().map(|connection| self.known.get(connection)).transpose()?;
                let tokens = connection.map(|connection| connection.map_or_else(Vec::new, |known| tokens_of(&known)));
                let is_it = |entry: &Entry| self.is_event(entry, namespace, pattern);
                let seen = self.recorder.count_events(tokens.as_deref(), is_it);
                let (namespace, count) = (namespace.clone(), *count);
                Ok(unless(seen >= count, || Seen::Events { namespace, count: seen }))
            }
            Condition::Counter { namespace, name, at_least } => {
                let moved = self.counter_moved(namespace, name)?;
                Ok(unless(moved >= *at_least, || Seen::Counter { moved }))
            }
            Condition::Subflows { connection, count } => self.look_at_subflow_count(connection, *count),
            Condition::Subflow { connection, side, pattern, present } => {
                let Some(subflows) = self.subflows_of(connection, *side)? else {
                    return Ok(vec![not_made(connection)]);
                };
                let found = subflows.iter().any(|subflow| pattern.matches(subflow.into()));
                Ok(unless(found == *present, || seen_subflows(*side, None, &subflows)))
            }
            Condition::Endpoint { namespace, address, flags, present } => {
                let dump = self.node(namespace)?.pm.dump_endpoints(None).await.map_err(|error| error.to_string())?;
                let found = dump.iter().any(|endpoint| {
                    endpoint.address.to_canonical() == address.to_canonical()
                        && flags.is_none_or(|flags| flags == endpoint.flags)
                });
                let namespace = namespace.clone();
                Ok(unless(found == *present, || Seen::Endpoints { namespace, endpoints: dump }))
            }
            Condition::Transferred { connection, sender, bytes } => {
                let connection =
                    self.connections.get(connection).ok_or_else(|| format!("there is no connection `{connection}`"))?;
                let received = connection.progress(*sender).received_of_transfer();
                Ok(unless(received >= *bytes, || Seen::Transferred { bytes: received }))
            }
            Condition::Queue { connection, side, queue, count } => {
                let live =
                    self.connections.get(connection).ok_or_else(|| format!("there is no connection `{connection}`"))?;
                let socket = live.socket(*side).ok_or_else(|| format!("`{connection}` is closed on this side"))?;
                let queue = match queue {
                    QueueName::Unread => Queue::Unread,
                    QueueName::Unacknowledged => Queue::Unacknowledged,
                    QueueName::Unsent => Queue::Unsent,
                };
                let now = queued(socket, queue).map_err(|error| format!("the queue of `{connection}`: {error}"))?;
                Ok(unless(count.contains(&now), || Seen::Queue { count: now }))
            }
            Condition::Sockets { namespace, word, count } => {
                let now = self.socket_counts(namespace)?.get(*word).copied().unwrap_or_default();
                Ok(unless(count.contains(&now), || Seen::Sockets { count: now }))
            }
            Condition::Rule { link, rule, matched } => {
                let hits = self.rule_hits(link, rule)?;
                Ok(unless(hits >= *matched, || Seen::Rule { matched: hits }))
            }
            Condition::Output { program, contains, count } => {
                let seen = self.recorder.with_entries(|entries| lines_count(entries, program, contains));
                Ok(unless(seen >= *count, || Seen::Output { count: seen }))
            }
            Condition::Wire { pattern, count } => {
                let seen = self.recorder.with_entries(|entries| wire_count(entries, pattern));
                let sender = pattern.sender.clone();
                Ok(unless(seen >= *count, || Seen::Segments { sender, count: seen }))
            }
        }
    }

    fn is_event(&self, entry: &Entry, wanted: &str, pattern: &crate::scenario::model::EventPattern) -> bool {
        let Observation::Event { namespace, event } = &entry.what else { return false };
        if namespace != wanted {
            return false;
        }
        let connection = event.token.and_then(|token| self.known.with_token(namespace, token));
        pattern.matches(event, connection.as_ref().map(|connection| connection.name.as_str()))
    }

    fn look_at_subflow_count(&self, connection: &str, count: usize) -> Result<Vec<Seen>, String> {
        let mut seen = Vec::new();
        for side in [Side::Client, Side::Server] {
            let Some(subflows) = self.subflows_of(connection, side)? else { return Ok(vec![not_made(connection)]) };
            let established = subflows.iter().filter(|subflow| subflow.tcp_state == TCP_ESTABLISHED).count();
            if established != count {
                seen.push(seen_subflows(side, Some(established), &subflows));
            }
        }
        Ok(seen)
    }

    /// Address ids of all REMOVE_ADDRs that this namespace sent.
    fn removals_sent(&self, sender: &str) -> u64 {
        self.recorder.with_entries(|entries| {
            entries
                .iter()
                .filter_map(|entry| {
                    pick!(&entry.what, Observation::Packet { namespace, direction: Direction::Out, segment, .. }
                        if namespace == sender => &segment.options)
                })
                .flatten()
                .filter_map(|option| pick!(option, MptcpOption::RemoveAddr { address_ids } => address_ids.len() as u64))
                .sum()
        })
    }

    /// Address ids that the peers' workers are done with (`mptcp_pm_rm_addr_or_subflow`, net/mptcp/pm.c).
    fn removals_processed(&self, sender: &str) -> Result<u64, String> {
        let mut sum = 0;
        for name in self.nodes.keys().filter(|name| *name != sender) {
            sum += self.counter_moved(name, "MPTcpExtRmAddr")?;
        }
        Ok(sum)
    }

    /// A quiet step: nothing may be observed for the period.
    pub(super) async fn quiet(&mut self, period: Duration, deadline: Duration) -> StepOutcome {
        match self.become_quiet(period, deadline).await {
            Ok(true) => StepOutcome::Done,
            Ok(false) => StepOutcome::not_quiet(self.last_seen(), deadline),
            Err(message) => failed(message),
        }
    }

    /// Waits until nothing was observed for the period; `false` when the deadline passes first.
    ///
    /// The period counts from the time stamp of the last segment or event, from the step's start at the earliest. What the
    /// kernel has left to a worker (`mptcp_worker`, net/mptcp/protocol.c) shall be done, too.
    pub(super) async fn become_quiet(&mut self, period: Duration, deadline: Duration) -> Result<bool, String> {
        let begin = nanos::now();
        let deadline = Instant::now() + deadline;
        let mut workers_until: Option<Instant> = None;
        loop {
            self.observe_now();
            let mut left = period.saturating_sub(self.quiet_for(begin));
            if left.is_zero() {
                let now = Instant::now();
                let enough = now >= deadline.min(*workers_until.get_or_insert(now + WORKERS));
                if enough || processors::workers_are_idle() {
                    // What a worker did at the last moment counts.
                    self.observe_now();
                    if self.quiet_for(begin) >= period {
                        return Ok(true);
                    }
                }
                left = TICK;
            }
            if self.paths.busy().is_some() {
                // What arrives may be nothing that is observed.
                left = left.min(TICK);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            let _ = timeout(left, self.recorder.changed()).await;
        }
    }

    /// What interrupts the quiet period.
    fn last_seen(&self) -> Option<Seen> {
        match self.paths.busy() {
            Some(link) => Some(Seen::InFlight { link: link.to_owned() }),
            None => self.recorder.with_entries(|entries| entries.iter().rev().find_map(|entry| observed(&entry.what))),
        }
    }

    /// How long nothing has been observed, from that time on. With packets in flight on a path, it isn't quiet.
    pub(super) fn quiet_for(&self, begin: u64) -> Duration {
        if self.paths.busy().is_some() {
            return Duration::ZERO;
        }
        Duration::from_nanos(nanos::now().saturating_sub(self.recorder.last_activity().max(begin)))
    }
}

fn wire_count(entries: &[Entry], pattern: &WirePattern) -> usize {
    let carries = |entry: &&Entry| {
        matches!(&entry.what, Observation::Packet { namespace, direction: Direction::Out, segment, .. }
            if *namespace == pattern.sender && pattern.matches(segment))
    };
    entries.iter().filter(carries).count()
}

/// How many lines with this text a program has written.
pub(super) fn lines_count(entries: &[Entry], wanted: &str, contains: &str) -> usize {
    let matches = |entry: &&Entry| {
        matches!(&entry.what, Observation::ProgramOutput { program, line, .. }
            if **program == *wanted && line.contains(contains))
    };
    entries.iter().filter(matches).count()
}

/// What was seen instead, unless it holds.
fn unless(holds: bool, seen: impl FnOnce() -> Seen) -> Vec<Seen> {
    if holds { Vec::new() } else { vec![seen()] }
}

fn not_made(connection: &str) -> Seen {
    Seen::NoConnection { connection: connection.to_owned() }
}

fn seen_subflows(side: Side, established: Option<usize>, subflows: &[SubflowState]) -> Seen {
    let one = |&SubflowState { local, remote, tcp_state, .. }: &SubflowState| SubflowSeen { local, remote, tcp_state };
    Seen::Subflows { side, established, subflows: subflows.iter().map(one).collect() }
}

/// If it is something that an observer saw.
fn observed(what: &Observation) -> Option<Seen> {
    if let Observation::Event { namespace, event } = what {
        Some(Seen::Event { namespace: namespace.clone(), kind: event.kind })
    } else if let Observation::Packet { namespace, segment, .. } = what {
        let (source, destination) = (segment.source, segment.destination);
        Some(Seen::Segment { namespace: namespace.to_string(), source, destination })
    } else {
        pick!(what, Observation::Path { link, sender, .. }
            => Seen::Path { link: link.to_string(), sender: sender.to_string() })
    }
}
