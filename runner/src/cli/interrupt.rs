//! Ctrl-C and its kin: the signals that ask the program to end, and how it does.
//!
//! Until scenarios run there is nothing to tidy up: the program ends at once, with its own exit code ([`end_by_signal`]).
//! From then on a thread waits for the signals ([`watch`]). The first one lets the runs that are on come to their end. The
//! second one gives them up, and each takes its namespaces down in good order: an endpoint with a port would hold its
//! namespace for ever. The third one, or the end of [`GRACE`], ends the program as it is.

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

/// How long runs that were given up may take to tidy up. The kernel waits for RCU grace periods, and holds RTNL meanwhile.
const GRACE: Duration = Duration::from_secs(10);

/// All that end a program by default, as far as somebody sends them: the terminal, `kill`, `timeout`, `ulimit -t`, the
/// machine's shutdown. Not those that tell of a defect, and not SIGPIPE, which Rust ignores.
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

/// The signals will end the program like this.
pub(super) fn end_with(exit: Exit) {
    signals::set_exit_code(exit as u8);
}

/// Blocks the signals for this thread and those that it starts from now on, so that only [`watch`] takes them.
pub(super) fn hold() -> io::Result<()> {
    ending().thread_block().map_err(io::Error::from)
}

/// Waits for the signals on a thread of its own, to the end of the program. The first one is told.
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

/// Waits for a signal, until that time at most.
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
