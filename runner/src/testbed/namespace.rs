//! Anonymous network namespaces, and going in and out of them.
//!
//! The network namespace is a property of the thread (setns(2)). A worker thread lives in the [`Home`]; with
//! [`Namespace::run`] it goes into another one for a short synchronous section, to open a socket or a file below
//! `/proc`, and back. What it opened there stays there for life.

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

/// The network namespace of the calling thread. Not `/proc/self`, which is the main thread's.
const OWN: &str = "/proc/thread-self/ns/net";

/// What can go wrong with namespaces.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// The kernel makes none.
    #[error("can't create a network namespace: {}{}", in_words(*.0), advice(*.0))]
    Create(#[source] Errno),
    /// It can't be entered.
    #[error("can't enter a network namespace: {}", in_words(*.0))]
    Enter(#[source] Errno),
    /// It can't be looked at.
    #[error("can't open {OWN}: {0}; mptcplab needs a mounted /proc")]
    Open(#[source] io::Error),
    /// The new one isn't new.
    #[error("the kernel reported a new network namespace, but there is none")]
    NotNew,
    /// No thread could be started.
    #[error("can't start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The calling thread doesn't live in the home, or is in a namespace already.
    #[error("a thread can enter a network namespace only from home, but it is elsewhere")]
    NotAtHome,
}

fn in_words(errno: Errno) -> String {
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

/// Which namespace it is: device and inode number of its file in nsfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// That of the calling thread's namespace.
    fn here() -> Result<Self, NamespaceError> {
        Ok(Self::of(&fs::metadata(OWN).map_err(NamespaceError::Open)?))
    }

    fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.st_dev(), inode: metadata.st_ino() }
    }
}

/// A new namespace for the calling thread, as it stands afterwards.
fn unshare_here() -> Result<(OwnedFd, Identity), NamespaceError> {
    let before = Identity::here()?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(NamespaceError::Create)?;
    let file = files::kernel::open(OWN).map_err(NamespaceError::Open)?;
    let identity = Identity::of(&file.metadata().map_err(NamespaceError::Open)?);
    if identity == before { Err(NamespaceError::NotNew) } else { Ok((file.into(), identity)) }
}

/// How large the table of TCP sockets of a new namespace is, in the one from which it is made.
const CHILD_TABLE: &str = "net.ipv4.tcp_child_ehash_entries";
/// What most scenarios need.
const FEW_SOCKETS: usize = 256;
/// The largest table that the kernel allows is far larger; this is enough for a port to each socket.
const MOST_SOCKETS: usize = 1 << 16;

/// The empty network namespace in which worker threads live.
#[derive(Debug)]
pub struct Home {
    file: OwnedFd,
    identity: Identity,
    builders: Gate,
}

impl Home {
    /// Makes it, without moving the calling thread. A user namespace must be entered before (see
    /// [`crate::sys::privilege`]): it owns the network namespaces that are made in it.
    ///
    /// # Errors
    ///
    /// [`NamespaceError`]
    pub fn create() -> Result<Arc<Self>, NamespaceError> {
        let thread = thread::Builder::new().name("home".to_owned()).spawn(|| {
            let made = unshare_here()?;
            // Each of the namespaces that are made from here gets a table of TCP sockets of its own. The machine's has
            // hundreds of thousands of buckets, and a dump of one namespace's sockets walks through all of them
            // (inet_diag_dump_icsk, net/ipv4/inet_diag.c; inet_pernet_hashinfo_alloc). Kernels before 6.1 lack it:
            // they are slower, not wrong.
            let _ = sysctl::write(CHILD_TABLE, &FEW_SOCKETS.to_string());
            Ok(made)
        });
        let made = thread.map_err(NamespaceError::Thread)?.join();
        let (file, identity) = made.unwrap_or(Err(NamespaceError::NotNew))?;
        Ok(Arc::new(Self { file, identity, builders: Gate::new() }))
    }

    /// The namespaces that are made from now on have so many sockets. The kernel derives the number of sockets in
    /// TIME_WAIT from the size of the table, too (`tcp_set_hashinfo`, net/ipv4/tcp_ipv4.c). The calling thread must be
    /// here. Others that build at the same time get the same: a table is never wrong, only slow to walk.
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
    home: Arc<Home>,
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
    /// Makes one. The calling thread must be at home and is there again afterwards.
    ///
    /// # Errors
    ///
    /// [`NamespaceError`]
    pub fn create(home: &Arc<Home>) -> Result<Self, NamespaceError> {
        let _return = Return::to(home)?;
        let (file, _) = unshare_here()?;
        Ok(Self { file, home: Arc::clone(home) })
    }

    /// Runs `section` in this namespace, on the calling thread, which must be at home and is there again afterwards,
    /// also after a panic. If it can't go back, the process ends at once: nothing may go on in the wrong network.
    ///
    /// The section must be short, for the whole thread stands still meanwhile, and must not start threads, for they
    /// would stay.
    ///
    /// # Errors
    ///
    /// [`NamespaceError::Enter`], and [`NamespaceError::NotAtHome`] also if sections are nested.
    pub fn run<T>(&self, section: impl FnOnce() -> T) -> Result<T, NamespaceError> {
        let _return = Return::to(&self.home)?;
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(NamespaceError::Enter)?;
        Ok(section())
    }
}

/// Brings the thread home when it is dropped.
struct Return<'a>(&'a Home);

impl<'a> Return<'a> {
    /// Only from home: from elsewhere it would be no return.
    fn to(home: &'a Home) -> Result<Self, NamespaceError> {
        if Identity::here()? == home.identity { Ok(Self(home)) } else { Err(NamespaceError::NotAtHome) }
    }
}

impl Drop for Return<'_> {
    fn drop(&mut self) {
        if self.0.enter_for_good().is_err() {
            process::abort();
        }
    }
}
