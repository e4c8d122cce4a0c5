//! The MPTCP counters of a namespace that moved, as far as their value is the same each time and on each kernel.

use crate::judge::checks::is_gauge;
use crate::judge::names::Names;
use crate::recording::Moment;
use crate::scenario::model::Feature;

use super::errors::data_may_be_late;
use super::wire::{Repeated, Wire};

/// How a counter is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Its value.
    Exactly,
    /// Without the repetitions that were seen on the wire.
    Without(Received, Repeated),
    /// Only that it moved. A fastclose goes out on each subflow, but those that the first one has already ended
    /// neither send nor hear theirs.
    Moved,
    /// Its value, unless something is going on that makes RSTs race: a fastclose, or a close in mid-transfer.
    UnlessResetsRace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Received {
    Here,
    FromHere,
}

/// Counters that depend on timing and on the scheduler. They don't show, and may move without being mentioned.
/// [`super::super::checks`] bounds those of which something can be said (`accounted`).
///
/// Retransmissions and duplicates (MPTCPRetrans, DuplicateData), the receive queue (OFO…, NoDSSInWindow, RcvPruned), the
/// windows (SndWndShared, RcvWnd…, WinProbe), stale subflows (SubflowStale, SubflowRecover: silent retransmission
/// intervals), and the …Drop counters: an option that finds its slot taken or no room is dropped, and sent later.
const TIMING: [&str; 19] = [
    "MPTcpExtAddAddrDrop",
    "MPTcpExtAddAddrTxDrop",
    "MPTcpExtDuplicateData",
    "MPTcpExtEchoAddTxDrop",
    "MPTcpExtMPTCPRetrans",
    "MPTcpExtNoDSSInWindow",
    "MPTcpExtOFOMerge",
    "MPTcpExtOFOQueue",
    "MPTcpExtOFOQueueTail",
    "MPTcpExtRcvPruned",
    "MPTcpExtRcvWndConflict",
    "MPTcpExtRcvWndConflictUpdate",
    "MPTcpExtRcvWndShared",
    "MPTcpExtRmAddrDrop",
    "MPTcpExtRmAddrTxDrop",
    "MPTcpExtSndWndShared",
    "MPTcpExtSubflowRecover",
    "MPTcpExtSubflowStale",
    "MPTcpExtWinProbe",
];

/// Whether a counter depends on timing.
pub(in crate::judge) fn is_timing(counter: &str) -> bool {
    TIMING.contains(&counter)
}

/// The counters of Linux 6.1 (net/mptcp/mib.c there) that say what happened rather than how fast.
const ON_ALL_KERNELS: [(&str, Shown); 41] = [
    ("MPTcpExtAddAddr", Shown::Without(Received::Here, Repeated::AddAddr)),
    ("MPTcpExtDSSCorruptionFallback", Shown::Exactly),
    ("MPTcpExtDSSCorruptionReset", Shown::Exactly),
    ("MPTcpExtDSSNoMatchTCP", Shown::Exactly),
    ("MPTcpExtDSSNotMatching", Shown::Exactly),
    ("MPTcpExtDataCsumErr", Shown::Exactly),
    ("MPTcpExtEchoAdd", Shown::Without(Received::Here, Repeated::Echo)),
    ("MPTcpExtInfiniteMapRx", Shown::Exactly),
    ("MPTcpExtInfiniteMapTx", Shown::Exactly),
    ("MPTcpExtMPCapableACKRX", Shown::Exactly),
    ("MPTcpExtMPCapableEndpAttempt", Shown::Exactly),
    ("MPTcpExtMPCapableFallbackACK", Shown::Exactly),
    ("MPTcpExtMPCapableFallbackSYNACK", Shown::Exactly),
    ("MPTcpExtMPCapableSYNACKRX", Shown::Exactly),
    ("MPTcpExtMPCapableSYNRX", Shown::Exactly),
    ("MPTcpExtMPCapableSYNTX", Shown::Exactly),
    ("MPTcpExtMPFailRx", Shown::Exactly),
    ("MPTcpExtMPFailTx", Shown::Exactly),
    ("MPTcpExtMPFallbackTokenInit", Shown::Exactly),
    ("MPTcpExtMPFastcloseRx", Shown::Moved),
    ("MPTcpExtMPFastcloseTx", Shown::Moved),
    ("MPTcpExtMPJoinAckHMacFailure", Shown::Exactly),
    ("MPTcpExtMPJoinAckRx", Shown::Exactly),
    ("MPTcpExtMPJoinNoTokenFound", Shown::Exactly),
    ("MPTcpExtMPJoinPortAckRx", Shown::Exactly),
    ("MPTcpExtMPJoinPortSynAckRx", Shown::Exactly),
    ("MPTcpExtMPJoinPortSynRx", Shown::Exactly),
    ("MPTcpExtMPJoinSynAckBackupRx", Shown::Exactly),
    ("MPTcpExtMPJoinSynAckHMacFailure", Shown::Exactly),
    ("MPTcpExtMPJoinSynAckRx", Shown::Exactly),
    ("MPTcpExtMPJoinSynBackupRx", Shown::Exactly),
    ("MPTcpExtMPJoinSynRx", Shown::Exactly),
    ("MPTcpExtMPPrioRx", Shown::Exactly),
    ("MPTcpExtMPPrioTx", Shown::Exactly),
    ("MPTcpExtMPRstRx", Shown::UnlessResetsRace),
    ("MPTcpExtMPRstTx", Shown::UnlessResetsRace),
    ("MPTcpExtMismatchPortAckRx", Shown::Exactly),
    ("MPTcpExtMismatchPortSynRx", Shown::Exactly),
    ("MPTcpExtPortAdd", Shown::Without(Received::Here, Repeated::WithPort)),
    ("MPTcpExtRmAddr", Shown::Exactly),
    ("MPTcpExtRmSubflow", Shown::Exactly),
];

