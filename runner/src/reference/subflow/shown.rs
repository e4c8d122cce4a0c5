//! What the kernel shows of the subflows of a connection.

use std::collections::HashMap;

use crate::mptcp::{MptcpInfo, SubflowFlags, SubflowState};
use crate::recording::{Direction, Moment, Observation, Side, canonical_socket};
use crate::reference::ledger::Ledger;
use crate::reference::view::{Flow, Half, Host, Life, View};
use crate::reference::{Candidate, Outcome, Rule};
use crate::wire::{MptcpOption, Segment};

use super::facts::{LATE, capable_flags, end, fallback_at, is_userspace, limits_in, unseen};

/// `MPTCP_INFO`.
pub(in crate::reference) static INFO: Rule = Rule {
    name: "subflows-in-mptcp-info",
    statement: "`MPTCP_INFO` shows the additional subflows that live, all of them with the initial one while it is \
                established, their limit, the connection's token, and whether checksums are in use.",
    source: "mptcp_diag_fill_info, net/mptcp/sockopt.c",
    kernels: "A kernel without a field shows 0.",
    apply: info,
};

/// The subflows of sock_diag.
pub(in crate::reference) static SOCKETS: Rule = Rule {
    name: "subflows-in-sock-diag",
    statement: "A socket dump shows each established subflow with its token, its address IDs, the backup requests of \
                both sides, and how it began, and no subflow that was never there.",
    source: "subflow_get_info, net/mptcp/diag.c",
    kernels: "",
    apply: sockets,
};

/// The sockets of one side at one moment.
struct Shown<'v, 'a> {
    half: &'v Half<'a>,
    host: &'v Host<'a>,
    entry: usize,
    at: u64,
    info: &'a MptcpInfo,
    subflows: &'a [SubflowState],
}

/// All of them, as far as they are of connections that didn't fall back.
fn all<'v, 'a>(view: &'v View<'a>) -> Vec<Shown<'v, 'a>> {
    let halves: HashMap<(&str, Side), &Half<'a>> = view.halves().map(|half| ((half.name, half.side), half)).collect();
    let mut all = Vec::new();
    let mut step = 0;
    for (index, entry) in view.recording.entries.iter().enumerate() {
        if let Observation::StepStarted { .. } = entry.what {
            step = entry.at;
        }
        let Observation::Sockets { connection, side, moment, info: Some(info), subflows, .. } = &entry.what else {
            continue;
        };
        let Some(half) = halves.get(&(connection.as_str(), *side)).copied() else { continue };
        let Some(host) = view.host(half) else { continue };
        let is_before = |closing| *moment == Moment::BeforeClose && closing == step;
        let is_gone = half.closing_at.is_some_and(|closing| closing <= entry.at && !is_before(closing));
        let is_whole = half.own_key.is_some() && half.peer_key.is_some() && half.initial().is_some();
        if is_gone || !is_whole || info.fallback() || fallback_at(view, half).is_some() {
            continue;
        }
        all.push(Shown { half, host, entry: index, at: entry.at, info, subflows });
    }
    all
}

impl Shown<'_, '_> {
    /// The additional subflows that were certainly there when the kernel was asked.
    fn lives(&self) -> impl Iterator<Item = (&Flow, &Life)> {
        let before = self.at.saturating_sub(LATE);
        let all = self.half.flows.iter().zip(&self.half.lives);
        all.filter(move |(flow, life)| {
            let is_there = |at| life.is_counted(flow.is_opener, at);
            !flow.is_initial && is_there(self.at) && (is_there(before) || !self.changes(life))
        })
    }

    /// Whether a subflow ended right before.
    fn changes(&self, life: &Life) -> bool {
        [life.end, life.closed].into_iter().flatten().any(|mark| mark.at <= self.at)
    }

    /// The least and the greatest possible number of established initial subflows (`__mptcp_has_initial_subflow`).
    fn initial(&self) -> (usize, usize) {
        let Some(life) = self.half.lives.first() else { return (0, 1) };
        match [life.end, life.closed].into_iter().flatten().map(|mark| mark.at).min() {
            None => (1, 1),
            Some(end) if end > self.at => (1, 1),
            Some(end) if end < self.at.saturating_sub(LATE) => (0, 0),
            Some(_) => (0, 1),
        }
    }

    /// The initial subflow with its state, when its handshake is over.
    fn initial_state(&self) -> Option<(&Flow, &SubflowState)> {
        let (flow, life) = self.half.flows.iter().zip(&self.half.lives).find(|(flow, _)| flow.is_initial)?;
        life.third_ack.filter(|mark| mark.at < self.at)?;
        let ends = (canonical_socket(flow.local), canonical_socket(flow.remote));
        let mut usable = self.subflows.iter().filter(|state| state.is_usable());
        usable.find(|state| ends_of(state) == ends).map(|state| (flow, state))
    }

