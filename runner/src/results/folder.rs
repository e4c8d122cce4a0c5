//! Writing results: the [`Store`] takes the outcomes of a run, scenario by scenario.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;
use thiserror::Error;

use super::{FORMAT, Found, INDEX, KernelIdentity, Outcome, Results, parts, snapshot_digest, sources_digest, utc};
use crate::files::digest::Digest;
use crate::files::{Folder, MARKER};
use crate::judge::{self, Verdict};
use crate::recording::{self, Recording};
use crate::scenario::model::Scenario;
use crate::text;

/// A part of the results could not be written.
#[derive(Debug, Error)]
#[error("can't write the results `{path}`: {source}")]
pub struct WriteError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Why a folder can't take results.
#[derive(Debug, Error)]
#[error("the folder isn't empty, and mptcplab didn't create it (no `{MARKER}` in it): name a new or empty folder")]
struct Foreign;

fn write(
    folder: &Folder,
    name: &str,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), WriteError> {
    folder.write(name, content).map_err(|source| refused(&folder.path().join(name), source))
}

fn refused(path: &Path, source: io::Error) -> WriteError {
    WriteError { path: path.to_owned(), source }
}

/// Stores the outcomes of scenarios in a folder.
#[derive(Debug)]
pub struct Store {
    folder: Folder,
    /// The folder in it with the scenarios' files.
    texts: Folder,
    kernel: KernelIdentity,
    features: IndexMap<String, Found>,
    scenarios: Vec<(usize, Outcome)>,
    names: BTreeSet<String>,
}

impl Store {
    /// Begins. Existing results in the folder are deleted; it has none until [`Store::finish`].
    ///
    /// The folder must be empty, or one that mptcplab marked as its own: nothing else is ever deleted or mixed with
    /// results.
    pub fn begin(root: &Path, kernel: KernelIdentity, features: IndexMap<String, Found>) -> Result<Self, WriteError> {
        let folder = Folder::create(root).map_err(|source| refused(root, source))?;
        let texts = (|| {
            if !folder.is_marked() {
                if !folder.is_empty()? {
                    return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, Foreign));
                }
                folder.mark()?;
            }
            folder.remove_file(INDEX)?;
            folder.remove_tree(SCENARIOS)?;
            folder.make_new(SCENARIOS)
        })();
        let texts = texts.map_err(|source| refused(root, source))?;
        Ok(Self { folder, texts, kernel, features, scenarios: Vec::new(), names: BTreeSet::new() })
    }

    /// Stores the outcome of a scenario. `position`: its place in the order of [`Results::scenarios`].
    pub fn add(
        &mut self,
        position: usize,
        scenario: &Scenario,
        verdict: &Verdict,
        duration: Duration,
        recording: Option<&Recording>,
    ) -> Result<(), WriteError> {
        let (ruling, reason, findings) = parts(verdict);
        let mut outcome = Outcome {
            label: scenario.label(),
            title: scenario.title.clone(),
            verdict: ruling,
            reason,
            findings,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            sources: sources_digest(scenario),
            snapshot: snapshot_digest(scenario),
            file: String::new(),
            observation: None,
            canonical: recording.map(|recording| judge::canonical(scenario, recording)),
        };
        self.write(&mut outcome)?;
        if let Some(recording) = recording {
            write(&self.texts, &format!("{}.jsonl", outcome.file), |out| {
                recording::write(recording, out).map_err(io::Error::other)
            })?;
        }
        self.scenarios.push((position, outcome));
        Ok(())
    }

    /// Stores an earlier outcome again, without its recording.
    pub fn add_stored(&mut self, position: usize, outcome: &Outcome) -> Result<(), WriteError> {
        let mut outcome = outcome.clone();
        self.write(&mut outcome)?;
        self.scenarios.push((position, outcome));
        Ok(())
    }

    /// Gives the outcome a unique file name, and writes its observation.
    fn write(&mut self, outcome: &mut Outcome) -> Result<(), WriteError> {
        // Two labels may give the same name.
        let name = text::file_name(&outcome.label);
        let mut names = std::iter::once(name.clone()).chain((2..u64::MAX).map(|number| format!("{name}~{number}")));
        outcome.file = names.find(|name| !self.names.contains(name)).unwrap_or(name);
        self.names.insert(outcome.file.clone());
        outcome.observation = outcome.canonical.as_deref().map(|text| Digest::new().bytes(text.as_bytes()).hex());
        match &outcome.canonical {
            Some(text) => write(&self.texts, &format!("{}.txt", outcome.file), |out| out.write_all(text.as_bytes())),
            None => Ok(()),
        }
    }

    /// Ends: from now on the folder contains results. `late_trouble`: see [`Results::late_trouble`].
    pub fn finish(mut self, date: std::time::SystemTime, late_trouble: Vec<String>) -> Result<Results, WriteError> {
        self.scenarios.sort_by_key(|(position, _)| *position);
        let results = Results {
            format: FORMAT,
            mptcplab: env!("CARGO_PKG_VERSION").to_owned(),
            date: utc(date),
            kernel: self.kernel,
            features: self.features,
            late_trouble,
            scenarios: self.scenarios.into_iter().map(|(_, outcome)| outcome).collect(),
        };
        write(&self.folder, INDEX, |out| {
            serde_json::to_writer_pretty(&mut *out, &results)?;
            out.write_all(b"\n")
        })?;
        Ok(results)
    }
}

/// The folder with the scenarios' files.
pub(super) const SCENARIOS: &str = "scenarios";
