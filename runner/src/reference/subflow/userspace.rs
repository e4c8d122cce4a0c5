//! A userspace path manager gets each subflow that it asks for.

use crate::recording::canonical_socket;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Half, Host, View};
use crate::reference::{Candidate, Outcome, Rule};
use crate::scenario::model::Operation;

use super::facts::{created, is_meant, is_userspace, opened, settled_after, sides};
use super::reach::{Obstacle, obstacle};

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "what-userspace-asks-for",
    statement: "With a userspace path manager, the kernel opens and closes each subflow that it is asked for.",
    source: "Documentation/netlink/specs/mptcp_pm.yaml, `subflow-create` and `subflow-destroy`; \
             mptcp_pm_nl_subflow_create_doit and mptcp_pm_nl_subflow_destroy_doit, net/mptcp/pm_userspace.c",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for half in sides(view) {
        let Some(host) = view.host(half) else { continue };
        if host.operations.is_empty() || is_userspace(host, half) != Some(true) {
            continue;
        }
        creates(view, half, host, ledger);
        destroys(view, half, host, ledger);
    }
}

fn creates(view: &View<'_>, half: &Half<'_>, host: &Host<'_>, ledger: &mut Ledger) {
    let all: Vec<_> = opened(view, half).collect();
    for asked in created(host, half, u64::MAX).filter(|asked| asked.finished < u64::MAX) {
        let local = asked.endpoint.address.to_canonical();
        let candidate = Candidate::Subflow { local: Some(local), remote: (asked.remote.0, Some(asked.remote.1)) };
        let done = all.iter().find(|opened| {
            opened.syn.at >= asked.started
                && opened.local() == local
                && canonical_socket(opened.flow.remote) == asked.remote
        });
        if let Some(done) = done {
            let because = "the userspace path manager asked for it";
            ledger.decide(half, done.syn.at, candidate, Outcome::Done, because, [done.syn.entry]);
            continue;
        }
        let device = asked.endpoint.dev.as_deref();
        let (outcome, because) = match obstacle(view, host, Some(local), device, asked.remote.0, asked.finished) {
            Obstacle::Certain(because) => (Outcome::NotDone, because),
            Obstacle::Perhaps(because) => (Outcome::Undetermined, because),
            Obstacle::None if host.may_send_unseen(asked.started, asked.finished) => continue,
            Obstacle::None if settled_after(view, half, asked.finished).is_none() => continue,
            Obstacle::None => (Outcome::Missing, "the userspace path manager asked for it".to_owned()),
        };
        ledger.decide(half, asked.finished, candidate, outcome, because, []);
    }
}

fn destroys(view: &View<'_>, half: &Half<'_>, host: &Host<'_>, ledger: &mut Ledger) {
    for (span, operation) in &host.operations {
        let Operation::DestroySubflow { token, local, local_port, remote, remote_port, .. } = *operation else {
            continue;
        };
        if !is_meant(token, half) || span.finished == u64::MAX {
            continue;
        }
        let matching = half.flows.iter().zip(&half.lives).filter(|(flow, life)| {
            let ((own, own_port), (other, other_port)) = (canonical_socket(flow.local), canonical_socket(flow.remote));
            own == local.to_canonical()
                && other == remote.to_canonical()
                && local_port.is_none_or(|port| port == own_port)
                && remote_port.is_none_or(|port| port == other_port)
                && life.syn.is_some_and(|syn| syn.at <= span.started)
        });
        let matching: Vec<_> = matching.collect();
        let Some((flow, _)) = matching.first() else { continue };
        let (address, port) = canonical_socket(flow.remote);
        let candidate =
            Candidate::Subflow { local: Some(flow.local.ip().to_canonical()), remote: (address, Some(port)) };
        let ends = matching
            .iter()
            .find_map(|(_, life)| [life.end, life.closed].into_iter().flatten().find(|mark| mark.at >= span.started));
        if let Some(end) = ends {
            let because = "the userspace path manager closed it";
            ledger.decide(half, span.finished, candidate, Outcome::NotDone, because, [end.entry]);
        } else if settled_after(view, half, span.finished).is_some() && !host.may_send_unseen(span.started, u64::MAX) {
            let because = "the userspace path manager closed it, and neither a FIN nor a RST followed";
            ledger.decide(half, span.finished, candidate, Outcome::Wrong, because, []);
        }
    }
}
