//! Which scenario caused a kernel warning: all active runs share `/dev/kmsg`, so each of them is run again alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::judge::{self, FindingKind, Verdict};
use crate::recording::{Entry, Observation, Recording};
use crate::scenario::model::Scenario;
use crate::text;

use super::schedule::Schedule;
use super::work::Done;

/// Which runs are active at the same time, and which of them may have caused a kernel warning.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    running: BTreeSet<usize>,
    /// The other runs that were active during a run.
    meanwhile: BTreeMap<usize, BTreeSet<usize>>,
    held: BTreeMap<usize, Done>,
    /// The result of running a scenario alone, by its position.
    alone: BTreeMap<usize, Done>,
    unassigned: BTreeMap<String, Unassigned>,
}

/// A kernel warning that no scenario reproduces alone.
#[derive(Debug)]
struct Unassigned {
    headline: String,
    /// The scenarios that were active.
    labels: BTreeSet<String>,
}

/// A run, with the conclusions from the runs alone.
#[derive(Debug)]
pub(super) struct Cleared {
    pub(super) run: usize,
    pub(super) done: Done,
    /// It didn't cause the warning: it is judged again without the kernel log.
    pub(super) acquitted: bool,
    /// The warning belongs to no scenario, so this run keeps the evidence.
    pub(super) unassigned: bool,
}

impl Suspects {
    pub(super) fn begun(&mut self, run: usize) {
        for other in &self.running {
            self.meanwhile.entry(*other).or_default().insert(run);
        }
        self.meanwhile.insert(run, self.running.clone());
        self.running.insert(run);
    }

    /// Holds a run that may have caused a kernel warning; returns any other.
    pub(super) fn ended(&mut self, run: usize, done: Done, schedule: &Schedule<'_>) -> Option<Done> {
        self.running.remove(&run);
        let position = schedule.position(run);
        let with_others = self
            .meanwhile
            .get(&run)
            .is_some_and(|others| others.iter().any(|other| schedule.position(*other) != position));
        if with_others && has_kernel_finding(&done.verdict) {
            self.held.insert(run, done);
            return None;
        }
        self.meanwhile.remove(&run);
        Some(done)
    }

