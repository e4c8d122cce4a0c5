//! Joins from the peer: accepted or refused, and why.

use std::net::IpAddr;

use crate::recording::{Direction, Observation, Side, canonical_socket};
use crate::reference::crypto;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Flow, Half, Host, Life, Mark, Span, View};
use crate::reference::{Candidate, Outcome, Rule};
use crate::scenario::model::{Action, ListenPlan};
use crate::wire::{MptcpOption, Segment};

use super::facts::{
    LATE, counted, created_at, end, endpoints_of, established_at, fallback_at, is_userspace, limits_in, maybe_counted,
    sides,
};

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "join-from-the-peer",
    statement: "A host accepts a subflow from the peer if the HMAC is right, the connection is fully established and not \
                closing, and the connection has fewer additional subflows than the limit `subflows`; with a userspace \
                path manager, if somebody listens to its events. It refuses all others by a RST.",
    source: "RFC 8684 section 3.2; subflow_syn_recv_sock, net/mptcp/subflow.c; mptcp_pm_allow_new_subflow, \
             net/mptcp/pm.c; mptcp_finish_join, net/mptcp/protocol.c",
    kernels: "With syncookies, the limit is looked at when the SYN arrives, too.",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for half in sides(view) {
        let Some(host) = view.host(half) else { continue };
        for (index, (flow, life)) in half.flows.iter().zip(&half.lives).enumerate() {
            let Some(syn) = life.syn.filter(|_| !flow.is_opener && !flow.is_initial) else { continue };
            let join = Join { view, half, host, index, flow, life, syn };
            let Some((outcome, at, because, evidence)) = join.decide() else { continue };
            let candidate = Candidate::Join { local: flow.local, remote: flow.remote };
            ledger.decide(half, at, candidate, outcome, because, evidence);
        }
    }
}

/// A join from the peer.
struct Join<'v, 'a> {
    view: &'v View<'a>,
    half: &'v Half<'a>,
    host: &'v Host<'a>,
    index: usize,
    flow: &'v Flow,
    life: &'v Life,
    syn: Mark,
}

type Decided = (Outcome, u64, String, Vec<usize>);

/// Why the peer refused a subflow that this side opened, if its host was recorded, too.
pub(super) fn refusal(view: &View<'_>, peer: &Half<'_>, opened: &Flow) -> Option<String> {
    let host = view.host(peer)?;
    let ends = (canonical_socket(opened.remote), canonical_socket(opened.local));
    let mut flows = peer.flows.iter().zip(&peer.lives).enumerate();
    let (index, (flow, life)) = flows.find(|(_, (flow, _))| {
        !flow.is_opener && (canonical_socket(flow.local), canonical_socket(flow.remote)) == ends
    })?;
    let join = Join { view, half: peer, host, index, flow, life, syn: life.syn? };
    join.decide().filter(|(outcome, ..)| *outcome == Outcome::NotDone).map(|(_, _, because, _)| because)
}

impl Join<'_, '_> {
    fn decide(&self) -> Option<Decided> {
        let userspace = is_userspace(self.host, self.half)?;
        let reset = self.life.reset_sent;
        let accepted = [self.life.answer, self.life.joined].into_iter().flatten().min_by_key(|mark| mark.at);
        let Some(ack) = self.life.third_ack else {
            let reset = reset.filter(|_| self.life.syn_ack.is_none())?;
            return self.refused(self.syn, reset, userspace, true);
        };
        match (accepted, reset) {
            (Some(accepted), reset) if reset.is_none_or(|reset| reset.at >= accepted.at) => {
                let (outcome, because) = self.accepted(ack, userspace);
                Some((outcome, ack.at, because, vec![ack.entry, accepted.entry]))
            }
            (_, Some(reset)) => self.refused(ack, reset, userspace, false),
            (_, None) => None,
        }
    }

