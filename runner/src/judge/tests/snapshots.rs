//! The snapshot's file. insta is told by the environment how to work, so each case runs in a process of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::judge::{FindingKind, Verdict, canonical, settle_snapshot, snapshot_difference, snapshot_path, verdict};
use crate::recording::{LostWhat, Observation};
use crate::scenario::model::Feature;

use super::expectations::limits;
use super::fixture::Run;

const FOLDER: &str = "MPTCPLAB_TEST_FOLDER";
const TEXT: &str = "MPTCPLAB_TEST_TEXT";
/// Words of features: those that the kernel lacks, and those that are in the snapshot's name.
const LACKING: &str = "MPTCPLAB_TEST_LACKING";
const SNAPSHOT_BY: &str = "MPTCPLAB_TEST_SNAPSHOT_BY";
/// Where the child leaves its result: its stdout must stay free.
const RESULT: &str = "result";

/// Not a test of its own: what the children of the others do.
#[test]
#[ignore = "run by the other tests of this module, in a process of its own"]
fn child() {
    let folder = std::env::var(FOLDER).unwrap();
    let mut run = Run::empty();
    run.scenario.file = Path::new(&folder).join("demo.yaml");
    let words = |variable| std::env::var(variable).unwrap_or_default();
    let features = |variable| words(variable).split(' ').filter_map(Feature::from_word).collect();
    run.scenario.gates.lacking = features(LACKING);
    run.scenario.gates.snapshot_by = features(SNAPSHOT_BY);
    let result = settle_snapshot(&run.scenario, &std::env::var(TEXT).unwrap());
    let words = match result {
        Ok(()) => "ok".to_owned(),
        Err(finding) => format!("{:?}\n{}\n{}", finding.kind, finding.summary, finding.detail),
    };
    fs::write(Path::new(&folder).join(RESULT), words).unwrap();
}

/// What a process with this environment says about the snapshot of that text.
fn settle(folder: &Path, text: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "judge::tests::snapshots::child", "--ignored", "--nocapture"]);
    for variable in ["CI", "TF_BUILD", "INSTA_UPDATE", "INSTA_FORCE_PASS", "INSTA_PENDING_DIR"] {
        command.env_remove(variable);
    }
    command.env(FOLDER, folder).env(TEXT, text).env("INSTA_OUTPUT", "none").env("INSTA_WORKSPACE_ROOT", folder);
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for word in ["snapshot", "panicked", "insta"] {
        assert!(!said.replace("judge::tests::snapshots::child", "").contains(word), "insta talks: {said}");
    }
    let result = folder.join(RESULT);
    let words = fs::read_to_string(&result).unwrap();
    fs::remove_file(result).unwrap();
    words
}

fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder.join("snapshots")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn is(words: &str, kind: FindingKind) -> bool {
    words.starts_with(&format!("{kind:?}\n"))
}

#[test]
fn a_new_snapshot_waits_for_a_review() {
    let folder = tempfile::tempdir().unwrap();
    let words = settle(folder.path(), "one\ntwo\n", &[]);
    assert!(is(&words, FindingKind::SnapshotNew), "{words}");
    assert_eq!(files(folder.path()), ["demo.snap.new"]);
    let pending = fs::read_to_string(folder.path().join("snapshots/demo.snap.new")).unwrap();
    assert!(pending.contains("description: demo\n") && pending.ends_with("---\none\ntwo\n"), "{pending}");
    let words = settle(folder.path(), "one\ntwo\n", &[]);
    assert!(is(&words, FindingKind::SnapshotNew), "still not reviewed: {words}");
}

#[test]
fn an_accepted_snapshot_passes_until_something_changes() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(settle(folder.path(), "one\ntwo\nthree\n", &[("INSTA_UPDATE", "always")]), "ok");
    assert_eq!(files(folder.path()), ["demo.snap"]);
    assert_eq!(settle(folder.path(), "one\ntwo\nthree", &[]), "ok");
    let words = settle(folder.path(), "one\n2\nthree\n", &[]);
    assert!(is(&words, FindingKind::SnapshotChanged), "{words}");
    assert!(words.contains("-two\n+2\n"), "{words}");
    assert_eq!(files(folder.path()), ["demo.snap", "demo.snap.new"]);
    assert_eq!(settle(folder.path(), "one\ntwo\nthree\n", &[]), "ok");
    assert_eq!(files(folder.path()), ["demo.snap"], "the pending one is out of date");
    assert_eq!(settle(folder.path(), "one\n2\nthree\n", &[("INSTA_UPDATE", "always")]), "ok");
    assert_eq!(settle(folder.path(), "one\n2\nthree\n", &[]), "ok");
}

#[test]
fn ci_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for environment in [("CI", "true"), ("INSTA_UPDATE", "no")] {
        let words = settle(folder.path(), "one\n", &[environment]);
        assert!(is(&words, FindingKind::SnapshotNew), "{words}");
        assert_eq!(files(folder.path()), [""; 0]);
    }
}

