//! Each `subflow` endpoint is used, or there is a reason.

use std::net::IpAddr;

use crate::mptcp::EndpointFlags;
use crate::recording::{Side, canonical_socket};
use crate::reference::ledger::Ledger;
use crate::reference::view::{EndpointPeriod, Half, Host, View};
use crate::reference::{Candidate, Outcome, Rule};

use super::facts::{
    LATE, Opened, announced, counted, created_at, established_at, fallback_at, has, increased, initial_local,
    initial_remote, is_userspace, limits_in, maybe_counted, named, opened, peer_denies_join_id0, settled_after, sides,
};
use super::reach::{Obstacle, obstacle};

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "subflow-from-each-endpoint",
    statement: "When a connection is fully established, when an endpoint is added and when an additional subflow has \
                closed, a host opens a subflow from each `subflow` endpoint that the connection has not used yet to \
                the peer's initial address, in the order of the endpoints, up to the limit `subflows`.",
    source: "ip-mptcp(8), `subflow`; mptcp_pm_create_subflow_or_signal_addr, net/mptcp/pm_kernel.c",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for half in sides(view) {
        let Some(host) = view.host(half) else { continue };
        if host.endpoints().is_empty() {
            continue;
        }
        let side = Sources::new(view, half, host);
        for period in host.endpoints() {
            let Some((outcome, at, because, evidence)) = side.decide(period) else { continue };
            let (address, port) = initial_remote(half);
            let local = Some(period.endpoint.address.to_canonical());
            let candidate = Candidate::Subflow { local, remote: (address, Some(port)) };
            ledger.decide(half, at, candidate, outcome, because, evidence);
            // An endpoint for announcements, or of the initial subflow, is not meant to be a source.
            let announcing = EndpointFlags::SIGNAL | EndpointFlags::LAMINAR;
            let is_other = period.endpoint.flags.intersects(announcing) && !has(period, EndpointFlags::SUBFLOW);
            let is_initial = period.endpoint.address.to_canonical() == initial_local(half);
            ledger.mark_minor(outcome == Outcome::NotDone && (is_other || is_initial));
        }
    }
}

const UNACCEPTED: &str = "the application had not accepted the connection yet: the kernel can't create a socket for it";

type Decided = (Outcome, u64, String, Option<usize>);

/// The endpoints of one side.
struct Sources<'v, 'a> {
    view: &'v View<'a>,
    half: &'v Half<'a>,
    host: &'v Host<'a>,
    opened: Vec<Opened<'v, 'a>>,
    established: Option<u64>,
    ends: u64,
}

impl<'v, 'a> Sources<'v, 'a> {
    fn new(view: &'v View<'a>, half: &'v Half<'a>, host: &'v Host<'a>) -> Self {
        let last = view.recording.entries.last().map_or(0, |entry| entry.at);
        Self {
            view,
            half,
            host,
            opened: opened(view, half).collect(),
            established: established_at(view, half),
            ends: half.closing_at.unwrap_or(last),
        }
    }

    fn decide(&self, period: &EndpointPeriod) -> Option<Decided> {
        let created = created_at(self.half)?;
        let trigger = self.established.unwrap_or(created).max(period.from.finished);
        if trigger >= self.ends || period.until.is_some_and(|until| until.started <= trigger) {
            return None;
        }
        if let Some(used) = self.used(period) {
            let because = format!("{}, to the peer's initial address", named(period));
            return Some((Outcome::Done, used.syn.at, because, Some(used.syn.entry)));
        }
        if period.changed && !self.changes_fullmesh(period) {
            return None;
        }
        let not_done = |because: String| Some((Outcome::NotDone, trigger, because, None));
        if let Some(because) = self.not_meant(period) {
            return not_done(because);
        }
        if self.is_unaccepted(trigger) {
            return not_done(UNACCEPTED.to_owned());
        }
        match self.obstacle(period, trigger) {
            Obstacle::Certain(because) => return not_done(because),
            Obstacle::Perhaps(because) => return Some((Outcome::Undetermined, trigger, because, None)),
            Obstacle::None => {}
        }
        Some(self.by_limit(period, trigger))
    }

