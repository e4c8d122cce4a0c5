//! Sysctls of a network namespace: files below `/proc/sys/net`, as seen from inside.
//!
//! The functions here work on the namespace of the calling thread: wrap them in [`super::Namespace::run`].

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use thiserror::Error;

use crate::errno::errno_symbol;
use crate::files;

/// What can go wrong with a sysctl.
#[derive(Debug, Error)]
pub enum SysctlError {
    /// It isn't a sysctl of a network namespace.
    #[error("{0} is not a sysctl of a network namespace: expected net., then parts that are neither empty nor ..")]
    Name(String),
    /// It can't be read.
    #[error("read sysctl {name}: {}", answer(.source))]
    Read {
        /// Its name.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It can't be written.
    #[error("set sysctl {name}={value}: {}", answer(.source))]
    Write {
        /// Its name.
        name: String,
        /// The text.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The sysctl exists, but this kernel doesn't know the value (`mptcp_set_scheduler`, net/mptcp/ctrl.c: ENOENT).
    #[error("set sysctl {name}={value}: {}: this kernel has the sysctl, but not the value `{value}`{available}", errno_symbol(*.errno))]
    Value {
        /// Its name.
        name: String,
        /// The text.
        value: String,
        /// The errno of the kernel's answer.
        errno: i32,
        /// The values that it knows, after some words; empty if it doesn't list them.
        available: String,
    },
    /// The value that is read isn't the one that was written.
    #[error("set sysctl {name}={value}: the kernel accepted it, but it reads {read}")]
    Differs {
        /// Its name.
        name: String,
        /// What was written.
        value: String,
        /// What is read.
        read: String,
    },
}

impl SysctlError {
    /// The symbolic errno of the kernel's answer (`ENOENT`, `EINVAL`), if it is one.
    pub fn symbol(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => source.raw_os_error().map(errno_symbol),
            Self::Value { errno, .. } => Some(errno_symbol(*errno)),
            Self::Name(_) | Self::Differs { .. } => None,
        }
    }

    /// Whether this kernel lacks it.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Name(_) | Self::Value { .. } | Self::Differs { .. } => false,
        }
    }
}

/// `EROFS: Read-only file system (os error 30)`, with advice.
fn answer(error: &io::Error) -> String {
    let Some(errno) = error.raw_os_error() else { return error.to_string() };
    let advice = match error.kind() {
        io::ErrorKind::NotFound => "; this kernel doesn't have it, or has it only outside of network namespaces",
        io::ErrorKind::ReadOnlyFilesystem => {
            "; /proc/sys is mounted read-only, as in an unprivileged container: use one with `--privileged`"
        }
        _ => "",
    };
    format!("{}: {error}{advice}", errno_symbol(errno))
}

/// The file of a sysctl. The separator is a dot, as in `net.mptcp.enabled`, or a slash if the name contains one, as for
/// sysctl(8). So interfaces with a dot in their name are possible: `net/ipv4/conf/eth0.5/rp_filter`.
///
/// # Errors
///
/// [`SysctlError::Name`] unless it is below `net`.
pub fn path(name: &str) -> Result<PathBuf, SysctlError> {
    let separator = if name.contains('/') { '/' } else { '.' };
    let parts: Vec<&str> = name.split(separator).collect();
    let sound = |part: &&str| !part.is_empty() && !matches!(*part, "." | "..") && !part.contains(['/', '\0']);
    if parts.len() > 1 && parts.first() == Some(&"net") && parts.iter().all(sound) {
        Ok(["/proc/sys"].into_iter().chain(parts).collect())
    } else {
        Err(SysctlError::Name(name.to_owned()))
    }
}

/// Reads a sysctl, without the closing newline.
///
/// # Errors
///
/// [`SysctlError::Name`], [`SysctlError::Read`]
pub fn read(name: &str) -> Result<String, SysctlError> {
    let text = files::kernel::read_text(path(name)?);
    let text = text.map_err(|source| SysctlError::Read { name: name.to_owned(), source })?;
    Ok(text.trim_end().to_owned())
}

/// Writes a sysctl and reads it back.
///
/// # Errors
///
/// [`SysctlError`]; also if it can't be read back, like sysctls that only trigger something.
pub fn write(name: &str, value: &str) -> Result<(), SysctlError> {
    let file = open(name, value)?;
    write_to(&file, name, value)
}

/// Opens a sysctl for reading and writing: looking up its name costs more than either.
fn open(name: &str, value: &str) -> Result<File, SysctlError> {
    let refused = |source| SysctlError::Write { name: name.to_owned(), value: value.to_owned(), source };
    files::kernel::open_to_write(path(name)?).map_err(refused)
}

