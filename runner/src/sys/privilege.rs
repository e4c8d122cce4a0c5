//! Acquiring the privileges to create network namespaces: as root, or as any user in a new user namespace.
//!
//! [`enter`] is the first thing that `main` does: a user namespace can only be entered while the process has a
//! single thread (`unshare_userns`, `kernel/user_namespace.c`).

use std::fmt;
use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use thiserror::Error;

use crate::errno::errno_symbol;
use crate::files;

/// `CAP_NET_ADMIN` (`include/uapi/linux/capability.h`): to configure networks.
const CAP_NET_ADMIN: u32 = 12;
/// `CAP_NET_RAW`: to capture segments.
const CAP_NET_RAW: u32 = 13;
/// `CAP_SYS_ADMIN`: to create and enter namespaces.
const CAP_SYS_ADMIN: u32 = 21;

/// How this process got the capabilities that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// It had them.
    Root,
    /// It has them in its own user namespace.
    UserNamespace,
}

/// Why this process can't get the capabilities that it needs.
#[derive(Debug, Error)]
pub enum PrivilegeError {
    /// Its own capabilities can't be read.
    #[error("can't read /proc/self/status: {0}\nmptcplab needs a mounted /proc")]
    Unreadable(#[source] io::Error),
    /// `/proc/self/status` has no valid `CapEff` line.
    #[error("/proc/self/status has no valid CapEff line; mptcplab needs Linux's /proc")]
    NoCapabilities,
    /// The user namespace is refused, or grants no capabilities.
    #[error("{obstacle}\n({attempt}: {}: {})\n{}", errno_symbol(*.errno as i32), errno.desc(), obstacle.advice())]
    Forbidden {
        /// What was attempted: `unshare(CLONE_NEWUSER)`.
        attempt: &'static str,
        /// The kernel's answer.
        errno: Errno,
        /// What forbids it, as far as can be determined.
        obstacle: Obstacle,
    },
}

/// What forbids user namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// `kernel.apparmor_restrict_unprivileged_userns=1`, the default since Ubuntu 24.04 (23.10 has it, switched off).
    AppArmor,
    /// `kernel.unprivileged_userns_clone=0` (Debian, Arch's hardened kernel).
    UnprivilegedClone,
    /// `user.max_user_namespaces=0`, or the limit is reached.
    Limit,
    /// The kernel is built without `CONFIG_USER_NS`.
    NotBuilt,
    /// The process has more than one thread: a bug in the caller.
    Threads,
    /// Something else: a container's seccomp filter, an LSM, a chroot.
    Other,
}

impl Obstacle {
    /// What the user can do about it.
    fn advice(self) -> &'static str {
        match self {
            Self::AppArmor => {
                "run mptcplab as root, or allow it until the next boot: \
                 sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
            }
            Self::UnprivilegedClone => {
                "run mptcplab as root, or allow it until the next boot: sudo sysctl -w kernel.unprivileged_userns_clone=1"
            }
            Self::Limit => {
                "run mptcplab as root, or allow it until the next boot: sudo sysctl -w user.max_user_namespaces=10000"
            }
            Self::NotBuilt => "run mptcplab as root, or on a kernel that is built with CONFIG_USER_NS",
            Self::Threads => "call sys::privilege::enter() before any thread is started",
            Self::Other => {
                "run mptcplab as root with CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW; \
                 in a container: --privileged, or --security-opt seccomp=unconfined for its seccomp filter"
            }
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AppArmor => {
                "AppArmor forbids unprivileged user namespaces here (kernel.apparmor_restrict_unprivileged_userns=1)"
            }
            Self::UnprivilegedClone => {
                "unprivileged user namespaces are disabled here (kernel.unprivileged_userns_clone=0)"
            }
            Self::Limit => "the limit on user namespaces is reached (user.max_user_namespaces)",
            Self::NotBuilt => "this kernel has no user namespaces (CONFIG_USER_NS)",
            Self::Threads => "a process with several threads can't enter a user namespace",
            Self::Other => "user namespaces are forbidden here, by a container's seccomp filter or a security module",
        })
    }
}

/// Makes sure that this process can create network namespaces: as it is, or else in its own user namespace, where its
/// user is root. Call it before any thread starts and before any network namespace is created.
///
/// # Errors
///
/// [`PrivilegeError`]; its first line says what is forbidden and by what, the last one what to do.
pub fn enter() -> Result<Privilege, PrivilegeError> {
    let status = files::kernel::read_text("/proc/self/status").map_err(PrivilegeError::Unreadable)?;
    let capabilities = effective_capabilities(&status).ok_or(PrivilegeError::NoCapabilities)?;
    if [CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW].iter().all(|capability| capabilities & (1 << capability) != 0) {
        return Ok(Privilege::Root);
    }
    // Read before: afterwards, without a mapping, both are the overflow ID.
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| forbidden("unshare(CLONE_NEWUSER)", errno))?;
    // An unprivileged process may map its group only after it has denied setgroups(2) (user_namespaces(7)).
    write("write /proc/self/setgroups", "/proc/self/setgroups", "deny")?;
    write("write /proc/self/uid_map", "/proc/self/uid_map", &format!("0 {user} 1"))?;
    write("write /proc/self/gid_map", "/proc/self/gid_map", &format!("0 {group} 1"))?;
    Ok(Privilege::UserNamespace)
}

