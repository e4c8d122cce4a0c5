//! A recording as the two hosts of each connection saw it. Main types: [`View`] and [`Half`].
//!
//! What a host sent is what its own captures saw leaving, and what it received is what they saw arriving: what a path
//! did in between makes no difference to the question whether the host followed the rules.

mod closing;
mod configuration;
mod flows;
mod host;
mod life;
mod signals;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::mptcp::{Endpoint, PmEvent};
use crate::recording::{Connection, Direction, Entry, LostWhat, Observation, PathEffect, Recording, Side, StepOutcome};
use crate::scenario::model::{Action, Scenario};
use crate::wire::Segment;

pub(super) use configuration::{EndpointPeriod, LimitsPeriod, Span};
pub(super) use host::{Configurer, Host};
pub(super) use signals::{Announced, Course, Said, Signal, Signals};

/// The kernel does nothing so late that waits for no timer, in nanoseconds.
const LONG_ENOUGH: u64 = 500_000_000;

/// So long, in nanoseconds, something that the kernel has decided may take until it is sent.
const CROSSING: u64 = 100_000_000;
pub(super) use life::{Life, Mark};

/// A recording, by connections and hosts.
pub(super) struct View<'a> {
    /// The scenario.
    pub(super) scenario: &'a Scenario,
    /// The recording.
    pub(super) recording: &'a Recording,
    /// Each namespace with what was configured in it, and when.
    pub(super) hosts: BTreeMap<&'a str, Host<'a>>,
    /// The connections, in the order of their connect steps.
    pub(super) connections: Vec<Conversation<'a>>,
    /// The end of each quiet period that was reached: the times at which it began and ended.
    quiet: Vec<Span>,
    /// The namespaces of which segments are missing in the recording.
    incomplete: BTreeSet<&'a str>,
    /// The sum of all stalls, in nanoseconds.
    stalled: u64,
    /// Packets or events were lost on the way into the recording.
    pub(super) has_gaps: bool,
    /// The run ended; otherwise the recording was cut off.
    pub(super) has_ended: bool,
    /// The dumps of endpoints: when, of which namespace.
    pub(super) dumps: Vec<(u64, &'a str, &'a [Endpoint])>,
}

/// One connection, as both sides saw it.
pub(super) struct Conversation<'a> {
    /// The client's side.
    pub(super) client: Half<'a>,
    /// The server's side.
    pub(super) server: Half<'a>,
}

/// One side of a connection: what its host sent and received.
pub(super) struct Half<'a> {
    /// The name of the connection.
    pub(super) name: &'a str,
    /// Which side.
    pub(super) side: Side,
    /// The namespace.
    pub(super) namespace: &'a str,
    /// What the connect step knew.
    pub(super) connection: &'a Connection,
    /// This side's token, as its socket says or as its key gives it.
    pub(super) token: Option<u32>,
    /// This side's key, as it sent it.
    pub(super) own_key: Option<u64>,
    /// The other side's key, as it was received.
    pub(super) peer_key: Option<u64>,
    /// The subflows that this host saw, in the order of their first segments. The initial one is the first, if it was
    /// captured.
    pub(super) flows: Vec<Flow>,
    /// What became of each of them, in the same order.
    pub(super) lives: Vec<Life>,
    /// The segments with ADD_ADDR, REMOVE_ADDR, MP_PRIO, MP_FAIL, MP_FASTCLOSE or the infinite mapping.
    pub(super) controls: Vec<Seen>,
    /// The segments of all of them, in the order of the recording.
    pub(super) seen: Vec<Seen>,
    /// This side's events of the connection, with their entries.
    pub(super) events: Vec<(usize, &'a PmEvent)>,
    /// When the application began to close the connection, on either side.
    pub(super) closing_at: Option<u64>,
    /// What was sent and received about addresses and priorities.
    pub(super) signals: Signals,
}

/// A subflow, as one host saw it.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    /// This host's end.
    pub(super) local: SocketAddr,
    /// The other end, as this host sees it.
    pub(super) remote: SocketAddr,
    /// This host sent the SYN.
    pub(super) is_opener: bool,
    /// The initial subflow.
    pub(super) is_initial: bool,
}

/// A segment, as one host saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// The index of its entry.
    entry: u32,
    /// The index of its subflow in [`Half::flows`].
    flow: u32,
}

