//! Fallback to TCP: when it is allowed, and that nothing of MPTCP comes after it.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use crate::recording::Direction;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Flow, Half, Passed, View};
use crate::reference::{Outcome, Rule};
use crate::scenario::model::FilterHook;
use crate::wire::{MptcpOption, TcpFlags};

use super::changed::Changed;
use super::checks::{Checks, HIDES, filter_of, is_sent, option};
use super::stream::{Piece, Stream};

/// Fallback to TCP.
pub(in crate::reference) static FALLBACK: Rule = Rule {
    name: "fallback",
    statement: "A host uses MPTCP options after the handshake only if both SYN and SYN/ACK carried MP_CAPABLE. It falls back to TCP \
                later only on a connection with one subflow, after the peer did, after MP_FAIL, or after data came \
                without options or with a mapping that doesn't fit; and then it sends no MPTCP option any more.",
    source: "RFC 8684 section 3.7; mptcp_try_fallback, net/mptcp/protocol.h; mptcp_established_options, net/mptcp/options.c",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    let changed = OnceCell::new();
    for half in view.halves().filter(|half| view.is_complete(half)) {
        after_handshake(view, half, ledger);
        let streams = Stream::new(half, Direction::Out).zip(Stream::new(half, Direction::In));
        if let Some((sent, received)) = streams {
            let mut fallbacks = Fallbacks { sent, received, reason: None, fallen: None, live: BTreeSet::new() };
            fallbacks.judge(view, half, &changed, ledger);
        }
    }
}

/// No options without MP_CAPABLE on both SYNs.
fn after_handshake(view: &View<'_>, half: &Half<'_>, ledger: &mut Ledger) {
    let Some(flow) = half.initial() else { return };
    let (mut by_opener, mut by_acceptor, mut confirmed) = (false, false, false);
    let mut checks = Checks::new(view, half, "plain TCP");
    for passed in view.segments(half).filter(|passed| passed.flow == 0) {
        let (flags, has_option) = (passed.segment.flags, !passed.segment.options.is_empty());
        if flags.contains(TcpFlags::RST) {
            continue;
        }
        if flags.contains(TcpFlags::SYN) {
            let which = if is_sent(&passed) == flow.is_opener { &mut by_opener } else { &mut by_acceptor };
            *which |= has_option;
            continue;
        }
        let agreed = by_opener && by_acceptor;
        confirmed |= has_option && !is_sent(&passed);
        // Whoever accepts it must see an option after the SYN, too.
        let may_have = agreed && (flow.is_opener || confirmed);
        if is_sent(&passed) && !may_have {
            if has_option {
                let because = "it carries an MPTCP option, and the handshake did not agree on MPTCP".to_owned();
                checks.wrong(ledger, &passed, &[], because);
            } else if !agreed {
                checks.right(&passed);
            }
        }
    }
    checks.finish(ledger, |_| {
        let who = if by_opener { "the SYN/ACK" } else { "the SYN" };
        format!("{who} carried no MP_CAPABLE")
    });
}

/// The fallback of one side of a connection.
struct Fallbacks {
    sent: Stream,
    received: Stream,
    /// Why it may fall back.
    reason: Option<(String, usize)>,
    /// It has fallen back on this subflow; the entry.
    fallen: Option<usize>,
    /// The live additional subflows: their handshake was complete, and nobody has closed them.
    live: BTreeSet<usize>,
}

