//! `mptcplab run` as its users call it, with real scenarios: what it leaves behind when one fails, and how it ends when
//! it is interrupted. Where this kernel or user can't run scenarios, the tests are reported as ignored, with the reason.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Test;
use super::program::{self, has_code, mptcplab, text};

/// Passes, and has a transfer, an announcement, and several subflows.
const SCENARIO: &str = "fullmesh.yaml";

/// Asks for what no kernel has.
const SKIPPED: &str = include_str!("skipped.yaml");

/// The tests of this suite.
pub fn tests() -> Vec<Test> {
    let only_root = (!nix::unistd::geteuid().is_root()).then_some("only root can mount");
    program::tests(&[
        ("a_failure_leaves_evidence", None, false, a_failure_leaves_evidence),
        ("a_stored_failure_is_judged_alike", None, false, a_stored_failure_is_judged_alike),
        ("a_pass_leaves_nothing", None, false, a_pass_leaves_nothing),
        ("an_interruption_tells_what_is_known", None, false, an_interruption_tells_what_is_known),
        ("a_second_interruption_ends_at_once", None, false, a_second_interruption_ends_at_once),
        ("a_run_that_was_stopped_is_no_failure", None, false, a_run_that_was_stopped_is_no_failure),
        ("instances_wait_and_listeners_are_noticed", None, false, instances_wait_and_listeners_are_noticed),
        ("a_run_that_is_given_up_is_tidied_up", None, false, a_run_that_is_given_up_is_tidied_up),
        ("no_foreign_folder_is_deleted", None, false, no_foreign_folder_is_deleted),
        ("there_are_as_many_jobs_as_fit_in", None, false, there_are_as_many_jobs_as_fit_in),
        ("too_few_open_files_are_said", None, false, too_few_open_files_are_said),
        ("read_only_sysctls_are_not_the_kernels_fault", only_root, false, read_only_sysctls_are_not_the_kernels_fault),
    ])
}

/// A folder with the scenario in it, with one text of it replaced by another.
fn folder_with(text: &str, replacement: &str) -> tempfile::TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: PathBuf, to: &str| {
        let target = folder.path().join(to);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let content = fs::read_to_string(from).unwrap();
        fs::write(target, content.replace(text, replacement)).unwrap();
    };
    copy(root.join("scenarios").join(SCENARIO), SCENARIO);
    for variant in ["ipv4", "ipv6"] {
        let name = format!("snapshots/fullmesh@{variant}.snap");
        copy(root.join("scenarios").join(&name), &name);
    }
    copy(root.join("fixtures/topologies/four-links.yaml"), "fixtures/topologies/four-links.yaml");
    folder
}

/// The scenario expects a join more than there is.
fn failing() -> tempfile::TempDir {
    folder_with("MPTcpExtMPJoinSynRx: 4,", "MPTcpExtMPJoinSynRx: 5,")
}

fn a_failure_leaves_evidence() -> Result<(), Failed> {
    let folder = failing();
    let output = mptcplab(folder.path(), &["--evidence", "evidence", SCENARIO]).output()?;
    has_code(&output, 1)?;
    let case = folder.path().join("evidence/fullmesh@ipv4");
    assert!(text(&output.stdout).contains("evidence: evidence/fullmesh@ipv4\n"), "{}", text(&output.stdout));
    let files = [
        ("failure.txt", "MPTcpExtMPJoinSynRx"),
        ("story.txt", "MP_CAPABLE"),
        ("canonical.txt", "events of client:"),
        ("counters.txt", "MPTcpExtMPJoinSynRx              4"),
        ("sockets.txt", "main, server, before the close"),
        ("endpoints.txt", "10.0.4.1 id 1 signal"),
        ("kernel-log.txt", ""),
        ("plan.sh", "ip netns add client"),
        ("client.monitor", "[  SF_ESTABLISHED] token="),
        ("versions.txt", "mptcplab"),
    ];
    for (name, content) in files {
        let file = fs::read_to_string(case.join(name)).map_err(|error| format!("{name}: {error}"))?;
        assert!(file.contains(content), "{name} lacks `{content}`:\n{file}");
    }
    for namespace in ["client", "server"] {
        let file = fs::read(case.join(format!("{namespace}.pcapng")))?;
        assert!(joins(&file) >= 8, "{namespace} saw SYN and SYN-ACK of 4 joins, the file has {}", joins(&file));
    }
    Ok(())
}