    /// The subflow that this endpoint was used for.
    fn used(&self, period: &EndpointPeriod) -> Option<&Opened<'v, 'a>> {
        self.opened.iter().find(|opened| {
            period.may_be_in(opened.syn.at.saturating_sub(LATE), opened.syn.at)
                && opened.local() == period.endpoint.address.to_canonical()
                && canonical_socket(opened.flow.remote) == initial_remote(self.half)
        })
    }

    /// Whether this period differs from the one before in `fullmesh`: then the subflows are opened anew.
    fn changes_fullmesh(&self, period: &EndpointPeriod) -> bool {
        let before = self
            .host
            .endpoints()
            .iter()
            .find(|before| before.until == Some(period.from) && before.endpoint.address == period.endpoint.address);
        before.is_some_and(|before| has(before, EndpointFlags::FULLMESH) != has(period, EndpointFlags::FULLMESH))
    }

    /// What keeps the path manager from using the endpoint at all.
    fn not_meant(&self, period: &EndpointPeriod) -> Option<String> {
        let (address, remote) = (period.endpoint.address.to_canonical(), initial_remote(self.half).0);
        if !has(period, EndpointFlags::SUBFLOW) {
            return Some(format!("{}: {}", named(period), without_subflow(period)));
        }
        if is_userspace(self.host, self.half) != Some(false) {
            return Some("userspace path manager: the kernel does not use endpoints".to_owned());
        }
        if self.half.own_key.is_none() || self.half.peer_key.is_none() {
            return Some("the connection fell back to TCP in its handshake".to_owned());
        }
        if self.established.is_none() {
            let why = "the connection is not fully established: this side waits for the peer's first data";
            return Some(why.to_owned());
        }
        if address == initial_local(self.half) {
            let why = format!("{address} is the initial subflow's address: the endpoint has address ID 0 here");
            return Some(why);
        }
        if peer_denies_join_id0(self.view, self.half) {
            return Some("the peer forbids joins to its initial address (C flag)".to_owned());
        }
        if fallback_at(self.view, self.half).is_some_and(|fallback| fallback.at <= period.from.finished) {
            return Some("the connection fell back to TCP".to_owned());
        }
        if address.is_ipv4() != remote.is_ipv4() {
            return Some(format!("{address} and the peer's initial address {remote} are not of one family"));
        }
        let is_ipv4_socket = self.half.initial().is_some_and(|flow| flow.local.is_ipv4())
            && self.half.connection.client_address.is_ipv4();
        (is_ipv4_socket && period.endpoint.address.is_ipv6())
            .then(|| "the endpoint's address is IPv4-mapped, and the socket is an IPv4 one".to_owned())
    }

    fn obstacle(&self, period: &EndpointPeriod, at: u64) -> Obstacle {
        let local = Some(period.endpoint.address.to_canonical());
        let remote = initial_remote(self.half).0;
        obstacle(self.view, self.host, local, period.endpoint.dev.as_deref(), remote, at)
    }

    /// The limit, at each time at which the path manager looks for an endpoint.
    fn by_limit(&self, period: &EndpointPeriod, trigger: u64) -> Decided {
        if let Some(decided) = self.overtaken(period, trigger) {
            return decided;
        }
        let closed = self.half.lives.iter().filter_map(|life| life.closed).map(|closed| closed.at + 1);
        let triggers = [trigger].into_iter().chain(closed.filter(|at| *at > trigger));
        let created = created_at(self.half).unwrap_or(0);
        let mut limited = None;
        for at in triggers {
            let Some(settled) = settled_after(self.view, self.half, at) else { continue };
            if period.until.is_some_and(|until| until.started <= settled) {
                continue;
            }
            let (least, _) = limits_in(self.host, created, settled);
            let others = maybe_counted(self.half, at, settled, None) + self.unseen(period, at, settled);
            let because = of_limit(others, least.subflows);
            if u32::try_from(others).is_ok_and(|others| others < least.subflows) {
                return self.missing(at, because);
            }
            limited = limited.or(Some(because));
        }
        let because = limited.unwrap_or_else(|| {
            let (least, _) = limits_in(self.host, created, self.ends);
            of_limit(counted(self.half, self.ends, usize::MAX), least.subflows)
        });
        let (least, _) = limits_in(self.host, created, self.ends);
        let others = maybe_counted(self.half, trigger, self.ends, None);
        let is_limit = u32::try_from(others).map_or(true, |others| others >= least.subflows);
        let outcome = if is_limit { Outcome::NotDone } else { Outcome::Undetermined };
        let because = if is_limit { because } else { "the connection ended too early to tell".to_owned() };
        (outcome, trigger, because, None)
    }

