//! After a fallback to TCP, there are neither new subflows nor announcements.

use crate::recording::Direction;
use crate::reference::ledger::Ledger;
use crate::reference::view::View;
use crate::reference::{Candidate, Outcome, Rule};
use crate::wire::MptcpOption;

use super::facts::{is_infinite, opened, sides};

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "nothing-after-a-fallback",
    statement: "A host that has sent the infinite mapping opens no subflow and announces no address any more.",
    source: "RFC 8684 section 3.7; mptcp_pm_mp_fail_received, net/mptcp/pm.c; mptcp_established_options, \
             net/mptcp/options.c",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for half in sides(view) {
        let sent: Vec<_> = half
            .controls
            .iter()
            .filter_map(|seen| view.passed(*seen))
            .filter(|passed| passed.direction == Direction::Out)
            .collect();
        let Some(fallback) = sent.iter().find(|passed| passed.segment.options.iter().any(is_infinite)) else {
            continue;
        };
        let mut quiet = true;
        for opened in opened(view, half).filter(|opened| opened.syn.at > fallback.at) {
            let because = "the connection fell back to TCP by the infinite mapping".to_owned();
            let evidence = [fallback.entry, opened.syn.entry];
            ledger.decide(half, opened.syn.at, opened.candidate(), Outcome::Wrong, because, evidence);
            quiet = false;
        }
        for passed in sent.iter().filter(|passed| passed.at > fallback.at) {
            for option in &passed.segment.options {
                let MptcpOption::AddAddr { echo: false, address_id, body } = option else { continue };
                let candidate = Candidate::Announcement { id: *address_id, address: body.address, port: body.port };
                let because = "the connection fell back to TCP by the infinite mapping";
                ledger.decide(half, passed.at, candidate, Outcome::Wrong, because, [fallback.entry, passed.entry]);
                quiet = false;
            }
        }
        if quiet {
            let candidate = Candidate::Shown { what: "subflows and announcements after the fallback".to_owned() };
            let because = "the infinite mapping was sent, and nothing of that followed";
            ledger.decide(half, fallback.at, candidate, Outcome::NotDone, because, [fallback.entry]);
        }
    }
}
