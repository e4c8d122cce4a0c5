//! The snapshot's file.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::judge::{
    Candidate, Change, Finding, FindingKind, Snapshots, Verdict, canonical, snapshot_difference, snapshot_path, verdict,
};
use crate::recording::{LostWhat, Observation};
use crate::scenario::model::{Feature, LeftOut, Scenario, SnapshotSection};

use super::expectations::limits;
use super::fixture::Run;

/// A scenario in that folder.
fn demo(folder: &Path) -> Scenario {
    let mut scenario = Run::empty().scenario;
    scenario.file = folder.join("demo.yaml");
    scenario
}

fn settle(folder: &Path, text: &str) -> Result<(), Finding> {
    Candidate::new(&demo(folder), text).settle(Snapshots::Review)
}

fn accept(folder: &Path, text: &str) -> Change {
    Candidate::new(&demo(folder), text).accept().unwrap().change
}

fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder.join("snapshots")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn is(result: Result<(), Finding>, kind: FindingKind) -> Finding {
    let finding = result.unwrap_err();
    assert_eq!(finding.kind, kind, "{finding:?}");
    finding
}

#[test]
fn a_new_snapshot_waits_for_a_review() {
    let folder = tempfile::tempdir().unwrap();
    let finding = is(settle(folder.path(), "one\ntwo\n"), FindingKind::SnapshotNew);
    assert!(finding.summary.contains("this run's has 2 lines: print it with `--show-snapshot`"), "{finding:?}");
    assert_eq!(finding.detail, "one\ntwo\n");
    assert_eq!(files(folder.path()), ["demo.snap.new"]);
    let pending = fs::read_to_string(folder.path().join("snapshots/demo.snap.new")).unwrap();
    assert!(pending.contains("description: demo\n") && pending.ends_with("---\none\ntwo\n"), "{pending}");
    is(settle(folder.path(), "one\ntwo\n"), FindingKind::SnapshotNew);
}

#[test]
fn an_accepted_snapshot_passes_until_something_changes() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(accept(folder.path(), "one\ntwo\nthree\n"), Change::New(3));
    assert_eq!(files(folder.path()), ["demo.snap"]);
    settle(folder.path(), "one\ntwo\nthree").unwrap();
    let finding = is(settle(folder.path(), "one\n2\nthree\n"), FindingKind::SnapshotChanged);
    assert!(finding.detail.contains("-two\n+2\n"), "{finding:?}");
    assert_eq!(files(folder.path()), ["demo.snap", "demo.snap.new"]);
    settle(folder.path(), "one\ntwo\nthree\n").unwrap();
    assert_eq!(files(folder.path()), ["demo.snap"], "the pending one is out of date");
    is(settle(folder.path(), "one\n2\nthree\n"), FindingKind::SnapshotChanged);
    assert_eq!(accept(folder.path(), "one\n2\nthree\n"), Change::Lines { added: 1, removed: 1 });
    assert_eq!(files(folder.path()), ["demo.snap"], "it needs no review any more");
    assert_eq!(accept(folder.path(), "one\n2\nthree\n"), Change::None);
    settle(folder.path(), "one\n2\nthree\n").unwrap();
}

/// What insta heeds is there, and wants everything accepted.
#[test]
fn insta_s_configuration_decides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    accept(folder.path(), "old");
    fs::create_dir(folder.path().join(".config")).unwrap();
    for name in [".insta.yaml", "insta.yaml", ".config/insta.yaml"] {
        fs::write(folder.path().join(name), "behavior:\n  force_update: true\ntest:\n  update: always\n").unwrap();
    }
    let child = |variable: &str, value: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "judge::tests::snapshots::child", "--ignored"]).current_dir(folder.path());
        command.env("INSTA_WORKSPACE_ROOT", folder.path()).env(variable, value);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{variable}: {}", String::from_utf8_lossy(&output.stdout));
        let kept = fs::read_to_string(folder.path().join("snapshots/demo.snap")).unwrap();
        assert!(kept.ends_with("\nold\n"), "{variable}: {kept}");
        assert_eq!(files(folder.path()), ["demo.snap"], "{variable}");
    };
    child("UNUSED", "");
    child("CI", "true");
    for (variable, value) in [
        ("INSTA_UPDATE", "always"),
        ("INSTA_UPDATE", "force"),
        ("INSTA_UPDATE", "unseen"),
        ("INSTA_FORCE_UPDATE", "1"),
        ("INSTA_FORCE_PASS", "1"),
    ] {
        child(variable, value);
    }
}

/// Not a test of its own: what the processes of the one above do.
#[test]
#[ignore = "run by another test of this module, in a process of its own"]
fn child() {
    let here = std::env::current_dir().unwrap();
    is(Candidate::new(&demo(&here), "new").settle(Snapshots::Compare), FindingKind::SnapshotChanged);
    let other = Scenario { file: here.join("other.yaml"), ..demo(&here) };
    is(Candidate::new(&other, "new").settle(Snapshots::Compare), FindingKind::SnapshotNew);
    is(settle(&here, "new"), FindingKind::SnapshotChanged);
    // A run with the old text removes what waits for a review.
    settle(&here, "old").unwrap();
}