/// A segment with what the recording says about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed<'a> {
    /// The index of its entry.
    pub(super) entry: usize,
    /// The index of its subflow in [`Half::flows`].
    pub(super) flow: usize,
    /// When it was captured, in nanoseconds since the start of the run.
    pub(super) at: u64,
    /// The device.
    pub(super) device: &'a str,
    /// Whether this host sent or received it.
    pub(super) direction: Direction,
    /// The segment.
    pub(super) segment: &'a Segment,
}

impl<'a> View<'a> {
    /// Sorts a recording.
    pub(super) fn new(scenario: &'a Scenario, recording: &'a Recording) -> Self {
        let hosts = host::all(scenario, recording);
        let mut connections = flows::connections(recording);
        let closings = closing::closings(scenario, recording, &connections);
        for conversation in &mut connections {
            let closing = closings.get(conversation.client.name).copied().unwrap_or_default();
            for half in [&mut conversation.client, &mut conversation.server] {
                half.closing_at = closing.step;
                half.signals = signals::of(half, hosts.get(half.namespace), recording, closing.over_at());
            }
        }
        flows::add_events(&mut connections, recording);
        life::fill(&mut connections, recording);
        let has_gaps = recording.entries.iter().any(|entry| matches!(entry.what, Observation::Lost { .. }));
        let has_ended = recording.entries.iter().rev().any(|entry| matches!(entry.what, Observation::Ended));
        let (quiet, stalled) = (quiet(scenario, recording), stalled(recording));
        let (incomplete, dumps) = (incomplete(recording), dumps(recording));
        Self { scenario, recording, hosts, connections, quiet, incomplete, stalled, has_gaps, has_ended, dumps }
    }

    /// Both sides of all connections.
    pub(super) fn halves(&self) -> impl Iterator<Item = &Half<'a>> {
        self.connections.iter().flat_map(|conversation| [&conversation.client, &conversation.server])
    }

    /// The host of a side.
    pub(super) fn host(&self, half: &Half<'a>) -> Option<&Host<'a>> {
        self.hosts.get(half.namespace)
    }

    /// Whether each segment of this side is in the recording, from the first to the last one that is there, and there
    /// are no more subflows and signals than a kernel's connection has.
    pub(super) fn is_complete(&self, half: &Half<'a>) -> bool {
        !self.incomplete.contains(half.namespace) && half.is_plausible()
    }

    /// A segment with what the recording says about it.
    pub(super) fn passed(&self, seen: Seen) -> Option<Passed<'a>> {
        let entry: &Entry = self.recording.entries.get(seen.entry as usize)?;
        pick!(&entry.what, Observation::Packet { device, direction, segment, .. } => Passed {
            entry: seen.entry as usize,
            flow: seen.flow as usize,
            at: entry.at,
            device: device.as_str(),
            direction: *direction,
            segment,
        })
    }

    /// The segment of an entry, and the device that it crossed.
    pub(super) fn packet(&self, entry: usize) -> Option<(&'a str, &'a Segment)> {
        let entry: &Entry = self.recording.entries.get(entry)?;
        pick!(&entry.what, Observation::Packet { device, segment, .. } => (device.as_str(), segment))
    }

    /// What kept a segment from leaving a path, in words.
    pub(super) fn withheld(&self, wanted: &Segment) -> Option<String> {
        let parts = |segment: &Segment| (segment.source, segment.destination, segment.sequence, segment.flags);
        self.recording.entries.iter().find_map(|entry| {
            let Observation::Path { link, what, segment: Some(segment), .. } = &entry.what else { return None };
            if parts(segment) != parts(wanted) || segment.options != wanted.options {
                return None;
            }
            match what {
                PathEffect::Lost => Some(format!("the path {link} lost it")),
                PathEffect::QueueFull => Some(format!("the queue of the path {link} was full")),
                PathEffect::TooBig => Some(format!("it is larger than the MTU of the path {link}")),
                PathEffect::Rule { rule, action, .. } if matches!(action.as_str(), "drop" | "hold" | "strip") => {
                    Some(format!("the rule `{rule}` of the path {link} applies to it: {action}"))
                }
                PathEffect::Reordered | PathEffect::Duplicated | PathEffect::Rule { .. } => None,
            }
        })
    }

    /// The segments of one side, in their order.
    pub(super) fn segments(&self, half: &Half<'a>) -> impl Iterator<Item = Passed<'a>> {
        half.seen.iter().filter_map(|seen| self.passed(*seen))
    }

    /// The end of the first quiet period that began at this time or later: what the kernel had to do until then, it has
    /// done, unless it waits for a timer or for something that was lost.
    pub(super) fn quiet_after(&self, at: u64) -> Option<u64> {
        self.quiet.iter().find(|span| span.started >= at).map(|span| span.finished)
    }

    /// A time at which the kernel has surely done what it had to do at `at`, if the connection lives so long: the end of a
    /// quiet period, or long enough afterwards. Stalls make it longer. `None`: the recording doesn't reach so far.
    pub(super) fn settled_after(&self, half: &Half<'_>, at: u64) -> Option<u64> {
        let late = self.until_settled(at);
        let first = self.quiet_after(at).map_or(late, |quiet| quiet.min(late));
        (first <= self.end() && first < half.signals.over_at).then_some(first)
    }

    /// The sum of all stalls, in nanoseconds.
    pub(super) fn stalled(&self) -> u64 {
        self.stalled
    }

    /// The time of the last entry.
    pub(super) fn end(&self) -> u64 {
        self.recording.entries.last().map_or(0, |entry| entry.at)
    }

    /// When the kernel has surely done what it had to do at `at`.
    pub(super) fn until_settled(&self, at: u64) -> u64 {
        at.saturating_add(LONG_ENOUGH).saturating_add(self.stalled)
    }

    /// How long after `at` something may still be the consequence of what happened then.
    pub(super) fn until_late(&self, at: u64) -> u64 {
        at.saturating_add(CROSSING).saturating_add(self.stalled)
    }
}

