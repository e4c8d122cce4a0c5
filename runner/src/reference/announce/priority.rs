//! MP_PRIO.

use std::net::IpAddr;

use super::{Case, cases, port};
use crate::mptcp::{Endpoint, EndpointFlags, canonical};
use crate::reference::ledger::Ledger;
use crate::reference::view::{EndpointPeriod, Flow, Said, Signal, Span, View};
use crate::reference::{Candidate, Outcome, Rule};
use crate::scenario::model::{Operation, WhichEndpoints};

/// A changed backup flag is told with MP_PRIO.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "tell-changed-priorities",
    statement: "When the backup flag of an endpoint is changed, one subflow from its address sends an MP_PRIO with the new \
                value, on each connection that has one. When a connection is fully established and the endpoint of its \
                initial subflow is a backup, the initial subflow sends one, too. With a userspace path manager, its \
                command sends it. Nothing else does.",
    source: "RFC 8684 section 3.3.8; ip-mptcp(8): \"backup\"; net/mptcp/pm_kernel.c, mptcp_pm_nl_set_flags and \
             mptcp_pm_create_subflow_or_signal_addr; net/mptcp/pm_userspace.c, mptcp_userspace_pm_set_flags",
    kernels: "",
    apply,
};

/// Something that sends an MP_PRIO.
struct Cause<'v> {
    span: Span,
    /// From when on it is due.
    due_from: u64,
    /// The flows that may send it, by their indices.
    flows: Vec<usize>,
    backup: bool,
    /// It changes nothing, so nothing is due.
    is_idle: bool,
    because: String,
    endpoint: Option<&'v EndpointPeriod>,
}

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for case in cases(view) {
        let causes = causes(&case);
        let sent = case.half.signals.sent();
        let sent: Vec<(&Signal, bool)> =
            sent.filter_map(|signal| pick!(signal.what, Said::Priority(backup) => (signal, backup))).collect();
        let mut taken = vec![false; causes.len()];
        for (signal, backup) in &sent {
            let Some(flow) = case.half.flows.get(signal.flow) else { continue };
            let fits = |cause: &Cause<'_>| {
                cause.span.started <= signal.at && cause.backup == *backup && cause.flows.contains(&signal.flow)
            };
            let found = causes.iter().zip(&mut taken).find(|(cause, taken)| !**taken && fits(cause));
            let (outcome, because) = match found {
                Some((cause, taken)) => {
                    *taken = true;
                    (Outcome::Done, cause.because.clone())
                }
                None if case.is_userspace.is_none() => {
                    (Outcome::Undetermined, "the path manager was being changed".to_owned())
                }
                None => (Outcome::Wrong, "no endpoint with this address was changed to it".to_owned()),
            };
            let candidate = Candidate::Priority { local: canonical(flow.local.ip()), backup: *backup };
            ledger.decide(case.half, signal.at, candidate, outcome, because, [signal.entry]);
        }
        for (cause, _) in causes.iter().zip(taken).filter(|(_, taken)| !taken) {
            let local = cause.flows.first().and_then(|flow| case.half.flows.get(*flow));
            if let Some(flow) = local.filter(|_| case.misses_priority(view, cause)) {
                let candidate = Candidate::Priority { local: canonical(flow.local.ip()), backup: cause.backup };
                let because = cause.because.as_str();
                ledger.decide(case.half, cause.span.started, candidate, Outcome::Missing, because, []);
            }
        }
    }
}

/// Whether a subflow comes from the address of an endpoint, and from its port if it has one.
fn is_from(flow: &Flow, endpoint: &Endpoint) -> bool {
    canonical(flow.local.ip()) == canonical(endpoint.address)
        && port(endpoint).is_none_or(|port| port == flow.local.port())
}

fn causes<'v>(case: &Case<'v, '_>) -> Vec<Cause<'v>> {
    let mut causes = Vec::new();
    if case.is_userspace != Some(true) {
        changes(case, &mut causes);
        changes_of_implicit(case, &mut causes);
        causes.extend(of_initial(case));
    }
    if case.is_userspace != Some(false) {
        commands(case, &mut causes);
    }
    causes
}

/// The endpoints whose flags were changed.
fn changes<'v>(case: &Case<'v, '_>, causes: &mut Vec<Cause<'v>>) {
    let flows = || case.half.flows.iter().enumerate();
    let endpoints = case.host.endpoints();
    for period in endpoints.iter().filter(|period| period.changed) {
        let backup = period.endpoint.flags.contains(EndpointFlags::BACKUP);
        let before = endpoints
            .iter()
            .find(|before| before.until == Some(period.from) && is_same(&before.endpoint, &period.endpoint));
        let is_idle = before.is_none_or(|before| before.endpoint.flags.contains(EndpointFlags::BACKUP) == backup);
        let from = flows().filter(|(_, flow)| is_from(flow, &period.endpoint)).map(|(index, _)| index);
        let because = format!("endpoint {} was changed", period.endpoint);
        let (span, flows) = (period.from, from.collect());
        causes.push(Cause { span, due_from: span.started, flows, backup, is_idle, because, endpoint: Some(period) });
    }
}

