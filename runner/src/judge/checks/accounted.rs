//! No MPTCP counter increases unnoticed: in each run, each increase is accounted for.
//!
//! A counter is accounted for if the scenario mentions it, if the snapshot shows it, or if it counts what was seen on
//! the wire. What is left are the counters that depend on timing: they may move, but within what the recording allows.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::judge::canonical::{is_shown, is_timing};
use crate::judge::names::{Names, side_namespace};
use crate::judge::verdict::range_value;
use crate::judge::{Finding, FindingKind};
use crate::recording::{Direction, Moment, Observation, Side};
use crate::scenario::model::{Action, CounterExpectation, Expectation, FilterHook, Operation};
use crate::wire::{MptcpOption, Segment};

use super::counters::{is_gauge, moved};
use super::either;
use super::scope::Scope;

/// Counters that increased without being accounted for.
pub(super) fn check(scope: &Scope<'_, '_>) -> Vec<Finding> {
    let said = either::all_said(scope.names);
    let namespaces = scope.names.scenario().world.namespaces.iter();
    namespaces.flat_map(|namespace| of_namespace(scope, &said, &namespace.name)).collect()
}

fn of_namespace(scope: &Scope<'_, '_>, said: &[&Expectation], namespace: &str) -> Vec<Finding> {
    let Some(end) = scope.names.recording().counters(namespace, &scope.moment) else { return Vec::new() };
    // An expectation on counters that were not taken has a finding of its own.
    let Some(start) = scope.names.recording().counters(namespace, &Moment::Start) else { return Vec::new() };
    let seen = Seen::of(scope, namespace);
    let mut findings = Vec::new();
    for name in end.keys().filter(|name| name.starts_with("MPTcpExt")) {
        let Ok(value) = moved(scope, namespace, name) else { continue };
        // A gauge has moved if it doesn't end as it began.
        let began = start.get(name).copied().unwrap_or(0);
        let value = if is_gauge(name) { value.abs_diff(began) } else { value };
        if value == 0 || mentioned(said, namespace, name) || is_shown(scope.names, name) {
            continue;
        }
        let bound = seen.bound(scope, namespace, name);
        if value > bound.most || value < bound.least {
            let summary = format!("counter {name} of {namespace} increased by {value}, but {}", bound.why);
            let allowed = range_value(&(bound.least..=bound.most));
            findings.push(Finding::new(FindingKind::Counter, summary).at(scope.at()).valued(allowed, value));
        }
    }
    findings
}

/// Something is said about the counter: at the end, or in a check step.
fn mentioned(said: &[&Expectation], namespace: &str, name: &str) -> bool {
    let says = |counter: &CounterExpectation| {
        (counter.name == name || counter.less.as_deref() == Some(name))
            && counter.namespaces.iter().any(|of| of == namespace)
    };
    said.iter().any(|expectation| expectation.counters.iter().any(says))
}

/// What a counter may have moved by.
struct Bound {
    least: u64,
    most: u64,
    why: &'static str,
}

impl Bound {
    fn at_most(most: u64, why: &'static str) -> Self {
        Self { least: 0, most, why }
    }
}

/// What a namespace sent and received.
#[derive(Default)]
struct Seen {
    add_addr_sent: u64,
    echo_sent: u64,
    /// Address ids, not options.
    removed_ids_sent: u64,
    add_addr_received: u64,
    remove_addr_received: u64,
    /// The ends of the subflows that it opened, and the sequence numbers of their SYNs: one may have the ports of an
    /// earlier one.
    joins_sent: BTreeSet<(SocketAddr, SocketAddr, u32)>,
    /// Any namespace opened an additional subflow.
    has_joins: bool,
    /// A filter drops outgoing segments: they were sent, but not captured.
    filters_output: bool,
}

impl Seen {
    fn of(scope: &Scope<'_, '_>, namespace: &str) -> Self {
        let steps = &scope.names.scenario().steps;
        let filters_output = steps.iter().any(|step| {
            matches!(&step.action, Action::Do(Operation::AddFilter(filter))
                if filter.namespace == namespace && filter.hook == FilterHook::Output)
        });
        let mut seen = Self { filters_output, ..Self::default() };
        for entry in &scope.names.recording().entries {
            let Observation::Packet { namespace: of, direction, segment, .. } = &entry.what else { continue };
            for option in &segment.options {
                seen.has_joins |= matches!(option, MptcpOption::MpJoinSyn { .. });
                if of == namespace {
                    seen.count(*direction, option, segment);
                }
            }
        }
        seen
    }

