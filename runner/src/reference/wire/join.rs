//! The handshake of additional subflows: its HMACs, and its order.

use crate::reference::ledger::Ledger;
use crate::reference::view::{Flow, Half, Passed, View};
use crate::reference::{Rule, crypto};
use crate::scenario::model::{Action, SocketProtocol};
use crate::wire::{MptcpOption, Segment, TcpFlags, to_hex};

use super::checks::{Checks, HIDES_OPTIONS, is_sent};

/// The HMACs of MP_JOIN.
pub(in crate::reference) static JOIN_HMAC: Rule = Rule {
    name: "join-hmac",
    statement: "An MP_JOIN SYN/ACK carries the leftmost 64 bits of its sender's HMAC over both nonces, the third ACK the \
                leftmost 160 bits. A host answers a SYN/ACK with a wrong HMAC with a reset, and not with a third ACK.",
    source: "RFC 8684 section 3.2; subflow_req_create_thmac, subflow_thmac_valid, subflow_finish_connect, net/mptcp/subflow.c",
    kernels: "",
    apply: hmacs,
};

/// The order of the handshake.
pub(in crate::reference) static JOIN_HANDSHAKE: Rule = Rule {
    name: "join-handshake",
    statement: "An additional subflow begins with SYN, SYN/ACK and third ACK, each with MP_JOIN. Its opener repeats the third ACK \
                with MP_JOIN, and sends no data, until the fourth ACK has arrived. The other host sends nothing before \
                a third ACK with the right HMAC has arrived.",
    source: "RFC 8684 section 3.2; mptcp_established_options_mp, check_fully_established, net/mptcp/options.c",
    kernels: "",
    apply: handshakes,
};

/// What the handshake of one subflow has shown so far.
#[derive(Clone, Default)]
struct Shown {
    /// The nonces of the SYN and of the SYN/ACK. A retransmitted SYN has the same one.
    opener: Vec<u32>,
    acceptor: Vec<u32>,
    /// The HMACs of received SYN/ACKs with their nonces.
    answers: Vec<(u64, u32)>,
    /// The third ACK, with its HMAC, was sent or has arrived.
    ack: bool,
    /// The fourth ACK has arrived.
    fourth: bool,
    /// This host has begun to close the subflow or the connection: FIN, or DATA_FIN.
    closing: bool,
}

fn hmacs(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        let (Some(own), Some(peer)) = (half.own_key, half.peer_key) else { continue };
        let mut shown = vec![Shown::default(); half.flows.len()];
        let mut syn_acks = Checks::new(view, half, "HMAC of MP_JOIN SYN/ACK");
        let mut acks = Checks::new(view, half, "HMAC of MP_JOIN ACK");
        for passed in view.segments(half) {
            let Some(shown) = shown.get_mut(passed.flow) else { continue };
            for option in &passed.segment.options {
                shown.note(option, is_sent(&passed));
                if !is_sent(&passed) {
                    continue;
                }
                if let MptcpOption::MpJoinSynAck { hmac, nonce, .. } = option {
                    let is_right = shown
                        .opener
                        .iter()
                        .any(|opener| first_64(&crypto::join_hmac(own, peer, *nonce, *opener)) == *hmac);
                    if is_right {
                        syn_acks.right(&passed);
                    } else {
                        let because = format!("{hmac:016x} is not that of the keys and nonces");
                        syn_acks.wrong(ledger, &passed, &[], because);
                    }
                }
                if let MptcpOption::MpJoinAck { hmac } = option {
                    match shown.third_ack(own, peer, hmac) {
                        Ok(()) => acks.right(&passed),
                        Err(because) => acks.wrong(ledger, &passed, &[], because),
                    }
                }
            }
        }
        syn_acks.finish(ledger, |_| "it is that of the keys and nonces".to_owned());
        acks.finish(ledger, |_| "it is that of the keys and nonces".to_owned());
    }
}

