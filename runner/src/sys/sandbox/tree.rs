//! The file tree of a host: a small memory file system with the machine's programs in it, read-only. What isn't listed
//! here doesn't exist in it: homes, sockets of services, secrets.

use std::ffi::{CStr, CString};
use std::fs;
use std::ptr;

use nix::libc;

use super::SandboxError;
use super::child::{Failure, Stage, check};

/// Where programs and their libraries are. Files that only root may read stay unreadable.
const PROGRAMS: [&str; 11] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt", "nix", "gnu"];
/// Devices without a memory.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Where the tree is built: in a mount namespace of its own, so that nobody sees it.
const BASE: &str = "/tmp";

/// What has to be mounted where. It is made before the fork.
#[derive(Debug)]
pub(super) struct Tree {
    /// From where, to where.
    folders: Vec<(CString, CString)>,
    devices: Vec<(CString, CString)>,
    /// What a link says, and where it is.
    links: Vec<(CString, CString)>,
}

impl Tree {
    /// Looks at the machine's tree.
    pub(super) fn look() -> Result<Self, SandboxError> {
        let text = |text: String| CString::new(text).map_err(|_| SandboxError::Nul);
        let mut tree = Self { folders: Vec::new(), devices: Vec::new(), links: Vec::new() };
        for name in PROGRAMS {
            let path = format!("/{name}");
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let place = text(format!("{BASE}/{name}"))?;
            if metadata.is_symlink() {
                let target = fs::read_link(&path).map_err(SandboxError::call("look at the file tree"))?;
                tree.links.push((text(target.to_string_lossy().into_owned())?, place));
            } else if metadata.is_dir() {
                tree.folders.push((text(path)?, place));
            }
        }
        for name in DEVICES {
            tree.devices.push((text(format!("/dev/{name}"))?, text(format!("{BASE}/dev/{name}"))?));
        }
        Ok(tree)
    }

    /// Builds the tree and moves into it. The calling process must be alone in its mount namespace.
    pub(super) fn enter(&self) -> Result<(), Failure> {
        // SAFETY: the call has no pointers.
        unsafe { libc::umask(0) };
        mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE, None)?;
        memory(c"/tmp", c"mode=0755,size=1m")?;
        for folder in [
            c"/tmp/dev",
            c"/tmp/dev/shm",
            c"/tmp/home",
            c"/tmp/old",
            c"/tmp/proc",
            c"/tmp/root",
            c"/tmp/tmp",
            c"/tmp/var",
        ] {
            make_folder(folder)?;
        }
        for (from, to) in &self.folders {
            make_folder(to)?;
            mount(Some(from), to, None, libc::MS_BIND | libc::MS_REC, None)?;
            restrict(to, true, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV)?;
        }
        for (from, to) in &self.devices {
            make_file(to)?;
            mount(Some(from), to, None, libc::MS_BIND, None)?;
            restrict(to, false, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC)?;
        }
        for (target, place) in &self.links {
            link(target, place)?;
        }
        let standard = [
            (c"/proc/self/fd", c"/tmp/dev/fd"),
            (c"/proc/self/fd/0", c"/tmp/dev/stdin"),
            (c"/proc/self/fd/1", c"/tmp/dev/stdout"),
            (c"/proc/self/fd/2", c"/tmp/dev/stderr"),
            (c"var/run", c"/tmp/run"),
        ];
        for (target, place) in standard {
            link(target, place)?;
        }
        memory(c"/tmp/dev/shm", c"mode=1777,size=64m,nr_inodes=4k")?;
        memory(c"/tmp/tmp", c"mode=1777,size=256m,nr_inodes=64k")?;
        memory(c"/tmp/var", c"mode=0755,size=64m,nr_inodes=4k")?;
        for folder in
            [c"/tmp/var/cache", c"/tmp/var/lib", c"/tmp/var/log", c"/tmp/var/run", c"/tmp/var/spool", c"/tmp/var/tmp"]
        {
            make_folder(folder)?;
        }
        // While the machine's own /proc can still be seen: the kernel allows another one only then.
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        mount(Some(c"proc"), c"/tmp/proc", Some(c"proc"), flags, None)
            .map_err(|failure| Failure { stage: Stage::Proc, ..failure })?;
        // SAFETY: all pointers lead to C strings.
        unsafe {
            check(Stage::Tree, libc::syscall(libc::SYS_pivot_root, c"/tmp".as_ptr(), c"/tmp/old".as_ptr()))?;
            check(Stage::Tree, libc::chdir(c"/".as_ptr()))?;
            check(Stage::Tree, libc::umount2(c"/old".as_ptr(), libc::MNT_DETACH))?;
            check(Stage::Tree, libc::rmdir(c"/old".as_ptr()))?;
        }
        restrict(c"/", false, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV)
    }
}

fn mount(
    from: Option<&CStr>,
    to: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    options: Option<&CStr>,
) -> Result<(), Failure> {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: all pointers are null or lead to C strings.
    let result = unsafe { libc::mount(pointer(from), to.as_ptr(), pointer(kind), flags, pointer(options).cast()) };
    check(Stage::Tree, result).map(drop)
}

/// A memory file system.
fn memory(place: &CStr, options: &CStr) -> Result<(), Failure> {
    mount(Some(c"tmpfs"), place, Some(c"tmpfs"), libc::MS_NOSUID | libc::MS_NODEV, Some(options))
}

/// Gives a mount these attributes; `all`: and what is mounted below it.
fn restrict(place: &CStr, all: bool, attributes: u64) -> Result<(), Failure> {
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = if all { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the pointers lead to a C string and to a structure of that size, which the kernel only reads.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            place.as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    check(Stage::Tree, result).map(drop)
}

fn make_folder(place: &CStr) -> Result<(), Failure> {
    // SAFETY: the pointer leads to a C string.
    check(Stage::Tree, unsafe { libc::mkdir(place.as_ptr(), 0o755) }).map(drop)
}

fn make_file(place: &CStr) -> Result<(), Failure> {
    // SAFETY: the pointer leads to a C string; the descriptor was just made.
    unsafe {
        let file =
            check(Stage::Tree, libc::open(place.as_ptr(), libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC, 0o644))?;
        libc::close(libc::c_int::try_from(file).unwrap_or(-1));
    }
    Ok(())
}

fn link(target: &CStr, place: &CStr) -> Result<(), Failure> {
    // SAFETY: both pointers lead to C strings.
    check(Stage::Tree, unsafe { libc::symlink(target.as_ptr(), place.as_ptr()) }).map(drop)
}
