//! Counters: those of the namespaces, and the bytes that links carried.

use std::collections::{BTreeMap, BTreeSet};

use crate::judge::canonical::is_timing;
use crate::judge::retransmitted::Retransmitted;
use crate::judge::verdict::range_value;
use crate::judge::{Finding, FindingKind, render, time_line};
use crate::recording::{Moment, Observation};
use crate::scenario::model::{BytesExpectation, CounterExpectation, Expectation, Feature, Place};

use super::scope::Scope;

/// Counters that also decrease: their value is compared, not their increase.
const GAUGES: [&str; 2] = ["MPTcpExtMPCurrEstab", "TcpCurrEstab"];

/// Counters added after Linux 6.1, in mainline or by a distribution. A kernel without one can't show what it counts, so
/// nothing is expected of it there, unless the scenario requires the counter. Any other name that the kernel doesn't have
/// is a mistake.
const LATER: [&str; 21] = [
    "MPTcpExtAddAddrTx",
    "MPTcpExtAddAddrTxDrop",
    "MPTcpExtBlackhole",
    "MPTcpExtDssFallback",
    "MPTcpExtEchoAddTx",
    "MPTcpExtEchoAddTxDrop",
    "MPTcpExtFallbackFailed",
    "MPTcpExtMD5SigFallback",
    "MPTcpExtMPCapableDataFallback",
    "MPTcpExtMPCapableSYNTXDisabled",
    "MPTcpExtMPCapableSYNTXDrop",
    "MPTcpExtMPCurrEstab",
    "MPTcpExtMPJoinRejected",
    "MPTcpExtMPJoinSynTx",
    "MPTcpExtMPJoinSynTxBindErr",
    "MPTcpExtMPJoinSynTxConnectErr",
    "MPTcpExtMPJoinSynTxCreatSkErr",
    "MPTcpExtRmAddrTx",
    "MPTcpExtRmAddrTxDrop",
    "MPTcpExtSimultConnectFallback",
    "MPTcpExtWinProbe",
];

/// Whether a counter is a gauge.
pub(in crate::judge) fn is_gauge(name: &str) -> bool {
    GAUGES.contains(&name)
}

/// Why the increase of a counter is unknown.
pub(super) enum Unknown {
    /// The counters of that namespace were not taken.
    NotTaken(String),
    /// This kernel has no such counter.
    NoSuch(String),
    /// It decreased.
    Backwards(String, u64, u64),
}

/// What is wrong with the counters. `listed`: the expectations that say which counters may move beside `others: 0`.
pub(super) fn check(scope: &Scope<'_, '_>, expectation: &Expectation, listed: &[&Expectation]) -> Vec<Finding> {
    let expected = expectation.counters.iter().filter_map(|expected| counter(scope, expected));
    let others = expectation.other_counters_zero.iter();
    let others = others.filter_map(|(namespace, place)| other_counters(scope, listed, namespace, *place));
    expected.chain(others).collect()
}

fn counter(scope: &Scope<'_, '_>, expected: &CounterExpectation) -> Option<Finding> {
    let (mut sum, mut less, mut detail) = (0_u64, 0_u64, Vec::new());
    for namespace in &expected.namespaces {
        for (name, total) in [(Some(&expected.name), &mut sum), (expected.less.as_ref(), &mut less)] {
            let Some(name) = name else { continue };
            match moved(scope, namespace, name) {
                Ok(value) => {
                    *total = total.saturating_add(value);
                    detail.push(format!("{namespace}: {name} {value}"));
                }
                Err(Unknown::NoSuch(_)) if may_be_missing(scope, name) => return None,
                Err(unknown) => return Some(unknown_counter(scope, name, expected.place, &unknown)),
            }
        }
    }
    let value = i128::from(sum) - i128::from(less);
    let holds = |value: i128| u64::try_from(value).is_ok_and(|value| expected.range.contains(&value));
    if !detail.is_empty() && (holds(value) || holds(value - of_late_echoes(scope, expected))) {
        return None;
    }
    let name =
        expected.less.as_ref().map_or_else(|| expected.name.clone(), |less| format!("{} - {less}", expected.name));
    let namespaces = expected.namespaces.join(" and ");
    let verb = if is_gauge(&expected.name) { "it is" } else { "it increased by" };
    let summary = format!(
        "counter {name} of {namespaces} {}: expected {}, {verb} {value}",
        scope.when,
        render::range(&expected.range)
    );
    let mut detail = if detail.len() > 1 { render::indented(detail.into_iter()) } else { String::new() };
    detail.push_str(&nearest_counters(scope, expected));
    let finding = scope.finding(FindingKind::Counter, expected.place, summary).detailed(detail);
    let value = i64::try_from(value).ok();
    Some(finding.valued(range_value(&expected.range), value))
}

