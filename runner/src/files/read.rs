//! Reading: only regular files, of limited size.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use thiserror::Error;

/// A path names something other than a regular file.
#[derive(Debug, Error)]
#[error("it is {kind}, not a regular file{advice}")]
struct NotRegular {
    kind: &'static str,
    advice: &'static str,
}

impl NotRegular {
    fn of(kind: FileType) -> Self {
        let (kind, advice) = if kind.is_dir() {
            ("a folder", "")
        } else if kind.is_symlink() {
            ("a symbolic link", "; mptcplab doesn't follow links here")
        } else if kind.is_fifo() {
            ("a pipe", "; write its content to a file first (in a shell, `COMMAND > FILE` instead of `<(COMMAND)`)")
        } else if kind.is_socket() {
            ("a socket", "")
        } else {
            ("a device", "")
        };
        Self { kind, advice }
    }
}

/// A file is larger than its limit.
#[derive(Debug, Error)]
#[error("the file is too large: {length} bytes or more, the limit is {limit}{}", binary(*limit))]
struct Oversized {
    length: u64,
    limit: u64,
}

/// ` (1 MiB)`, if the number is round in such units.
fn binary(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB")];
    let unit = units.iter().find(|(shift, _)| bytes >= 1 << shift && bytes.trailing_zeros() >= *shift);
    unit.map_or_else(String::new, |(shift, name)| format!(" ({} {name})", bytes >> shift))
}

/// Accepts only a regular file of at most `limit` bytes.
pub(super) fn checked(metadata: &fs::Metadata, limit: u64) -> io::Result<()> {
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, NotRegular::of(metadata.file_type())));
    }
    if metadata.len() > limit {
        let oversized = Oversized { length: metadata.len(), limit };
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, oversized));
    }
    Ok(())
}

/// Opens a regular file of at most `limit` bytes.
///
/// Opening some devices has side effects, so the kind is checked before; it may have changed meanwhile, so it is
/// checked again. Without `O_NONBLOCK`, opening a pipe would wait for a writer, and reading some kernel files for data.
pub(crate) fn open(path: &Path, limit: u64) -> io::Result<File> {
    checked(&fs::metadata(path)?, limit)?;
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    checked(&file.metadata()?, limit)?;
    Ok(file)
}

/// Reads a whole regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_open(open(path, limit)?, limit)
}

/// As [`read`], for text.
pub(crate) fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    text(read(path, limit)?)
}

/// Opens a folder to lock it.
pub(crate) fn open_folder(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECTORY).open(path)
}

/// Reads a whole open file. It may grow meanwhile, and files in /proc report no length.
pub(super) fn read_open(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    let enough = usize::try_from(length.min(limit)).map_err(io::Error::other)?;
    bytes.try_reserve_exact(enough).map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
    file.take(limit + 1).read_to_end(&mut bytes)?;
    let length = bytes.len() as u64;
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, Oversized { length, limit }));
    }
    Ok(bytes)
}

pub(super) fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;

    fn refusal(path: &Path) -> String {
        read(path, 100).unwrap_err().to_string()
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zeroes")).unwrap();
        std::os::unix::fs::symlink(at("pipe"), at("to-pipe")).unwrap();
        assert_eq!(refusal(folder.path()), "it is a folder, not a regular file");
        assert!(
            refusal(&at("pipe")).starts_with("it is a pipe, not a regular file; write its content to a file first")
        );
        assert!(refusal(&at("to-pipe")).starts_with("it is a pipe"));
        assert_eq!(refusal(&at("socket")), "it is a socket, not a regular file");
        assert_eq!(refusal(&at("zeroes")), "it is a device, not a regular file");
        assert_eq!(read(&at("none"), 100).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_so_much_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, [b'x'; 100]).unwrap();
        assert_eq!(read_text(&path, 100).unwrap().len(), 100);
        assert_eq!(read(&path, 99).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        // A hole takes no room on the disk, but would in memory.
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        let error = read(&path, super::super::SCENARIO).unwrap_err().to_string();
        assert_eq!(error, "the file is too large: 1099511627776 bytes or more, the limit is 1048576 (1 MiB)");
        // It says that it has no bytes, and has megabytes.
        let endless = Path::new("/proc/kallsyms");
        assert_eq!(read(endless, 10_000).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
