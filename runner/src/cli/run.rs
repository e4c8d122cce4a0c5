//! `mptcplab run`: scenarios from files to verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;

use indexmap::IndexMap;

use crate::engine::AtWork;
use crate::files::Folder;
use crate::plan;
use crate::report::{Printer, suite_name};
use crate::results::{Found, Store};
use crate::scenario::model::{Feature, Scenario};
use crate::session::{is_sign, missing, regression, with_signs};
use crate::text;

use super::args::{Requirement, RunArgs};
use super::backend::{Availability, Backend};
use super::collector::Collector;
use super::pool::Pool;
use super::schedule::Schedule;
use super::work::{Done, carry_out, judged, run_again};
use super::{Exit, bisect, check, complain, hint, interrupt, limits, or_environment, orphans, select};

/// A scenario spends two thirds of its time waiting, for kernel timers and quiet periods. This many per processor keep
/// it busy; more would only wait for the locks of the kernel's network configuration.
const JOBS_FOR_A_PROCESSOR: usize = 6;

/// The default maximum on any machine: each scenario needs file descriptors, and memory for captured packets.
const MOST_JOBS: usize = 64;

pub(super) fn execute(args: &RunArgs, backend: &dyn Backend, printer: &mut Printer) -> Exit {
    let exit = carry_out_all(args, backend, printer);
    if args.bisect { bisect::settle(exit, printer) } else { exit }
}

fn carry_out_all(args: &RunArgs, backend: &dyn Backend, printer: &mut Printer) -> Exit {
    prepare(args, backend, printer).map_or_else(
        |exit| exit,
        |(scenarios, bad)| {
            let exit = if args.list {
                list(&scenarios, printer);
                Exit::Passed
            } else if args.dry_run {
                dry_run(&scenarios, printer);
                Exit::Passed
            } else {
                run(args, &scenarios, backend, printer).unwrap_or_else(|exit| exit)
            };
            match exit {
                // The valid files must not hide the unusable ones.
                Exit::Passed | Exit::Skipped | Exit::Environment if bad > 0 => {
                    complain(printer, &format!("{} can't be used", text::count(bad as u64, "scenario file")));
                    Exit::Usage
                }
                exit => exit,
            }
        },
    )
}

/// The selected scenarios, and the number of unusable files.
fn prepare(args: &RunArgs, backend: &dyn Backend, printer: &mut Printer) -> Result<(Vec<Scenario>, usize), Exit> {
    let (mut scenarios, bad) = check::load_good(&args.paths, args.keep_going, backend, printer)?;
    if !args.list && !args.dry_run && bad == 0 {
        orphans::settle(&args.paths, &scenarios, args.prune_snapshots, args.quiet, printer);
    }
    let all = text::count(scenarios.len() as u64, "scenario");
    if !args.filter.is_empty() {
        scenarios.retain(|scenario| args.filter.iter().any(|filter| select::matches(scenario, filter)));
        if scenarios.is_empty() {
            let filters: Vec<String> = args.filter.iter().map(|filter| format!("`{filter}`")).collect();
            complain(printer, &format!("none of {all} has a label or title that matches {}", filters.join(" or ")));
            hint(printer, "`--list` lists them");
            return Err(Exit::Usage);
        }
    }
    if let Some(shard) = args.shard {
        scenarios.retain(|scenario| shard.has(scenario));
        if scenarios.is_empty() {
            // No error: there may be more machines than scenarios.
            printer.note(&format!("none of {all} is in shard {shard}"));
        }
    }
    Ok((scenarios, bad))
}

/// Creates the folder for recordings before anything runs, for several scenarios or if the name ends in a slash.
fn make_record_folder(args: &RunArgs, scenarios: &[Scenario], printer: &mut Printer) -> Result<(), Exit> {
    let Some(record) = &args.record else { return Ok(()) };
    if scenarios.len() < 2 && !record.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Ok(());
    }
    Folder::create(record).map(drop).map_err(|error| {
        complain(printer, &format!("can't create the folder `{}` for recordings: {error}", record.display()));
        if record.is_file() {
            let scenarios = text::count(scenarios.len() as u64, "scenario");
            hint(printer, &format!("the recordings of {scenarios} need a folder, but this is a file"));
        }
        Exit::Usage
    })
}

