//! When an event happened, as far as that is known. Events carry no time: the runner knows when it has read them, and
//! which segment each of them follows.
//!
//! The kernel emits them in order, each namespace for itself. So an event stands behind the segment that caused it and
//! behind the events before it, and the time at which it was read is a bound.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use crate::mptcp::{EventKind, PmEvent};
use crate::recording::{Direction, Entry, Observation};
use crate::scenario::model::{Action, Scenario};
use crate::text;
use crate::wire::{MptcpOption, Segment, TcpFlags};

/// Where an event stands among segments: their time, and whether it comes before or behind those of that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) at: u64,
    pub(super) rank: Rank,
}

/// The order of what has the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Before,
    /// Segments, and what the runner did.
    Between,
    Behind,
}

impl Moment {
    fn read(at: u64) -> Self {
        Self { at, rank: Rank::Behind }
    }
}

/// The moments of all events, by the index of their entry.
pub(super) fn moments(scenario: &Scenario, entries: &[Entry]) -> HashMap<usize, Moment> {
    let captures = Captures::of(scenario, entries);
    let mut events: HashMap<&str, Vec<Read>> = HashMap::new();
    let mut causes = Causes { captures: &captures, before: HashMap::new(), flows: HashMap::new() };
    for (index, entry) in entries.iter().enumerate() {
        if let Observation::Event { namespace, event } = &entry.what {
            let cause = causes.find(namespace, event, entry.at).map(|cause| cause.min(Moment::read(entry.at)));
            events.entry(namespace).or_default().push((index, entry.at, cause));
        }
    }
    events.into_values().flat_map(in_order).collect()
}

/// An event: the index of its entry, when it was read, and its cause.
type Read = (usize, u64, Option<Moment>);

/// The events of one namespace: none before its cause, nor before one that the kernel emitted earlier. One without a
/// known cause stands as late as it can.
fn in_order(events: Vec<Read>) -> Vec<(usize, Moment)> {
    let mut latest_cause = None;
    let forward: Vec<_> = events
        .into_iter()
        .map(|(index, read, cause)| {
            latest_cause = latest_cause.max(cause);
            (index, read, cause.and(latest_cause))
        })
        .collect();
    let mut next = Moment::read(u64::MAX);
    let mut placed: Vec<_> = forward
        .into_iter()
        .rev()
        .map(|(index, read, cause)| {
            next = cause.unwrap_or(Moment::read(read)).min(next);
            (index, next)
        })
        .collect();
    placed.reverse();
    placed
}

/// A flow as one namespace sees it: local, remote.
type Flow = (SocketAddr, SocketAddr);

/// A segment, when it was captured, and which way it went.
type Captured<'a> = (u64, Direction, &'a Segment);

/// ADD_ADDRs and REMOVE_ADDRs that arrived, by the flow that they came on, with their times.
type Arrivals<'a> = HashMap<Flow, Vec<(u64, &'a MptcpOption)>>;

/// What each namespace has sent and received.
#[derive(Default)]
struct Captures<'a> {
    flows: HashMap<(&'a str, Flow), Vec<Captured<'a>>>,
    /// ADD_ADDRs, REMOVE_ADDRs that arrived.
    addresses: HashMap<&'a str, Arrivals<'a>>,
    /// The first SYNs that a listener of the namespace had to be there for: to where, and when.
    syns: HashMap<&'a str, Vec<(SocketAddr, u64)>>,
}

