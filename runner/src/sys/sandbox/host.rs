//! A host: namespaces for programs, and the process that holds them. Main type: [`Host`].

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use nix::libc;

use super::SandboxError;
use super::child::{Child, Failure, Reporter, Stage, become_first_user, check, exit, fork_within, pipe};
use super::tree::Tree;
use crate::files;
use crate::sys::child::pidfd;

/// The namespaces of a host, besides those of its [`Enclosure`](super::Enclosure).
const NAMESPACES: libc::c_int =
    libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;

/// Where the programs of a scenario run. When it is dropped, or when the thread that made it ends, the kernel kills all of
/// them.
#[derive(Debug)]
pub struct Host {
    /// Before the process: without it, the first process ends by itself.
    _lifeline: OwnedFd,
    first: OwnedFd,
    _process: Child,
}

impl Host {
    /// Starts its first process. It ends with the calling thread, for whatever reason.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn start(users: BorrowedFd<'_>, network: BorrowedFd<'_>, name: &str) -> Result<Self, SandboxError> {
        let tree = Tree::look()?;
        let name = CString::new(name).map_err(|_| SandboxError::Nul)?;
        let own_text = own_text();
        let (lifeline, held) = pipe()?;
        let (users, network) = (users.as_raw_fd(), network.as_raw_fd());
        let inherited = Inherited { lifeline: lifeline.as_raw_fd(), tree: &tree, name: &name, own_text };
        let enter = || {
            // SAFETY: the calls have no pointers.
            unsafe {
                check(Stage::Namespaces, libc::setns(users, libc::CLONE_NEWUSER))?;
                become_first_user()?;
                check(Stage::Namespaces, libc::setns(network, libc::CLONE_NEWNET)).map(drop)
            }
        };
        let (process, mut reports) = fork_within(NAMESPACES, enter, |reporter| inherited.be_first(reporter))?;
        reports.number()?;
        Ok(Self {
            first: pidfd(process.pid()).map_err(SandboxError::call("pidfd_open()"))?,
            _lifeline: held,
            _process: process,
        })
    }

    /// Its first process.
    pub(super) fn first(&self) -> BorrowedFd<'_> {
        self.first.as_fd()
    }
}

/// What the first process is given.
#[derive(Clone, Copy)]
struct Inherited<'a> {
    /// It ends when the other end is closed.
    lifeline: RawFd,
    tree: &'a Tree,
    name: &'a CString,
    /// Where arguments and environment of this program are in memory.
    own_text: Option<(usize, usize)>,
}

impl Inherited<'_> {
    /// The first process of a host. It never returns.
    fn be_first(self, reporter: Reporter) -> ! {
        if let Err(failure) = self.prepare(reporter.0) {
            reporter.fail(failure);
        }
        reporter.tell(0);
        // SAFETY: the calls have no pointers, but one to a local variable of that size. The descriptors are this process's
        // own.
        unsafe {
            libc::close(reporter.0);
            let mut byte = 0_u8;
            // Nobody ever writes.
            while libc::read(self.lifeline, (&raw mut byte).cast(), 1) > 0 {}
        }
        exit();
    }

    fn prepare(self, report: RawFd) -> Result<(), Failure> {
        self.tree.enter()?;
        // No further user namespaces: capabilities of their own would be a way to more of the kernel.
        write_file(c"/proc/sys/user/max_user_namespaces", b"0")?;
        self.forget();
        // SAFETY: the pointers lead to C strings of that length; `signal` sets no handler of ours.
        unsafe {
            libc::umask(0o022);
            let bytes = self.name.as_bytes();
            check(Stage::Namespaces, libc::sethostname(bytes.as_ptr().cast(), bytes.len()))?;
            libc::prctl(libc::PR_SET_NAME, c"init".as_ptr());
            // Away from the terminal and its signals.
            check(Stage::Namespaces, libc::setsid())?;
            // The kernel reaps whoever has no parent any more.
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        }
        close_all_but([self.lifeline.min(report), self.lifeline.max(report)])?;
        // SAFETY: the call has no pointers. Last, since a change of the user id revokes it. If the parent has died meanwhile,
        // nobody holds the lifeline.
        check(Stage::Limits, unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).map(drop)
    }

    /// Programs can read the command line of each process that they see.
    fn forget(self) {
        let Some((start, end)) = self.own_text else { return };
        // SAFETY: the kernel says that arguments and environment are there; this process, which was forked, has its own copy
        // and nobody in it looks at them any more.
        unsafe {
            std::ptr::write_bytes(std::ptr::with_exposed_provenance_mut::<u8>(start), 0, end.saturating_sub(start));
        };
    }
}

/// Where arguments and environment of this program are in memory, by /proc/self/stat (proc_pid_stat(5)).
fn own_text() -> Option<(usize, usize)> {
    let text = files::kernel::read_text("/proc/self/stat").ok()?;
    let (_, after_name) = text.rsplit_once(')')?;
    // From field 3 on: arg_start is 48, env_end is 51.
    let mut fields = after_name.split_whitespace();
    let start: usize = fields.nth(45)?.parse().ok()?;
    let end: usize = fields.nth(2)?.parse().ok()?;
    (start != 0 && start < end).then_some((start, end))
}

/// Writes to a file of the kernel.
fn write_file(path: &std::ffi::CStr, text: &[u8]) -> Result<(), Failure> {
    // SAFETY: the pointers lead to a C string, and to bytes of that number; the descriptor was just made.
    unsafe {
        let file = check(Stage::Limits, libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
        let file = RawFd::try_from(file).unwrap_or(-1);
        let written = libc::write(file, text.as_ptr().cast(), text.len());
        let result = check(Stage::Limits, libc::c_long::try_from(written).unwrap_or(-1));
        libc::close(file);
        result.map(drop)
    }
}

/// Closes all descriptors but these two, the lower one first.
fn close_all_but([low, high]: [RawFd; 2]) -> Result<(), Failure> {
    let number = |descriptor: RawFd| libc::c_uint::try_from(descriptor).unwrap_or_default();
    let (low, high) = (number(low), number(high));
    for range in [0..low, low.saturating_add(1)..high, high.saturating_add(1)..libc::c_uint::MAX] {
        if !range.is_empty() {
            // SAFETY: the call has no pointers. Nobody in this process uses these descriptors.
            let closed = unsafe { libc::syscall(libc::SYS_close_range, range.start, range.end - 1, 0) };
            check(Stage::Limits, closed)?;
        }
    }
    Ok(())
}
