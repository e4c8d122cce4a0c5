//! What mptcplab believes about the kernel's side of netlink, checked against the kernel that runs: a belief that
//! doesn't hold on some kernel must be known. Each test has a network namespace of its own.

mod connections;
mod endpoints;
mod world;

use std::pin::Pin;

use libtest_mimic::Completion;
use nix::sched::{CloneFlags, unshare};
use socket2::Domain;

use super::Test;
use super::at_home;
use super::require::{Outcome, kernel_lacks, machine_lacks};

/// A test: what it does in its namespace.
type Body = fn() -> Pin<Box<dyn Future<Output = Completion>>>;

/// The tests with their names.
macro_rules! tests {
    ($($module:ident :: $test:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($test)), (|| Box::pin($module::$test())) as Body)),*]
    };
}

/// The tests of this suite.
pub fn tests() -> Vec<Test> {
    let tests = tests![
        endpoints::an_endpoint_comes_back_as_it_was_added,
        endpoints::ids_are_given_in_order_and_not_again,
        endpoints::limits_are_set_together_or_not_at_all,
        endpoints::refusals_have_the_known_errnos_and_words,
        endpoints::flags_are_overwritten_as_a_whole,
        endpoints::laminar_is_dumped_back,
        endpoints::unknown_flags_vanish_without_an_error,
        endpoints::an_unknown_interface_index_is_accepted,
        endpoints::id_zero_can_be_deleted_without_effect,
        endpoints::a_device_without_a_name_is_not_asked_for,
        endpoints::odd_requests_are_refused,
        connections::an_unbound_socket_hears_nothing,
        connections::events_tell_of_a_connection,
        connections::lost_events_are_reported,
        connections::the_userspace_path_manager_announces,
        connections::the_userspace_path_manager_makes_subflows,
        connections::the_userspace_path_manager_refuses,
        connections::listeners_are_listed,
    ];
    tests.into_iter().map(|(name, body)| Test::new(name, move || in_new_namespace(body))).collect()
}

fn missing_mptcp() -> Result<(), String> {
    world::mptcp_socket(Domain::IPV4).map(drop).map_err(|error| format!("no MPTCP sockets: {error}"))
}

/// Runs a test in a namespace that ends together with the thread.
fn in_new_namespace(body: Body) -> Outcome {
    if let Err(reason) = at_home::home().map_err(str::to_owned).and_then(|_| missing_mptcp()) {
        return machine_lacks(&reason);
    }
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("no network namespace: {errno}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let completion = runtime.block_on(async {
        world::loopback_up().await;
        body().await
    });
    match completion {
        Completion::Ignored { reason } => kernel_lacks(&reason.unwrap_or_default()),
        Completion::Completed => Ok(Completion::Completed),
    }
}
