use super::Exit;
use super::fake::{Fake, mptcplab_with};

/// The exit code for `git bisect run`, and the line that says why.
fn bisect_with(backend: &Fake, arguments: &[&str], files: &[&str]) -> (Exit, String) {
    let (exit, _, err) = mptcplab_with(backend, &[&["run", "--bisect", "-j1"], arguments].concat(), files);
    let line = err.lines().find(|line| line.starts_with("bisect: ")).unwrap_or_default();
    assert!(matches!(exit, Exit::Passed | Exit::Failed | Exit::Undecided), "{exit:?}");
    (exit, line.to_owned())
}

fn bisect(files: &[&str]) -> (Exit, String) {
    bisect_with(&Fake::default(), &["FOLDER"], files)
}

fn said(exit: Exit, line: &str) -> (Exit, String) {
    (exit, format!("bisect: {line}"))
}

#[test]
fn the_codes_are_those_of_git() {
    assert_eq!([Exit::Passed as u8, Exit::Failed as u8, Exit::Undecided as u8], [0, 1, 125]);
}

#[test]
fn good_and_bad() {
    assert_eq!(bisect(&["a.yaml"]), said(Exit::Passed, "good: 1 run passed"));
    assert_eq!(bisect(&["a_two.yaml", "b.yaml"]), said(Exit::Passed, "good: 3 runs passed"));
    assert_eq!(bisect(&["a.yaml", "b_fail.yaml"]), said(Exit::Failed, "bad: b_fail failed"));
    // What has failed has failed, whatever else could not be run.
    for other in ["c_skip.yaml", "c_trouble.yaml", "c_new.yaml"] {
        assert_eq!(bisect(&["b_fail.yaml", other]), said(Exit::Failed, "bad: b_fail failed"));
    }
}

#[test]
fn a_single_failure_of_many_runs_is_bad() {
    let repeated = |times: &str, file: &str| bisect_with(&Fake::default(), &["--repeat", times, "FOLDER"], &[file]);
    assert_eq!(repeated("2", "a_flaky.yaml"), said(Exit::Passed, "good: 2 runs passed"));
    assert_eq!(repeated("4", "a_flaky.yaml"), said(Exit::Failed, "bad: a_flaky failed"));
}

#[test]
fn what_was_not_judged_can_not_tell() {
    let lacking = "can't tell: c_skip was skipped: needs `laminar`: the flag is not kept";
    assert_eq!(bisect(&["c_skip.yaml"]), said(Exit::Undecided, lacking));
    let broken = "can't tell: c_trouble could not be run or trusted";
    assert_eq!(bisect(&["a.yaml", "c_trouble.yaml"]), said(Exit::Undecided, broken));
    assert_eq!(bisect(&["c_panic.yaml"]).0, Exit::Undecided);
    let new = "can't tell: c_new has no snapshot yet";
    assert_eq!(bisect(&["a.yaml", "c_new.yaml"]), said(Exit::Undecided, new));
}

#[test]
fn a_missing_feature_leaves_the_verdict_to_the_others() {
    let good = "good: 1 run passed, 2 skipped (b_two_skip@ipv4 was skipped: needs `laminar`: the flag is not kept)";
    assert_eq!(bisect(&["a.yaml", "b_two_skip.yaml"]), said(Exit::Passed, good));
    assert_eq!(bisect(&["a.yaml", "b_skip.yaml", "c_trouble.yaml"]).0, Exit::Undecided);
    assert_eq!(bisect(&["a_fail.yaml", "b_skip.yaml"]).0, Exit::Failed);
}

#[test]
fn what_was_not_run_can_not_tell() {
    let nothing = said(Exit::Undecided, "can't tell: the scenarios were not run");
    assert_eq!(bisect(&["bad.yaml"]), nothing);
    assert_eq!(bisect_with(&Fake::default(), &["nonexistent.yaml"], &[]), nothing);
    assert_eq!(bisect_with(&Fake { no_mptcp: true, ..Fake::default() }, &["FOLDER"], &["a.yaml"]), nothing);
    assert_eq!(bisect_with(&Fake { forbidden: true, ..Fake::default() }, &["FOLDER"], &["a.yaml"]), nothing);
    let interrupted = said(Exit::Undecided, "can't tell: the run was interrupted");
    assert_eq!(bisect(&["a_interrupt.yaml", "b.yaml"]), interrupted);
    // The one scenario is in one of the parts.
    let part = |part: &str| bisect_with(&Fake::default(), &["--shard", part, "FOLDER"], &["a.yaml"]).0;
    let parts = [part("1/2"), part("2/2")];
    assert!(parts.contains(&Exit::Passed) && parts.contains(&Exit::Undecided), "{parts:?}");
    let unwritten = bisect_with(&Fake::default(), &["--junit", "/proc/nonexistent", "FOLDER"], &["a.yaml"]);
    assert_eq!(unwritten.0, Exit::Undecided);
}

#[test]
fn the_kernels_own_trouble_is_bad() {
    let backend = Fake { late_trouble: vec!["BUG: x".to_owned()], ..Fake::default() };
    let bad = said(Exit::Failed, "bad: the kernel reported a problem of its own");
    assert_eq!(bisect_with(&backend, &["FOLDER"], &["a.yaml"]), bad);
}
