//! Announcements of addresses, their removal, priorities, and the events about them.

pub(super) mod accept;
pub(super) mod connection_events;
pub(super) mod due;
pub(super) mod echo;
pub(super) mod events;
pub(super) mod one_at_a_time;
pub(super) mod permitted;
pub(super) mod priority;
pub(super) mod removal;
pub(super) mod removed;
pub(super) mod retransmission;
pub(super) mod shown;
pub(super) mod subflow_events;
#[cfg(test)]
mod tests;

use crate::mptcp::{Endpoint, EndpointFlags, canonical};
use crate::scenario::model::{Operation, TokenChoice};

use super::Candidate;
use super::view::{Announced, EndpointPeriod, Half, Host, Said, Signal, Span, View};

/// One side of an MPTCP connection, with its host.
#[derive(Clone, Copy)]
struct Case<'v, 'a> {
    half: &'v Half<'a>,
    host: &'v Host<'a>,
    /// Whether it has a userspace path manager; `None` if that was being changed when the connection began.
    is_userspace: Option<bool>,
    /// When its first segment passed.
    begun_at: u64,
}

/// Each side of each MPTCP connection of which everything was captured.
fn cases<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = Case<'v, 'a>> {
    let halves = view.halves().filter(|half| !view.has_gaps && half.is_plausible());
    let halves = halves.filter(|half| half.own_key.is_some() && half.peer_key.is_some());
    halves.filter_map(|half| {
        let host = view.host(half)?;
        half.initial()?;
        let begun_at = half.signals.courses.first()?.begun_at;
        Some(Case { half, host, is_userspace: host.has_userspace_path_manager(begun_at), begun_at })
    })
}

/// An announcement of this side: each time that it was sent.
struct Episode<'s> {
    announced: Announced,
    sent: Vec<&'s Signal>,
}

impl<'v, 'a> Case<'v, 'a> {
    /// The announcements that this side sent, in the order of their first ADD_ADDR.
    fn episodes(&self) -> Vec<Episode<'v>> {
        let mut episodes: Vec<Episode<'v>> = Vec::new();
        for signal in self.half.signals.sent() {
            let Said::Announce(announced, _) = signal.what else { continue };
            match episodes.iter_mut().find(|episode| episode.announced == announced) {
                Some(episode) => episode.sent.push(signal),
                None => episodes.push(Episode { announced, sent: vec![signal] }),
            }
        }
        episodes
    }

    /// The times at which the signal endpoint, or the command of a userspace path manager, that an announcement is about
    /// came to be. Endpoints whose flags were changed are the same as before.
    fn origins(&self, announced: Announced) -> Vec<Span> {
        if self.is_userspace != Some(false) {
            return self.announcing(announced).collect();
        }
        let periods = self.host.endpoints().iter();
        let matching = periods.filter(|period| !period.changed && is_announced(period, announced, self.half));
        matching.map(|period| period.from).collect()
    }

    /// The commands of a userspace path manager that announce this address on this connection.
    fn announcing(&self, announced: Announced) -> impl Iterator<Item = Span> {
        self.operations().filter_map(move |(span, operation)| {
            let Operation::Announce { token, endpoint, .. } = operation else { return None };
            let same = endpoint.id == Some(announced.id)
                && canonical(endpoint.address) == announced.address
                && endpoint.port == announced.port;
            (same && self.is_named(token)).then_some(span)
        })
    }

    /// The operations in the namespace of this side.
    fn operations(&self) -> impl Iterator<Item = (Span, &'a Operation)> + use<'v, 'a> {
        self.host.operations.iter().copied()
    }

    /// Whether a command is about this connection.
    fn is_named(&self, token: &TokenChoice) -> bool {
        match token {
            TokenChoice::Connection(name) => name == self.half.name,
            TokenChoice::Number(number) => Some(*number) == self.half.token,
        }
    }
}

/// Whether an ADD_ADDR of this connection names this endpoint. An endpoint with the address of the initial subflow has
/// address ID 0 there.
fn is_announced(period: &EndpointPeriod, announced: Announced, half: &Half<'_>) -> bool {
    let endpoint = &period.endpoint;
    let is_initial = half.initial().is_some_and(|flow| canonical(flow.local.ip()) == announced.address);
    endpoint.flags.contains(EndpointFlags::SIGNAL)
        && canonical(endpoint.address) == announced.address
        && port(endpoint) == announced.port
        && (endpoint.id.is_none_or(|id| id == announced.id) || (is_initial && announced.id == 0))
}

/// The port that an endpoint is announced with: only endpoints that are for announcing alone have one
/// (`address_use_port`, net/mptcp/pm_kernel.c).
fn port(endpoint: &Endpoint) -> Option<u16> {
    endpoint
        .port
        .filter(|_| endpoint.flags.contains(EndpointFlags::SIGNAL) && !endpoint.flags.contains(EndpointFlags::SUBFLOW))
}

impl Announced {
    fn candidate(self) -> Candidate {
        Candidate::Announcement { id: self.id, address: self.address, port: self.port }
    }

    fn echo(self) -> Candidate {
        Candidate::Echo { id: self.id, address: self.address, port: self.port }
    }
}

/// A duration in words.
fn milliseconds(nanos: u64) -> String {
    format!("{} ms", nanos / 1_000_000)
}
