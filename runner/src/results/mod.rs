//! Stored results: the outcome of each scenario on one kernel, in a folder for comparisons. Main type: [`Results`].
//!
//! The folder holds `results.json` (which kernel, which features, and an [`Outcome`] for each scenario), and for each
//! scenario that ran its canonical observation, `scenarios/LABEL.txt`, and its recording, `scenarios/LABEL.jsonl`.
//! `results.json` is written last, and contains the digest of each observation. A folder without it is that of an
//! unfinished run, and a file that doesn't match it is damaged: neither counts as results.

mod date;
mod folder;
mod read;
mod sources;

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use date::utc;
pub use folder::{Store, WriteError};
pub use read::{ReadError, read};
pub use sources::{snapshot_digest, sources_digest};

use crate::judge::{Finding, Values, Verdict};

/// The version of the written format, and the only one that can be read.
pub const FORMAT: u32 = 1;

/// The file that marks a folder with results.
pub const INDEX: &str = "results.json";

/// The outcomes of scenarios on one kernel.
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
    /// Each probed feature, by its word, with the reason if it is missing. In the order of the language's list.
    pub features: IndexMap<String, Found>,
    /// Problems that the kernel reported while no scenario ran, or that belong to no scenario.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_trouble: Vec<String>,
    /// The scenarios, in the order of the report.
    pub scenarios: Vec<Outcome>,
}

/// The identity of the kernel. It is shown, but no decision depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelIdentity {
    /// `uname -r`
    pub release: String,
    /// `uname -v`: number and date of the build.
    pub version: String,
    /// `uname -m`
    pub machine: String,
}

impl KernelIdentity {
    /// The running kernel, from uname(2).
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

/// The outcome of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The name of the scenario and its variant, which identifies it: `scenarios/signal/port@ipv6`.
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
    /// The digest of its source texts; see [`sources_digest`].
    pub sources: String,
    /// The digest of its reviewed snapshots; see [`snapshot_digest`].
    pub snapshot: String,
    /// The name of its files below `scenarios/`, without extension.
    pub file: String,
    /// The digest of the canonical observation, if it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation: Option<String>,
    /// The canonical observation, if it ran and the kernel survived it. Stored in a separate file.
    #[serde(skip)]
    pub canonical: Option<String>,
}

/// The verdict in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// All expectations hold.
    Passed,
    /// Some expectation does not hold.
    Failed,
    /// It did not run: a required feature is missing.
    Skipped,
    /// It could not be run or trusted.
    Error,
}

impl Ruling {
    /// Its word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Error => "error",
        }
    }
}

/// A finding: something that was not as expected.
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
    /// What was expected, as in JSON reports. It may be null.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub expected: Option<Value>,
    /// What was observed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub observed: Option<Value>,
}

/// A value that is there, even if it is null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl From<&Finding> for StoredFinding {
    fn from(finding: &Finding) -> Self {
        let values = finding.values.as_deref().cloned().map(|Values { expected, observed }| (expected, observed));
        let (expected, observed) = values.unzip();
        let Finding { kind, summary, detail, .. } = finding;
        Self { kind: kind.word().to_owned(), summary: summary.clone(), detail: detail.clone(), expected, observed }
    }
}

/// The parts of a verdict: its word, why it was skipped, its findings.
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
