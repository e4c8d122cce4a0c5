//! Folders for incomplete results: [`Scratch`].

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{self, Folder};

/// The prefix of such folders' names.
const NAME: &str = "unfinished-";

/// A private folder of this process in another folder, until it is dropped.
///
/// A killed process leaves its folder behind, and the next process removes it. A lock (flock(2)) marks a folder in use:
/// it ends with its process, however that ends, and whoever gets the PID afterwards.
#[derive(Debug)]
pub(super) struct Scratch {
    root: Folder,
    name: String,
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// A new folder in `root`, which is created if needed.
    ///
    /// # Errors
    ///
    /// It can't be made.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let folder = Folder::create(root)?;
        // No other process may look between a folder's creation and its lock.
        let gate = files::open_folder(root)?;
        if gate.lock().is_ok() {
            remove_unused(&folder);
        }
        let mut number = 0_u32;
        let (name, made) = loop {
            // Another process may have the same PID in another namespace.
            let name = format!("{NAME}{}-{number}", std::process::id());
            match folder.make_new(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                made => break (name, made?),
            }
        };
        made.mark()?;
        let path = made.path().to_owned();
        let lock = files::open_folder(&path)?;
        // Without locks in the file system, nothing is ever removed.
        let _ = lock.try_lock();
        Ok(Self { root: folder, name, path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A later process removes what can't be removed now.
        let _ = self.root.remove_tree(&self.name);
    }
}

/// Removes folders whose process is gone. Unreadable folders, and those not marked as mptcplab's, stay.
fn remove_unused(root: &Folder) {
    let entries = fs::read_dir(root.path()).into_iter().flatten().flatten();
    for entry in entries {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let unused = || files::open_folder(&entry.path()).is_ok_and(|folder| folder.try_lock().is_ok());
        if name.starts_with(NAME) && unused() {
            let _ = root.remove_tree(&name);
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
        fs::write(killed.join(files::MARKER), "").unwrap();
        let foreign = root.path().join("unfinished-business");
        fs::create_dir(&foreign).unwrap();
        let first = Scratch::new(root.path()).unwrap();
        assert!(!killed.exists() && other.exists() && foreign.exists());
        // One that is in use stays, also for a process with the same number.
        let second = Scratch::new(root.path()).unwrap();
        assert!(first.path().exists() && second.path().exists() && first.path() != second.path());
        let paths = [first.path().to_owned(), second.path().to_owned()];
        drop((first, second));
        assert!(paths.iter().all(|path| !path.exists()));
    }
}
