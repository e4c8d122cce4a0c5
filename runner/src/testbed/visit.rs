//! A program in a standing world, such as a shell: it sees the world's namespaces by their names, as ip-netns(8) keeps
//! them, in a mount namespace and a PID namespace of its own. All that is gone when the program ends.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, tcgetpgrp, tcsetpgrp};
use thiserror::Error;

use super::Namespace;
use super::namespace::{Identity, in_words};
use crate::files;
use crate::sys::child::{spawn_inside, wait_for_end};

/// Where `ip netns` looks for names (`NETNS_RUN_DIR` in iproute2, by its real path).
pub const NAMES: &str = "/run/netns";

/// The thread of this process whose namespaces the program has.
const THREAD: &str = "visitor";

/// What can go wrong with a program in a world.
#[derive(Debug, Error)]
pub enum VisitError {
    /// The namespace doesn't exist.
    #[error("there is no namespace `{name}`; the scenario has {known}")]
    NoNamespace {
        /// The name.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// A system call was refused.
    #[error("{attempt}: {}", in_words(*.errno))]
    Refused {
        /// What was attempted, on what.
        attempt: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The program could not be started, or its end not be awaited.
    #[error("start `{program}`: {source}")]
    Program {
        /// Its name.
        program: String,
        /// The answer.
        source: io::Error,
    },
}

fn refused(attempt: impl fmt::Display) -> impl FnOnce(Errno) -> VisitError {
    move |errno| VisitError::Refused { attempt: attempt.to_string(), errno }
}

fn of_io(attempt: impl fmt::Display) -> impl FnOnce(io::Error) -> VisitError {
    move |error| refused(attempt)(Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)))
}

/// The namespaces of a standing world. It holds them.
#[derive(Debug)]
pub struct Places(Vec<(String, OwnedFd)>);

impl Places {
    /// Those of these names.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn of<'a>(namespaces: impl Iterator<Item = (&'a str, &'a Namespace)>) -> io::Result<Self> {
        let place =
            |(name, namespace): (&str, &Namespace)| Ok((name.to_owned(), namespace.as_fd().try_clone_to_owned()?));
        namespaces.map(place).collect::<io::Result<_>>().map(Self)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    fn find(&self, name: &str) -> Result<&OwnedFd, VisitError> {
        let place = self.0.iter().find(|(of, _)| of == name);
        place.map(|(_, file)| file).ok_or_else(|| VisitError::NoNamespace {
            name: name.to_owned(),
            known: self.names().collect::<Vec<_>>().join(", "),
        })
    }

    /// Moves the calling thread to one of them, for good.
    ///
    /// # Errors
    ///
    /// [`VisitError`]
    pub fn enter_for_good(&self, name: &str) -> Result<(), VisitError> {
        setns(self.find(name)?, CloneFlags::CLONE_NEWNET).map_err(refused(format_args!("enter the namespace {name}")))
    }

    /// Runs a program in one of them, on this process's terminal, to its end. It is killed if this process ends, and with
    /// it whatever it started.
    ///
    /// # Errors
    ///
    /// [`VisitError`]
    pub fn run(&self, at: &str, command: &mut Command) -> Result<ExitStatus, VisitError> {
        let network = self.find(at)?;
        // The namespaces are those of a thread, which ends with the program.
        thread::scope(|scope| {
            let visitor = thread::Builder::new().name(THREAD.to_owned()).spawn_scoped(scope, || {
                self.enter(network)?;
                let program = command.get_program().to_string_lossy().into_owned();
                let failed = |source| VisitError::Program { program, source };
                let _terminal = Terminal::lend();
                let mut child = spawn_inside(command).map_err(failed)?;
                child.wait().map_err(of_io("wait for the end of the program"))
            });
            let visitor = visitor.map_err(of_io("start a thread"))?;
            visitor.join().unwrap_or_else(|_| Err(refused("run the program")(Errno::EIO)))
        })
    }

    /// Gives the calling thread, and what it starts, its own view of the file system, and PIDs of their own.
    fn enter(&self, network: &OwnedFd) -> Result<(), VisitError> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)
            .map_err(refused("unshare(CLONE_NEWNS | CLONE_NEWPID)"))?;
        // What the machine mounts from now on appears here, too, but not the other way round.
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
            .map_err(refused("keep mounts to this world"))?;
        self.show_names()?;
        setns(network, CloneFlags::CLONE_NEWNET).map_err(refused("enter the network namespace"))?;
        // As ip-netns(8) does: /sys/class/net shows the interfaces of the namespace that it was mounted in. It is
        // refused where something covers a part of /sys; then /sys is the machine's.
        let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>);
        Ok(())
    }

    fn show_names(&self) -> Result<(), VisitError> {
        let names = Path::new(NAMES);
        if !names.is_dir() {
            own_run()?;
            files::kernel::make_folder(names).map_err(of_io(format_args!("create {NAMES}")))?;
        }
        small_file_system(names)?;
        for (name, file) in &self.0 {
            let path = names.join(name);
            files::kernel::make_file(&path).map_err(of_io(format_args!("create {}", path.display())))?;
            bind(&of_descriptor(file), &path)?;
        }
        Ok(())
    }
}

fn of_descriptor(file: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/thread-self/fd/{}", file.as_raw_fd()))
}

fn bind(from: &Path, to: &Path) -> Result<(), VisitError> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(refused(format_args!("mount {} at {}", from.display(), to.display())))
}

