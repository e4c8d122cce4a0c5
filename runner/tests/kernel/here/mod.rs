//! `explain --here` in real worlds, asked from outside: the reason is among the first ten lines of what it says.

mod world;

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed};
use mptcplab::testbed::BaseNamespace;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::at_home;
use super::require::{Outcome, machine_lacks};
use world::{World, program};

/// What `explain --here` says first.
const LINES: usize = 10;
/// What must happen has happened by then, on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(10);
const NOBODY: u32 = 65534;

macro_rules! says {
    ($name:literal, $scenario:literal, $namespace:literal, $reason:literal) => {
        ($name, (|home| says(home, $scenario, $namespace, $reason)) as at_home::Body)
    };
}

/// The tests of this suite.
pub fn tests() -> Vec<super::Test> {
    at_home::all([
        says!(
            "a_link_local_address",
            "reasons/link-local",
            "client",
            "an announced link-local address needs a `laminar`"
        ),
        says!("an_announced_link_local_address", "reasons/link-local", "server", "for a link-local address it needs"),
        says!(
            "an_endpoint_before_its_address",
            "reasons/before-address",
            "client",
            "tried before its address was there"
        ),
        says!(
            "an_endpoint_before_its_address_and_its_route",
            "here/address-later",
            "client",
            "tried before its address was there"
        ),
        says!("an_endpoint_without_a_route", "reasons/before-route", "client", "no route leads from wwan0 to the peer"),
        says!("an_endpoint_before_its_route", "here/route-later", "client", "opened before its route was there"),
        says!(
            "an_endpoint_without_a_device_before_its_route",
            "here/route-later-no-device",
            "client",
            "not by wwan0, which has"
        ),
        says!("a_closed_initial_subflow", "here/primary-down", "server", "closed by this side, and still listed"),
        says!("the_limit_of_announcements_forgotten", "here/limit-forgotten", "client", "`add_addr_accepted` is 0"),
        says!("a_backup_endpoint_without_subflow", "here/limit-forgotten", "client", "`backup` without `subflow`"),
        says!("an_announcement_over_the_limit", "reasons/no-accept-limit", "client", "`add_addr_accepted` is 0"),
        says!("an_endpoint_with_fullmesh_alone", "reasons/fullmesh-only", "client", "`fullmesh` without `subflow`"),
        says!(
            "a_closed_subflow_that_is_still_listed",
            "reasons/cut",
            "client",
            "closed by this side, and still listed"
        ),
        says!("endpoints_and_a_userspace_path_manager", "reasons/userspace", "client", "the kernel ignores endpoints"),
        says!("both_subflows_by_one_device", "reasons/other-device", "client", "leave by wlan0, not by wlan1"),
        says!("a_strict_reverse_path_filter", "here/reverse-path", "client", "rp_filter is strict on wlan1"),
        says!("a_peer_that_forbids_joins", "here/deny-join", "client", "no SYN was sent (MPJoinSynTx 0)"),
        says!("a_limit_of_the_peer", "reasons/limit", "client", "perhaps because of the peer's limit `subflows`"),
        says!("a_limit_of_the_server", "reasons/limit", "server", "limit `subflows` is used up: 1 of 1"),
        ("an_ordinary_user_is_told_as_well", an_ordinary_user_is_told_as_well),
        ("a_world_without_connections", a_world_without_connections),
        ("commands_help", commands_help),
        ("events_have_reasons", events_have_reasons),
    ])
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn file(scenario: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel").join(format!("{scenario}.yaml"))
}

/// The first lines of what it says, once it says this: the kernel's worker may still be at it.
fn first_lines_with(reason: &str, ask: impl Fn() -> Result<String, Failed>) -> Result<(), Failed> {
    let start = Instant::now();
    loop {
        let said = ask()?;
        if said.lines().take(LINES).any(|line| line.contains(reason)) {
            return Ok(());
        }
        if start.elapsed() > DEADLINE {
            return Err(format!("no `{reason}` in\n{said}").into());
        }
    }
}

fn says(home: &Arc<BaseNamespace>, scenario: &str, namespace: &str, reason: &str) -> Outcome {
    runtime().block_on(async {
        let world = World::after(home, &file(scenario)).await?;
        first_lines_with(reason, || explained(&world, namespace, |_| {}))?;
        Ok(Completion::Completed)
    })
}

/// What it says, if it ends well and has no errors.
fn explained(world: &World, namespace: &str, how: impl FnOnce(&mut Command)) -> Result<String, Failed> {
    let output = world.explain(namespace, how)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !errors.is_empty() {
        return Err(format!("{}: {errors}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn an_ordinary_user_is_told_as_well(home: &Arc<BaseNamespace>) -> Outcome {
    if !at_home::is_root() {
        return machine_lacks("only root can become another user");
    }
    let as_nobody = |command: &mut Command| {
        command.uid(NOBODY).gid(NOBODY);
    };
    runtime().block_on(async {
        let world = World::after(home, &file("reasons/fullmesh-only")).await?;
        match world.explain("client", as_nobody) {
            Ok(_) => {}
            Err(error) => return machine_lacks(&format!("nobody can't run the program: {error:?}")),
        }
        first_lines_with("`fullmesh` without `subflow`", || explained(&world, "client", as_nobody))?;
        let follow = world.explain("client", |command| as_nobody(command.arg("--follow")))?;
        let errors = String::from_utf8_lossy(&follow.stderr);
        assert_eq!(follow.status.code(), Some(3), "{errors}");
        assert!(errors.contains("EPERM") && errors.contains("sudo mptcplab explain --here --follow"), "{errors}");
        Ok(Completion::Completed)
    })
}

fn a_world_without_connections(home: &Arc<BaseNamespace>) -> Outcome {
    runtime().block_on(async {
        let world = World::after(home, &file("here/idle")).await?;
        let said = explained(&world, "client", |_| {})?;
        assert!(said.starts_with("no MPTCP connection"), "{said}");
        for reason in
            ["endpoint 10.0.9.2 id 1", "no device has the address", "endpoint 10.0.2.2 id 2", "`fullmesh` without"]
        {
            assert!(said.lines().take(LINES).any(|line| line.contains(reason)), "no `{reason}` in\n{said}");
        }
        Ok(Completion::Completed)
    })
}

/// The command beside the reason brings the subflow.
fn commands_help(home: &Arc<BaseNamespace>) -> Outcome {
    if Command::new("ip").arg("-V").output().is_err() {
        return machine_lacks("ip(8) of iproute2 can't be run");
    }
    let cases = [
        ("here/address-later", "tried_without_address"),
        ("reasons/fullmesh-only", "fullmesh_only"),
        ("here/route-later", "before_route"),
        ("here/limit", "limit"),
    ];
    for (scenario, reason) in cases {
        let (home, file) = (Arc::clone(home), file(scenario));
        runtime().block_on(async move {
            let world = World::after(&home, &file).await?;
            let row = row_that(&world, &|row| row["because"]["reason"] == reason)?;
            do_as_told(&world, &row)?;
            let local = row["candidate"]["local"].clone();
            let is = |row: &Value, outcome: &str| row["candidate"]["local"] == local && row["outcome"] == outcome;
            // The subflow may leave by the wrong device; then there is a command for that, too.
            let there = row_that(&world, &|row| is(row, "yes") || is(row, "but"))?;
            if is(&there, "but") {
                do_as_told(&world, &there)?;
            }
            row_that(&world, &|row| is(row, "yes")).map(drop)
        })?;
    }
    Ok(Completion::Completed)
}

fn do_as_told(world: &World, row: &Value) -> Result<(), Failed> {
    let change = row["change"].as_str().ok_or_else(|| format!("no command in {row}"))?;
    let output = world.node("client")?.run(|| Command::new("sh").args(["-ec", change]).output())??;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{change}: {errors}").into()) }
}

/// The row of the client's table for which this is true, once there is one.
fn row_that(world: &World, wanted: &dyn Fn(&Value) -> bool) -> Result<Value, Failed> {
    let start = Instant::now();
    loop {
        let said: Value = serde_json::from_str(&explained(world, "client", |command| {
            command.arg("--json");
        })?)?;
        let rows = said["connections"][0]["decisions"].as_array().ok_or("no decisions")?;
        if let Some(row) = rows.iter().find(|row| wanted(row)) {
            return Ok(row.clone());
        }
        if start.elapsed() > DEADLINE {
            return Err(format!("no such row in {said:#}").into());
        }
    }
}

/// Ends the program when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn events_have_reasons(home: &Arc<BaseNamespace>) -> Outcome {
    runtime().block_on(async {
        let mut world = World::before(home, &file("reasons/no-accept-limit")).await?;
        let mut command = program();
        command.arg("--follow").stdout(Stdio::piped());
        let mut running = Running(world.node("client")?.run(|| command.spawn())??);
        let output = running.0.stdout.take().ok_or("no output")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        // It listens before it prints what it found.
        let first = lines.recv_timeout(DEADLINE)?;
        assert!(first.starts_with("no MPTCP connection"), "{first}");
        world.steps(&file("reasons/no-accept-limit")).await?;
        let start = Instant::now();
        loop {
            let line = lines.recv_timeout(DEADLINE.saturating_sub(start.elapsed()))?;
            if line.starts_with("announced ") && line.contains("10.0.2.1:8080") {
                assert!(line.contains("limit `add_addr_accepted` is 0"), "{line}");
                return Ok(Completion::Completed);
            }
        }
    })
}
