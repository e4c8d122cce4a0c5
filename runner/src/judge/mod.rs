//! Judging: a pure function of scenario, recording and snapshot. Its main type is the [`Verdict`].
//!
//! [`judge`] compares a recording with what the scenario expects, [`canonical()`] turns it into the text that the
//! snapshot keeps, a [`Candidate`] compares the two, and [`verdict()`] does all of it in that order. Nothing here
//! looks at the kernel; only the snapshot's file is read and written.

// A new operation, step or observation is handled in each place or doesn't compile; one shape is asked for with `pick!`.
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

mod alignment;
mod canonical;
mod checks;
mod index;
mod kernel_log;
mod names;
mod nearest;
mod option_words;
mod outcome;
mod reasons;
mod render;
mod retransmitted;
mod rules;
mod sequence;
mod snapshot;
mod stall;
mod time_line;
mod verdict;

#[cfg(test)]
mod tests;

pub use canonical::canonical;
pub use checks::judge;
pub(crate) use kernel_log::kernel_finding;
pub use kernel_log::{complaint_form, kernel_complaints, kernel_lines, kernel_remark, without_kernel_log};
pub(crate) use option_words::{is_as_asked, on_subflows_words, option_words, reply_words, shown_option_words};
pub(crate) use outcome::{
    brief_outcome_words, call_words, calls_words, contradiction_words, ended_words, integrity_words, lost_words,
    outcome_words,
};
pub use reasons::{Cause, Idle, Reason, ReasonKind, SynCounts, Unused, observed};
pub use rules::{Decided, RuleCounts, Rules, known_faults};
pub use snapshot::{Accepted, Candidate, Change, Snapshots, snapshot_difference, snapshot_path};
pub(crate) use snapshot::{remove_snapshot, snapshot_suffix};
pub use verdict::{Finding, FindingKind, Judged, Measures, Values, Verdict, judged, verdict};
