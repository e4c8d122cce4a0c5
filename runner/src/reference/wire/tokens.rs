//! Tokens: of the sockets, and in MP_JOIN SYNs.

use std::collections::{HashMap, HashSet};

use crate::recording::{Direction, Observation};
use crate::reference::ledger::Ledger;
use crate::reference::view::{Half, View};
use crate::reference::{Candidate, Outcome, Rule, crypto};
use crate::wire::MptcpOption;

use super::checks::{Checks, is_sent};

/// Tokens are those of the keys.
pub(in crate::reference) static TOKENS: Rule = Rule {
    name: "token",
    statement: "The token of a connection is the most significant 32 bits of the SHA-256 hash of the key. An MP_JOIN SYN \
                carries the token of its receiver's key.",
    source: "RFC 8684 section 3.2; mptcp_crypto_key_sha, net/mptcp/crypto.c",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        of_socket(view, half, ledger);
        of_joins(view, half, ledger);
    }
    unknown(view, ledger);
}

/// The token that the socket shows is that of its key.
fn of_socket(view: &View<'_>, half: &Half<'_>, ledger: &mut Ledger) {
    let shown = half.side.of(half.connection.client_token, half.connection.server_token);
    let (Some(shown), Some(key)) = (shown, half.own_key) else { return };
    let Some(first) = view.segments(half).next() else { return };
    let expected = crypto::token(key);
    let outcome = if shown == expected { Outcome::Done } else { Outcome::Wrong };
    let because = format!("the socket has token {shown:08x}, its key {key:016x} has {expected:08x}");
    ledger.decide(
        half,
        first.at,
        Candidate::Shown { what: "token of the socket".to_owned() },
        outcome,
        because,
        [first.entry],
    );
}

/// The tokens of MP_JOIN SYNs on subflows that are known to belong to the connection.
fn of_joins(view: &View<'_>, half: &Half<'_>, ledger: &mut Ledger) {
    let Some(key) = half.peer_key else { return };
    let mut expected = None;
    let mut checks = Checks::new(view, half, "token of MP_JOIN SYN");
    for passed in view.segments(half).filter(is_sent) {
        for option in &passed.segment.options {
            let MptcpOption::MpJoinSyn { token, .. } = option else { continue };
            let expected = *expected.get_or_insert_with(|| crypto::token(key));
            if *token == expected {
                checks.right(&passed);
            } else {
                let because = format!("it carries token {token:08x}, the peer's key {key:016x} has {expected:08x}");
                checks.wrong(ledger, &passed, &[], because);
            }
        }
    }
    checks.finish(ledger, |_| format!("the peer's key {key:016x} has this token"));
}

/// MP_JOIN SYNs with tokens that no peer of the host has.
fn unknown(view: &View<'_>, ledger: &mut Ledger) {
    let mut known: HashMap<&str, HashSet<u32>> = HashMap::new();
    // What a router passes on is not its own.
    let is_host = |half: &&Half<'_>| view.host(half).is_some_and(|host| !host.namespace.forwarding);
    for half in view.halves().filter(is_host) {
        let peer = half.side.of(half.connection.server_token, half.connection.client_token);
        known.entry(half.namespace).or_default().extend(half.peer_key.map(crypto::token).into_iter().chain(peer));
    }
    // Connections that the runner doesn't know are looked at only if there is something to explain.
    let mut strange = Vec::new();
    for (index, entry) in view.recording.entries.iter().enumerate() {
        let Observation::Packet { namespace, direction: Direction::Out, segment, .. } = &entry.what else { continue };
        for option in &segment.options {
            let MptcpOption::MpJoinSyn { token, .. } = option else { continue };
            if known.get(namespace.as_str()).is_some_and(|known| !known.contains(token)) {
                strange.push((index, entry.at, namespace.as_str(), *token, segment));
            }
        }
    }
    if strange.is_empty() {
        return;
    }
    let received = received_tokens(view);
    for (index, at, namespace, token, segment) in strange {
        let Some(half) = view.halves().find(|half| half.namespace == namespace && view.is_complete(half)) else {
            continue;
        };
        if received.contains(&(namespace, token)) {
            continue;
        }
        let (source, destination) = (segment.source, segment.destination);
        let candidate = Candidate::Option { what: "token of MP_JOIN SYN", source, destination };
        let because = format!("no key that this host received has token {token:08x}");
        ledger.decide(half, at, candidate, Outcome::Wrong, because, [index]);
    }
}

/// The tokens of all keys that each host received.
fn received_tokens<'a>(view: &View<'a>) -> HashSet<(&'a str, u32)> {
    let mut received = HashSet::new();
    for entry in &view.recording.entries {
        let Observation::Packet { namespace, direction: Direction::In, segment, .. } = &entry.what else { continue };
        for option in &segment.options {
            if let MptcpOption::MpCapable { sender_key: Some(key), .. } = option {
                received.insert((namespace.as_str(), crypto::token(*key)));
            }
        }
    }
    received
}
