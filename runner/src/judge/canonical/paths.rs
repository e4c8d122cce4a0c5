//! What the rules of paths did, as far as it is the same each time.
//!
//! A rule's number is exact if it looks for certain ones of what matches (`nth`), or for an option that is sent once: a
//! REMOVE_ADDR and an MP_PRIO are never retransmitted, a handshake only if the rule itself loses it. Of other rules it
//! shows that they matched; of those that may stay unused nothing, as it may be a matter of luck.

use crate::judge::checks::paths::hits;
use crate::judge::names::Names;
use crate::scenario::model::PathRule;
use crate::text;

/// A line for each rule, in the order in which they were installed.
pub(super) fn lines(names: &Names<'_>) -> Vec<String> {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    let mut lines = Vec::new();
    for (link, rule) in names.scenario().path_rules() {
        let turn = seen.iter().filter(|known| **known == (link, rule.name.as_str())).count();
        seen.push((link, &rule.name));
        let Some(matched) = hits(names, link, &rule.name).nth(turn) else { continue };
        if rule.may_be_unused {
            continue;
        }
        let how_often = if is_exact(rule) { text::count(matched, "segment") } else { "some segments".to_owned() };
        lines.push(format!("{link}: {} ({}): {how_often}", rule.name, rule.action.word()));
    }
    lines
}

/// It matches equally often each time.
fn is_exact(rule: &PathRule) -> bool {
    if rule.matching.nth.as_ref().is_some_and(|nth| *nth.end() < u64::MAX) {
        return true;
    }
    match rule.matching.option.as_ref().map(|option| option.option.as_str()) {
        Some("remove_addr" | "mp_prio") => true,
        Some("mp_join_syn" | "mp_join_synack") => !rule.action.withholds(),
        _ => false,
    }
}
