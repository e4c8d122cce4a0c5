//! What the sockets of a connection say: the set of subflows, and fields of `MPTCP_INFO`.

use crate::judge::verdict::range_value;
use crate::judge::{Finding, FindingKind, nearest, render};
use crate::mptcp::SubflowState;
use crate::pattern::{SUBFLOW, observed_json};
use crate::scenario::model::{InfoExpectation, SubflowsExpectation};

use super::scope::Scope;

/// What is wrong with the set of subflows.
pub(super) fn subflows(scope: &Scope<'_, '_>, expected: &SubflowsExpectation) -> Option<Finding> {
    let whose = format!("{}, {} side", expected.connection, expected.side.word());
    let Some((_, all)) = scope.sockets_of(&expected.connection, expected.side) else {
        return Some(scope.missing(&format!("the subflows of {whose}")).placed(expected.place));
    };
    let usable: Vec<_> = all.iter().filter(|subflow| subflow.is_usable()).collect();
    let pairs = pair_up(&expected.subflows, &usable, |pattern, subflow| pattern.matches((*subflow).into()));
    if usable.len() == expected.subflows.len() && pairs.iter().all(Option::is_some) {
        return None;
    }
    let paired: Vec<usize> = pairs.iter().flatten().copied().collect();
    let missing = expected.subflows.iter().zip(&pairs).filter(|(_, pair)| pair.is_none());
    let mut first = None;
    let missing: Vec<String> = missing
        .map(|(pattern, _)| {
            let free = usable.iter().enumerate().filter(|(index, _)| !paired.contains(index));
            let free = free.map(|(_, subflow)| (*subflow, pattern.differences(SUBFLOW, (*subflow).into())));
            let (nearest, differs) = nearest::miss(free, render::subflow).unzip();
            first = first.take().or(differs);
            format!("  - missing: {}{}", render::subflow_pattern(pattern), nearest.unwrap_or_default())
        })
        .collect();
    let lines = all.iter().map(|subflow| {
        let position = usable.iter().position(|usable| std::ptr::eq(*usable, subflow));
        let sign = match position {
            Some(position) if paired.contains(&position) => "   as expected:",
            Some(_) => " + unexpected:",
            None => "   not up:",
        };
        format!(" {sign} {}", render::subflow(subflow))
    });
    let detail: Vec<String> = missing.into_iter().chain(lines).collect();
    let summary = format!(
        "subflows of {whose}, {}: expected {}, {} are up, {} of them as expected{}",
        scope.when,
        expected.subflows.len(),
        usable.len(),
        paired.len(),
        first.unwrap_or_default()
    );
    let wanted: Vec<_> = expected.subflows.iter().map(|pattern| pattern.json(SUBFLOW)).collect();
    let observed: Vec<_> =
        usable.iter().map(|subflow| observed_json::<SubflowState>(SUBFLOW, (*subflow).into())).collect();
    Some(
        Finding::new(FindingKind::Subflows, summary)
            .placed(expected.place)
            .detailed(detail.join("\n") + "\n")
            .valued(wanted, observed)
            .at(scope.at()),
    )
}

/// For each pattern, the index of the thing that it is paired with, as many pairs as there can be: one pattern may
/// match several things, so taking the first that fits is not enough (augmenting paths in a bipartite graph).
pub(super) fn pair_up<P, T>(patterns: &[P], things: &[T], alike: impl Fn(&P, &T) -> bool) -> Vec<Option<usize>> {
    let mut taken: Vec<Option<usize>> = vec![None; things.len()];
    for pattern in 0..patterns.len() {
        let mut visited = vec![false; things.len()];
        find_partner(pattern, patterns, things, &alike, &mut visited, &mut taken);
    }
    let mut pairs = vec![None; patterns.len()];
    for (thing, pattern) in taken.iter().enumerate() {
        if let Some(slot) = pattern.and_then(|pattern| pairs.get_mut(pattern)) {
            *slot = Some(thing);
        }
    }
    pairs
}

fn find_partner<P, T>(
    pattern: usize,
    patterns: &[P],
    things: &[T],
    alike: &impl Fn(&P, &T) -> bool,
    visited: &mut [bool],
    taken: &mut [Option<usize>],
) -> bool {
    let Some(wanted) = patterns.get(pattern) else { return false };
    for (index, thing) in things.iter().enumerate() {
        // Only a thing that was tried counts as visited: another pattern may have a use for the others.
        if !alike(wanted, thing) || visited.get_mut(index).is_none_or(|seen| std::mem::replace(seen, true)) {
            continue;
        }
        let holder = taken.get(index).copied().flatten();
        if holder.is_none_or(|holder| find_partner(holder, patterns, things, alike, visited, taken)) {
            if let Some(slot) = taken.get_mut(index) {
                *slot = Some(pattern);
            }
            return true;
        }
    }
    false
}

/// What is wrong with a field of `MPTCP_INFO`.
pub(super) fn info(scope: &Scope<'_, '_>, expected: &InfoExpectation) -> Option<Finding> {
    let (field, range) = (expected.field.as_str(), render::range(&expected.range));
    let whose = format!("{}, {} side", expected.connection, expected.side.word());
    let found = |summary: String| Finding::new(FindingKind::Info, summary).placed(expected.place).at(scope.at());
    let Some((info, _)) = scope.sockets_of(&expected.connection, expected.side) else {
        return Some(scope.missing(&format!("MPTCP_INFO of {whose}")).placed(expected.place));
    };
    let Some(info) = info else {
        let finding = found(format!(
            "{field} of {whose}, {}: expected {range}, but the socket has no MPTCP_INFO: the connection uses plain TCP",
            scope.when
        ));
        return Some(finding.valued(range_value(&expected.range), None::<u64>));
    };
    match info.field(field) {
        Some(Some(value)) if expected.range.contains(&value) => None,
        Some(Some(value)) => {
            let finding = found(format!("{field} of {whose}, {}: expected {range}, found {value}", scope.when));
            Some(finding.valued(range_value(&expected.range), value))
        }
        Some(None) => {
            let finding = found(format!("{field} of {whose}: this kernel does not report it in MPTCP_INFO"));
            Some(finding.valued(range_value(&expected.range), None::<u64>))
        }
        None => Some(found(format!("MPTCP_INFO has no field `{field}`"))),
    }
}
