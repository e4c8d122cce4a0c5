//! Writing and removing: inside an open folder, never through symbolic links.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use thiserror::Error;

use super::read;

/// The file that marks a folder as mptcplab's own, whose contents it may delete.
pub(crate) const MARKER: &str = ".mptcplab";

const MARKER_TEXT: &str = "mptcplab created this folder, and deletes its contents before it writes new results.\n";

/// Why mptcplab refuses to write or delete something.
#[derive(Debug, Error)]
enum Refusal {
    #[error("`{0}` is a symbolic link; mptcplab doesn't write through links: remove it, or replace it with its target")]
    Link(PathBuf),
    #[error("`{0}` is neither a file nor a folder; mptcplab replaces only regular files")]
    Special(PathBuf),
    #[error("`{0}` is not a path inside a folder")]
    NotBeneath(PathBuf),
    #[error("mptcplab didn't create the folder `{0}` (no `{MARKER}` in it), so it doesn't delete it")]
    NotOurs(PathBuf),
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(io::ErrorKind::InvalidInput, refusal)
    }
}

/// An open folder. Writes go to it, whatever its path leads to later.
#[derive(Debug)]
pub(crate) struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder by a path that the user gave: links are followed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = if path == Path::new("") { Path::new(".") } else { path };
        let descriptor = open(path, FOLDER, Mode::empty())?;
        Ok(Self { descriptor, path: path.to_owned() })
    }

    /// As [`Folder::open`], but creates the folder and its parents if needed.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Self::open(path)
    }

    /// Its path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a folder inside this one.
    pub(crate) fn beneath(&self, path: &Path) -> io::Result<Self> {
        self.descend(path, false)
    }

    /// As [`Folder::beneath`], but creates the folder if needed.
    pub(crate) fn make_beneath(&self, path: &Path) -> io::Result<Self> {
        self.descend(path, true)
    }

    /// Opens one component at a time, none of which may be a link: like `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS` of
    /// openat2(2), but on any kernel.
    fn descend(&self, path: &Path, make: bool) -> io::Result<Self> {
        let mut folder = Self { descriptor: self.descriptor.try_clone()?, path: self.path.clone() };
        for component in path.components() {
            let name = match component {
                Component::CurDir => continue,
                Component::Normal(name) => name,
                _ => return Err(Refusal::NotBeneath(path.to_owned()).into()),
            };
            if make {
                match mkdirat(&folder.descriptor, name, Mode::from_bits_truncate(0o777)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            folder = folder.child(name)?;
        }
        Ok(folder)
    }

    fn child(&self, name: &OsStr) -> io::Result<Self> {
        let path = self.path.join(name);
        match openat(&self.descriptor, name, FOLDER | OFlag::O_NOFOLLOW, Mode::empty()) {
            Ok(descriptor) => Ok(Self { descriptor, path }),
            // With O_DIRECTORY, open(2) fails with ENOTDIR for a link.
            Err(Errno::ENOTDIR | Errno::ELOOP) if self.is_link(name) => Err(Refusal::Link(path).into()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Creates a folder that must not exist yet.
    pub(crate) fn make_new(&self, name: &str) -> io::Result<Self> {
        let name = single(name)?;
        mkdirat(&self.descriptor, name, Mode::from_bits_truncate(0o777))?;
        self.child(name)
    }

    fn stat(&self, name: &OsStr) -> nix::Result<FileStat> {
        fstatat(&self.descriptor, name, AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    fn is_link(&self, name: &OsStr) -> bool {
        self.stat(name).is_ok_and(|stat| kind(&stat) == SFlag::S_IFLNK)
    }

    /// Reads a regular file of this folder.
    pub(crate) fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let name = single(name)?;
        // Nothing else is opened, and O_NONBLOCK prevents waiting if the file was replaced meanwhile.
        match self.stat(name) {
            Ok(stat) if kind(&stat) == SFlag::S_IFLNK => return Err(Refusal::Link(self.path.join(name)).into()),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.descriptor, name, flags, Mode::empty())?);
        read::checked(&file.metadata()?, limit)?;
        read::read_open(file, limit)
    }

    /// As [`Folder::read`], for text.
    pub(crate) fn read_text(&self, name: &str, limit: u64) -> io::Result<String> {
        read::text(self.read(name, limit)?)
    }

    /// Writes a file, completely or not at all. Only a regular file is replaced.
    pub(crate) fn write(
        &self,
        name: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> io::Result<()> {
        let name = single(name)?;
        let mode = self.replaceable(name)?;
        let (temporary, file) = self.temporary(name)?;
        if let Some(mode) = mode {
            // File systems that can't set it, such as FAT, have none to keep.
            let _ = fchmod(&file, mode);
        }
        let mut out = BufWriter::new(file);
        let written = content(&mut out).and_then(|()| out.flush());
        let written = written.and_then(|()| {
            renameat(&self.descriptor, temporary.as_str(), &self.descriptor, name).map_err(io::Error::from)
        });
        if written.is_err() {
            // No other process knows of it.
            let _ = unlinkat(&self.descriptor, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// Checks that the target doesn't exist or is a regular file, and returns its permissions if it exists.
    fn replaceable(&self, name: &OsStr) -> io::Result<Option<Mode>> {
        let stat = self.stat(name);
        match stat.map(|stat| kind(&stat)) {
            Ok(SFlag::S_IFREG) => Ok(stat.ok().map(|stat| Mode::from_bits_truncate(stat.st_mode & 0o777))),
            Err(Errno::ENOENT) => Ok(None),
            Ok(SFlag::S_IFLNK) => Err(Refusal::Link(self.path.join(name)).into()),
            Ok(SFlag::S_IFDIR) => Err(Errno::EISDIR.into()),
            Ok(_) => Err(Refusal::Special(self.path.join(name)).into()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// A new file beside the one that it will replace.
    fn temporary(&self, name: &OsStr) -> io::Result<(String, File)> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        loop {
            // The digest of the name keeps it short: names may be as long as the file system allows.
            let digest = crate::files::digest::Digest::new().bytes(name.as_bytes()).hex();
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let temporary = format!(".{digest}.{}-{number}.partial", std::process::id());
            match openat(&self.descriptor, temporary.as_str(), flags, Mode::from_bits_truncate(0o666)) {
                Ok(descriptor) => return Ok((temporary, File::from(descriptor))),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Removes a file, or a link itself, if it exists.
    pub(crate) fn remove_file(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.descriptor, single(name)?, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Marks this folder as mptcplab's own.
    pub(crate) fn mark(&self) -> io::Result<()> {
        self.write(MARKER, |out| out.write_all(MARKER_TEXT.as_bytes()))
    }

    /// Whether mptcplab has marked this folder as its own.
    pub(crate) fn is_marked(&self) -> bool {
        self.stat(OsStr::new(MARKER)).is_ok_and(|stat| kind(&stat) == SFlag::S_IFREG)
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.names()?.is_empty())
    }

    /// Removes a folder and its contents, if it exists. Either it or this one must be mptcplab's own.
    pub(crate) fn remove_tree(&self, name: &str) -> io::Result<()> {
        let name = single(name)?;
        match self.stat(name).map(|stat| kind(&stat)) {
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
            Ok(SFlag::S_IFDIR) => {}
            Ok(_) if self.is_marked() => return Ok(unlinkat(&self.descriptor, name, UnlinkatFlags::NoRemoveDir)?),
            Ok(_) => return Err(Refusal::NotOurs(self.path.join(name)).into()),
        }
        let folder = self.child(name)?;
        if !self.is_marked() && !folder.is_marked() {
            return Err(Refusal::NotOurs(folder.path).into());
        }
        folder.empty()?;
        Ok(unlinkat(&self.descriptor, name, UnlinkatFlags::RemoveDir)?)
    }

    /// Removes the contents of this folder; links themselves, not their targets. The marker goes last, so that the next
    /// attempt can remove what a failed one has left.
    fn empty(&self) -> io::Result<()> {
        let mut names = self.names()?;
        names.sort_by_key(|name| name == MARKER);
        for name in names {
            match unlinkat(&self.descriptor, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EISDIR | Errno::EPERM) => {
                    self.child(&name)?.empty()?;
                    unlinkat(&self.descriptor, name.as_os_str(), UnlinkatFlags::RemoveDir)?;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<std::ffi::OsString>> {
        let mut entries = Dir::openat(self.descriptor.as_fd(), ".", FOLDER, Mode::empty())?;
        let mut names = Vec::new();
        for entry in entries.iter() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Moves a folder from another one here, under this name. The name must not exist yet.
    pub(crate) fn take(&self, name: &str, from: &Self, its_name: &str) -> io::Result<()> {
        Ok(renameat(&from.descriptor, single(its_name)?, &self.descriptor, single(name)?)?)
    }
}

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// A name in a folder, not a path.
fn single(name: &str) -> io::Result<&OsStr> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(only),
        _ => Err(Refusal::NotBeneath(name.into()).into()),
    }
}

/// The standard names of descriptors are links, but no untrusted folder contains them.
fn is_the_shells(path: &Path) -> bool {
    let names = ["/dev/stdout", "/dev/stderr", "/dev/null"];
    names.iter().any(|name| path == Path::new(name)) || path.parent() == Some(Path::new("/dev/fd"))
}

/// A file named on the command line: its folder, and its name there. It isn't written through a link either: the folder
/// may be from somebody else.
fn named(path: &Path) -> io::Result<(Folder, &str)> {
    let name = path.file_name().and_then(OsStr::to_str).ok_or_else(|| Refusal::NotBeneath(path.to_owned()))?;
    Ok((Folder::open(path.parent().unwrap_or(Path::new("")))?, name))
}

/// Creates or empties a file that is written piecemeal, so that it can be followed while mptcplab runs.
pub(crate) fn create_named(path: &Path) -> io::Result<File> {
    if is_the_shells(path) {
        return File::options().write(true).open(path);
    }
    let (folder, name) = named(path)?;
    folder.replaceable(OsStr::new(name))?;
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    Ok(File::from(openat(&folder.descriptor, name, flags, Mode::from_bits_truncate(0o666))?))
}

/// Writes a file named on the command line, completely or not at all.
pub(crate) fn write_named(path: &Path, content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    if is_the_shells(path) {
        let mut out = BufWriter::new(File::options().write(true).open(path)?);
        content(&mut out)?;
        return out.flush();
    }
    let (folder, name) = named(path)?;
    folder.write(name, content)
}

/// Reads a text file of at most `limit` bytes that was named on the command line, and replaces it with the result of
/// `change`, if there is one: completely or not at all, and not through a link.
pub(crate) fn rewrite_named(path: &Path, limit: u64, change: impl FnOnce(&str) -> Option<String>) -> io::Result<()> {
    let (folder, name) = named(path)?;
    match change(&folder.read_text(name, limit)?) {
        Some(text) => folder.write(name, |out| out.write_all(text.as_bytes())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use tempfile::TempDir;

    /// A folder, and something of value outside of it.
    fn places() -> (TempDir, TempDir, Folder) {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("precious"), "gold").unwrap();
        let folder = Folder::open(inside.path()).unwrap();
        (inside, outside, folder)
    }

    fn put(folder: &Folder, name: &str, text: &str) -> io::Result<()> {
        folder.write(name, |out| out.write_all(text.as_bytes()))
    }

    #[test]
    fn files_are_written_whole_or_not_at_all() {
        let (inside, _outside, folder) = places();
        put(&folder, "a", "one").unwrap();
        put(&folder, "a", "two").unwrap();
        let error = folder.write("a", |out| out.write_all(b"three").and(Err(io::Error::other("no")))).unwrap_err();
        assert_eq!(error.to_string(), "no");
        assert_eq!(folder.read_text("a", 10).unwrap(), "two");
        assert_eq!(fs::read_dir(inside.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_keeps_its_permissions_when_it_is_rewritten() {
        let (inside, outside, folder) = places();
        put(&folder, "a", "one").unwrap();
        let path = inside.path().join("a");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        rewrite_named(&path, 100, |text| Some(text.to_uppercase())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(&path).unwrap(), "ONE");
        let link = inside.path().join("link");
        symlink(outside.path().join("precious"), &link).unwrap();
        let error = rewrite_named(&link, 100, |_| Some("mud".to_owned())).unwrap_err().to_string();
        assert!(error.contains("is a symbolic link"), "{error}");
        assert_eq!(fs::read_to_string(outside.path().join("precious")).unwrap(), "gold");
    }

    #[test]
    fn nothing_is_written_or_read_through_a_link() {
        let (inside, outside, folder) = places();
        let target = outside.path().join("precious");
        symlink(&target, inside.path().join("link")).unwrap();
        symlink(outside.path().join("new"), inside.path().join("dangling")).unwrap();
        symlink(outside.path(), inside.path().join("folder")).unwrap();
        for name in ["link", "dangling", "folder"] {
            let error = put(&folder, name, "mud").unwrap_err().to_string();
            assert!(error.contains(&format!("{name}` is a symbolic link")), "{error}");
            assert!(folder.read(name, 10).unwrap_err().to_string().contains("is a symbolic link"));
        }
        for path in ["folder", "folder/deep", "./folder"] {
            for opened in [folder.beneath(Path::new(path)), folder.make_beneath(Path::new(path))] {
                assert!(opened.unwrap_err().to_string().contains("folder` is a symbolic link"));
            }
        }
        assert!(write_named(&inside.path().join("link"), |out| out.write_all(b"mud")).is_err());
        // A link in the middle.
        fs::create_dir(inside.path().join("a")).unwrap();
        symlink(outside.path(), inside.path().join("a/b")).unwrap();
        assert!(folder.make_beneath(Path::new("a/b/c")).unwrap_err().to_string().contains("a/b` is a symbolic link"));
        assert_eq!(fs::read_to_string(&target).unwrap(), "gold");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_names_beneath_are_taken() {
        let (_inside, _outside, folder) = places();
        for path in ["..", "/tmp", "a/../..", "a/.."] {
            assert!(folder.make_beneath(Path::new(path)).is_err(), "{path}");
        }
        for name in ["", ".", "..", "a/b", "/a", "a/"] {
            assert!(put(&folder, name, "x").is_err(), "{name}");
            assert!(folder.remove_file(name).is_err() && folder.remove_tree(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_pipe_is_not_replaced() {
        let (inside, _outside, folder) = places();
        nix::unistd::mkfifo(&inside.path().join("pipe"), Mode::S_IRWXU).unwrap();
        assert!(put(&folder, "pipe", "x").is_err());
        assert!(folder.read("pipe", 10).is_err());
    }

    #[test]
    fn only_what_is_marked_is_deleted() {
        let (inside, outside, folder) = places();
        let tree = folder.make_beneath(Path::new("tree/deep")).unwrap();
        put(&tree, "file", "x").unwrap();
        symlink(outside.path(), inside.path().join("tree/deep/out")).unwrap();
        let error = folder.remove_tree("tree").unwrap_err().to_string();
        assert!(error.ends_with("(no `.mptcplab` in it), so it doesn't delete it"), "{error}");
        assert!(inside.path().join("tree/deep/file").exists());
        folder.beneath(Path::new("tree")).unwrap().mark().unwrap();
        folder.remove_tree("tree").unwrap();
        assert!(!inside.path().join("tree").exists());
        assert!(outside.path().join("precious").exists());
        folder.remove_tree("tree").unwrap();
    }

    #[test]
    fn what_is_in_a_marked_folder_may_be_deleted_but_not_what_a_link_leads_to() {
        let (inside, outside, folder) = places();
        // Somebody else's marker doesn't make the link's target ours.
        fs::write(outside.path().join(MARKER), "").unwrap();
        symlink(outside.path(), inside.path().join("scenarios")).unwrap();
        assert!(folder.remove_tree("scenarios").is_err());
        folder.mark().unwrap();
        folder.remove_tree("scenarios").unwrap();
        assert!(!inside.path().join("scenarios").is_symlink());
        assert!(outside.path().join("precious").exists());
    }
}
