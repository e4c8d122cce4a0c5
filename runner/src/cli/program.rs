//! mptcplab as a child process: how a comparison runs scenarios on each kernel.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::files;
use crate::files::digest::Digest;

use super::backend::Trouble;

/// Environment variable of such a child: it ends with its parent.
const PARENT: &str = "MPTCPLAB_ENDS_WITH_PARENT";

/// Runs mptcplab itself. [`Program`] is the real one.
pub(super) trait Launcher {
    /// Runs it with these arguments to its end, without standard output: its results are in a file. Returns the exit
    /// code, or 128 plus the number of the signal that ended it; `None` if an interruption came first.
    fn launch(&self, arguments: &[OsString]) -> Result<Option<u8>, Trouble>;
    /// What to call at an interruption: it signals the running process, and no other starts.
    fn interrupter(&self) -> Box<dyn FnOnce() + Send>;
    /// A digest of the program.
    fn digest(&self) -> Result<String, Trouble>;
}

/// Runs mptcplab itself, one process at a time.
#[derive(Debug, Default)]
pub(super) struct Program {
    state: Arc<Mutex<State>>,
    /// Computed once: a program is large.
    digest: OnceLock<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Idle,
    Running(Pid),
    Interrupted,
}

impl Program {
    fn run(&self, arguments: &[OsString]) -> io::Result<Option<u8>> {
        let program = std::env::current_exe()?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env(PARENT, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Only this process receives Ctrl-C and passes it on: a second signal would end the child at once.
            .process_group(0);
        let mut child = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if *state == State::Interrupted {
                return Ok(None);
            }
            let child = command.spawn()?;
            if let Ok(pid) = i32::try_from(child.id()) {
                *state = State::Running(Pid::from_raw(pid));
            }
            child
        };
        // The child keeps its PID until it is reaped below, so no other process can get the signal.
        if let Ok(pid) = i32::try_from(child.id()) {
            while waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
                == Err(nix::errno::Errno::EINTR)
            {}
        }
        let interrupted = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let interrupted = *state == State::Interrupted;
            if !interrupted {
                *state = State::Idle;
            }
            interrupted
        };
        let status = child.wait()?;
        let by_signal = || status.signal().and_then(|signal| u8::try_from(128 + signal).ok());
        let code = status.code().and_then(|code| u8::try_from(code).ok()).or_else(by_signal);
        Ok(if interrupted { None } else { Some(code.unwrap_or(u8::MAX)) })
    }
}

impl Launcher for Program {
    fn launch(&self, arguments: &[OsString]) -> Result<Option<u8>, Trouble> {
        self.run(arguments).map_err(|error| Trouble::new(format!("can't run mptcplab itself: {error}")))
    }

    fn interrupter(&self) -> Box<dyn FnOnce() + Send> {
        let state = Arc::clone(&self.state);
        Box::new(move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if let State::Running(pid) = *state {
                // It may have ended meanwhile.
                let _ = kill(pid, Signal::SIGTERM);
            }
            *state = State::Interrupted;
        })
    }

    fn digest(&self) -> Result<String, Trouble> {
        if let Some(known) = self.digest.get() {
            return Ok(known.clone());
        }
        let digest = std::env::current_exe().and_then(|program| Digest::new().file(&program, files::PROGRAM));
        let digest = digest.map_err(|error| Trouble::new(format!("can't read mptcplab itself: {error}")))?;
        Ok(self.digest.get_or_init(|| format!("{} {}", env!("CARGO_PKG_VERSION"), digest.hex())).clone())
    }
}

/// Call this at the start: a process started by another mptcplab ends with it.
pub(super) fn end_with_parent() {
    if std::env::var_os(PARENT).is_some() {
        // Without it, the process still ends by itself, a little later.
        let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGTERM);
    }
}
