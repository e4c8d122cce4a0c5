//! What mptcplab believes about the kernel, and what it does with it, against the kernel that runs: as root, or as anyone
//! who may have a user namespace. A test that can't run here is ignored, with the reason, or fails (`require`).
//!
//! `cargo test --test kernel` runs everything, `cargo test --test kernel nft::` one suite. Suites run one after another.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail like this")]

mod against_iproute2;
mod at_home;
mod compare;
mod dry_run;
mod here;
mod import;
mod leaves_nothing;
mod mass;
mod netlink;
mod never_lies;
mod nft;
mod observe;
mod paths;
mod program;
mod programs;
mod reasons;
#[path = "../require/mod.rs"]
mod require;
mod rules;
mod run;
mod seeds;
mod shell;
mod testbed;

use std::env;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::thread;

use libtest_mimic::{Arguments, Completion, Trial};

use require::{Outcome, machine_lacks};

/// A test. It runs on a thread of its own, which ends with it: where that thread goes, no other test has to follow.
pub struct Test {
    name: String,
    on_demand: bool,
    body: Box<dyn FnOnce() -> Outcome + Send>,
}

impl Test {
    /// A test of that name in its suite.
    pub fn new<E: Into<Ended>>(name: impl Into<String>, body: impl FnOnce() -> E + Send + 'static) -> Self {
        Self { name: name.into(), on_demand: false, body: Box::new(move || body().into().0) }
    }

    /// Runs only with `--ignored`.
    #[must_use]
    pub fn on_demand(self) -> Self {
        Self { on_demand: true, ..self }
    }

    fn trial(self, suite: &str) -> Trial {
        let body = self.body;
        let name = format!("{suite}::{}", self.name);
        let on_a_thread = move || thread::spawn(body).join().unwrap_or_else(|panic| resume_unwind(panic));
        // Whatever way a test is ignored, it isn't where it must run.
        let checked = move || match on_a_thread() {
            Ok(Completion::Ignored { reason }) if *require::REQUIRE == require::Require::All(Vec::new()) => {
                machine_lacks(&reason.unwrap_or_default())
            }
            outcome => outcome,
        };
        Trial::ignorable_test(name, checked).with_ignored_flag(self.on_demand)
    }
}

/// What bodies of tests return.
pub struct Ended(Outcome);

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        Self(outcome)
    }
}

impl From<Result<(), libtest_mimic::Failed>> for Ended {
    fn from(result: Result<(), libtest_mimic::Failed>) -> Self {
        Self(result.map(|()| Completion::Completed))
    }
}

fn main() -> ExitCode {
    if let Ok(role) = env::var(testbed::ROLE) {
        testbed::play(&role);
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let network = testbed::network();
    // One test at a time: set-ups beside each other wait for RTNL, and a run that is held up by it is rightly an error.
    let one = Arguments { test_threads: Some(1), ..arguments.clone() };
    let required = || -> Outcome {
        require::required_tests_are_never_ignored();
        Ok(Completion::Completed)
    };
    // The program enters a user namespace by itself, so these come before this process does: there is no way back.
    let programs = [
        ("require", vec![Test::new("required_tests_are_never_ignored", required)]),
        ("run", run::tests()),
        ("reasons", reasons::tests()),
        ("rules", rules::tests()),
        ("compare", compare::tests()),
        ("import", import::tests()),
        ("seeds", seeds::tests()),
        ("mass", mass::tests()),
        ("leaves_nothing", leaves_nothing::tests()),
        ("programs", programs::tests()),
        ("dry_run", dry_run::tests()),
        ("shell", shell::tests()),
    ];
    // Each of them runs: a failure hides no other.
    let mut failed = programs.into_iter().fold(false, |failed, (name, tests)| !suite(&one, name, tests) | failed);
    at_home::enter();
    let in_namespaces = [
        ("netlink", netlink::tests()),
        ("testbed", testbed::tests()),
        ("paths", paths::tests()),
        ("nft", nft::tests()),
        ("observe", observe::tests()),
        ("never_lies", never_lies::tests()),
        ("against_iproute2", against_iproute2::tests()),
        ("here", here::tests()),
    ];
    failed = in_namespaces.into_iter().fold(failed, |failed, (name, tests)| !suite(&arguments, name, tests) | failed);
    assert_eq!(testbed::network(), network, "the tests changed the network that they were started in");
    if failed { ExitCode::from(101) } else { ExitCode::SUCCESS }
}

/// Runs the tests of a suite that are wanted. Whether none failed.
fn suite(arguments: &Arguments, name: &str, tests: Vec<Test>) -> bool {
    let trials: Vec<Trial> = tests.into_iter().map(|test| test.trial(name)).collect();
    if trials.iter().all(|trial| arguments.is_filtered_out(trial)) {
        return true;
    }
    !libtest_mimic::run(arguments, trials).has_failed()
}
