//! The one place where mptcplab opens, creates and removes files.
//!
//! Scenarios, recordings and their folders are untrusted. [`read()`] reads only regular files of a limited size.
//! [`Folder`] writes inside an open folder without following symbolic links, and deletes a tree only if mptcplab has
//! marked it as its own. `clippy.toml` forbids the functions of `std::fs` that do the same without these checks.

#![allow(clippy::disallowed_methods, reason = "this is the module that wraps them")]

pub(crate) mod digest;
mod folder;
pub(crate) mod kernel;
mod read;

pub(crate) use folder::{Folder, MARKER, create_named, rewrite_named, write_named};
pub(crate) use read::{open, open_folder, read, read_text};

/// The largest scenario, topology or list of kernels: three orders of magnitude above those that people write.
pub(crate) const SCENARIO: u64 = 1 << 20;

/// The largest snapshot, and the largest observation of stored results. A reviewed text of this size has 200,000 lines.
pub(crate) const SNAPSHOT: u64 = 16 << 20;

/// The largest index of stored results: 10,000 scenarios take a tenth of it.
pub(crate) const INDEX: u64 = 64 << 20;

/// The largest recording: a million captured segments take half of it.
pub(crate) const RECORDING: u64 = 1 << 30;

/// The largest kernel image. A `vmlinux` with debug information is larger, but neither QEMU nor mptcplab needs that.
pub(crate) const KERNEL: u64 = 512 << 20;

/// The largest kernel module; also the largest list of modules.
pub(crate) const MODULE: u64 = 128 << 20;

/// The largest program or library that goes into a guest.
pub(crate) const PROGRAM: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Clippy denies it in the library only, as it does with the functions for files.
    #[test]
    fn no_test_waits_for_a_time() {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()];
        let mut sources = 0;
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    sources += 1;
                    let text = fs::read_to_string(&path).unwrap();
                    let sleeps = ["thread::", "time::"].map(|module| format!("{module}sleep("));
                    assert!(sleeps.iter().all(|sleep| !text.contains(sleep)), "{}", path.display());
                }
            }
        }
        assert!(sources > 100);
    }
}
