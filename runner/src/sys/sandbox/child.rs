//! Processes that are forked from this one, and what they report.

use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow};

use super::SandboxError;

/// What a new process was at when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// All is well; the value says more.
    Done,
    /// Entering namespaces of its own.
    Namespaces,
    /// Becoming the first user of its user namespace.
    Identity,
    /// Forking again.
    Fork,
    /// Making the file tree.
    Tree,
    /// Mounting /proc.
    Proc,
    /// Forbidding user namespaces.
    Limits,
    /// Writing a file.
    Files,
    /// Connecting standard input and output.
    Output,
    /// Giving capabilities up.
    Capabilities,
    /// Installing the filter for system calls.
    Filter,
    /// Executing the program.
    Execute,
}

const STAGES: [Stage; 12] = [
    Stage::Done,
    Stage::Namespaces,
    Stage::Identity,
    Stage::Fork,
    Stage::Tree,
    Stage::Proc,
    Stage::Limits,
    Stage::Files,
    Stage::Output,
    Stage::Capabilities,
    Stage::Filter,
    Stage::Execute,
];

impl Stage {
    /// What was attempted.
    pub fn words(self) -> &'static str {
        match self {
            Self::Done => "nothing failed",
            Self::Namespaces => "can't create or enter namespaces",
            Self::Identity => "can't change the user id in a new user namespace",
            Self::Fork => "can't fork",
            Self::Tree => "can't build a file tree for programs",
            Self::Proc => "can't mount /proc for programs",
            Self::Limits => "can't limit what programs use",
            Self::Files => "can't write a file for the program",
            Self::Output => "can't connect the program's output",
            Self::Capabilities => "can't give capabilities up",
            Self::Filter => "can't install a seccomp filter",
            Self::Execute => "can't execute the program",
        }
    }

    /// What to do about it.
    pub(super) fn advice(self, errno: Errno) -> &'static str {
        match (self, errno) {
            // mount_too_revealing(), fs/namespace.c: a /proc with something mounted on it can't be mounted again.
            (Self::Proc, Errno::EPERM) => {
                "; a container hides parts of /proc: start it with `--security-opt unmask=ALL` (podman) or `--privileged`"
            }
            (Self::Tree, Errno::ENOSYS) => "; this needs mount_setattr(2), Linux 5.12",
            (Self::Filter, Errno::EINVAL | Errno::ENOSYS) => "; is this kernel built with CONFIG_SECCOMP_FILTER?",
            _ => "",
        }
    }
}

/// A failed call of a new process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    pub(super) stage: Stage,
    pub(super) errno: i32,
}

/// The result of a system call.
pub(super) fn check(stage: Stage, result: impl Into<libc::c_long>) -> Result<libc::c_long, Failure> {
    let result = result.into();
    if result < 0 { Err(Failure { stage, errno: Errno::last_raw() }) } else { Ok(result) }
}

/// Where a new process reports to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reporter(pub(super) RawFd);

impl Reporter {
    /// Tells the parent a number: all is well.
    pub(super) fn tell(self, number: i32) {
        self.send(Stage::Done, number);
    }

    /// Reports a failure and ends the process.
    pub(super) fn fail(self, failure: Failure) -> ! {
        self.send(failure.stage, failure.errno);
        exit();
    }

    fn send(self, stage: Stage, number: i32) {
        let [a, b, c, d] = number.to_ne_bytes();
        let message = [stage as u8, a, b, c, d];
        // SAFETY: the pointer and the length describe `message`. Up to PIPE_BUF bytes are written at once.
        unsafe { libc::write(self.0, message.as_ptr().cast(), message.len()) };
    }
}

/// Ends the calling process at once, without any handler.
pub(super) fn exit() -> ! {
    // SAFETY: the call has no pointers, and never returns.
    unsafe { libc::_exit(0) }
}

/// A new process, until it has been waited for.
#[derive(Debug)]
pub(super) struct Child {
    pid: libc::pid_t,
}

impl Child {
    /// The process with this number. Numbers from 0 down mean groups of processes, among them that of the caller.
    fn new(pid: libc::pid_t) -> Result<Self, SandboxError> {
        if pid > 1 { Ok(Self { pid }) } else { Err(SandboxError::Vanished) }
    }

    /// Its number.
    pub(super) fn pid(&self) -> libc::pid_t {
        self.pid
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the calls have no pointers but one to a local variable. The process has not been waited for, so its
        // number belongs to nobody else.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            let mut status = 0;
            while libc::waitpid(self.pid, &raw mut status, 0) < 0 && Errno::last() == Errno::EINTR {}
        }
    }
}