/// More subflows or signals than a connection has of which people want to know: rules compare them with one another, so
/// that nothing is decided about the connections of a recording that somebody made up.
const IMPLAUSIBLE: usize = 2000;

impl Half<'_> {
    /// Whether its size is that of a real connection.
    pub(super) fn is_plausible(&self) -> bool {
        self.flows.len() < IMPLAUSIBLE && self.controls.len() < IMPLAUSIBLE && self.events.len() < IMPLAUSIBLE
    }

    /// The initial subflow, as this host saw it.
    pub(super) fn initial(&self) -> Option<&Flow> {
        self.flows.first().filter(|flow| flow.is_initial)
    }
}

/// How long everything in the run was late, added up.
fn stalled(recording: &Recording) -> u64 {
    let lasted = |entry: &Entry| pick!(entry.what, Observation::Stalled { lasted, .. } => lasted);
    recording.entries.iter().filter_map(lasted).fold(0, u64::saturating_add)
}

/// The namespaces of which segments are missing. Without room nothing more was recorded: what is there is complete.
fn incomplete(recording: &Recording) -> BTreeSet<&str> {
    let lost = recording.entries.iter().filter_map(
        |entry| pick!(&entry.what, Observation::Lost { namespace, what: LostWhat::Packets, .. } => namespace.as_str()),
    );
    lost.collect()
}

/// The quiet periods that were reached.
fn quiet(scenario: &Scenario, recording: &Recording) -> Vec<Span> {
    let mut started = None;
    let mut periods = Vec::new();
    for entry in &recording.entries {
        if let Observation::StepStarted { .. } = entry.what {
            started = Some(entry.at);
        }
        let Observation::StepFinished { step, outcome: StepOutcome::Done } = &entry.what else { continue };
        let action = scenario.steps.get(*step).map(|step| &step.action);
        if let (Some(Action::Quiet { .. }), Some(started)) = (action, started.take()) {
            periods.push(Span { started, finished: entry.at });
        }
    }
    periods
}

/// The dumps of endpoints, in their order.
fn dumps(recording: &Recording) -> Vec<(u64, &str, &[Endpoint])> {
    let dumps = recording.entries.iter().filter_map(|entry| {
        pick!(&entry.what, Observation::Endpoints { namespace, endpoints, .. }
            => (entry.at, namespace.as_str(), endpoints.as_slice()))
    });
    dumps.collect()
}
