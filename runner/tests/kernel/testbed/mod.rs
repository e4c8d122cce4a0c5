//! The testbed against the real kernel: as root, or as anyone who may have a user namespace. Where neither is
//! possible, the tests are reported as ignored, with the reason.

mod ending;
mod isolation;
mod probing;
mod topology;
mod world;

use std::fs;

use super::Test;
use super::at_home::{self, tests};

pub use isolation::{ROLE, play};

/// The tests of this suite.
pub fn tests() -> Vec<Test> {
    at_home::all(tests![
        topology::two_hosts_talk_at_once,
        topology::a_router_forwards,
        topology::a_source_of_another_interface_works,
        topology::a_rate_limits,
        topology::an_mtu_is_set,
        topology::a_link_goes_down_and_up,
        topology::a_device_disappears_at_both_ends,
        topology::devices_on_devices_carry_packets,
        topology::neighbours_are_known,
        topology::equal_indices_work_but_are_noticed_late,
        topology::addresses_and_routes_come_and_go,
        topology::tables_rules_and_types_of_routes_work,
        topology::a_link_that_goes_down_takes_the_routes_of_all_tables,
        topology::refusals_have_the_kernels_words,
        topology::sysctls_are_read_back,
        topology::a_namespace_starts_from_the_baseline,
        topology::it_is_quick,
        topology::many_at_a_time,
        ending::sockets_of_tcp_do_not_stay,
        ending::sockets_of_mptcp_do_not_stay,
        ending::sockets_that_fell_back_do_not_stay,
        ending::the_listener_of_an_endpoint_does_not_stay,
        isolation::a_section_comes_back_after_a_panic,
        isolation::sections_do_not_nest,
        isolation::nothing_survives_sigkill,
        isolation::an_ordinary_user_needs_no_root,
        isolation::what_is_forbidden_is_said_first,
        probing::this_kernel_is_probed,
        probing::what_is_missing_is_named,
        probing::it_is_quick,
    ])
}

/// What the tests must not change: the network of the namespace that they were started in, which is the main thread's.
pub fn network() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let names = read("/proc/self/net/dev").lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
    let files = ["route", "if_inet6"].map(|file| read(&format!("/proc/self/net/{file}")));
    [names].into_iter().chain(files).collect()
}
