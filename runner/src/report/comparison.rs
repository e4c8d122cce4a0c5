//! What differs between two kernels: for people, as Markdown, as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::comparison::{Both, Compared, Comparison, Relation, Side, Subject};
use crate::results::{Ruling, StoredFinding};
use crate::text;

use super::Style;
use super::markdown::{cell, fenced};
use super::style::Role;

/// For people: both kernels, all differences in detail, and the totals.
pub fn comparison_text(comparison: &Comparison, style: Style) -> String {
    let mut text = String::new();
    for (letter, subject) in [('A', &comparison.sides.a), ('B', &comparison.sides.b)] {
        _ = writeln!(text, "{} {}", style.paint(Role::Heading, format!("{letter}:")), subject_line(subject));
        for line in &subject.late_trouble {
            _ = writeln!(text, "   {} {}", style.paint(Role::Bad, "the kernel said:"), text::one_line(line));
        }
    }
    for (word, side) in &comparison.features {
        _ = writeln!(text, "   only {} has `{word}`", side.letter());
    }
    for compared in &comparison.scenarios {
        if let Some(block) = block(compared, style) {
            _ = write!(text, "\n{block}");
        }
    }
    _ = writeln!(text, "\n{}", sum(comparison));
    style.finish(text)
}

fn subject_line(subject: &Subject) -> String {
    let Subject { name, kernel, date, .. } = subject;
    text::one_line(&format!("{name}, Linux {} {} ({}), run at {date}", kernel.release, kernel.machine, kernel.version))
}

/// The heading of a scenario that differs, and the details below it.
fn block(compared: &Compared, style: Style) -> Option<String> {
    let (role, word, rest) = headline(compared)?;
    let label = text::one_line(&compared.label);
    let rest = style.paint(Role::Faint, format!("{rest}  {}", text::one_line(&compared.title)));
    let mut text = format!("{} {label} {rest}\n", style.paint(role, word.to_uppercase()));
    if let Relation::Differs { findings, diff, .. } = &compared.relation {
        for line in finding_lines(findings) {
            _ = writeln!(text, "  {line}");
        }
        for line in diff.lines() {
            let line = match line.chars().next() {
                Some('-') => style.paint(Role::Bad, line),
                Some('+') => style.paint(Role::Good, line),
                _ => line.to_owned(),
            };
            _ = writeln!(text, "  {line}");
        }
    }
    Some(text)
}

/// The word for a scenario that differs, and the details in brackets.
fn headline(compared: &Compared) -> Option<(Role, String, String)> {
    let on = |word: &str, side: Side| format!("{word} on {}", side.letter());
    Some(match &compared.relation {
        Relation::Same(_) => return None,
        Relation::Differs { verdicts, .. } => (Role::Bad, "differs".to_owned(), format!("({})", change(*verdicts))),
        Relation::OnlyOn(side, ruling) => (Role::Warning, on("only", *side), format!("({})", ruling.word())),
        Relation::SkippedOn { side, reason, .. } => {
            (Role::Warning, on("skipped", *side), format!("({})", text::one_line(reason)))
        }
        Relation::BothSkipped(reasons) => {
            (Role::Warning, "skipped on both".to_owned(), format!("({})", both_reasons(reasons)))
        }
        Relation::Undecided(why) => (Role::Bad, "can't tell".to_owned(), format!("({})", text::one_line(why))),
    })
}

fn both_reasons(reasons: &Both<String>) -> String {
    let Both { a, b } = reasons;
    text::one_line(&if a == b { a.clone() } else { format!("A: {a}; B: {b}") })
}

/// `passed → failed`, or `passed on both`.
fn change(verdicts: Both<Ruling>) -> String {
    let Both { a, b } = verdicts;
    if a == b { format!("{} on both", a.word()) } else { format!("{} → {}", a.word(), b.word()) }
}

/// Findings on only one of the two.
fn finding_lines(findings: &Both<Vec<StoredFinding>>) -> Vec<String> {
    let Both { a, b } = findings;
    let line = |side: Side| {
        move |finding: &StoredFinding| {
            format!("{}: {}: {}", side.letter(), finding.kind, text::one_line(&finding.summary))
        }
    };
    let of_a = a.iter().filter(|finding| !b.contains(finding)).map(line(Side::A));
    let of_b = b.iter().filter(|finding| !a.contains(finding)).map(line(Side::B));
    of_a.chain(of_b).collect()
}

