//! Running many: repetitions, parts, interruptions, evidence, and the formats for other programs.

use std::path::Path;

use super::Exit;
use super::fake::{Fake, MIXED, mptcplab, mptcplab_with};

/// What a TAP consumer gets out of a stream, or why it isn't one.
#[derive(Debug, Default, PartialEq)]
struct Tap {
    passed: Vec<String>,
    failed: Vec<String>,
    skipped: Vec<String>,
    bailed_out: Option<String>,
    comments: Vec<String>,
}

/// A strict reader of TAP 13, written from its specification.
fn read_tap(text: &str) -> Result<Tap, String> {
    let (mut tap, mut planned, mut tests) = (Tap::default(), None, 0);
    let mut lines = text.lines();
    if lines.next() != Some("TAP version 13") {
        return Err("no version".to_owned());
    }
    for line in lines {
        if let Some(comment) = line.strip_prefix('#') {
            tap.comments.push(comment.trim().to_owned());
        } else if let Some(reason) = line.strip_prefix("Bail out!") {
            tap.bailed_out = Some(reason.trim().to_owned());
        } else if let Some(plan) = line.strip_prefix("1..") {
            let plan: usize = plan.parse().map_err(|_| format!("a plan: {line}"))?;
            if planned.replace(plan).is_some() {
                return Err("a second plan".to_owned());
            }
        } else {
            let (ok, rest) = match line.strip_prefix("not ok ") {
                Some(rest) => (false, rest),
                None => (true, line.strip_prefix("ok ").ok_or_else(|| format!("no line of TAP: {line}"))?),
            };
            tests += 1;
            let (number, rest) = rest.split_once(' ').ok_or_else(|| format!("no name: {line}"))?;
            if number.parse() != Ok(tests) {
                return Err(format!("out of order: {line}"));
            }
            let (name, directive) = rest.split_once(" # ").map_or((rest, ""), |(name, directive)| (name, directive));
            let list = match (ok, directive.starts_with("SKIP")) {
                (true, true) => &mut tap.skipped,
                (true, false) => &mut tap.passed,
                (false, _) => &mut tap.failed,
            };
            list.push(name.to_owned());
        }
    }
    match planned {
        Some(planned) if planned == tests || tap.bailed_out.is_some() => Ok(tap),
        planned => Err(format!("planned {planned:?}, but there are {tests}")),
    }
}

#[test]
fn tap_is_read_by_others() {
    let (exit, out, err) = mptcplab(&["--format", "tap", "FOLDER"], &MIXED);
    assert_eq!(exit, Exit::Failed);
    let tap = read_tap(&out).unwrap();
    assert_eq!(tap.passed, ["a_two@ipv4", "a_two@ipv6", "d_alone"]);
    assert_eq!((tap.failed, tap.skipped), (vec!["b_fail".to_owned()], vec!["c_skip".to_owned()]));
    assert_eq!(tap.comments[0], "subflows: 2 expected, 1 observed");
    assert_eq!(tap.comments.last().unwrap(), "Totals: pass:3 fail:1 xfail:0 xpass:0 skip:1 error:0");
    assert_eq!(tap.bailed_out, None);
    assert!(err.contains("5 runs"), "{err}");
}

#[test]
fn tap_says_when_tests_are_missing() {
    let files = ["a_fail.yaml", "b.yaml", "c.yaml"];
    let (_, out, _) = mptcplab(&["--format", "tap", "--fail-fast", "-j", "1", "FOLDER"], &files);
    let tap = read_tap(&out).unwrap();
    assert_eq!(tap.bailed_out.unwrap(), "stopped after the first failure");
}

