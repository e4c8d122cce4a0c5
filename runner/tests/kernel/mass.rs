//! Many connections in one scenario: what a run takes grows as they do, also when it fails and all that is known of it is
//! told. Where this kernel or user can't run scenarios, the tests are reported as ignored, with the reason.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike as _;
use nix::unistd::Pid;

use super::Test;
use super::program::{self, has_code, mptcplab, text};

/// The tests of this suite.
pub fn tests() -> Vec<Test> {
    program::tests(&[
        ("a_failing_run_is_linear_in_its_connections", None, false, a_failing_run_is_linear_in_its_connections),
        ("what_has_no_namespace_ends_at_once", None, false, what_has_no_namespace_ends_at_once),
        ("too_many_sockets_are_refused_before_the_run", None, false, too_many_sockets_are_refused_before_the_run),
    ])
}

/// Each connection gets an announcement that comes to nothing; then a wait fails.
fn scenario(connections: usize) -> String {
    format!(
        r"
title: Many connections
about: The limit of accepted announcements is 0.
links:
  one:
    ends:
      client: {{ device: eth1, addresses: [10.0.1.2/24] }}
      server: {{ device: eth1, addresses: [10.0.1.1/24] }}
  two:
    ends:
      client: {{ device: eth2, addresses: [10.0.2.2/24] }}
      server: {{ device: eth2, addresses: [10.0.2.1/24] }}
namespaces:
  client: {{ limits: {{ subflows: 2, add_addr_accepted: 0 }} }}
  server:
    limits: {{ subflows: 2 }}
    endpoints: [{{ address: 10.0.2.1, flags: [signal] }}]
steps:
  - repeat:
      variable: number
      from: 1
      to: {connections}
      steps: [connect: {{ name: c$number, from: client, to: server, address: 10.0.1.1 }}]
  - wait: {{ subflows: {{ c1: 3 }}, timeout: 10 ms }}
"
    )
}

/// What the program says, and how many milliseconds of a processor it took in user mode.
fn run(folder: &Path, connections: usize) -> Result<(Output, i64), Failed> {
    fs::write(folder.join("many.yaml"), scenario(connections))?;
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?.user_time();
    let output = mptcplab(folder, &["run", "--no-snapshot", "--evidence", "evidence", "many.yaml"]).output()?;
    let took = getrusage(UsageWho::RUSAGE_CHILDREN)?.user_time() - before;
    Ok((output, took.num_milliseconds()))
}

/// Four times as many connections: linear is four times as much, quadratic sixteen times. Time of a processor, not of the
/// clock: how busy the machine is hardly matters.
fn a_failing_run_is_linear_in_its_connections() -> Result<(), Failed> {
    let folder = tempfile::tempdir().unwrap();
    let (_, few) = run(folder.path(), 500)?;
    let (output, many) = run(folder.path(), 2000)?;
    let said = text(&output.stdout);
    // On a machine that stands still meanwhile, the run is an error, and tells just as much.
    if !matches!(output.status.code(), Some(1 | 3)) {
        return has_code(&output, 1);
    }
    let alike = "client: and 1999 similar announcements";
    if !said.contains(alike) || said.lines().count() > 1000 {
        return Err(format!("{} lines, and no `{alike}` in\n{said}", said.lines().count()).into());
    }
    if many > 8 * few {
        return Err(format!("500 connections took {few} ms of a processor, 2000 took {many} ms").into());
    }
    Ok(())
}

/// The run is over, and its story doesn't come to anybody: nothing is left to take down, so that the second signal ends the
/// program at once. It may take ten seconds only as long as there are namespaces.
fn what_has_no_namespace_ends_at_once() -> Result<(), Failed> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("many.yaml"), scenario(200))?;
    let mut command = mptcplab(folder.path(), &["run", "-v", "--no-snapshot", "--no-evidence", "many.yaml"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let process = Pid::from_raw(child.id().try_into()?);
    // Its first byte: the run is over. Nobody reads the rest, which is more than a pipe holds.
    child.stdout.as_mut().ok_or("no pipe")?.read_exact(&mut [0])?;
    let begin = Instant::now();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        kill(process, signal)?;
    }
    let status = child.wait()?;
    let took = begin.elapsed();
    if status.code() == Some(130) && took < Duration::from_secs(8) {
        return Ok(());
    }
    Err(format!("{status:?} after {took:?}").into())
}

/// A hundred connections, with 200 descriptors.
fn too_many_sockets_are_refused_before_the_run() -> Result<(), Failed> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("many.yaml"), scenario(100)).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 200 && exec \"$0\" run --no-evidence many.yaml", env!("CARGO_BIN_EXE_mptcplab")]);
    let output = command.current_dir(folder.path()).stdin(Stdio::null()).output()?;
    // Whoever may raise the limit has it raised.
    if output.status.code() == Some(1) {
        return Ok(());
    }
    has_code(&output, 3)?;
    let said = text(&output.stdout);
    let refusal = "needs 297 file descriptors, but the process is limited to 200 (RLIMIT_NOFILE)";
    if said.contains(refusal) && !said.contains("EMFILE") {
        return Ok(());
    }
    Err(format!("no `{refusal}` in\n{said}").into())
}
