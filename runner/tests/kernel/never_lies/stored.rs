//! The program itself: a stored recording gets the verdict that the run got.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::workshop::{Desk, GOOD, Test, Workshop, replaced};

pub fn all() -> Vec<(&'static str, Test)> {
    vec![
        ("stored::a_pass_passes_again", Box::new(a_pass)),
        ("stored::a_failure_fails_again", Box::new(a_failure)),
        ("stored::half_a_recording_is_no_pass", Box::new(half)),
        ("stored::insta_has_no_say", Box::new(insta)),
        ("stored::nothing_is_written_through_links", Box::new(links)),
        ("stored::a_folder_behind_a_link_is_left_alone", Box::new(folder_behind_a_link)),
    ]
}

fn mptcplab(arguments: &[&str], file: &Path, record: Option<&Path>) -> Result<Output, Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mptcplab"));
    command.args(arguments).arg(file);
    if let Some(record) = record {
        command.arg("--record").arg(record);
    }
    Ok(command.output()?)
}

/// The one line of JSON, without what differs from run to run.
fn report(output: &Output) -> Result<Value, Failed> {
    let text = std::str::from_utf8(&output.stdout)?;
    assert_eq!(text.lines().count(), 1, "{text}");
    let mut report: Value = serde_json::from_str(text)?;
    let object = report.as_object_mut().ok_or("the report is no object")?;
    assert!(object.remove("duration_ms").is_some_and(|duration| duration.is_number()), "{text}");
    Ok(report)
}

/// The report must be bad, for this reason. On a machine that stood still meanwhile, it is shown below the stall, as for
/// [`super::workshop::assert_found`].
fn assert_reported(code: Option<i32>, report: &Value, kind: &str) {
    let findings = report["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let kinds: Vec<&Value> = findings.iter().map(|finding| &finding["kind"]).collect();
    let bad = match code {
        Some(1) => report["verdict"] == "failed",
        Some(3) => report["verdict"] == "error" && kinds.first().is_some_and(|first| *first == "stalled"),
        _ => false,
    };
    assert!(bad && kinds.iter().any(|found| *found == kind), "`{kind}` was to be found: {code:?} {report:#}");
}

/// The same recording of a run that stood still in its first step.
fn stalled(recording: &str) -> Result<String, Failed> {
    let begin = recording.lines().find(|line| line.contains("\"type\":\"step_started\"")).ok_or("no step")?;
    let at = &serde_json::from_str::<Value>(begin)?["at"];
    let stall = json!({ "at": at, "type": "stalled", "whose": { "what": "run" }, "lasted": 300_000_000 });
    Ok(replaced(recording, begin, &format!("{begin}\n{stall}")))
}

/// Runs and records, judges the recording, and compares. Returns exit code and report.
fn both(desk: &Desk) -> Result<(Option<i32>, Value), Failed> {
    let recording = desk.path().join("recording.jsonl");
    let live = mptcplab(&["run", "--json"], &desk.file(), Some(&recording))?;
    let stored = mptcplab(&["judge", "--json"], &recording, None)?;
    assert_eq!(live.status.code(), stored.status.code(), "{live:?} {stored:?}");
    assert_eq!(report(&live)?, report(&stored)?);
    // Nothing but the recording is needed: not the topology either.
    fs::remove_dir_all(desk.path().join("topologies"))?;
    let alone = mptcplab(&["judge", "--json"], &recording, None)?;
    assert_eq!(report(&alone)?, report(&stored)?);
    Ok((live.status.code(), report(&live)?))
}

fn a_pass(workshop: &Workshop) -> Result<(), Failed> {
    let desk = Desk::new(GOOD)?.with_snapshot(&workshop.good()?.canonical)?;
    let (code, report) = both(&desk)?;
    assert_eq!((code, &report["verdict"]), (Some(0), &Value::from("passed")), "{report:#}");
    Ok(())
}

fn a_failure(workshop: &Workshop) -> Result<(), Failed> {
    let text = replaced(GOOD, "MPTcpExtMPJoinSynRx: 2", "MPTcpExtMPJoinSynRx: 3");
    let desk = Desk::new(&text)?.with_snapshot(&workshop.good()?.canonical)?;
    let (code, report) = both(&desk)?;
    assert_reported(code, &report, "counter");
    Ok(())
}

/// Between two lines it is a recording that was cut off; within a line it is none.
fn half(workshop: &Workshop) -> Result<(), Failed> {
    let desk = Desk::new(GOOD)?.with_snapshot(&workshop.good()?.canonical)?;
    let recording = desk.path().join("recording.jsonl");
    let live = mptcplab(&["run", "--quiet"], &desk.file(), Some(&recording))?;
    assert_eq!(live.status.code(), Some(0), "{live:?}");
    let text = fs::read_to_string(&recording)?;
    let line_end = text[..text.len() / 2].rfind('\n').ok_or("a recording of one line")?;
    for (length, code, words) in
        [(line_end + 1, 3, "cut off"), (line_end - 3, 2, "is not a valid recording"), (0, 2, "is empty")]
    {
        fs::write(&recording, &text.as_bytes()[..length])?;
        let output = mptcplab(&["judge"], &recording, None)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "`{words}` is to be in: {said}");
    }
    Ok(())
}

