//! `mptcplab explain`: why each subflow and each announcement of a run is there, or is not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::recording::Recording;
use crate::reference::{self, Decision};
use crate::report::{self, Printer};
use crate::scenario::model::{Feature, Scenario};
use crate::session::{lacking, wanted};
use crate::text;

use super::args::ExplainArgs;
use super::backend::Backend;
use super::{Exit, check, complain, hint, limits, or_environment, report_trouble};

/// Explains recordings, and runs of scenarios.
pub(super) fn execute(args: &ExplainArgs, backend: &dyn Backend, printer: &mut Printer) -> Exit {
    let is_recording = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "jsonl");
    let (recordings, scenarios): (Vec<&PathBuf>, Vec<&PathBuf>) = args.paths.iter().partition(is_recording);
    let mut exit = Exit::Passed;
    let mut explained = 0;
    for path in recordings {
        match recorded(path, backend, printer) {
            Some((scenario, recording)) => {
                exit = worse(exit, explain(args, &scenario, &recording, &mut explained, printer));
            }
            None => exit = Exit::Usage,
        }
    }
    if scenarios.is_empty() {
        return exit;
    }
    let scenarios: Vec<PathBuf> = scenarios.into_iter().cloned().collect();
    match runs(args, &scenarios, &mut explained, backend, printer) {
        Ok(ran) => worse(exit, ran),
        Err(exit) => exit,
    }
}

fn worse(one: Exit, other: Exit) -> Exit {
    if one == Exit::Passed { other } else { one }
}

fn recorded(path: &Path, backend: &dyn Backend, printer: &mut Printer) -> Option<(Scenario, Recording)> {
    match super::judge::read(path) {
        Ok(recording) => {
            let scenario = super::judge::recorded(path, &recording, backend, printer)?;
            Some((scenario, recording))
        }
        Err(message) => {
            complain(printer, &message);
            hint(printer, "`mptcplab run --record FILE` writes recordings");
            None
        }
    }
}

/// Runs the scenarios, one after the other. The first signal lets the active run end.
fn runs(
    args: &ExplainArgs,
    paths: &[PathBuf],
    explained: &mut usize,
    backend: &dyn Backend,
    printer: &mut Printer,
) -> Result<Exit, Exit> {
    let scenarios = check::load(paths, backend, printer)?;
    or_environment(backend.hold_interruptions().and_then(|()| backend.enter()), printer)?;
    or_environment(limits::check_run(), printer)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let interrupt = Arc::clone(&interrupted);
    let watch = backend.watch_interruptions(Box::new(move || interrupt.store(true, Ordering::Relaxed)));
    or_environment(watch, printer)?;
    backend.permit_programs(args.programs.permission());
    let asked = scenarios.iter().flat_map(wanted).chain([Feature::Mptcp]).collect();
    let features = or_environment(backend.probe(&asked), printer)?;
    let mut exit = Exit::Passed;
    for (index, scenario) in scenarios.iter().enumerate() {
        if let Some(reason) = lacking(scenario, &features) {
            printer.note(&format!("{} is skipped: {}", text::one_line(&scenario.label()), text::one_line(&reason)));
            continue;
        }
        match backend.run(scenario) {
            Ok(run) => exit = worse(exit, explain(args, scenario, &run.recording, explained, printer)),
            Err(trouble) => {
                report_trouble(printer, &trouble);
                exit = worse(exit, Exit::Environment);
            }
        }
        if interrupted.load(Ordering::Relaxed) {
            let left = scenarios.len() - index - 1;
            let rest =
                if left > 0 { format!(": {} not run", text::count(left as u64, "scenario")) } else { String::new() };
            printer.note(&format!("interrupted{rest}"));
            return Ok(Exit::Interrupted);
        }
    }
    Ok(exit)
}

/// Explains one run. A broken rule is a failure, unless it is a known fault of the kernel.
fn explain(
    args: &ExplainArgs,
    scenario: &Scenario,
    recording: &Recording,
    explained: &mut usize,
    printer: &mut Printer,
) -> Exit {
    let scenario = recording.header.form(scenario).scenario();
    let reference = reference::consult(scenario, recording);
    if args.json {
        printer.line(&report::explanation_json(scenario, recording, &reference).to_string());
    } else {
        if *explained > 0 {
            printer.line("");
        }
        printer.out(&report::explanation(scenario, recording, &reference, printer.style()));
    }
    *explained += 1;
    let known = |decision: &Decision| scenario.expect.broken_rule(decision.rule.name).is_some();
    if reference.violations().all(known) { Exit::Passed } else { Exit::Failed }
}
