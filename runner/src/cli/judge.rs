//! `mptcplab judge`: a stored recording gets the verdict that the live one would get.

use std::path::Path;
use std::time::Instant;

use crate::judge::Verdict;
use crate::recording::{self, Recording};
use crate::report::{Printer, RunReport, Totals, transfer_rates};

use super::args::JudgeArgs;
use super::lab::Lab;
use super::present::{show_json, show_story, show_verdict};
use super::{Exit, complain, hint, open_recording};

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
    let rates = transfer_rates(&recording);
    let duration = begin.elapsed();
    let run = RunReport { scenario: &scenario, verdict: &verdict, duration, repetition: None, rates: &rates };
    if args.json {
        show_json(printer, &run);
    } else if !args.quiet {
        show_story(printer, &scenario, Some(&recording));
        show_verdict(printer, &run);
    } else if verdict != Verdict::Passed {
        show_verdict(printer, &run);
    }
    let mut totals = Totals::default();
    totals.add(&verdict);
    Exit::of(&totals)
}

fn read(file: &Path) -> Result<Recording, String> {
    let input = open_recording(file).map_err(|error| format!("can't read `{}`: {error}", file.display()))?;
    recording::read(input).map_err(|error| format!("`{}` is no recording: {error}", file.display()))
}
