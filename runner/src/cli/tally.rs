//! Takes in what the workers tell, and brings it out: results in order, evidence, recordings, progress.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::evidence::{Case, Shelf};
use crate::files;
use crate::judge::{Candidate, Verdict, kernel_remark, without_kernel_log};
use crate::recording::{self, Recording};
use crate::report::{self, Junit, Printer, Progress, Totals, transfer_rates};
use crate::results::Store;
use crate::scenario::model::Scenario;
use crate::text;

use super::args::{Format, RunArgs};
use super::bisect::Bisection;
use super::human::{Detail, Human, Stories};
use super::output::{Ending, Output};
use super::pool::Event;
use super::row::Row;
use super::schedule::Schedule;
use super::suspects::{Cleared, Suspects};
use super::update::Updates;
use super::work::Done;
use super::{Exit, complain, hint};

/// Of so many failing runs of a scenario the evidence is kept.
const EVIDENCE_OF_EACH: usize = 3;

/// `WARN_ON_ONCE` remembers for each place whether it has warned (`__warn_printk` behind `DO_ONCE_LITE`,
/// include/linux/once_lite.h); the file is kernel/panic.c's (`clear_warn_once_set`).
const WARNS_ONCE: &str = "most warnings come once until the machine is restarted, or until `1` is written to \
                          `/sys/kernel/debug/clear_warn_once`; then, `--jobs 1` tells which scenario it is";

/// Takes in what the workers tell.
pub(super) struct Tally<'a> {
    args: &'a RunArgs,
    schedule: &'a Schedule<'a>,
    printer: &'a mut Printer,
    output: Output<'a>,
    begin: Instant,
    totals: Totals,
    progress: Option<Progress>,
    /// Runs that have ended before one that comes before them.
    early: BTreeMap<usize, Row<'a>>,
    /// The run whose turn it is.
    next: usize,
    pairs: BTreeMap<usize, Pair<'a>>,
    evidence: Option<Shelf>,
    /// How many folders there are of each scenario.
    evidence_of: BTreeMap<usize, usize>,
    junit: Option<Junit>,
    results: Option<Store>,
    bisection: Bisection,
    updates: Option<Updates>,
    /// A file could not be written.
    unwritten: bool,
    stopped: bool,
    running: usize,
    suspects: Suspects,
}

/// A passing and a failing run of a scenario.
struct Pair<'a> {
    scenario: &'a Scenario,
    passing: Option<Recording>,
    failing: Option<Recording>,
}

impl<'a> Tally<'a> {
    /// `one_file`: all scenarios are of one file. `results`: where what they come to is stored.
    pub(super) fn new(
        args: &'a RunArgs,
        schedule: &'a Schedule<'a>,
        one_file: bool,
        results: Option<Store>,
        printer: &'a mut Printer,
    ) -> Self {
        let planned = schedule.runs();
        let repeats = schedule.repetition(0).is_some();
        let stories = match args {
            RunArgs { quiet: true, .. } => Stories::None,
            RunArgs { verbose: true, .. } => Stories::All,
            _ if one_file && !repeats => Stories::First,
            _ => Stories::None,
        };
        let detail = Detail { quiet: args.quiet, stories, repeats, show_snapshot: args.show_snapshot };
        // Without an end the number of tests is only known when all is over, and with `--until-fail` it need not be
        // reached.
        let output = match args.format() {
            Format::Human => Output::Human(Box::new(Human::new(detail, planned))),
            Format::Tap => Output::Tap { tests: 0, planned: planned.filter(|_| !args.until_fail) },
            Format::Json => Output::Json,
        };
        Self {
            args,
            schedule,
            printer,
            output,
            begin: Instant::now(),
            totals: Totals { without_snapshot: args.no_snapshot, ..Totals::default() },
            progress: (planned != Some(1)).then(|| Progress::new(planned)),
            early: BTreeMap::new(),
            next: 0,
            pairs: BTreeMap::new(),
            evidence: (!args.no_evidence).then(|| Shelf::new(args.evidence.clone())),
            evidence_of: BTreeMap::new(),
            junit: args.junit.is_some().then(Junit::default),
            results,
            bisection: Bisection::default(),
            updates: args.update.then(|| Updates::new(args.repeat.map_or(1, NonZeroUsize::get))),
            unwritten: false,
            stopped: false,
            running: 0,
            suspects: Suspects::default(),
        }
    }

