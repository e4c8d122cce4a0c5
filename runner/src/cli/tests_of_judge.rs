//! `mptcplab judge`: several recordings, and another scenario than the recorded one.

use std::path::Path;

use super::Exit;
use super::fake::{Fake, mptcplab, mptcplab_with};

/// Recordings of these scenarios in that folder.
fn record(folder: &Path, files: &[&str]) {
    let (_, _, err) = mptcplab(&["run", "-q", "--record", folder.join("r").to_str().unwrap(), "FOLDER"], files);
    assert_eq!(err, "");
}

fn judge(backend: &Fake, folder: &Path, arguments: &[&str], files: &[&str]) -> (Exit, String, String) {
    let recordings = folder.join("r").display().to_string();
    let arguments: Vec<String> = arguments.iter().map(|argument| argument.replace("RECORDINGS", &recordings)).collect();
    let arguments: Vec<&str> = std::iter::once("judge").chain(arguments.iter().map(String::as_str)).collect();
    let (exit, out, err) = mptcplab_with(backend, &arguments, files);
    let short = |text: String| text.replace(&recordings, "RECORDINGS");
    (exit, short(out), short(err))
}

#[test]
fn a_folder_stands_for_its_recordings() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &["a_two.yaml", "b_fail.yaml"]);
    std::fs::write(folder.path().join("r/notes.txt"), "").unwrap();
    std::fs::create_dir(folder.path().join("r/more")).unwrap();
    std::fs::copy(folder.path().join("r/a_two@ipv4.jsonl"), folder.path().join("r/more/again.jsonl")).unwrap();
    let (exit, out, err) = judge(&Fake::default(), folder.path(), &["RECORDINGS"], &[]);
    assert_eq!(exit, Exit::Failed);
    insta::assert_snapshot!(out, @r"
    PASS a_two@ipv4 (N ms)  the title of a_two
    PASS a_two@ipv6 (N ms)  the title of a_two
    FAIL b_fail (N ms)  the title of b_fail
      subflows: 2 expected, 1 observed
    PASS a_two@ipv4 (N ms)  the title of a_two
    4 runs in N ms: 3 passed, 1 failed
    ");
    assert_eq!(err.lines().count(), 4, "{err}");
    assert!(err.starts_with("RECORDINGS/a_two@ipv4.jsonl: judged by the scenario in the recording; "), "{err}");
    let two = ["RECORDINGS/b_fail.jsonl", "RECORDINGS/a_two@ipv4.jsonl", "-q"];
    let (exit, out, err) = judge(&Fake::default(), folder.path(), &two, &[]);
    assert_eq!((exit, out.lines().count(), err.as_str()), (Exit::Failed, 2, ""), "{out}");
}

#[test]
fn a_bad_recording_keeps_no_other_from_being_judged() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &["a_two.yaml"]);
    std::fs::write(folder.path().join("r/a.jsonl"), "").unwrap();
    let (exit, out, err) = judge(&Fake::default(), folder.path(), &["RECORDINGS"], &[]);
    assert_eq!(exit, Exit::Usage);
    assert!(out.ends_with("2 runs in N ms: 2 passed\n"), "{out}");
    assert!(err.contains("`RECORDINGS/a.jsonl` is not a valid recording"), "{err}");
    assert!(err.ends_with("error: 1 of 3 recordings can't be judged\n"), "{err}");
    let (exit, _, err) = judge(&Fake::default(), folder.path(), &["FOLDER"], &["a.yaml"]);
    assert_eq!(exit, Exit::Usage);
    assert!(err.starts_with("error: no recording (`*.jsonl`) in `FOLDER`"), "{err}");
}

#[test]
fn another_scenario_judges() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &["a_two.yaml", "c_fail.yaml"]);
    let backend = Fake::default();
    // Whatever is in the recording: the one that is named decides.
    let arguments = ["RECORDINGS/a_two@ipv6.jsonl", "--scenario", "FOLDER/b_two_fail.yaml"];
    let (exit, out, err) = judge(&backend, folder.path(), &arguments, &["b_two_fail.yaml"]);
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("FAIL b_two_fail@ipv6 "), "{out}");
    let used = "RECORDINGS/a_two@ipv6.jsonl: judged by b_two_fail, not by the scenario in the recording\n";
    assert_eq!(err, used);
    // Of a folder it is the file of the same name.
    let arguments = ["RECORDINGS", "--scenario", "FOLDER", "-q"];
    let (exit, out, err) = judge(&backend, folder.path(), &arguments, &["a_two.yaml", "b_two.yaml", "c_fail.yaml"]);
    assert_eq!((exit, err.as_str()), (Exit::Failed, ""));
    assert!(out.starts_with("FAIL c_fail ") && out.lines().count() == 2, "{out}");
    let arguments = ["RECORDINGS/c_fail.jsonl", "--scenario", "FOLDER"];
    let (exit, _, err) = judge(&backend, folder.path(), &arguments, &["a_two.yaml"]);
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("`--scenario` contains no scenario that matches the recorded `c_fail`"), "{err}");
}

#[test]
fn other_steps_are_another_run() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &["a_two.yaml"]);
    let arguments = ["RECORDINGS/a_two@ipv4.jsonl", "--scenario", "FOLDER/b_two_stepless.yaml"];
    let (exit, _, err) = judge(&Fake::default(), folder.path(), &arguments, &["b_two_stepless.yaml"]);
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("doesn't do what was recorded of `a_two@ipv4`: run it again"), "{err}");
}

#[test]
fn an_update_needs_a_scenario() {
    use clap::Parser as _;
    let refused = super::args::Cli::try_parse_from(["mptcplab", "judge", "r.jsonl", "--update"]).unwrap_err();
    assert!(refused.to_string().contains("--scenario"), "{refused}");
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &["a_two.yaml"]);
    let backend = Fake { snapshots: folder.path().to_owned(), ..Fake::default() };
    let arguments = ["RECORDINGS/a_two@ipv4.jsonl", "-q", "--update", "--scenario", "FOLDER/a_two.yaml"];
    let (exit, out, _) = judge(&backend, folder.path(), &arguments, &["a_two.yaml"]);
    assert_eq!(exit, Exit::Passed);
    assert!(out.starts_with("new snapshot ") && out.ends_with("snapshots/a_two@ipv4.snap: 2 lines\n"), "{out}");
}