/// Changes that may have been about an implicit endpoint, which nothing declares.
fn changes_of_implicit(case: &Case<'_, '_>, causes: &mut Vec<Cause<'_>>) {
    let flows = || case.half.flows.iter().enumerate();
    let endpoints = case.host.endpoints();
    for (span, operation) in case.operations() {
        let Operation::ChangeEndpoint { which, change, .. } = operation else { continue };
        let is_known = endpoints.iter().any(|period| period.changed && period.from == span);
        if is_known && *which != WhichEndpoints::All {
            continue;
        }
        let mut locals: Vec<IpAddr> = flows().map(|(_, flow)| canonical(flow.local.ip())).collect();
        locals.sort_unstable();
        locals.dedup();
        causes.extend(locals.into_iter().map(|local| {
            let from = flows().filter(|(_, flow)| canonical(flow.local.ip()) == local).map(|(index, _)| index);
            let because = format!("the implicit endpoint {local} was changed");
            let (due_from, flows, backup) = (span.started, from.collect(), change.backup);
            Cause { span, due_from, flows, backup, is_idle: true, because, endpoint: None }
        }));
    }
}

/// The endpoint of the initial subflow, if it is a backup.
fn of_initial<'v>(case: &Case<'v, '_>) -> Option<Cause<'v>> {
    let endpoints = case.host.endpoints();
    let initial = case.half.initial()?;
    let period = endpoints
        .iter()
        .find(|period| period.endpoint.flags.contains(EndpointFlags::BACKUP) && is_from(initial, &period.endpoint))?;
    let began = case.begun_at.max(period.from.started);
    let span = Span { started: began, finished: case.half.signals.established_at.unwrap_or(u64::MAX) };
    let because = format!("endpoint {} is that of the initial subflow", period.endpoint);
    // A path manager that found no work when the connection was created does not look at it.
    let is_idle = !case.has_work() || !period.is_through(case.begun_at, span.finished);
    let (due_from, flows) = (span.finished, vec![0]);
    Some(Cause { span, due_from, flows, backup: true, is_idle, because, endpoint: Some(period) })
}

/// What a userspace path manager asked for.
fn commands(case: &Case<'_, '_>, causes: &mut Vec<Cause<'_>>) {
    let flows = || case.half.flows.iter().enumerate();
    for (span, operation) in case.operations() {
        let Operation::SetSubflowBackup { token, local, remote, backup, .. } = operation else { continue };
        let matches = |flow: &Flow| {
            canonical(flow.local.ip()) == canonical(*local) && canonical(flow.remote.ip()) == canonical(*remote)
        };
        let matching = flows().filter(|(_, flow)| matches(flow) && case.is_named(token)).map(|(index, _)| index);
        let because = "a userspace path manager asked for it".to_owned();
        let flows = matching.collect();
        causes.push(Cause {
            span,
            due_from: span.started,
            flows,
            backup: *backup,
            is_idle: false,
            because,
            endpoint: None,
        });
    }
}

fn is_same(one: &Endpoint, other: &Endpoint) -> bool {
    canonical(one.address) == canonical(other.address) && one.port == other.port
}

impl Case<'_, '_> {
    /// Whether the path manager found something to do when the connection was created (`work_pending`,
    /// `mptcp_pm_data_reset`, net/mptcp/pm.c).
    fn has_work(&self) -> bool {
        let at = self.begun_at;
        let has = |flag| {
            let mut periods = self.host.endpoints().iter();
            periods.any(|period| period.endpoint.flags.contains(flag) && period.is_through(at, at))
        };
        let limit = self.host.limits().iter().filter(|period| period.may_be_in(at, at));
        let is_allowed = limit.map(|period| period.limits.subflows).min().unwrap_or(0) > 0;
        has(EndpointFlags::SIGNAL) || (has(EndpointFlags::SUBFLOW) && is_allowed)
    }

    fn misses_priority(&self, view: &View<'_>, cause: &Cause<'_>) -> bool {
        let (signals, from) = (&self.half.signals, cause.due_from);
        let Some(settled) = view.settled_after(self.half, cause.span.finished) else { return false };
        let courses = cause.flows.iter().filter_map(|flow| signals.courses.get(*flow));
        let mut courses = courses.filter(|course| course.begun_at <= from).peekable();
        // Where one of them is being closed, the kernel may choose it in vain.
        let are_up = courses.peek().is_some() && courses.all(|course| course.is_up(from, settled));
        let is_changed = cause.endpoint.is_none_or(|period| period.is_through(cause.span.finished, settled));
        let is_established = signals.established_at.is_some_and(|at| at <= cause.span.finished);
        let is_seen = !self.host.may_send_unseen(cause.span.started, settled);
        !cause.is_idle && is_established && is_changed && are_up && is_seen
    }
}
