//! The device of an endpoint.

use crate::reference::ledger::Ledger;
use crate::reference::view::View;
use crate::reference::{Outcome, Rule};

use super::facts::{endpoints_at, kernel_sides, named, opened};

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "device-of-the-endpoint",
    statement: "A subflow from an endpoint with a device (`dev`) leaves by that device.",
    source: "ip-mptcp(8), `dev`; __mptcp_subflow_connect, net/mptcp/subflow.c",
    kernels: "Without `subflow_device` (Linux 6.1), not for address ID 0.",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for (half, host) in kernel_sides(view) {
        for opened in opened(view, half) {
            // Without `subflow_device`, the device is looked up by the address ID.
            if opened.id == 0 {
                continue;
            }
            let at = opened.syn.at;
            let used = |period: &&_| super::facts::is_source(period);
            let all: Vec<_> = endpoints_at(host, opened.local(), at).filter(used).collect();
            let Some(first) = all.first() else { continue };
            let Some(wanted) = first.endpoint.dev.as_deref() else { continue };
            if all.iter().any(|period| period.endpoint.dev.as_deref() != Some(wanted)) {
                continue;
            }
            let is_right = view.scenario.world.is_on(half.namespace, wanted, opened.device);
            let outcome = if is_right { Outcome::Done } else { Outcome::Wrong };
            let because = format!("{} has device {wanted}; the SYN left by {}", named(first), opened.device);
            ledger.decide(half, at, opened.candidate(), outcome, because, [opened.syn.entry]);
        }
    }
}
