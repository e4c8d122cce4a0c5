//! Collects the workers' events, and passes them on: runs to the reports, in order, and progress to the terminal.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use crate::evidence::Case;
use crate::judge::{Candidate, Judged, Verdict, kernel_remark, without_kernel_log};
use crate::recording::Recording;
use crate::report::{self, Printer, Progress, Totals, transfer_rates};
use crate::results::Store;
use crate::scenario::model::Scenario;
use crate::text;

use super::args::RunArgs;
use super::bisect::Bisection;
use super::pool::Event;
use super::reports::{self, Ended, Ending, Report, Row, Scope};
use super::schedule::Schedule;
use super::suspects::{Cleared, Suspects};
use super::update::Updates;
use super::work::Done;
use super::{Exit, complain, hint};

/// `WARN_ON_ONCE` remembers for each place whether it has warned (`__warn_printk` behind `DO_ONCE_LITE`,
/// include/linux/once_lite.h); the file is kernel/panic.c's (`clear_warn_once_set`).
const WARNS_ONCE: &str = "the kernel prints most warnings once per boot: restart the machine, or write `1` to \
                          `/sys/kernel/debug/clear_warn_once`; then find the scenario with `--jobs 1`";

/// Collects the workers' events.
pub(super) struct Collector<'a> {
    args: &'a RunArgs,
    schedule: &'a Schedule<'a>,
    printer: &'a mut Printer,
    reports: Vec<Box<dyn Report<'a> + 'a>>,
    begin: Instant,
    totals: Totals,
    progress: Option<Progress>,
    /// Ended runs that wait for an earlier one.
    early: BTreeMap<usize, Row<'a>>,
    /// The next run to report.
    next: usize,
    pairs: BTreeMap<usize, Pair<'a>>,
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

