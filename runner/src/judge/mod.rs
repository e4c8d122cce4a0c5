//! Judging: a pure function of scenario, recording and snapshot. Its main type is the [`Verdict`].

use crate::scenario::model::Place;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was as expected.
    Passed,
    /// Something was not.
    Failed(Vec<Finding>),
    /// It was not run.
    Skipped {
        /// The features that are missing, or why it can't be run here.
        reason: String,
    },
    /// It could not be run, or the recording can't be trusted: set-up failed, events were lost, a time limit passed.
    Error(Vec<Finding>),
}

/// One thing that was not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of check failed.
    pub kind: FindingKind,
    /// Where the expectation is written.
    pub place: Option<Place>,
    /// One line: what was expected, what was observed.
    pub summary: String,
    /// Further lines: sequences side by side, the neighbourhood in the time line.
    pub detail: String,
    /// The time in the recording, nanoseconds since the start, around which to look.
    pub at: Option<u64>,
}

/// The kinds of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// An event list.
    Events,
    /// A counter.
    Counter,
    /// A subflow set.
    Subflows,
    /// `MPTCP_INFO`.
    Info,
    /// An endpoint dump.
    Endpoints,
    /// Limits.
    Limits,
    /// Bytes on a link.
    Bytes,
    /// MPTCP options on the wire.
    Wire,
    /// A connection isn't what it should be: a fallback to TCP, or none at all.
    Connection,
    /// A byte arrived damaged, or not at all.
    Integrity,
    /// A wait or quiet period ran out.
    Deadline,
    /// An operation was refused though it shouldn't be, or the other way round.
    Refusal,
    /// A filter never matched.
    Filter,
    /// The snapshot differs.
    SnapshotChanged,
    /// There is no snapshot yet.
    SnapshotNew,
    /// Events or packets were lost, the recording is cut off.
    Incomplete,
    /// Something could not be set up.
    Setup,
    /// The kernel log has a warning.
    Kernel,
}
