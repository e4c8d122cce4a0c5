//! `mptcplab check`: all errors of all files, without running anything.

use std::path::PathBuf;

use indexmap::IndexSet;

use crate::report::Printer;
use crate::scenario::model::{Program, Scenario};
use crate::scenario::{self, FindError, Found};
use crate::text;

use super::args::CheckArgs;
use super::backend::Backend;
use super::{Exit, complain, fix, hint, orphans};

pub(super) fn execute(args: &CheckArgs, backend: &dyn Backend, printer: &mut Printer) -> Exit {
    let mut paths = args.paths.clone();
    if args.fix {
        match fix::rewrite(&args.paths, args.quiet, printer) {
            // Topologies and lists of kernels: there is nothing more to say.
            Ok(scenarios) if scenarios.is_empty() => return Exit::Passed,
            Ok(scenarios) => paths = scenarios,
            Err(exit) => return exit,
        }
    }
    match load(&paths, backend, printer) {
        Ok(scenarios) => {
            orphans::settle(&paths, &scenarios, args.prune_snapshots, args.quiet, printer);
            if !args.quiet {
                tell_programs(&scenarios, printer);
                printer.line(&format!("{} without errors", text::count(scenarios.len() as u64, "scenario")));
            }
            Exit::Passed
        }
        Err(exit) => exit,
    }
}

/// Says what the scenarios would start.
fn tell_programs(scenarios: &[Scenario], printer: &mut Printer) {
    for scenario in scenarios {
        let lines: IndexSet<String> = scenario.programs().map(Program::command_line).collect();
        for line in lines {
            printer.line(&format!("{} starts {}", text::one_line(&scenario.label()), text::one_line(&line)));
        }
    }
}

/// All scenarios of these paths. Errors in all files are written to standard error at once.
pub(super) fn load(paths: &[PathBuf], backend: &dyn Backend, printer: &mut Printer) -> Result<Vec<Scenario>, Exit> {
    load_good(paths, false, backend, printer).map(|(scenarios, _)| scenarios)
}

/// The same, with the number of unusable files. They are an error, unless `keep_going` is given and other files are
/// usable.
pub(super) fn load_good(
    paths: &[PathBuf],
    keep_going: bool,
    backend: &dyn Backend,
    printer: &mut Printer,
) -> Result<(Vec<Scenario>, usize), Exit> {
    let Found { files, left_out } = find(paths, printer)?;
    tell_left_out(&left_out, printer);
    let colour = printer.error_style().colour;
    let mut scenarios = Vec::new();
    let mut bad = 0;
    for file in &files {
        match backend.load(file, colour) {
            Ok(variants) => scenarios.extend(variants),
            Err(diagnostics) => {
                bad += 1;
                printer.note(diagnostics.trim_end_matches('\n'));
            }
        }
    }
    if bad > 0 {
        complain(printer, &format!("{bad} of {} can't be used", text::count(files.len() as u64, "scenario file")));
        if !keep_going || scenarios.is_empty() {
            return Err(Exit::Usage);
        }
    }
    Ok((scenarios, bad))
}

/// The files of these paths.
pub(super) fn find(paths: &[PathBuf], printer: &mut Printer) -> Result<Found, Exit> {
    scenario::find(paths).map_err(|error| {
        complain(printer, &error.to_string());
        if let FindError::Unreadable { path, source } = &error
            && source.kind() == std::io::ErrorKind::NotFound
            && path.extension().is_none()
        {
            hint(printer, "`mptcplab --help` lists the commands; anything else is taken as a file or folder to run");
        }
        if let FindError::Empty { left_out, .. } = &error {
            tell_left_out(left_out, printer);
        }
        Exit::Usage
    })
}

/// Reports files that look like scenarios but are ignored, so that nobody believes that they ran.
fn tell_left_out(left_out: &[String], printer: &mut Printer) {
    const SHOWN: usize = 5;
    for line in left_out.iter().take(SHOWN) {
        printer.note(&format!("left out: {}", text::printable(line)));
    }
    if let Some(more @ 1..) = left_out.len().checked_sub(SHOWN) {
        printer.note(&format!("left out: {more} more; name files explicitly to use them"));
    }
}