fn small_file_system(at: &Path) -> Result<(), VisitError> {
    mount(Some("mptcplab"), at, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0755,size=1m"))
        .map_err(refused(format_args!("mount a tmpfs at {}", at.display())))
}

/// A /run of this world's own, with what the machine's has: a folder that is missing there must not be created there.
fn own_run() -> Result<(), VisitError> {
    let run = Path::new("/run");
    let before = fcntl::open(run, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(refused("open /run"))?;
    let entries = run.read_dir().map_err(of_io("read /run"))?;
    let entries: Vec<_> =
        entries.filter_map(Result::ok).filter_map(|entry| Some((entry.file_name(), entry.file_type().ok()?))).collect();
    small_file_system(run)?;
    let before = of_descriptor(&before);
    for (name, kind) in entries {
        let (from, to) = (before.join(&name), run.join(&name));
        // What can't be shown is missing: nobody here depends on it.
        let made = if kind.is_dir() { files::kernel::make_folder(&to) } else { files::kernel::make_file(&to) };
        if made.is_ok() && !kind.is_symlink() {
            let _ = bind(&from, &to);
        }
    }
    Ok(())
}

/// A world in which another process runs a program ([`Places::run`]), to join it.
#[derive(Debug)]
pub struct Joined {
    pid: i32,
    /// Of its mounts, PIDs and network; entered in this order.
    namespaces: Vec<OwnedFd>,
    places: Places,
}

impl Joined {
    /// Finds the world of a process, and gets the privileges that it has there. The calling process must have a single
    /// thread (`userns_install`, kernel/user_namespace.c).
    ///
    /// # Errors
    ///
    /// [`VisitError`]; also if the process has no such world.
    pub fn of(pid: i32) -> Result<Self, VisitError> {
        let tasks = PathBuf::from(format!("/proc/{pid}/task"));
        let threads = tasks.read_dir().map_err(of_io(format_args!("read {}", tasks.display())))?;
        let is_it =
            |task: &PathBuf| files::kernel::read_text(task.join("comm")).is_ok_and(|name| name.trim() == THREAD);
        let task = threads.filter_map(Result::ok).map(|task| task.path()).find(is_it);
        let task = task.ok_or_else(|| refused(format_args!("look for a world in process {pid}"))(Errno::ESRCH))?;
        let open = |path: &Path| files::kernel::open(path).map_err(of_io(format_args!("open {}", path.display())));
        let file = |name: &str| open(&task.join(name)).map(OwnedFd::from);
        let identity =
            |file: &File| file.metadata().map(|found| Identity::of(&found)).map_err(of_io("look at a namespace"));
        let (user, own) = (open(&task.join("ns/user"))?, open(Path::new("/proc/self/ns/user"))?);
        let namespaces = ["ns/mnt", "ns/pid_for_children", "ns/net"].into_iter().map(file).collect::<Result<_, _>>()?;
        let names = task.join(format!("root{NAMES}"));
        let entries = names.read_dir().map_err(of_io(format_args!("read the names in {}", names.display())))?;
        let mut places = Vec::new();
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            places.push((name.clone(), file(&format!("root{NAMES}/{name}"))?));
        }
        places.sort_by(|(one, _), (other, _): &(String, OwnedFd)| one.cmp(other));
        if identity(&user)? != identity(&own)? {
            setns(&user, CloneFlags::CLONE_NEWUSER)
                .map_err(refused(format_args!("enter the user namespace of {pid}")))?;
        }
        Ok(Self { pid, namespaces, places: Places(places) })
    }

    /// The network namespaces of the world.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Waits for the end of the process, with which its world ends.
    ///
    /// # Errors
    ///
    /// [`VisitError`]
    pub fn wait_for_end(&self) -> Result<(), VisitError> {
        wait_for_end(self.pid).map_err(of_io(format_args!("wait for the end of process {}", self.pid)))
    }

    /// Runs a program in it, to its end: in that namespace, or the one in which the process is.
    ///
    /// # Errors
    ///
    /// [`VisitError`]
    pub fn run(&self, at: Option<&str>, command: &mut Command) -> Result<ExitStatus, VisitError> {
        let network = at.map(|name| self.places.find(name)).transpose()?;
        for namespace in self.namespaces.iter().chain(network) {
            setns(namespace, CloneFlags::empty())
                .map_err(refused(format_args!("enter a namespace of {}", self.pid)))?;
        }
        let program = command.get_program().to_string_lossy().into_owned();
        let _terminal = Terminal::lend();
        command.status().map_err(|source| VisitError::Program { program, source })
    }
}

/// The terminal of standard input, lent to a program in another PID namespace. A shell there can't give it back: process
/// groups outside have no number for it (`tiocgpgrp`, drivers/tty/tty_jobctrl.c). Dropping takes it back.
struct Terminal(Option<Pid>);

impl Terminal {
    fn lend() -> Self {
        Self(tcgetpgrp(io::stdin()).ok())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let Some(group) = self.0 else { return };
        // Otherwise the call would stop this process, which is in the background.
        let mask = SigSet::from(Signal::SIGTTOU);
        if let Ok(before) = mask.thread_swap_mask(SigmaskHow::SIG_BLOCK) {
            let _ = tcsetpgrp(io::stdin(), group);
            let _ = before.thread_set_mask();
        }
    }
}
