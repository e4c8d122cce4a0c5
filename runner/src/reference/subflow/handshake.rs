//! What became of each subflow that a host opened.

use crate::errno::errno_symbol;
use crate::recording::canonical_socket;
use crate::reference::crypto;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Half, Host, Mark, Said, View};
use crate::reference::{Outcome, Rule};
use crate::scenario::model::Operation;
use crate::wire::{MptcpOption, Segment, reset_reason};

use super::accept::refusal;
use super::facts::{Opened, fallback_at, increased, opened, settled_after};
use super::reach::device_of;

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "answer-to-a-join",
    statement: "When an MP_JOIN SYN/ACK with the right HMAC arrives, the opener answers with its own HMAC, and the \
                subflow is there. Without MP_JOIN or with a wrong HMAC, it resets the subflow. It never falls back to \
                TCP on an additional subflow.",
    source: "RFC 8684 section 3.2; subflow_finish_connect, net/mptcp/subflow.c",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    let sides = view.connections.iter().flat_map(|both| [(&both.client, &both.server), (&both.server, &both.client)]);
    for (half, peer) in sides.filter(|(half, _)| view.is_complete(half)) {
        let Some(host) = view.host(half) else { continue };
        for opened in opened(view, half) {
            let Some((outcome, because, evidence)) = decide(view, half, peer, host, &opened) else { continue };
            let evidence = [Some(opened.syn.entry), evidence.map(|mark| mark.entry)].into_iter().flatten();
            ledger.decide(
                half,
                opened.syn.at,
                opened.candidate(),
                outcome,
                because + &by(view, host, &opened),
                evidence,
            );
        }
    }
}

/// The device that the SYN left by, if its address belongs to another one.
fn by(view: &View<'_>, host: &Host<'_>, opened: &Opened<'_, '_>) -> String {
    let own = device_of(view, host, opened.local()).filter(|own| *own != opened.device);
    own.map_or_else(String::new, |own| {
        let (local, device) = (opened.local(), opened.device);
        format!(
            "; its segments leave by {device}, though {local} is an address of {own}: no rule or route leads by {own}"
        )
    })
}

type Decided = (Outcome, String, Option<Mark>);

fn decide(
    view: &View<'_>,
    half: &Half<'_>,
    peer: &Half<'_>,
    host: &Host<'_>,
    opened: &Opened<'_, '_>,
) -> Option<Decided> {
    let life = opened.life;
    let Some(answer) = life.syn_ack else {
        return Some(unanswered(view, half, peer, opened));
    };
    let (_, segment) = view.packet(answer.entry)?;
    let right = has_right_hmac(half, view.packet(opened.syn.entry)?.1, segment);
    if host.may_not_reach_tcp(segment, answer.at) {
        return None;
    }
    let third = life.third_ack;
    let outcome = match (right, third, life.reset_sent) {
        (None, Some(third), _) if !joins(segment) => {
            (Outcome::Wrong, "the SYN/ACK has no MP_JOIN, and is answered with one".to_owned(), Some(third))
        }
        (None, None, Some(reset)) => {
            let why = "the SYN/ACK has no MP_JOIN: something on the path or the peer removed it".to_owned();
            (Outcome::NotDone, why, Some(reset))
        }
        (Some(false), Some(third), _) => {
            (Outcome::Wrong, "the HMAC of the SYN/ACK is wrong, and it is answered".to_owned(), Some(third))
        }
        (Some(false), None, _) => (Outcome::NotDone, "the HMAC of the SYN/ACK is wrong".to_owned(), Some(answer)),
        (_, Some(third), _) => settled(view, half, peer, opened, third),
        (Some(true), None, Some(reset)) if is_excused(view, half, reset) => {
            (Outcome::NotDone, "the connection is closing or fell back to TCP".to_owned(), Some(reset))
        }
        (Some(true), None, Some(reset)) if is_withdrawn(half, host, opened.syn.at, reset.at) => {
            let why =
                "one of its addresses was removed, or its closing was asked for, before the SYN/ACK came".to_owned();
            (Outcome::NotDone, why, Some(reset))
        }
        (Some(true), None, _) => {
            let is_over = life.end.is_some_and(|end| end.at <= answer.at) || host.may_send_unseen(answer.at, answer.at);
            settled_after(view, half, answer.at).filter(|_| !is_over && !damaged(view, half))?;
            (Outcome::Missing, "the SYN/ACK is right, and the third ACK doesn't follow".to_owned(), Some(answer))
        }
        (None, None, None) => return None,
    };
    Some(outcome)
}