/// Counters of later kernels that are not just numbers. The others are, if a scenario requires them.
const ON_LATER_KERNELS: [(&str, Shown); 2] = [
    ("MPTcpExtAddAddrTx", Shown::Without(Received::FromHere, Repeated::AddAddr)),
    ("MPTcpExtEchoAddTx", Shown::Without(Received::FromHere, Repeated::Echo)),
];

/// Whether a counter that moved is in the snapshot of a scenario, or was left out because it can't be the same each
/// time there.
pub(in crate::judge) fn is_shown(names: &Names<'_>, counter: &str) -> bool {
    shown(names, counter).is_some()
}

/// How a counter is shown in the snapshot of a scenario; `None`: not at all.
fn shown(names: &Names<'_>, counter: &str) -> Option<Shown> {
    if let Some((_, shown)) = ON_ALL_KERNELS.iter().find(|(name, _)| *name == counter) {
        return Some(*shown);
    }
    let required =
        names.scenario().requires.iter().any(|feature| matches!(feature, Feature::Counter(name) if name == counter));
    if !required || !counter.starts_with("MPTcpExt") || is_timing(counter) {
        return None;
    }
    Some(ON_LATER_KERNELS.iter().find(|(name, _)| *name == counter).map_or(Shown::Exactly, |(_, shown)| *shown))
}

/// The lines of a namespace, in the order of the names.
pub(super) fn lines(names: &Names<'_>, namespace: &str, wire: &Wire<'_>) -> Vec<String> {
    let recording = names.recording();
    let Some(end) = recording.counters(namespace, &Moment::End) else { return Vec::new() };
    let start = recording.counters(namespace, &Moment::Start);
    let resets_race = wire.has_fastclose() || data_may_be_late(names, None);
    let mut lines = Vec::new();
    for (name, value) in end {
        let Some(shown) = shown(names, name) else { continue };
        let before = start.and_then(|start| start.get(name)).copied().unwrap_or(0);
        let moved = if is_gauge(name) { *value } else { value.saturating_sub(before) };
        if moved == 0 {
            continue;
        }
        match shown {
            Shown::UnlessResetsRace if resets_race => {}
            Shown::Exactly | Shown::UnlessResetsRace => lines.push(format!("{name} {moved}")),
            Shown::Without(received, what) => {
                let repeated = match received {
                    Received::Here => wire.received_again(namespace, what),
                    Received::FromHere => wire.sent_again(namespace, what),
                };
                lines.push(format!("{name} {}", moved.saturating_sub(repeated).max(1)));
            }
            Shown::Moved => lines.push(format!("{name} moved")),
        }
    }
    lines
}