fn first_64(hmac: &[u8; 32]) -> u64 {
    hmac.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Adds a number that isn't there yet. A handshake has very few.
fn remember<T: PartialEq>(all: &mut Vec<T>, one: T) {
    if all.len() < 16 && !all.contains(&one) {
        all.push(one);
    }
}

impl Shown {
    fn note(&mut self, option: &MptcpOption, is_sent: bool) {
        if let MptcpOption::MpJoinSyn { nonce, .. } = option {
            remember(&mut self.opener, *nonce);
        }
        if let MptcpOption::MpJoinSynAck { nonce, hmac, .. } = option {
            remember(&mut self.acceptor, *nonce);
            if !is_sent {
                remember(&mut self.answers, (*hmac, *nonce));
            }
        }
    }

    /// Whether an HMAC is that of a third ACK, for some of the nonces.
    fn is_of_nonces(&self, sender: u64, receiver: u64, hmac: &str) -> bool {
        let mut nonces =
            self.opener.iter().flat_map(|opener| self.acceptor.iter().map(move |acceptor| (opener, acceptor)));
        nonces.any(|(opener, acceptor)| {
            let expected = crypto::join_hmac(sender, receiver, *opener, *acceptor);
            expected.first_chunk::<20>().is_some_and(|expected| to_hex(expected) == hmac)
        })
    }

    /// Whether a third ACK may be sent, and is right.
    fn third_ack(&self, own: u64, peer: u64, hmac: &str) -> Result<(), String> {
        if !self.is_of_nonces(own, peer, hmac) {
            return Err(format!("{hmac} is not that of the keys and nonces"));
        }
        let is_valid = |(answer, nonce): &(u64, u32)| {
            self.opener.iter().any(|opener| first_64(&crypto::join_hmac(peer, own, *nonce, *opener)) == *answer)
        };
        if self.answers.iter().any(is_valid) {
            Ok(())
        } else {
            Err("no SYN/ACK with a right HMAC has arrived".to_owned())
        }
    }
}

fn handshakes(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        let mut shown = vec![Shown::default(); half.flows.len()];
        let mut checks = Checks::new(view, half, "handshake of MP_JOIN");
        for passed in view.segments(half) {
            let (Some(shown), Some(flow)) = (shown.get_mut(passed.flow), half.flows.get(passed.flow)) else { continue };
            if flow.is_initial || is_plain_listener(view, half, flow) {
                continue;
            }
            if is_sent(&passed) {
                match shown.may_send(flow, &passed) {
                    Ok(()) => checks.right(&passed),
                    Err(because) => checks.wrong(ledger, &passed, HIDES_OPTIONS, because.to_owned()),
                }
            }
            shown.advance(flow, &passed, half.own_key.zip(half.peer_key));
        }
        checks.finish(ledger, |_| "SYN, SYN/ACK and ACK carry MP_JOIN, and nothing comes before".to_owned());
    }
}

/// Whether a subflow may have reached a TCP socket, which knows nothing of MP_JOIN and answers as TCP does.
fn is_plain_listener(view: &View<'_>, half: &Half<'_>, flow: &Flow) -> bool {
    !flow.is_opener
        && view.scenario.steps.iter().any(|step| {
            let plan = pick!(&step.action, Action::Listen(plan) => plan);
            let plan = plan
                .or_else(|| pick!(&step.action, Action::Connect(plan) => plan.implicit_listener.as_ref()).flatten());
            plan.is_some_and(|plan| {
                plan.namespace == half.namespace
                    && plan.port == flow.local.port()
                    && plan.protocol == SocketProtocol::Tcp
            })
        })
}

impl Shown {
    fn may_send(&self, flow: &Flow, passed: &Passed<'_>) -> Result<(), &'static str> {
        let segment = passed.segment;
        if segment.flags.contains(TcpFlags::RST) {
            return Ok(());
        }
        if flow.is_opener { self.may_open(segment) } else { self.may_accept(segment) }
    }

    fn may_open(&self, segment: &Segment) -> Result<(), &'static str> {
        if segment.flags.contains(TcpFlags::SYN) {
            let is_join = segment.has_mp_join_syn();
            return if is_join { Ok(()) } else { Err("the SYN carries no MP_JOIN") };
        }
        if self.fourth {
            return Ok(());
        }
        if segment.payload > 0 {
            return Err("data is sent before the fourth ACK has arrived");
        }
        let is_ack = segment.options.iter().any(|option| matches!(option, MptcpOption::MpJoinAck { .. }));
        if is_ack && self.acceptor.is_empty() {
            return Err("a third ACK is sent before a SYN/ACK with MP_JOIN has arrived");
        }
        if is_ack || self.closing || is_closing(segment) {
            return Ok(());
        }
        Err("an ACK without MP_JOIN is sent before the fourth ACK has arrived")
    }

    fn may_accept(&self, segment: &Segment) -> Result<(), &'static str> {
        if segment.flags.contains(TcpFlags::SYN) {
            let is_join = segment.options.iter().any(|option| matches!(option, MptcpOption::MpJoinSynAck { .. }));
            return match (is_join, !self.opener.is_empty()) {
                (true, true) | (false, false) => Ok(()),
                (true, false) => Err("a SYN/ACK with MP_JOIN answers a SYN without"),
                (false, true) => Err("the SYN/ACK carries no MP_JOIN"),
            };
        }
        // A request socket answers what isn't acceptable with a bare ACK (tcp_check_req, net/ipv4/tcp_minisocks.c).
        let is_bare = segment.payload == 0 && segment.options.is_empty();
        if self.ack || is_bare {
            Ok(())
        } else {
            Err("something is sent before a third ACK with the right HMAC has arrived")
        }
    }

    fn advance(&mut self, flow: &Flow, passed: &Passed<'_>, keys: Option<(u64, u64)>) {
        let (segment, sent) = (passed.segment, is_sent(passed));
        for option in &segment.options {
            self.note(option, sent);
            let MptcpOption::MpJoinAck { hmac } = option else { continue };
            // Whoever accepts it must see the HMAC of the peer.
            self.ack |= flow.is_opener || keys.is_none_or(|(own, peer)| self.is_of_nonces(peer, own, hmac));
        }
        let is_plain = !segment.flags.intersects(TcpFlags::SYN | TcpFlags::RST);
        if sent {
            self.closing |= is_closing(segment);
        } else if flow.is_opener && self.ack && is_plain {
            self.fourth = true;
        }
    }
}

/// FIN or DATA_FIN.
fn is_closing(segment: &Segment) -> bool {
    segment.flags.contains(TcpFlags::FIN)
        || segment.options.iter().any(|option| matches!(option, MptcpOption::Dss { data_fin: true, .. }))
}
