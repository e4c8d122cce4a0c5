//! The program as its users call it: help, exit codes, and what goes to which stream.

use std::process::{Command, Output, Stdio};

fn mptcplab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mptcplab"))
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        // The width that help is wrapped to.
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8 on standard output")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8 on standard error")
}

#[test]
fn help() {
    let output = mptcplab(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(stdout(&output));
}

#[test]
fn help_of_run() {
    insta::assert_snapshot!(stdout(&mptcplab(&["run", "--help"])));
}

#[test]
fn help_of_judge() {
    insta::assert_snapshot!(stdout(&mptcplab(&["judge", "--help"])));
}

#[test]
fn help_of_compare() {
    insta::assert_snapshot!(stdout(&mptcplab(&["compare", "--help"])));
}

#[test]
fn help_of_matrix() {
    insta::assert_snapshot!(stdout(&mptcplab(&["matrix", "--help"])));
}

#[test]
fn without_arguments_there_is_help_and_exit_code_2() {
    let output = mptcplab(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("Usage:"));
}

#[test]
fn wrong_usage_has_exit_code_2() {
    for arguments in [
        ["--warp", "9"],
        ["compare", "/nonexistent"],
        ["matrix", "/nonexistent"],
        ["judge", "/nonexistent"],
        ["check", "/nonexistent.yaml"],
        ["completions", "ed"],
    ] {
        let output = mptcplab(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).starts_with("error: "), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_bad_scenario_has_exit_code_2_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.yaml");
    std::fs::write(&file, "titel: a typing error\n").unwrap();
    for command in ["check", "run"] {
        let output = mptcplab(&[command, file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("bad.yaml"), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn completions_are_made_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = mptcplab(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("dry-run"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mptcplab"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
}

#[test]
fn colours_only_where_they_are_wanted() {
    assert!(!stderr(&mptcplab(&["check", "/nonexistent.yaml"])).contains('\u{1b}'));
    let forced = Command::new(env!("CARGO_BIN_EXE_mptcplab"))
        .args(["check", "/nonexistent.yaml"])
        .env("CLICOLOR_FORCE", "1")
        .env_remove("NO_COLOR")
        .output()
        .unwrap();
    assert!(stderr(&forced).contains('\u{1b}'));
}

#[test]
fn wrong_usage_never_looks_bad_to_git_bisect() {
    for arguments in
        [["run", "--bisect"].as_slice(), &["--bisect", "--warp", "x.yaml"], &["run", "--bisect", "--update", "x.yaml"]]
    {
        let output = mptcplab(arguments);
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(stderr(&output).starts_with("error: "), "{arguments:?}");
    }
    assert_eq!(mptcplab(&["run", "--bisect", "--help"]).status.code(), Some(0));
}
