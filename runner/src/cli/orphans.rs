//! Orphaned snapshots, which belong to no scenario any more: reported, and removed on demand.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::judge::{remove_snapshot, snapshot_path, snapshot_suffix};
use crate::report::Printer;
use crate::scenario::model::Scenario;
use crate::scenario::{self, MAX_DEPTH, NOT_SCENARIOS, is_named_like_a_scenario};
use crate::text;

use super::{complain, hint};

/// At most this many names are listed.
const MOST_TOLD: usize = 10;

/// Reports or removes orphaned snapshots in the given folders. `scenarios`: all scenarios of these folders.
pub(super) fn settle(paths: &[PathBuf], scenarios: &[Scenario], prune: bool, quiet: bool, printer: &mut Printer) {
    let orphans = find(paths, scenarios);
    if prune {
        for orphan in &orphans {
            let path = text::one_line(&orphan.display().to_string());
            match remove_snapshot(orphan) {
                Ok(()) if quiet => {}
                Ok(()) => printer.note(&format!("removed the orphaned snapshot {path}")),
                Err(error) => complain(printer, &format!("can't remove the orphaned snapshot {path}: {error}")),
            }
        }
    } else if !quiet && !orphans.is_empty() {
        for orphan in orphans.iter().take(MOST_TOLD) {
            printer.note(&format!("orphaned snapshot: {}", text::one_line(&orphan.display().to_string())));
        }
        if orphans.len() > MOST_TOLD {
            printer.note(&format!("… and {} more", orphans.len() - MOST_TOLD));
        }
        hint(printer, "no scenario makes them; `--prune-snapshots` removes them");
    }
}

/// The orphaned snapshots below the folders among these paths, sorted.
fn find(paths: &[PathBuf], scenarios: &[Scenario]) -> Vec<PathBuf> {
    let mut folders = BTreeSet::new();
    for path in paths.iter().filter(|path| path.is_dir()) {
        if let Ok(path) = scenario::normal(path) {
            walk(&path, 0, &mut folders);
        }
    }
    folders.iter().flat_map(|folder| in_folder(folder, scenarios)).collect()
}

fn walk(folder: &Path, depth: usize, folders: &mut BTreeSet<PathBuf>) {
    if depth > MAX_DEPTH || !folders.insert(folder.to_owned()) {
        return;
    }
    for entry in entries(folder) {
        let name = entry.file_name();
        let searched = !name.as_encoded_bytes().starts_with(b".") && NOT_SCENARIOS.iter().all(|other| name != *other);
        if searched && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), depth + 1, folders);
        }
    }
}

/// A folder that can't be read has nothing to remove.
fn entries(folder: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

fn in_folder(folder: &Path, scenarios: &[Scenario]) -> Vec<PathBuf> {
    let snapshots = folder.join("snapshots");
    if !fs::symlink_metadata(&snapshots).is_ok_and(|metadata| metadata.is_dir()) {
        return Vec::new();
    }
    let here = |scenario: &&Scenario| plain(scenario.file.parent()) == plain(Some(folder));
    let here: Vec<&Scenario> = scenarios.iter().filter(here).collect();
    // Files outside the given scenarios may have snapshots, too: hidden ones, or `.yml`.
    let unknown: Vec<String> = entries(folder)
        .map(|entry| entry.path())
        .filter(|path| is_named_like_a_scenario(path))
        .filter(|path| here.iter().all(|scenario| scenario.file.file_name() != path.file_name()))
        .map(|path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    let is_made = |name: &str| {
        here.iter().any(|scenario| makes(scenario, name))
            || unknown.iter().any(|stem| {
                name.strip_prefix(stem.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', '~']))
            })
    };
    let mut orphans: Vec<PathBuf> = entries(&snapshots)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "snap"))
        .filter(|path| path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|name| !is_made(name)))
        .collect();
    orphans.sort();
    orphans
}

fn plain(folder: Option<&Path>) -> &Path {
    folder.filter(|folder| *folder != Path::new(".")).unwrap_or(Path::new(""))
}

/// Whether a snapshot of that name belongs to the scenario, on a kernel with all features or without those in its name.
fn makes(scenario: &Scenario, name: &str) -> bool {
    let mut full = scenario.clone();
    full.kernel_variants.lacking.clear();
    let base = snapshot_path(&full);
    let Some(mut rest) = base.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| name.strip_prefix(stem))
    else {
        return false;
    };
    for feature in &scenario.kernel_variants.snapshot_by {
        rest = rest.strip_prefix(snapshot_suffix(feature).as_str()).unwrap_or(rest);
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::example;
    use crate::scenario::model::Feature;

    #[test]
    fn only_what_no_scenario_makes_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().canonicalize().unwrap().join(name);
        for folder in ["snapshots", "gone/snapshots", "elsewhere"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        let kept =
            ["a@ipv4.snap", "a@ipv4~no-laminar.snap", "hidden@x.snap", "old.snap", "notes.txt", "orphan.snap.new"];
        let orphans = ["a.snap", "a@ipv4~no-tbf.snap", "a@ipv6.snap", "b.snap"];
        for name in kept.iter().chain(&orphans) {
            fs::write(path("snapshots").join(name), "").unwrap();
        }
        for file in ["a.yaml", "old.yml", "hidden.yaml", "gone/snapshots/c.snap", "elsewhere/precious.snap"] {
            fs::write(path(file), "").unwrap();
        }
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(path(target), path(name)).unwrap();
        link("elsewhere/precious.snap", "snapshots/link.snap");
        fs::create_dir(path("linked")).unwrap();
        link("elsewhere", "linked/snapshots");
        let mut scenario = Scenario { file: path("a.yaml"), variant: Some("ipv4".to_owned()), ..example::scenario() };
        scenario.kernel_variants.snapshot_by = [Feature::Laminar].into();
        let expected: Vec<PathBuf> = [path("gone/snapshots/c.snap")]
            .into_iter()
            .chain(orphans.iter().map(|name| path("snapshots").join(name)))
            .collect();
        let mut found = find(&[root.path().to_owned()], std::slice::from_ref(&scenario));
        found.sort();
        assert_eq!(found, expected);
        for orphan in &found {
            remove_snapshot(orphan).unwrap();
        }
        assert!(find(&[root.path().to_owned()], &[scenario.clone()]).is_empty());
        assert!(
            kept.iter().all(|name| path("snapshots").join(name).exists()) && path("elsewhere/precious.snap").exists()
        );
        assert!(find(&[path("a.yaml")], &[scenario]).is_empty(), "of a file nothing is known about its folder");
    }

    #[test]
    fn this_repository_has_none() {
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let files = scenario::find(std::slice::from_ref(&scenarios)).unwrap().files;
        let all: Vec<Scenario> = files
            .iter()
            .flat_map(|file| scenario::load(file).map_err(|errors| errors.render(false)).unwrap())
            .collect();
        assert_eq!(find(&[scenarios], &all), Vec::<PathBuf>::new());
    }
}
