//! Stored results, `compare`, `matrix` and `--bisect` as their users call them, with real scenarios on this kernel. Where
//! this kernel or user can't run scenarios, the tests are reported as ignored, with the reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Test;
use super::program::{self, has_code, mptcplab, text};

/// Has a transfer, an announcement, several subflows, and two variants.
const SCENARIO: &str = "fullmesh.yaml";

/// Asks for what no kernel has.
const SKIPPED: &str = include_str!("skipped.yaml");

/// What of the scenario the tests change.
const JOINS: &str = "MPTcpExtMPJoinSynRx: 4,";

/// The tests of this suite.
pub fn tests() -> Vec<Test> {
    let git = Command::new("git").arg("--version").output().is_ok();
    let no_git = (!git).then_some("no git");
    program::tests(&[
        ("two_runs_are_the_same", None, false, two_runs_are_the_same),
        ("a_change_is_never_the_same", None, false, a_change_is_never_the_same),
        ("what_is_skipped_is_not_compared", None, false, what_is_skipped_is_not_compared),
        (
            "the_running_kernel_is_compared_with_stored_results",
            None,
            false,
            the_running_kernel_is_compared_with_stored_results,
        ),
        ("a_matrix_runs_only_what_changed", None, false, a_matrix_runs_only_what_changed),
        ("an_interruption_ends_all_of_a_matrix", None, false, an_interruption_ends_all_of_a_matrix),
        ("bisecting_has_three_exit_codes", None, false, bisecting_has_three_exit_codes),
        ("git_bisect_finds_the_commit", no_git, false, git_bisect_finds_the_commit),
    ])
}

/// A folder with the scenario and all that belongs to it.
fn folder() -> tempfile::TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: PathBuf, to: &str| {
        let target = folder.path().join(to);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(from, target).unwrap();
    };
    copy(root.join("scenarios").join(SCENARIO), SCENARIO);
    for variant in ["ipv4", "ipv6"] {
        let name = format!("snapshots/fullmesh@{variant}.snap");
        copy(root.join("scenarios").join(&name), &name);
    }
    copy(root.join("fixtures/topologies/four-links.yaml"), "fixtures/topologies/four-links.yaml");
    folder
}

/// Replaces a text in a file that must have it.
fn change(file: &Path, text: &str, replacement: &str) {
    let content = fs::read_to_string(file).unwrap();
    assert!(content.contains(text), "{} lacks `{text}`", file.display());
    fs::write(file, content.replace(text, replacement)).unwrap();
}

/// Runs it to its end; its standard output.
fn call(folder: &Path, code: i32, arguments: &[&str]) -> Result<String, Failed> {
    let output = mptcplab(folder, arguments).output()?;
    has_code(&output, code).map(|()| text(&output.stdout))
}

fn two_runs_are_the_same() -> Result<(), Failed> {
    let folder = folder();
    for results in ["a", "b"] {
        call(folder.path(), 0, &["run", "--results", results, SCENARIO])?;
    }
    let out = call(folder.path(), 0, &["compare", "a", "b"])?;
    assert!(out.ends_with("\n2 scenarios: 2 same\n"), "{out}");
    // What is stored is what was observed.
    let canonical = fs::read_to_string(folder.path().join("a/scenarios/fullmesh@ipv4.txt"))?;
    assert!(canonical.contains("events of client:"), "{canonical}");
    call(folder.path(), 0, &["judge", "-q", "a/scenarios/fullmesh@ipv6.jsonl"])?;
    let index: serde_json::Value = serde_json::from_slice(&fs::read(folder.path().join("a/results.json"))?)?;
    assert_eq!(index["features"]["mptcp"], "yes");
    assert!(index["features"].get("laminar").is_some(), "{index}");
    assert_eq!(text(&Command::new("uname").arg("-r").output()?.stdout).trim(), index["kernel"]["release"]);
    Ok(())
}

