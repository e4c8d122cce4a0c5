//! What the command line makes of snapshots: `--update`, `--no-snapshot`, `--show-snapshot`.

use std::fs;
use std::path::Path;

use super::Exit;
use super::fake::{Fake, mptcplab, mptcplab_with};

/// A backend whose snapshots are in that folder.
fn backend(folder: &Path) -> Fake {
    Fake { snapshots: folder.to_owned(), ..Fake::default() }
}

fn run(backend: &Fake, arguments: &[&str], files: &[&str]) -> (Exit, String) {
    let (exit, out, err) = mptcplab_with(backend, &[&["run", "-j1", "FOLDER"], arguments].concat(), files);
    (exit, (out + &err).replace(&backend.snapshots.display().to_string(), "SNAPSHOTS"))
}

#[test]
fn an_update_says_what_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let (exit, said) = run(&backend(folder.path()), &["--update"], &["a_two.yaml", "b_fail.yaml"]);
    assert_eq!(exit, Exit::Failed);
    insta::assert_snapshot!(said, @r"
    PASS a_two@ipv4 (N ms)  the title of a_two
    PASS a_two@ipv6 (N ms)  the title of a_two
    FAIL b_fail (N ms)  the title of b_fail

    FAIL b_fail (N ms)  the title of b_fail
      subflows: 2 expected, 1 observed
    new snapshot SNAPSHOTS/snapshots/a_two@ipv4.snap: 2 lines
    new snapshot SNAPSHOTS/snapshots/a_two@ipv6.snap: 2 lines

    3 runs in N ms: 2 passed, 1 failed
    ");
    assert!(!folder.path().join("snapshots/b_fail.snap").exists());
    let (_, said) = run(&backend(folder.path()), &["--update", "-q"], &["a_two.yaml"]);
    assert_eq!(said, "2 unchanged snapshots\n");
    // Another kernel has other limits.
    let other = Fake { image: "new".to_owned(), ..backend(folder.path()) };
    let (_, said) = run(&other, &["--update", "-q", "--repeat", "3"], &["differ.yaml"]);
    assert_eq!(said, "new snapshot SNAPSHOTS/snapshots/differ.snap: 2 lines, the same in 3 runs\n");
    let (_, said) = run(&backend(folder.path()), &["--update", "-q", "--repeat", "2"], &["differ.yaml"]);
    assert_eq!(said, "updated snapshot SNAPSHOTS/snapshots/differ.snap: 1 line added, 1 removed, the same in 2 runs\n");
}

#[test]
fn runs_that_differ_update_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let repeated = ["--update", "--repeat", "4"];
    let (exit, said) = run(&backend(folder.path()), &repeated, &["a_unlike.yaml"]);
    assert_eq!(exit, Exit::Failed, "{said}");
    assert!(said.contains("FAIL a_unlike (3 of 4 runs passed"), "{said}");
    assert!(said.contains("snapshot changed: this run differs from the first one"), "{said}");
    assert!(said.contains("1 snapshot not updated: not all 4 runs were alike"), "{said}");
    assert!(!folder.path().join("snapshots").exists());
    // One that failed leaves the others without a snapshot, too.
    let (exit, said) = run(&backend(folder.path()), &repeated, &["a_flaky.yaml"]);
    assert_eq!(exit, Exit::Failed, "{said}");
    assert!(!folder.path().join("snapshots").exists());
}

#[test]
fn a_folder_that_can_t_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("snapshots"), "a file").unwrap();
    let (exit, said) = run(&backend(folder.path()), &["--update"], &["a.yaml"]);
    assert_eq!(exit, Exit::Environment, "{said}");
    assert!(said.contains("ERROR a ") && !said.contains("accept it with"), "{said}");
}

#[test]
fn an_update_has_an_end() {
    let refused = |arguments: &[&str]| {
        use clap::Parser as _;
        super::args::Cli::try_parse_from([&["mptcplab", "run", "a.yaml"], arguments].concat()).unwrap_err().to_string()
    };
    for arguments in
        [&["--update", "--until-fail"] as &[&str], &["--update", "--no-snapshot"], &["--results", "r", "--no-snapshot"]]
    {
        assert!(refused(arguments).contains("cannot be used with"), "{arguments:?}");
    }
}

#[test]
fn without_a_snapshot_it_says_so() {
    let (exit, out, _) = mptcplab(&["run", "--no-snapshot", "FOLDER"], &["a.yaml", "b_fail.yaml"]);
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("PASS a (N ms; without a snapshot)  the title of a\n"), "{out}");
    assert!(out.ends_with("2 runs in N ms: 1 passed without a snapshot, 1 failed\n"), "{out}");
    let (_, out, _) = mptcplab(&["run", "--no-snapshot", "--json", "FOLDER"], &["a.yaml"]);
    let line: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&line["verdict"], &line["snapshot"]), (&"passed".into(), &"not_compared".into()));
}

#[test]
fn without_a_snapshot_it_says_so_even_if_it_is_quiet() {
    let (exit, out, _) = mptcplab(&["run", "--no-snapshot", "-q", "FOLDER"], &["a.yaml"]);
    assert_eq!((exit, out.as_str()), (Exit::Passed, "1 run in N ms: 1 passed without a snapshot\n"));
    let (_, out, _) = mptcplab(&["run", "--no-snapshot", "-q", "--repeat", "2", "FOLDER"], &["a.yaml", "b_fail.yaml"]);
    assert!(out.ends_with("4 runs in N ms: 2 passed without a snapshot, 2 failed\n"), "{out}");
    let (_, out, _) = mptcplab(&["run", "-q", "FOLDER"], &["a.yaml"]);
    assert_eq!(out, "");
}

#[test]
fn a_new_snapshot_is_shown_when_it_is_asked_for() {
    for quiet in [&[] as &[&str], &["-q"]] {
        let (exit, out, _) = mptcplab(&[&["run", "FOLDER"], quiet].concat(), &["c_new.yaml"]);
        assert_eq!(exit, Exit::Failed);
        assert!(!out.contains("the text of it"), "{out}");
        let (_, out, _) = mptcplab(&[&["run", "--show-snapshot", "FOLDER"], quiet].concat(), &["c_new.yaml"]);
        assert!(out.contains("\n  the text of it\n"), "{out}");
    }
}
