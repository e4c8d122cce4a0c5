//! `mptcplab judge`: a stored recording gets the verdict that the live one would get.

use std::path::Path;
use std::time::Instant;

use crate::recording::{self, Recording};
use crate::report::{Printer, RunReport, Totals};

use super::args::JudgeArgs;
use super::lab::Lab;
use super::present::{Detail, show};
use super::{Exit, complain, hint, open};

pub(super) fn execute(args: &JudgeArgs, lab: &dyn Lab, printer: &mut Printer) -> Exit {
    lab.prepare_snapshots(args.update);
    let begin = Instant::now();
    let recording = match read(&args.file) {
        Ok(recording) => recording,
        Err(message) => {
            complain(printer, &message);
            hint(printer, "`mptcplab run --record FILE` writes recordings");
            return Exit::Usage;
        }
    };
    let scenario = match lab.load_recorded(&recording.header, printer.error_style().colour) {
        Ok(scenario) => scenario,
        Err(diagnostics) => {
            printer.note(diagnostics.trim_end_matches('\n'));
            complain(printer, &format!("the scenario in `{}` can't be used", args.file.display()));
            return Exit::Usage;
        }
    };
    let verdict = lab.verdict(&scenario, &recording);
    let detail = match args {
        JudgeArgs { json: true, .. } => Detail::Json,
        JudgeArgs { quiet: true, .. } => Detail::Quiet,
        _ => Detail::Story,
    };
    let run = RunReport { scenario: &scenario, verdict: &verdict, duration: begin.elapsed(), repetition: None };
    show(printer, detail, &run, Some(&recording));
    let mut totals = Totals::default();
    totals.add(&verdict);
    Exit::of(&totals)
}

fn read(file: &Path) -> Result<Recording, String> {
    let input = open(file).map_err(|error| format!("can't read `{}`: {error}", file.display()))?;
    recording::read(input).map_err(|error| format!("`{}` is no recording: {error}", file.display()))
}