fn a_change_is_never_the_same() -> Result<(), Failed> {
    let folder = folder();
    call(folder.path(), 0, &["run", "--results", "a", SCENARIO])?;
    // Of the scenario.
    change(&folder.path().join(SCENARIO), JOINS, "MPTcpExtMPJoinSynRx: 5,");
    call(folder.path(), 1, &["run", "--no-evidence", "--results", "b", SCENARIO])?;
    let out = call(folder.path(), 3, &["compare", "a", "b"])?;
    assert!(out.contains("CAN'T TELL fullmesh@ipv4 (the scenario itself changed"), "{out}");
    // Of its snapshot: what the kernel does is the same, the verdict isn't.
    call(folder.path(), 1, &["run", "--no-evidence", "--results", "a", SCENARIO])?;
    change(&folder.path().join(SCENARIO), "MPTcpExtMPJoinSynRx: 5,", JOINS);
    call(folder.path(), 0, &["run", "--no-evidence", "--results", "a", SCENARIO])?;
    change(&folder.path().join("snapshots/fullmesh@ipv6.snap"), "sub_established", "sub_demolished");
    call(folder.path(), 1, &["run", "--no-evidence", "--results", "b", SCENARIO])?;
    let out = call(folder.path(), 1, &["compare", "a", "b"])?;
    assert!(out.contains("DIFFERS fullmesh@ipv6 (passed → failed)"), "{out}");
    assert!(out.ends_with("\n2 scenarios: 1 same, 1 differ\n"), "{out}");
    // Of what is stored.
    change(&folder.path().join("b/scenarios/fullmesh@ipv4.txt"), "sub_established", "sub_demolished");
    call(folder.path(), 2, &["compare", "a", "b"])?;
    Ok(())
}

fn what_is_skipped_is_not_compared() -> Result<(), Failed> {
    let folder = folder();
    fs::write(folder.path().join("skipped.yaml"), SKIPPED)?;
    call(folder.path(), 4, &["run", "--results", "a", "skipped.yaml"])?;
    let out = call(folder.path(), 4, &["compare", "a", "a"])?;
    assert!(out.contains("SKIPPED ON BOTH skipped (needs `counter:MPTcpExtNobodyCounts`"), "{out}");
    Ok(())
}

fn the_running_kernel_is_compared_with_stored_results() -> Result<(), Failed> {
    let folder = folder();
    call(folder.path(), 0, &["run", "--results", "a", SCENARIO])?;
    let out = call(folder.path(), 0, &["compare", "running", "a", SCENARIO])?;
    assert!(out.starts_with("A: running, Linux ") && out.ends_with("\n2 scenarios: 2 same\n"), "{out}");
    Ok(())
}

fn a_matrix_runs_only_what_changed() -> Result<(), Failed> {
    let folder = folder();
    fs::write(folder.path().join("kernels.yaml"), format!("paths: [{SCENARIO}]\nkernels: [running]\n"))?;
    let matrix = |code: i32, how: &str| -> Result<(), Failed> {
        let out = call(folder.path(), code, &["matrix", "kernels.yaml"])?;
        assert!(out.starts_with("running: Linux ") && out.contains(how), "{out}");
        Ok(())
    };
    matrix(0, "), 2 run\n")?;
    matrix(0, "), all 2 re-used\n")?;
    change(&folder.path().join("snapshots/fullmesh@ipv6.snap"), "sub_established", "sub_demolished");
    matrix(1, "), 1 run, 1 re-used\n")?;
    change(&folder.path().join("snapshots/fullmesh@ipv6.snap"), "sub_demolished", "sub_established");
    change(&folder.path().join("fixtures/topologies/four-links.yaml"), "links:", "# a comment\nlinks:");
    matrix(0, "), 2 run\n")?;
    let out = call(folder.path(), 0, &["matrix", "kernels.yaml", "--markdown"])?;
    assert!(out.contains("\n| fullmesh@ipv4 | pass |\n"), "{out}");
    // Pending snapshots are for the developer's own kernel.
    let pending = fs::read_dir(folder.path().join("snapshots"))?
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "new"));
    assert_eq!(pending.count(), 0);
    Ok(())
}

