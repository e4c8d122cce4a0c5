//! Counters that name an error, and those that nobody mentions.

use std::collections::BTreeMap;

use crate::judge::canonical::is_timing;
use crate::judge::checks::is_gauge;
use crate::recording::Moment;
use crate::scenario::model::{Action, CounterExpectation, Expectation};

use super::{Facts, Reason};

/// What the kernel counts, where the name alone doesn't say (net/mptcp/mib.h, and where they are incremented).
const MEANINGS: [(&str, &str); 38] = [
    // mptcp_subflow_create_socket() in __mptcp_subflow_connect(), net/mptcp/subflow.c
    ("MPTcpExtMPJoinSynTxCreatSkErr", "the kernel could not create a socket for an additional subflow"),
    // kernel_bind() in __mptcp_subflow_connect()
    ("MPTcpExtMPJoinSynTxBindErr", "bind() of an additional subflow to its local address failed"),
    // kernel_connect() in __mptcp_subflow_connect()
    ("MPTcpExtMPJoinSynTxConnectErr", "connect() of an additional subflow failed"),
    // subflow_check_req() and subflow_syn_recv_sock(), net/mptcp/subflow.c
    ("MPTcpExtMPJoinNoTokenFound", "MP_JOINs with a token that no connection has"),
    ("MPTcpExtMPJoinRejected", "MP_JOINs that the path manager rejected: limit, or no userspace path manager"),
    ("MPTcpExtMPJoinAckHMacFailure", "third ACKs of an MP_JOIN with a wrong HMAC"),
    // subflow_finish_connect(), net/mptcp/subflow.c
    ("MPTcpExtMPJoinSynAckHMacFailure", "SYN/ACKs of an MP_JOIN with a wrong HMAC"),
    ("MPTcpExtMismatchPortSynRx", "MP_JOINs to a port that was not announced"),
    ("MPTcpExtMismatchPortAckRx", "third ACKs of an MP_JOIN to a port that was not announced"),
    // subflow_finish_connect(): a SYN/ACK without MP_CAPABLE
    ("MPTcpExtMPCapableFallbackSYNACK", "SYN/ACKs without MP_CAPABLE: the client fell back to TCP"),
    ("MPTcpExtMPCapableFallbackACK", "third ACKs without MP_CAPABLE: the server fell back to TCP"),
    ("MPTcpExtMPFallbackTokenInit", "no free token: fallback to TCP"),
    ("MPTcpExtMPCapableDataFallback", "the first data carried no MP_CAPABLE: fallback to TCP"),
    ("MPTcpExtDssFallback", "a mapping could not be used: fallback to TCP"),
    ("MPTcpExtMD5SigFallback", "fallback to TCP because of TCP MD5"),
    ("MPTcpExtSimultConnectFallback", "fallback to TCP because of a simultaneous connect"),
    ("MPTcpExtFallbackFailed", "fallbacks to TCP that were no longer possible"),
    ("MPTcpExtDSSCorruptionFallback", "a wrong mapping: fallback to TCP"),
    ("MPTcpExtDSSCorruptionReset", "a wrong mapping: the subflow was reset"),
    ("MPTcpExtDSSNotMatching", "a mapping that doesn't match the one before"),
    ("MPTcpExtDSSNoMatchTCP", "a mapping that doesn't match TCP's sequence numbers"),
    ("MPTcpExtDataCsumErr", "wrong DSS checksums"),
    ("MPTcpExtMPFailTx", "MP_FAILs sent"),
    ("MPTcpExtMPFailRx", "MP_FAILs received"),
    ("MPTcpExtBlackhole", "a blackhole was suspected: MPTCP is disabled for a while"),
    ("MPTcpExtMPCapableSYNTXDrop", "unanswered SYNs with MP_CAPABLE, retransmitted without it"),
    ("MPTcpExtMPCapableSYNTXDisabled", "SYNs sent without MP_CAPABLE because of a suspected blackhole"),
    ("MPTcpExtMPCapableEndpAttempt", "an MP_CAPABLE to the port of a signal endpoint"),
    ("MPTcpExtAddAddrTxDrop", "ADD_ADDRs that were not sent"),
    ("MPTcpExtAddAddrDrop", "ADD_ADDRs that were received and dropped"),
    ("MPTcpExtRmAddrTxDrop", "REMOVE_ADDRs that were not sent"),
    ("MPTcpExtSubflowStale", "subflows marked stale because their data was not acknowledged"),
    // fib_validate_source(), net/ipv4/fib_frontend.c
    (
        "TcpExtIPReversePathFilter",
        "packets dropped by rp_filter: they arrived on another device than replies leave through",
    ),
    ("IpOutNoRoutes", "outgoing packets without a route"),
    ("Ip6OutNoRoutes", "outgoing packets without a route"),
    ("IpExtInNoRoutes", "incoming packets without a route"),
    ("Ip6InNoRoutes", "incoming packets without a route"),
    ("TcpAttemptFails", "connection attempts that failed"),
];

