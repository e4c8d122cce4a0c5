//! Whose a kernel warning is that came while several scenarios were on.

use std::sync::Barrier;
use std::sync::atomic::Ordering;

use super::Exit;
use super::fake::{Fake, mptcplab_with};

/// A backend where the first runs of so many scenarios are on at the same time.
fn together(scenarios: usize) -> Fake {
    Fake { together: Some(Barrier::new(scenarios)), ..Fake::default() }
}

const WARNING: &str = "WARNING: CPU: N PID: 7 at net/mptcp/protocol.c:9 mptcp_close+0x1/0x2";

/// Processor numbers are as they happen to be.
fn blotted(text: &str) -> String {
    let mut parts = text.split("CPU: ");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| format!("CPU: N{}", part.trim_start_matches(|digit: char| digit.is_ascii_digit())));
    rest.fold(first, |text, part| text + &part)
}

#[test]
fn the_scenario_that_shows_a_warning_alone_fails_and_the_others_have_their_own_verdict() {
    let backend = together(3);
    let files = ["a_beside.yaml", "b_warns.yaml", "c_beside_fail.yaml", "d.yaml"];
    let (exit, out, err) = mptcplab_with(&backend, &["-j", "4", "FOLDER"], &files);
    assert_eq!((exit, err.as_str()), (Exit::Failed, ""));
    insta::assert_snapshot!(blotted(&out), @r"
    PASS a_beside (N ms)  the title of a_beside
      a kernel warning appeared during this run; b_warns, which ran at the time, triggers it alone
    FAIL b_warns (N ms)  the title of b_warns
    FAIL c_beside_fail (N ms)  the title of c_beside_fail
    PASS d (N ms)  the title of d

    FAIL b_warns (N ms)  the title of b_warns
      kernel: the kernel log has a warning, again when run alone: WARNING: CPU: N PID: 7 at net/mptcp/protocol.c:9 mptcp_close+0x1/0x2
          WARNING: CPU: N PID: 7 at net/mptcp/protocol.c:9 mptcp_close+0x1/0x2
      hint: see the kernel log for more: `dmesg`, or `--kernel-log FILE` for a virtual machine

    FAIL c_beside_fail (N ms)  the title of c_beside_fail
      a kernel warning appeared during this run; b_warns, which ran at the time, triggers it alone
      subflows: 2 expected, 1 observed

    4 runs in N ms: 2 passed, 2 failed
    ");
    assert_eq!(backend.runs.load(Ordering::Relaxed), 7);
}

#[test]
fn a_warning_that_no_scenario_shows_alone_fails_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (xml, results) = (folder.path().join("junit.xml"), folder.path().join("results"));
    let (xml, results) = (xml.to_str().unwrap(), results.to_str().unwrap());
    let arguments = ["-j", "3", "--junit", xml, "--results", results, "--format", "tap", "FOLDER"];
    let files = ["a_beside.yaml", "b_once.yaml", "c_beside.yaml"];
    let (exit, out, err) = mptcplab_with(&together(3), &arguments, &files);
    assert_eq!(exit, Exit::Failed);
    let said = format!("{WARNING} (while a_beside, b_once and c_beside ran; none of them alone reproduces it)");
    let err = blotted(&err);
    assert!(
        err.starts_with(&format!("error: the kernel reported a problem that belongs to no scenario: {said}\nhint: ")),
        "{err}"
    );
    assert_eq!(err.matches("error:").count(), 1, "{err}");
    let remark = "# a kernel warning appeared during this run; no scenario that ran at the time triggers it alone\n";
    assert_eq!(out.matches(remark).count(), 3, "{out}");
    assert!(out.contains("ok 2 b_once") && out.contains("Bail out! the kernel reported a problem of its own"), "{out}");
    let xml = blotted(&std::fs::read_to_string(xml).unwrap());
    assert!(xml.contains("the kernel&apos;s log") || xml.contains("the kernel's log"), "{xml}");
    assert!(xml.contains(&said), "{xml}");
    let stored = crate::results::read(results.as_ref()).unwrap();
    assert_eq!(stored.late_trouble.iter().map(|line| blotted(line)).collect::<Vec<_>>(), [said]);
}

#[test]
fn a_warning_that_no_scenario_shows_alone_is_bad_for_a_bisection() {
    let (exit, _, err) =
        mptcplab_with(&together(2), &["--bisect", "-j", "2", "FOLDER"], &["a_beside.yaml", "b_once.yaml"]);
    assert_eq!(exit, Exit::Failed, "{err}");
    assert!(err.contains("bisect: bad: the kernel reported a problem of its own"), "{err}");
}

#[test]
fn evidence_of_a_warning_that_belongs_to_no_scenario_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("evidence");
    let arguments = ["--evidence", target.to_str().unwrap(), "-j", "2", "FOLDER"];
    mptcplab_with(&together(2), &arguments, &["a_beside.yaml", "b_once.yaml"]);
    let cases: Vec<_> = std::fs::read_dir(&target).unwrap().map(|case| case.unwrap().path()).collect();
    assert_eq!(cases.len(), 2);
    let recording = std::fs::read_to_string(cases[0].join("recording.jsonl")).unwrap();
    assert!(recording.contains("mptcp_close") && recording.contains("ran_alone"), "{recording}");
    // Judged by itself, it isn't good.
    let arguments = ["judge", cases[0].to_str().unwrap()];
    let (exit, out, _) = mptcplab_with(&Fake::default(), &arguments, &[]);
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("but no scenario that ran at the time triggers it alone: WARNING"), "{out}");
}

#[test]
fn what_was_on_alone_is_not_run_again() {
    let backend = together(1);
    let (exit, out, _) = mptcplab_with(&backend, &["-j", "1", "FOLDER"], &["a.yaml", "b_warns.yaml"]);
    assert_eq!((exit, backend.runs.load(Ordering::Relaxed)), (Exit::Failed, 2));
    assert!(out.contains("kernel: the kernel log has a warning: WARNING"), "{out}");
}

#[test]
fn a_warning_ends_a_run_until_it_fails() {
    let backend = together(2);
    let arguments = ["--until-fail", "-j", "2", "FOLDER"];
    let (exit, _, err) = mptcplab_with(&backend, &arguments, &["a_beside.yaml", "b_once.yaml"]);
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("none of them alone reproduces it"), "{err}");
}
