//! What differs between two kernels. The main type is [`Comparison`], made of the stored results of both.
//!
//! Two scenarios are the same if they have the same verdict and the same canonical observation: the text that a snapshot
//! keeps. What could not be compared is never called the same, and each scenario of either side is in the comparison.

pub mod table;

use std::collections::BTreeMap;

use crate::results::{Found, KernelIdentity, Outcome, Results, Ruling, StoredFinding};
use crate::text;

/// Number of context lines around a difference.
const CONTEXT: usize = 3;

/// A pair, of the first and of the second kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Both<T> {
    /// Of the first one.
    pub a: T,
    /// Of the second one.
    pub b: T,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first one.
    A,
    /// The second one.
    B,
}

impl Side {
    /// Its letter.
    pub fn letter(self) -> char {
        match self {
            Self::A => 'A',
            Self::B => 'B',
        }
    }
}

/// What differs between two kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The kernels.
    pub sides: Both<Subject>,
    /// Features that only one of the two was found to have.
    pub features: Vec<(String, Side)>,
    /// Each scenario of either, in the order of the first one; what only the second one has comes last.
    pub scenarios: Vec<Compared>,
}

/// One of the two kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// What it was called on the command line.
    pub name: String,
    /// Which kernel it was.
    pub kernel: KernelIdentity,
    /// When its results were stored.
    pub date: String,
    /// What the kernel said about problems of its own while no scenario ran.
    pub late_trouble: Vec<String>,
}

/// One scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Its name.
    pub label: String,
    /// Its title.
    pub title: String,
    /// How the two relate.
    pub relation: Relation,
}

/// How two results of a scenario relate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// Verdict and observation are the same.
    Same(Ruling),
    /// They differ.
    Differs {
        /// The verdicts.
        verdicts: Both<Ruling>,
        /// The findings.
        findings: Box<Both<Vec<StoredFinding>>>,
        /// The observations as a unified diff; empty if only the verdicts differ, or if one of the kernels died of it.
        diff: String,
    },
    /// The results of the other one lack it.
    OnlyOn(Side, Ruling),
    /// One of them lacks something that the scenario needs.
    SkippedOn {
        /// The one that lacks it.
        side: Side,
        /// What is missing.
        reason: String,
        /// Its verdict on the other one.
        other: Ruling,
    },
    /// Both lack something.
    BothSkipped(Both<String>),
    /// They can't be compared, with the reason.
    Undecided(String),
}

/// How many scenarios relate in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tallies {
    /// All.
    pub all: usize,
    /// [`Relation::Same`]
    pub same: usize,
    /// [`Relation::Differs`]
    pub differ: usize,
    /// [`Relation::OnlyOn`]
    pub only_on_one: usize,
    /// [`Relation::SkippedOn`]
    pub skipped_on_one: usize,
    /// [`Relation::BothSkipped`]
    pub both_skipped: usize,
    /// [`Relation::Undecided`]
    pub undecided: usize,
}

impl Comparison {
    /// Compares the results of scenarios on two kernels. `names`: the names of the kernels.
    pub fn of(names: Both<String>, results: Both<&Results>) -> Self {
        let Both { a, b } = results;
        let (of_a, of_b) = (by_label(a), by_label(b));
        let only_b = b.scenarios.iter().filter(|outcome| !of_a.contains_key(outcome.label.as_str()));
        let names_of_sides = Both { a: names.a.as_str(), b: names.b.as_str() };
        let scenarios = a.scenarios.iter().chain(only_b).map(|outcome| {
            let label = outcome.label.as_str();
            let relation = relate(names_of_sides, of_a.get(label).copied(), of_b.get(label).copied());
            Compared { label: outcome.label.clone(), title: outcome.title.clone(), relation }
        });
        let scenarios = scenarios.collect();
        let features = differing_features(a, b);
        let sides = Both { a: Subject::of(names.a, a), b: Subject::of(names.b, b) };
        Self { sides, features, scenarios }
    }