/// Configuration of insta that would accept everything: in files, and in the environment.
fn insta(workshop: &Workshop) -> Result<(), Failed> {
    let canonical = &workshop.good()?.canonical;
    for finding in ["snapshot changed", "snapshot new"] {
        let mut desk = Desk::new(GOOD)?;
        if finding == "snapshot changed" {
            desk = desk.with_snapshot(&replaced(
                canonical,
                "add_addr_accepted 1 subflows 2",
                "add_addr_accepted 2 subflows 2",
            ))?;
        }
        let recording = desk.path().join("recording.jsonl");
        mptcplab(&["run", "--quiet", "--no-snapshot"], &desk.file(), Some(&recording))?;
        fs::write(desk.path().join("stalled.jsonl"), stalled(&fs::read_to_string(&recording)?)?)?;
        fs::create_dir(desk.path().join(".config"))?;
        for name in [".insta.yaml", "insta.yaml", ".config/insta.yaml"] {
            fs::write(desk.path().join(name), "behavior:\n  force_update: true\ntest:\n  update: always\n")?;
        }
        let snapshot = desk.path().join("snapshots/scenario.snap");
        let before = fs::read_to_string(&snapshot).ok();
        for (variable, value) in [
            ("CI", "true"),
            ("INSTA_UPDATE", "always"),
            ("INSTA_UPDATE", "force"),
            ("INSTA_FORCE_UPDATE", "1"),
            ("INSTA_FORCE_PASS", "1"),
        ] {
            for arguments in [["run", "scenario.yaml"], ["judge", "recording.jsonl"], ["judge", "stalled.jsonl"]] {
                let mut command = Command::new(env!("CARGO_BIN_EXE_mptcplab"));
                command.args(arguments).arg("--json").current_dir(desk.path());
                command.env("INSTA_WORKSPACE_ROOT", desk.path()).env(variable, value);
                let output = command.output()?;
                assert_reported(output.status.code(), &report(&output)?, finding);
                assert_eq!(fs::read_to_string(&snapshot).ok(), before, "{variable}={value} {arguments:?}");
            }
        }
    }
    Ok(())
}

/// All files below a folder, with their content.
fn files(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, Failed> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.append(&mut self::files(&path)?);
        } else {
            files.insert(path.clone(), fs::read(&path)?);
        }
    }
    Ok(files)
}

/// Links that came with a folder of scenarios, in each place where a snapshot may be written, and by each command that
/// may write one. A run that accepts a snapshot doesn't need the file for a review.
fn links(_: &Workshop) -> Result<(), Failed> {
    let desk = Desk::new(GOOD)?;
    let recording = desk.path().join("recording.jsonl");
    mptcplab(&["run", "--quiet", "--no-snapshot"], &desk.file(), Some(&recording))?;
    let outside = tempfile::tempdir()?;
    let precious = outside.path().join("precious");
    fs::write(&precious, "---\nsource: x\n---\ngold\n")?;
    let before = files(outside.path())?;
    let snapshots = desk.path().join("snapshots");
    let scenario = desk.file().display().to_string();
    let run = |options: &[&str]| mptcplab(&[&["run", "--no-evidence"], options].concat(), &desk.file(), None);
    let judge = |options: &[&str]| mptcplab(&[&["judge", "--scenario", &scenario], options].concat(), &recording, None);
    // The link, what it leads to, and whether it is in the way of a run, and of one that accepts the snapshot.
    let plants: [(&str, &Path, bool, bool); 5] = [
        ("", outside.path(), true, true),
        ("scenario.snap", &precious, false, true),
        ("scenario.snap", &outside.path().join("new"), false, true),
        ("scenario.snap.new", &precious, true, false),
        ("scenario.snap.new", &outside.path().join("new"), true, false),
    ];
    for (name, target, bars_run, bars_update) in plants {
        for (command, options, barred) in [
            ("run", &[][..], bars_run),
            ("run", &["--update"], bars_update),
            ("judge", &[], false),
            ("judge", &["--update"], bars_update),
        ] {
            let _ = fs::remove_file(&snapshots);
            let _ = fs::remove_dir_all(&snapshots);
            if !name.is_empty() {
                fs::create_dir(&snapshots)?;
            }
            symlink(target, snapshots.join(name).components().as_path())?;
            let output = if command == "run" { run(options)? } else { judge(options)? };
            let case = format!("{command} {options:?} with snapshots/{name} to {}: {output:?}", target.display());
            assert_eq!(files(outside.path())?, before, "{case}");
            let accepted = options == ["--update"] && !barred;
            assert_eq!(output.status.success(), accepted, "{case}");
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert_eq!(said.contains("is a symbolic link"), barred, "{case}");
        }
    }
    Ok(())
}

/// In a folder that is given, links to folders aren't followed; who names a file behind a link means it.
fn folder_behind_a_link(_: &Workshop) -> Result<(), Failed> {
    let (desk, outside) = (Desk::new(GOOD)?, Desk::new(GOOD)?);
    symlink(outside.path(), desk.path().join("link"))?;
    let before = files(outside.path())?;
    for options in [&["run", "--no-evidence"][..], &["run", "--update"]] {
        let output = mptcplab(options, desk.path(), None)?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("link") && said.contains("symbolic link"), "{options:?}: {output:?}");
        assert_eq!(files(outside.path())?, before, "{options:?}: {output:?}");
    }
    let named = desk.path().join("link/scenario.yaml");
    assert!(mptcplab(&["run", "--update"], &named, None)?.status.success());
    assert!(outside.path().join("snapshots/scenario.snap").exists());
    Ok(())
}