impl<'a> Captures<'a> {
    fn of(scenario: &'a Scenario, entries: &'a [Entry]) -> Self {
        let mut captures = Self::default();
        let mut syns: HashMap<Flow, u64> = HashMap::new();
        // Where a step listens, before it connects.
        let mut listens: Option<(&'a str, SocketAddr)> = None;
        for entry in entries {
            if let Observation::StepStarted { step, .. } = &entry.what {
                listens = match scenario.steps.get(*step).map(|step| &step.action) {
                    Some(Action::Connect(plan)) => {
                        plan.implicit_listener.as_ref().map(|listener| (listener.namespace.as_str(), plan.address))
                    }
                    _ => None,
                };
            }
            let Observation::Packet { namespace, direction, segment, .. } = &entry.what else { continue };
            let (source, destination) = (text::socket(segment.source), text::socket(segment.destination));
            let opens = segment.flags.contains(TcpFlags::SYN);
            let flow = match direction {
                Direction::Out => (source, destination),
                Direction::In => (destination, source),
            };
            let of_flow = captures.flows.entry((namespace, flow)).or_default();
            if may_cause(of_flow, *direction, segment) {
                of_flow.push((entry.at, *direction, segment));
            }
            match direction {
                Direction::In => {
                    let about_addresses = |option: &&MptcpOption| {
                        matches!(option, MptcpOption::AddAddr { echo: false, .. } | MptcpOption::RemoveAddr { .. })
                    };
                    for option in segment.options.iter().filter(about_addresses) {
                        let flows = captures.addresses.entry(namespace).or_default();
                        flows.entry(flow).or_default().push((entry.at, option));
                    }
                }
                Direction::Out if opens && segment.flags.contains(TcpFlags::ACK) => {
                    let syn = syns.get(&(destination, source)).copied().unwrap_or(entry.at);
                    captures.syns.entry(namespace).or_default().push((source, syn));
                }
                Direction::Out if opens => {
                    if let Some((server, _)) = listens.filter(|(_, address)| text::socket(*address) == destination) {
                        captures.syns.entry(server).or_default().push((destination, entry.at));
                    }
                    // The first of several: none of them was answered before.
                    syns.entry(flow).or_insert(entry.at);
                }
                Direction::Out => {}
            }
        }
        captures
    }
}

/// Whether an event may follow this segment, of a flow with these before it: of those that only carry or acknowledge data,
/// the first that arrives, and the first that establishes the connection. Transfers have hundreds of thousands of others.
fn may_cause(before: &[Captured<'_>], direction: Direction, segment: &Segment) -> bool {
    let is_plain = |segment: &Segment| {
        let by_option = |option: &MptcpOption| matches!(option, MptcpOption::MpPrio { .. });
        !segment.flags.contains(TcpFlags::SYN) && !segment.options.iter().any(by_option)
    };
    if !is_plain(segment) {
        return true;
    }
    let plain = || before.iter().filter(|(_, _, other)| is_plain(other)).map(|(_, _, other)| other);
    let acknowledges = |segment: &Segment| segment.flags.contains(TcpFlags::ACK);
    let is_new = |is_it: &dyn Fn(&Segment) -> bool| is_it(segment) && !plain().any(|other| is_it(other));
    direction == Direction::In && (is_new(&acknowledges) || is_new(&|segment| segment.options.iter().any(establishes)))
}

/// Events of one kind about one thing: namespace, token, subflow or else address id.
type Alike<'a> = (&'a str, EventKind, Option<u32>, Option<Flow>, Option<u8>);

/// Finds the segments that events follow.
struct Causes<'a, 'e> {
    captures: &'a Captures<'e>,
    /// Number of similar events before.
    before: HashMap<Alike<'e>, usize>,
    /// The subflows of a token, as far as events show them.
    flows: HashMap<(&'e str, u32), Vec<Flow>>,
}

impl<'e> Causes<'_, 'e> {
    fn find(&mut self, namespace: &'e str, event: &'e PmEvent, read: u64) -> Option<Moment> {
        if event.kind == EventKind::ListenerCreated {
            return self.listener(namespace, event, read);
        }
        let flow = flow_of(event);
        if let (Some(token), Some(flow)) = (event.token, flow) {
            self.flows.entry((namespace, token)).or_default().push(flow);
        }
        let alike = (namespace, event.kind, event.token, flow, event.remote_id.filter(|_| flow.is_none()));
        let nth = self.before.entry(alike).or_default();
        *nth += 1;
        let nth = *nth;
        let at = match event.kind {
            EventKind::Announced | EventKind::Removed => self.about_address(namespace, event, nth),
            _ => self.on_flow(namespace, event.kind, flow?, nth),
        };
        at.filter(|at| *at <= read).map(|at| Moment { at, rank: Rank::Behind })
    }

