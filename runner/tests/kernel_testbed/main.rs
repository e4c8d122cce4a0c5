//! The testbed against the real kernel: as root, or as anyone who may have a user namespace. Where neither is
//! possible, the tests are reported as ignored, with the reason.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail like this")]

mod isolation;
mod probing;
mod topology;
mod world;

use std::env;
use std::fs;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use mptcplab::sys::privilege;
use mptcplab::testbed::Home;

/// A test: at home, on a thread of its own.
type Body = fn(&Arc<Home>) -> Result<Completion, Failed>;

/// The tests with their names.
macro_rules! tests {
    ($($module:ident :: $test:ident),* $(,)?) => {
        [$((stringify!($test), $module::$test as Body)),*]
    };
}

fn main() -> ExitCode {
    if let Ok(role) = env::var(isolation::ROLE) {
        isolation::play(&role);
        return ExitCode::SUCCESS;
    }
    let before = host();
    // Before any thread: a user namespace can't be entered later.
    let home = match privilege::enter() {
        Ok(_) => Home::create().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let tests = tests![
        topology::two_hosts_talk_at_once,
        topology::a_router_forwards,
        topology::a_source_of_another_interface_works,
        topology::a_rate_limits,
        topology::an_mtu_is_set,
        topology::a_link_goes_down_and_up,
        topology::equal_indices_work_but_are_noticed_late,
        topology::addresses_and_routes_come_and_go,
        topology::refusals_have_the_kernels_words,
        topology::sysctls_are_read_back,
        topology::a_namespace_starts_from_the_baseline,
        topology::it_is_quick,
        topology::many_at_a_time,
        isolation::a_section_comes_back_after_a_panic,
        isolation::sections_do_not_nest,
        isolation::nothing_survives_sigkill,
        isolation::an_ordinary_user_needs_no_root,
        isolation::what_is_forbidden_is_said_first,
        probing::this_kernel_is_probed,
        probing::what_is_missing_is_named,
        probing::it_is_quick,
    ];
    let trials = tests.into_iter().map(|(name, body)| {
        let home = home.clone();
        Trial::ignorable_test(name, move || match home {
            Ok(home) => {
                home.enter_for_good()?;
                body(&home)
            }
            Err(reason) => Ok(Completion::ignored_with(reason.lines().next().unwrap_or_default())),
        })
    });
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials.collect());
    assert_eq!(host(), before, "the tests changed the network that they were started in");
    conclusion.exit_code()
}

/// What the tests must not change: the network of the namespace that they were started in, which is the main thread's.
fn host() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let names = read("/proc/self/net/dev").lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
    let files = ["route", "if_inet6"].map(|file| read(&format!("/proc/self/net/{file}")));
    [names].into_iter().chain(files).collect()
}
