//! Whether a scenario is unchanged.

use std::fs;
use std::path::{Path, PathBuf};

use crate::files;
use crate::files::digest::Digest;
use crate::judge::snapshot_path;
use crate::scenario::model::Scenario;

/// A digest of the source texts of a scenario: the scenario with its variables filled in, and its topology.
pub fn sources_digest(scenario: &Scenario) -> String {
    let texts = scenario.sources.iter().map(|source| source.text.as_bytes());
    texts.fold(Digest::new(), Digest::part).hex()
}

/// A digest of the snapshots that a scenario may be compared with: the one with its name, and those with a suffix. An
/// unreadable snapshot counts as missing: the verdict will report it.
pub fn snapshot_digest(scenario: &Scenario) -> String {
    let path = snapshot_path(scenario);
    let digest = |digest: Digest, path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        digest.part(name.as_bytes()).part(&files::read(path, files::SNAPSHOT).unwrap_or_default())
    };
    snapshots(&path).iter().fold(Digest::new(), digest).hex()
}

/// The file and those beside it whose names have a suffix, sorted.
fn snapshots(path: &Path) -> Vec<PathBuf> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let belongs = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let rest = name.strip_prefix(&stem).unwrap_or_default();
        let added = rest.chars().next().is_some_and(|next| !next.is_alphanumeric() && next != '-' && next != '_');
        added && path.extension().is_some_and(|extension| extension == "snap")
    };
    let entries = path.parent().and_then(|folder| fs::read_dir(folder).ok());
    let mut files: Vec<PathBuf> =
        entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).filter(belongs).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::example;
    use crate::recording::SourceText;

    fn scenario(folder: &Path, sources: &[&str]) -> Scenario {
        let source = |text: &&str| SourceText { name: "a.yaml".to_owned(), text: (*text).to_owned() };
        let sources = sources.iter().map(source).collect();
        Scenario { file: folder.join("a.yaml"), variant: Some("ipv4".to_owned()), sources, ..example::scenario() }
    }

    #[test]
    fn each_text_counts() {
        let of = |sources: &[&str]| sources_digest(&scenario(Path::new(""), sources));
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        for other in [&["a", "c"] as &[&str], &["ab"], &["a"], &["a", "b", ""]] {
            assert_ne!(of(&["a", "b"]), of(other), "{other:?}");
        }
    }

    #[test]
    fn a_snapshot_of_its_own_counts_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = folder.path().join("snapshots");
        fs::create_dir(&snapshots).unwrap();
        let digest = || snapshot_digest(&scenario(folder.path(), &[]));
        let mut known = vec![digest()];
        for name in ["a@ipv4.snap", "a@ipv4@laminar.snap", "a@ipv4.laminar.snap"] {
            fs::write(snapshots.join(name), "x").unwrap();
            let digest = digest();
            assert!(!known.contains(&digest), "{name}");
            known.push(digest);
        }
        for name in ["a@ipv4-checksum-1.snap", "a@ipv6.snap", "b@ipv4.snap", "a@ipv4.snap.new"] {
            fs::write(snapshots.join(name), "x").unwrap();
            assert_eq!(Some(&digest()), known.last(), "{name}");
        }
        fs::write(snapshots.join("a@ipv4.snap"), "y").unwrap();
        assert!(!known.contains(&digest()));
    }
}
