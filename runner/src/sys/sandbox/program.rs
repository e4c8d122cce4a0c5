//! A program in a host. Main type: [`Program`].

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, fchmod};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use super::child::{Child, Failure, Reporter, Stage, become_first_user, check, fork_within, pipe};
use super::filter::Filter;
use super::host::Host;
use super::{SandboxError, sockets};
use crate::sys::child::pidfd;

/// Where programs are looked for, in this order.
pub const SEARCHED: [&str; 7] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/libexec"];

/// The working directory, and the home of the user. It is private to the host.
const FOLDER: &str = "/tmp";

/// Where programs keep what they write, each in a folder of its name.
const STATE: [&str; 4] = ["/var/cache", "/var/lib", "/var/log", "/var/run"];

/// The namespaces of a host that a program enters, with its user namespace.
const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// The capabilities that stay (`include/uapi/linux/capability.h`), in the host's user namespace: CAP_CHOWN, _DAC_OVERRIDE,
/// _FOWNER, _KILL, _SETGID, _SETUID, _NET_BIND_SERVICE, _NET_ADMIN, _NET_RAW, _SYS_CHROOT. All but those for the network
/// are about processes and files of the host.
const CAPABILITIES: [u32; 10] = [0, 1, 3, 5, 6, 7, 10, 12, 13, 18];
/// The highest capability that there can be.
const LAST_CAPABILITY: u32 = 63;

/// `KEYCTL_JOIN_SESSION_KEYRING` (`include/uapi/linux/keyctl.h`)
const JOIN_SESSION_KEYRING: libc::c_long = 1;

/// What a program may use.
const LIMITS: [(libc::__rlimit_resource_t, u64); 6] = [
    (libc::RLIMIT_CORE, 0),
    (libc::RLIMIT_NPROC, 1024),
    (libc::RLIMIT_NOFILE, 4096),
    (libc::RLIMIT_FSIZE, 1 << 30),
    (libc::RLIMIT_DATA, 4 << 30),
    (libc::RLIMIT_MEMLOCK, 8 << 20),
];

/// Whether a program of that name is installed.
pub fn installed(name: &str) -> bool {
    let executable =
        |folder: &str| nix::unistd::access(format!("{folder}/{name}").as_str(), nix::unistd::AccessFlags::X_OK).is_ok();
    SEARCHED.iter().any(|folder| executable(folder))
}

/// What to start.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// The name of the program.
    pub command: &'a str,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Its environment, besides what each program has.
    pub environment: &'a [(String, String)],
    /// What is written to its working directory before.
    pub files: &'a [(String, String)],
    /// Opening a TCP socket waits for an answer by [`SocketRequests`](super::SocketRequests).
    pub asks_for_sockets: bool,
}

/// A file to be written.
#[derive(Debug)]
struct File {
    folders: Vec<CString>,
    name: CString,
    contents: Vec<u8>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status.
    Exit(i32),
    /// By this signal.
    Signal(Signal),
}

/// A program that runs in a host, until it has been waited for. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    pidfd: OwnedFd,
    process: Option<Child>,
    /// What it writes to standard output; reading doesn't block.
    pub stdout: Option<OwnedFd>,
    /// The same of standard error.
    pub stderr: Option<OwnedFd>,
    /// What it asks for. `None`: it opens all sockets by itself, and nobody hears of it.
    pub requests: Option<OwnedFd>,
}