/// `8 scenarios: 1 same, 2 differ`
fn sum(comparison: &Comparison) -> String {
    let tallies = comparison.tallies();
    let parts = [
        (tallies.same, "same"),
        (tallies.differ, "differ"),
        (tallies.only_on_one, "only on one"),
        (tallies.skipped_on_one, "skipped on one"),
        (tallies.both_skipped, "skipped on both"),
        (tallies.undecided, "can't be compared"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")).collect();
    format!("{}: {}", text::count(tallies.all as u64, "scenario"), parts.join(", "))
}

/// As Markdown, for a report or a message.
pub fn comparison_markdown(comparison: &Comparison) -> String {
    let mut text = String::from("# What differs between two kernels\n\n| | kernel |\n|---|---|\n");
    for (letter, subject) in [('A', &comparison.sides.a), ('B', &comparison.sides.b)] {
        _ = writeln!(text, "| {letter} | {} |", cell(&subject_line(subject)));
    }
    _ = writeln!(text, "\n{}.", sum(comparison));
    for (letter, subject) in [('A', &comparison.sides.a), ('B', &comparison.sides.b)] {
        if !subject.late_trouble.is_empty() {
            _ = writeln!(text, "\nThe kernel of {letter} said:\n\n{}", fenced("", &subject.late_trouble.join("\n")));
        }
    }
    if !comparison.features.is_empty() {
        text.push_str("\n| feature | only on |\n|---|---|\n");
        for (word, side) in &comparison.features {
            _ = writeln!(text, "| `{word}` | {} |", side.letter());
        }
    }
    let headlines: Vec<_> =
        comparison.scenarios.iter().filter_map(|compared| Some((compared, headline(compared)?))).collect();
    if !headlines.is_empty() {
        text.push_str("\n| scenario | | |\n|---|---|---|\n");
    }
    for (compared, (_, word, rest)) in headlines {
        let rest = rest.trim_start_matches('(').strip_suffix(')').unwrap_or(&rest);
        _ = writeln!(text, "| {} | {} | {} |", cell(&compared.label), word, cell(rest));
    }
    for compared in &comparison.scenarios {
        let Relation::Differs { findings, diff, .. } = &compared.relation else { continue };
        _ = writeln!(text, "\n## {}\n\n{}", cell(&compared.label), cell(&compared.title));
        let lines = finding_lines(findings);
        if !lines.is_empty() {
            text.push('\n');
        }
        for line in lines {
            _ = writeln!(text, "* {}", cell(&line));
        }
        if !diff.is_empty() {
            _ = write!(text, "\n{}", fenced("diff", diff));
        }
    }
    text
}

/// As one JSON object. Its `format` is 1.
pub fn comparison_json(comparison: &Comparison) -> Value {
    let tallies = comparison.tallies();
    json!({
        "format": 1,
        "a": subject_json(&comparison.sides.a),
        "b": subject_json(&comparison.sides.b),
        "totals": {
            "scenarios": tallies.all,
            "same": tallies.same,
            "differ": tallies.differ,
            "only_on_one": tallies.only_on_one,
            "skipped_on_one": tallies.skipped_on_one,
            "both_skipped": tallies.both_skipped,
            "undecided": tallies.undecided,
        },
        "features": comparison.features.iter().map(|(word, side)| json!({ "feature": word, "only_on": letter(*side) })).collect::<Vec<_>>(),
        "scenarios": comparison.scenarios.iter().map(compared_json).collect::<Vec<_>>(),
    })
}

fn subject_json(subject: &Subject) -> Value {
    json!({
        "name": subject.name,
        "kernel": subject.kernel,
        "date": subject.date,
        "late_trouble": subject.late_trouble,
    })
}

fn letter(side: Side) -> &'static str {
    match side {
        Side::A => "a",
        Side::B => "b",
    }
}

fn compared_json(compared: &Compared) -> Value {
    let mut object = json!({ "label": compared.label, "title": compared.title });
    let more = match &compared.relation {
        Relation::Same(ruling) => json!({ "relation": "same", "verdicts": { "a": ruling, "b": ruling } }),
        Relation::Differs { verdicts: Both { a, b }, findings, diff } => json!({
            "relation": "differs",
            "verdicts": { "a": a, "b": b },
            "findings": { "a": findings.a, "b": findings.b },
            "diff": diff,
        }),
        Relation::OnlyOn(side, ruling) => {
            json!({ "relation": "only_on_one", "only_on": letter(*side), "verdicts": { letter(*side): ruling } })
        }
        Relation::SkippedOn { side, reason, other } => {
            let (a, b) = match side {
                Side::A => (Ruling::Skipped, *other),
                Side::B => (*other, Ruling::Skipped),
            };
            json!({
                "relation": "skipped_on_one",
                "verdicts": { "a": a, "b": b },
                "reasons": { letter(*side): reason },
            })
        }
        Relation::BothSkipped(Both { a, b }) => json!({
            "relation": "both_skipped",
            "verdicts": { "a": Ruling::Skipped, "b": Ruling::Skipped },
            "reasons": { "a": a, "b": b },
        }),
        Relation::Undecided(why) => json!({ "relation": "undecided", "why": why }),
    };
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::tests::{compare, one_of_each, passed};

    const PLAIN: Style = Style { colour: false, unicode: true };

    #[test]
    fn all_that_is_not_the_same_is_told() {
        let mut comparison = one_of_each();
        comparison.sides.b.late_trouble.push("[    1.000000] BUG: x".to_owned());
        insta::assert_snapshot!(comparison_text(&comparison, PLAIN));
    }

    #[test]
    fn the_same_is_told_in_one_line() {
        let text = comparison_text(&compare(vec![passed("s", "a")], vec![passed("s", "a")]), PLAIN);
        assert!(text.ends_with("\n\n1 scenario: 1 same\n"), "{text}");
        assert!(!text.contains("title"), "{text}");
    }

    #[test]
    fn markdown_has_it_in_tables() {
        insta::assert_snapshot!(comparison_markdown(&one_of_each()));
    }

    #[test]
    fn json_has_all_of_it() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&comparison_json(&one_of_each())).unwrap());
    }

    #[test]
    fn foreign_text_stays_text() {
        let evil = compare(vec![passed("s|\u{1b}[31m", "a\u{1b}[0m")], vec![passed("s|\u{1b}[31m", "``` b")]);
        let (text, markdown) = (comparison_text(&evil, PLAIN), comparison_markdown(&evil));
        assert!(!text.contains('\u{1b}') && !markdown.contains('\u{1b}'), "{text}\n{markdown}");
        assert!(markdown.contains("| s\\|"), "{markdown}");
        assert!(markdown.contains("\n````diff\n"), "{markdown}");
    }
}
