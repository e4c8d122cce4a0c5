use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

use clap::Parser as _;

use super::args::Cli;
use super::{Availability, Exit, Lab, Trouble, execute};
use crate::judge::{Finding, FindingKind, Verdict};
use crate::plan::example;
use crate::recording::{Entry, Header, Observation, Recording};
use crate::report::{Printer, Style};
use crate::scenario::model::{Feature, Scenario};

/// A lab without a kernel: what a scenario comes to is said by its file name.
#[derive(Default)]
struct Fake {
    forbidden: bool,
    no_mptcp: bool,
}

impl Lab for Fake {
    fn load(&self, file: &Path, _colour: bool) -> Result<Vec<Scenario>, String> {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if name.contains("bad") {
            return Err(format!("error: {name} has an unknown key\n"));
        }
        let variants = if name.contains("two") { vec![Some("ipv4"), Some("ipv6")] } else { vec![None] };
        Ok(variants
            .into_iter()
            .map(|variant| Scenario {
                file: name.clone().into(),
                variant: variant.map(str::to_owned),
                title: format!("the title of {name}"),
                requires: if name.contains("skip") { vec![Feature::Laminar] } else { Vec::new() },
                alone: name.contains("alone"),
                ..example::scenario()
            })
            .collect())
    }

    fn load_recorded(&self, header: &Header, colour: bool) -> Result<Scenario, String> {
        self.load(Path::new(&header.file), colour).map(|mut scenarios| scenarios.remove(0))
    }

    fn schema(&self) -> serde_json::Value {
        serde_json::json!({ "type": "object" })
    }

    fn prepare_snapshots(&self, _update: bool) {}

    fn enter(&self) -> Result<String, Trouble> {
        if self.forbidden {
            let message = "user namespaces are forbidden".to_owned();
            return Err(Trouble { message, hints: vec!["run it as root".to_owned()] });
        }
        Ok("root".to_owned())
    }

    fn probe(&self, features: &BTreeSet<Feature>) -> BTreeMap<Feature, Availability> {
        let availability = |feature: &Feature| match feature {
            Feature::Laminar => Availability::No("the flag is not kept".to_owned()),
            Feature::Mptcp if self.no_mptcp => Availability::No("EPROTONOSUPPORT".to_owned()),
            _ => Availability::Yes,
        };
        features.iter().map(|feature| (feature.clone(), availability(feature))).collect()
    }

    fn run(&self, scenario: &Scenario) -> Result<Recording, Trouble> {
        if scenario.title.contains("trouble") {
            return Err(Trouble { message: "no namespace\ndetails".to_owned(), hints: vec!["try".to_owned()] });
        }
        assert!(!scenario.title.contains("panic"), "a defect");
        let header = Header {
            format: 1,
            mptcplab: String::new(),
            kernel: String::new(),
            title: scenario.title.clone(),
            file: scenario.file.display().to_string(),
            variant: scenario.variant.clone(),
            sources: Vec::new(),
            features: Vec::new(),
        };
        Ok(Recording { header, entries: vec![Entry { at: 0, what: Observation::Ended }] })
    }

    fn verdict(&self, scenario: &Scenario, _recording: &Recording) -> Verdict {
        if !scenario.title.contains("fail") {
            return Verdict::Passed;
        }
        let (summary, detail) = ("2 expected, 1 observed".to_owned(), String::new());
        Verdict::Failed(vec![Finding { kind: FindingKind::Subflows, place: None, summary, detail, at: None }])
    }
}

#[derive(Clone, Default)]
struct Buffer(Rc<RefCell<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    /// What was written, with an N for each number of milliseconds.
    fn text(&self) -> String {
        let text = String::from_utf8(self.0.borrow().clone()).unwrap();
        let mut pieces: Vec<&str> = text.split(" ms").collect();
        let last = pieces.pop().unwrap_or_default();
        let blotted = |piece: &str| match piece.trim_end_matches(|digit: char| digit.is_ascii_digit()) {
            number_removed if number_removed.len() < piece.len() => format!("{number_removed}N ms"),
            whole => format!("{whole} ms"),
        };
        pieces.into_iter().map(blotted).collect::<String>() + last
    }
}

/// Runs a command in a folder with these files; returns exit code, standard output and standard error.
fn mptcplab_with(lab: &Fake, arguments: &[&str], files: &[&str]) -> (Exit, String, String) {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        std::fs::write(folder.path().join(file), "").unwrap();
    }
    let folder = folder.path().display().to_string();
    let arguments = arguments.iter().map(|argument| argument.replace("FOLDER", &folder));
    let cli = Cli::try_parse_from(std::iter::once("mptcplab".to_owned()).chain(arguments)).unwrap();
    let (out, err) = (Buffer::default(), Buffer::default());
    let style = Style { colour: false, unicode: true };
    let mut printer = Printer::new(Box::new(out.clone()), Box::new(err.clone()), style);
    let exit = execute(cli, lab, &mut printer);
    (exit, out.text().replace(&folder, "FOLDER"), err.text().replace(&folder, "FOLDER"))
}