#[test]
fn junit_is_read_by_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("junit.xml").display().to_string();
    let (exit, ..) = mptcplab(&["--junit", &file, "FOLDER"], &MIXED);
    assert_eq!(exit, Exit::Failed);
    let xml = std::fs::read_to_string(&file).unwrap();
    let document = roxmltree::Document::parse(&xml).unwrap();
    let root = document.root_element();
    let count = |name: &str| root.attribute(name).unwrap().to_owned();
    assert_eq!((root.tag_name().name(), count("tests"), count("failures")), ("testsuites", "5".into(), "1".into()));
    let cases: Vec<roxmltree::Node<'_, '_>> =
        document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    let names: Vec<&str> = cases.iter().map(|case| case.attribute("name").unwrap()).collect();
    assert_eq!(names, ["a_two@ipv4", "a_two@ipv6", "b_fail", "c_skip", "d_alone"]);
    let children: Vec<Vec<&str>> = cases
        .iter()
        .map(|case| case.children().filter(roxmltree::Node::is_element).map(|node| node.tag_name().name()).collect())
        .collect();
    assert_eq!(children[2][0], "failure");
    assert_eq!(children[3][0], "skipped");
    assert!(!children[4].contains(&"failure"));
    let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
    assert_eq!(failure.attribute("type"), Some("subflows"));
    assert!(failure.text().unwrap().contains("2 expected, 1 observed"));
}

#[test]
fn a_report_of_a_run_that_was_cut_short_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("junit.xml").display().to_string();
    let files = ["a_fail.yaml", "b.yaml"];
    mptcplab(&["--junit", &file, "--fail-fast", "-j", "1", "FOLDER"], &files);
    let xml = std::fs::read_to_string(&file).unwrap();
    let document = roxmltree::Document::parse(&xml).unwrap();
    let error = document.descendants().find(|node| node.has_tag_name("error")).unwrap();
    assert_eq!(error.attribute("message"), Some("stopped after the first failure: 1 run not started"));
}

#[test]
fn a_report_that_cannot_be_written_is_no_pass() {
    let (exit, _, err) = mptcplab(&["--junit", "/nonexistent/junit.xml", "FOLDER"], &["a.yaml"]);
    assert_eq!(exit, Exit::Environment);
    assert!(err.contains("can't write the results to `/nonexistent/junit.xml`: No such file"), "{err}");
}

#[test]
fn a_file_of_variants_tells_the_story_of_the_first_and_says_so() {
    let (exit, out, _) = mptcplab(&["FOLDER"], &["a_two.yaml"]);
    assert_eq!(exit, Exit::Passed);
    assert!(out.starts_with("PASS a_two@ipv4 (N ms)  the title of a_two\nPASS a_two@ipv6"), "{out}");
    assert!(out.contains("the title of a_two\nvariant ipv4\n"), "{out}");
    assert_eq!(out.matches("┌ client").count(), 1, "{out}");
    let (_, out, _) = mptcplab(&["FOLDER"], &["a_two.yaml", "b.yaml"]);
    assert!(!out.contains("┌ client"), "{out}");
}

#[test]
fn a_file_of_variants_tells_the_story_of_the_one_that_failed() {
    let (exit, out, _) = mptcplab(&["FOLDER"], &["a_two_last.yaml"]);
    assert_eq!(exit, Exit::Failed);
    assert_eq!(out.matches("┌ client").count(), 1, "{out}");
    let (_, story) = out.split_once("the title of a_two_last\nvariant ipv6\n").unwrap();
    assert!(story.contains("┌ client") && story.contains("\nFAIL a_two_last@ipv6"), "{out}");
}

#[test]
fn a_flaky_scenario_shows_where_it_departs() {
    let (exit, out, _) = mptcplab(&["--repeat", "5", "-j", "1", "FOLDER"], &["a_flaky.yaml"]);
    assert_eq!(exit, Exit::Failed);
    insta::assert_snapshot!(out.replace("N ms to N ms", "N ms"), @r"
    FAIL a_flaky (4 of 5 runs passed, N ms)  the title of a_flaky

    FAIL a_flaky (run 3 of 5) (N ms)  the title of a_flaky
      subflows: 2 expected, 1 observed
      it differs from a passing run (-) here (+):
        step 1, at N ms:
        - done
        + timed out waiting for 2 subflows; 1

    5 runs in N ms: 4 passed, 1 failed
    ");
}

#[test]
fn until_fail_ends_with_the_first_failure() {
    let backend = Fake::default();
    let (exit, out, _) = mptcplab_with(&backend, &["--until-fail", "-j", "1", "FOLDER"], &["a_flaky.yaml"]);
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("FAIL a_flaky (2 of 3 runs passed"), "{out}");
    assert!(out.contains("3 runs in N ms: 2 passed, 1 failed\n"), "{out}");
}

