//! `mptcplab run`: scenarios from files to verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::judge::{Finding, FindingKind, Verdict};
use crate::plan;
use crate::recording::{self, Recording};
use crate::report::{Printer, RunReport, Totals};
use crate::scenario::model::{Feature, Scenario};
use crate::session::{lacking, missing};
use crate::text;

use super::args::{Requirement, RunArgs};
use super::lab::{Availability, Lab, Trouble};
use super::present::{Detail, show};
use super::{Exit, check, complain, hint, pool, report_trouble};

pub(super) fn execute(args: &RunArgs, lab: &dyn Lab, printer: &mut Printer) -> Exit {
    prepare(args, lab, printer).map_or_else(
        |exit| exit,
        |scenarios| {
            if args.list {
                list(&scenarios, printer);
                Exit::Passed
            } else if args.dry_run {
                dry_run(&scenarios, printer);
                Exit::Passed
            } else {
                run(args, &scenarios, lab, printer).unwrap_or_else(|exit| exit)
            }
        },
    )
}

/// The scenarios that are asked for.
fn prepare(args: &RunArgs, lab: &dyn Lab, printer: &mut Printer) -> Result<Vec<Scenario>, Exit> {
    // First of all: it may set environment variables, which only a single thread may.
    lab.prepare_snapshots(args.update);
    let mut scenarios = check::load(&args.paths, lab, printer)?;
    if let Some(filter) = &args.filter {
        let all = scenarios.len();
        let wanted = filter.to_lowercase();
        scenarios.retain(|scenario| {
            scenario.label().to_lowercase().contains(&wanted) || scenario.title.to_lowercase().contains(&wanted)
        });
        if scenarios.is_empty() {
            let all = text::count(all as u64, "scenario");
            complain(printer, &format!("none of {all} has `{filter}` in its label or title"));
            hint(printer, "`--list` lists them");
            return Err(Exit::Usage);
        }
    }
    if let Some(record) = &args.record
        && scenarios.len() > 1
        && !record.is_dir()
    {
        let scenarios = text::count(scenarios.len() as u64, "scenario");
        complain(printer, &format!("`{}` can't take the recordings of {scenarios}", record.display()));
        hint(printer, "name a folder that exists");
        return Err(Exit::Usage);
    }
    Ok(scenarios)
}

fn list(scenarios: &[Scenario], printer: &mut Printer) {
    let labels: Vec<String> = scenarios.iter().map(|scenario| text::one_line(&scenario.label())).collect();
    let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    for (label, scenario) in labels.iter().zip(scenarios) {
        printer.line(&format!("{label:<width$}  {}", text::one_line(&scenario.title)));
    }
}

fn dry_run(scenarios: &[Scenario], printer: &mut Printer) {
    for (index, scenario) in scenarios.iter().enumerate() {
        if index > 0 {
            printer.line("");
        }
        printer.line(&format!("# {}", text::one_line(&scenario.label())));
        printer.line(&format!("# {}", text::one_line(&scenario.title)));
        printer.line("");
        printer.out(&plan::shell(&plan::plan(scenario)));
    }
}

/// One run of one scenario.
struct Job<'a> {
    scenario: &'a Scenario,
    repetition: Option<(usize, usize)>,
}

/// What came of it.
struct Done {
    verdict: Verdict,
    recording: Option<Recording>,
    duration: Duration,
}

fn run(args: &RunArgs, scenarios: &[Scenario], lab: &dyn Lab, printer: &mut Printer) -> Result<Exit, Exit> {
    let begin = Instant::now();
    lab.enter().map_err(|trouble| {
        report_trouble(printer, &trouble);
        hint(printer, "`mptcplab doctor` tells what is missing");
        Exit::Environment
    })?;
    let features = probe(args, scenarios, lab, printer)?;
    let jobs = jobs(args, scenarios);
    let detail = match args {
        RunArgs { json: true, .. } => Detail::Json,
        RunArgs { quiet: true, .. } => Detail::Quiet,
        RunArgs { verbose: true, .. } => Detail::Story,
        _ if jobs.len() == 1 => Detail::Story,
        _ => Detail::Lines,
    };
    let mut tally = Tally { args, detail, totals: Totals::default(), unwritten: false };
    let workers = args.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, usize::from);
    // Those that can't share the machine come last, one after the other.
    let (alone, together): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.scenario.alone);
    let mut flow = ControlFlow::Continue(());
    for (jobs, workers) in [(&together, workers), (&alone, 1)] {
        if flow.is_continue() {
            let work = |job: &Job| carry_out(job.scenario, &features, &args.require, lab);
            pool::in_order(jobs, workers, work, |job, done| {
                flow = tally.take(printer, job, &done);
                flow
            });
        }
    }
    tally.totals.left_out = together.len() + alone.len() - tally.totals.all();
    let totals = tally.totals;
    let line = totals.line(begin.elapsed(), printer.style());
    match detail {
        Detail::Json => printer.note(&line),
        Detail::Lines | Detail::Story if together.len() + alone.len() > 1 => printer.line(&line),
        _ => {}
    }
    Ok(if tally.unwritten && totals.failed == 0 { Exit::Environment } else { Exit::of(&totals) })
}