impl<'a> Collector<'a> {
    /// `one_file`: all scenarios are from one file. `results`: where to store the results.
    pub(super) fn new(
        args: &'a RunArgs,
        schedule: &'a Schedule<'a>,
        one_file: bool,
        results: Option<Store>,
        printer: &'a mut Printer,
    ) -> Self {
        let planned = schedule.runs();
        let scope = Scope { planned, repeats: schedule.repetition(0).is_some(), one_file };
        Self {
            args,
            schedule,
            printer,
            reports: reports::all(args, scope, results),
            begin: Instant::now(),
            totals: Totals { without_snapshot: args.no_snapshot, ..Totals::default() },
            progress: (planned != Some(1) && args.pause.is_none()).then(|| Progress::new(planned)),
            early: BTreeMap::new(),
            next: 0,
            pairs: BTreeMap::new(),
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
        for report in &mut self.reports {
            report.begin(self.printer);
        }
    }

    /// Handles one event of a worker. A break: start no further run.
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
                format!(": waiting for {} to end; interrupt again to end them now", text::count(running as u64, "run"))
            }
        };
        self.printer.note(&format!("interrupted{rest}"));
    }

    fn ended(&mut self, run: usize, done: Done) {
        self.running = self.running.saturating_sub(1);
        match self.suspects.ended(run, done, self.schedule) {
            Some(done) => self.settle_run(run, done, false),
            None => {
                // Whichever run caused it, the whole fails.
                self.stopped |= self.args.fail_fast || self.args.until_fail;
            }
        }
    }

    /// The scenarios to run again alone, each with the number of a run: a kernel warning appeared while they ran beside
    /// others.
    pub(super) fn to_run_alone(&self) -> Vec<(usize, &'a Scenario)> {
        if self.totals.interrupted { Vec::new() } else { self.suspects.to_run_alone(self.schedule) }
    }

    /// Handles one event of a worker while scenarios run again alone.
    pub(super) fn hear_alone(&mut self, event: Event<Done>) -> ControlFlow<()> {
        match event {
            Event::Begun(run) => {
                self.running += 1;
                let label = self.schedule.scenario(run).map(Scenario::label).unwrap_or_default();
                self.printer.status(&format!("kernel warning: running {} again, alone", text::one_line(&label)));
            }
            Event::Ended(run, done) => {
                self.running = self.running.saturating_sub(1);
                self.suspects.ran_alone(run, done, self.schedule);
            }
            Event::Interrupted => self.interrupted(),
        }
        if self.totals.interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Settles the runs that were held until the cause of the kernel warning was known. `judged` gives a verdict on a
    /// recording.
    pub(super) fn settle_suspects(&mut self, judged: impl Fn(&Scenario, &Recording) -> (Judged, Option<Candidate>)) {
        for Cleared { run, mut done, acquitted, unassigned } in self.suspects.settle(self.schedule) {
            if let (Some(scenario), Some(run)) = (self.schedule.scenario(run), &done.run) {
                let (Judged { verdict, rules }, candidate) = if acquitted {
                    judged(scenario, &without_kernel_log(&run.recording))
                } else {
                    judged(scenario, &run.recording)
                };
                (done.verdict, done.rules, done.candidate) = (verdict, rules, candidate);
            }
            self.settle_run(run, done, unassigned);
        }
    }

    /// Settles a run with its verdict. `unassigned`: it keeps the evidence of a kernel warning that belongs to no
    /// scenario.
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
            self.show(&row);
        }
    }

    /// Passes an ended run to the reports, and returns what its row needs later.
    fn row(&mut self, run: usize, scenario: &'a Scenario, done: Done, telling: bool) -> Row<'a> {
        let (position, repetition) = (self.schedule.position(run), self.schedule.repetition(run));
        let Done { verdict, run, rules, duration, .. } = done;
        let case = Case { scenario, verdict: &verdict, duration, run: run.as_ref(), repetition };
        let evidence = self.tell(&Ended { case, position, telling });
        let mut recording = run.map(|run| run.recording);
        let rates = recording.as_ref().map(transfer_rates).unwrap_or_default();
        let remark = recording.as_ref().and_then(kernel_remark);
        if repetition.is_some() {
            self.pair(position, scenario, &verdict, recording.take());
        }
        let bad = matches!(verdict, Verdict::Failed(_) | Verdict::Error(_));
        let needed = self.reports.iter().any(|report| report.needs_recording(position, bad));
        let recording = recording.filter(|_| needed).map(Rc::new);
        let compared = !self.args.no_snapshot && !self.args.reference.reference_only;
        Row { scenario, position, verdict, rules, duration, repetition, compared, rates, remark, recording, evidence }
    }

    /// Returns where to find more about the run.
    fn tell(&mut self, run: &Ended<'_>) -> Option<PathBuf> {
        let outcomes: Vec<_> = self.reports.iter_mut().map(|report| report.ended(run)).collect();
        let mut folder = None;
        for outcome in outcomes {
            folder = self.settle(outcome).flatten().or(folder);
        }
        folder
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

    fn show(&mut self, row: &Row<'a>) {
        for report in &mut self.reports {
            report.row(self.printer, row);
        }
    }

    /// After the last run. `late_trouble`: problems that the kernel reported while nothing ran. Those that belong to no
    /// scenario are added.
    pub(super) fn finish(mut self, mut late_trouble: Vec<String>) -> Exit {
        // Runs that were left out are gaps in the order.
        for row in std::mem::take(&mut self.early).into_values() {
            self.show(&row);
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
        let late = !late_trouble.is_empty();
        let updates = self.updates.as_ref().map(Updates::lines).unwrap_or_default();
        let (totals, took, departures) = (std::mem::take(&mut self.totals), self.begin.elapsed(), self.departures());
        let exit = Exit::of(&totals);
        let ending = Ending { totals, took, departures, late_trouble, updates, unwritten: self.unwritten };
        for mut report in std::mem::take(&mut self.reports) {
            let finished = report.finish(self.printer, &ending);
            self.settle(finished);
        }
        let exit = match exit {
            Exit::Interrupted => Exit::Interrupted,
            _ if late => Exit::Failed,
            Exit::Failed => Exit::Failed,
            _ if self.unwritten => Exit::Environment,
            exit => exit,
        };
        if self.args.bisect { self.bisection.exit(exit, late, self.printer) } else { exit }
    }

    fn departures(&self) -> Vec<(usize, String)> {
        let departure = |(position, pair): (&usize, &Pair<'_>)| {
            let (passing, failing) = (pair.passing.as_ref()?, pair.failing.as_ref()?);
            Some((*position, report::departure(pair.scenario, passing, failing)))
        };
        self.pairs.iter().filter_map(departure).collect()
    }
}
