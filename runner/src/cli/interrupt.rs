//! Ctrl-C: the signals that ask the program to end.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use super::Exit;

/// The exit code after the second signal.
static AT_ONCE: AtomicU8 = AtomicU8::new(Exit::Interrupted as u8);

/// The second signal will end the program like this.
pub(super) fn end_with(exit: Exit) {
    AT_ONCE.store(exit as u8, Ordering::Relaxed);
}

fn signals() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM].into_iter().collect()
}

/// Blocks the signals for this thread and those that it starts from now on, so that only [`watch`] takes them.
pub(super) fn hold() -> io::Result<()> {
    signals().thread_block().map_err(io::Error::from)
}

/// Waits for the signals on a thread of its own, to the end of the program. The first one is told; who then can't wait
/// until the scenarios that run have ended sends another. All namespaces go with the process.
pub(super) fn watch(interrupted: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let wait = || {
        // It fails for a set that isn't one.
        if signals().wait().is_ok() {
            interrupted();
            let _ = signals().wait();
            std::process::exit(AT_ONCE.load(Ordering::Relaxed).into());
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}
