//! Which failures are similar: one changed field of the kernel fails a hundred scenarios in the same way.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::judge::{Finding, FindingKind};

/// What failures that are alike have in common: the kinds of their findings, and the differences without addresses and
/// numbers. Two scenarios with the same normal form need to be looked at only once.
pub fn normal_form(findings: &[Finding]) -> BTreeSet<(&'static str, String)> {
    findings.iter().flat_map(normal_forms).collect()
}

/// Up to this number, all similar findings are shown.
const FEW: usize = 10;

/// Of more, this number is shown.
const FIRST: usize = 3;

/// The findings to show, each with the number of similar ones that are left out after it.
pub(super) fn first_of_many(findings: &[Finding]) -> Vec<(&Finding, usize)> {
    let form = |finding: &Finding| (finding.kind.word(), shape(&finding.summary));
    let forms: Vec<_> = findings.iter().map(form).collect();
    let mut counts: HashMap<&(&str, String), (usize, usize)> = HashMap::new();
    for form in &forms {
        counts.entry(form).or_default().0 += 1;
    }
    let mut told = Vec::new();
    for (finding, form) in findings.iter().zip(&forms) {
        let (all, before) = counts.entry(form).or_default();
        *before += 1;
        match *before {
            FIRST if *all > FEW => told.push((finding, *all - FIRST)),
            1..=FIRST => told.push((finding, 0)),
            _ if *all <= FEW => told.push((finding, 0)),
            _ => {}
        }
    }
    told
}

fn normal_forms(finding: &Finding) -> Vec<(&'static str, String)> {
    let kind = finding.kind.word();
    if finding.kind != FindingKind::SnapshotChanged {
        return vec![(kind, shape(&finding.summary))];
    }
    let differences = differences(&finding.detail).into_iter();
    differences.map(|difference| (kind, difference)).collect()
}

/// The differences of a diff. Where a line was replaced by another one, the words that they don't share.
fn differences(diff: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for line in diff.lines().chain([""]) {
        let line = line.trim_start();
        // `12   - text`, `   12 + text`: numbers stand before the sign.
        let line = line.trim_start_matches(|character: char| character.is_ascii_digit() || character == ' ');
        if let Some(text) = line.strip_prefix('-').filter(|_| added.is_empty()) {
            removed.push(text);
        } else if let Some(text) = line.strip_prefix('+') {
            added.push(text);
        } else {
            settle(&mut removed, &mut added, &mut forms);
            if let Some(text) = line.strip_prefix('-') {
                removed.push(text);
            }
        }
    }
    settle(&mut removed, &mut added, &mut forms);
    forms
}

fn settle(removed: &mut Vec<&str>, added: &mut Vec<&str>, forms: &mut BTreeSet<String>) {
    if removed.len() == added.len() {
        forms.extend(removed.iter().zip(added.iter()).map(|(before, after)| replaced(before, after)));
    } else {
        forms.extend(removed.iter().map(|line| format!("-{}", shape(line))));
        forms.extend(added.iter().map(|line| format!("+{}", shape(line))));
    }
    removed.clear();
    added.clear();
}

/// The words that only one of two lines has.
fn replaced(before: &str, after: &str) -> String {
    let mut words: BTreeMap<String, i64> = BTreeMap::new();
    for (line, step) in [(before, -1), (after, 1)] {
        for word in shape(line).split_whitespace() {
            *words.entry(word.to_owned()).or_default() += step;
        }
    }
    let changed = words.into_iter().filter(|(_, count)| *count != 0);
    let changed = changed.map(|(word, count)| format!("{}{word}", if count < 0 { "-" } else { "+" }));
    let changed: Vec<String> = changed.collect();
    // Only addresses or numbers differ: what the line is about tells such differences apart.
    if changed.is_empty() { format!("~{}", shape(before)) } else { changed.join(" ") }
}

/// A text without what differs from scenario to scenario: addresses and numbers.
fn shape(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        let is_address = word.contains(':') && word.chars().filter(char::is_ascii_hexdigit).count() > 2;
        if is_address && word.trim_matches(|end: char| !end.is_ascii_hexdigit()).contains("::") {
            return "N".to_owned();
        }
        let mut shape = String::new();
        for character in word.chars() {
            match (character.is_ascii_digit(), character == '.' && shape.ends_with('N')) {
                (true, _) if shape.ends_with('N') => {}
                (_, true) => {}
                (true, _) => shape.push('N'),
                _ => shape.push(character),
            }
        }
        shape
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(detail: &str) -> Vec<Finding> {
        vec![Finding {
            kind: FindingKind::SnapshotChanged,
            place: None,
            summary: "the snapshot differs".to_owned(),
            detail: detail.to_owned(),
            at: None,
            reasons: Vec::new(),
            values: None,
        }]
    }

    #[test]
    fn one_field_more_is_alike_wherever_it_is() {
        let one = changed(
            "  events of client:\n-   created main 10.0.1.2 > 10.0.1.1:8080\n+   created main 10.0.1.2 > 10.0.1.1:8080 server_side\n",
        );
        let other = changed(
            "-   established side dead:beef::2 > dead:beef::1\n+   established side dead:beef::2 > dead:beef::1 server_side\n  x\n",
        );
        assert_eq!(normal_form(&one), normal_form(&other));
        assert_eq!(normal_form(&one), BTreeSet::from([("snapshot_changed", "+server_side".to_owned())]));
    }

    #[test]
    fn what_differs_otherwise_is_not_alike() {
        let one = changed("-   removed main remote_id 1\n");
        let more = changed("+   removed main remote_id 1\n");
        let number = changed("-   removed main remote_id 1\n+   removed main remote_id 2\n");
        let other = changed("-   announced main remote_id 1\n+   announced main remote_id 2\n");
        let forms: BTreeSet<_> = [one, more, number, other].iter().map(|findings| normal_form(findings)).collect();
        assert_eq!(forms.len(), 4);
    }

    #[test]
    fn of_many_findings_alike_the_first_are_told() {
        let number = |number: usize| Finding {
            kind: FindingKind::Connection,
            summary: format!("`c{number}` fell back to TCP"),
            ..changed("").remove(0)
        };
        let few: Vec<_> = (0..FEW).map(number).collect();
        assert_eq!(first_of_many(&few).iter().map(|(_, more)| more).collect::<Vec<_>>(), [&0; FEW]);
        let mut many: Vec<_> = (0..10_000).map(number).collect();
        many.insert(2, Finding { kind: FindingKind::Counter, ..number(0) });
        let told: Vec<_> = first_of_many(&many).into_iter().map(|(finding, more)| (finding.kind, more)).collect();
        let [one, other] = [FindingKind::Connection, FindingKind::Counter];
        assert_eq!(told, [(one, 0), (one, 0), (other, 0), (one, 9997)]);
    }

    #[test]
    fn a_finding_is_alike_but_for_its_numbers() {
        let of = |kind, summary: &str| {
            let finding = Finding { kind, summary: summary.to_owned(), ..changed("").remove(0) };
            normal_form(&[finding])
        };
        let one =
            of(FindingKind::Counter, "counter MPTcpExtRmAddr of client at the end: expected 1, it increased by 2");
        assert_eq!(
            one,
            of(FindingKind::Counter, "counter MPTcpExtRmAddr of client at the end: expected 3, it increased by 14")
        );
        assert_ne!(
            one,
            of(FindingKind::Counter, "counter MPTcpExtRmAddrTx of client at the end: expected 1, it increased by 2")
        );
        assert_ne!(
            one,
            of(FindingKind::Info, "counter MPTcpExtRmAddr of client at the end: expected 1, it increased by 2")
        );
    }
}
