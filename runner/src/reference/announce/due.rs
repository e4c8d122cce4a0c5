//! Which signal endpoints must be announced.

use super::one_at_a_time::is_initial;
use super::{Case, Episode, cases, is_announced, port};
use crate::mptcp::{EndpointFlags, canonical};
use crate::reference::ledger::Ledger;
use crate::reference::subflow::facts::increased;
use crate::reference::view::{EndpointPeriod, Half, Said, View};
use crate::reference::{Candidate, Outcome, Rule};

/// Each signal endpoint is announced.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "announce-signal-endpoints",
    statement: "Each signal endpoint is announced on each fully established connection, also if it was added later; except \
                the one with the address of the initial subflow, which the peer knows as address ID 0, and one that was \
                used for a subflow before. When the limit of additional subflows is reached, the path manager goes on \
                only if an endpoint is added.",
    source: "ip-mptcp(8): \"signal: The endpoint will be announced/signaled to each peer via an MPTCP ADD_ADDR \
             sub-option\"; net/mptcp/pm_kernel.c, mptcp_pm_create_subflow_or_signal_addr and \
             mptcp_pm_nl_check_work_pending",
    kernels: "An IPv6 address with a port has no room beside TCP timestamps, unless net.mptcp.add_addr_v6_port_drop_ts \
              is there and 1.",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for case in cases(view).filter(|case| case.is_userspace == Some(false)) {
        let Some(established) = case.half.signals.established_at else { continue };
        let episodes = case.episodes();
        let periods = case.host.endpoints().iter();
        for period in periods.filter(|period| !period.changed && period.endpoint.flags.contains(EndpointFlags::SIGNAL))
        {
            let endpoint = &period.endpoint;
            let at = established.max(period.from.finished);
            let (id, address) = (endpoint.id.unwrap_or(0), canonical(endpoint.address));
            let candidate = Candidate::Announcement { id, address, port: port(endpoint) };
            let first = episodes.iter().filter(|episode| is_announced(period, episode.announced, case.half));
            let mut sent = first.flat_map(|episode| &episode.sent).filter(|signal| signal.at >= period.from.started);
            if let Some(signal) = sent.next() {
                let because = format!("signal endpoint {endpoint}");
                ledger.decide(case.half, signal.at, candidate, Outcome::Done, because, [signal.entry]);
            } else if let Some((outcome, because)) = case.silence(view, period, &episodes, at) {
                ledger.decide(case.half, at, candidate, outcome, because, []);
                ledger.mark_minor(outcome == Outcome::NotDone && is_initial(&case, period));
            }
        }
    }
}

/// Whether a subflow may have been tried that no capture shows: its endpoint counts as used all the same
/// (`mptcp_pm_create_subflow_or_signal_addr` clears the ID before `__mptcp_subflow_connect`, net/mptcp).
fn may_have_tried(view: &View<'_>, half: &Half<'_>) -> bool {
    ["MPTcpExtMPJoinSynTxCreatSkErr", "MPTcpExtMPJoinSynTxBindErr", "MPTcpExtMPJoinSynTxConnectErr"]
        .into_iter()
        .any(|name| increased(view, half, name) != Some(false))
}

impl Case<'_, '_> {
    /// Why an endpoint is not announced. `None`: the recording can't tell, or ends before.
    fn silence(
        &self,
        view: &View<'_>,
        period: &EndpointPeriod,
        episodes: &[Episode<'_>],
        at: u64,
    ) -> Option<(Outcome, String)> {
        let (signals, endpoint) = (&self.half.signals, &period.endpoint);
        let settled = view.settled_after(self.half, at);
        let ends = self.end(period);
        if at == u64::MAX || ends <= at || at >= signals.over_at {
            return None;
        }
        let not_done = |because: String| Some((Outcome::NotDone, because));
        if is_initial(self, period) {
            return not_done("the initial subflow has this address: the peer knows it as address ID 0".to_owned());
        }
        let is_used = self.half.flows.iter().any(|flow| {
            !flow.is_initial && flow.is_opener && canonical(flow.local.ip()) == canonical(endpoint.address)
        });
        if endpoint.flags.contains(EndpointFlags::SUBFLOW) && is_used {
            return not_done("the endpoint was used for a subflow before its turn".to_owned());
        }
        if canonical(endpoint.address).is_ipv6() && port(endpoint).is_some() {
            return not_done("an IPv6 address with a port has no room beside TCP timestamps".to_owned());
        }
        let is_early = period.from.finished <= signals.established_at?;
        let limit = self.host.limits().iter().map(|period| period.limits.subflows).min().unwrap_or(0);
        let additional = self.half.flows.iter().filter(|flow| !flow.is_initial).count();
        if is_early && !episodes.is_empty() && additional >= usize::try_from(limit).unwrap_or(usize::MAX) {
            let because = format!("additional subflows {additional} of limit {limit}: the path manager stopped");
            return not_done(because);
        }
        let waits_for = episodes.iter().find(|episode| {
            !signals.received().any(|signal| signal.is_sure && signal.what == Said::Echo(episode.announced))
        });
        if let Some(episode) = waits_for {
            let announced = episode.announced;
            return not_done(format!("address ID {} was announced first, and has no echo", announced.id));
        }
        let others = self.host.endpoints().iter().filter(|other| {
            other.endpoint.flags.contains(EndpointFlags::SIGNAL)
                && !std::ptr::eq(*other, period)
                && !is_initial(self, other)
                && !episodes.iter().any(|episode| is_announced(other, episode.announced, self.half))
        });
        if endpoint.flags.contains(EndpointFlags::SUBFLOW) && may_have_tried(view, self.half) {
            return None;
        }
        let settled = settled?;
        let is_up = signals.courses.iter().any(|course| course.is_up(at, settled));
        if ends < settled || !is_up || self.host.may_send_unseen(at, settled) || (!is_early && others.count() > 0) {
            return None;
        }
        Some((Outcome::Missing, format!("signal endpoint {endpoint}; nothing stood in the way")))
    }

    /// When an endpoint began to be deleted; changes of its flags don't matter.
    fn end(&self, period: &EndpointPeriod) -> u64 {
        let mut until = period.until;
        for next in self.host.endpoints().iter().filter(|next| next.changed) {
            let is_next =
                next.endpoint.address == period.endpoint.address && next.endpoint.port == period.endpoint.port;
            if is_next && until == Some(next.from) {
                until = next.until;
            }
        }
        until.map_or(u64::MAX, |until| until.started)
    }
}
