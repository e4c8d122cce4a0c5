//! Results for people: a line for each run, in order, then all failures in full, then a summary.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::judge::{RuleCounts, Verdict};
use crate::recording::Recording;
use crate::report::{self, Printer, Repetitions};
use crate::scenario::model::Scenario;
use crate::text;

use super::super::args::RunArgs;
use super::super::present::{Length, show_indented, show_remarks, show_story, show_verdict};
use super::{Ending, Report, Row, Scope};

/// With this many runs or more, skips and the slowest runs are repeated at the end: their lines have scrolled by.
const MANY: usize = 20;

/// Number of slowest runs to list.
const SLOWEST: usize = 5;

/// With this many equal failures or more, the first is shown in full and the others by name. Fewer are all shown.
const GROUPED: usize = 3;

/// Groups of equal failures: the first one, with the others.
fn alike<'r, 'a>(failures: &'r [Row<'a>]) -> Vec<(&'r Row<'a>, Vec<&'r Row<'a>>)> {
    let form = |row: &Row<'_>| match &row.verdict {
        Verdict::Failed(findings) => Some(report::normal_form(findings)),
        // Errors are shown one by one.
        _ => None,
    };
    let forms: Vec<_> = failures.iter().map(form).collect();
    let mut groups: Vec<(&Row<'_>, Vec<&Row<'_>>)> = Vec::new();
    let mut shown = std::collections::BTreeSet::new();
    for (index, (row, form)) in failures.iter().zip(&forms).enumerate() {
        let same: Vec<usize> =
            (0..forms.len()).filter(|other| form.is_some() && forms.get(*other) == Some(form)).collect();
        if same.len() < GROUPED {
            groups.push((row, Vec::new()));
        } else if shown.insert(form) {
            let others = same.iter().filter(|other| **other != index).filter_map(|other| failures.get(*other));
            groups.push((row, others.collect()));
        }
    }
    groups
}

/// Which stories are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stories {
    None,
    /// That of the first failing variant, or of the first one.
    First,
    All,
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Detail {
    /// Failures only.
    quiet: bool,
    stories: Stories,
    /// Scenarios run more than once: one line for all runs of a scenario.
    repeats: bool,
    /// New snapshots in full.
    show_snapshot: bool,
}

impl Detail {
    /// A story that wasn't requested is shortened.
    fn length(self) -> Length {
        if self.stories == Stories::All { Length::Whole } else { Length::Short }
    }
}

/// The report.
pub(super) fn report<'a>(args: &RunArgs, scope: Scope) -> Box<dyn Report<'a> + 'a> {
    let Scope { planned, repeats, one_file } = scope;
    let stories = match args {
        RunArgs { quiet: true, .. } => Stories::None,
        RunArgs { verbose: true, .. } => Stories::All,
        _ if one_file && !repeats => Stories::First,
        _ => Stories::None,
    };
    let detail = Detail { quiet: args.quiet, stories, repeats, show_snapshot: args.show_snapshot };
    Box::new(Terminal::new(detail, planned))
}

/// The variant whose story is printed.
struct Chosen<'a> {
    position: usize,
    scenario: &'a Scenario,
    recording: Option<Rc<Recording>>,
    bad: bool,
}

/// The results so far.
struct Terminal<'a> {
    detail: Detail,
    /// The number of runs, if it is known.
    planned: Option<usize>,
    shown: usize,
    failures: Vec<Row<'a>>,
    skipped: Vec<String>,
    slowest: Vec<(Duration, String)>,
    /// How much the reference decided in all runs.
    rules: RuleCounts,
    /// The one of several variants whose story is printed in the end.
    chosen: Option<Chosen<'a>>,
    repetitions: BTreeMap<usize, (&'a Scenario, Repetitions)>,
}

impl<'a> Terminal<'a> {
    fn new(detail: Detail, planned: Option<usize>) -> Self {
        Self {
            detail,
            planned,
            shown: 0,
            failures: Vec::new(),
            skipped: Vec::new(),
            slowest: Vec::new(),
            rules: RuleCounts::default(),
            chosen: None,
            repetitions: BTreeMap::new(),
        }
    }

    /// Whether the story of that scenario may be printed, now or in the end.
    fn tells_story(&self, position: usize, bad: bool) -> bool {
        match self.detail.stories {
            Stories::None => false,
            Stories::First => position == 0 || bad,
            Stories::All => true,
        }
    }

    /// Prints the story of a run, or keeps it: of several variants, the first failing one is chosen in the end.
    fn tell(&mut self, printer: &mut Printer, row: &Row<'a>) {
        let bad = row.is_bad();
        if !self.tells_story(row.position, bad) {
            return;
        }
        if self.detail.stories == Stories::First && self.planned != Some(1) {
            if self.chosen.as_ref().is_none_or(|chosen| bad && !chosen.bad) {
                let (position, scenario, recording) = (row.position, row.scenario, row.recording.clone());
                self.chosen = Some(Chosen { position, scenario, recording, bad });
            }
            return;
        }
        if self.shown > 0 {
            printer.line("");
        }
        show_story(printer, row.scenario, row.recording.as_deref(), self.detail.length());
    }