/// cargo-insta reads the files with the same code.
#[test]
fn insta_reads_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    for title in ["plain", "a: {b} #c", "\"quoted\" \\ 'twice'", "- list", "yes", "0x12", "1.5", "tab\there"] {
        let text = "one:\n  two ---\n\n---\n  drei: \u{e4}\u{1f600}";
        let scenario = Scenario { title: title.to_owned(), ..demo(folder.path()) };
        is(Candidate::new(&scenario, text).settle(Snapshots::Review), FindingKind::SnapshotNew);
        let snapshot = insta::Snapshot::from_file(&folder.path().join("snapshots/demo.snap.new")).unwrap();
        assert_eq!(snapshot.as_text().unwrap().to_string(), text);
        assert_eq!(snapshot.metadata().description(), Some(title));
        assert_eq!(snapshot.metadata().input_file(), Some("demo.yaml"), "no path of this machine");
        Candidate::new(&scenario, text).accept().unwrap();
        Candidate::new(&scenario, text).settle(Snapshots::Review).unwrap();
        fs::remove_file(snapshot_path(&scenario)).unwrap();
    }
}

#[test]
fn the_files_are_those_that_insta_would_write() {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    for file in crate::scenario::find(&[scenarios]).unwrap().files {
        for scenario in crate::scenario::load(&file).map_err(|errors| errors.render(false)).unwrap() {
            let path = snapshot_path(&scenario);
            let kept = fs::read_to_string(&path).unwrap();
            let (_, text) = kept.split_once("\n---\n").unwrap();
            let written = Candidate::new(&scenario, text).content();
            // Titles may have changed since: what is compared is how they are written.
            let line =
                |content: &str| content.lines().find(|line| line.starts_with("description: ")).unwrap().to_owned();
            let old = insta::Snapshot::from_file(&path).unwrap();
            if old.metadata().description() == Some(&scenario.title) {
                assert_eq!(line(&written), line(&kept), "{}", path.display());
            }
        }
    }
}

#[test]
fn nothing_is_written_where_only_a_comparison_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    is(Candidate::new(&demo(folder.path()), "one").settle(Snapshots::Compare), FindingKind::SnapshotNew);
    assert!(!folder.path().join("snapshots").exists());
    settle(folder.path(), "one").unwrap_err();
    accept(folder.path(), "two");
    settle(folder.path(), "one").unwrap_err();
    Candidate::new(&demo(folder.path()), "two").settle(Snapshots::Compare).unwrap();
    assert_eq!(files(folder.path()), ["demo.snap", "demo.snap.new"], "not even something removed");
    Candidate::new(&demo(folder.path()), "three").settle(Snapshots::Ignore).unwrap();
}

#[test]
fn nothing_is_written_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    fs::write(&target, "untouched").unwrap();
    let link = |name: &str, to: &Path| std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
    link("snapshots", elsewhere.path());
    let finding = is(settle(folder.path(), "one"), FindingKind::SnapshotNew);
    assert!(finding.summary.contains("symbolic link"), "{finding:?}");
    is(Candidate::new(&demo(folder.path()), "one").accept().map(drop), FindingKind::Setup);
    fs::remove_file(folder.path().join("snapshots")).unwrap();
    fs::create_dir(folder.path().join("snapshots")).unwrap();
    link("snapshots/demo.snap.new", &target);
    is(settle(folder.path(), "one"), FindingKind::SnapshotNew);
    link("snapshots/demo.snap", &elsewhere.path().join("nothing"));
    is(Candidate::new(&demo(folder.path()), "one").accept().map(drop), FindingKind::Setup);
    assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_that_can_t_be_written_is_an_error_of_its_own() {
    // Also for root, whom permissions don't stop.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("snapshots"), "a file").unwrap();
    let finding = Candidate::new(&demo(folder.path()), "one").accept().unwrap_err();
    assert_eq!(finding.kind, FindingKind::Setup);
    assert!(!finding.summary.contains("--update"), "{finding:?}");
}

#[test]
fn what_can_t_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = folder.path().join("snapshots");
    fs::create_dir(&snapshots).unwrap();
    let bad: [&[u8]; 6] = [
        &[0xff, 0xfe, 0xfd],
        b"---\n: : [\n---\none\n",
        b"one\n",
        b"",
        b"---\nsource: x\n",
        b"---\nextension: ../../x\nsnapshot_kind: binary\n---\n",
    ];
    for content in bad {
        fs::write(snapshots.join("demo.snap"), content).unwrap();
        is(settle(folder.path(), "one\n"), FindingKind::Setup);
    }
    fs::remove_file(snapshots.join("demo.snap")).unwrap();
    nix::unistd::mkfifo(&snapshots.join("demo.snap"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let finding = is(settle(folder.path(), "one\n"), FindingKind::Setup);
    assert!(finding.summary.contains("not a regular file"), "{finding:?}");
}

#[test]
fn an_empty_observation_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    is(settle(folder.path(), "\n"), FindingKind::Incomplete);
    is(Candidate::new(&demo(folder.path()), "\n").accept().map(drop), FindingKind::Incomplete);
    assert_eq!(files(folder.path()), [""; 0]);
}

