//! What the first process needs of its kernel: mounts, modules, and its release.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::utsname::uname;

use crate::files;
use crate::vm::places::MODULES;

/// Mounts what a run reads.
pub(super) fn mount_all() -> Result<(), String> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        files::kernel::make_folder(target).map_err(|error| format!("can't create {target}: {error}"))?;
        mount(Some(kind), target, Some(kind), MsFlags::empty(), None::<&str>)
            .map_err(|errno| format!("can't mount {kind} on {target}: {errno}"))?;
    }
    Ok(())
}

/// A module of the guest's kernel.
pub(super) struct Module {
    path: PathBuf,
}

/// All packed modules, in the order of loading.
pub(super) fn modules() -> Result<Vec<Module>, String> {
    if !Path::new(MODULES).exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(MODULES).map_err(|error| format!("can't read {MODULES}: {error}"))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths.into_iter().map(|path| Module { path }).collect())
}

impl Module {
    /// Whether the channel to the host needs it.
    pub(super) fn is_virtio(&self) -> bool {
        self.name().starts_with("virtio")
    }

    /// The file name without its number.
    fn name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        stem.split_once('-').map_or(stem.clone(), |(_, name)| name.to_owned())
    }

    /// Loads it, and removes the file to free its memory.
    pub(super) fn load(self) -> Result<(), String> {
        let file =
            files::kernel::open(&self.path).map_err(|error| format!("can't read {}: {error}", self.path.display()))?;
        let loaded = finit_module(file, c"", ModuleInitFlags::empty());
        // If that fails, the file goes with the machine.
        let _ = files::kernel::remove_file(&self.path);
        match loaded {
            // EEXIST: the kernel has loaded it itself. ENODEV: there is no such hardware, as for crc32c_intel.
            Ok(()) | Err(Errno::EEXIST | Errno::ENODEV) => Ok(()),
            Err(errno) => Err(format!("can't load module {}: {errno}; see the kernel log", self.name())),
        }
    }
}

/// As `uname -r` says.
pub(super) fn release() -> String {
    uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}
