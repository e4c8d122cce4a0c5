use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;
use crate::judge::FindingKind;
use crate::plan::example;
use crate::recording::Recording;
use crate::report::example::recording;
use crate::scenario::model::Scenario;

fn named(label: &str) -> Scenario {
    Scenario { file: label.into(), variant: None, ..example::scenario() }
}

fn begin(folder: &Path) -> Store {
    let kernel =
        KernelIdentity { release: "6.18.44".to_owned(), version: "#1 SMP".to_owned(), machine: "x86_64".to_owned() };
    let features = [("mptcp", Found::Yes), ("laminar", Found::No("the flag is not kept".to_owned()))];
    let features = features.into_iter().map(|(word, found)| (word.to_owned(), found)).collect();
    Store::begin(folder, kernel, features).unwrap()
}

fn failure() -> Verdict {
    let finding = Finding {
        kind: FindingKind::Counter,
        place: None,
        summary: "4 expected, 5 observed".to_owned(),
        detail: "a\nb".to_owned(),
        at: Some(7),
        reasons: Vec::new(),
        values: Some(Box::new(Values { expected: 4.into(), observed: 5.into() })),
    };
    let missing = Values { expected: serde_json::json!({ "closed": {} }), observed: Value::Null };
    let missing = Finding { kind: FindingKind::Events, values: Some(Box::new(missing)), ..finding.clone() };
    Verdict::Failed(vec![finding, missing])
}

/// A scenario that passed, one that failed, one that was skipped; the last one came first.
fn filled(folder: &Path) -> Results {
    let mut store = begin(folder);
    let recording = recording();
    let mut add = |position, label: &str, verdict: &Verdict, recording: Option<&Recording>| {
        store.add(position, &named(label), verdict, Duration::from_millis(12), recording).unwrap();
    };
    add(2, "s/skip.yaml", &Verdict::Skipped { reason: "needs `laminar`: no".to_owned() }, None);
    add(0, "s/pass.yaml", &Verdict::Passed, Some(&recording));
    add(1, "s/fail.yaml", &failure(), Some(&recording));
    store.finish(SystemTime::UNIX_EPOCH, Vec::new()).unwrap()
}

fn refusal(folder: &Path) -> String {
    read(folder).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let written = filled(folder.path());
    let back = read(folder.path()).unwrap();
    assert_eq!(back, written);
    let labels: Vec<&str> = back.scenarios.iter().map(|outcome| outcome.label.as_str()).collect();
    assert_eq!(labels, ["s/pass", "s/fail", "s/skip"]);
    assert_eq!(back.date, "1970-01-01T00:00:00Z");
    assert_eq!(back.features["laminar"], Found::No("the flag is not kept".to_owned()));
    assert_eq!(back.scenarios[1].findings[0].kind, "counter");
    assert_eq!(back.scenarios[0].canonical.as_deref(), Some(&*judge_text()));
    assert_eq!(back.scenarios[2].canonical, None);
    let bytes = fs::read(folder.path().join("scenarios/s__pass.jsonl")).unwrap();
    assert_eq!(crate::recording::read(bytes.as_slice()).unwrap(), recording());
    // Nothing temporary is left.
    let names =
        |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let all = [names(folder.path()), names(&folder.path().join("scenarios"))].concat();
    assert_eq!(all.len(), 3 + 4, "{all:?}");
}

fn judge_text() -> String {
    crate::judge::canonical(&named("s/pass.yaml"), &recording())
}

#[test]
fn the_index_is_for_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let index = fs::read_to_string(folder.path().join(INDEX)).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&index).unwrap();
    // What changes with the example.
    for scenario in value["scenarios"].as_array_mut().unwrap() {
        for key in ["sources", "snapshot", "observation"] {
            if let Some(digest) = scenario.get_mut(key) {
                assert_eq!(digest.as_str().unwrap().len(), 16);
                *digest = "DIGEST".into();
            }
        }
    }
    value["mptcplab"] = "VERSION".into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&value).unwrap());
}

#[test]
fn stored_outcomes_can_be_stored_again() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let written = filled(old.path());
    let mut store = begin(new.path());
    for (position, outcome) in written.scenarios.iter().enumerate().rev() {
        store.add_stored(position, outcome).unwrap();
    }
    store.finish(SystemTime::UNIX_EPOCH, Vec::new()).unwrap();
    assert_eq!(read(new.path()).unwrap(), written);
}