/// The scenarios below their folders. Folder and name together are the label.
fn list(scenarios: &[Scenario], printer: &mut Printer) {
    let mut folders: IndexMap<String, Vec<(String, &str)>> = IndexMap::new();
    for scenario in scenarios {
        let (folder, label) = (suite_name(scenario), scenario.label());
        let name = label.strip_prefix(&folder).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&label);
        let name = text::one_line(name);
        folders.entry(folder).or_default().push((name, &scenario.title));
    }
    let indent = if folders.keys().any(|folder| folder != ".") { "  " } else { "" };
    for (folder, scenarios) in &folders {
        if !indent.is_empty() {
            printer.line(&format!("{}/", text::one_line(folder)));
        }
        let width = scenarios.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, title) in scenarios {
            printer.line(&format!("{indent}{name:<width$}  {}", text::one_line(title)));
        }
    }
}

fn dry_run(scenarios: &[Scenario], printer: &mut Printer) {
    for (index, scenario) in scenarios.iter().enumerate() {
        if index > 0 {
            printer.line("");
        }
        printer.out(&plan::shell(&scenario.label(), &scenario.title, &plan::plan(scenario)));
    }
}

fn run(args: &RunArgs, scenarios: &[Scenario], backend: &dyn Backend, printer: &mut Printer) -> Result<Exit, Exit> {
    make_record_folder(args, scenarios, printer)?;
    if args.bisect {
        interrupt::end_with(Exit::Undecided);
    }
    let entered = backend.hold_interruptions().and_then(|()| backend.enter());
    tell_notes(backend, printer);
    or_environment(entered, printer)?;
    or_environment(limits::check_run(), printer)?;
    backend.set_timeout_scale(args.timeout_scale);
    backend.permit_programs(args.programs.permission());
    let pool: Pool<Done> = Pool::new();
    or_environment(backend.watch_interruptions(Box::new(pool.interrupter())), printer)?;
    let features = probe(args, scenarios, backend, printer)?;
    let workers = jobs(args.jobs.map(NonZeroUsize::get), args.pause.is_some(), backend, printer);
    let rounds = match args.repeat {
        Some(times) => Some(times.get()),
        None if args.until_fail => None,
        None => Some(1),
    };
    let schedule = Schedule::new(scenarios, rounds, workers);
    let one_file = scenarios.windows(2).all(|pair| matches!(pair, [left, right] if left.file == right.file));
    let results = match &args.results {
        Some(folder) => {
            let asked = scenarios.iter().flat_map(Scenario::depends_on).collect();
            Some(begin_results(folder, &features, &asked, backend, printer)?)
        }
        None => None,
    };
    let mut collector = Collector::new(args, &schedule, one_file, results, printer);
    collector.begin();
    let mut no_thread = None;
    for batch in schedule.batches() {
        let work = |(scenario, at_work)| carry_out(scenario, at_work, &features, args, backend);
        let flow = pool.work(at_work(batch.runs()), batch.workers(), work, |event| collector.hear(event));
        let flow = flow.and_then(|flow| {
            // All runs share one kernel log: running each of them alone shows which one caused a warning.
            let suspects = collector.to_run_alone();
            let jobs = usize::from(!suspects.is_empty());
            let again = |(scenario, at_work)| run_again(scenario, at_work, args, backend);
            pool.work(at_work(suspects.into_iter()), jobs, again, |event| collector.hear_alone(event))
                .map(|alone| if alone.is_break() { alone } else { flow })
        });
        collector.settle_suspects(|scenario, recording| judged(scenario, recording, args, backend));
        match flow {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(error) => {
                no_thread = Some(error);
                break;
            }
        }
    }
    let late_trouble = backend.late_trouble();
    let exit = collector.finish(late_trouble);
    tell_notes(backend, printer);
    if let Some(error) = no_thread {
        complain(printer, &format!("can't start a thread to run scenarios: {error}"));
        hint(printer, "check the limits on threads: `ulimit -u`, and pids.max of the control group");
        return Err(Exit::Environment);
    }
    Ok(exit)
}

