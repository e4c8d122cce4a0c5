//! MPTCP options on the wire against patterns.

use crate::judge::retransmitted::Retransmitted;
use crate::judge::verdict::range_value;
use crate::judge::{Finding, FindingKind, nearest, render, time_line};
use crate::recording::{Direction, Observation};
use crate::scenario::model::{WireExpectation, WirePattern};
use crate::text;

use super::scope::Scope;

/// What is wrong with the segments that a namespace sent.
pub(super) fn check(scope: &Scope<'_, '_>, expected: &WireExpectation) -> Option<Finding> {
    let pattern = &expected.pattern;
    let found = |summary: String| scope.finding(FindingKind::Wire, expected.place, summary);
    if let Some(field) = pattern.impossible() {
        return Some(found(format!("the pattern can never match: `{}` has no `{field}`", pattern.option)));
    }
    let entries = scope.names.recording().entries.iter().enumerate().take(scope.until);
    let sent: Vec<_> = entries
        .filter_map(|(index, entry)| {
            // A forwarded segment was sent by somebody else.
            pick!(&entry.what, Observation::Packet { namespace, direction, segment, .. }
                if *direction == Direction::Out
                    && *namespace == pattern.sender
                    && !scope.names.is_forwarded(namespace, *direction, segment) => (index, segment))
        })
        .collect();
    let takes_part = scope.names.recording().entries.iter().take(scope.until).any(|entry| {
        matches!(&entry.what, Observation::Connected { connection }
            if connection.client == pattern.sender || connection.server == pattern.sender)
    });
    if sent.is_empty() && takes_part {
        return Some(scope.missing(&format!("the segments that {} sent", pattern.sender), expected.place));
    }
    let matching: Vec<_> = sent.iter().filter(|(_, segment)| pattern.matches(segment)).collect();
    let count = u64::try_from(matching.len()).unwrap_or(u64::MAX);
    if expected.range.contains(&count) {
        return None;
    }
    let retransmitted = Retransmitted::of(scope.names, scope.until);
    let others = matching.iter().filter(|(index, _)| !retransmitted.is_segment(*index)).count();
    if expected.range.contains(&u64::try_from(others).unwrap_or(u64::MAX)) {
        return None;
    }
    let summary = format!(
        "wire {}: expected `{}`, found {}",
        scope.when,
        render::wire_expectation(expected),
        text::count(count, "segment")
    );
    let finding = found(summary).valued(range_value(&expected.range), count);
    if *expected.range.start() > count
        && let Some((detail, entry)) = nearest_misses(scope, pattern)
    {
        return Some(finding.detailed(format!("{detail}{}", time_line::around(scope.names, entry))));
    }
    let listed = render::indented(matching.iter().take(20).map(|(_, segment)| render::segment(segment)));
    let around = matching.last().map_or(scope.until, |(index, _)| *index);
    Some(finding.detailed(format!("{listed}{}", time_line::around(scope.names, around))))
}

/// How many near misses are listed.
const MISSES: usize = 5;

/// The segments of any sender that come closest to the pattern without matching, with the entry of the nearest one.
fn nearest_misses(scope: &Scope<'_, '_>, pattern: &WirePattern) -> Option<(String, usize)> {
    let entries = scope.names.recording().entries.iter().enumerate().take(scope.until);
    let mut misses: Vec<_> = entries
        .filter_map(|(index, entry)| {
            let Observation::Packet { namespace, direction, segment, .. } = &entry.what else { return None };
            // A forwarded segment was sent by somebody else.
            if *direction == Direction::In || scope.names.is_forwarded(namespace, *direction, segment) {
                return None;
            }
            let differences = nearest::of_segment(pattern, namespace, segment)?;
            (!differences.is_empty()).then_some((index, namespace, segment, differences))
        })
        .collect();
    // The sort is stable: of those that differ alike, the first come first.
    misses.sort_by_key(|(.., differences)| differences.len());
    let entry = misses.first().map(|(index, ..)| *index)?;
    let lines = misses.iter().take(MISSES).map(|(_, namespace, segment, differences)| {
        format!("{namespace}: {}: {}", render::segment(segment), differences.join(", "))
    });
    Some((format!("nearest misses:\n{}", render::indented(lines)), entry))
}