    fn count(&mut self, direction: Direction, option: &MptcpOption, segment: &Segment) {
        match (direction, option) {
            (Direction::Out, MptcpOption::AddAddr { echo: false, .. }) => self.add_addr_sent += 1,
            (Direction::Out, MptcpOption::AddAddr { echo: true, .. }) => self.echo_sent += 1,
            (Direction::Out, MptcpOption::RemoveAddr { address_ids }) => {
                self.removed_ids_sent += address_ids.len() as u64;
            }
            (Direction::Out, MptcpOption::MpJoinSyn { .. }) => {
                self.joins_sent.insert((segment.source, segment.destination, segment.sequence));
            }
            (Direction::In, MptcpOption::AddAddr { .. }) => self.add_addr_received += 1,
            (Direction::In, MptcpOption::RemoveAddr { .. }) => self.remove_addr_received += 1,
            _ => {}
        }
    }

    /// By how much a counter that the scenario doesn't mention may have increased.
    fn bound(&self, scope: &Scope<'_, '_>, namespace: &str, name: &str) -> Bound {
        match name {
            "MPTcpExtAddAddrTx" => self.sent(self.add_addr_sent),
            "MPTcpExtEchoAddTx" => self.sent(self.echo_sent),
            "MPTcpExtRmAddrTx" => self.sent(self.removed_ids_sent),
            "MPTcpExtMPJoinSynTx" => self.sent(self.joins_sent.len() as u64),
            "MPTcpExtAddAddrDrop" => Bound::at_most(self.add_addr_received, "fewer ADD_ADDRs arrived"),
            "MPTcpExtRmAddrDrop" => Bound::at_most(self.remove_addr_received, "fewer REMOVE_ADDRs arrived"),
            // A single subflow delivers in order.
            "MPTcpExtOFOMerge" | "MPTcpExtOFOQueue" | "MPTcpExtOFOQueueTail" | "MPTcpExtNoDSSInWindow"
                if !self.has_joins =>
            {
                Bound::at_most(0, "no connection had an additional subflow")
            }
            "MPTcpExtSubflowStale" if !self.has_joins => Bound::at_most(0, "no connection had an additional subflow"),
            "MPTcpExtSubflowRecover" => {
                let stale = moved(scope, namespace, "MPTcpExtSubflowStale").unwrap_or(0);
                Bound::at_most(stale, "fewer subflows became stale")
            }
            "MPTcpExtMPCurrEstab" => match left_open(scope.names, namespace) {
                0 => Bound::at_most(0, "no connection was left open"),
                open => Bound::at_most(open, "fewer connections were left open"),
            },
            _ if is_timing(name) => Bound::at_most(u64::MAX, "any number is possible"),
            _ => Bound::at_most(0, "the scenario does not expect that: list it in `counters:`"),
        }
    }

    /// A counter of what was sent is as high as what was seen of it.
    fn sent(&self, seen: u64) -> Bound {
        let most = if self.filters_output { u64::MAX } else { seen };
        Bound { least: seen, most, why: "the captures saw a different number" }
    }
}

/// How many sides of connections a namespace has that may be established at the end. A side that stops sending leaves
/// ESTABLISHED or CLOSE_WAIT at once, and with them the gauge; after a half close, its peer stays in CLOSE_WAIT
/// (`mptcp_close_state`, `mptcp_check_data_fin`, `mptcp_set_state`, net/mptcp/protocol.c).
fn left_open(names: &Names<'_>, namespace: &str) -> u64 {
    let open_on = |side: Side| {
        let steps = names.scenario().steps.iter();
        let stopped: BTreeSet<&str> = steps.filter_map(|step| step.action.stops_sending(side)).collect();
        let connections = names.recording().connections();
        let here = connections.filter(|connection| side_namespace(connection, side) == namespace);
        here.filter(|connection| !stopped.contains(connection.name.as_str())).count() as u64
    };
    open_on(Side::Client).saturating_add(open_on(Side::Server))
}
