//! From paths to scenario files: a folder stands for all that are below it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The files of a folder are not looked for here: what they contain belongs to scenarios, but isn't one.
pub(crate) const NOT_SCENARIOS: [&str; 2] = ["snapshots", "topologies"];

/// How deep folders are searched. A real tree is much flatter; this ends the way into one that isn't.
pub(crate) const MAX_DEPTH: usize = 32;

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
    #[error("no scenario (`*.yaml`) in `{folder}`")]
    Empty {
        /// The folder.
        folder: PathBuf,
        /// As in [`Found::left_out`].
        left_out: Vec<String>,
    },
    /// Deeper than any real tree.
    #[error("the folders below `{0}` are nested too deeply")]
    TooDeep(PathBuf),
}

/// What there is in some paths.
#[derive(Debug, Default)]
pub struct Found {
    /// The scenario files, in the order of the arguments, those of a folder sorted by name. A file that is named twice
    /// comes once.
    pub files: Vec<PathBuf>,
    /// What looks like scenarios but isn't taken, and why: `x/.draft.yaml: hidden`.
    pub left_out: Vec<String>,
}

/// The scenario files of these paths.
pub fn find(paths: &[PathBuf]) -> Result<Found, FindError> {
    let mut all = Found::default();
    let mut known = HashSet::new();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
        let path = &normal(path).map_err(|source| unreadable(path, source))?;
        let files = if metadata.is_dir() { in_folder(path, 0, &mut all.left_out)? } else { vec![path.clone()] };
        if files.is_empty() {
            return Err(FindError::Empty { folder: path.clone(), left_out: all.left_out });
        }
        all.files.extend(files.into_iter().filter(|file| known.insert(file.clone())));
    }
    Ok(all)
}

/// `*.yaml`, or the same with the shorter ending.
pub(crate) fn is_named_like_a_scenario(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn in_folder(folder: &Path, depth: usize, left_out: &mut Vec<String>) -> Result<Vec<PathBuf>, FindError> {
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
        let mut leave_out = |why: &str| left_out.push(format!("{}: {why}", path.display()));
        if name.starts_with('.') {
            // insta's configuration isn't meant.
            if is_named_like_a_scenario(&path) && name != ".insta.yaml" {
                leave_out("hidden");
            }
        } else if kind.is_dir() {
            if !NOT_SCENARIOS.contains(&name.as_str()) {
                files.extend(in_folder(&path, depth + 1, left_out)?);
            }
        } else if kind.is_symlink() && path.is_dir() {
            // They may lead in circles, or anywhere.
            leave_out("a symbolic link to a folder");
        } else if is_named_like_a_scenario(&path) {
            if !path.is_file() {
                leave_out("not a regular file");
            } else if path.extension().is_some_and(|extension| extension == "yml")
                && path.with_extension("yaml").exists()
            {
                leave_out("beside a `.yaml` of the same name, whose snapshot it would have");
            } else {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// A path from the working directory, if it is below that, however it was written: `./a`, `a//b`, `/lab/a` in `/lab`. Labels
/// of results follow from it.
pub fn normal(path: &Path) -> io::Result<PathBuf> {
    if path.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir)) {
        return Ok(or_here(path.components().filter(|component| *component != Component::CurDir).collect()));
    }
    // A link that the path itself names stays what it was called.
    let absolute = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if folder != Path::new("") => folder.canonicalize()?.join(name),
        _ => path.canonicalize()?,
    };
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    Ok(match here.as_ref().ok().and_then(|here| absolute.strip_prefix(here).ok()) {
        Some(below) => or_here(below.to_owned()),
        None => absolute,
    })
}

fn or_here(path: PathBuf) -> PathBuf {
    if path == Path::new("") { PathBuf::from(".") } else { path }
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
            "short.yml",
            "plain.yml",
            "signal/.draft.yaml",
            ".insta.yaml",
        ]);
        nix::unistd::mkfifo(&root.path().join("pipe.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("signal/loop")).unwrap();
        let found = find(&[root.path().to_owned(), root.path().join("plain.yaml")]).unwrap();
        let below = |path: &str| path.strip_prefix(&format!("{}/", root.path().display())).unwrap().to_owned();
        let names: Vec<_> = found.files.iter().map(|file| below(&file.display().to_string())).collect();
        assert_eq!(names, ["plain.yaml", "short.yml", "signal/a.yaml", "signal/b.yaml"]);
        let left_out: Vec<_> = found.left_out.iter().map(|line| below(line)).collect();
        assert_eq!(
            left_out,
            [
                "pipe.yaml: not a regular file",
                "plain.yml: beside a `.yaml` of the same name, whose snapshot it would have",
                "signal/.draft.yaml: hidden",
                "signal/loop: a symbolic link to a folder",
            ]
        );
    }

    #[test]
    fn a_path_has_one_name() {
        let here = std::env::current_dir().unwrap();
        for path in ["src/lib.rs", "./src/lib.rs", "src//./lib.rs", "src/../src/lib.rs", "tests/../src/lib.rs"] {
            assert_eq!(normal(Path::new(path)).unwrap(), Path::new("src/lib.rs"), "{path}");
            assert_eq!(normal(&here.join(path)).unwrap(), Path::new("src/lib.rs"), "{path}");
        }
        for path in [Path::new("."), Path::new("./"), &here, Path::new("src/..")] {
            assert_eq!(normal(path).unwrap(), Path::new("."));
        }
        assert_eq!(normal(Path::new("/proc/../proc/self")).unwrap(), Path::new("/proc/self"));
    }

    #[test]
    fn a_folder_without_scenarios_is_an_error() {
        let root = tree(&["README.md"]);
        assert!(matches!(find(&[root.path().to_owned()]), Err(FindError::Empty { .. })));
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        assert!(matches!(find(&[PathBuf::from("/nonexistent.yaml")]), Err(FindError::Unreadable { .. })));
    }
}