    /// Only the first failing run of a scenario is shown.
    fn keep_failure(&mut self, row: &Row<'a>) {
        if self.failures.iter().all(|other| other.position != row.position) {
            self.failures.push(Row { recording: None, ..row.clone() });
        }
    }

    /// Prints the failures; of those that are alike, the first one.
    fn show_failures(&self, printer: &mut Printer, ending: &Ending) {
        for (index, (row, others)) in alike(&self.failures).iter().enumerate() {
            if self.planned != Some(1) && (index > 0 || !self.detail.quiet) {
                printer.line("");
            }
            if let Some(chosen) = self.chosen.as_ref().filter(|chosen| chosen.bad && chosen.position == row.position) {
                show_story(printer, chosen.scenario, chosen.recording.as_deref(), self.detail.length());
            }
            show_verdict(printer, &row.report(), self.detail.show_snapshot);
            if let Some((_, departure)) = ending.departures.iter().find(|(position, _)| *position == row.position) {
                let departure = printer.style().finish(departure.clone());
                show_indented(printer, &departure);
            }
            show_evidence(printer, row);
            if !others.is_empty() {
                let names: Vec<String> = others.iter().map(|other| other.report().label()).collect();
                let line = format!("and {} more with the same differences: {}", others.len(), names.join(", "));
                show_indented(printer, &line);
            }
        }
    }

    fn time(&mut self, row: &Row<'_>) {
        self.slowest.push((row.duration, row.report().label()));
        self.slowest.sort_by_key(|(took, _)| std::cmp::Reverse(*took));
        self.slowest.truncate(SLOWEST);
    }
}

fn show_evidence(printer: &mut Printer, row: &Row<'_>) {
    if let Some(folder) = &row.evidence {
        show_indented(printer, &format!("evidence: {}", text::one_line(&folder.display().to_string())));
    }
}

impl<'a> Report<'a> for Terminal<'a> {
    fn needs_recording(&self, position: usize, bad: bool) -> bool {
        self.tells_story(position, bad)
    }

    fn row(&mut self, printer: &mut Printer, row: &Row<'a>) {
        self.tell(printer, row);
        self.shown += 1;
        if let Some(rules) = &row.rules {
            self.rules.add(rules);
        }
        if let Verdict::Skipped { reason } = &row.verdict {
            self.skipped.push(format!("{} ({})", row.report().label(), text::one_line(reason)));
        } else {
            self.time(row);
        }
        if self.detail.repeats {
            let (_, runs) =
                self.repetitions.entry(row.position).or_insert_with(|| (row.scenario, Repetitions::default()));
            runs.add(&row.verdict, row.duration);
        } else if (!self.detail.quiet || matches!(row.verdict, Verdict::Skipped { .. }))
            && (self.planned != Some(1) || !row.is_bad())
        {
            // A single failure is shown in full, at once.
            printer.line(&report::summary_line(&row.report(), printer.style()));
            if !row.is_bad() {
                show_remarks(printer, &row.report());
                show_evidence(printer, row);
            }
        }
        if row.is_bad() {
            self.keep_failure(row);
        }
    }

    fn finish(&mut self, printer: &mut Printer, ending: &Ending) -> Result<(), String> {
        if let Some(chosen) = self.chosen.as_ref().filter(|chosen| !chosen.bad) {
            printer.line("");
            show_story(printer, chosen.scenario, chosen.recording.as_deref(), self.detail.length());
        }
        let style = printer.style();
        if self.detail.repeats {
            for (scenario, runs) in self.repetitions.values() {
                if !self.detail.quiet || runs.failed + runs.errors > 0 || runs.skipped.is_some() {
                    printer.line(&report::repetition_line(runs, scenario, style));
                }
            }
        }
        self.show_failures(printer, ending);
        for line in &ending.updates {
            printer.line(&text::printable(line));
        }
        if self.detail.quiet {
            // Silence would mean that everything matches the reviewed snapshots.
            if ending.totals.without_snapshot && ending.totals.passed > 0 {
                printer.line(&ending.totals.line(ending.took, style));
            }
            return Ok(());
        }
        if self.planned == Some(1) && !ending.totals.interrupted {
            return Ok(());
        }
        if !self.failures.is_empty() {
            printer.line("");
        }
        if self.shown >= MANY {
            for skipped in &self.skipped {
                printer.line(&format!("skipped: {skipped}"));
            }
            printer.line(&report::slowest_line(&self.slowest, style));
        }
        if !self.rules.by_rule.is_empty() {
            printer.line(&report::reference_line(&self.rules, style));
        }
        printer.line(&ending.totals.line(ending.took, style));
        Ok(())
    }
}
