//! The effects of paths on a segment, in words.

use crate::plan::describe_done;
use crate::recording::{PathEffect, PathTotals};
use crate::text;

use super::words::{segment_path, segment_words};

/// All effects, in order. A segment that a rule held until the end is mentioned once.
pub(super) fn effects_words(effects: &[(&str, &PathEffect)]) -> Vec<String> {
    let is = |effect: &PathEffect, word: &str| matches!(effect, PathEffect::Rule { action, .. } if action == word);
    let by = |effect: &PathEffect| match effect {
        PathEffect::Rule { rule, .. } => Some(rule.clone()),
        _ => None,
    };
    let mut words: Vec<String> = Vec::new();
    let mut before: Option<(&str, &PathEffect)> = None;
    for (link, effect) in effects.iter().copied() {
        let held = before.filter(|(on, held)| *on == link && is(held, "hold") && by(held) == by(effect));
        match words.last_mut().filter(|_| held.is_some() && is(effect, "drop")) {
            Some(last) => last.push_str(" until it was removed or the run ended"),
            None => words.push(effect_words(link, effect)),
        }
        before = Some((link, effect));
    }
    words
}

/// One effect, and its link.
fn effect_words(link: &str, effect: &PathEffect) -> String {
    let link = text::one_line(link);
    let (rule, action, made) = match effect {
        PathEffect::Lost => return format!("lost on {link}"),
        PathEffect::QueueFull => return format!("dropped: the queue of {link} was full"),
        PathEffect::TooBig => return format!("dropped: too big for {link}"),
        PathEffect::Reordered => return format!("reordered on {link}: others overtook it"),
        PathEffect::Duplicated => return format!("duplicated on {link}"),
        PathEffect::Rule { rule, action, made } => (text::one_line(rule), action.as_str(), made),
    };
    let done = text::one_line(describe_done(action));
    let by = format!("by rule “{rule}” of {link}");
    match action {
        "nat" => {
            let seen = made.first().map(|made| format!(", now seen as {}", text::socket(made.source)));
            format!("{done} {by}{}", seen.unwrap_or_default())
        }
        "inject" => {
            let forged: Vec<String> =
                made.iter().map(|made| format!("{} {}", segment_words(made), segment_path(made))).collect();
            format!("{} {done} {by}", forged.join(", "))
        }
        "split" => format!("{done} into {} {by}", text::count(made.len() as u64, "segment")),
        _ => format!("{done} {by}"),
    }
}

/// Whether it explains why a segment doesn't arrive.
pub(super) fn takes_away(effect: &PathEffect) -> bool {
    match effect {
        PathEffect::Lost | PathEffect::QueueFull | PathEffect::TooBig => true,
        PathEffect::Rule { action, .. } => action == "drop",
        PathEffect::Reordered | PathEffect::Duplicated => false,
    }
}

/// Whether a segment arrives in other segments than its own.
pub(super) fn reshapes(effect: &PathEffect) -> bool {
    matches!(effect, PathEffect::Rule { action, .. } if ["merge", "split"].contains(&action.as_str()))
}

/// What a direction lost altogether; `None`: nothing.
pub(super) fn lost_words(totals: &PathTotals) -> Option<String> {
    let counts = [
        (totals.lost, "lost"),
        (totals.queue_full, "dropped by the full queue"),
        (totals.too_big, "dropped as too big"),
        (totals.dropped, "dropped by rules"),
    ];
    let told = counts.iter().filter(|(count, _)| *count > 0);
    let words: Vec<String> = told.map(|(count, what)| format!("{} {what}", text::count(*count, "packet"))).collect();
    (!words.is_empty()).then(|| words.join(", "))
}