#[test]
fn a_poorer_kernel_does_not_replace_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let mut poorer = demo(folder.path());
    poorer.kernel_variants.lacking = [Feature::Laminar].into();
    let of = |scenario: &Scenario, text: &str| Candidate::new(scenario, text);
    let finding = is(of(&poorer, "one").accept().map(drop), FindingKind::SnapshotNew);
    assert!(finding.summary.contains("a kernel that has `laminar`"), "{finding:?}");
    is(of(&poorer, "one").settle(Snapshots::Review), FindingKind::SnapshotNew);
    assert_eq!(files(folder.path()), [""; 0]);
    accept(folder.path(), "one\ntwo");
    let finding = is(of(&poorer, "one").accept().map(drop), FindingKind::SnapshotChanged);
    assert!(finding.summary.contains("which lacks `laminar`"), "{finding:?}");
    of(&poorer, "one\ntwo").settle(Snapshots::Review).unwrap();
    let mut told = poorer;
    told.kernel_variants.snapshot_by = [Feature::Laminar, Feature::ListenerEvents].into();
    assert_eq!(of(&told, "one").accept().unwrap().change, Change::New(1));
    assert_eq!(files(folder.path()), ["demo.snap", "demo~no-laminar.snap"]);
    is(of(&told, "one\ntwo").settle(Snapshots::Compare), FindingKind::SnapshotChanged);
    settle(folder.path(), "one\ntwo").unwrap();
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
    assert_eq!(verdict(&run.scenario, &run.recording, Snapshots::Compare), Verdict::Passed);
    run.scenario.expect = limits(Some(1), None);
    assert!(matches!(verdict(&run.scenario, &run.recording, Snapshots::Compare), Verdict::Failed(_)));
    run.push(Observation::Lost { namespace: "client".to_owned(), what: LostWhat::Packets, count: None });
    assert!(matches!(verdict(&run.scenario, &run.recording, Snapshots::Compare), Verdict::Error(_)));
}

#[test]
fn a_snapshot_that_can_t_be_read_makes_the_run_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_with(folder.path(), "---\n: : [\n---\none\n");
    assert!(matches!(verdict(&run.scenario, &run.recording, Snapshots::Compare), Verdict::Error(_)));
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

/// A good run whose snapshot leaves out these sections.
fn without(sections: &[SnapshotSection], because: &str) -> String {
    let mut run = Run::good();
    let sections = sections.iter().copied().collect();
    run.scenario.left_out = Some(LeftOut { sections, because: because.to_owned() });
    canonical(&run.scenario, &run.recording)
}

/// The sections of a canonical form by the first word of their headings.
fn headings(canonical: &str) -> Vec<&str> {
    let lines = canonical.lines().filter(|line| !line.starts_with(' '));
    lines.filter_map(|line| line.split([' ', ':']).next()).filter(|word| !word.is_empty()).collect()
}

#[test]
fn what_is_left_out_of_a_snapshot_is_named_in_it_and_nothing_else_is_missing() {
    let good = Run::good();
    let whole = canonical(&good.scenario, &good.recording);
    let all = headings(&whole);
    for section in SnapshotSection::ALL {
        let text = without(&[section], "of the weather");
        let note = format!("without {}:\n  because of the weather\n\n", section.word());
        let rest = text.strip_prefix(&note).unwrap_or_else(|| panic!("{text}"));
        let expected: Vec<&str> = all.iter().copied().filter(|word| *word != section.word()).collect();
        assert_eq!(headings(rest), expected, "{}", section.word());
        assert!(rest.split("\n\n").all(|part| whole.contains(part)), "{rest}");
    }
    let text = without(&[SnapshotSection::Info, SnapshotSection::Wire], "both");
    assert!(text.starts_with("without wire, info:\n  because both\n\nconnections:"), "{text}");
}

#[test]
fn another_reason_to_leave_something_out_is_a_difference() {
    let folder = tempfile::tempdir().unwrap();
    let sections = [SnapshotSection::Wire];
    let text = without(&sections, "one");
    accept(folder.path(), &text);
    settle(folder.path(), &text).unwrap();
    is(settle(folder.path(), &without(&sections, "another")), FindingKind::SnapshotChanged);
    let good = Run::good();
    is(settle(folder.path(), &canonical(&good.scenario, &good.recording)), FindingKind::SnapshotChanged);
}

#[test]
fn what_was_left_out_is_no_observation() {
    let mut run = Run::empty();
    run.scenario.left_out =
        Some(LeftOut { sections: [SnapshotSection::Wire].into(), because: "there is nothing".to_owned() });
    assert_eq!(canonical(&run.scenario, &run.recording), "");
}