impl Program {
    /// Starts a program. When this returns, it is executed.
    ///
    /// # Errors
    ///
    /// It can't be executed, or the kernel refuses to close it in.
    pub fn start(host: &Host, launch: &Launch<'_>) -> Result<Self, SandboxError> {
        let prepared = Prepared::new(launch)?;
        let (stdout, out) = pipe()?;
        let (stderr, err) = pipe()?;
        for end in [&stdout, &stderr] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(SandboxError::errno("fcntl()"))?;
            // The program may open /dev/stdout, and isn't the owner of the pipe. Nobody else can name it.
            fchmod(end, Mode::from_bits_truncate(0o622)).map_err(SandboxError::errno("fchmod()"))?;
        }
        let (ours, theirs) = UnixDatagram::pair().map_err(SandboxError::call("socketpair()"))?;
        let first = host.first().as_raw_fd();
        let outputs = [out.as_raw_fd(), err.as_raw_fd()];
        let listener = theirs.as_raw_fd();
        let enter = || {
            // SAFETY: the call has no pointers.
            check(Stage::Namespaces, unsafe { libc::setns(first, NAMESPACES) })?;
            become_first_user()
        };
        let (process, mut reports) = fork_within(0, enter, |reporter| prepared.run(outputs, listener, reporter))?;
        drop((out, err, theirs));
        let pidfd = pidfd(process.pid()).map_err(SandboxError::call("pidfd_open()"))?;
        // Its report ends when it is executed.
        if reports.next()?.is_some() {
            return Err(SandboxError::Vanished);
        }
        let requests = match sockets::receive(&ours) {
            Err(_) if !launch.asks_for_sockets => None,
            requests => Some(requests?),
        };
        Ok(Self { pidfd, process: Some(process), stdout: Some(stdout), stderr: Some(stderr), requests })
    }

    /// A descriptor that becomes readable when it ends.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn end(&self) -> io::Result<OwnedFd> {
        self.pidfd.try_clone()
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    ///
    /// It has been waited for already.
    pub fn ended(&mut self) -> io::Result<Option<Ended>> {
        let status = loop {
            match waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
                Err(Errno::EINTR) => {}
                status => break status?,
            }
        };
        let ended = match status {
            WaitStatus::Exited(_, status) => Ended::Exit(status),
            WaitStatus::Signaled(_, signal, _) => Ended::Signal(signal),
            _ => return Ok(None),
        };
        // It has been waited for: its number may belong to another process.
        std::mem::forget(self.process.take());
        Ok(Some(ended))
    }

    /// Kills it, unless it has ended, and waits for its end.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// `ESRCH`: it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let (descriptor, signal) = (self.pidfd.as_raw_fd(), signal as libc::c_int);
        // SAFETY: the only pointer is null.
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, descriptor, signal, ptr::null::<libc::siginfo_t>(), 0)
        };
        Ok(Errno::result(result).map(drop)?)
    }
}

/// What the new process needs, made before the fork.
struct Prepared {
    candidates: Vec<CString>,
    /// The texts to which the pointers lead.
    _texts: [Vec<CString>; 2],
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    /// The folders that a package or a service manager would have made.
    folders: Vec<CString>,
    files: Vec<File>,
    filter: Filter,
}