    fn accepted(&self, ack: Mark, userspace: bool) -> (Outcome, String) {
        if self.has_right_hmac(ack) == Some(false) {
            return (Outcome::Wrong, "the HMAC of its third ACK is wrong".to_owned());
        }
        if userspace {
            return if self.host.namespace.events {
                (Outcome::Done, "userspace path manager: its events are listened to".to_owned())
            } else {
                (Outcome::Wrong, "userspace path manager: nobody listens to its events".to_owned())
            };
        }
        let (_, most) = limits_in(self.host, ack.at.saturating_sub(LATE), ack.at + LATE);
        let others = counted(self.half, ack.at, self.index);
        let is_over = u32::try_from(others).is_ok_and(|others| others >= most.subflows);
        let because = format!("additional subflows {others} of limit {}", most.subflows);
        (if is_over { Outcome::Wrong } else { Outcome::Done }, because)
    }

    fn refused(&self, at: Mark, reset: Mark, userspace: bool, by_syn: bool) -> Option<Decided> {
        let evidence = vec![at.entry, reset.entry];
        if self.host.may_send_unseen(at.at, reset.at)
            || self.life.reset_received.is_some_and(|mark| mark.at <= reset.at)
        {
            return None;
        }
        if let Some(why) = self.reason_to_refuse(at, userspace, by_syn) {
            return Some((Outcome::NotDone, at.at, why, evidence));
        }
        if by_syn && self.is_listening() != Some(true) {
            return None;
        }
        let (least, _) = limits_in(self.host, 0, at.at + LATE);
        let others = maybe_counted(self.half, at.at, at.at, Some(self.index));
        let because = format!("it is refused, with additional subflows {others} of limit {}", least.subflows);
        Some((Outcome::Missing, at.at, because, evidence))
    }

    fn reason_to_refuse(&self, at: Mark, userspace: bool, by_syn: bool) -> Option<String> {
        let segment = self.view.packet(at.entry).map(|(_, segment)| segment);
        if segment.is_some_and(|segment| self.host.may_not_reach_tcp(segment, at.at)) {
            return Some("a packet filter refuses it".to_owned());
        }
        if by_syn && self.is_listening() == Some(false) {
            return Some(format!(
                "no MPTCP socket listens on {}",
                end((self.flow.local.ip().to_canonical(), self.flow.local.port()))
            ));
        }
        if self.half.closing_at.is_some_and(|closing| closing <= at.at) {
            return Some("the connection is closing".to_owned());
        }
        if !by_syn && self.has_right_hmac(at) == Some(false) {
            return Some("the HMAC of its third ACK is wrong".to_owned());
        }
        if established_at(self.view, self.half).is_none_or(|established| established > at.at) {
            return Some("the connection is not fully established".to_owned());
        }
        if fallback_at(self.view, self.half).is_some_and(|fallback| fallback.at <= at.at) {
            return Some("the connection fell back to TCP".to_owned());
        }
        if self.is_gone(at.at) {
            return Some("the connection has no subflow left".to_owned());
        }
        if userspace {
            return (!self.host.namespace.events)
                .then(|| "userspace path manager: nobody listens to its events".to_owned());
        }
        let (least, _) = limits_in(self.host, at.at.saturating_sub(LATE), at.at + LATE);
        let others = maybe_counted(self.half, at.at, at.at, Some(self.index));
        if u32::try_from(others).map_or(true, |others| others >= least.subflows) {
            return Some(format!("additional subflows {others} of limit {}", least.subflows));
        }
        let (lowest, highest) = limits_in(self.host, created_at(self.half).unwrap_or(0), at.at);
        (lowest.subflows != highest.subflows).then(|| {
            format!(
                "the limit of {} additional subflows was reached before, or when the socket was created",
                lowest.subflows
            )
        })
    }

    /// All other subflows have ended: the connection may have, too.
    fn is_gone(&self, at: u64) -> bool {
        self.half.lives.iter().enumerate().all(|(index, life)| {
            index == self.index || life.end.is_some_and(|end| end.at <= at) || life.established(true).is_none()
        })
    }