/// What a new process reports.
#[derive(Debug)]
pub(super) struct Reports(std::fs::File);

impl Reports {
    /// The number that it tells; `None` at the end of its reports.
    pub(super) fn next(&mut self) -> Result<Option<i32>, SandboxError> {
        let mut message = [0; 5];
        match self.0.read_exact(&mut message) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(SandboxError::Call("read from a new process", error)),
        }
        let [stage, a, b, c, d] = message;
        let number = i32::from_ne_bytes([a, b, c, d]);
        match STAGES.get(usize::from(stage)) {
            Some(Stage::Done) => Ok(Some(number)),
            Some(stage) => Err(SandboxError::Child(*stage, Errno::from_raw(number))),
            None => Err(SandboxError::Vanished),
        }
    }

    /// The number that it must tell.
    pub(super) fn number(&mut self) -> Result<i32, SandboxError> {
        self.next()?.ok_or(SandboxError::Vanished)
    }
}

/// Forks. The new process runs `body` with all signals blocked, and ends when it returns.
pub(super) fn fork(body: impl FnOnce(Reporter)) -> Result<(Child, Reports), SandboxError> {
    let (read, write) = pipe()?;
    let mut before = SigSet::empty();
    let mask = |set: &SigSet, old: Option<&mut SigSet>| {
        nix::sys::signal::pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(set), old)
    };
    mask(&SigSet::all(), Some(&mut before)).map_err(SandboxError::errno("block signals"))?;
    // SAFETY: the new process makes system calls only (see the module's comment), and never returns from here.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        body(Reporter(write.as_raw_fd()));
        exit();
    }
    let error = Errno::last();
    let restored = mask(&before, None);
    if pid < 0 {
        return Err(SandboxError::Call("fork()", error.into()));
    }
    let child = Child::new(pid)?;
    restored.map_err(SandboxError::errno("unblock signals"))?;
    drop(write);
    Ok((child, Reports(read.into())))
}

/// Forks twice: the helper runs `enter`, which says what the second process is, and ends; the second one, made with these
/// flags of clone(2), is a child of the caller, too. It runs `body`. Each reports for itself: nobody knows who is first.
pub(super) fn fork_within(
    flags: libc::c_int,
    enter: impl FnOnce() -> Result<(), Failure>,
    body: impl FnOnce(Reporter),
) -> Result<(Child, Reports), SandboxError> {
    let (read, write) = pipe()?;
    let second = Reporter(write.as_raw_fd());
    let (helper, mut reports) = fork(|reporter| match enter().and_then(|()| clone_sibling(flags)) {
        Ok(0) => body(second),
        Ok(pid) => reporter.tell(pid),
        Err(failure) => reporter.fail(failure),
    })?;
    let child = Child::new(reports.number()?)?;
    drop((helper, write));
    Ok((child, Reports(read.into())))
}

/// A pipe: where to read, where to write.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(SandboxError::errno("pipe2()"))
}

/// Forks once more, without libc's handlers: the new process has the same parent as the calling one.
fn clone_sibling(flags: libc::c_int) -> Result<libc::pid_t, Failure> {
    let flags = libc::c_long::from(flags | libc::CLONE_PARENT | libc::SIGCHLD);
    let none: libc::c_long = 0;
    // SAFETY: without CLONE_VM and a stack, this is a fork: the new process has a copy of everything. The calling process
    // was forked itself and has a single thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    check(Stage::Fork, pid).map(|pid| libc::pid_t::try_from(pid).unwrap_or_default())
}

/// Makes the calling process the first user of its user namespace. Its supplementary groups go, unless the namespace
/// may not change them.
pub(super) fn become_first_user() -> Result<(), Failure> {
    let (zero, none): (libc::c_long, libc::c_long) = (0, 0);
    // libc's own functions would look for other threads.
    // SAFETY: a list of no groups is not read.
    unsafe {
        let groups = libc::syscall(libc::SYS_setgroups, zero, none);
        if groups < 0 && Errno::last() != Errno::EPERM {
            check(Stage::Identity, groups)?;
        }
        check(Stage::Identity, libc::syscall(libc::SYS_setresgid, zero, zero, zero))?;
        check(Stage::Identity, libc::syscall(libc::SYS_setresuid, zero, zero, zero))?;
    }
    Ok(())
}