/// How much of the increase is due to late echoes of announcements.
fn of_late_echoes(scope: &Scope<'_, '_>, expected: &CounterExpectation) -> i128 {
    let retransmitted = Retransmitted::of(scope.names, scope.until);
    let all = |name: &str| -> i128 {
        expected.namespaces.iter().map(|namespace| i128::from(retransmitted.moved(namespace, name))).sum()
    };
    all(&expected.name) - expected.less.as_deref().map_or(0, all)
}

/// The same counter in other namespaces, and the part of the time line around the option that it counts.
fn nearest_counters(scope: &Scope<'_, '_>, expected: &CounterExpectation) -> String {
    let namespaces = scope.names.scenario().world.namespaces.iter();
    let others = namespaces.filter(|namespace| !expected.namespaces.contains(&namespace.name));
    let elsewhere = others.filter_map(|namespace| match moved(scope, &namespace.name, &expected.name) {
        Ok(0) | Err(_) => None,
        Ok(value) => Some(format!("{}: {} {value}", namespace.name, expected.name)),
    });
    let elsewhere = render::indented(elsewhere);
    let elsewhere = if elsewhere.is_empty() { elsewhere } else { format!("elsewhere:\n{elsewhere}") };
    let option = OPTIONS.iter().find(|(part, _)| expected.name.starts_with(part)).map(|(_, option)| *option);
    let carries = |what: &Observation| {
        matches!(what, Observation::Packet { segment, .. }
            if segment.options.iter().any(|carried| option.is_some_and(|option| carried.is_called(option))))
    };
    let entries = scope.names.recording().entries.iter().take(scope.until);
    let last = entries.enumerate().rfind(|(_, entry)| carries(&entry.what));
    let around = last.map(|(index, _)| time_line::around(scope.names, index)).unwrap_or_default();
    format!("{elsewhere}{around}")
}

/// Beginnings of counters' names, and the option that they count.
const OPTIONS: [(&str, &str); 15] = [
    ("MPTcpExtMPJoinSynAck", "mp_join_synack"),
    ("MPTcpExtMPJoinPortSynAck", "mp_join_synack"),
    ("MPTcpExtMPJoinAck", "mp_join_ack"),
    ("MPTcpExtMPJoinPortAck", "mp_join_ack"),
    ("MPTcpExtMPJoin", "mp_join_syn"),
    ("MPTcpExtMPCapable", "mp_capable"),
    ("MPTcpExtEchoAdd", "add_addr_echo"),
    ("MPTcpExtAddAddr", "add_addr"),
    ("MPTcpExtPortAdd", "add_addr"),
    ("MPTcpExtRmAddr", "remove_addr"),
    ("MPTcpExtMPPrio", "mp_prio"),
    ("MPTcpExtMPFail", "mp_fail"),
    ("MPTcpExtMPFastclose", "mp_fastclose"),
    ("MPTcpExtMPRst", "mp_tcprst"),
    ("MPTcpExtInfiniteMap", "infinite_mapping"),
];

/// A kernel may lack this counter.
fn may_be_missing(scope: &Scope<'_, '_>, name: &str) -> bool {
    let required = Feature::Counter(name.to_owned());
    LATER.contains(&name) && !scope.names.scenario().requires.contains(&required)
}

fn unknown_counter(scope: &Scope<'_, '_>, name: &str, place: Place, unknown: &Unknown) -> Finding {
    let summary = match unknown {
        Unknown::NotTaken(namespace) => return scope.missing(&format!("the counters of {namespace}"), place),
        Unknown::NoSuch(namespace) => {
            format!("this kernel has no counter {name} ({namespace}): add `counter:{name}` to `requires:`")
        }
        Unknown::Backwards(namespace, start, value) => {
            format!("counter {name} of {namespace} {}: it decreased from {start} to {value}", scope.when)
        }
    };
    Finding::new(FindingKind::Counter, summary).placed(place)
}