/// Segments that TCP drops by their checksum were captured before.
fn damaged(view: &View<'_>, half: &Half<'_>) -> bool {
    increased(view, half, "TcpInCsumErrors") != Some(false) || increased(view, half, "TcpInErrs") != Some(false)
}

fn is_excused(view: &View<'_>, half: &Half<'_>, reset: Mark) -> bool {
    half.closing_at.is_some_and(|closing| closing <= reset.at)
        || fallback_at(view, half).is_some_and(|fallback| fallback.at <= reset.at)
}

/// Whether this host may have closed a subflow itself between its SYN and its reset, because of an operation or of a
/// received REMOVE_ADDR (`mptcp_pm_nl_rm_addr_or_subflow`, `mptcp_nl_cmd_sf_destroy`, net/mptcp).
fn is_withdrawn(half: &Half<'_>, host: &Host<'_>, from: u64, to: u64) -> bool {
    let removed = half.signals.received().filter(|signal| signal.at >= from && signal.at <= to);
    let mut removed = removed.filter(|signal| matches!(signal.what, Said::Remove(_)));
    removed.next().is_some()
        || host.operations.iter().any(|(span, operation)| {
            span.started <= to
                && span.finished >= from
                && matches!(
                    operation,
                    Operation::DeleteEndpoint { .. }
                        | Operation::FlushEndpoints { .. }
                        | Operation::ChangeEndpoint { .. }
                        | Operation::RemoveAddress { .. }
                        | Operation::DestroySubflow { .. }
                )
        })
}

fn settled(view: &View<'_>, half: &Half<'_>, peer: &Half<'_>, opened: &Opened<'_, '_>, third: Mark) -> Decided {
    let life = opened.life;
    let refused = life.reset_received.filter(|reset| life.answer.is_none_or(|answer| reset.at < answer.at));
    if let Some(reset) = refused {
        let why = refusal(view, peer, opened.flow).unwrap_or_else(|| "by its limit, or its path manager".to_owned());
        return (Outcome::NotDone, format!("the peer refused it by a RST after the third ACK: {why}"), Some(reset));
    }
    (Outcome::Done, format!("the SYN/ACK has the right HMAC{}", ending(view, half, opened)), Some(third))
}

/// How a subflow ended before its connection did.
fn ending(view: &View<'_>, half: &Half<'_>, opened: &Opened<'_, '_>) -> String {
    let life = opened.life;
    let error = closing_error(half, opened).map(|error| format!(" ({error})")).unwrap_or_default();
    let Some(end) = life.end.or(life.closed).filter(|end| end.at < half.signals.over_at) else {
        return String::new();
    };
    let reset = |mark: Option<Mark>| mark.filter(|mark| mark.entry == end.entry);
    let who = match (reset(life.reset_received), reset(life.reset_sent)) {
        (Some(_), _) => "a RST came in",
        (_, Some(_)) => "this side reset it",
        (None, None) => return format!("; closed before the connection{error}"),
    };
    let reason = view.packet(end.entry).and_then(|(_, segment)| {
        segment.options.iter().find_map(|option| pick!(option, MptcpOption::MpTcprst { reason, .. } => *reason))
    });
    let words = |reason| reset_reason(reason).unwrap_or("unknown");
    let reason = reason.map(|reason| format!(", MP_TCPRST reason {reason}: {}", words(reason)));
    format!("; later {who}{}", reason.unwrap_or_default())
}