    /// The runner listens before it connects: the listener was there before the first SYN that was sent to it by such a
    /// step, or that it answered.
    fn listener(&self, namespace: &str, event: &PmEvent, read: u64) -> Option<Moment> {
        let (address, port) = (event.local?, event.local_port?);
        let any = address.to_canonical().is_unspecified();
        let syns = self.captures.syns.get(namespace)?.iter();
        let mut own = syns.filter(|(to, _)| to.port() == port && (any || to.ip() == address.to_canonical()));
        own.next().filter(|(_, syn)| *syn <= read).map(|(_, syn)| Moment { at: *syn, rank: Rank::Before })
    }

    /// `mptcp_pm_add_addr_received` and `mptcp_pm_rm_addr_received` (net/mptcp/pm.c) tell each one that arrives: the n-th
    /// event does not come before the n-th arrival.
    fn about_address(&self, namespace: &'e str, event: &PmEvent, nth: usize) -> Option<u64> {
        let known = self.flows.get(&(namespace, event.token?));
        let id = event.remote_id?;
        let is_it = |option: &MptcpOption| match option {
            MptcpOption::AddAddr { address_id, body, .. } => {
                let same = |remote: IpAddr| remote.to_canonical() == body.address.to_canonical();
                event.kind == EventKind::Announced && *address_id == id && event.remote.is_none_or(same)
            }
            MptcpOption::RemoveAddr { address_ids } => event.kind == EventKind::Removed && address_ids.contains(&id),
            _ => false,
        };
        let flows = self.captures.addresses.get(namespace)?;
        let arrivals: Vec<_> = match known {
            Some(known) => {
                let known: HashSet<&Flow> = known.iter().collect();
                known.into_iter().filter_map(|flow| flows.get(flow)).flatten().collect()
            }
            None => flows.values().flatten().collect(),
        };
        let mut own: Vec<u64> = arrivals.into_iter().filter(|(_, option)| is_it(option)).map(|(at, _)| *at).collect();
        own.sort_unstable();
        own.get(nth - 1).copied()
    }

    /// Who opens a subflow knows of it by the SYN/ACK (`subflow_finish_connect`, net/mptcp/subflow.c), the other side by
    /// what comes next (`subflow_syn_recv_sock`). Who opened a connection has it established by the first data
    /// acknowledgment or ADD_ADDR behind it (`check_fully_established`, net/mptcp/options.c).
    fn on_flow(&self, namespace: &'e str, kind: EventKind, flow: Flow, nth: usize) -> Option<u64> {
        let segments = self.captures.flows.get(&(namespace, flow))?;
        let opens = |segment: &Segment| segment.flags.contains(TcpFlags::SYN);
        let answers = |segment: &Segment| segment.flags.contains(TcpFlags::SYN | TcpFlags::ACK);
        let opened = segments
            .iter()
            .any(|(_, direction, segment)| *direction == Direction::Out && opens(segment) && !answers(segment));
        let arrived = segments.iter().filter(|(_, direction, _)| *direction == Direction::In);
        let mut matching = arrived.filter(|(_, _, segment)| match (kind, opened) {
            (EventKind::SubPriority, _) => segment.options.iter().any(|o| matches!(o, MptcpOption::MpPrio { .. })),
            (EventKind::Established, true) => !opens(segment) && segment.options.iter().any(establishes),
            (EventKind::Created | EventKind::SubEstablished, true) => answers(segment),
            (EventKind::Created | EventKind::SubEstablished | EventKind::Established, false) => {
                !opens(segment) && segment.flags.contains(TcpFlags::ACK)
            }
            _ => false,
        });
        // Addresses and ports that are used again: which SYN/ACK it was isn't known, but it was none before.
        let nth = if kind == EventKind::SubPriority { nth - 1 } else { 0 };
        matching.nth(nth).map(|(at, ..)| *at)
    }
}

fn establishes(option: &MptcpOption) -> bool {
    matches!(option, MptcpOption::Dss { data_ack: Some(_), .. } | MptcpOption::AddAddr { echo: false, .. })
}

/// The subflow that an event is about.
fn flow_of(event: &PmEvent) -> Option<Flow> {
    let local = SocketAddr::new(event.local?.to_canonical(), event.local_port?);
    let remote = SocketAddr::new(event.remote?.to_canonical(), event.remote_port.filter(|port| *port != 0)?);
    Some((local, remote))
}