/// By how much a counter moved since the start of the run; the value of a gauge.
pub(super) fn moved(scope: &Scope<'_, '_>, namespace: &str, name: &str) -> Result<u64, Unknown> {
    let not_taken = || Unknown::NotTaken(namespace.to_owned());
    let recording = scope.names.recording();
    let now = recording.counters(namespace, &scope.moment).ok_or_else(not_taken)?;
    let value = *now.get(name).ok_or_else(|| Unknown::NoSuch(namespace.to_owned()))?;
    if is_gauge(name) {
        return Ok(value);
    }
    let start = recording.counters(namespace, &Moment::Start).ok_or_else(not_taken)?;
    let start = start.get(name).copied().unwrap_or(0);
    value.checked_sub(start).ok_or_else(|| Unknown::Backwards(namespace.to_owned(), start, value))
}

/// MPTCP counters of a namespace that moved though nothing is said about them. Those that depend on timing may.
fn other_counters(scope: &Scope<'_, '_>, listed: &[&Expectation], namespace: &str, place: Place) -> Option<Finding> {
    let mentioned: BTreeSet<&str> = listed
        .iter()
        .flat_map(|expectation| &expectation.counters)
        .filter(|expected| expected.namespaces.iter().any(|of| of == namespace))
        .flat_map(|expected| [Some(expected.name.as_str()), expected.less.as_deref()])
        .flatten()
        .collect();
    let Some(now) = scope.names.recording().counters(namespace, &scope.moment) else {
        return Some(scope.missing(&format!("the counters of {namespace}"), place));
    };
    let mut moved_others = BTreeMap::new();
    let is_other =
        |name: &&String| name.starts_with("MPTcpExt") && !is_timing(name) && !mentioned.contains(name.as_str());
    for name in now.keys().filter(is_other) {
        match moved(scope, namespace, name) {
            Ok(0) => {}
            Ok(value) => _ = moved_others.insert(name, value),
            Err(unknown) => return Some(unknown_counter(scope, name, place, &unknown)),
        }
    }
    if moved_others.is_empty() {
        return None;
    }
    let list: Vec<String> = moved_others.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let summary = format!(
        "counters of {namespace} {}: expected only listed counters to increase; others did: {}",
        scope.when,
        list.join(", ")
    );
    let expected: BTreeMap<_, _> = moved_others.keys().map(|name| (name, 0)).collect();
    Some(scope.finding(FindingKind::Counter, place, summary).valued(expected, &moved_others))
}

/// What is wrong with the bytes that a link carried.
pub(super) fn bytes(scope: &Scope<'_, '_>, expected: &BytesExpectation) -> Option<Finding> {
    let sent_at = |wanted: &Moment| {
        scope.names.recording().entries.iter().rev().find_map(|entry| {
            pick!(&entry.what, Observation::LinkBytes { namespace, link, moment, sent, .. }
                if *namespace == expected.sent_by && *link == expected.link && moment == wanted => *sent)
        })
    };
    let (Some(start), Some(now)) = (sent_at(&Moment::Start), sent_at(&scope.moment)) else {
        let what = format!("the bytes that {} sent through {}", expected.sent_by, expected.link);
        return Some(scope.missing(&what, expected.place));
    };
    match now.checked_sub(start) {
        Some(sent) if expected.range.contains(&sent) => None,
        Some(sent) => {
            let (link, sender, range) = (&expected.link, &expected.sent_by, render::range(&expected.range));
            let summary = format!("link {link} {}: expected {range} bytes from {sender}, it sent {sent}", scope.when);
            let finding = scope.finding(FindingKind::Bytes, expected.place, summary);
            Some(finding.valued(range_value(&expected.range), sent))
        }
        None => {
            let summary = format!("link {}: its byte counter decreased from {start} to {now}", expected.link);
            Some(scope.finding(FindingKind::Bytes, expected.place, summary))
        }
    }
}