/// The errno of the event that tells that a subflow was closed.
fn closing_error(half: &Half<'_>, opened: &Opened<'_, '_>) -> Option<String> {
    let closed = opened.life.closed?;
    let (_, event) = half.events.iter().find(|(entry, _)| *entry == closed.entry)?;
    event.error.map(|error| errno_symbol(i32::from(error)))
}

fn unanswered(view: &View<'_>, half: &Half<'_>, peer: &Half<'_>, opened: &Opened<'_, '_>) -> Decided {
    let life = opened.life;
    if let Some(reset) = life.reset_received {
        let why = refusal(view, peer, opened.flow)
            .unwrap_or_else(|| "nothing listens there, or the token is not known, or a middlebox did it".to_owned());
        return (Outcome::NotDone, format!("the SYN is answered by a RST: {why}"), Some(reset));
    }
    let error = closing_error(half, opened).map_or_else(String::new, |error| format!(" ({error})"));
    let why = silence(view, peer, opened).map_or_else(String::new, |why| format!(": {why}"));
    (Outcome::NotDone, format!("the SYN left by {} and nothing came back{error}{why}", opened.device), None)
}

/// Where a SYN without an answer ended, or the answer to it, if the peer's host was recorded, too.
fn silence(view: &View<'_>, peer: &Half<'_>, opened: &Opened<'_, '_>) -> Option<String> {
    let (_, segment) = view.packet(opened.syn.entry)?;
    if let Some(effect) = view.withheld(segment) {
        return Some(effect);
    }
    let (host, name) = (view.host(peer)?, peer.namespace);
    let ends = (canonical_socket(opened.flow.remote), canonical_socket(opened.flow.local));
    let mut flows = peer.flows.iter().zip(&peer.lives);
    let arrived = flows
        .find(|(flow, _)| !flow.is_opener && (canonical_socket(flow.local), canonical_socket(flow.remote)) == ends);
    let Some((_, life)) = arrived else {
        let translated = view.scenario.translates();
        return (!translated && view.is_complete(peer)).then(|| format!("it did not arrive at {name}"));
    };
    if let Some(answer) = life.syn_ack.and_then(|answer| view.packet(answer.entry)) {
        let effect = view.withheld(answer.1).map_or_else(String::new, |effect| format!(" ({effect})"));
        return Some(format!("{name} answered, and its SYN/ACK did not arrive{effect}"));
    }
    if let Some(filter) = host.filter_before_tcp(segment, life.syn?.at) {
        return Some(format!("it arrived at {name}, whose filter `{}` kept it from TCP", filter.name));
    }
    if increased(view, peer, "TcpExtIPReversePathFilter") == Some(true) {
        let counter = "TcpExtIPReversePathFilter";
        return Some(format!("it arrived at {name}, whose reverse-path filter dropped packets ({counter})"));
    }
    Some(format!("it arrived at {name}, which did not answer"))
}

fn joins(segment: &Segment) -> bool {
    segment.options.iter().any(|option| matches!(option, MptcpOption::MpJoinSynAck { .. }))
}

/// Whether the HMAC of the SYN/ACK is the one that keys and nonces give; `None` if there is none, or no keys.
fn has_right_hmac(half: &Half<'_>, syn: &Segment, syn_ack: &Segment) -> Option<bool> {
    let own = syn.options.iter().find_map(|option| pick!(option, MptcpOption::MpJoinSyn { nonce, .. } => *nonce))?;
    let (hmac, peer) = syn_ack
        .options
        .iter()
        .find_map(|option| pick!(option, MptcpOption::MpJoinSynAck { hmac, nonce, .. } => (*hmac, *nonce)))?;
    let expected = crypto::join_hmac(half.peer_key?, half.own_key?, peer, own);
    expected.first_chunk().map(|first| u64::from_be_bytes(*first) == hmac)
}
