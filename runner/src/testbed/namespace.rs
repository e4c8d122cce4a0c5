//! Anonymous network namespaces, and entering and leaving them.
//!
//! The network namespace is a property of the thread (setns(2)). A worker thread lives in the [`BaseNamespace`]; with
//! [`Namespace::run`] it enters another one for a short synchronous section, to open a socket or a file below `/proc`,
//! and returns. What it opened there belongs to that namespace for life.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::fs::MetadataExt;
use std::process;
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use thiserror::Error;

use super::gate::{Gate, Pass};
use super::sysctl;
use crate::errno::errno_symbol;
use crate::files;
use crate::sys::sandbox::{Enclosure, SandboxError};

/// The network namespace of the calling thread. Not `/proc/self`, which is the main thread's.
const OWN: &str = "/proc/thread-self/ns/net";

/// What can go wrong with namespaces.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// It can't be created.
    #[error("can't create a network namespace: {}{}", in_words(*.0), advice(*.0))]
    Create(#[source] Errno),
    /// The user namespace that is to own it can't be created.
    #[error("can't create a namespace for programs: {0}")]
    Enclose(#[source] SandboxError),
    /// It can't be entered.
    #[error("can't enter a network namespace: {}", in_words(*.0))]
    Enter(#[source] Errno),
    /// It can't be identified.
    #[error("can't open {OWN}: {0}; mptcplab needs a mounted /proc")]
    Open(#[source] io::Error),
    /// The kernel reported success, but there is no new namespace.
    #[error("the kernel reported a new network namespace, but there is none")]
    NotNew,
    /// No thread could be started.
    #[error("can't start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The calling thread doesn't live in the base namespace, or is in a namespace already.
    #[error("a thread can enter a network namespace only from the base namespace, but it is elsewhere")]
    NotInBase,
}

pub(super) fn in_words(errno: Errno) -> String {
    format!("{}: {}", errno_symbol(errno as i32), errno.desc())
}

fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => "; this needs CAP_SYS_ADMIN, or a user namespace of its own",
        Errno::ENOSPC => "; the limit is the sysctl user.max_net_namespaces",
        Errno::EINVAL => "; is this kernel built with CONFIG_NET_NS?",
        _ => "",
    }
}

/// The identity of a namespace: device and inode number of its file in nsfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// That of the calling thread's namespace.
    fn here() -> Result<Self, NamespaceError> {
        Ok(Self::of(&fs::metadata(OWN).map_err(NamespaceError::Open)?))
    }

    /// That of a namespace's file.
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.st_dev(), inode: metadata.st_ino() }
    }
}

/// Moves the calling thread into a new namespace, and returns its identity.
fn unshare_here() -> Result<(OwnedFd, Identity), NamespaceError> {
    let before = Identity::here()?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(NamespaceError::Create)?;
    let file = files::kernel::open(OWN).map_err(NamespaceError::Open)?;
    let identity = Identity::of(&file.metadata().map_err(NamespaceError::Open)?);
    if identity == before { Err(NamespaceError::NotNew) } else { Ok((file.into(), identity)) }
}

/// The sysctl for the size of a child namespace's table of TCP sockets.
const CHILD_TABLE: &str = "net.ipv4.tcp_child_ehash_entries";
/// Enough for most scenarios.
const FEW_SOCKETS: usize = 256;
/// Enough for a socket on each port. The kernel allows far more.
const MOST_SOCKETS: usize = 1 << 16;

/// The empty network namespace in which worker threads live.
#[derive(Debug)]
pub struct BaseNamespace {
    file: OwnedFd,
    identity: Identity,
    builders: Gate,
}

impl BaseNamespace {
    /// Creates it, without moving the calling thread. A user namespace must be entered before (see
    /// [`crate::sys::privilege`]): it owns the network namespaces that are created in it.
    ///
    /// # Errors
    ///
    /// [`NamespaceError`]
    pub fn create() -> Result<Arc<Self>, NamespaceError> {
        let thread = thread::Builder::new().name("base".to_owned()).spawn(|| {
            let made = unshare_here()?;
            // Each namespace created from here gets its own table of TCP sockets. The machine's table has hundreds of
            // thousands of buckets, and a dump of one namespace's sockets walks through all of them
            // (inet_diag_dump_icsk, net/ipv4/inet_diag.c; inet_pernet_hashinfo_alloc). Kernels before 6.1 lack this,
            // and are only slower.
            let _ = sysctl::write(CHILD_TABLE, &FEW_SOCKETS.to_string());
            Ok(made)
        });
        let made = thread.map_err(NamespaceError::Thread)?.join();
        let (file, identity) = made.unwrap_or(Err(NamespaceError::NotNew))?;
        Ok(Arc::new(Self { file, identity, builders: Gate::new() }))
    }

