//! Whether the recording can be trusted: nothing was lost, it was not cut off, the kernel did not complain.

use crate::judge::names::Names;
use crate::judge::outcome::contradiction_words;
use crate::judge::time_line::around;
use crate::judge::{Finding, FindingKind, kernel_finding};
use crate::mptcp::EventKind;
use crate::recording::{LostWhat, Moment, Observation};
use crate::scenario::model::Namespace;

/// What makes the recording untrustworthy.
pub(super) fn check(names: &Names<'_>) -> Vec<Finding> {
    let entries = &names.recording().entries;
    let mut findings = Vec::new();
    for entry in entries {
        match &entry.what {
            Observation::Lost { namespace, what, count } => {
                let (what, why) = lost_words(*what);
                let count = count.map_or_else(String::new, |count| format!("{count} "));
                let summary = format!("{count}{what} of {namespace} were lost: {why}; the recording can't be trusted");
                findings.push(Finding::new(FindingKind::Incomplete, summary).at(Some(entry.at)));
            }
            Observation::SetupFailed { message } => {
                findings.push(Finding::new(FindingKind::Setup, message.clone()).at(Some(entry.at)));
            }
            Observation::SetupContradicted(contradiction) => {
                let summary = format!("set-up: {}", contradiction_words(contradiction));
                findings.push(Finding::new(FindingKind::Contradiction, summary).at(Some(entry.at)));
            }
            Observation::StepStarted { .. }
            | Observation::StepFinished { .. }
            | Observation::Event { .. }
            | Observation::Packet { .. }
            | Observation::Connected { .. }
            | Observation::Counters { .. }
            | Observation::Sockets { .. }
            | Observation::Endpoints { .. }
            | Observation::SocketCounts { .. }
            | Observation::Limits { .. }
            | Observation::ConnectionEndpoints { .. }
            | Observation::LinkBytes { .. }
            | Observation::Transferred { .. }
            | Observation::Application(_)
            | Observation::Option(_)
            | Observation::OptionReply(_)
            | Observation::Calls(_)
            | Observation::ProgramStarted { .. }
            | Observation::ProgramOutput { .. }
            | Observation::ProgramSocket { .. }
            | Observation::ProgramEnded { .. }
            | Observation::ProgramConfigures { .. }
            | Observation::Configured(_)
            | Observation::ProgramOutputLeftOut { .. }
            | Observation::FilterHits { .. }
            | Observation::Path { .. }
            | Observation::PathTotals { .. }
            | Observation::Icmp { .. }
            | Observation::Routes { .. }
            | Observation::RuleHits { .. }
            | Observation::KernelLog { .. }
            | Observation::RanAlone { .. }
            | Observation::Stalled { .. }
            | Observation::Busy(_)
            | Observation::Ended => {}
        }
    }
    if !entries.iter().any(|entry| entry.what == Observation::Ended) {
        let summary = "the recording was cut off: its end is missing";
        findings.push(Finding::new(FindingKind::Incomplete, summary).detailed(around(names, entries.len())));
    }
    findings.extend(names.scenario().world.namespaces.iter().filter_map(|namespace| silent_loss(names, namespace)));
    findings.extend(kernel_finding(names.recording()));
    findings
}

/// What was lost, and how.
fn lost_words(what: LostWhat) -> (&'static str, &'static str) {
    match what {
        LostWhat::Events => ("events", "the event socket's buffer overflowed"),
        LostWhat::Packets => ("segments", "the capture ring overflowed"),
        LostWhat::Forwarding => ("packets", "a path's receive ring overflowed, and the peer never saw them"),
        LostWhat::Backlog => (
            "packets",
            "the kernel dropped them on the way to a path (`tx_dropped` of the interface), though the link had a carrier",
        ),
        LostWhat::Sending => {
            ("packets", "the kernel had no room for packets that a path sent, and the peer never saw them")
        }
        LostWhat::Unreadable => {
            ("packets", "a path received frames that it can't forward, and the peer never saw them")
        }
        LostWhat::Room => {
            ("packets and effects of paths", "the recording is full; transfer less, or in larger segments")
        }
    }
}

/// The kernel reports each ADD_ADDR that arrives and counts it right after (`mptcp_incoming_options`,
/// net/mptcp/options.c). A count that is higher than the number of events means that an
/// event was lost and nobody said so.
fn silent_loss(names: &Names<'_>, namespace: &Namespace) -> Option<Finding> {
    const COUNTER: &str = "MPTcpExtAddAddr";
    if !namespace.events {
        return None;
    }
    let value = |moment| names.recording().counters(&namespace.name, &moment)?.get(COUNTER).copied();
    let counted = value(Moment::End)?.checked_sub(value(Moment::Start)?)?;
    let announced = names.recording().events(&namespace.name).filter(|(_, event)| event.kind == EventKind::Announced);
    let reported = u64::try_from(announced.count()).unwrap_or(u64::MAX);
    (counted > reported).then(|| {
        let summary = format!(
            "events of {} were lost: {COUNTER} counted {counted} ADD_ADDRs, but there are {reported} announced events",
            namespace.name
        );
        Finding::new(FindingKind::Incomplete, summary)
    })
}
