//! Where options may stand, and their fields that need no stream to be checked.

use crate::reference::Rule;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Flow, Passed, View};
use crate::wire::{MptcpOption, Segment, TcpFlags};

use super::checks::{Checks, is_sent};
use super::payload::agreed;

/// Options and where they stand.
pub(in crate::reference) static OPTIONS: Rule = Rule {
    name: "option-form",
    statement: "Each option has one of the forms of RFC 8684. MP_TCPRST and MP_FASTCLOSE stand on resets, and DSS, ADD_ADDR, \
                REMOVE_ADDR and MP_PRIO on segments without SYN and RST. A REMOVE_ADDR names each address ID once. Only zeros \
                stand behind the end of the TCP options.",
    source: "RFC 8684 sections 3.3, 3.4, 3.5 and 3.6; RFC 9293 section 3.1; mptcp_established_options, mptcp_write_options, \
             net/mptcp/options.c",
    kernels: "",
    apply: forms,
};

/// The key of MP_FASTCLOSE.
pub(in crate::reference) static FASTCLOSE: Rule = Rule {
    name: "fastclose-key",
    statement: "An MP_FASTCLOSE carries the key of its receiver.",
    source: "RFC 8684 section 3.5; mptcp_established_options_fastclose, net/mptcp/options.c",
    kernels: "",
    apply: fastcloses,
};

/// MP_PRIO on live subflows.
pub(in crate::reference) static PRIORITY: Rule = Rule {
    name: "prio-on-live-subflow",
    statement: "MP_PRIO is sent on a subflow whose handshake is complete, and that this host has not reset.",
    source: "RFC 8684 section 3.3.8; mptcp_pm_nl_mp_prio_send_ack, net/mptcp/pm_netlink.c",
    kernels: "",
    apply: priorities,
};

/// MP_FAIL needs checksums.
pub(in crate::reference) static FAIL: Rule = Rule {
    name: "fail-needs-checksums",
    statement: "MP_FAIL is sent only where checksums are in use.",
    source: "RFC 8684 section 3.7; subflow_check_data_avail, net/mptcp/subflow.c; mptcp_pm_mp_fail_received, net/mptcp/pm.c",
    kernels: "",
    apply: fails,
};

fn forms(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        let mut checks = Checks::new(view, half, "form of MPTCP options");
        for passed in view.segments(half).filter(is_sent) {
            if passed.segment.malformed {
                let because = "the TCP options can't be read to their end, or go on behind it";
                checks.wrong(ledger, &passed, &[], because.to_owned());
            }
            for option in &passed.segment.options {
                match form(option, passed.segment) {
                    None => checks.right(&passed),
                    Some(because) => checks.wrong(ledger, &passed, &[], because),
                }
            }
        }
        checks.finish(ledger, |count| {
            format!("{count} options have a form of RFC 8684, on segments that may carry them")
        });
    }
}

/// What is wrong with an option on this segment.
fn form(option: &MptcpOption, segment: &Segment) -> Option<String> {
    let (syn, rst) = (segment.flags.contains(TcpFlags::SYN), segment.flags.contains(TcpFlags::RST));
    let ack = segment.flags.contains(TcpFlags::ACK);
    let (name, is_right) = match option {
        MptcpOption::MpCapable { .. } => ("MP_CAPABLE", !rst),
        MptcpOption::MpJoinSyn { .. } => ("MP_JOIN of a SYN", syn && !ack && !rst),
        MptcpOption::MpJoinSynAck { .. } => ("MP_JOIN of a SYN/ACK", syn && ack && !rst),
        MptcpOption::MpJoinAck { .. } => ("MP_JOIN of a third ACK", !syn && !rst),
        MptcpOption::Dss { .. } => ("DSS", !syn && !rst),
        MptcpOption::AddAddr { .. } => ("ADD_ADDR", !syn && !rst),
        MptcpOption::RemoveAddr { address_ids } => {
            if let Some(twice) = repeated(address_ids) {
                return Some(format!("REMOVE_ADDR names address ID {twice} twice"));
            }
            ("REMOVE_ADDR", !syn && !rst)
        }
        MptcpOption::MpPrio { .. } => ("MP_PRIO", !syn && !rst),
        MptcpOption::MpFail { .. } => ("MP_FAIL", !syn),
        MptcpOption::MpFastclose { .. } => ("MP_FASTCLOSE", rst || (ack && !syn)),
        MptcpOption::MpTcprst { .. } => ("MP_TCPRST", rst),
        MptcpOption::Malformed { bytes, .. } => return Some(format!("{bytes} is no option of RFC 8684")),
    };
    (!is_right).then(|| format!("{name} stands on a segment with the TCP flags {:#04x}", segment.flags.bits()))
}

