//! A closed subflow is not opened again by itself.

use std::collections::HashMap;

use crate::recording::canonical_socket;
use crate::reference::ledger::Ledger;
use crate::reference::view::View;
use crate::reference::{Outcome, Rule};
use crate::scenario::model::Operation;

use super::facts::{announced, initial_remote, kernel_sides, opened};

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "closed-subflows-stay-closed",
    statement: "The path manager opens one subflow from an endpoint to the peer's initial address. If it is closed or \
                refused, the path manager does not try again, until the endpoint is added anew, changed or flushed, or \
                the peer announces its address again.",
    source: "id_avail_bitmap in mptcp_pm_create_subflow_or_signal_addr and __mark_subflow_endp_available, \
             net/mptcp/pm_kernel.c",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for (half, host) in kernel_sides(view) {
        let target = initial_remote(half);
        let mut before = HashMap::new();
        for opened in opened(view, half).filter(|opened| canonical_socket(opened.flow.remote) == target) {
            let at = opened.syn.at;
            let last = before.insert(opened.local(), (at, opened.syn.entry, opened.life));
            // While it lives, the second one is a double: another rule.
            let Some((first, entry, _)) = last.filter(|(_, _, life)| !life.is_counted(true, at)) else { continue };
            let changed = host
                .operations
                .iter()
                .find(|(span, operation)| span.started <= at && span.finished >= first && changes_endpoints(operation));
            let known = announced(view, half);
            let again =
                known.iter().find(|known| (first..=at).contains(&known.mark.at) && known.target(half) == target);
            let (outcome, because) = if changed.is_some() {
                (Outcome::Done, "the endpoints were changed since the last subflow from there")
            } else if again.is_some() {
                (Outcome::Done, "the peer announced its initial address since the last subflow from there")
            } else {
                (Outcome::Wrong, "a subflow between these addresses was opened before, and nothing has changed since")
            };
            ledger.decide(half, at, opened.candidate(), outcome, because, [entry, opened.syn.entry]);
        }
    }
}

fn changes_endpoints(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::AddEndpoint { .. }
            | Operation::DeleteEndpoint { .. }
            | Operation::ChangeEndpoint { .. }
            | Operation::FlushEndpoints { .. }
    )
}