#[test]
fn a_run_that_did_not_end_has_no_results() {
    let folder = tempfile::tempdir().unwrap();
    let refused = refusal(folder.path());
    assert!(refused.contains("has no `results.json`: either the run hasn't ended"), "{refused}");
    filled(folder.path());
    // The next run begins, and is killed.
    let mut store = begin(folder.path());
    store.add(0, &named("a.yaml"), &Verdict::Passed, Duration::ZERO, Some(&recording())).unwrap();
    drop(store);
    assert!(refusal(folder.path()).contains("has no `results.json`: either the run hasn't ended"));
    assert!(!folder.path().join("scenarios/s__pass.txt").exists(), "of the run before");
    assert!(refusal(&folder.path().join("nowhere")).contains("No such file"));
}

#[test]
fn damage_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join(INDEX);
    let observation = folder.path().join("scenarios/s__pass.txt");
    let change = |from: &str, to: &str| {
        filled(folder.path());
        let text = fs::read_to_string(&index).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&index, text.replacen(from, to, 1)).unwrap();
        refusal(folder.path())
    };
    assert!(change("\"format\": 1", "\"format\": 2").contains("has format 2, but this mptcplab reads format 1"));
    assert!(change("\"format\": 1", "\"format\": \"1\"").contains("is damaged: invalid type"));
    assert!(change("\"passed\"", "\"parsed\"").contains("unknown variant `parsed`"));
    assert!(change("\"title\"", "\"tilte\"").contains("unknown field `tilte`"));
    assert!(change("s/fail", "s/pass").contains("`s/pass` occurs twice"));
    assert!(change("s__fail", "../fail").contains("invalid file name"));
    assert!(change("}", "").contains("is damaged"));
    assert!(change("\"skipped\"", "\"passed\"").contains("`s/skip` passed, but has no observation"));

    filled(folder.path());
    fs::write(&observation, "something else").unwrap();
    assert!(refusal(folder.path()).contains("`scenarios/s__pass.txt` has changed since it was written"));
    fs::write(&observation, [0xff]).unwrap();
    assert!(refusal(folder.path()).contains("can't read `scenarios/s__pass.txt`"));
    fs::remove_file(&observation).unwrap();
    assert!(refusal(folder.path()).contains("can't read `scenarios/s__pass.txt`: No such file"));
    filled(folder.path());
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, &text[..text.len() / 2]).unwrap();
    assert!(refusal(folder.path()).contains("is damaged: EOF"));
}

#[test]
fn labels_keep_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = begin(folder.path());
    for (position, label) in ["a b.yaml", "a-b.yaml", "a;b.yaml"].into_iter().enumerate() {
        store.add(position, &named(label), &Verdict::Passed, Duration::ZERO, Some(&recording())).unwrap();
    }
    store.finish(SystemTime::UNIX_EPOCH, Vec::new()).unwrap();
    let files: Vec<String> = read(folder.path()).unwrap().scenarios.into_iter().map(|outcome| outcome.file).collect();
    assert_eq!(files, ["a%20b", "a-b", "a%3bb"]);
}

#[test]
fn what_can_not_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::begin(&file, KernelIdentity::default(), IndexMap::new()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("can't write the results `{}`", file.display())), "{error}");
}

#[test]
fn a_folder_with_something_else_in_it_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let precious = folder.path().join("scenarios/mine.yaml");
    fs::create_dir(folder.path().join("scenarios")).unwrap();
    fs::write(&precious, "mine").unwrap();
    let begin = || Store::begin(folder.path(), KernelIdentity::default(), IndexMap::new());
    let error = begin().unwrap_err().to_string();
    assert!(error.contains("mptcplab didn't create it (no `.mptcplab` in it)"), "{error}");
    assert!(error.contains("name a new or empty folder"), "{error}");
    assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_a_link_in_the_folder_leads_to_is_left_alone() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let precious = other.path().join("mine.yaml");
    fs::write(&precious, "mine").unwrap();
    let begin = || Store::begin(folder.path(), KernelIdentity::default(), IndexMap::new());
    begin().unwrap();
    for name in ["scenarios", INDEX] {
        let path = folder.path().join(name);
        let _ = fs::remove_dir(&path);
        std::os::unix::fs::symlink(if name == INDEX { &precious } else { other.path() }, &path).unwrap();
    }
    begin().unwrap().finish(SystemTime::UNIX_EPOCH, Vec::new()).unwrap();
    assert!(folder.path().join("scenarios").symlink_metadata().unwrap().is_dir());
    assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
}

/// The rest of a run is one file for each scenario, which must be a plain one.
#[test]
fn results_that_are_no_plain_files_are_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let results = filled(folder.path());
    let file = results.scenarios.iter().find(|outcome| outcome.observation.is_some()).unwrap().file.clone();
    let file = folder.path().join(format!("scenarios/{file}.txt"));
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("it is a pipe, not a regular file"), "{error}");
}
