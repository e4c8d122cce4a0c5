//! The limit of additional subflows.

use crate::reference::ledger::Ledger;
use crate::reference::view::View;
use crate::reference::{Outcome, Rule};

use super::facts::{LATE, counted, kernel_sides, limits_in, opened};

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "limit-of-additional-subflows",
    statement: "A host opens a subflow only while the connection has fewer additional subflows, opened and accepted \
                together, than its limit `subflows`. A userspace path manager has no limit.",
    source: "ip-mptcp(8), `subflows`; mptcp_pm_create_subflow_or_signal_addr and fill_local_addresses_vec, \
             net/mptcp/pm_kernel.c",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for (half, host) in kernel_sides(view) {
        for opened in opened(view, half) {
            let at = opened.syn.at;
            let (_, most) = limits_in(host, at.saturating_sub(LATE), at);
            let others = counted(half, at, opened.index);
            let is_over = u32::try_from(others).is_ok_and(|others| others >= most.subflows);
            let outcome = if is_over { Outcome::Wrong } else { Outcome::Done };
            let because = format!("additional subflows {others} of limit {}", most.subflows);
            ledger.decide(half, at, opened.candidate(), outcome, because, [opened.syn.entry]);
        }
    }
}