/// Parts of names that say that something went wrong. `Ip6InDiscards` and the like of multicast noise aren't of a
/// connection: see [`NOISE`].
const ERROR_ENDINGS: [&str; 15] = [
    "Err",
    "Errs",
    "Errors",
    "Rejected",
    "Drop",
    "Drops",
    "Dropped",
    "NoRoom",
    "NoRoutes",
    "Failure",
    "Fails",
    "Discards",
    "Overflows",
    "DestUnreachs",
    "InPktTooBigs",
];

/// Not of a connection: neighbours, multicast listeners and routers that IPv6 looks for by itself.
const NOISE: [&str; 3] = ["Ip6OutDiscards", "Ip6InDiscards", "Icmp6OutErrors"];

/// These move with each connection.
const USUAL: [&str; 4] =
    ["MPTcpExtMPCapableSYNTX", "MPTcpExtMPCapableSYNRX", "MPTcpExtMPCapableSYNACKRX", "MPTcpExtMPCapableACKRX"];

/// Counters that name an error and moved, unless the scenario mentions them.
pub(super) fn errors(known: &Facts<'_, '_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for namespace in &known.names.scenario().world.namespaces {
        let moved = moved(known, &namespace.name);
        let named = moved.into_iter().filter(|(name, _)| is_error(name) && !is_mentioned(known, &namespace.name, name));
        reasons.extend(named.map(|(name, moved)| Reason::Counter {
            namespace: namespace.name.clone(),
            name: name.to_owned(),
            moved,
            meaning: meaning(name),
        }));
    }
    // MPTCP's own words come before those of the layers below.
    reasons.sort_by_key(|reason| matches!(reason, Reason::Counter { name, .. } if !name.starts_with("MPTcpExt")));
    reasons
}

/// MPTCP counters that moved, name no error, and aren't mentioned.
pub(super) fn unmentioned(known: &Facts<'_, '_>) -> Vec<Reason> {
    let namespaces = known.names.scenario().world.namespaces.iter();
    let others = namespaces.filter_map(|namespace| {
        let moved = moved(known, &namespace.name).into_iter();
        let others = moved.filter(|(name, _)| {
            let tells = name.starts_with("MPTcpExt") && !USUAL.contains(name) && !is_timing(name);
            tells && !is_error(name) && !is_mentioned(known, &namespace.name, name)
        });
        let counters: Vec<_> = others.map(|(name, moved)| (name.to_owned(), moved)).collect();
        (!counters.is_empty()).then(|| Reason::Unmentioned { namespace: namespace.name.clone(), counters })
    });
    others.collect()
}

fn meaning(name: &str) -> Option<&'static str> {
    MEANINGS.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning)
}

fn is_error(name: &str) -> bool {
    !NOISE.contains(&name) && (meaning(name).is_some() || ERROR_ENDINGS.iter().any(|ending| name.ends_with(ending)))
}

/// By how much each counter of a namespace moved, those that didn't left out.
pub(super) fn moved<'a>(known: &Facts<'_, 'a>, namespace: &str) -> BTreeMap<&'a str, u64> {
    let recording = known.names.recording();
    let (Some(now), Some(start)) =
        (recording.counters(namespace, &known.moment), recording.counters(namespace, &Moment::Start))
    else {
        return BTreeMap::new();
    };
    let counters = now.iter().filter(|(name, _)| !is_gauge(name));
    counters
        .filter_map(|(name, value)| {
            let moved = value.checked_sub(start.get(name).copied().unwrap_or(0))?;
            (moved > 0).then_some((name.as_str(), moved))
        })
        .collect()
}

/// The scenario says something about it: it knows that it moves.
fn is_mentioned(known: &Facts<'_, '_>, namespace: &str, name: &str) -> bool {
    let scenario = known.names.scenario();
    let checks = scenario
        .steps
        .iter()
        .filter_map(|step| pick!(&step.action, Action::Check(expectation) => expectation.as_ref()));
    let named = |counter: &CounterExpectation| {
        counter.namespaces.iter().any(|of| of == namespace)
            && (counter.name == name || counter.less.as_deref() == Some(name))
    };
    let with_alternatives = |expectation: &Expectation| {
        let alternatives = expectation.either.iter().flat_map(|choice| &choice.alternatives);
        let counters = alternatives.flat_map(|alternative| &alternative.expectation.counters);
        expectation.counters.iter().chain(counters).any(named)
    };
    checks.chain([&scenario.expect]).any(with_alternatives)
}
