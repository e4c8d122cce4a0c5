//! Whatever is wrong with a scenario, or with what the kernel does, is found: nothing passes falsely.
//!
//! `good.yaml` passes. Each test changes one thing of it, or of its recording or snapshot, runs it against the real
//! kernel, and sees it fail for that very reason. Where the kernel or the user lacks something, the tests are ignored,
//! with the reason.

mod lies;
mod recordings;
mod stored;
mod truths;
mod workshop;

use std::sync::LazyLock;

use libtest_mimic::Completion;

use super::at_home;
use super::require::machine_lacks;
use workshop::Workshop;

/// What the tests share, or why there is nothing to test with.
static WORKSHOP: LazyLock<Result<Workshop, String>> =
    LazyLock::new(|| at_home::home().map_err(str::to_owned).and_then(|_| Workshop::open()));

/// The tests of this suite.
pub fn tests() -> Vec<super::Test> {
    let all = lies::all().into_iter().chain(recordings::all()).chain(stored::all()).chain(truths::all());
    all.map(|(name, test)| {
        super::Test::new(name, move || match &*WORKSHOP {
            Ok(workshop) => test(workshop).map(|()| Completion::Completed),
            Err(obstacle) => machine_lacks(obstacle.lines().next().unwrap_or_default()),
        })
    })
    .collect()
}
