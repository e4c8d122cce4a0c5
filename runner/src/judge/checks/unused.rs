//! Filters, and rules of paths, that never matched: what they should have brought about did not happen.

use std::collections::HashMap;

use crate::judge::names::Names;
use crate::judge::verdict::range_value;
use crate::judge::{Finding, FindingKind};
use crate::recording::Observation;
use crate::scenario::model::{Action, Operation, Place};

use super::paths::hits;
use super::steps::Progress;

/// A filter or a rule that the scenario installs.
struct Installed {
    kind: FindingKind,
    /// `filter drop in client`
    whose: String,
    /// What it matches: `packet`.
    what: &'static str,
    /// What counts its matches.
    counter: &'static str,
    place: Place,
    may_be_unused: bool,
    /// The counts of all of that name: it can be used again after the first one was removed.
    counts: Vec<u64>,
}

/// What is wrong with the filters and rules.
pub(super) fn check(names: &Names<'_>, progress: Progress) -> Vec<Finding> {
    // A run that was cut short may not have come to the traffic that they are for.
    if progress != Progress::Whole {
        return Vec::new();
    }
    let mut turns = HashMap::new();
    let installed = filters(names).chain(rules(names));
    installed.filter_map(|one| one.finding(turns.entry(one.whose.clone()).or_default())).collect()
}

impl Installed {
    /// `turn`: the number of those of that name before it. The counts come in the same order.
    fn finding(&self, turn: &mut usize) -> Option<Finding> {
        let Self { kind, whose, what, counter, .. } = self;
        let count = self.counts.get(*turn);
        *turn += 1;
        let finding = match count {
            None => Finding::new(FindingKind::Incomplete, format!("{whose}: its {counter} is not in the recording")),
            Some(0) if !self.may_be_unused => {
                Finding::new(*kind, format!("{whose} never matched a {what}")).valued(range_value(&(1..=u64::MAX)), 0)
            }
            Some(_) => return None,
        };
        Some(finding.placed(self.place))
    }
}

fn filters(names: &Names<'_>) -> impl Iterator<Item = Installed> {
    names.scenario().steps.iter().filter_map(move |step| {
        let filter = pick!(&step.action, Action::Do(Operation::AddFilter(filter)) => filter)?;
        let hits = names.recording().entries.iter().filter_map(|entry| {
            pick!(&entry.what, Observation::FilterHits { namespace, filter: name, packets }
                if *namespace == filter.namespace && *name == filter.name => *packets)
        });
        Some(Installed {
            kind: FindingKind::Filter,
            whose: format!("filter {} in {}", filter.name, filter.namespace),
            what: "packet",
            counter: "packet counter",
            place: step.place,
            may_be_unused: filter.may_be_unused,
            counts: hits.collect(),
        })
    })
}

fn rules(names: &Names<'_>) -> impl Iterator<Item = Installed> {
    names.scenario().path_rules().map(move |(link, rule)| Installed {
        kind: FindingKind::Path,
        whose: format!("rule {} of {link}", rule.name),
        what: "segment",
        counter: "match count",
        place: rule.place,
        may_be_unused: rule.may_be_unused,
        counts: hits(names, link, &rule.name).collect(),
    })
}