fn mptcplab(arguments: &[&str], files: &[&str]) -> (Exit, String, String) {
    mptcplab_with(&Fake::default(), arguments, files)
}

const MIXED: [&str; 4] = ["a_two.yaml", "b_fail.yaml", "c_skip.yaml", "d_alone.yaml"];

#[test]
fn a_folder_gives_a_line_for_each_scenario() {
    let (exit, out, err) = mptcplab(&["FOLDER"], &MIXED);
    assert_eq!((exit, err.as_str()), (Exit::Failed, ""));
    insta::assert_snapshot!(out, @r"
    PASS a_two@ipv4 (N ms)  the title of a_two
    PASS a_two@ipv6 (N ms)  the title of a_two
    FAIL b_fail (N ms)  the title of b_fail
      subflows: 2 expected, 1 observed
    SKIP c_skip (needs `laminar`: the flag is not kept)  the title of c_skip
    PASS d_alone (N ms)  the title of d_alone
    5 runs in N ms: 3 passed, 1 failed, 1 skipped
    ");
}

#[test]
fn quiet_shows_failures_only() {
    let (exit, out, _) = mptcplab(&["run", "-q", "FOLDER"], &MIXED);
    assert_eq!(exit, Exit::Failed);
    assert!(out.starts_with("FAIL b_fail") && out.lines().count() == 2, "{out}");
    assert_eq!(mptcplab(&["-q", "FOLDER"], &["a.yaml"]), (Exit::Passed, String::new(), String::new()));
}

#[test]
fn a_single_scenario_comes_with_picture_and_story() {
    let (exit, out, _) = mptcplab(&["FOLDER/a.yaml"], &["a.yaml"]);
    assert_eq!(exit, Exit::Passed);
    assert!(out.contains("┌ client") && out.contains("ms  client") && out.contains("PASS a "), "{out}");
    assert!(!out.contains("1 run "), "{out}");
}

#[test]
fn json_is_all_that_standard_output_has() {
    let (exit, out, err) = mptcplab(&["--json", "FOLDER"], &MIXED);
    assert_eq!(exit, Exit::Failed);
    let verdicts: Vec<String> = out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["verdict"].to_string())
        .collect();
    assert_eq!(verdicts, ["\"passed\"", "\"passed\"", "\"failed\"", "\"skipped\"", "\"passed\""]);
    assert!(err.contains("5 runs"), "{err}");
}

