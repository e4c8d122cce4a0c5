//! Spliced links against the real kernel: as root, or as anyone who may have a user namespace. Where neither is possible,
//! the tests are reported as ignored, with the reason.

mod carrier;
mod frames;
mod hosts;
mod runs;
mod whole;

use super::Test;
use super::at_home::{self, tests};

/// The tests of this suite.
pub fn tests() -> Vec<Test> {
    at_home::all(tests![
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
    ])
}