fn write_to(file: &File, name: &str, value: &str) -> Result<(), SysctlError> {
    let (name, value) = (name.to_owned(), value.to_owned());
    if let Err(source) = file.write_all_at(value.as_bytes(), 0) {
        return Err(match source.raw_os_error() {
            Some(errno) if source.kind() == io::ErrorKind::NotFound && path(&name)?.exists() => {
                let available = available(&name);
                SysctlError::Value { name, value, errno, available }
            }
            _ => SysctlError::Write { name, value, source },
        });
    }
    let read = read_from(file, &name)?;
    if same(&value, &read) { Ok(()) } else { Err(SysctlError::Differs { name, value, read }) }
}

/// Reads an open sysctl from its beginning. Its handler writes as much as there is room for (`proc_sys_call_handler`,
/// fs/proc/proc_sysctl.c), so text that leaves room is whole.
fn read_from(file: &File, name: &str) -> Result<String, SysctlError> {
    let mut text = [0; 4096];
    let length = file.read_at(&mut text, 0).map_err(|source| SysctlError::Read { name: name.to_owned(), source })?;
    match text.get(..length) {
        Some(whole) if length < text.len() => Ok(String::from_utf8_lossy(whole).trim_end().to_owned()),
        _ => read(name),
    }
}

/// The possible values of a sysctl, as listed by this kernel.
fn available(name: &str) -> String {
    let list = match name {
        "net.mptcp.scheduler" => "net.mptcp.available_schedulers",
        "net.mptcp.path_manager" => "net.mptcp.available_path_managers",
        "net.ipv4.tcp_congestion_control" => "net.ipv4.tcp_available_congestion_control",
        _ => return String::new(),
    };
    read(list).map(|values| format!("; {list}: {values}")).unwrap_or_default()
}

/// Writes a sysctl unless it already has that value: reading is cheaper.
///
/// # Errors
///
/// [`SysctlError`]
pub fn ensure(name: &str, value: &str) -> Result<(), SysctlError> {
    let Ok(file) = open(name, value) else {
        // Where it can't be written, it may yet have the value.
        return if same(value, &read(name)?) { Ok(()) } else { write(name, value) };
    };
    if same(value, &read_from(&file, name)?) { Ok(()) } else { write_to(&file, name, value) }
}

/// Whether both have the same words, whatever separates them, and the same numbers, however they are written.
fn same(written: &str, read: &str) -> bool {
    let word = |word: &str| word.parse::<i128>().map_or_else(|_| word.to_owned(), |number| number.to_string());
    written.split_whitespace().map(word).eq(read.split_whitespace().map(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_missing_is_no_missing_sysctl() {
        let (name, value) = ("net.mptcp.scheduler".to_owned(), "bpf_rr".to_owned());
        let available = "; net.mptcp.available_schedulers: default".to_owned();
        let error = SysctlError::Value { name, value, errno: 2, available };
        assert_eq!(
            error.to_string(),
            "set sysctl net.mptcp.scheduler=bpf_rr: ENOENT: this kernel has the sysctl, but not the value `bpf_rr`; \
             net.mptcp.available_schedulers: default"
        );
        assert!(!error.is_missing());
        assert_eq!(error.symbol().as_deref(), Some("ENOENT"));
    }

    #[test]
    fn names_become_paths() {
        for (name, expected) in [
            ("net.mptcp.enabled", "/proc/sys/net/mptcp/enabled"),
            ("net.ipv4.conf.all.rp_filter", "/proc/sys/net/ipv4/conf/all/rp_filter"),
            ("net/ipv4/conf/eth0.5/rp_filter", "/proc/sys/net/ipv4/conf/eth0.5/rp_filter"),
        ] {
            assert_eq!(path(name).unwrap(), PathBuf::from(expected));
        }
    }

    #[test]
    fn only_sysctls_of_a_network_namespace_have_one() {
        for name in [
            "kernel.hostname",
            "net",
            "net.",
            "",
            ".",
            "net..mptcp",
            "net/../kernel/hostname",
            "/net/mptcp/enabled",
            "net/mptcp/",
            "network.x",
            "net.mptcp.\0",
        ] {
            assert!(matches!(path(name), Err(SysctlError::Name(_))), "{name:?}");
        }
    }

    #[test]
    fn a_value_is_compared_as_the_kernel_prints_it() {
        assert!(same("4096 131072  6291456", "4096\t131072\t6291456"));
        assert!(same("01", "1"));
        assert!(same("kernel", "kernel\n"));
        assert!(!same("1", "0"));
        assert!(!same("1 2", "1"));
    }

    #[test]
    fn a_missing_sysctl_is_told_apart() {
        let error = read("net.mptcp.no_such_thing").unwrap_err();
        assert!(error.is_missing());
        assert_eq!(error.symbol().as_deref(), Some("ENOENT"));
        assert!(error.to_string().starts_with("read sysctl net.mptcp.no_such_thing: ENOENT: "), "{error}");
    }
}
