//! Expected things paired with observed ones, in any order.

use crate::judge::nearest;

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

/// A line for each pattern without a partner, with its nearest miss among the things without one; and in what the nearest
/// miss of the first one differs.
pub(super) fn missing<P, T>(
    patterns: &[P],
    things: &[T],
    pairs: &[Option<usize>],
    words: impl Fn(&P) -> String,
    differences: impl Fn(&P, &T) -> Vec<String>,
    shown: impl Fn(&T) -> String,
) -> (Vec<String>, Option<String>) {
    let free = || things.iter().enumerate().filter(|(index, _)| !pairs.contains(&Some(*index)));
    let mut first = None;
    let missing = patterns.iter().zip(pairs).filter(|(_, pair)| pair.is_none()).map(|(pattern, _)| {
        let free = free().map(|(_, thing)| (thing, differences(pattern, thing)));
        let (nearest, differs) = nearest::miss(free, &shown).unzip();
        first = first.take().or(differs);
        format!("  - missing: {}{}", words(pattern), nearest.unwrap_or_default())
    });
    (missing.collect(), first)
}
