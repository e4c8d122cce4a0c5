//! What was configured in a namespace, and when.

use crate::mptcp::{Endpoint, EndpointFlags, Limits, canonical};
use crate::scenario::model::{FlagChange, WhichEndpoints};

/// When a change took effect: at some time in between. Nanoseconds since the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::reference) struct Span {
    /// It had not before.
    pub(in crate::reference) started: u64,
    /// It had afterwards.
    pub(in crate::reference) finished: u64,
}

impl Span {
    /// The set-up, before the first step.
    pub(in crate::reference) const SETUP: Self = Self { started: 0, finished: 0 };
}

/// An endpoint, from one change of it to the next.
#[derive(Debug, Clone)]
pub(in crate::reference) struct EndpointPeriod {
    /// The endpoint. Its id is `None` if the kernel chose it and no dump shows it.
    pub(in crate::reference) endpoint: Endpoint,
    /// When it came to be so.
    pub(in crate::reference) from: Span,
    /// When it was changed or deleted.
    pub(in crate::reference) until: Option<Span>,
    /// It was changed from another one, and not added.
    pub(in crate::reference) changed: bool,
}

impl EndpointPeriod {
    /// Whether it may have been there at some time in this period.
    pub(in crate::reference) fn may_be_in(&self, from: u64, to: u64) -> bool {
        self.from.started <= to && self.until.is_none_or(|until| until.finished >= from)
    }

    /// Whether it was there for the whole period.
    pub(in crate::reference) fn is_through(&self, from: u64, to: u64) -> bool {
        self.from.finished <= from && self.until.is_none_or(|until| until.started >= to)
    }
}

/// Limits, from one change of them to the next.
#[derive(Debug, Clone)]
pub(in crate::reference) struct LimitsPeriod {
    /// The limits.
    pub(in crate::reference) limits: Limits,
    /// When they were set.
    pub(in crate::reference) from: Span,
    /// When others were set.
    pub(in crate::reference) until: Option<Span>,
}

impl LimitsPeriod {
    /// Whether they may have held at some time in this period.
    pub(in crate::reference) fn may_be_in(&self, from: u64, to: u64) -> bool {
        self.from.started <= to && self.until.is_none_or(|until| until.finished >= from)
    }
}

/// The endpoints of a namespace over time.
#[derive(Debug, Default)]
pub(super) struct Endpoints(pub(super) Vec<EndpointPeriod>);

impl Endpoints {
    pub(super) fn add(&mut self, endpoint: Endpoint, from: Span) {
        self.0.push(EndpointPeriod { endpoint, from, until: None, changed: false });
    }

    pub(super) fn delete(&mut self, which: &WhichEndpoints, at: Span) {
        self.infer(which);
        for period in self.0.iter_mut().filter(|period| period.until.is_none() && is_meant(&period.endpoint, which)) {
            period.until = Some(at);
        }
    }

    pub(super) fn change(&mut self, which: &WhichEndpoints, change: FlagChange, at: Span) {
        self.infer(which);
        let mut next = Vec::new();
        for period in self.0.iter_mut().filter(|period| period.until.is_none() && is_meant(&period.endpoint, which)) {
            period.until = Some(at);
            let mut endpoint = period.endpoint.clone();
            endpoint.flags.set(EndpointFlags::BACKUP, change.backup);
            endpoint.flags.set(EndpointFlags::FULLMESH, change.fullmesh);
            next.push(EndpointPeriod { endpoint, from: at, until: None, changed: true });
        }
        self.0.append(&mut next);
    }

    /// An ID that no endpoint is known to have is that of the only one whose ID is not known.
    fn infer(&mut self, which: &WhichEndpoints) {
        let WhichEndpoints::Id { id, .. } = which else { return };
        let is_known = |period: &&EndpointPeriod| period.until.is_none() && period.endpoint.id == Some(*id);
        if *id == 0 || self.0.iter().any(|period| is_known(&period)) {
            return;
        }
        let mut open = self.0.iter_mut().filter(|period| period.until.is_none() && period.endpoint.id.is_none());
        if let (Some(only), None) = (open.next(), open.next()) {
            only.endpoint.id = Some(*id);
        }
    }

    /// What a dump shows, after a time in which others may have configured it.
    pub(super) fn become_like(&mut self, dump: &[Endpoint], at: Span) {
        let own = dump.iter().filter(|shown| !shown.flags.contains(EndpointFlags::IMPLICIT));
        let own: Vec<Endpoint> = own.cloned().collect();
        self.learn(&own, at.finished);
        let same = |one: &Endpoint, other: &Endpoint| {
            canonical(one.address) == canonical(other.address)
                && one.port == other.port
                && one.id.is_none_or(|id| other.id == Some(id))
        };
        let mut next = Vec::new();
        for period in self.0.iter_mut().filter(|period| period.until.is_none()) {
            match own.iter().find(|shown| same(&period.endpoint, shown)) {
                Some(shown) if shown.flags == period.endpoint.flags => {}
                Some(shown) => {
                    period.until = Some(at);
                    next.push(EndpointPeriod { endpoint: shown.clone(), from: at, until: None, changed: true });
                }
                None => period.until = Some(at),
            }
        }
        for shown in own {
            let known =
                self.0.iter().chain(&next).any(|period| period.until.is_none() && same(&period.endpoint, &shown));
            if !known {
                next.push(EndpointPeriod { endpoint: shown, from: at, until: None, changed: false });
            }
        }
        self.0.append(&mut next);
    }

    /// What a dump shows: the ids that the kernel chose, and whether it knows `laminar`.
    pub(super) fn learn(&mut self, dump: &[Endpoint], at: u64) {
        for period in self.0.iter_mut().filter(|period| period.may_be_in(at, at)) {
            let endpoint = &mut period.endpoint;
            let shown = dump
                .iter()
                .find(|shown| canonical(shown.address) == canonical(endpoint.address) && shown.port == endpoint.port);
            let Some(shown) = shown else { continue };
            endpoint.id = endpoint.id.or(shown.id);
            if !shown.flags.contains(EndpointFlags::LAMINAR) {
                endpoint.flags.remove(EndpointFlags::LAMINAR);
            }
        }
    }
}

fn is_meant(endpoint: &Endpoint, which: &WhichEndpoints) -> bool {
    match which {
        WhichEndpoints::Id { id, .. } => endpoint.id == Some(*id),
        WhichEndpoints::Address { address, port } => {
            canonical(endpoint.address) == canonical(*address) && (port.is_none() || endpoint.port == *port)
        }
        WhichEndpoints::All => true,
    }
}
