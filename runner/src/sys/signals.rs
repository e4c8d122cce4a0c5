//! Signals that end the program: before there is a thread that waits for them, a handler does it.

use std::sync::atomic::{AtomicU8, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The exit code.
static CODE: AtomicU8 = AtomicU8::new(0);

/// Sets the exit code for what comes from now on.
pub fn set_exit_code(code: u8) {
    CODE.store(code, Ordering::Relaxed);
}

/// The exit code that was set last.
pub fn exit_code() -> u8 {
    CODE.load(Ordering::Relaxed)
}

/// Makes these signals end the program with this exit code, instead of what they do by default. What is ignored stays
/// ignored: that is how nohup(1) works.
pub fn exit_on(signals: SigSet, code: u8) -> nix::Result<()> {
    set_exit_code(code);
    let end = SigAction::new(SigHandler::Handler(end), SaFlags::SA_RESTART, SigSet::empty());
    for signal in &signals {
        replace(signal, &end)?;
    }
    Ok(())
}

fn replace(signal: Signal, action: &SigAction) -> nix::Result<()> {
    // SAFETY: `end` does nothing but what signal-safety(7) allows: it reads an atomic number and calls _exit(2).
    let before = unsafe { sigaction(signal, action) }?;
    if matches!(before.handler(), SigHandler::SigIgn) {
        // SAFETY: this was the action a moment ago.
        unsafe { sigaction(signal, &before) }?;
    }
    Ok(())
}

extern "C" fn end(_signal: libc::c_int) {
    // SAFETY: it takes any number, and never returns.
    unsafe { libc::_exit(CODE.load(Ordering::Relaxed).into()) }
}