#[test]
fn until_fail_can_have_an_end() {
    let (exit, out, _) = mptcplab(&["--until-fail", "--repeat", "4", "FOLDER"], &["a.yaml"]);
    assert_eq!(exit, Exit::Passed);
    assert!(out.contains("4 runs in N ms: 4 passed\n"), "{out}");
}

#[test]
fn parts_share_the_scenarios() {
    let files: Vec<String> = (0..20).map(|number| format!("s{number:02}.yaml")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let part = |part: &str| {
        let (exit, out, _) = mptcplab(&["--list", "--shard", part, "FOLDER"], &files);
        assert_eq!(exit, Exit::Passed);
        out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (first, second) = (part("1/2"), part("2/2"));
    let mut all = [first.clone(), second.clone()].concat();
    all.sort();
    assert_eq!(all.len(), 20);
    assert!(first.len() > 2 && second.len() > 2, "{first:?}");
}

#[test]
fn an_interruption_is_never_a_pass() {
    let files = ["a_interrupt.yaml", "b.yaml", "c.yaml"];
    let (exit, out, err) = mptcplab(&["-j", "1", "FOLDER"], &files);
    assert_eq!(exit, Exit::Interrupted);
    assert!(out.starts_with("PASS a_interrupt"), "{out}");
    assert!(out.contains("not run: interrupted"), "{out}");
    assert!(err.starts_with("interrupted"), "{err}");
    let (exit, out, _) = mptcplab(&["--format", "tap", "-j", "1", "FOLDER"], &files);
    assert_eq!(exit, Exit::Interrupted);
    assert_eq!(read_tap(&out).unwrap().bailed_out.unwrap(), "interrupted");
    let (exit, _, err) = mptcplab(&["explain", "FOLDER"], &files);
    assert_eq!((exit, err.as_str()), (Exit::Interrupted, "interrupted: 2 scenarios not run\n"));
}

#[test]
fn what_the_kernel_says_afterwards_is_a_failure() {
    let backend = Fake { late_trouble: vec!["[    1.000000] BUG: x".to_owned()], ..Fake::default() };
    let (exit, _, err) = mptcplab_with(&backend, &["FOLDER"], &["a.yaml"]);
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("the kernel reported a problem while no scenario ran: [    1.000000] BUG: x"), "{err}");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn evidence_is_kept_of_failures_only() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("evidence");
    let arguments = ["--evidence", target.to_str().unwrap(), "FOLDER"];
    mptcplab(&arguments, &["a.yaml", "c_skip.yaml"]);
    assert!(!target.exists());
    let (_, out, _) = mptcplab(&arguments, &MIXED);
    let [only] = names(&target).try_into().unwrap();
    assert!(only.ends_with("b_fail"), "{only}");
    assert!(out.contains(&format!("  evidence: {}\n", target.join(only).display())), "{out}");
    // Another time, another folder.
    mptcplab(&arguments, &["b_fail.yaml"]);
    assert_eq!(names(&target).len(), 2);
}

#[test]
fn evidence_that_cannot_be_kept_is_told() {
    let (exit, _, err) = mptcplab(&["--evidence", "/proc/nonexistent", "FOLDER"], &["b_fail.yaml"]);
    assert_eq!(exit, Exit::Failed);
    assert!(err.starts_with("error: can't create the folder `/proc/nonexistent` for evidence: "), "{err}");
}

#[test]
fn of_many_runs_the_slowest_and_the_skipped_are_told_again() {
    let mut files: Vec<String> = (0..20).map(|number| format!("s{number:02}.yaml")).collect();
    files.push("t_skip.yaml".to_owned());
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let (_, out, _) = mptcplab(&["FOLDER"], &files);
    let tail: Vec<&str> = out.lines().skip(21).collect();
    assert_eq!(tail[0], "skipped: t_skip (needs `laminar`: the flag is not kept)");
    assert!(tail[1].starts_with("slowest: s"), "{tail:?}");
    assert_eq!(tail[2], "21 runs in N ms: 20 passed, 1 skipped");
}