impl Prepared {
    fn new(launch: &Launch<'_>) -> Result<Self, SandboxError> {
        let texts = |texts: Vec<String>| -> Result<Vec<CString>, SandboxError> {
            texts.into_iter().map(|text| CString::new(text).map_err(|_| SandboxError::Nul)).collect()
        };
        let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        let arguments = texts(std::iter::once(launch.command.to_owned()).chain(launch.arguments.to_vec()).collect())?;
        let usual = [
            ("PATH", SEARCHED.join(":")),
            ("HOME", FOLDER.to_owned()),
            ("TMPDIR", FOLDER.to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
        ];
        let given = |name: &str| launch.environment.iter().any(|(own, _)| own == name);
        let usual = usual.iter().filter(|(name, _)| !given(name)).map(|(name, value)| format!("{name}={value}"));
        let own = launch.environment.iter().map(|(name, value)| format!("{name}={value}"));
        let environment = texts(usual.chain(own).collect())?;
        Ok(Self {
            candidates: texts(SEARCHED.iter().map(|folder| format!("{folder}/{}", launch.command)).collect())?,
            arguments: pointers(&arguments),
            environment: pointers(&environment),
            _texts: [arguments, environment],
            folders: texts(STATE.iter().map(|folder| format!("{folder}/{}", launch.command)).collect())?,
            files: launch.files.iter().map(|(name, contents)| File::new(name, contents)).collect::<Result<_, _>>()?,
            filter: Filter::new(launch.asks_for_sockets).ok_or(SandboxError::Architecture)?,
        })
    }

    /// Becomes the program. It returns neither way.
    fn run(&self, outputs: [RawFd; 2], listener: RawFd, reporter: Reporter) -> ! {
        if let Err(failure) = self.prepare(outputs, listener) {
            reporter.fail(failure);
        }
        let mut errno = Errno::ENOENT as i32;
        for candidate in &self.candidates {
            // SAFETY: all pointers lead to C strings, and the lists end with a null pointer.
            unsafe { libc::execve(candidate.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr()) };
            if Errno::last() != Errno::ENOENT {
                errno = Errno::last_raw();
            }
        }
        reporter.fail(Failure { stage: Stage::Execute, errno });
    }

    fn prepare(&self, [out, err]: [RawFd; 2], listener: RawFd) -> Result<(), Failure> {
        // SAFETY: all pointers lead to C strings. The descriptors are this process's copies, and were not used by others.
        unsafe {
            check(Stage::Namespaces, libc::setsid())?;
            libc::umask(0o022);
            check(Stage::Files, libc::chdir(c"/tmp".as_ptr()))?;
            for folder in &self.folders {
                // Another program may have made it.
                libc::mkdir(folder.as_ptr(), 0o755);
            }
            for file in &self.files {
                file.write()?;
            }
            let null = check(Stage::Output, libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC))?;
            for (from, to) in [(RawFd::try_from(null).unwrap_or(-1), 0), (out, 1), (err, 2)] {
                check(Stage::Output, libc::dup2(from, to))?;
            }
            let to_be_closed = libc::CLOSE_RANGE_CLOEXEC;
            check(Stage::Output, libc::syscall(libc::SYS_close_range, 3_u32, libc::c_uint::MAX, to_be_closed))?;
            for (resource, most) in LIMITS {
                let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                check(Stage::Limits, libc::getrlimit(resource, &raw mut now))?;
                let most = most.min(now.rlim_max);
                check(Stage::Limits, libc::setrlimit(resource, &libc::rlimit { rlim_cur: most, rlim_max: most }))?;
            }
            // A session keyring of its own; where keyrings are not built in, there is none to lose.
            libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, ptr::null::<libc::c_char>());
            for signal in 1..=64 {
                // What can't be set is as it should be.
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        give_up_capabilities()?;
        // SAFETY: the calls have no pointers, but one to a set of signals on the stack.
        unsafe {
            check(Stage::Capabilities, libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            check(Stage::Limits, libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            if let Some(requests) = self.filter.install()? {
                sockets::send(listener, requests)?;
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        }
        Ok(())
    }
}

/// `struct __user_cap_header_struct`, version 3.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

/// `struct __user_cap_data_struct`
#[repr(C)]
#[derive(Clone, Copy)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION: u32 = 0x2008_0522;

fn give_up_capabilities() -> Result<(), Failure> {
    let none: libc::c_ulong = 0;
    // SAFETY: the calls have no pointers.
    unsafe {
        for capability in (0..=LAST_CAPABILITY).filter(|capability| !CAPABILITIES.contains(capability)) {
            let result = libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), none, none, none);
            // The kernel has no such capability.
            if result < 0 && Errno::last() != Errno::EINVAL {
                check(Stage::Capabilities, result)?;
            }
        }
        check(
            Stage::Capabilities,
            libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, none, none, none),
        )?;
    }
    let kept = CAPABILITIES.iter().fold(0_u32, |kept, capability| kept | 1 << capability);
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let nothing = CapabilityData { effective: 0, permitted: 0, inheritable: 0 };
    let data = [CapabilityData { effective: kept, permitted: kept, inheritable: 0 }, nothing];
    // SAFETY: version 3 has two structures of data; the kernel only reads them.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    check(Stage::Capabilities, result).map(drop)
}

impl File {
    fn new(name: &str, contents: &str) -> Result<Self, SandboxError> {
        let text = |text: &str| CString::new(text).map_err(|_| SandboxError::Nul);
        // The reader of scenarios has checked it; nothing here depends on that.
        let folders = name.match_indices('/').filter_map(|(at, _)| name.get(..at));
        let folders = folders.map(text).collect::<Result<_, _>>()?;
        Ok(Self { folders, name: text(name)?, contents: contents.as_bytes().to_vec() })
    }

    /// Writes it, as a program of the host could do it itself. Earlier programs may have left links: none is followed at
    /// its name, and none leads out of the host.
    fn write(&self) -> Result<(), Failure> {
        // SAFETY: all pointers lead to C strings, or to bytes of that number; the descriptor was just made.
        unsafe {
            for folder in &self.folders {
                if libc::mkdir(folder.as_ptr(), 0o755) < 0 && Errno::last() != Errno::EEXIST {
                    check(Stage::Files, -1)?;
                }
            }
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_NOFOLLOW | libc::O_CLOEXEC;
            let file = check(Stage::Files, libc::open(self.name.as_ptr(), flags, 0o644))?;
            let file = RawFd::try_from(file).unwrap_or(-1);
            let mut rest = self.contents.as_slice();
            while !rest.is_empty() {
                let written = libc::write(file, rest.as_ptr().cast(), rest.len());
                let written = check(Stage::Files, libc::c_long::try_from(written).unwrap_or(-1))?;
                rest = rest.get(usize::try_from(written).unwrap_or(rest.len())..).unwrap_or_default();
            }
            libc::close(file);
        }
        Ok(())
    }
}
