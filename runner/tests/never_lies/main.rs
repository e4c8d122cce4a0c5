//! Whatever is wrong with a scenario, or with what the kernel does, is found: nothing passes falsely.
//!
//! `good.yaml` passes. Each test changes one thing of it, or of its recording or snapshot, runs it against the real
//! kernel, and sees it fail for that very reason. Where the kernel or the user lacks something, the tests are ignored,
//! with the reason.

#![expect(clippy::unwrap_used, reason = "a test may fail like this")]

mod lies;
mod recordings;
mod stored;
mod truths;
mod workshop;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};
use mptcplab::sys::privilege;

use workshop::Workshop;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // While there is one thread.
    let workshop = privilege::enter().map_err(|error| error.to_string()).and_then(|_| Workshop::open());
    let trials = lies::all()
        .into_iter()
        .chain(recordings::all())
        .chain(stored::all())
        .chain(truths::all())
        .map(|(name, test)| {
            let workshop = workshop.clone();
            Trial::ignorable_test(name, move || match &workshop {
                Ok(workshop) => test(workshop).map(|()| Completion::Completed),
                Err(obstacle) => Ok(Completion::ignored_with(obstacle.lines().next().unwrap_or_default())),
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