    /// The path manager ran as soon as the connection was established, and could not create a socket: that of a subflow
    /// belongs to that of the application (`mptcp_subflow_create_socket`), which comes before anything else.
    fn is_unaccepted(&self, trigger: u64) -> bool {
        self.half.side == Side::Server
            && self.established == Some(trigger)
            && increased(self.view, self.half, "MPTcpExtMPJoinSynTxCreatSkErr") == Some(true)
    }

    fn missing(&self, at: u64, because: String) -> Decided {
        if self.half.side == Side::Server
            && increased(self.view, self.half, "MPTcpExtMPJoinSynTxCreatSkErr") != Some(false)
        {
            return (Outcome::NotDone, at, UNACCEPTED.to_owned(), None);
        }
        if self.host.may_send_unseen(at, self.ends) {
            return (Outcome::Undetermined, at, "a filter may have dropped the SYN".to_owned(), None);
        }
        (Outcome::Missing, at, because, None)
    }

    /// An endpoint behind it in the list was used, and not this one.
    fn overtaken(&self, period: &EndpointPeriod, trigger: u64) -> Option<Decided> {
        if has(period, EndpointFlags::SIGNAL) || period.changed {
            return None;
        }
        let mut behind = self.host.endpoints().iter().skip_while(|other| !std::ptr::eq(*other, period)).skip(1);
        let plain = EndpointFlags::SIGNAL | EndpointFlags::FULLMESH;
        let (other, used) = behind.find_map(|other| {
            if other.endpoint.flags.intersects(plain) || other.changed {
                return None;
            }
            Some((other, self.used(other)?))
        })?;
        if used.syn.at <= trigger || !period.is_through(trigger, used.syn.at) {
            return None;
        }
        let because = format!("{} comes later in the list, and was used", named(other));
        Some((Outcome::Missing, trigger, because, Some(used.syn.entry)))
    }

    /// How many subflows may be counted of which no SYN was seen: the kernel waits for an answer of a neighbour.
    fn unseen(&self, period: &EndpointPeriod, from: u64, to: u64) -> usize {
        let others = self.host.endpoints().iter().filter(|other| {
            !std::ptr::eq(*other, period)
                && has(other, EndpointFlags::SUBFLOW)
                && other.may_be_in(from, to)
                && self.used(other).is_none()
                && self.obstacle(other, from) != Obstacle::None
        });
        let remotes = announced(self.view, self.half);
        let mut unanswered: Vec<(IpAddr, u16)> = remotes.iter().map(|known| known.target(self.half)).collect();
        unanswered.sort_unstable();
        unanswered.dedup();
        let seen = |target: &(IpAddr, u16)| self.half.flows.iter().any(|flow| canonical_socket(flow.remote) == *target);
        others.count() + unanswered.iter().filter(|target| !seen(target)).count()
    }
}

fn without_subflow(period: &EndpointPeriod) -> &'static str {
    if has(period, EndpointFlags::FULLMESH) {
        "`fullmesh` without `subflow` is a source towards announced addresses only"
    } else if has(period, EndpointFlags::LAMINAR) {
        "`laminar` without `subflow` is a source towards announced addresses only"
    } else if has(period, EndpointFlags::SIGNAL) {
        "`signal` announces it; without `subflow`, it is no source"
    } else {
        "without `subflow`, it is no source"
    }
}

/// The guard, for people. Not all that may have been counted was counted at the same time.
fn of_limit(others: usize, limit: u32) -> String {
    let others = u32::try_from(others).map_or(limit, |others| others.min(limit));
    format!("additional subflows {others} of limit {limit}")
}
