//! What became of each connection: MPTCP on both sides, or what the scenario says instead. A connection that fell
//! back to TCP works as well as any other, so nothing else would tell.

use crate::judge::names::{Names, side_namespace, side_word};
use crate::judge::time_line::around;
use crate::judge::{Finding, FindingKind};
use crate::recording::{Connection, Observation, Side};
use crate::scenario::model::{Action, ConnectPlan, ConnectionOutcome, Expectation};

use super::either;
use super::steps::Progress;

/// What is wrong with the connections of the connect steps that were done.
pub(super) fn check(names: &Names<'_>, progress: Progress) -> Vec<Finding> {
    let steps = names.scenario().steps.iter().enumerate();
    let found = steps.filter(|(index, _)| progress.is_done(*index)).filter_map(|(_, step)| {
        if let Action::Connect(plan) = &step.action {
            problem(names, plan).map(|(summary, entry)| {
                let at = names.recording().entries.get(entry).map(|entry| entry.at);
                Finding::new(FindingKind::Connection, format!("connection {}: {summary}", plan.name))
                    .placed(step.place)
                    .detailed(around(names, entry))
                    .at(at)
            })
        } else {
            None
        }
    });
    found.collect()
}

/// The problem of one connection, and the index of the entry that shows it.
fn problem(names: &Names<'_>, plan: &ConnectPlan) -> Option<(String, usize)> {
    let entries = &names.recording().entries;
    let connected = names.index().connected.get(plan.name.as_str()).copied();
    match (&plan.outcome, connected) {
        (ConnectionOutcome::Error(_), None) => None,
        (ConnectionOutcome::Error(error), Some((index, _))) => {
            Some((format!("expected connect() to fail with {error}, but it succeeded"), index))
        }
        (ConnectionOutcome::Mptcp | ConnectionOutcome::Tcp, None) => {
            Some(("it is not in the recording".to_owned(), entries.len()))
        }
        (ConnectionOutcome::Mptcp, Some((index, connection))) => {
            let (why, later) = not_mptcp(names, connection, index)?;
            let expected = later.is_some() && fallback_is_expected(names, connection);
            (!expected).then(|| (format!("expected MPTCP, but {why}"), later.unwrap_or(index)))
        }
        (ConnectionOutcome::Tcp, Some((index, connection))) => not_mptcp(names, connection, index)
            .is_none()
            .then(|| ("expected plain TCP or a fallback to it, but both sides use MPTCP".to_owned(), index)),
    }
}

/// Why a connection isn't MPTCP on both sides, and the index of the entry that shows it if it was at first.
fn not_mptcp(names: &Names<'_>, connection: &Connection, index: usize) -> Option<(String, Option<usize>)> {
    for (side, token) in [(Side::Client, connection.client_token), (Side::Server, connection.server_token)] {
        if token.is_none() {
            return Some((format!("the {}'s side uses plain TCP from the start", side_word(side)), None));
        }
    }
    let later = names.index().sockets_of(&connection.name).iter().copied().filter(|at| *at >= index);
    let entries = later.filter_map(|at| Some((at, names.recording().entries.get(at)?)));
    entries.into_iter().find_map(|(index, entry)| {
        if let Observation::Sockets { connection: of, side, info, .. } = &entry.what
            && *of == connection.name
        {
            match info {
                Some(info) if info.fallback() => {
                    Some((format!("the {}'s side fell back to TCP", side_word(*side)), Some(index)))
                }
                None => Some((format!("the {}'s side has a plain TCP socket now", side_word(*side)), Some(index))),
                Some(_) => None,
            }
        } else {
            None
        }
    })
}

/// The counters that move when an established connection falls back (net/mptcp/mib.h).
const FALLBACKS: [&str; 7] = [
    "MPTcpExtInfiniteMapTx",
    "MPTcpExtInfiniteMapRx",
    "MPTcpExtDSSCorruptionFallback",
    "MPTcpExtMPCapableDataFallback",
    "MPTcpExtMD5SigFallback",
    "MPTcpExtDssFallback",
    "MPTcpExtSimultConnectFallback",
];

/// The scenario itself says that this connection falls back after it was established: by the field `fallback` or
/// `flags`, by an infinite mapping on the wire, or by a counter that must move.
fn fallback_is_expected(names: &Names<'_>, connection: &Connection) -> bool {
    let ends = [Side::Client, Side::Server].map(|side| side_namespace(connection, side));
    let is_end = |namespace: &String| ends.contains(&namespace.as_str());
    either::all_said(names).into_iter().any(|Expectation { counters, info, wire, .. }| {
        let flags = info.iter().filter(|info| info.connection == connection.name);
        let told = flags.map(|info| (info.field.as_str(), *info.range.start()));
        told.into_iter()
            .any(|(field, least)| (field == "fallback" && least > 0) || (field == "flags" && least & 1 == 1))
            || counters.iter().any(|counter| {
                FALLBACKS.contains(&counter.name.as_str())
                    && *counter.range.start() > 0
                    && counter.namespaces.iter().any(is_end)
            })
            || wire.iter().any(|wire| {
                wire.pattern.option == "infinite_mapping" && *wire.range.start() > 0 && is_end(&wire.pattern.sender)
            })
    })
}
