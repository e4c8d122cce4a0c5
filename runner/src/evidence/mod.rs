//! Evidence: everything that is known of a run that failed, as files in a folder of its own.
//!
//! A [`ArtifactDir`] is where such folders go; [`Case`] is what is known of a run. A folder has `failure.txt`, `story.txt`,
//! `recording.jsonl` (for `mptcplab judge`), `canonical.txt` and how it differs from the snapshot, `counters.txt`,
//! `sockets.txt`, `endpoints.txt`, `kernel-log.txt`, `plan.sh`, `versions.txt`, and for each namespace a pcapng file
//! with its packets. What was not observed has no file.

mod artifact_dir;
mod packets;
mod texts;

pub use artifact_dir::{ArtifactDir, EvidenceError};

use std::time::Duration;

use crate::engine::Run;
use crate::judge::Verdict;
use crate::scenario::model::Scenario;

/// A run that failed.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What was run.
    pub scenario: &'a Scenario,
    /// What it came to.
    pub verdict: &'a Verdict,
    /// How long it took.
    pub duration: Duration,
    /// What it has left behind; `None` if there was no run.
    pub run: Option<&'a Run>,
    /// Which run, from 1, of how many (if there is an end), if it is repeated.
    pub repetition: Option<(usize, Option<usize>)>,
}

#[cfg(test)]
mod tests;