/// The jobs, each counted as work from the moment it is handed out.
fn at_work<'a>(
    jobs: impl Iterator<Item = (usize, &'a Scenario)>,
) -> impl Iterator<Item = (usize, (&'a Scenario, AtWork))> {
    jobs.map(|(number, scenario)| (number, (scenario, AtWork::new())))
}

fn tell_notes(backend: &dyn Backend, printer: &mut Printer) {
    for note in backend.notes() {
        printer.note(&text::printable(&note));
    }
}

/// Begins to store results. Features that are true only at this moment are not the kernel's, and left out.
fn begin_results(
    folder: &Path,
    features: &BTreeMap<Feature, Availability>,
    asked: &BTreeSet<Feature>,
    backend: &dyn Backend,
    printer: &mut Printer,
) -> Result<Store, Exit> {
    let found = |(feature, availability): (&Feature, &Availability)| match availability {
        Availability::Yes => (feature.word(), Found::Yes),
        Availability::No(reason) => {
            let why = regression(feature, features).unwrap_or_else(|| reason.clone());
            (feature.word(), Found::No(why))
        }
    };
    // Signs tell what must be there; nothing depends on them.
    let is_kept = |(feature, _): &(&Feature, &Availability)| {
        !is_of_the_moment(feature) && (!is_sign(feature) || asked.contains(feature))
    };
    let found = features.iter().filter(is_kept).map(found).collect();
    Store::begin(folder, backend.kernel(), found).map_err(|error| {
        complain(printer, &error.to_string());
        Exit::Environment
    })
}

fn is_of_the_moment(feature: &Feature) -> bool {
    *feature == Feature::NoEventListener
}

/// How many scenarios run at a time: as many as requested, within the limits; one, if it may get a shell.
fn jobs(asked: Option<usize>, paused: bool, backend: &dyn Backend, printer: &mut Printer) -> usize {
    if paused {
        return 1;
    }
    let (most, bound) = limits::most_jobs();
    let wanted = asked.or_else(|| backend.jobs()).unwrap_or_else(default_jobs);
    if asked.is_some() && wanted > most {
        printer.note(&format!("running {most} scenarios at a time, not {wanted}: {bound}"));
    }
    wanted.min(most)
}

fn default_jobs() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (processors * JOBS_FOR_A_PROCESSOR).min(MOST_JOBS)
}

/// Probes the features that the scenarios and the command line require.
fn probe(
    args: &RunArgs,
    scenarios: &[Scenario],
    backend: &dyn Backend,
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
    let asked = scenarios.iter().flat_map(Scenario::depends_on);
    let known = args.results.iter().flat_map(|_| Feature::PLAIN.iter().map(|(_, feature)| feature.clone()));
    let of_the_kernel = known.filter(|feature| !is_of_the_moment(feature));
    let all = asked.chain(required.iter().cloned()).chain(of_the_kernel).chain([Feature::Mptcp]);
    let all = with_signs(all.collect());
    let features = backend.probe(&all).map_err(|trouble| {
        complain(printer, &format!("can't probe this kernel's features: {}", trouble.message));
        trouble.hints.iter().for_each(|advice| hint(printer, advice));
        Exit::Environment
    })?;
    let mut incomplete = false;
    for feature in required.iter().chain([&Feature::Mptcp]) {
        if let Some(reason) = missing(feature, &features) {
            complain(printer, &format!("this kernel lacks `{}`: {reason}", feature.word()));
            incomplete = true;
        }
    }
    if incomplete {
        hint(printer, "`mptcplab doctor` shows how to get missing features");
        return Err(Exit::Environment);
    }
    Ok(features)
}
