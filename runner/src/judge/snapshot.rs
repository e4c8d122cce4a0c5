//! The snapshot: the reviewed canonical form of a scenario's observation, kept by insta beside the scenario's file.
//!
//! The comparison is our own; insta only writes what has to be reviewed, in the place and the form in which
//! `cargo insta review` finds it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use similar::TextDiff;

use crate::files::Folder;
use crate::scenario::model::Scenario;
use crate::sys::env;

use super::{Finding, FindingKind};

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
        _ = write!(name, "~no-{}", feature.word().replace([':', '.'], "-"));
    }
    name.replace(['/', '\\'], "__")
}

/// Tell insta how to work, by its environment variables. To be called at the start of the program, before there is
/// a second thread. What the user has set stays, but for `INSTA_OUTPUT`, and for `INSTA_UPDATE` if `update` is given.
///
/// `update`: `Some(true)` accepts new and changed snapshots at once, `Some(false)` writes nothing, `None` leaves
/// pending ones for a review, or nothing where `CI` is set.
///
/// # Errors
///
/// When the process has several threads already, or the working directory can't be determined.
pub fn prepare(update: Option<bool>) -> io::Result<()> {
    // insta writes to stdout, which belongs to our own report.
    env::set_var("INSTA_OUTPUT", "none")?;
    if let Some(update) = update {
        env::set_var("INSTA_UPDATE", if update { "always" } else { "no" })?;
    }
    if std::env::var_os("INSTA_WORKSPACE_ROOT").is_none() {
        // Otherwise insta asks cargo, which an installed program may not have.
        let here = std::env::current_dir()?;
        let root = here.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&here);
        env::set_var("INSTA_WORKSPACE_ROOT", root)?;
    }
    Ok(())
}

/// What is in a snapshot's file.
enum Kept {
    Nothing,
    Text(String),
}

