//! Evidence: everything that is known of a failed run, as files in its own folder.
//!
//! An [`ArtifactDir`] contains such folders; a [`Case`] is what is known of a run. A folder has `failure.txt`,
//! `story.txt`, `recording.jsonl` (for `mptcplab judge`), `canonical.txt` and its difference from the snapshot,
//! `counters.txt`, `sockets.txt`, `endpoints.txt`, `kernel-log.txt`, `plan.sh`, `versions.txt`, and for each namespace
//! a pcapng file with its packets and a `.monitor` file with its events, for `mptcplab import`. Files without content are left out.

mod artifact_dir;
mod packets;
mod texts;

pub use artifact_dir::{ArtifactDir, EvidenceError};

use std::time::Duration;

use crate::engine::Run;
use crate::judge::Verdict;
use crate::scenario::model::Scenario;

/// A failed run.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Its scenario.
    pub scenario: &'a Scenario,
    /// Its verdict.
    pub verdict: &'a Verdict,
    /// How long it took.
    pub duration: Duration,
    /// What it observed; `None` if it didn't run.
    pub run: Option<&'a Run>,
    /// For a repeated scenario: the number of the run, from 1, and the number of runs, if there is an end.
    pub repetition: Option<(usize, Option<usize>)>,
}

#[cfg(test)]
mod tests;