/// The packets of a pcapng file whose comment tells of a join.
fn joins(file: &[u8]) -> usize {
    use pcap_parser::pcapng::OptionCode;
    use pcap_parser::traits::PcapReaderIterator as _;
    use pcap_parser::{Block, PcapBlockOwned};

    let mut reader = pcap_parser::PcapNGReader::new(1 << 20, file).unwrap();
    let mut count = 0;
    while let Ok((length, block)) = reader.next() {
        if let PcapBlockOwned::NG(Block::EnhancedPacket(packet)) = &block {
            let comment = packet.options.iter().find(|option| option.code == OptionCode::Comment);
            let comment = comment.and_then(|comment| comment.as_bytes().ok()).map(text).unwrap_or_default();
            count += usize::from(comment.contains("MP_JOIN"));
        }
        reader.consume(length);
    }
    count
}

fn a_stored_failure_is_judged_alike() -> Result<(), Failed> {
    let folder = failing();
    has_code(&mptcplab(folder.path(), &["--evidence", "evidence", SCENARIO]).output()?, 1)?;
    let stored = mptcplab(folder.path(), &["judge", "-q", "evidence/fullmesh@ipv6/recording.jsonl"]).output()?;
    has_code(&stored, 1)?;
    let failure = fs::read_to_string(folder.path().join("evidence/fullmesh@ipv6/failure.txt"))?;
    let summary = failure.lines().find(|line| line.starts_with("counter: ")).ok_or("no counter in failure.txt")?;
    assert!(text(&stored.stdout).contains(summary), "{}", text(&stored.stdout));
    Ok(())
}

fn a_pass_leaves_nothing() -> Result<(), Failed> {
    let folder = folder_with("nothing is replaced", "");
    let before = entries(folder.path());
    has_code(&mptcplab(folder.path(), &[SCENARIO]).output()?, 0)?;
    assert_eq!(entries(folder.path()), before);
    Ok(())
}

fn entries(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Starts a run without an end, and waits until the first scenario has ended.
fn endless(folder: &Path, arguments: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = mptcplab(folder, &[&["--until-fail", "--format", "json"], arguments].concat());
    let mut child = command.arg(SCENARIO).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.starts_with('{'), "`{line}` is no result");
    (child, out)
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

fn an_interruption_tells_what_is_known() -> Result<(), Failed> {
    for which in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        let folder = folder_with("nothing is replaced", "");
        let (child, out) = endless(folder.path(), &[]);
        signal(&child, which);
        let more = out.lines().map_while(Result::ok).filter(|line| line.contains("\"passed\"")).count();
        let output = child.wait_with_output()?;
        has_code(&output, 130)?;
        let err = text(&output.stderr);
        assert!(err.contains("interrupted"), "{which}: {err}");
        let known = format!("{} passed, interrupted", more + 1);
        assert!(err.contains(&known), "{which}: `{known}` is not in\n{err}");
    }
    Ok(())
}

fn a_second_interruption_ends_at_once() -> Result<(), Failed> {
    // It would be quiet for minutes.
    let folder = folder_with("quiet: 50 ms", "quiet: { period: 200 s, timeout: 300 s }");
    let scenario = fs::read_to_string(folder.path().join(SCENARIO))?;
    assert!(scenario.contains("200 s"), "the scenario has no quiet period any more");
    // The one that is skipped is told when all others are under way.
    fs::write(folder.path().join("a-skipped.yaml"), SKIPPED)?;
    let mut child = mptcplab(folder.path(), &["--format", "json", "a-skipped.yaml", SCENARIO])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no standard output")?).read_line(&mut line)?;
    assert!(line.contains("\"skipped\""), "{line}");
    signal(&child, Signal::SIGINT);
    let mut err = BufReader::new(child.stderr.take().ok_or("no standard error")?);
    line.clear();
    err.read_line(&mut line)?;
    assert!(line.starts_with("interrupted: waiting for "), "{line}");
    signal(&child, Signal::SIGINT);
    assert_eq!(child.wait()?.code(), Some(130));
    Ok(())
}