    /// How many scenarios relate in which way.
    pub fn tallies(&self) -> Tallies {
        let mut tallies = Tallies { all: self.scenarios.len(), ..Tallies::default() };
        for compared in &self.scenarios {
            let number = match compared.relation {
                Relation::Same(_) => &mut tallies.same,
                Relation::Differs { .. } => &mut tallies.differ,
                Relation::OnlyOn(..) => &mut tallies.only_on_one,
                Relation::SkippedOn { .. } => &mut tallies.skipped_on_one,
                Relation::BothSkipped(_) => &mut tallies.both_skipped,
                Relation::Undecided(_) => &mut tallies.undecided,
            };
            *number += 1;
        }
        tallies
    }

    /// Exactly one of the kernels reported a problem of its own while no scenario ran.
    pub fn trouble_differs(&self) -> bool {
        self.sides.a.late_trouble.is_empty() != self.sides.b.late_trouble.is_empty()
    }
}

impl Subject {
    fn of(name: String, results: &Results) -> Self {
        let Results { kernel, date, late_trouble, .. } = results.clone();
        Self { name, kernel, date, late_trouble }
    }
}

fn by_label(results: &Results) -> BTreeMap<&str, &Outcome> {
    results.scenarios.iter().map(|outcome| (outcome.label.as_str(), outcome)).collect()
}

fn differing_features(a: &Results, b: &Results) -> Vec<(String, Side)> {
    let has = |results: &Results, word: &str| results.features.get(word) == Some(&Found::Yes);
    // What was probed on one of them only says nothing about the other.
    let both = a.features.keys().filter(|word| b.features.contains_key(*word));
    both.filter_map(|word| match (has(a, word), has(b, word)) {
        (true, false) => Some((word.clone(), Side::A)),
        (false, true) => Some((word.clone(), Side::B)),
        _ => None,
    })
    .collect()
}

fn relate(names: Both<&str>, a: Option<&Outcome>, b: Option<&Outcome>) -> Relation {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) => (a, b),
        (Some(a), None) => return Relation::OnlyOn(Side::A, a.verdict),
        (None, Some(b)) => return Relation::OnlyOn(Side::B, b.verdict),
        // It came from one of the two.
        (None, None) => return Relation::Undecided("it is in neither result".to_owned()),
    };
    if a.sources != b.sources {
        return Relation::Undecided("the scenario itself changed between the runs".to_owned());
    }
    for (side, outcome) in [(Side::A, a), (Side::B, b)] {
        if outcome.verdict == Ruling::Error {
            let why = outcome.findings.first().map_or("no reason is stored", |finding| finding.summary.as_str());
            return Relation::Undecided(format!("in error on {}: {why}", side.letter()));
        }
    }
    let reason = |outcome: &Outcome| outcome.reason.clone().unwrap_or_default();
    match (a.verdict, b.verdict) {
        (Ruling::Skipped, Ruling::Skipped) => Relation::BothSkipped(Both { a: reason(a), b: reason(b) }),
        (Ruling::Skipped, other) => Relation::SkippedOn { side: Side::A, reason: reason(a), other },
        (other, Ruling::Skipped) => Relation::SkippedOn { side: Side::B, reason: reason(b), other },
        _ => relate_observations(names, a, b),
    }
}

fn relate_observations(names: Both<&str>, a: &Outcome, b: &Outcome) -> Relation {
    let diff = match (&a.canonical, &b.canonical) {
        (Some(left), Some(right)) if left == right && a.verdict == b.verdict => return Relation::Same(a.verdict),
        (Some(left), Some(right)) => unified_diff(names, left, right),
        (None, None) => return Relation::Undecided("there is no observation to compare".to_owned()),
        // One of the kernels has died of it: there is nothing on that side.
        (Some(_), None) | (None, Some(_)) => String::new(),
    };
    let verdicts = Both { a: a.verdict, b: b.verdict };
    let findings = Box::new(Both { a: a.findings.clone(), b: b.findings.clone() });
    Relation::Differs { verdicts, findings, diff }
}

/// Empty if there is no difference.
fn unified_diff(names: Both<&str>, a: &str, b: &str) -> String {
    // The end of the text is no difference.
    let (a, b) = (format!("{}\n", a.trim_end()), format!("{}\n", b.trim_end()));
    let (from, to) = (text::one_line(names.a), text::one_line(names.b));
    let diff = similar::TextDiff::from_lines(&a, &b);
    let diff = diff.unified_diff().context_radius(CONTEXT).header(&from, &to).to_string();
    text::printable(&diff).into_owned()
}

#[cfg(test)]
pub(crate) mod tests;