impl Fallbacks {
    fn judge<'a>(&mut self, view: &View<'a>, half: &Half<'a>, changed: &OnceCell<Changed<'a>>, ledger: &mut Ledger) {
        let mut checks = Checks::new(view, half, "no option after the fallback");
        let mut reported = false;
        for passed in view.segments(half) {
            let Some(flow) = half.flows.get(passed.flow) else { continue };
            self.note_live(flow, &passed);
            let (out, into) = (self.sent.see(&passed), self.received.see(&passed));
            if let Some(piece) = into {
                self.note_received(&passed, &piece);
            }
            let Some(piece) = out else { continue };
            if self.fallen.is_none() && self.falls(&passed, &piece) && !reported {
                reported = true;
                self.fallen = Some(passed.flow);
                self.decide(view, half, &passed, changed, ledger);
            } else if self.fallen == Some(passed.flow) {
                let is_infinite = piece.mapping.is_some_and(super::stream::Mapping::is_infinite);
                if passed.segment.options.is_empty() || is_infinite {
                    checks.right(&passed);
                } else {
                    let because = "it carries an MPTCP option after the fallback".to_owned();
                    checks.wrong(ledger, &passed, &[], because);
                }
            }
            if let Some(mapping) = piece.mapping.filter(|mapping| !mapping.is_infinite()) {
                self.sent.learn(passed.flow, mapping);
            }
        }
        checks.finish(ledger, |_| "it sends no MPTCP option any more".to_owned());
    }

    /// Whether this host has fallen back: the infinite mapping, or data without a mapping.
    fn falls(&self, passed: &Passed<'_>, piece: &Piece) -> bool {
        match piece.mapping {
            Some(mapping) => mapping.is_infinite(),
            None => piece.length > 0 && !self.sent.covers(passed.flow, piece),
        }
    }

    fn note_received(&mut self, passed: &Passed<'_>, piece: &Piece) {
        let has = |wanted: fn(&MptcpOption) -> bool| passed.segment.options.iter().any(wanted);
        if let Some(mapping) = piece.mapping {
            if self.received.learn(passed.flow, mapping).is_some() {
                self.may("a mapping that contradicts another one has arrived", passed);
            }
            if piece.length > 0 && !mapping.covers(piece) {
                self.may("data has arrived that its mapping doesn't cover", passed);
            }
        }
        if piece.mapping.is_some_and(super::stream::Mapping::is_infinite) {
            self.may("the peer has fallen back: an infinite mapping has arrived", passed);
        } else if has(|option| matches!(option, MptcpOption::MpFail { .. })) {
            self.may("MP_FAIL has arrived", passed);
        } else if passed.segment.options.is_empty() {
            self.may("a segment without MPTCP options has arrived", passed);
        } else if piece.length > 0 && piece.mapping.is_none() && !self.received.covers(passed.flow, piece) {
            self.may("data without a mapping has arrived", passed);
        }
    }

    fn note_live(&mut self, flow: &Flow, passed: &Passed<'_>) {
        let is_join = |option: &MptcpOption| matches!(option, MptcpOption::MpJoinAck { .. });
        if passed.segment.flags.intersects(TcpFlags::RST | TcpFlags::FIN) {
            self.live.remove(&passed.flow);
        } else if !flow.is_initial && passed.segment.options.iter().any(is_join) {
            self.live.insert(passed.flow);
        }
    }

    fn may(&mut self, because: &str, passed: &Passed<'_>) {
        self.reason.get_or_insert_with(|| (because.to_owned(), passed.entry));
    }

    fn decide<'a>(
        &self,
        view: &View<'a>,
        half: &Half<'a>,
        passed: &Passed<'_>,
        changed: &OnceCell<Changed<'a>>,
        ledger: &mut Ledger,
    ) {
        let candidate = option(half, passed.flow, "fallback to TCP");
        let mut decide = |outcome, because: String, evidence: Vec<usize>| {
            ledger.decide(half, passed.at, candidate.clone(), outcome, because, evidence);
        };
        if let Some(name) = filter_of(view, half, passed.at, HIDES) {
            let because = format!("the filter `{name}` hides what is sent");
            return decide(Outcome::NotDone, because, vec![passed.entry]);
        }
        if !self.live.is_empty() {
            let because = format!("the connection has {} additional subflows", self.live.len());
            return decide(Outcome::Wrong, because, vec![passed.entry]);
        }
        if let Some((because, entry)) = &self.reason {
            return decide(Outcome::Done, because.clone(), vec![*entry, passed.entry]);
        }
        let input = view.host(half).and_then(|host| host.filters(FilterHook::Input, 0, passed.at).next());
        if let Some(filter) = input {
            let because = format!("the filter `{}` changes what arrives", filter.name);
            return decide(Outcome::Done, because, vec![passed.entry]);
        }
        if let Some(rule) = changed.get_or_init(|| Changed::of(view)).on(half) {
            let because = format!("the path rule `{rule}` changes what arrives");
            return decide(Outcome::Done, because, vec![passed.entry]);
        }
        let because = "data is sent without a mapping, and nothing that arrived asks for a fallback".to_owned();
        decide(Outcome::Wrong, because, vec![passed.entry]);
    }
}
