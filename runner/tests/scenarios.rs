//! Every scenario of `scenarios/`, each variant as a test of its own.
//!
//! `cargo test --test scenarios` runs them all, `cargo test --test scenarios fullmesh` those whose name has that
//! word. What this kernel or user lacks is reported as *ignored*, with the reason: never as passed. Where it must run, it
//! fails (`require`).

#[path = "require/mod.rs"]
mod require;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use mptcplab::judge::{Finding, FindingKind, Verdict};
use mptcplab::report::{self, Style};
use mptcplab::scenario::{self, model::Scenario};
use mptcplab::session::{Permission, Session};
use mptcplab::sys::privilege;

use require::{Lack, Outcome, REQUIRE, Require};

/// What all tests share, or why there is nothing to test with.
type Shared = Result<Arc<Session>, String>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // While there is one thread: the user namespace is the whole process's.
    let session = privilege::enter()
        .map_err(|error| error.to_string())
        .and_then(|_| Session::open().map_err(|error| error.to_string()))
        .map(Arc::new);
    // These scenarios are as much part of the repository as this test.
    if let Ok(session) = &session {
        session.permit_programs(Permission::Everything);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let folder = folder.canonicalize().unwrap_or(folder);
    let mut trials = match scenario::find(std::slice::from_ref(&folder)) {
        Ok(found) => found.files.iter().flat_map(|file| trials(&folder, file, &session)).collect(),
        Err(error) => vec![Trial::test("scenarios", move || Err(Failed::from(error.to_string())))],
    };
    trials.push(Trial::test("harness::only_a_pass_completes", only_a_pass_completes));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The tests of one file: one for each variant, or one that fails if the file is bad.
fn trials(folder: &Path, file: &Path, session: &Shared) -> Vec<Trial> {
    let name = file.strip_prefix(folder).unwrap_or(file).with_extension("").display().to_string();
    match scenario::load(file) {
        Ok(scenarios) => scenarios
            .into_iter()
            .map(|scenario| {
                let session = session.clone();
                let variant = scenario.variant.as_ref().map_or_else(String::new, |variant| format!("@{variant}"));
                Trial::ignorable_test(format!("{name}{variant}"), move || run(&REQUIRE, &scenario, &session))
            })
            .collect(),
        Err(diagnostics) => vec![Trial::test(name, move || Err(Failed::from(diagnostics.render(false))))],
    }
}

fn run(require: &Require, scenario: &Scenario, session: &Shared) -> Outcome {
    let session = match session {
        Ok(session) => session,
        Err(obstacle) => return require.lacking(Lack::Machine, obstacle),
    };
    conclude(require, scenario, &session.verdict(scenario)?)
}

/// What a verdict is as the result of a test.
fn conclude(require: &Require, scenario: &Scenario, verdict: &Verdict) -> Outcome {
    match verdict {
        Verdict::Passed => Ok(Completion::Completed),
        // A program that isn't installed is not the kernel's.
        Verdict::Skipped { reason } if reason.contains("`program:") => require.lacking(Lack::Machine, reason),
        Verdict::Skipped { reason } => require.lacking(Lack::Kernel, reason),
        Verdict::Failed(findings) | Verdict::Error(findings) => {
            let style = Style { colour: false, unicode: true };
            let texts = findings.iter().map(|finding| report::failure(scenario, finding, style));
            Err(Failed::from(texts.collect::<Vec<_>>().join("\n")))
        }
    }
}

/// Nothing but a pass may look like one, also if a verdict comes without a finding.
fn only_a_pass_completes() -> Result<(), Failed> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/fullmesh.yaml");
    let scenarios = scenario::load(&file).map_err(|diagnostics| diagnostics.render(false))?;
    let scenario = scenarios.first().ok_or("fullmesh.yaml has no variant")?;
    let finding = Finding {
        kind: FindingKind::Events,
        place: None,
        summary: "one is missing".to_owned(),
        detail: String::new(),
        at: None,
        reasons: Vec::new(),
        values: None,
    };
    let ignored = |result: Outcome| match result {
        Ok(Completion::Ignored { reason }) => reason,
        Ok(Completion::Completed) | Err(_) => None,
    };
    assert!(matches!(conclude(&Require::Nothing, scenario, &Verdict::Passed), Ok(Completion::Completed)));
    let skipped = Verdict::Skipped { reason: "needs\n  `laminar`".to_owned() };
    assert!(conclude(&Require::All(Vec::new()), scenario, &skipped).is_err());
    assert_eq!(ignored(conclude(&Require::Nothing, scenario, &skipped)).as_deref(), Some("needs `laminar`"));
    for findings in [vec![finding], Vec::new()] {
        for verdict in [Verdict::Failed(findings.clone()), Verdict::Error(findings)] {
            assert!(conclude(&Require::Nothing, scenario, &verdict).is_err(), "{verdict:?} is no failure of the test");
        }
    }
    let without_privilege = run(&Require::Nothing, scenario, &Err("user namespaces are forbidden".to_owned()));
    assert_eq!(ignored(without_privilege).as_deref(), Some("user namespaces are forbidden"));
    Ok(())
}