/// The listener of an endpoint with a port belongs to the kernel, and holds its namespace until the endpoint is deleted.
fn a_run_that_is_given_up_is_tidied_up() -> Result<(), Failed> {
    for which in [Signal::SIGTERM, Signal::SIGHUP] {
        let folder = folder_with("quiet: 50 ms", "quiet: { period: 200 s, timeout: 300 s }");
        fs::write(folder.path().join("a-skipped.yaml"), SKIPPED)?;
        let mut child = mptcplab(folder.path(), &["--format", "json", "a-skipped.yaml", SCENARIO])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut out = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        signal(&child, which);
        let mut err = BufReader::new(child.stderr.take().ok_or("no standard error")?);
        err.read_line(&mut String::new())?;
        signal(&child, which);
        // Each run comes to an end of its own, and says so.
        let given_up = out.lines().map_while(Result::ok).filter(|line| line.contains("interrupted before its end"));
        assert_eq!(given_up.count(), 2);
        assert_eq!(child.wait()?.code(), Some(130));
    }
    Ok(())
}

fn no_foreign_folder_is_deleted() -> Result<(), Failed> {
    let folder = folder_with("nothing is replaced", "");
    let precious = folder.path().join("scenarios/precious.yaml");
    fs::create_dir(folder.path().join("scenarios"))?;
    fs::write(&precious, "mine")?;
    let output = mptcplab(folder.path(), &["--results", ".", SCENARIO]).output()?;
    has_code(&output, 3)?;
    assert!(text(&output.stderr).contains("name a new or empty folder"), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(&precious)?, "mine");
    for _ in 0..2 {
        // Its own results are replaced.
        has_code(&mptcplab(folder.path(), &["--results", "results", SCENARIO]).output()?, 0)?;
    }
    Ok(())
}

fn there_are_as_many_jobs_as_fit_in() -> Result<(), Failed> {
    let folder = folder_with("nothing is replaced", "");
    let output = mptcplab(folder.path(), &["-j", "40000", SCENARIO]).output()?;
    has_code(&output, 0)?;
    let err = text(&output.stderr);
    assert!(err.contains("scenarios at a time, not 40000: "), "{err}");
    Ok(())
}

/// The program by way of a shell that does something first.
fn after(preparation: &str, folder: &Path) -> Result<std::process::Output, Failed> {
    let program = mptcplab(folder, &[]);
    let line = format!("{preparation}; exec {} --no-evidence {SCENARIO}", program.get_program().display());
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &line]).current_dir(folder).stdin(Stdio::null());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ok(command.output()?)
}

fn too_few_open_files_are_said() -> Result<(), Failed> {
    let folder = folder_with("nothing is replaced", "");
    for (limit, expected) in [
        ("ulimit -n 40", "error: running scenarios needs 96 open files, but the limit is 40 (RLIMIT_NOFILE)\n"),
        ("ulimit -v 300000", "error: running scenarios needs 512 MiB of address space, but the limit is "),
    ] {
        let output = after(limit, folder.path())?;
        has_code(&output, 3)?;
        assert!(text(&output.stderr).starts_with(expected), "{}", text(&output.stderr));
    }
    Ok(())
}

