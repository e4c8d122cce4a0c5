//! No second subflow between the same addresses.

use crate::recording::canonical_socket;
use crate::reference::ledger::Ledger;
use crate::reference::view::View;
use crate::reference::{Outcome, Rule};

use super::facts::{end, kernel_sides, opened};

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "no-second-subflow-between-the-same-addresses",
    statement: "While a subflow lives, the path manager opens no second one from the same address to the same address \
                and port.",
    source: "fill_remote_addresses_vec and has_subflow_daddr, net/mptcp/pm_kernel.c",
    kernels: "Linux 6.1 breaks it: a `fullmesh` endpoint opens a second subflow to an address that it has accepted \
              before.",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for (half, _) in kernel_sides(view) {
        for opened in opened(view, half) {
            let (at, remote) = (opened.syn.at, canonical_socket(opened.flow.remote));
            let double = half.flows.iter().zip(&half.lives).enumerate().find(|(index, (flow, life))| {
                let same = flow.local.ip().to_canonical() == opened.local() && canonical_socket(flow.remote) == remote;
                *index != opened.index && flow.is_opener && same && life.is_counted(true, at)
            });
            let evidence = double.and_then(|(_, (_, life))| life.syn).map(|syn| syn.entry);
            let (outcome, because) = match double {
                Some(_) => (Outcome::Wrong, format!("a subflow from {} to {} lives", opened.local(), end(remote))),
                None => (Outcome::Done, format!("no other subflow from {} to {} lives", opened.local(), end(remote))),
            };
            let evidence = evidence.into_iter().chain([opened.syn.entry]);
            ledger.decide(half, at, opened.candidate(), outcome, because, evidence);
        }
    }
}