#[test]
fn the_list_names_every_variant() {
    let (exit, out, _) = mptcplab(&["--list", "FOLDER"], &["a_two.yaml", "b_fail.yaml"]);
    assert_eq!(exit, Exit::Passed);
    insta::assert_snapshot!(out, @r"
    a_two@ipv4  the title of a_two
    a_two@ipv6  the title of a_two
    b_fail      the title of b_fail
    ");
}

#[test]
fn a_dry_run_needs_no_privileges() {
    let (exit, out, _) =
        mptcplab_with(&Fake { forbidden: true, ..Fake::default() }, &["--dry-run", "FOLDER"], &["a.yaml"]);
    assert_eq!(exit, Exit::Passed);
    assert!(out.starts_with("# a\n# the title of a\n\n# Set up\nip netns add client\n"), "{out}");
}

#[test]
fn filters_look_at_labels_and_titles() {
    let (_, out, _) = mptcplab(&["--list", "--filter", "IPV6", "FOLDER"], &MIXED);
    assert_eq!(out, "a_two@ipv6  the title of a_two\n");
    let (exit, _, err) = mptcplab(&["--filter", "zebra", "FOLDER"], &MIXED);
    assert_eq!(exit, Exit::Usage);
    assert!(err.starts_with("error: none of 5 scenarios has `zebra`"), "{err}");
}

#[test]
fn all_bad_files_are_reported_and_nothing_runs() {
    for command in ["run", "check"] {
        let (exit, out, err) = mptcplab(&[command, "FOLDER"], &["a.yaml", "bad1.yaml", "bad2.yaml"]);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
        insta::allow_duplicates! {
            insta::assert_snapshot!(err, @r"
            error: bad1 has an unknown key
            error: bad2 has an unknown key
            error: 2 of 3 scenario files can't be used
            ");
        }
    }
}

#[test]
fn check_counts_what_is_good() {
    let (exit, out, _) = mptcplab(&["check", "FOLDER"], &["a_two.yaml"]);
    assert_eq!((exit, out.as_str()), (Exit::Passed, "2 scenarios without errors\n"));
}

#[test]
fn a_missing_file_is_wrong_usage() {
    let (exit, _, err) = mptcplab(&["chekc"], &[]);
    assert_eq!(exit, Exit::Usage);
    insta::assert_snapshot!(err, @r"
    error: can't read `chekc`: No such file or directory (os error 2)
    hint: `mptcplab --help` lists the commands; anything else is a file or a folder to run
    ");
}

#[test]
fn skipping_everything_has_an_exit_code_of_its_own() {
    assert_eq!(mptcplab(&["FOLDER"], &["c_skip.yaml"]).0, Exit::Skipped);
}

#[test]
fn required_features_make_a_skip_an_error() {
    let (exit, out, _) = mptcplab(&["--require", "all", "FOLDER"], &["c_skip.yaml", "a.yaml"]);
    assert_eq!(exit, Exit::Environment);
    assert!(out.contains("ERROR c_skip"), "{out}");
    let (exit, out, err) = mptcplab(&["--require", "laminar", "FOLDER"], &["a.yaml"]);
    assert_eq!((exit, out.as_str()), (Exit::Environment, ""));
    assert!(err.starts_with("error: this kernel lacks `laminar`: the flag is not kept\n"), "{err}");
}

#[test]
fn without_privileges_or_mptcp_nothing_runs() {
    let (exit, _, err) = mptcplab_with(&Fake { forbidden: true, ..Fake::default() }, &["FOLDER"], &["a.yaml"]);
    assert_eq!(exit, Exit::Environment);
    insta::assert_snapshot!(err, @r"
    error: user namespaces are forbidden
    hint: run it as root
    hint: `mptcplab doctor` tells what is missing
    ");
    let (exit, _, err) = mptcplab_with(&Fake { no_mptcp: true, ..Fake::default() }, &["FOLDER"], &["a.yaml"]);
    assert_eq!(exit, Exit::Environment);
    assert!(err.starts_with("error: this kernel lacks `mptcp`: EPROTONOSUPPORT\n"), "{err}");
}

#[test]
fn fail_fast_counts_what_it_leaves_out() {
    let files = ["a_fail.yaml", "b.yaml", "c.yaml"];
    let (exit, out, _) = mptcplab(&["--fail-fast", "-j", "1", "FOLDER"], &files);
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("1 run in N ms: 1 failed, 2 left out after the first failure"), "{out}");
}

#[test]
fn repetitions_are_numbered() {
    let (exit, out, _) = mptcplab(&["--repeat", "2", "FOLDER"], &["a.yaml"]);
    assert_eq!(exit, Exit::Passed);
    assert!(out.contains("PASS a (run 1 of 2)") && out.contains("PASS a (run 2 of 2)"), "{out}");
}

#[test]
fn trouble_and_defects_are_errors_of_one_scenario_only() {
    let (exit, out, _) = mptcplab(&["FOLDER"], &["a_trouble.yaml", "b_panic.yaml", "c.yaml"]);
    assert_eq!(exit, Exit::Environment);
    assert!(out.contains("set-up: no namespace\n    details\n    hint: try\n"), "{out}");
    assert!(out.contains("this is a defect of mptcplab"), "{out}");
    assert!(out.contains("PASS c "), "{out}");
}

#[test]
fn recordings_are_written_and_judged_again() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().display().to_string();
    let (exit, _, err) = mptcplab(&["--record", &target, "FOLDER"], &["a_two.yaml", "b_fail.yaml"]);
    assert_eq!((exit, err.as_str()), (Exit::Failed, ""));
    let recording = |name: &str| folder.path().join(name).display().to_string();
    assert!(folder.path().join("a_two@ipv6.jsonl").exists());
    let (exit, out, _) = mptcplab(&["judge", &recording("b_fail.jsonl")], &[]);
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("subflows: 2 expected, 1 observed"), "{out}");
}

#[test]
fn several_recordings_need_a_folder() {
    let (exit, _, err) = mptcplab(&["--record", "FOLDER/x.jsonl", "FOLDER"], &["a_two.yaml"]);
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("can't take the recordings of 2 scenarios"), "{err}");
}

#[test]
fn what_is_no_recording_is_refused() {
    let (exit, _, err) = mptcplab(&["judge", "FOLDER/a.yaml"], &["a.yaml"]);
    assert_eq!(exit, Exit::Usage);
    insta::assert_snapshot!(err, @r"
    error: `FOLDER/a.yaml` is no recording: the file is empty: a recording begins with a header line
    hint: `mptcplab run --record FILE` writes recordings
    ");
}

#[test]
fn the_doctor_tells_what_is_missing() {
    let (exit, out, err) = mptcplab(&["doctor"], &[]);
    assert_eq!(exit, Exit::Passed);
    let (_, rows) = out.split_once('\n').unwrap();
    insta::assert_snapshot!(rows, @r"
      yes  privileges        root
      yes  mptcp             Multipath TCP
      yes  listener_events   events of listening sockets
      no   laminar           endpoints with the laminar flag (the flag is not kept)
      yes  token_dump        endpoints of a single connection
      yes  mixed_families    IPv4 and IPv6 subflows in one connection
      yes  nftables          packet filters, for scenarios with a middlebox
      yes  tbf               rate limits on links
    ");
    assert_eq!(err, "hint: laminar: Linux 6.18 and newer have it\n");
    assert_eq!(mptcplab_with(&Fake { no_mptcp: true, ..Fake::default() }, &["doctor"], &[]).0, Exit::Environment);
    assert_eq!(mptcplab_with(&Fake { forbidden: true, ..Fake::default() }, &["doctor"], &[]).0, Exit::Environment);
}

#[test]
fn the_schema_is_json() {
    let (exit, out, _) = mptcplab(&["schema"], &[]);
    assert_eq!(exit, Exit::Passed);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["type"], "object");
}
