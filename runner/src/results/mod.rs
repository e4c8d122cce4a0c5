//! Stored results: what each scenario came to on one kernel, in a folder that another run can be compared with. The main
//! type is [`Results`].
//!
//! The folder holds `results.json` (which kernel, which features, and an [`Outcome`] for each scenario), and for each
//! scenario that ran its canonical observation, `scenarios/LABEL.txt`, and its recording, `scenarios/LABEL.jsonl`.
//! `results.json` is written last and names the digest of each observation: a folder without it is that of a run that did
//! not end, and what doesn't fit to it is damaged. Neither is ever taken for results.

mod date;
mod folder;
mod read;
mod sources;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use date::utc;
pub use folder::{Store, WriteError};
pub use read::{ReadError, read};
pub use sources::{snapshot_digest, sources_digest};

use crate::judge::{Finding, Verdict};

/// The version of the format that is written, and the only one that is read.
pub const FORMAT: u32 = 1;

/// The file that makes a folder one with results.
pub const INDEX: &str = "results.json";

/// What scenarios came to on one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// The version of the format: [`FORMAT`].
    pub format: u32,
    /// The version of mptcplab that ran them.
    pub mptcplab: String,
    /// When, in UTC: `2026-11-24T18:30:00Z`.
    pub date: String,
    /// Where.
    pub kernel: KernelIdentity,
    /// Each feature that was probed, by its word; what is missing has the reason. In the order of the language's list.
    pub features: IndexMap<String, Found>,
    /// What the kernel said about problems of its own while no scenario ran, or that belong to none that ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_trouble: Vec<String>,
    /// The scenarios, in the order in which they were shown.
    pub scenarios: Vec<Outcome>,
}

/// Which kernel it was. Shown, never decided upon.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelIdentity {
    /// `uname -r`
    pub release: String,
    /// `uname -v`: the number of the build, and its date.
    pub version: String,
    /// `uname -m`
    pub machine: String,
}

impl KernelIdentity {
    /// The kernel that runs, from uname(2).
    pub fn running() -> Self {
        nix::sys::utsname::uname().map_or_else(
            |_| Self::default(),
            |name| {
                let [release, version, machine] =
                    [name.release(), name.version(), name.machine()].map(|part| part.to_string_lossy().into_owned());
                Self { release, version, machine }
            },
        )
    }
}

/// Whether a feature was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It was.
    Yes,
    /// It was not, with the reason.
    No(String),
}

/// What a scenario came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The name of the scenario and its variant, by which it is found again: `scenarios/signal/port@ipv6`.
    pub label: String,
    /// Its title.
    pub title: String,
    /// The verdict.
    pub verdict: Ruling,
    /// Why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was not as expected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<StoredFinding>,
    /// How long it took, judging included, in milliseconds.
    pub duration_ms: u64,
    /// The digest of the texts that it was read from; see [`sources_digest`].
    pub sources: String,
    /// The digest of its reviewed snapshots; see [`snapshot_digest`].
    pub snapshot: String,
    /// The name of its files below `scenarios/`, without the ending.
    pub file: String,
    /// The digest of the canonical observation, if it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation: Option<String>,
    /// The canonical observation, if it ran and the kernel outlived it. In a file of its own.
    #[serde(skip)]
    pub canonical: Option<String>,
}

/// The verdict in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// Everything was as expected.
    Passed,
    /// Something was not.
    Failed,
    /// It was not run: a feature is missing.
    Skipped,
    /// It could not be run or trusted.
    Error,
}

impl Ruling {
    /// The word that reports have for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Error => "error",
        }
    }
}

/// One thing that was not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredFinding {
    /// The kind of check, as in JSON reports: `events`, `counter`…
    pub kind: String,
    /// One line.
    pub summary: String,
    /// Further lines.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl From<&Finding> for StoredFinding {
    fn from(finding: &Finding) -> Self {
        Self { kind: finding.kind.word().to_owned(), summary: finding.summary.clone(), detail: finding.detail.clone() }
    }
}

/// The parts of a verdict: the word, why it was skipped, what was not as expected.
fn parts(verdict: &Verdict) -> (Ruling, Option<String>, Vec<StoredFinding>) {
    let stored = |findings: &[Finding]| findings.iter().map(StoredFinding::from).collect();
    match verdict {
        Verdict::Passed => (Ruling::Passed, None, Vec::new()),
        Verdict::Failed(findings) => (Ruling::Failed, None, stored(findings)),
        Verdict::Skipped { reason } => (Ruling::Skipped, Some(reason.clone()), Vec::new()),
        Verdict::Error(findings) => (Ruling::Error, None, stored(findings)),
    }
}

#[cfg(test)]
mod tests;