fn read_only_sysctls_are_not_the_kernels_fault() -> Result<(), Failed> {
    let folder = folder_with("nothing is replaced", "");
    let mount = "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys";
    let line = format!("{mount} && exec {} {SCENARIO}", env!("CARGO_BIN_EXE_mptcplab"));
    let output = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", &line])
        .current_dir(folder.path())
        .output()?;
    has_code(&output, 3)?;
    let err = text(&output.stderr);
    assert!(err.contains("/proc/sys is mounted read-only") && !err.contains("this kernel lacks"), "{err}");
    Ok(())
}

/// What fails fails; what fails after the program was stopped for a while, and so noticed too late whatever came, does
/// not.
fn a_run_that_was_stopped_is_no_failure() -> Result<(), Failed> {
    let folder = failing();
    let arguments = ["--no-evidence", "--format", "json", "--repeat", "8", "--jobs", "2", SCENARIO];
    let mut child = mptcplab(folder.path(), &arguments).stdout(Stdio::piped()).spawn()?;
    let process = Pid::from_raw(i32::try_from(child.id())?);
    let mut stopped = 0;
    // In the middle of runs, several times: one of them at least has taken its first step and not its last.
    while child.try_wait()?.is_none() && stopped < 6 {
        std::thread::park_timeout(std::time::Duration::from_millis(150));
        kill(process, Signal::SIGSTOP)?;
        std::thread::park_timeout(std::time::Duration::from_millis(400));
        kill(process, Signal::SIGCONT)?;
        stopped += 1;
    }
    let output = child.wait_with_output()?;
    let shown = text(&output.stdout);
    // Those that were not stopped fail, as they should.
    let errors: Vec<&str> = shown.lines().filter(|line| line.contains(r#""verdict":"error""#)).collect();
    let tells = |line: &&str| line.contains("stood still for") || line.contains("woke no thread for");
    if errors.is_empty() || !errors.iter().all(|line| line.contains(r#""kind":"stalled""#)) || !errors.iter().any(tells)
    {
        return Err(format!("no stall is told:\n{shown}").into());
    }
    Ok(())
}

/// One after the other: the second one disturbs the whole machine.
fn instances_wait_and_listeners_are_noticed() -> Result<(), Failed> {
    instances_wait_for_one_another()?;
    a_listener_during_a_run_is_an_error()
}

/// A scenario that needs the machine for itself, beside another instance whose scenarios listen all the time.
fn instances_wait_for_one_another() -> Result<(), Failed> {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let listening = ["--no-evidence", "-q", "--repeat", "6", "endpoints"];
    let mut other = mptcplab(&scenarios, &listening).stdout(Stdio::null()).spawn()?;
    let alone = ["--no-evidence", "-q", "--repeat", "3", "--require", "all", "userspace/no-echo.yaml"];
    let output = mptcplab(&scenarios, &alone).output()?;
    other.kill()?;
    other.wait()?;
    has_code(&output, 0)
}

/// Somebody who listens for a moment only: `ip mptcp monitor`, and mptcplab's own locks don't know of it.
fn a_listener_during_a_run_is_an_error() -> Result<(), Failed> {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let arguments = ["--no-evidence", "-q", "--repeat", "20", "--require", "all", "userspace/no-echo.yaml"];
    let mut child = mptcplab(&scenarios, &arguments).stdout(Stdio::piped()).spawn()?;
    let mut moments = 0;
    while child.try_wait()?.is_none() {
        std::thread::park_timeout(std::time::Duration::from_millis(70));
        let Ok(mut monitor) = std::process::Command::new("ip").args(["mptcp", "monitor"]).stdout(Stdio::null()).spawn()
        else {
            // Without iproute2, nobody listens.
            break;
        };
        std::thread::park_timeout(std::time::Duration::from_millis(60));
        moments += u32::from(monitor.try_wait()?.is_none());
        monitor.kill()?;
        monitor.wait()?;
    }
    let output = child.wait_with_output()?;
    let shown = text(&output.stdout);
    let seen = shown.contains("listens to path-manager events");
    if shown.contains("FAIL ") || moments > 2 && !seen {
        return Err(format!("a failure, or nothing noticed, with {moments} moments of listening:\n{shown}").into());
    }
    Ok(())
}
