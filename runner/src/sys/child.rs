//! A child process that doesn't outlive its parent, with inherited descriptors.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getpid, getppid, setpgid};

/// Starts the program. It inherits these descriptors, with the same numbers. It is killed when the calling thread ends,
/// for whatever reason (`PR_SET_PDEATHSIG`). It is in its own process group, so that only this process receives Ctrl-C.
///
/// # Errors
///
/// The program can't be started.
pub fn spawn_bound(command: &mut Command, descriptors: &[BorrowedFd<'_>]) -> io::Result<Child> {
    let descriptors: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let parent = getpid();
    let prepare = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // If the parent has died since the fork, no signal will come.
        if getppid() != parent {
            return Err(Errno::ESRCH.into());
        }
        setpgid(nix::unistd::Pid::from_raw(0), nix::unistd::Pid::from_raw(0))?;
        // The inherited mask blocks signals.
        SigSet::empty().thread_set_mask()?;
        for descriptor in &descriptors {
            // SAFETY: they are borrowed from the caller, who waits for this process to be started: they are open.
            let descriptor = unsafe { BorrowedFd::borrow_raw(*descriptor) };
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only, and doesn't allocate; what it uses was made before the fork. On the way
    // to an error, an errno becomes an `io::Error`, which doesn't allocate either.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}
