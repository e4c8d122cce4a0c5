//! From paths to scenario files: a folder stands for all that are below it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of a folder are not looked for here: what they contain belongs to scenarios, but isn't one.
const NOT_SCENARIOS: [&str; 2] = ["snapshots", "topologies"];

/// How deep folders are searched. A real tree is much flatter; this ends the way into one that isn't.
const MAX_DEPTH: usize = 32;

/// Why there are no files to work with.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// A file or folder isn't there, or can't be read.
    #[error("can't read `{path}`: {source}")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder without a scenario.
    #[error("no scenario (`*.yaml`) in `{0}`")]
    Empty(PathBuf),
    /// Deeper than any real tree.
    #[error("the folders below `{0}` are nested too deeply")]
    TooDeep(PathBuf),
}

/// The scenario files of these paths, in the order of the arguments, those of a folder sorted by name. A file that is named twice comes once.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, FindError> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
        let found = if metadata.is_dir() { in_folder(path, 0)? } else { vec![path.clone()] };
        if found.is_empty() {
            return Err(FindError::Empty(path.clone()));
        }
        for file in found {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

fn in_folder(folder: &Path, depth: usize) -> Result<Vec<PathBuf>, FindError> {
    if depth > MAX_DEPTH {
        return Err(FindError::TooDeep(folder.to_owned()));
    }
    let mut entries: Vec<(PathBuf, fs::FileType)> = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| unreadable(folder, source))? {
        let entry = entry.map_err(|source| unreadable(folder, source))?;
        let kind = entry.file_type().map_err(|source| unreadable(&entry.path(), source))?;
        entries.push((entry.path(), kind));
    }
    entries.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut files = Vec::new();
    for (path, kind) in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            if !NOT_SCENARIOS.contains(&name.as_str()) {
                files.extend(in_folder(&path, depth + 1)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "yaml") && path.is_file() {
            // `is_file` follows symbolic links; those to folders are left alone, they may lead in circles.
            files.push(path);
        }
    }
    Ok(files)
}

fn unreadable(path: &Path, source: io::Error) -> FindError {
    FindError::Unreadable { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    #[test]
    fn folders_are_searched_but_for_what_is_no_scenario() {
        let root = tree(&[
            "signal/b.yaml",
            "signal/a.yaml",
            "signal/snapshots/a.yaml",
            "topologies/four.yaml",
            ".git/x.yaml",
            "README.md",
            "plain.yaml",
        ]);
        std::os::unix::fs::symlink(root.path(), root.path().join("signal/loop")).unwrap();
        let files = find(&[root.path().to_owned(), root.path().join("plain.yaml")]).unwrap();
        let names: Vec<_> =
            files.iter().map(|file| file.strip_prefix(root.path()).unwrap().display().to_string()).collect();
        assert_eq!(names, ["plain.yaml", "signal/a.yaml", "signal/b.yaml"]);
    }

    #[test]
    fn a_folder_without_scenarios_is_an_error() {
        let root = tree(&["README.md"]);
        assert!(matches!(find(&[root.path().to_owned()]), Err(FindError::Empty(_))));
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        assert!(matches!(find(&[PathBuf::from("/nonexistent.yaml")]), Err(FindError::Unreadable { .. })));
    }
}