/// An address ID that comes twice.
fn repeated(ids: &[u8]) -> Option<u8> {
    let mut seen = [false; 256];
    ids.iter().copied().find(|id| seen.get_mut(usize::from(*id)).is_some_and(|seen| std::mem::replace(seen, true)))
}

fn fastcloses(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        let Some(key) = half.peer_key else { continue };
        let mut checks = Checks::new(view, half, "key of MP_FASTCLOSE");
        for passed in view.segments(half).filter(is_sent) {
            for option in &passed.segment.options {
                let MptcpOption::MpFastclose { receiver_key } = option else { continue };
                if *receiver_key == key {
                    checks.right(&passed);
                } else {
                    let because = format!("it carries {receiver_key:016x}, and the peer's key is {key:016x}");
                    checks.wrong(ledger, &passed, &[], because);
                }
            }
        }
        checks.finish(ledger, |_| "it carries the peer's key".to_owned());
    }
}

fn priorities(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        let mut states = vec![(false, false); half.flows.len()];
        let mut checks = Checks::new(view, half, "MP_PRIO");
        for passed in view.segments(half) {
            let (Some(state), Some(flow)) = (states.get_mut(passed.flow), half.flows.get(passed.flow)) else {
                continue;
            };
            if is_sent(&passed)
                && passed.segment.options.iter().any(|option| matches!(option, MptcpOption::MpPrio { .. }))
            {
                let breach = match *state {
                    (true, false) => None,
                    (false, _) => Some("the handshake of the subflow is not complete"),
                    (true, true) => Some("this host has reset the subflow"),
                };
                match breach {
                    None => checks.right(&passed),
                    Some(because) => checks.wrong(ledger, &passed, &[], because.to_owned()),
                }
            }
            state.0 |= completes(flow, &passed);
            state.1 |= is_sent(&passed) && passed.segment.flags.contains(TcpFlags::RST);
        }
        checks.finish(ledger, |_| "the subflow is live".to_owned());
    }
}

/// Whether a segment completes the handshake for this host: the SYN/ACK, or the third ACK.
fn completes(flow: &Flow, passed: &Passed<'_>) -> bool {
    let flags = passed.segment.flags;
    let is_last = flags.contains(TcpFlags::SYN) == flow.is_opener && flags.contains(TcpFlags::ACK);
    !is_sent(passed) && is_last && !flags.contains(TcpFlags::RST)
}

fn fails(view: &View<'_>, ledger: &mut Ledger) {
    for half in view.halves().filter(|half| view.is_complete(half)) {
        let Some(agreed) = agreed(view, half) else { continue };
        let mut checks = Checks::new(view, half, "MP_FAIL");
        for passed in view.segments(half).filter(is_sent) {
            if !passed.segment.options.iter().any(|option| matches!(option, MptcpOption::MpFail { .. })) {
                continue;
            }
            if agreed {
                checks.right(&passed);
            } else {
                checks.wrong(ledger, &passed, &[], "neither host required checksums".to_owned());
            }
        }
        checks.finish(ledger, |_| "checksums are in use".to_owned());
    }
}
