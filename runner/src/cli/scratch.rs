//! Folders for what isn't complete yet: [`Scratch`].

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// How the names of such folders begin.
const NAME: &str = "unfinished-";

/// A folder of this process's own in another one, until it is dropped.
///
/// A process that is killed leaves its folder behind; the next one removes it. A lock (flock(2)) tells that a folder is in
/// use: it ends with its process, whatever ends that, and whoever has the process's number afterwards.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// A new folder in `root`, which is made if need be.
    ///
    /// # Errors
    ///
    /// It can't be made.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        // Between a folder's creation and its lock nobody else may look.
        let gate = File::open(root)?;
        if gate.lock().is_ok() {
            remove_unused(root);
        }
        let mut number = 0_u32;
        let path = loop {
            // Another process may have the same number in another namespace.
            let path = root.join(format!("{NAME}{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                made => break made.map(|()| path)?,
            }
        };
        let lock = File::open(&path)?;
        // A file system without locks has none to find either: then nothing is ever removed.
        let _ = lock.try_lock();
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed now will be later.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes folders whose process is gone. What can't be looked at, or can't be removed, is in nobody's way.
fn remove_unused(root: &Path) {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(NAME.as_bytes())) {
        let unused = File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok());
        if unused {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_any_more_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let [killed, other] = ["unfinished-1-0", "results"].map(|name| root.path().join(name));
        fs::create_dir_all(killed.join("run")).unwrap();
        fs::create_dir(&other).unwrap();
        let first = Scratch::new(root.path()).unwrap();
        assert!(!killed.exists() && other.exists());
        // One that is in use stays, also for a process with the same number.
        let second = Scratch::new(root.path()).unwrap();
        assert!(first.path().exists() && second.path().exists() && first.path() != second.path());
        let paths = [first.path().to_owned(), second.path().to_owned()];
        drop((first, second));
        assert!(paths.iter().all(|path| !path.exists()));
    }
}