#[test]
fn insta_can_t_be_talked_into_passing() {
    let folder = tempfile::tempdir().unwrap();
    let words = settle(folder.path(), "one\n", &[("INSTA_FORCE_PASS", "1")]);
    assert!(is(&words, FindingKind::SnapshotNew), "{words}");
    assert_eq!(settle(folder.path(), "one\n", &[("INSTA_UPDATE", "always")]), "ok");
    let words = settle(folder.path(), "two\n", &[("INSTA_FORCE_PASS", "1")]);
    assert!(is(&words, FindingKind::SnapshotChanged), "{words}");
}

#[test]
fn what_can_t_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = folder.path().join("snapshots");
    fs::create_dir(&snapshots).unwrap();
    fs::write(snapshots.join("demo.snap"), [0xff, 0xfe, 0xfd]).unwrap();
    let words = settle(folder.path(), "one\n", &[]);
    assert!(is(&words, FindingKind::Setup), "{words}");
    fs::write(snapshots.join("demo.snap"), "---\n: : [\n---\none\n").unwrap();
    let words = settle(folder.path(), "one\n", &[]);
    assert!(is(&words, FindingKind::Setup), "{words}");
}

#[test]
fn an_empty_observation_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let words = settle(folder.path(), "\n", &[("INSTA_UPDATE", "always")]);
    assert!(is(&words, FindingKind::Incomplete), "{words}");
    assert_eq!(files(folder.path()), [""; 0]);
}

#[test]
fn a_poorer_kernel_does_not_replace_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let always = ("INSTA_UPDATE", "always");
    let poorer = (LACKING, "laminar");
    let words = settle(folder.path(), "one\n", &[always, poorer]);
    assert!(is(&words, FindingKind::SnapshotNew) && words.contains("a kernel that has `laminar`"), "{words}");
    assert_eq!(files(folder.path()), [""; 0]);
    assert_eq!(settle(folder.path(), "one\ntwo\n", &[always]), "ok");
    let words = settle(folder.path(), "one\n", &[always, poorer]);
    assert!(is(&words, FindingKind::SnapshotChanged) && words.contains("which lacks `laminar`"), "{words}");
    assert_eq!(settle(folder.path(), "one\ntwo\n", &[poorer]), "ok", "what is the same is the same");
    let told = [always, poorer, (SNAPSHOT_BY, "laminar listener_events")];
    assert_eq!(settle(folder.path(), "one\n", &told), "ok");
    assert_eq!(files(folder.path()), ["demo.snap", "demo~no-laminar.snap"]);
    let words = settle(folder.path(), "one\ntwo\n", &told[1..]);
    assert!(is(&words, FindingKind::SnapshotChanged), "the variant is as strict: {words}");
    assert_eq!(settle(folder.path(), "one\ntwo\n", &[]), "ok", "the other one is untouched");
}

#[test]
fn the_file_is_beside_the_scenario() {
    let mut run = Run::empty();
    assert_eq!(snapshot_path(&run.scenario), Path::new("scenarios/snapshots/demo.snap"));
    run.scenario.variant = Some("ipv6/x".to_owned());
    assert_eq!(snapshot_path(&run.scenario), Path::new("scenarios/snapshots/demo@ipv6__x.snap"));
}

/// A good run, whose snapshot's file has that text.
fn run_with(folder: &Path, snapshot: &str) -> Run {
    let mut run = Run::good();
    run.scenario.file = folder.join("demo.yaml");
    fs::create_dir_all(folder.join("snapshots")).unwrap();
    fs::write(snapshot_path(&run.scenario), snapshot).unwrap();
    run
}

fn kept(text: &str) -> String {
    format!("---\nsource: a test\n---\n{text}\n")
}

#[test]
fn an_equal_snapshot_is_no_excuse_for_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let good = Run::good();
    let mut run = run_with(folder.path(), &kept(&canonical(&good.scenario, &good.recording)));
    assert_eq!(verdict(&run.scenario, &run.recording), Verdict::Passed);
    run.scenario.expect = limits(Some(1), None);
    assert!(matches!(verdict(&run.scenario, &run.recording), Verdict::Failed(_)));
    run.push(Observation::Lost { namespace: "client".to_owned(), what: LostWhat::Packets, count: None });
    assert!(matches!(verdict(&run.scenario, &run.recording), Verdict::Error(_)));
}

#[test]
fn a_snapshot_that_can_t_be_read_makes_the_run_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_with(folder.path(), "---\n: : [\n---\none\n");
    assert!(matches!(verdict(&run.scenario, &run.recording), Verdict::Error(_)));
}

#[test]
fn the_difference_is_told_without_touching_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_with(folder.path(), &kept("limits:\n  client: subflows 4"));
    assert_eq!(snapshot_difference(&run.scenario, "limits:\n  client: subflows 4\n"), None);
    let told = snapshot_difference(&run.scenario, "limits:\n  client: subflows 5\n").unwrap();
    assert!(told.contains("-  client: subflows 4\n+  client: subflows 5\n"), "{told}");
    assert_eq!(fs::read_to_string(snapshot_path(&run.scenario)).unwrap(), kept("limits:\n  client: subflows 4"));
}