    /// How many there may have been.
    fn most(&self) -> usize {
        let before = self.at.saturating_sub(LATE);
        let all = self.half.flows.iter().zip(&self.half.lives);
        all.filter(|(flow, life)| !flow.is_initial && life.may_be_counted(before, self.at)).count()
    }

    fn decide(&self, ledger: &mut Ledger, what: &str, is_right: bool, because: String) {
        let outcome = if is_right { Outcome::Done } else { Outcome::Wrong };
        ledger.decide(self.half, self.at, Candidate::Shown { what: what.to_owned() }, outcome, because, [self.entry]);
    }
}

fn info(view: &View<'_>, ledger: &mut Ledger) {
    for shown in all(view) {
        let (info, half) = (shown.info, shown.half);
        let (least, most) = (shown.lives().count(), shown.most());
        let number = usize::from(info.subflows);
        let unseen = if number > most { unseen(view, half, shown.host) } else { 0 };
        let is_right = (least..=most + unseen).contains(&number);
        let because = format!("it shows {number}; {least} certainly live, and at most {most} may");
        shown.decide(ledger, "additional subflows in MPTCP_INFO", is_right, because);
        if let Some(total) = info.subflows_total {
            let (least, most) = shown.initial();
            let is_right = (number + least..=number + most).contains(&usize::from(total));
            let because = format!("it shows {total}; {number} additional ones, and {least} to {most} initial one");
            shown.decide(ledger, "all subflows in MPTCP_INFO", is_right, because);
        }
        if is_userspace(shown.host, half) == Some(false) {
            let (low, high) = limits_in(shown.host, shown.at.saturating_sub(LATE), shown.at);
            let limit = u32::from(info.subflows_max);
            let because = format!("it shows {limit}; the limit is {}", high.subflows);
            shown.decide(
                ledger,
                "limit of additional subflows in MPTCP_INFO",
                limit == low.subflows || limit == high.subflows,
                because,
            );
        }
        if let Some(token) = half.own_key.map(crate::reference::crypto::token) {
            let because = format!("it shows {:#010x}; the key's token is {token:#010x}", info.token);
            // A connection that the peer has ended, and that isn't closed yet, has given its token back
            // (`mptcp_token_destroy`, net/mptcp/token.c).
            let is_over = least == 0 && shown.initial().0 == 0;
            let is_right = info.token == token || (info.token == 0 && is_over);
            shown.decide(ledger, "token in MPTCP_INFO", is_right, because);
        }
        if let Some((enabled, wanted)) = info.csum_enabled.zip(checksums(view, half)) {
            let because = format!("it shows {enabled}; the A flags of MP_CAPABLE say {}", u8::from(wanted));
            shown.decide(ledger, "checksums in MPTCP_INFO", (enabled != 0) == wanted, because);
        }
    }
}

/// Whether checksums are in use: one of the sides asked for them (RFC 8684 section 3.1).
fn checksums(view: &View<'_>, half: &Half<'_>) -> Option<bool> {
    let life = half.lives.first().filter(|_| half.initial().is_some())?;
    let flags = |mark: crate::reference::view::Mark| capable_flags(view.packet(mark.entry)?.1);
    Some((flags(life.syn?)? | flags(life.syn_ack?)?) & 0x80 != 0)
}

fn sockets(view: &View<'_>, ledger: &mut Ledger) {
    for shown in all(view) {
        let half = shown.half;
        for (flow, life) in shown.lives() {
            let ends = (canonical_socket(flow.local), canonical_socket(flow.remote));
            let found = shown.subflows.iter().find(|state| ends_of(state) == ends);
            let what = format!("subflow {} → {} in the socket dump", end(ends.0), end(ends.1));
            let (is_right, because) = match found {
                None => (false, "it lives, and is not shown".to_owned()),
                Some(state) => differs(view, half, flow, life, state, shown.at)
                    .map_or((true, "it lives".to_owned()), |why| (false, why)),
            };
            shown.decide(ledger, &what, is_right, because);
        }
        if let Some((flow, state)) = shown.initial_state()
            && let Some(because) = began_otherwise(flow, state, flow.is_opener)
        {
            let (local, remote) = ends_of(state);
            let what = format!("initial subflow {} → {} in the socket dump", end(local), end(remote));
            shown.decide(ledger, &what, false, because);
        }
        for state in shown.subflows.iter().filter(|state| state.is_usable()) {
            let known = half
                .flows
                .iter()
                .any(|flow| (canonical_socket(flow.local), canonical_socket(flow.remote)) == ends_of(state));
            if !known && !view.host(half).is_some_and(|host| host.may_send_unseen(0, shown.at)) {
                let (local, remote) = ends_of(state);
                let what = format!("subflow {} → {} in the socket dump", end(local), end(remote));
                shown.decide(ledger, &what, false, "no segment of it was seen".to_owned());
            }
        }
    }
}

