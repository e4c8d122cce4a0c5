//! What mptcplab believes about the kernel's side of netlink, checked against the kernel that runs: a belief that
//! doesn't hold on some kernel must be known. Each test has a network namespace of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test without libtest is a test all the same")]

mod connections;
mod endpoints;
mod world;

use std::panic::resume_unwind;
use std::pin::Pin;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sched::{CloneFlags, unshare};
use socket2::Domain;

/// A test: what it does in its namespace.
type Body = fn() -> Pin<Box<dyn Future<Output = Completion>>>;

/// The tests with their names.
macro_rules! tests {
    ($($module:ident :: $test:ident),* $(,)?) => {
        [$((stringify!($test), (|| Box::pin($module::$test())) as Body)),*]
    };
}

fn main() {
    let arguments = Arguments::from_args();
    // Before any thread: a process with threads can't enter a user namespace.
    let obstacle = enter_user_namespace().err().or_else(|| missing_mptcp().err());
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
    let trials = tests.into_iter().map(|(name, body)| {
        let obstacle = obstacle.clone();
        Trial::ignorable_test(name, move || match obstacle {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => in_new_namespace(body),
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn enter_user_namespace() -> Result<(), String> {
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if user.is_root() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| format!("neither root nor a user namespace: {errno}"))?;
    let write = |file: &str, text: String| std::fs::write(file, text).map_err(|error| format!("{file}: {error}"));
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/uid_map", format!("0 {user} 1"))?;
    write("/proc/self/gid_map", format!("0 {group} 1"))
}

fn missing_mptcp() -> Result<(), String> {
    world::mptcp_socket(Domain::IPV4).map(drop).map_err(|error| format!("no MPTCP sockets: {error}"))
}

/// Runs a test in a thread that ends together with its namespace.
fn in_new_namespace(body: Body) -> Result<Completion, Failed> {
    let thread = std::thread::spawn(move || -> Result<Completion, String> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("no network namespace: {errno}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Ok(runtime.block_on(async {
            world::loopback_up().await;
            body().await
        }))
    });
    match thread.join() {
        Ok(Ok(completion)) => Ok(completion),
        Ok(Err(reason)) => Ok(Completion::ignored_with(reason)),
        Err(panic) => resume_unwind(panic),
    }
}