    /// Whether the HMAC of the third ACK is the one that keys and nonces give; `None` if not all of them are known.
    fn has_right_hmac(&self, ack: Mark) -> Option<bool> {
        let nonce = |mark: Mark| self.view.packet(mark.entry).and_then(|(_, segment)| nonce(segment));
        let (peer, own) = (nonce(self.syn)?, nonce(self.life.syn_ack?)?);
        let (peer_key, own_key) = (self.half.peer_key?, self.half.own_key?);
        let (_, segment) = self.view.packet(ack.entry)?;
        let sent = segment.options.iter().find_map(|option| pick!(option, MptcpOption::MpJoinAck { hmac } => hmac))?;
        let is_of = |own: u32| {
            let expected = crypto::join_hmac(peer_key, own_key, peer, own);
            expected.get(..20).is_some_and(|expected| *sent == crate::wire::to_hex(expected))
        };
        Some(is_of(own) || self.later_nonces(ack.at).any(is_of))
    }

    /// The nonces of further SYN/ACKs: if the first one was answered with a RST, the SYN comes again and gets another.
    fn later_nonces(&self, until: u64) -> impl Iterator<Item = u32> {
        let segments = self.view.segments(self.half).take_while(move |passed| passed.at <= until);
        let own = segments.filter(|passed| passed.flow == self.index && passed.direction == Direction::Out);
        own.filter_map(|passed| {
            passed
                .segment
                .options
                .iter()
                .find_map(|option| pick!(option, MptcpOption::MpJoinSynAck { nonce, .. } => *nonce))
        })
    }

    /// Whether an MPTCP socket listens where the SYN goes; `None` if it isn't known.
    fn is_listening(&self) -> Option<bool> {
        let (address, port) = (self.flow.local.ip().to_canonical(), self.flow.local.port());
        let at = self.syn.at;
        let by_endpoint = endpoints_of(self.host, at)
            .any(|period| period.endpoint.port == Some(port) && period.endpoint.address.to_canonical() == address);
        if by_endpoint {
            return None;
        }
        let mut stopped = false;
        let mut listens = false;
        for (index, step) in self.view.scenario.steps.iter().enumerate() {
            if let Action::Listen(plan) = &step.action {
                listens |= is_there(plan, self.half.namespace, address, port);
            } else if let Action::Connect(plan) = &step.action {
                let implicit = plan.implicit_listener.as_ref();
                listens |= implicit.is_some_and(|plan| is_there(plan, self.half.namespace, address, port));
            } else if let Action::StopListening { namespace, port: stops, .. } = &step.action
                && (namespace.as_str(), *stops) == (self.half.namespace, port)
            {
                let span = span(self.view, index);
                listens &= span.is_none_or(|span| span.finished > self.syn.at);
                stopped |= span.is_some_and(|span| (span.started..=span.finished).contains(&self.syn.at));
            }
        }
        match (listens, stopped) {
            (false, _) => Some(false),
            (true, true) => None,
            (true, false) => Some(self.half.side == Side::Server),
        }
    }
}

/// When a step was done.
fn span(view: &View<'_>, wanted: usize) -> Option<Span> {
    let mut entries = view.recording.entries.iter();
    let is_it = |step: &usize| *step == wanted;
    let started = entries
        .find_map(|entry| pick!(&entry.what, Observation::StepStarted { step, .. } if is_it(step) => entry.at))?;
    let finished =
        entries.find_map(|entry| pick!(&entry.what, Observation::StepFinished { step, .. } if is_it(step) => entry.at));
    Some(Span { started, finished: finished.unwrap_or(u64::MAX) })
}

fn is_there(plan: &ListenPlan, namespace: &str, address: IpAddr, port: u16) -> bool {
    let covers = plan.address.is_unspecified() || plan.address.to_canonical() == address;
    plan.namespace == namespace && plan.port == port && covers
}

fn nonce(segment: &Segment) -> Option<u32> {
    segment.options.iter().find_map(|option| {
        pick!(option, MptcpOption::MpJoinSyn { nonce, .. } | MptcpOption::MpJoinSynAck { nonce, .. } => *nonce)
    })
}
