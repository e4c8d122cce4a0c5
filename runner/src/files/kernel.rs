//! Files of the kernel: /proc, /sys and /dev, by fixed names. No such name comes from an input.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Reads a file whole.
pub(crate) fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    fs::read_to_string(path)
}

/// Writes to an existing file.
pub(crate) fn write(path: impl AsRef<Path>, text: &str) -> io::Result<()> {
    io::Write::write_all(&mut OpenOptions::new().write(true).open(path)?, text.as_bytes())
}

/// Opens a file for reading.
pub(crate) fn open(path: impl AsRef<Path>) -> io::Result<File> {
    File::open(path)
}

/// As [`open`], with further flags of open(2).
pub(crate) fn open_with(path: impl AsRef<Path>, flags: i32) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Opens an existing file or device for reading and writing.
pub(crate) fn open_to_write(path: impl AsRef<Path>) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Creates a folder on which something is mounted.
pub(crate) fn make_folder(path: impl AsRef<Path>) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Creates an empty file on which something is mounted.
pub(crate) fn make_file(path: impl AsRef<Path>) -> io::Result<()> {
    File::create_new(path).map(drop)
}

/// Removes a file of a guest's file system.
pub(crate) fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    fs::remove_file(path)
}