/// Whether this process has `CAP_NET_ADMIN`, in whatever user namespace it is.
pub fn may_administrate() -> bool {
    let status = files::kernel::read_text("/proc/self/status").unwrap_or_default();
    effective_capabilities(&status).is_some_and(|capabilities| capabilities & (1 << CAP_NET_ADMIN) != 0)
}

/// The effective capabilities as bits, from the text of `/proc/self/status`.
fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn write(attempt: &'static str, path: &str, text: &str) -> Result<(), PrivilegeError> {
    files::kernel::write(path, text)
        .map_err(|error| forbidden(attempt, Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32))))
}

fn forbidden(attempt: &'static str, errno: Errno) -> PrivilegeError {
    let read = |path: &str| files::kernel::read_text(path).ok();
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    PrivilegeError::Forbidden { attempt, errno, obstacle: obstacle(errno, threads, read) }
}

/// What forbids it, judging by the errno and the files below /proc/sys.
fn obstacle(errno: Errno, threads: usize, read: impl Fn(&str) -> Option<String>) -> Obstacle {
    let is = |path: &str, value: &str| read(path).is_some_and(|text| text.trim() == value);
    // At a limit, create_user_ns (kernel/user_namespace.c) returns ENOSPC; EUSERS until Linux 4.9.
    let limit = matches!(errno, Errno::ENOSPC | Errno::EUSERS);
    if limit || is("/proc/sys/user/max_user_namespaces", "0") {
        Obstacle::Limit
    } else if errno == Errno::EINVAL {
        if threads > 1 { Obstacle::Threads } else { Obstacle::NotBuilt }
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        Obstacle::UnprivilegedClone
    } else if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        Obstacle::AppArmor
    } else {
        Obstacle::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status() {
        let status = "Name:\tcat\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n";
        assert_eq!(effective_capabilities(status), Some(0x1ff_ffff_ffff));
        assert_eq!(effective_capabilities("CapEff:\t-\n"), None);
        assert_eq!(effective_capabilities(""), None);
    }

    /// Contents by names below /proc/sys.
    type Files<'a> = &'a [(&'a str, &'a str)];

    fn files(files: Files<'_>) -> impl Fn(&str) -> Option<String> {
        |path| files.iter().find(|(name, _)| path == format!("/proc/sys/{name}")).map(|(_, text)| format!("{text}\n"))
    }

    #[test]
    fn the_obstacle_is_named() {
        let apparmor = ("kernel/apparmor_restrict_unprivileged_userns", "1");
        let clone = ("kernel/unprivileged_userns_clone", "0");
        let none_left = ("user/max_user_namespaces", "0");
        let cases: [(Errno, usize, Files<'_>, Obstacle); 8] = [
            (Errno::EPERM, 1, &[apparmor], Obstacle::AppArmor),
            (Errno::EACCES, 1, &[apparmor], Obstacle::AppArmor),
            (Errno::EPERM, 1, &[apparmor, clone], Obstacle::UnprivilegedClone),
            (Errno::ENOSPC, 1, &[], Obstacle::Limit),
            (Errno::EPERM, 1, &[none_left], Obstacle::Limit),
            (Errno::EINVAL, 1, &[], Obstacle::NotBuilt),
            (Errno::EINVAL, 2, &[], Obstacle::Threads),
            (Errno::EPERM, 1, &[], Obstacle::Other),
        ];
        for (errno, threads, contents, expected) in cases {
            assert_eq!(obstacle(errno, threads, files(contents)), expected, "{errno} {contents:?}");
        }
    }

    #[test]
    fn the_first_line_says_what_and_by_what_the_last_how_to_go_on() {
        let error = PrivilegeError::Forbidden {
            attempt: "write /proc/self/uid_map",
            errno: Errno::EPERM,
            obstacle: Obstacle::AppArmor,
        };
        let text = error.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "AppArmor forbids unprivileged user namespaces here \
                 (kernel.apparmor_restrict_unprivileged_userns=1)",
                "(write /proc/self/uid_map: EPERM: Operation not permitted)",
                "run mptcplab as root, or allow it until the next boot: \
                 sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            ]
        );
    }
}