    /// Before the first run.
    pub(super) fn begin(&mut self) {
        self.output.begin(self.printer);
    }

    /// One thing that a worker tells. A break: no further run shall begin.
    pub(super) fn hear(&mut self, event: Event<Done>) -> ControlFlow<()> {
        match event {
            Event::Begun(run) => self.begun(run),
            Event::Ended(run, done) => self.ended(run, done),
            Event::Interrupted => self.interrupted(),
        }
        if let Some(progress) = &self.progress {
            let line = progress.line(self.printer.error_style());
            self.printer.status(&line);
        }
        if self.stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn begun(&mut self, run: usize) {
        self.running += 1;
        self.suspects.begun(run);
        if let (Some(progress), Some(scenario)) = (&mut self.progress, self.schedule.scenario(run)) {
            progress.begin(run, text::one_line(&scenario.label()));
        }
    }

    fn interrupted(&mut self) {
        self.totals.interrupted = true;
        self.stopped = true;
        let rest = match self.running {
            0 => String::new(),
            running => {
                format!(": waiting for {} to end; once more ends all at once", text::count(running as u64, "run"))
            }
        };
        self.printer.note(&format!("interrupted{rest}"));
    }

    fn ended(&mut self, run: usize, done: Done) {
        self.running = self.running.saturating_sub(1);
        match self.suspects.ended(run, done, self.schedule) {
            Some(done) => self.settle_run(run, done, false),
            None => {
                // Whosever it is, it fails the whole.
                self.stopped |= self.args.fail_fast || self.args.until_fail;
            }
        }
    }

    /// The scenarios that must run again alone, each with the number of a run: a kernel warning came while they were on,
    /// beside others.
    pub(super) fn to_run_alone(&self) -> Vec<(usize, &'a Scenario)> {
        if self.totals.interrupted { Vec::new() } else { self.suspects.to_run_alone(self.schedule) }
    }

    /// One thing that a worker tells while scenarios run again alone.
    pub(super) fn hear_alone(&mut self, event: Event<Done>) -> ControlFlow<()> {
        match event {
            Event::Begun(run) => {
                self.running += 1;
                let label = self.schedule.scenario(run).map(Scenario::label).unwrap_or_default();
                self.printer.status(&format!("a kernel warning came: {} runs again, alone", text::one_line(&label)));
            }
            Event::Ended(run, done) => {
                self.running = self.running.saturating_sub(1);
                self.suspects.ran_alone(run, done, self.schedule);
            }
            Event::Interrupted => self.interrupted(),
        }
        if self.totals.interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Takes in the runs that were held until it was known whose the kernel's warning is. `judged` gives a verdict on a
    /// recording.
    pub(super) fn settle_suspects(&mut self, judged: impl Fn(&Scenario, &Recording) -> (Verdict, Option<Candidate>)) {
        for Cleared { run, mut done, acquitted, unassigned } in self.suspects.settle(self.schedule) {
            if let (Some(scenario), Some(run)) = (self.schedule.scenario(run), &done.run) {
                (done.verdict, done.candidate) = if acquitted {
                    judged(scenario, &without_kernel_log(&run.recording))
                } else {
                    judged(scenario, &run.recording)
                };
            }
            self.settle_run(run, done, unassigned);
        }
    }

    /// A run with its verdict. `unassigned`: the evidence of what the kernel complained of is kept with it.
    fn settle_run(&mut self, run: usize, mut done: Done, unassigned: bool) {
        let Some(scenario) = self.schedule.scenario(run) else { return };
        if let (Some(updates), Some(candidate)) = (&mut self.updates, done.candidate.take()) {
            updates.add(self.schedule.position(run), &candidate, &mut done.verdict);
        }
        self.totals.add(&done.verdict);
        self.bisection.add(scenario, &done.verdict);
        let bad = matches!(done.verdict, Verdict::Failed(_) | Verdict::Error(_));
        if let Some(progress) = &mut self.progress {
            progress.end(run, bad);
        }
        self.stopped |= bad && (self.args.fail_fast || self.args.until_fail);
        let row = self.row(run, scenario, done, bad || unassigned);
        self.early.insert(run, row);
        while let Some(row) = self.early.remove(&self.next) {
            self.next += 1;
            self.show(row);
        }
    }

    /// Writes what there is to write about a run, and keeps the rest for when it is its turn.
    fn row(&mut self, run: usize, scenario: &'a Scenario, done: Done, telling: bool) -> Row<'a> {
        let (position, repetition) = (self.schedule.position(run), self.schedule.repetition(run));
        let evidence = if telling {
            let Done { verdict, run, duration, .. } = &done;
            self.keep_evidence(
                position,
                &Case { scenario, verdict, duration: *duration, run: run.as_ref(), repetition },
            )
        } else {
            None
        };
        let Done { verdict, run, duration, .. } = done;
        let mut recording = run.map(|run| run.recording);
        let rates = recording.as_ref().map(transfer_rates).unwrap_or_default();
        let remark = recording.as_ref().and_then(kernel_remark);
        if let (Some(target), Some(recording)) = (&self.args.record, &recording) {
            let stored = store(target, scenario, recording);
            self.settle(stored);
        }
        if let Some(results) = &mut self.results {
            let stored = results.add(position, scenario, &verdict, duration, recording.as_ref());
            self.settle(stored.map_err(|error| error.to_string()));
        }
        if repetition.is_some() {
            self.pair(position, scenario, &verdict, recording.take());
        }
        let bad = matches!(verdict, Verdict::Failed(_) | Verdict::Error(_));
        let recording = recording.filter(|_| self.output.needs_recording(position, bad));
        let compared = !self.args.no_snapshot;
        Row { scenario, position, verdict, duration, repetition, compared, rates, remark, recording, evidence }
    }

    fn keep_evidence(&mut self, position: usize, case: &Case<'_>) -> Option<std::path::PathBuf> {
        let evidence = self.evidence.as_mut()?;
        let folders = self.evidence_of.entry(position).or_default();
        if *folders >= EVIDENCE_OF_EACH {
            return None;
        }
        *folders += 1;
        let folder = evidence.keep(case).map_err(|error| error.to_string());
        self.settle(folder)
    }

    /// Remembers that something could not be written.
    fn settle<T>(&mut self, outcome: Result<T, String>) -> Option<T> {
        outcome
            .map_err(|message| {
                complain(self.printer, &message);
                self.unwritten = true;
            })
            .ok()
    }

    /// Keeps the first passing and the first failing recording of a scenario that runs several times.
    fn pair(&mut self, position: usize, scenario: &'a Scenario, verdict: &Verdict, recording: Option<Recording>) {
        let pair = self.pairs.entry(position).or_insert(Pair { scenario, passing: None, failing: None });
        let place = match verdict {
            Verdict::Passed => &mut pair.passing,
            Verdict::Failed(_) | Verdict::Error(_) => &mut pair.failing,
            Verdict::Skipped { .. } => return,
        };
        if place.is_none() {
            *place = recording;
        }
    }

    fn show(&mut self, row: Row<'a>) {
        if let Some(junit) = &mut self.junit {
            let evidence = row.evidence.as_ref().map(|folder| folder.display().to_string());
            junit.add(&row.report(), evidence.as_deref());
        }
        self.output.row(self.printer, row);
    }

    /// After the last run. `late_trouble` is what the kernel said about problems of its own while nothing ran;
    /// what it said while something ran that it doesn't belong to comes on top.
    pub(super) fn finish(mut self, mut late_trouble: Vec<String>) -> Exit {
        // What was left out has left gaps.
        for row in std::mem::take(&mut self.early).into_values() {
            self.show(row);
        }
        if !self.args.until_fail || self.totals.interrupted {
            self.totals.left_out = self.schedule.runs().map_or(0, |runs| runs.saturating_sub(self.totals.all()));
        }
        for line in &late_trouble {
            complain(self.printer, &format!("the kernel reported a problem while no scenario ran: {line}"));
        }
        let unassigned = self.suspects.unassigned();
        for line in &unassigned {
            complain(self.printer, &format!("the kernel reported a problem that belongs to no scenario: {line}"));
            hint(self.printer, WARNS_ONCE);
        }
        late_trouble.extend(unassigned);
        let took = self.begin.elapsed();
        self.write_junit(took, &late_trouble);
        self.finish_results(&late_trouble);
        let departures = self.departures();
        let exit = match Exit::of(&self.totals) {
            Exit::Interrupted => Exit::Interrupted,
            _ if !late_trouble.is_empty() => Exit::Failed,
            Exit::Failed => Exit::Failed,
            _ if self.unwritten => Exit::Environment,
            exit => exit,
        };
        let exit =
            if self.args.bisect { self.bisection.exit(exit, !late_trouble.is_empty(), self.printer) } else { exit };
        let updates = self.updates.as_ref().map(Updates::lines).unwrap_or_default();
        let ending = Ending { totals: self.totals, took, departures, late_trouble, updates };
        self.output.finish(self.printer, &ending);
        exit
    }

    /// Only what is complete is stored as results.
    fn finish_results(&mut self, late_trouble: &[String]) {
        let Some(results) = self.results.take() else { return };
        if self.unwritten || self.totals.left_out > 0 || self.totals.interrupted {
            complain(self.printer, "no results were stored: the run is not complete");
            return;
        }
        let stored = results.finish(SystemTime::now(), late_trouble.to_vec());
        self.settle(stored.map_err(|error| error.to_string()));
    }

    fn departures(&self) -> Vec<(usize, String)> {
        let departure = |(position, pair): (&usize, &Pair<'_>)| {
            let (passing, failing) = (pair.passing.as_ref()?, pair.failing.as_ref()?);
            Some((*position, report::departure(pair.scenario, passing, failing)))
        };
        self.pairs.iter().filter_map(departure).collect()
    }

    fn write_junit(&mut self, took: Duration, late_trouble: &[String]) {
        let (Some(mut junit), Some(path)) = (self.junit.take(), &self.args.junit) else { return };
        if self.totals.left_out > 0 || self.totals.interrupted {
            let reason = if self.totals.interrupted { "interrupted" } else { "stopped after the first failure" };
            junit.add_error(
                "the whole",
                &format!("{reason}: {} left out", text::count(self.totals.left_out as u64, "run")),
            );
        }
        for line in late_trouble {
            junit.add_error("the kernel's log", line);
        }
        let written = junit
            .finish(took)
            .and_then(|xml| {
                files::write_named(path, |out| out.write_all(xml.as_bytes())).map_err(|error| error.to_string())
            })
            .map_err(|error| format!("can't write the results to `{}`: {error}", path.display()));
        self.settle(written);
    }
}

/// Writes a recording to the file, or into the folder by its label.
fn store(target: &Path, scenario: &Scenario, recording: &Recording) -> Result<(), String> {
    let name = format!("{}.jsonl", text::file_name(&scenario.label()));
    let path = if target.is_dir() { target.join(name) } else { target.to_owned() };
    files::write_named(&path, |out| recording::write(recording, out).map_err(io::Error::other))
        .map_err(|error| format!("can't write the recording to `{}`: {error}", path.display()))
}
