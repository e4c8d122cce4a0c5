//! What became of each connection: MPTCP on both sides, or what the scenario says instead. A connection that fell
//! back to TCP works as well as any other, so nothing else would tell.

use crate::judge::names::{Names, side_namespace};
use crate::judge::outcome::{Protocol, Protocols, protocol_words};
use crate::judge::time_line::around;
use crate::judge::{Finding, FindingKind};
use crate::recording::{Connection, Observation, Side};
use crate::scenario::model::{Action, ConnectionOutcome, Expectation, MadeProtocol};

use super::attempts;
use super::either;
use super::steps::Progress;

/// What is wrong with the connections of the connect steps that were done, and of programs if all were.
pub(super) fn check(names: &Names<'_>, progress: Progress) -> Vec<Finding> {
    let steps = names.scenario().steps.iter().enumerate();
    let connects = steps.filter(|(index, _)| progress.is_done(*index)).filter_map(|(_, step)| {
        let plan = pick!(&step.action, Action::Connect(plan) => plan)?;
        Some((plan.name.as_str(), plan.outcome.clone(), step.place, None))
    });
    let of_programs = names.scenario().connections.iter().filter(|_| progress == Progress::Whole).map(|connection| {
        let outcome = match connection.protocol {
            MadeProtocol::Mptcp => ConnectionOutcome::Mptcp,
            MadeProtocol::Tcp => ConnectionOutcome::Tcp,
        };
        (connection.name.as_str(), outcome, connection.place, Some(connection))
    });
    let found = connects.chain(of_programs).filter_map(|(name, outcome, place, wanted)| {
        let missing = || match wanted {
            Some(wanted) => attempts::instead(names, wanted),
            None => "it is not in the recording".to_owned(),
        };
        let Problem { summary, observed, entry } = problem(names, name, &outcome, missing)?;
        let at = names.recording().entries.get(entry).map(|entry| entry.at);
        let finding = Finding::new(FindingKind::Connection, format!("connection {name}: {summary}"));
        let finding = finding.placed(place).detailed(around(names, entry)).at(at);
        Some(finding.valued(expected_word(&outcome), observed))
    });
    found.collect()
}

/// What is wrong with a connection.
struct Problem {
    summary: String,
    /// `None` if the connection is not in the recording.
    observed: Option<Protocols>,
    /// The index of the entry that shows it.
    entry: usize,
}

/// The outcome as scenarios write it.
fn expected_word(outcome: &ConnectionOutcome) -> &str {
    match outcome {
        ConnectionOutcome::Mptcp => "mptcp",
        ConnectionOutcome::Tcp => "tcp",
        ConnectionOutcome::Error(error) => error,
    }
}

fn problem(
    names: &Names<'_>,
    name: &str,
    outcome: &ConnectionOutcome,
    missing: impl Fn() -> String,
) -> Option<Problem> {
    let Some((index, connection)) = names.index().connected.get(name).copied() else {
        let entry = names.recording().entries.len();
        let must_connect = !matches!(outcome, ConnectionOutcome::Error(_));
        return must_connect.then(|| Problem { summary: missing(), observed: None, entry });
    };
    let sides = [Side::Client, Side::Server].map(|side| (side, protocol(names, connection, side, index)));
    let [(_, (client, _)), (_, (server, _))] = sides;
    // The first that isn't MPTCP: from the start, or by the earliest entry.
    let tcp = sides.into_iter().filter(|(_, (protocol, _))| *protocol != Protocol::Mptcp);
    let tcp = tcp.min_by_key(|(_, (_, later))| *later);
    let (summary, entry) = match (outcome, tcp) {
        (ConnectionOutcome::Mptcp, None) | (ConnectionOutcome::Tcp, Some(_)) => return None,
        (ConnectionOutcome::Error(error), _) => {
            (format!("expected connect() to fail with {error}, but it succeeded"), index)
        }
        (ConnectionOutcome::Mptcp, Some((side, (protocol, later)))) => {
            if later.is_some() && fallback_is_expected(names, connection) {
                return None;
            }
            (format!("expected MPTCP, but {}", protocol_words(side, protocol)), later.unwrap_or(index))
        }
        (ConnectionOutcome::Tcp, None) => {
            ("expected plain TCP or a fallback to it, but both sides use MPTCP".to_owned(), index)
        }
    };
    Some(Problem { summary, observed: Some(Protocols { client, server }), entry })
}

/// The protocol of a side, and the index of the entry that shows it if it was MPTCP at first. `connected`: the index of
/// the entry with which the connection was established.
fn protocol(names: &Names<'_>, connection: &Connection, side: Side, connected: usize) -> (Protocol, Option<usize>) {
    // Before accept(), the kernel does for the server what the client sees.
    let server = if connection.unaccepted { connection.client_token } else { connection.server_token };
    let token = side.of(connection.client_token, server);
    if token.is_none() {
        return (Protocol::Tcp, None);
    }
    let later = names.index().sockets_of(&connection.name).iter().copied().filter(|at| *at >= connected);
    let mut entries = later.filter_map(|at| Some((at, names.recording().entries.get(at)?)));
    let changed = entries.find_map(|(index, entry)| {
        let info = pick!(&entry.what, Observation::Sockets { connection: of, side: whose, info, .. }
            if *of == connection.name && *whose == side => info)?;
        match info {
            Some(info) if info.fallback() => Some((Protocol::Fallback, Some(index))),
            None => Some((Protocol::TcpLater, Some(index))),
            Some(_) => None,
        }
    });
    changed.unwrap_or((Protocol::Mptcp, None))
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
