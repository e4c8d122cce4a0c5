//! What paths did to a segment, in words.

use crate::recording::{PathDeed, PathTotals};
use crate::text;

use super::words::{segment_path, segment_words};

/// What was done, deed by deed. What a rule held until the end is told once.
pub(super) fn deeds_words(deeds: &[(&str, &PathDeed)]) -> Vec<String> {
    let is = |deed: &PathDeed, word: &str| matches!(deed, PathDeed::Rule { action, .. } if action == word);
    let by = |deed: &PathDeed| match deed {
        PathDeed::Rule { rule, .. } => Some(rule.clone()),
        _ => None,
    };
    let mut words: Vec<String> = Vec::new();
    let mut before: Option<(&str, &PathDeed)> = None;
    for (link, deed) in deeds.iter().copied() {
        let held = before.filter(|(on, held)| *on == link && is(held, "hold") && by(held) == by(deed));
        match words.last_mut().filter(|_| held.is_some() && is(deed, "drop")) {
            Some(last) => last.push_str(" until it was removed or the run ended"),
            None => words.push(deed_words(link, deed)),
        }
        before = Some((link, deed));
    }
    words
}

/// What was done, on which link.
fn deed_words(link: &str, deed: &PathDeed) -> String {
    let link = text::one_line(link);
    let (rule, action, made) = match deed {
        PathDeed::Lost => return format!("lost on {link}"),
        PathDeed::QueueFull => return format!("dropped: the queue of {link} was full"),
        PathDeed::TooBig => return format!("dropped: too big for {link}"),
        PathDeed::Reordered => return format!("reordered on {link}: others overtook it"),
        PathDeed::Duplicated => return format!("duplicated on {link}"),
        PathDeed::Rule { rule, action, made } => (text::one_line(rule), action.as_str(), made),
    };
    let by = format!("by rule “{rule}” of {link}");
    match action {
        "drop" => format!("dropped {by}"),
        "delay" => format!("delayed {by}"),
        "duplicate" => format!("duplicated {by}"),
        "hold" => format!("held {by}"),
        "release" => format!("released {by}"),
        "corrupt" => format!("corrupted {by}"),
        "strip" => format!("stripped {by}"),
        "rewrite" => format!("rewritten {by}"),
        "nat" => {
            let seen = made.first().map(|made| format!(", now seen as {}", text::socket(made.source)));
            format!("translated {by}{}", seen.unwrap_or_default())
        }
        "inject" => {
            let forged: Vec<String> =
                made.iter().map(|made| format!("{} {}", segment_words(made), segment_path(made))).collect();
            format!("{} injected {by}", forged.join(", "))
        }
        "split" => format!("split into {} {by}", text::count(made.len() as u64, "segment")),
        "merge" => format!("merged with others {by}"),
        other => format!("{} {by}", text::one_line(other)),
    }
}

/// Whether it explains why a segment doesn't arrive.
pub(super) fn takes_away(deed: &PathDeed) -> bool {
    match deed {
        PathDeed::Lost | PathDeed::QueueFull | PathDeed::TooBig => true,
        PathDeed::Rule { action, .. } => action == "drop",
        PathDeed::Reordered | PathDeed::Duplicated => false,
    }
}

/// Whether a segment arrives in other segments than its own.
pub(super) fn reshapes(deed: &PathDeed) -> bool {
    matches!(deed, PathDeed::Rule { action, .. } if ["merge", "split"].contains(&action.as_str()))
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
