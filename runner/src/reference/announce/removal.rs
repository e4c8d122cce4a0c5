//! The REMOVE_ADDRs that a host sends.

use super::{Case, cases, is_announced, port};
use crate::mptcp::{Endpoint, canonical};
use crate::reference::ledger::Ledger;
use crate::reference::view::{EndpointPeriod, Said, Signal, Span, View};
use crate::reference::{Candidate, Outcome, Rule};
use crate::scenario::model::{Operation, WhichEndpoints};

/// A deleted address is removed from the connections that knew it.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "remove-deleted-addresses",
    statement: "A REMOVE_ADDR is sent when an endpoint is deleted that was announced to the peer, or whose address a \
                subflow uses; a flush sends it for announced addresses only. Address ID 0 is the address of the initial \
                subflow. With a userspace path manager, `remove` sends it. Nothing else does.",
    source: "RFC 8684 section 3.4.2; net/mptcp/pm_kernel.c, mptcp_nl_remove_subflow_and_signal_addr, \
             mptcp_nl_remove_id_zero_address and mptcp_pm_flush_addrs_and_subflows; net/mptcp/pm_userspace.c, \
             mptcp_pm_nl_remove_doit",
    kernels: "",
    apply,
};

/// Something that removes an address.
struct Cause<'v> {
    span: Span,
    /// The address ID that the command names; `None` if it names none, or the endpoint's isn't known.
    id: Option<u8>,
    /// The endpoint, if it is known.
    endpoint: Option<&'v EndpointPeriod>,
    is_flush: bool,
}

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for case in cases(view) {
        let causes = causes(&case);
        let sent =
            case.half.signals.sent().filter_map(|signal| pick!(&signal.what, Said::Remove(ids) => (signal, ids)));
        let sent: Vec<(&Signal, u8)> = sent.flat_map(|(signal, ids)| ids.iter().map(move |id| (signal, *id))).collect();
        for (index, (signal, id)) in sent.iter().enumerate() {
            let before = sent.iter().take(index).filter(|(_, known)| known == id).count();
            let mut known = causes.iter().filter(|cause| cause.span.started <= signal.at && cause.removes(&case, *id));
            let is_known = case.knew(*id, signal.at);
            let (outcome, because) = match known.nth(before) {
                None if case.is_userspace.is_none() => {
                    (Outcome::Undetermined, "the path manager was being changed".to_owned())
                }
                None => (Outcome::Wrong, "nothing removed an address with this address ID".to_owned()),
                Some(_) if !is_known => (Outcome::Wrong, "the peer never heard of this address ID".to_owned()),
                Some(cause) => (Outcome::Done, cause.words()),
            };
            ledger.decide(case.half, signal.at, Candidate::Removal { id: *id }, outcome, because, [signal.entry]);
        }
        for cause in &causes {
            if let Some((id, because)) = case.misses(view, cause, &sent) {
                let at = cause.span.started;
                ledger.decide(case.half, at, Candidate::Removal { id }, Outcome::Missing, because, []);
            }
        }
    }
}

fn causes<'v>(case: &Case<'v, '_>) -> Vec<Cause<'v>> {
    let mut causes = Vec::new();
    for (span, operation) in case.operations() {
        let is_flush = matches!(operation, Operation::FlushEndpoints { .. });
        let is_kernels = case.is_userspace != Some(true);
        let by_userspace = pick!(operation, Operation::RemoveAddress { token, id, .. }
            if case.is_userspace != Some(false) && case.is_named(token) => *id);
        let deletion = pick!(operation, Operation::DeleteEndpoint { which, .. } if is_kernels => which);
        let by_id = deletion.and_then(|which| pick!(which, WhichEndpoints::Id { id, .. } => *id)).or(by_userspace);
        if by_userspace.is_none() && deletion.is_none() && !(is_flush && is_kernels) {
            continue;
        }
        let all = case.host.endpoints().iter();
        let deleted: Vec<_> = all.filter(|period| by_id != Some(0) && period.until == Some(span)).collect();
        if deleted.is_empty() || by_userspace.is_some() {
            causes.push(Cause { span, id: by_id, endpoint: None, is_flush });
            continue;
        }
        causes.extend(deleted.into_iter().map(|period| Cause {
            span,
            id: by_id.or(period.endpoint.id),
            endpoint: Some(period),
            is_flush,
        }));
    }
    let noticed = case.host.deleted_by_programs().filter(|_| case.is_userspace != Some(true));
    causes.extend(noticed.map(|(span, period)| Cause {
        span,
        id: period.endpoint.id,
        endpoint: Some(period),
        is_flush: false,
    }));
    causes
}

