//! Ctrl-C and its kin: the signals that ask the program to end, and how it does.
//!
//! Before scenarios run there is nothing to clean up: a signal ends the program at once, with its own exit code
//! ([`end_by_signal`]). From then on a thread waits for signals ([`watch`]). The first one lets active runs finish. The
//! second one aborts them, and each run takes its namespaces down in order: an endpoint with a port would hold its
//! namespace for ever. The third one, or the end of [`GRACE`], ends the program at once.

use std::io;
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::engine;
use crate::sys::signals;

use super::Exit;

/// How long aborted runs may take to clean up. The kernel waits for RCU grace periods, and holds RTNL meanwhile.
const GRACE: Duration = Duration::from_secs(10);

/// The signals that end a program by default and that somebody sends: the terminal, `kill`, `timeout`, `ulimit -t`, the
/// machine's shutdown. Not those that report a bug, and not SIGPIPE, which Rust ignores.
fn ending() -> SigSet {
    use Signal::{SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGPWR, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU};
    let all = [SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGPWR, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU];
    all.into_iter().collect()
}

/// Lets each of the signals end the program with [`Exit::Interrupted`], from now on until they are held.
pub(super) fn end_by_signal() {
    // It fails for signals that can't be handled.
    let _ = signals::exit_on(ending(), Exit::Interrupted as u8);
}

/// Sets the exit code with which the signals end the program.
pub(super) fn end_with(exit: Exit) {
    signals::set_exit_code(exit as u8);
}

/// Blocks the signals for this thread and all that it starts from now on, so that only [`watch`] receives them.
pub(super) fn hold() -> io::Result<()> {
    ending().thread_block().map_err(io::Error::from)
}

/// Waits for the signals on a separate thread until the program ends. The first one calls `interrupted`.
pub(super) fn watch(interrupted: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let signals = SignalFd::with_flags(&ending(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let wait = move || {
        next(&signals, None);
        interrupted();
        next(&signals, None);
        if engine::abandon_all() {
            next(&signals, Some(Instant::now() + GRACE));
        }
        std::process::exit(signals::exit_code().into());
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}

/// Waits for a signal, at most until that time.
fn next(signals: &SignalFd, until: Option<Instant>) {
    loop {
        if let Ok(Some(_)) = signals.read_signal() {
            return;
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return;
        }
        let timeout = left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout);
    }
}