    /// The scenarios to run alone, each with the first of its runs.
    pub(super) fn to_run_alone<'a>(&self, schedule: &Schedule<'a>) -> Vec<(usize, &'a Scenario)> {
        let mut seen: BTreeSet<usize> = self.alone.keys().copied().collect();
        let first = self.held.keys().filter(|run| seen.insert(schedule.position(**run)));
        first.filter_map(|run| Some((*run, schedule.scenario(*run)?))).collect()
    }

    /// Stores the result of running the scenario of a run alone.
    pub(super) fn ran_alone(&mut self, run: usize, done: Done, schedule: &Schedule<'_>) {
        self.alone.insert(schedule.position(run), done);
    }

    /// All held runs, with the conclusions.
    pub(super) fn settle(&mut self, schedule: &Schedule<'_>) -> Vec<Cleared> {
        let held = std::mem::take(&mut self.held);
        let runs: Vec<usize> = held.keys().copied().collect();
        let cleared = held.into_iter().map(|(run, done)| self.clear(run, done, schedule)).collect();
        for run in runs {
            self.meanwhile.remove(&run);
        }
        cleared
    }

    fn clear(&mut self, run: usize, mut done: Done, schedule: &Schedule<'_>) -> Cleared {
        let position = schedule.position(run);
        let Some(alone) = self.alone.get(&position).filter(|alone| is_telling(alone)) else {
            // It could not be run alone, so it may have caused the warning.
            return Cleared { run, done, acquitted: false, unassigned: false };
        };
        let forms = |done: &Done| -> BTreeSet<String> { complaints(done).into_iter().map(|(form, _)| form).collect() };
        let again = forms(alone);
        let of_run = alone.run.iter().flat_map(|run| judge::kernel_lines(&run.recording));
        let kernel_log: Vec<String> = of_run.map(|(_, line)| line.to_owned()).collect();
        let own = complaints(&done);
        let mut shown_by = BTreeSet::new();
        let mut unknown = Vec::new();
        for (form, headline) in own {
            let others = self.meanwhile.get(&run).into_iter().flatten();
            let others = others.map(|other| schedule.position(*other)).filter(|other| *other != position);
            let shows = |other: &usize| self.alone.get(other).is_some_and(|done| forms(done).contains(&form));
            let showing: BTreeSet<String> =
                others.filter(shows).filter_map(|other| schedule.scenario(other)).map(label).collect();
            if showing.is_empty() && !again.contains(&form) {
                unknown.push((form, headline));
            }
            shown_by.extend(showing);
        }
        let acquitted = again.is_empty();
        let unassigned = !unknown.is_empty();
        // If one warning belongs to no scenario, no scenario is named for the others.
        let shown_by = if unassigned { Vec::new() } else { shown_by.into_iter().collect() };
        for (form, headline) in unknown {
            let entry = self.unassigned.entry(form);
            let labels = &mut entry.or_insert_with(|| Unassigned { headline, labels: BTreeSet::new() }).labels;
            labels.extend(schedule.scenario(run).map(label));
        }
        match &mut done.run {
            Some(run) => note(&mut run.recording, Observation::RanAlone { kernel_log, shown_by }),
            // The kernel crashed in it, so there is nothing else to judge.
            None if acquitted => {
                if let Some(again) = self.alone.remove(&position) {
                    done = again;
                    if let Some(run) = &mut done.run {
                        note(&mut run.recording, Observation::RanAlone { kernel_log, shown_by });
                    }
                }
            }
            None => {}
        }
        Cleared { run, done, acquitted, unassigned }
    }

    /// The kernel warnings that no scenario reproduces alone, one line each.
    pub(super) fn unassigned(&self) -> Vec<String> {
        let words = |Unassigned { headline, labels }: &Unassigned| {
            let names: Vec<&str> = labels.iter().map(String::as_str).collect();
            match names.as_slice() {
                [one] => format!("{headline} (while {one} and others ran; {one} alone doesn't reproduce it)"),
                several => {
                    format!("{headline} (while {} ran; none of them alone reproduces it)", text::list(several))
                }
            }
        };
        self.unassigned.values().map(words).collect()
    }
}

fn label(scenario: &Scenario) -> String {
    text::one_line(&scenario.label())
}

fn has_kernel_finding(verdict: &Verdict) -> bool {
    let (Verdict::Failed(findings) | Verdict::Error(findings)) = verdict else { return false };
    findings.iter().any(|finding| finding.kind == FindingKind::Kernel)
}

/// Whether a run alone is conclusive: it took place, or the kernel crashed in it.
fn is_telling(alone: &Done) -> bool {
    alone.run.is_some() || has_kernel_finding(&alone.verdict)
}

/// The kernel warnings of a run: in a normal form, and verbatim.
fn complaints(done: &Done) -> Vec<(String, String)> {
    if let Some(run) = &done.run {
        return judge::kernel_complaints(&run.recording);
    }
    let (Verdict::Failed(findings) | Verdict::Error(findings)) = &done.verdict else { return Vec::new() };
    let kernel = findings.iter().filter(|finding| finding.kind == FindingKind::Kernel);
    kernel.map(|finding| (judge::complaint_form(&finding.summary), finding.summary.clone())).collect()
}

/// Adds a later observation to the end of a recording.
fn note(recording: &mut Recording, what: Observation) {
    let at = recording.entries.last().map_or(0, |entry| entry.at);
    let end = recording.entries.iter().rposition(|entry| entry.what == Observation::Ended);
    recording.entries.insert(end.unwrap_or(recording.entries.len()), Entry { at, what });
}