impl Cause<'_> {
    /// Whether a REMOVE_ADDR of this address ID may come of it.
    fn removes(&self, case: &Case<'_, '_>, id: u8) -> bool {
        let may_be_initial = self.endpoint.is_none_or(|period| is_initial_address(case, &period.endpoint));
        self.id.is_none_or(|known| known == id) || (id == 0 && may_be_initial)
    }

    fn words(&self) -> String {
        match self.endpoint {
            Some(period) if self.is_flush => format!("endpoint {} was flushed", period.endpoint),
            Some(period) => format!("endpoint {} was deleted", period.endpoint),
            None => "it was removed by its address ID".to_owned(),
        }
    }
}

fn is_initial_address(case: &Case<'_, '_>, endpoint: &Endpoint) -> bool {
    case.half.initial().is_some_and(|flow| canonical(flow.local.ip()) == canonical(endpoint.address))
}

impl Case<'_, '_> {
    /// Whether this side had sent this address ID before, in an ADD_ADDR or an MP_JOIN; 0 is always known.
    fn knew(&self, id: u8, at: u64) -> bool {
        let signals = &self.half.signals;
        let is_announced = signals
            .sent()
            .any(|signal| signal.at <= at && matches!(signal.what, Said::Announce(announced, _) if announced.id == id));
        let is_used = signals.courses.iter().any(|course| course.local_id == Some(id) && course.begun_at <= at);
        id == 0 || is_announced || is_used || self.host.may_send_unseen(0, at)
    }

    /// The address ID and the reason of a REMOVE_ADDR that should have been sent.
    fn misses(&self, view: &View<'_>, cause: &Cause<'_>, sent: &[(&Signal, u8)]) -> Option<(u8, String)> {
        let (signals, span) = (&self.half.signals, cause.span);
        let is_live = signals.established_at.is_some_and(|at| at < span.started)
            && signals.courses.iter().any(|course| course.is_up(span.started, span.started));
        if !is_live || span.finished == u64::MAX || self.host.may_send_unseen(span.started, view.end()) {
            return None;
        }
        view.settled_after(self.half, span.finished)?;
        // What is still in the one slot for signals when the address is removed is sent right afterwards
        // (RmAddrTxDrop).
        let late = view.until_late(span.finished);
        let is_taken = signals.sent().any(|signal| {
            let waited = matches!(signal.what, Said::Announce(..) | Said::Echo(_));
            waited && signal.at >= span.started && signal.at <= late
        });
        let id = self.due(cause)?;
        let is_sent = |(signal, known): &(&Signal, u8)| {
            signal.at >= span.started && (*known == id || cause.removes(self, *known))
        };
        (!is_taken && !sent.iter().any(is_sent)).then(|| (id, format!("{}, and the peer knew it", cause.words())))
    }

    /// The address ID that the peer must be told, if it knows it.
    fn due(&self, cause: &Cause<'_>) -> Option<u8> {
        let (signals, span) = (&self.half.signals, cause.span);
        let Some(period) = cause.endpoint else {
            // A userspace path manager's command, or the address of the initial subflow.
            let id = cause.id?;
            let uses = |course: &crate::reference::view::Course| {
                course.local_id == Some(id) && course.is_up(span.started, span.started)
            };
            return (self.is_userspace == Some(true) && signals.courses.iter().any(uses)).then_some(id);
        };
        let announced = signals.sent().any(|signal| {
            signal.at <= span.started
                && (period.changed || signal.at >= period.from.started)
                && matches!(signal.what, Said::Announce(announced, _) if is_announced(period, announced, self.half))
        });
        let courses = signals.courses.iter().zip(&self.half.flows);
        let used = courses.filter(|(course, _)| course.is_up(span.started, span.started)).any(|(_, flow)| {
            canonical(flow.local.ip()) == canonical(period.endpoint.address)
                && port(&period.endpoint).is_none_or(|port| port == flow.local.port())
        });
        let id = period.endpoint.id.filter(|_| !is_initial_address(self, &period.endpoint));
        let id = id.or(is_initial_address(self, &period.endpoint).then_some(0))?;
        (announced || (used && !cause.is_flush)).then_some(id)
    }
}
