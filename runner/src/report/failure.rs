//! A finding as text: enough to understand it, or to paste it into an e-mail, without a second run.

use crate::judge::{Finding, FindingKind};
use crate::scenario::model::{Place, Scenario};
use crate::text;

use super::Style;
use super::alike;
use super::style::Role;

/// All findings of a run, each with its text. Of many similar ones, the first are shown and the rest are counted: a run with
/// thousands of connections may have one for each of them.
pub fn failures<'f>(scenario: &Scenario, findings: &'f [Finding], style: Style) -> Vec<(&'f Finding, String)> {
    let told = alike::first_of_many(findings).into_iter();
    let texts = told.map(|(finding, more)| {
        let more = (more > 0).then(|| format!("and {}\n", text::count(more as u64, "similar finding")));
        (finding, failure(scenario, finding, style) + &more.unwrap_or_default())
    });
    texts.collect()
}

/// One finding: what kind of check, what was expected and observed, where that is written, what may explain it, and the
/// details.
pub fn failure(scenario: &Scenario, finding: &Finding, style: Style) -> String {
    let kind = style.paint(Role::Bad, kind_word(finding.kind));
    let mut lines = vec![format!("{kind}: {}", text::one_line(&finding.summary))];
    lines.extend(finding.place.and_then(|place| snippet(scenario, place, style)));
    lines.extend(reasons(finding, style));
    // A new snapshot has as many lines as the run had events: it is printed when it is asked for.
    let detail = if finding.kind == FindingKind::SnapshotNew { "" } else { finding.detail.as_str() };
    let detail = text::printable(detail);
    lines.extend(detail.trim_end().lines().map(|line| format!("  {line}").trim_end().to_owned()));
    lines.extend(hint(finding.kind).map(|hint| format!("{} {hint}", style.paint(Role::Event, "hint:"))));
    style.finish(lines.join("\n") + "\n")
}

/// Possible reasons, a line each. Those that explain most come first.
fn reasons(finding: &Finding, style: Style) -> Vec<String> {
    if finding.reasons.is_empty() {
        return Vec::new();
    }
    let head = style.paint(Role::Event, "possible reasons:");
    let each = finding.reasons.iter().map(|reason| format!("  {}", text::one_line(&reason.to_string())));
    std::iter::once(head).chain(each).collect()
}

/// The line of a place with what it means marked underneath; `None` if the place isn't in the text.
fn snippet(scenario: &Scenario, place: Place, style: Style) -> Option<String> {
    let source = scenario.sources.get(place.source)?;
    let line = source.text.lines().nth(place.line.checked_sub(1)?)?;
    let before = place.column.saturating_sub(1);
    let spanned = source.text.get(place.start..place.end).and_then(|text| text.lines().next()).unwrap_or_default();
    let marked = spanned.trim_end().chars().count().clamp(1, line.chars().count().saturating_sub(before).max(1));
    let margin = " ".repeat(place.line.to_string().len());
    let name = text::one_line(&source.name);
    Some(format!(
        "{margin}--> {name}:{}:{}\n{} │ {}\n{margin} │ {}{}",
        place.line,
        place.column,
        place.line,
        // One character stays one column, or the mark would be in the wrong place.
        line.chars().map(|character| if character.is_control() { ' ' } else { character }).collect::<String>(),
        " ".repeat(before),
        style.paint(Role::Bad, "^".repeat(marked)),
    ))
}

/// Advice, where it isn't obvious.
fn hint(kind: FindingKind) -> Option<&'static str> {
    match kind {
        FindingKind::Incomplete => Some("nothing can be concluded from this run"),
        FindingKind::Contradiction => {
            Some("the kernel contradicts itself: that is a finding about the kernel, not about the scenario")
        }
        FindingKind::Stalled => Some("repeat it on a less busy machine, or with fewer jobs: `--jobs N`"),
        FindingKind::Filter => Some("if the filter may stay unused, set `may_be_unused: true`"),
        FindingKind::Kernel => {
            Some("see the kernel log for more: `dmesg`, or `--kernel-log FILE` for a virtual machine")
        }
        _ => None,
    }
}

/// The kind of a check, in one word or two.
pub(super) fn kind_word(kind: FindingKind) -> String {
    match kind {
        FindingKind::Setup => "set-up".to_owned(),
        FindingKind::Option => "socket option".to_owned(),
        kind => kind.word().replace('_', " "),
    }
}
