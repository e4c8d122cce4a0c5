//! The snapshot: the reviewed canonical form of a scenario's observation, in a file beside the scenario.
//!
//! The file has insta's format and place, so that `cargo insta review` finds what waits for a review. insta itself has no
//! say here: its configuration (files and environment variables) can make a difference pass, or accept it. What happens
//! with a difference is decided by [`Snapshots`] and [`Candidate::accept`] alone.

mod file;

pub(crate) use file::remove as remove_snapshot;

use std::io;
use std::path::{Path, PathBuf};

use similar::{ChangeTag, TextDiff};

use crate::recording::Recording;
use crate::scenario::model::{Feature, Scenario};
use crate::text;

use super::canonical::form;
use super::names::Names;
use super::{Finding, FindingKind};

/// How to treat the snapshots of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Snapshots {
    /// Compare; leave new and changed ones for a review, as `NAME.snap.new`.
    #[default]
    Review,
    /// Compare, and write nothing.
    Compare,
    /// Don't compare: the expectations alone decide.
    Ignore,
}

/// The file of a scenario's snapshot: `snapshots/NAME.snap` beside the scenario, `NAME@VARIANT.snap` for a variant. If
/// the scenario says that it differs by a feature, `NAME~no-FEATURE.snap` where that is missing.
pub fn snapshot_path(scenario: &Scenario) -> PathBuf {
    let folder = scenario.file.parent().unwrap_or(Path::new("")).join("snapshots");
    folder.join(format!("{}.snap", snapshot_name(scenario)))
}

fn snapshot_name(scenario: &Scenario) -> String {
    let stem = scenario.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    // insta makes `__` of a slash; a variant's label may be anything.
    let mut name = match &scenario.variant {
        Some(variant) => format!("{stem}@{variant}"),
        None => stem,
    };
    for feature in scenario.snapshot_without() {
        name += &snapshot_suffix(feature);
    }
    name.replace(['/', '\\'], "__")
}

/// What the name of a snapshot has for a feature that the kernel lacks.
pub(crate) fn snapshot_suffix(feature: &Feature) -> String {
    format!("~no-{}", feature.word().replace([':', '.'], "-"))
}

/// The canonical form of a run: it is compared with the snapshot and can become the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The snapshot's file.
    path: PathBuf,
    /// The canonical form.
    text: String,
    title: String,
    /// The scenario's file.
    scenario: PathBuf,
    /// Missing features that the scenario depends on and the snapshot's name doesn't mention: the snapshot is that of
    /// kernels with these features, and this run's observation doesn't replace it.
    untold_lack: Option<String>,
}

/// The result of accepting a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The snapshot's file.
    pub path: PathBuf,
    /// How it was changed.
    pub change: Change,
}

/// How a snapshot's file was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was the same already: nothing was written.
    None,
    /// It was created, with this number of lines.
    New(usize),
    /// It was replaced.
    Lines {
        /// How many lines were added.
        added: usize,
        /// How many lines were removed.
        removed: usize,
    },
}

impl Candidate {
    /// Of a run.
    pub fn of(scenario: &Scenario, recording: &Recording) -> Self {
        Self::of_names(&Names::of(scenario, recording))
    }

    /// Of a run of which the names are known.
    pub(super) fn of_names(names: &Names<'_>) -> Self {
        Self::new(names.scenario(), &form(names))
    }

    /// Of a scenario as it is on the kernel, and a canonical form.
    pub fn new(scenario: &Scenario, canonical: &str) -> Self {
        Self {
            path: snapshot_path(scenario),
            text: normalized(canonical),
            title: scenario.title.clone(),
            scenario: scenario.file.clone(),
            untold_lack: untold_lack(scenario),
        }
    }

    /// Compare it with the snapshot. Only one that is equal is `Ok`.
    pub(super) fn settle(&self, snapshots: Snapshots) -> Result<(), Finding> {
        if snapshots == Snapshots::Ignore {
            return Ok(());
        }
        self.is_something()?;
        let current = self.current()?;
        if current.as_ref() == Some(&self.text) {
            // An earlier run may have left a pending snapshot that is out of date now.
            return if snapshots == Snapshots::Review { self.remove_pending() } else { Ok(()) };
        }
        if let Some(missing) = &self.untold_lack {
            return Err(self.differs_for_a_lack(current.as_deref(), missing));
        }
        let pending = match snapshots {
            Snapshots::Review => Some(file::write(&self.pending(), &self.content())),
            Snapshots::Compare | Snapshots::Ignore => None,
        };
        Err(self.difference(current.as_deref(), pending.as_ref()))
    }

    /// How it differs from the snapshot, without advice; `None` if it doesn't, or if no snapshot can be read. Writes
    /// nothing.
    pub(super) fn change(&self) -> Option<Finding> {
        let current = self.current().ok()??;
        (current != self.text).then(|| {
            let summary = format!("snapshot {} differs", self.path.display());
            Finding::new(FindingKind::SnapshotChanged, summary).detailed(unified_diff(&current, &self.text))
        })
    }

    /// Make it the snapshot.
    ///
    /// # Errors
    ///
    /// When there is nothing to accept, when this kernel's observation isn't the snapshot's, or when the file can't be
    /// written.
    pub fn accept(&self) -> Result<Accepted, Finding> {
        self.is_something()?;
        let current = self.current()?;
        let change = match &current {
            Some(current) if *current == self.text => Change::None,
            current => {
                if let Some(missing) = &self.untold_lack {
                    return Err(self.differs_for_a_lack(current.as_deref(), missing));
                }
                file::write(&self.path, &self.content()).map_err(|error| self.unwritable(&error))?;
                // What counts is what the next run will read.
                if self.current()?.as_ref() != Some(&self.text) {
                    return Err(self.unwritable(&"reading it back returned a different text"));
                }
                current
                    .as_ref()
                    .map_or(Change::New(self.text.lines().count()), |current| changed_lines(current, &self.text))
            }
        };
        self.remove_pending()?;
        Ok(Accepted { path: self.path.clone(), change })
    }