    /// Sets the number of sockets of namespaces that are created from now on. The kernel also derives the maximum
    /// number of sockets in TIME_WAIT from the table size (`tcp_set_hashinfo`, net/ipv4/tcp_ipv4.c). The calling thread
    /// must be here. Concurrent builds get the same size: a table is never wrong, only slow to walk.
    pub(super) fn expect_sockets(sockets: usize) {
        let entries = sockets.saturating_mul(2).next_power_of_two().clamp(FEW_SOCKETS, MOST_SOCKETS);
        let _ = sysctl::write(CHILD_TABLE, &entries.to_string());
    }

    /// Waits until another world may be built.
    pub(super) fn may_build(&self) -> Pass<'_> {
        self.builders.enter()
    }

    /// Moves the calling thread here, for the rest of its life. Threads that it starts live here, too.
    ///
    /// # Errors
    ///
    /// [`NamespaceError::Enter`]
    pub fn enter_for_good(&self) -> Result<(), NamespaceError> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(NamespaceError::Enter)
    }
}

/// A network namespace. It ends when its last file descriptor, socket and thread are gone.
pub struct Namespace {
    file: OwnedFd,
    base: Arc<BaseNamespace>,
    enclosure: Option<Enclosure>,
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("file", &self.file).finish_non_exhaustive()
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Namespace {
    /// Creates one. The calling thread must be in the base namespace, and is there again afterwards.
    ///
    /// # Errors
    ///
    /// [`NamespaceError`]
    pub fn create(base: &Arc<BaseNamespace>) -> Result<Self, NamespaceError> {
        let _return = Return::to(base)?;
        let (file, _) = unshare_here()?;
        Ok(Self { file, base: Arc::clone(base), enclosure: None })
    }

    /// Creates one for programs: a user namespace of its own owns it. The calling thread must be in the base namespace.
    ///
    /// # Errors
    ///
    /// [`NamespaceError`]
    pub fn create_enclosed(base: &Arc<BaseNamespace>) -> Result<Self, NamespaceError> {
        let _return = Return::to(base)?;
        let enclosure = Enclosure::create().map_err(NamespaceError::Enclose)?;
        let file = enclosure.network().map_err(NamespaceError::Open)?;
        Ok(Self { file, base: Arc::clone(base), enclosure: Some(enclosure) })
    }

    /// The user namespace that owns it, if it is made for programs.
    pub(super) fn enclosure(&self) -> Option<&Enclosure> {
        self.enclosure.as_ref()
    }

    /// The same namespace once more, to do something in it.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn again(&self) -> Result<Self, NamespaceError> {
        let file = self.file.try_clone().map_err(NamespaceError::Open)?;
        Ok(Self { file, base: Arc::clone(&self.base), enclosure: None })
    }

    /// Runs `section` in this namespace, on the calling thread, which must be in the base namespace and is there again
    /// afterwards, even after a panic. If it can't return, the process ends at once: nothing may continue in the wrong
    /// network.
    ///
    /// The section must be short, since the whole thread is blocked meanwhile, and must not start threads, since they
    /// would stay here.
    ///
    /// # Errors
    ///
    /// [`NamespaceError::Enter`], and [`NamespaceError::NotInBase`] also if sections are nested.
    pub fn run<T>(&self, section: impl FnOnce() -> T) -> Result<T, NamespaceError> {
        let _return = Return::to(&self.base)?;
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(NamespaceError::Enter)?;
        Ok(section())
    }
}

/// Moves the thread back to the base namespace when dropped.
struct Return<'a>(&'a BaseNamespace);

impl<'a> Return<'a> {
    /// Only from there: otherwise this would not be a return.
    fn to(base: &'a BaseNamespace) -> Result<Self, NamespaceError> {
        if Identity::here()? == base.identity { Ok(Self(base)) } else { Err(NamespaceError::NotInBase) }
    }
}

impl Drop for Return<'_> {
    fn drop(&mut self) {
        if self.0.enter_for_good().is_err() {
            process::abort();
        }
    }
}
