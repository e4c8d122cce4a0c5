//! `--update`: a scenario's observation becomes its snapshot after all of its runs, if they all gave the same.

use std::collections::BTreeMap;

use crate::judge::{Accepted, Candidate, Change, Verdict};
use crate::text;

/// The snapshots to update.
#[derive(Debug)]
pub(super) struct Updates {
    /// Number of runs of each scenario.
    rounds: usize,
    /// By the position of the scenario.
    candidates: BTreeMap<usize, Alike>,
    accepted: Vec<Accepted>,
}

/// Runs of one scenario.
#[derive(Debug, Default)]
struct Alike {
    first: Option<Candidate>,
    /// Number of runs that gave the same as the first one.
    runs: usize,
}

impl Updates {
    /// `rounds`: the number of runs of each scenario.
    pub(super) fn new(rounds: usize) -> Self {
        Self { rounds, candidates: BTreeMap::new(), accepted: Vec::new() }
    }

    /// Takes the candidate of a run. A run that differs from the first one has failed; one whose snapshot can't be
    /// written is an error.
    pub(super) fn add(&mut self, position: usize, candidate: &Candidate, verdict: &mut Verdict) {
        let alike = self.candidates.entry(position).or_default();
        let first = alike.first.get_or_insert_with(|| candidate.clone());
        if let Some(finding) = candidate.departure(first) {
            *verdict = Verdict::Failed(vec![finding]);
            return;
        }
        alike.runs += 1;
        if alike.runs < self.rounds {
            return;
        }
        match candidate.accept() {
            Ok(accepted) => self.accepted.push(accepted),
            Err(finding) if finding.kind.is_error() => *verdict = Verdict::Error(vec![finding]),
            Err(finding) => *verdict = Verdict::Failed(vec![finding]),
        }
    }

    /// The written files, one line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut accepted: Vec<&Accepted> = self.accepted.iter().collect();
        accepted.sort_by(|left, right| left.path.cmp(&right.path));
        let same = if self.rounds > 1 { format!(", the same in {} runs", self.rounds) } else { String::new() };
        let line = |accepted: &&Accepted| {
            let path = text::one_line(&accepted.path.display().to_string());
            match accepted.change {
                Change::None => None,
                Change::New(lines) => Some(format!("new snapshot {path}: {}{same}", text::count(lines as u64, "line"))),
                Change::Lines { added, removed } => {
                    let added = text::count(added as u64, "line");
                    Some(format!("updated snapshot {path}: {added} added, {removed} removed{same}"))
                }
            }
        };
        let mut lines: Vec<String> = accepted.iter().filter_map(line).collect();
        let unchanged = accepted.len() - lines.len();
        if unchanged > 0 {
            lines.push(format!("{}{same}", text::count(unchanged as u64, "unchanged snapshot")));
        }
        let undecided = self.candidates.values().filter(|alike| alike.runs < self.rounds).count();
        if undecided > 0 {
            let snapshots = text::count(undecided as u64, "snapshot");
            lines.push(format!("{snapshots} not updated: not all {} runs were alike", self.rounds));
        }
        lines
    }
}
