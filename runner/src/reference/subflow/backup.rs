//! The backup bit of MP_JOIN.

use crate::mptcp::EndpointFlags;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Half, Host, View};
use crate::reference::{Candidate, Outcome, Rule};
use crate::wire::MptcpOption;

use super::facts::{endpoints_at, has, kernel_sides, opened};

/// The rule.
pub(in crate::reference) static RULE: Rule = Rule {
    name: "backup-bit-of-the-endpoint",
    statement: "The B bit of an MP_JOIN SYN or SYN/ACK is the `backup` flag of the endpoint with the sender's address; \
                without such an endpoint, it is not set.",
    source: "ip-mptcp(8), `backup`; RFC 8684 section 3.2; __mptcp_subflow_connect, net/mptcp/subflow.c; \
             mptcp_pm_is_backup, net/mptcp/pm.c",
    kernels: "",
    apply,
};

fn apply(view: &View<'_>, ledger: &mut Ledger) {
    for (half, host) in kernel_sides(view) {
        for opened in opened(view, half) {
            if let Some((outcome, because)) = judge(host, opened.local(), opened.backup, opened.syn.at) {
                ledger.decide(half, opened.syn.at, opened.candidate(), outcome, because, [opened.syn.entry]);
            }
        }
        accepted(view, half, host, ledger);
    }
}

/// The SYN/ACKs.
fn accepted(view: &View<'_>, half: &Half<'_>, host: &Host<'_>, ledger: &mut Ledger) {
    for (flow, life) in half.flows.iter().zip(&half.lives).filter(|(flow, _)| !flow.is_opener) {
        let Some((mark, (_, segment))) = life.syn_ack.and_then(|mark| Some((mark, view.packet(mark.entry)?))) else {
            continue;
        };
        let sent = segment
            .options
            .iter()
            .find_map(|option| pick!(option, MptcpOption::MpJoinSynAck { backup, .. } => *backup));
        let Some((outcome, because)) = sent.and_then(|backup| judge(host, flow.local.ip(), backup, mark.at)) else {
            continue;
        };
        let candidate = Candidate::Join { local: flow.local, remote: flow.remote };
        ledger.decide(half, mark.at, candidate, outcome, because, [mark.entry]);
    }
}

fn judge(host: &Host<'_>, local: std::net::IpAddr, backup: bool, at: u64) -> Option<(Outcome, String)> {
    let mut flags: Vec<bool> = endpoints_at(host, local, at).map(|period| has(period, EndpointFlags::BACKUP)).collect();
    flags.dedup();
    let (expected, because) = match flags.as_slice() {
        [] => (false, format!("{local} has no endpoint")),
        [true] => (true, format!("the endpoint {local} has `backup`")),
        [false] => (false, format!("the endpoint {local} has no `backup`")),
        _ => return None,
    };
    let outcome = if expected == backup { Outcome::Done } else { Outcome::Wrong };
    Some((outcome, format!("{because}; B is {}", u8::from(backup))))
}
