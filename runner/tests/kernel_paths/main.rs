//! Spliced links against the real kernel: as root, or as anyone who may have a user namespace. Where neither is possible,
//! the tests are reported as ignored, with the reason.

#![expect(clippy::unwrap_used, reason = "a test may fail like this")]

mod carrier;
mod frames;
mod lab;
mod runs;
mod whole;

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
    // Before any thread: a user namespace can't be entered later.
    let home = match privilege::enter() {
        Ok(_) => Home::create().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let tests = tests![
        frames::frames_are_real,
        frames::frames_that_are_not_real_are_reported,
        frames::what_finds_no_slot_is_reported,
        frames::what_comes_in_leaves_in_the_same_order,
        whole::an_open_path_carries_frames_whole,
        whole::frames_that_are_too_long_are_reported,
        carrier::a_spliced_link_goes_down_and_up,
        carrier::a_dead_link_loses_packets_without_a_report,
        runs::a_rule_is_installed_counted_and_removed,
        runs::what_is_held_is_released_by_a_step,
        runs::a_packet_under_way_is_not_quiet,
        runs::conditions_change_during_the_run,
        runs::an_open_path_is_recorded_like_any_other,
        runs::what_is_not_there_is_an_error,
        runs::nothing_is_left_of_a_run,
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
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