/// Tries the features that the scenarios and the command line ask for.
fn probe(
    args: &RunArgs,
    scenarios: &[Scenario],
    lab: &dyn Lab,
    printer: &mut Printer,
) -> Result<BTreeMap<Feature, Availability>, Exit> {
    let required: BTreeSet<Feature> = args
        .require
        .iter()
        .filter_map(|requirement| match requirement {
            Requirement::Feature(feature) => Some(feature.clone()),
            Requirement::All => None,
        })
        .collect();
    let asked = scenarios.iter().flat_map(|scenario| scenario.requires.iter().cloned());
    let features = lab.probe(&asked.chain(required.iter().cloned()).chain([Feature::Mptcp]).collect());
    let mut incomplete = false;
    for feature in required.iter().chain([&Feature::Mptcp]) {
        if let Some(reason) = missing(feature, &features) {
            complain(printer, &format!("this kernel lacks `{}`: {reason}", feature.word()));
            incomplete = true;
        }
    }
    if incomplete {
        hint(printer, "`mptcplab doctor` tells how to get what is missing");
        return Err(Exit::Environment);
    }
    Ok(features)
}

fn jobs<'a>(args: &RunArgs, scenarios: &'a [Scenario]) -> Vec<Job<'a>> {
    match args.repeat.map_or(1, usize::from) {
        1 => scenarios.iter().map(|scenario| Job { scenario, repetition: None }).collect(),
        times => (1..=times)
            .flat_map(|run| scenarios.iter().map(move |scenario| Job { scenario, repetition: Some((run, times)) }))
            .collect(),
    }
}

/// On a worker thread: runs and judges one scenario.
fn carry_out(
    scenario: &Scenario,
    features: &BTreeMap<Feature, Availability>,
    required: &[Requirement],
    lab: &dyn Lab,
) -> Done {
    let begin = Instant::now();
    if let Some(reason) = lacking(scenario, features) {
        let verdict = if required.contains(&Requirement::All) {
            Verdict::Error(vec![setup_finding(format!("{reason} (an error because of `--require all`)"))])
        } else {
            Verdict::Skipped { reason }
        };
        return Done { verdict, recording: None, duration: begin.elapsed() };
    }
    // A defect of ours in one scenario must not take the others' verdicts along.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let recording = lab.run(scenario)?;
        Ok((lab.verdict(scenario, &recording), recording))
    }));
    let (verdict, recording) = match outcome {
        Ok(Ok((verdict, recording))) => (verdict, Some(recording)),
        Ok(Err(trouble)) => (Verdict::Error(vec![trouble_finding(trouble)]), None),
        Err(_) => {
            let summary = "mptcplab itself failed (a panic; its message is above): this is a defect of mptcplab";
            (Verdict::Error(vec![setup_finding(summary.to_owned())]), None)
        }
    };
    Done { verdict, recording, duration: begin.elapsed() }
}

fn setup_finding(summary: String) -> Finding {
    Finding { kind: FindingKind::Setup, place: None, summary, detail: String::new(), at: None }
}

fn trouble_finding(trouble: Trouble) -> Finding {
    let (summary, rest) = match trouble.message.split_once('\n') {
        Some((first, rest)) => (first.to_owned(), rest.to_owned()),
        None => (trouble.message, String::new()),
    };
    let hints = trouble.hints.iter().map(|hint| format!("hint: {hint}"));
    let detail: Vec<String> = Some(rest).filter(|rest| !rest.is_empty()).into_iter().chain(hints).collect();
    Finding { detail: detail.join("\n"), ..setup_finding(summary) }
}

/// Takes the results in, one after the other.
struct Tally<'a> {
    args: &'a RunArgs,
    detail: Detail,
    totals: Totals,
    /// A recording could not be written.
    unwritten: bool,
}

impl Tally<'_> {
    fn take(&mut self, printer: &mut Printer, job: &Job, done: &Done) -> ControlFlow<()> {
        self.totals.add(&done.verdict);
        let run = RunReport {
            scenario: job.scenario,
            verdict: &done.verdict,
            duration: done.duration,
            repetition: job.repetition,
        };
        show(printer, self.detail, &run, done.recording.as_ref());
        if let (Some(target), Some(recording)) = (&self.args.record, &done.recording)
            && let Err(message) = store(target, job.scenario, recording)
        {
            complain(printer, &message);
            self.unwritten = true;
        }
        let failed = matches!(done.verdict, Verdict::Failed(_) | Verdict::Error(_));
        if failed && self.args.fail_fast { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Writes a recording to the file, or into the folder by its label.
fn store(target: &Path, scenario: &Scenario, recording: &Recording) -> Result<(), String> {
    let path = if target.is_dir() { target.join(file_name(scenario)) } else { target.to_owned() };
    let refused = |error: &dyn std::fmt::Display| format!("can't write the recording to `{}`: {error}", path.display());
    let file = std::fs::File::create(&path).map_err(|error| refused(&error))?;
    recording::write(recording, std::io::BufWriter::new(file)).map_err(|error| refused(&error))
}

/// The label as a file name: nothing in it may lead out of the folder.
fn file_name(scenario: &Scenario) -> PathBuf {
    let label = scenario.label().trim_start_matches(['.', '/']).replace('/', "__");
    let plain: String = label
        .chars()
        .map(|character| if character.is_alphanumeric() || "-_@.".contains(character) { character } else { '-' })
        .collect();
    PathBuf::from(format!("{plain}.jsonl"))
}