    /// How this run differs from the first of several that were to give one snapshot.
    pub fn departure(&self, first: &Self) -> Option<Finding> {
        if self.path == first.path && self.text == first.text {
            return None;
        }
        let summary = format!(
            "this run differs from the first one, so snapshot {} was not updated: a snapshot must be the same in every run",
            self.path.display()
        );
        let detail = diff(&first.text, &self.text, "the first run");
        Some(Finding::new(FindingKind::SnapshotChanged, summary).detailed(detail))
    }

    /// The snapshot's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn current(&self) -> Result<Option<String>, Finding> {
        let current = file::read(&self.path).map_err(|error| unusable(&self.path, "reading it", &error))?;
        Ok(current.map(|text| normalized(&text)))
    }

    fn is_something(&self) -> Result<(), Finding> {
        if self.text.trim().is_empty() {
            let summary = "nothing to compare with the snapshot: the run observed nothing";
            return Err(Finding::new(FindingKind::Incomplete, summary));
        }
        Ok(())
    }

    fn pending(&self) -> PathBuf {
        self.path.with_extension("snap.new")
    }

    pub(super) fn content(&self) -> String {
        file::content(&self.title, &self.scenario, &self.text)
    }

    fn remove_pending(&self) -> Result<(), Finding> {
        let pending = self.pending();
        file::remove(&pending).map_err(|error| unusable(&pending, "removing it, as the snapshot is up to date", &error))
    }

    fn unwritable(&self, why: &dyn std::fmt::Display) -> Finding {
        let summary = format!("can't write the snapshot {}: {why}", self.path.display());
        Finding::new(FindingKind::Setup, summary)
    }

    fn differs_for_a_lack(&self, current: Option<&str>, missing: &str) -> Finding {
        let path = self.path.display();
        match current {
            None => {
                let summary = format!("there is no snapshot {path} yet: create it on a kernel that has {missing}");
                Finding::new(FindingKind::SnapshotNew, summary).detailed(format!("{}\n", self.text))
            }
            Some(current) => {
                let summary = format!(
                    "snapshot {path} differs on this kernel, which lacks {missing}, so it is not replaced; if that is \
                     the reason, list it in `snapshot_by:`"
                );
                Finding::new(FindingKind::SnapshotChanged, summary).detailed(unified_diff(current, &self.text))
            }
        }
    }

    /// `pending`: what came of leaving it for a review.
    fn difference(&self, current: Option<&str>, pending: Option<&io::Result<()>>) -> Finding {
        let path = self.path.display();
        let review = match pending {
            Some(Ok(())) => "review it with `cargo insta review`, or accept it with `--update`".to_owned(),
            Some(Err(error)) => format!("can't write {} for a review: {error}", self.pending().display()),
            None => "accept it with `--update`".to_owned(),
        };
        match current {
            None => {
                let lines = text::count(self.text.lines().count() as u64, "line");
                let summary = format!(
                    "there is no snapshot {path} yet; this run's has {lines}: print it with `--show-snapshot`, {review}"
                );
                Finding::new(FindingKind::SnapshotNew, summary).detailed(format!("{}\n", self.text))
            }
            Some(current) => {
                let summary = format!("snapshot {path} differs: {review}");
                Finding::new(FindingKind::SnapshotChanged, summary).detailed(unified_diff(current, &self.text))
            }
        }
    }
}

fn untold_lack(scenario: &Scenario) -> Option<String> {
    let untold = scenario.kernel_variants.lacking.difference(&scenario.kernel_variants.snapshot_by);
    let words: Vec<String> = untold.map(|feature| format!("`{}`", feature.word())).collect();
    (!words.is_empty()).then(|| words.join(" and "))
}

/// How a canonical form differs from the current snapshot, as a unified diff; `None` if it doesn't, or if there is no
/// snapshot that can be read. Changes nothing.
pub fn snapshot_difference(scenario: &Scenario, canonical: &str) -> Option<String> {
    let current = normalized(&file::read(&snapshot_path(scenario)).ok()??);
    let canonical = normalized(canonical);
    (current != canonical).then(|| unified_diff(&current, &canonical))
}

/// The end of a line is `\n`, the end of the text doesn't count.
fn normalized(text: &str) -> String {
    text.trim_end().replace("\r\n", "\n")
}

fn unusable(path: &Path, attempt: &str, why: &dyn std::fmt::Display) -> Finding {
    let summary = format!("snapshot {}: {attempt}: {why}", path.display());
    Finding::new(FindingKind::Setup, summary)
}

fn unified_diff(snapshot: &str, canonical: &str) -> String {
    diff(snapshot, canonical, "snapshot")
}

fn diff(old: &str, new: &str, name: &str) -> String {
    let (old, new) = (format!("{old}\n"), format!("{new}\n"));
    TextDiff::from_lines(&old, &new).unified_diff().context_radius(4).header(name, "this run").to_string()
}

fn changed_lines(old: &str, new: &str) -> Change {
    let (old, new) = (format!("{old}\n"), format!("{new}\n"));
    let diff = TextDiff::from_lines(&old, &new);
    let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
    Change::Lines { added: count(ChangeTag::Insert), removed: count(ChangeTag::Delete) }
}