type Ends = ((std::net::IpAddr, u16), (std::net::IpAddr, u16));

fn ends_of(state: &SubflowState) -> Ends {
    (canonical_socket(state.local), canonical_socket(state.remote))
}

/// What the dump shows otherwise than the wire.
fn differs(
    view: &View<'_>,
    half: &Half<'_>,
    flow: &Flow,
    life: &Life,
    state: &SubflowState,
    at: u64,
) -> Option<String> {
    let (_, syn) = view.packet(life.syn?.entry)?;
    let (_, syn_ack) = view.packet(life.syn_ack?.entry)?;
    let ((by_opener, opener), (by_acceptor, acceptor)) = (join(syn)?, join(syn_ack)?);
    let (own, other) = if flow.is_opener { (opener, acceptor) } else { (acceptor, opener) };
    if (state.local_id, state.remote_id) != (own, other) {
        let shown = (state.local_id, state.remote_id);
        return Some(format!(
            "it shows the address IDs {} and {}; the MP_JOINs say {own} and {other}",
            shown.0, shown.1
        ));
    }
    if half.token.is_some_and(|token| token != state.token_local) {
        return Some("it shows the token of another connection".to_owned());
    }
    // While its SYN waits for an answer, a subflow has none of that.
    if life.third_ack.is_some_and(|mark| mark.at <= at) {
        let is_answered = life.answer.is_some_and(|mark| mark.at.saturating_add(LATE) <= at);
        let began = began_otherwise(flow, state, !flow.is_opener || is_answered);
        if began.is_some() {
            return began;
        }
    }
    let (own, other) = if flow.is_opener { (by_opener, by_acceptor) } else { (by_acceptor, by_opener) };
    let said = |direction: Direction, first: bool| priority(view, half, flow, direction, at, first);
    let checks = [
        (SubflowFlags::BKUP_LOC, said(Direction::Out, own), "this side"),
        (SubflowFlags::BKUP_REM, said(Direction::In, other), "the peer"),
    ];
    checks.into_iter().find_map(|(flag, wanted, who)| {
        let wanted = wanted?;
        (state.flags.contains(flag) != wanted).then(|| {
            let (shown, said) = (state.flags.contains(flag), if wanted { "asked" } else { "did not ask" });
            format!("{who} {said} for backup; the dump shows {shown}")
        })
    })
}

/// What the flags say otherwise of how a subflow began: who opened it, by which option, and that it is connected.
/// `is_full`: it is fully established by now, at least if it is an additional one.
fn began_otherwise(flow: &Flow, state: &SubflowState, is_full: bool) -> Option<String> {
    let (joins, capable) = (!flow.is_initial, flow.is_initial);
    let checks = [
        (SubflowFlags::MCAP_REM, capable, "the peer's MP_CAPABLE"),
        (SubflowFlags::MCAP_LOC, capable && flow.is_opener, "a request by MP_CAPABLE"),
        (SubflowFlags::JOIN_REM, joins, "the peer's MP_JOIN"),
        (SubflowFlags::JOIN_LOC, joins && flow.is_opener, "a request by MP_JOIN"),
        (SubflowFlags::CONNECTED, true, "that it is connected"),
        (SubflowFlags::FULLY_ESTABLISHED, true, "that it is fully established"),
    ];
    let differs = checks.into_iter().find(|(flag, wanted, _)| {
        let is_known = *flag != SubflowFlags::FULLY_ESTABLISHED || (joins && is_full);
        is_known && state.flags.contains(*flag) != *wanted
    });
    differs.map(|(_, wanted, what)| format!("it {} {what}", if wanted { "doesn't show" } else { "shows" }))
}

/// What the last MP_PRIO in a direction says, or what the MP_JOIN said; `None` if one is too near to tell.
fn priority(view: &View<'_>, half: &Half<'_>, flow: &Flow, direction: Direction, at: u64, first: bool) -> Option<bool> {
    let mut said = (0, first);
    for passed in half.controls.iter().filter_map(|seen| view.passed(*seen)) {
        let same = half.flows.get(passed.flow).is_some_and(|other| std::ptr::eq(other, flow));
        if !same || passed.direction != direction || passed.at > at.saturating_add(LATE) {
            continue;
        }
        let options = passed.segment.options.iter();
        let backup = options.filter_map(|option| pick!(option, MptcpOption::MpPrio { backup } => *backup));
        said = backup.map(|backup| (passed.at.saturating_add(LATE), backup)).next().unwrap_or(said);
    }
    (said.0 <= at).then_some(said.1)
}

/// The backup bit and the address ID of an MP_JOIN.
fn join(segment: &Segment) -> Option<(bool, u8)> {
    segment.options.iter().find_map(|option| {
        pick!(option, MptcpOption::MpJoinSyn { backup, address_id, .. } | MptcpOption::MpJoinSynAck { backup, address_id, .. }
            => (*backup, *address_id))
    })
}