fn an_interruption_ends_all_of_a_matrix() -> Result<(), Failed> {
    let folder = folder();
    // Long enough to be interrupted.
    change(&folder.path().join(SCENARIO), "quiet: 50 ms", "quiet: { period: 2 s, timeout: 20 s }");
    fs::write(folder.path().join("kernels.yaml"), format!("paths: [{SCENARIO}]\nkernels: [running]\n"))?;
    let child = mptcplab(folder.path(), &["matrix", "kernels.yaml"]).stderr(Stdio::piped()).spawn()?;
    let parent = child.id();
    let runs = || children(parent);
    wait_until("the scenarios run", || runs().len() == 1);
    let run = runs();
    kill(Pid::from_raw(i32::try_from(parent)?), Signal::SIGTERM)?;
    let output = child.wait_with_output()?;
    has_code(&output, 130)?;
    assert!(text(&output.stderr).contains("\ninterrupted"), "{}", text(&output.stderr));
    for pid in run {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is left");
    }
    let left = fs::read_dir(folder.path().join("cache/mptcplab"))?.count();
    assert_eq!(left, 0, "something temporary is left");
    Ok(())
}

fn children(parent: u32) -> Vec<String> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    list.split_whitespace().map(str::to_owned).collect()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !condition() {
        assert!(begin.elapsed().as_secs() < 20, "not even after 20 s: {what}");
        std::thread::yield_now();
    }
}

fn bisecting_has_three_exit_codes() -> Result<(), Failed> {
    let folder = folder();
    fs::write(folder.path().join("skipped.yaml"), SKIPPED)?;
    let bisect = |code: i32, arguments: &[&str]| {
        call(folder.path(), code, &[&["run", "--bisect", "--no-evidence"], arguments].concat())
    };
    bisect(0, &[SCENARIO])?;
    bisect(125, &["skipped.yaml"])?;
    bisect(0, &[SCENARIO, "skipped.yaml"])?;
    bisect(125, &["nothing.yaml"])?;
    bisect(125, &["--no-such-option", SCENARIO])?;
    change(&folder.path().join(SCENARIO), JOINS, "MPTcpExtMPJoinSynRx: 5,");
    bisect(1, &[SCENARIO])?;
    bisect(1, &[SCENARIO, "skipped.yaml"])?;
    change(&folder.path().join(SCENARIO), "MPTcpExtMPJoinSynRx: 5,", JOINS);
    fs::remove_file(folder.path().join("snapshots/fullmesh@ipv4.snap"))?;
    bisect(125, &[SCENARIO])?;
    Ok(())
}

/// The commits of a little repository stand for those of the kernel: from one of them on, a scenario fails; one can't be
/// tested.
fn git_bisect_finds_the_commit() -> Result<(), Failed> {
    let folder = folder();
    let git = |arguments: &[&str]| -> Result<String, Failed> {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        command.env("XDG_CACHE_HOME", folder.path().join("cache"));
        let output = command.args(arguments).current_dir(folder.path()).stdin(Stdio::null()).output()?;
        has_code(&output, 0).map(|()| text(&output.stdout))
    };
    let scenario = folder.path().join(SCENARIO);
    let commit = |message: &str| git(&["add", "-A"]).and_then(|_| git(&["commit", "-q", "-m", message]));
    git(&["init", "-q"])?;
    commit("1 good")?;
    fs::write(folder.path().join("notes"), "2")?;
    commit("2 good")?;
    change(&scenario, "title:", "titel:");
    commit("3 broken")?;
    change(&scenario, "titel:", "title:");
    fs::write(folder.path().join("notes"), "4")?;
    commit("4 good")?;
    change(&scenario, JOINS, "MPTcpExtMPJoinSynRx: 5,");
    commit("5 the first bad one")?;
    fs::write(folder.path().join("notes"), "6")?;
    commit("6 bad")?;
    git(&["bisect", "start", "HEAD", "HEAD~5"])?;
    let program = env!("CARGO_BIN_EXE_mptcplab");
    let out = git(&["bisect", "run", program, "run", "--bisect", "--no-evidence", SCENARIO])?;
    assert!(out.contains("is the first bad commit"), "{out}");
    let found = git(&["show", "-s", "--format=%s", "refs/bisect/bad"])?;
    assert_eq!(found.trim(), "5 the first bad one");
    Ok(())
}
