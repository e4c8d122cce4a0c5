//! Signals that end the program: a handler does it until a thread waits for them.

use std::sync::atomic::{AtomicU8, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The exit code.
static CODE: AtomicU8 = AtomicU8::new(0);

/// Sets the exit code for signals from now on.
pub fn set_exit_code(code: u8) {
    CODE.store(code, Ordering::Relaxed);
}

/// The current exit code.
pub fn exit_code() -> u8 {
    CODE.load(Ordering::Relaxed)
}

/// Makes these signals end the program with this exit code, instead of their default action. Ignored signals stay
/// ignored, as nohup(1) needs.
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
        // SAFETY: this was the previous action.
        unsafe { sigaction(signal, &before) }?;
    }
    Ok(())
}

extern "C" fn end(_signal: libc::c_int) {
    // SAFETY: it takes any number, and never returns.
    unsafe { libc::_exit(CODE.load(Ordering::Relaxed).into()) }
}
