//! What paths did: counts against expectations.

use crate::judge::names::Names;
use crate::judge::time_line::around;
use crate::judge::verdict::range_value;
use crate::judge::{Finding, FindingKind, render};
use crate::recording::{Observation, PathTotals};
use crate::scenario::model::{PathCount, PathExpectation};

use super::scope::Scope;

/// How often each rule of that name matched, in the order of their ends.
pub(in crate::judge) fn hits(names: &Names<'_>, link: &str, rule: &str) -> impl Iterator<Item = u64> {
    names.recording().entries.iter().filter_map(move |entry| {
        pick!(&entry.what, Observation::RuleHits { link: on, rule: name, segments }
            if on == link && name == rule => *segments)
    })
}

/// What is wrong with what a path did.
pub(super) fn check(scope: &Scope<'_, '_>, expected: &PathExpectation) -> Option<Finding> {
    let (what, count) = match &expected.what {
        PathCount::Rule(rule) => {
            let mut hits = hits(scope.names, &expected.link, rule).peekable();
            let count = hits.peek().is_some().then(|| hits.fold(0, u64::saturating_add));
            (format!("matches of rule {rule} of {}", expected.link), count)
        }
        PathCount::Total { sender, field } => {
            let totals = scope.taken(|what, moment| {
                pick!(what, Observation::PathTotals { link, sender: from, moment: taken, totals }
                    if *link == expected.link && from == sender && taken == moment => totals)
            });
            let what = format!("`{field}` of packets from {sender} on {}", expected.link);
            (what, totals.and_then(|totals| total(totals, field)))
        }
    };
    let Some(count) = count else { return Some(scope.missing(&what, expected.place)) };
    if expected.range.contains(&count) {
        return None;
    }
    let summary = format!("{what} {}: expected {}, observed {count}", scope.when, render::range(&expected.range));
    let finding = scope.finding(FindingKind::Path, expected.place, summary);
    let finding = finding.valued(range_value(&expected.range), count);
    Some(finding.detailed(around(scope.names, last_effect(scope, expected).unwrap_or(scope.until))))
}

/// Where the path did something for the last time.
fn last_effect(scope: &Scope<'_, '_>, expected: &PathExpectation) -> Option<usize> {
    let entries = scope.names.recording().entries.get(..scope.until)?;
    entries.iter().rposition(|entry| matches!(&entry.what, Observation::Path { link, .. } if *link == expected.link))
}

/// The number of that name.
pub(in crate::judge) fn total(totals: &PathTotals, field: &str) -> Option<u64> {
    Some(match field {
        "entered" => totals.entered,
        "entered_bytes" => totals.entered_bytes,
        "left" => totals.left,
        "left_bytes" => totals.left_bytes,
        "lost" => totals.lost,
        "queue_full" => totals.queue_full,
        "too_big" => totals.too_big,
        "reordered" => totals.reordered,
        "duplicated" => totals.duplicated,
        "added" => totals.added,
        "dropped" => totals.dropped,
        "merged" => totals.merged,
        _ => return None,
    })
}
