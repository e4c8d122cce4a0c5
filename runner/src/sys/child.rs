//! A child process that doesn't outlive its parent, with inherited descriptors.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getpid, getppid, setpgid};

/// Starts a program on this process's terminal, as the first of the PID namespace that the calling thread has prepared for
/// its children; what is left of them is killed when it ends (pid_namespaces(7)). It sees its own /proc, unless something
/// covers a part of that; then it sees that of this process. It is killed when the calling thread ends, for whatever
/// reason.
///
/// # Errors
///
/// The program can't be started.
pub fn spawn_inside(command: &mut Command) -> io::Result<Child> {
    let prepare = || {
        set_pdeathsig(Signal::SIGKILL)?;
        SigSet::empty().thread_set_mask()?;
        // Refused where it would show what is hidden from this process (`mount_too_revealing`, fs/namespace.c).
        let _ = mount(Some(c"proc"), c"/proc", Some(c"proc"), MsFlags::empty(), None::<&CStr>);
        Ok(())
    };
    // SAFETY: the closure makes system calls only, and doesn't allocate, as below.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// A descriptor of a process, which is readable when it has ended (pidfd_open(2)).
///
/// # Errors
///
/// There is no such process.
pub fn pidfd(pid: nix::libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: the call has no pointers.
    let descriptor = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, 0) };
    let descriptor = RawFd::try_from(Errno::result(descriptor)?).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the descriptor was just made, and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Waits for the end of any process that this one may see.
///
/// # Errors
///
/// There is no such process.
pub fn wait_for_end(pid: nix::libc::pid_t) -> io::Result<()> {
    let process = pidfd(pid)?;
    while poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) == Err(Errno::EINTR) {}
    Ok(())
}

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
