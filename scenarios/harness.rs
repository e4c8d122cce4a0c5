//! Every scenario of this folder, each variant as a test of its own.
//!
//! `cargo test --test scenarios` runs them all, `cargo test --test scenarios fullmesh` those whose name has that
//! word. What this kernel or user lacks is reported as *ignored*, with the reason: never as passed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use mptcplab::judge::{self, Verdict};
use mptcplab::report;
use mptcplab::scenario::{self, model::Scenario};
use mptcplab::session::Session;
use mptcplab::sys::privilege;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    judge::prepare(None);
    // Before any thread starts: the user namespace is the process's.
    let session = privilege::enter()
        .map_err(|error| error.to_string())
        .and_then(|_| Session::open().map_err(|error| error.to_string()))
        .map(Arc::new);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let folder = folder.canonicalize().unwrap_or(folder);
    let trials = mptcplab::cli::scenario_files(&folder).into_iter().flat_map(|file| trials(&folder, &file, &session));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// The tests of one file: one for each variant, or one that fails if the file is bad.
fn trials(folder: &Path, file: &PathBuf, session: &Result<Arc<Session>, String>) -> Vec<Trial> {
    match scenario::load(file) {
        Ok(scenarios) => scenarios
            .into_iter()
            .map(|scenario| {
                let session = session.clone();
                Trial::ignorable_test(name(folder, &scenario), move || run(&scenario, &session))
            })
            .collect(),
        Err(diagnostics) => {
            let name = file.strip_prefix(folder).unwrap_or(file).with_extension("").display().to_string();
            vec![Trial::test(name, move || Err(Failed::from(diagnostics.to_string())))]
        }
    }
}

fn name(folder: &Path, scenario: &Scenario) -> String {
    let label = scenario.label();
    label.strip_prefix(&format!("{}/", folder.display())).map_or(label.clone(), str::to_owned)
}

fn run(scenario: &Scenario, session: &Result<Arc<Session>, String>) -> Result<Completion, Failed> {
    let session = match session {
        Ok(session) => session,
        Err(reason) => return Ok(Completion::ignored_with(reason.clone())),
    };
    let run = session.run(scenario);
    match &run.verdict {
        Verdict::Passed => Ok(Completion::Completed),
        Verdict::Skipped { reason } => Ok(Completion::ignored_with(reason.clone())),
        Verdict::Failed(findings) | Verdict::Error(findings) => {
            let texts: Vec<String> = findings.iter().map(|finding| report::failure(scenario, finding, false)).collect();
            Err(Failed::from(texts.join("\n")))
        }
    }
}