/// Compare a canonical form with the scenario's snapshot.
///
/// If it is new or different, insta leaves it for a review, or accepts it, as [`prepare`] was told. Only a snapshot
/// that is equal, or that was accepted and then read back, is `Ok`.
pub fn settle_snapshot(scenario: &Scenario, canonical: &str) -> Result<(), Finding> {
    // insta reports by panicking, and the hook that silences it is the whole process's.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let canonical = normalized(canonical);
    if canonical.trim().is_empty() {
        let summary = "there is nothing to compare with the snapshot: the run left no observation at all";
        return Err(Finding::new(FindingKind::Incomplete, summary));
    }
    let path = snapshot_path(scenario);
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = match read(&path)? {
        Kept::Text(text) if text == canonical => return drop_pending(&path),
        kept => kept,
    };
    if let Some(missing) = untold_lack(scenario) {
        return Err(differs_for_a_lack(&path, &kept, &canonical, &missing));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let folder = std::path::absolute(folder).map_err(|error| unusable(&path, "finding its folder", &error))?;
    silently(|| assert_with_insta(scenario, &folder, &canonical));
    // What insta says is not enough: INSTA_FORCE_PASS makes it agree with anything.
    if let Kept::Text(text) = read(&path)?
        && text == canonical
    {
        return drop_pending(&path);
    }
    Err(difference(&path, &kept, &canonical))
}

/// What a kernel lacks that decides in the scenario, and that the snapshot's name doesn't tell: the snapshot is that of
/// kernels that have it, and what is observed here doesn't replace it.
fn untold_lack(scenario: &Scenario) -> Option<String> {
    let untold = scenario.gates.lacking.difference(&scenario.gates.snapshot_by);
    let words: Vec<String> = untold.map(|feature| format!("`{}`", feature.word())).collect();
    (!words.is_empty()).then(|| words.join(" and "))
}

fn differs_for_a_lack(path: &Path, kept: &Kept, canonical: &str, missing: &str) -> Finding {
    let path = path.display();
    match kept {
        Kept::Nothing => {
            let summary = format!("there is no snapshot {path} yet: make it on a kernel that has {missing}");
            Finding::new(FindingKind::SnapshotNew, summary).detailed(format!("{canonical}\n"))
        }
        Kept::Text(text) => {
            let summary = format!(
                "snapshot {path} differs on this kernel, which lacks {missing}, so it is not replaced: if that is the \
                 reason, name it in `snapshot_by:`"
            );
            Finding::new(FindingKind::SnapshotChanged, summary).detailed(unified_diff(text, canonical))
        }
    }
}

/// How a canonical form differs from the snapshot that is kept, as a unified diff; `None` if it doesn't, or if there is no
/// snapshot that can be read. Changes nothing.
pub fn snapshot_difference(scenario: &Scenario, canonical: &str) -> Option<String> {
    match read(&snapshot_path(scenario)) {
        Ok(Kept::Text(text)) => {
            let canonical = normalized(canonical);
            (text != canonical).then(|| unified_diff(&text, &canonical))
        }
        Ok(Kept::Nothing) | Err(_) => None,
    }
}

/// As insta compares: the end of a line is `\n`, the end of the text doesn't count.
fn normalized(text: &str) -> String {
    text.trim_end().replace("\r\n", "\n")
}

fn read(path: &Path) -> Result<Kept, Finding> {
    match path.try_exists() {
        Ok(false) => return Ok(Kept::Nothing),
        Ok(true) => {}
        Err(error) => return Err(unusable(path, "looking for it", &error)),
    }
    let snapshot = panic::catch_unwind(|| insta::Snapshot::from_file(path))
        .map_err(|_| unusable(path, "reading it", &"it is not in insta's format"))?
        .map_err(|error| unusable(path, "reading it", &error))?;
    match snapshot.as_text() {
        Some(text) => Ok(Kept::Text(normalized(&text.to_string()))),
        None => Err(unusable(path, "reading it", &"it is a binary snapshot")),
    }
}

fn unusable(path: &Path, attempt: &str, why: &dyn std::fmt::Display) -> Finding {
    let summary = format!("snapshot {}: {attempt}: {why}", path.display());
    Finding::new(FindingKind::Setup, summary)
}

/// An earlier run may have left a pending snapshot that is out of date now.
fn drop_pending(path: &Path) -> Result<(), Finding> {
    let pending = path.with_extension("snap.new");
    let (Some(folder), Some(name)) = (pending.parent(), pending.file_name().and_then(OsStr::to_str)) else {
        return Ok(());
    };
    Folder::open(folder)
        .and_then(|folder| folder.remove_file(name))
        .map_err(|error| unusable(&pending, "removing it, as the snapshot is up to date", &error))
}

fn assert_with_insta(scenario: &Scenario, folder: &Path, canonical: &str) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(&scenario.title);
    if let Ok(file) = std::path::absolute(&scenario.file) {
        settings.set_input_file(file);
    }
    settings.bind(|| insta::assert_snapshot!(snapshot_name(scenario), canonical));
}

/// Run what reports by panicking, without a word about it.
fn silently(action: impl FnOnce()) {
    let before: Arc<dyn Fn(&panic::PanicHookInfo<'_>) + Send + Sync> = Arc::from(panic::take_hook());
    let (this, others) = (thread::current().id(), Arc::clone(&before));
    panic::set_hook(Box::new(move |info| {
        if thread::current().id() != this {
            others(info);
        }
    }));
    // The snapshot's file tells what came of it.
    _ = panic::catch_unwind(AssertUnwindSafe(action));
    panic::set_hook(Box::new(move |info| before(info)));
}

fn difference(path: &Path, kept: &Kept, canonical: &str) -> Finding {
    let pending = path.with_extension("snap.new");
    let review = if pending.exists() {
        "review it with `cargo insta review`, or accept it with `--update`"
    } else {
        "accept it with `--update`"
    };
    match kept {
        Kept::Nothing => {
            let summary = format!("there is no snapshot {} yet: {review}", path.display());
            Finding::new(FindingKind::SnapshotNew, summary).detailed(format!("{canonical}\n"))
        }
        Kept::Text(text) => {
            let diff = unified_diff(text, canonical);
            let summary = format!("snapshot {} differs: {review}", path.display());
            Finding::new(FindingKind::SnapshotChanged, summary).detailed(diff)
        }
    }
}

fn unified_diff(snapshot: &str, canonical: &str) -> String {
    let (old, new) = (format!("{snapshot}\n"), format!("{canonical}\n"));
    let diff = TextDiff::from_lines(&old, &new);
    diff.unified_diff().context_radius(4).header("snapshot", "this run").to_string()
}
