//! Where a failing run differs from a passing one of the same scenario: what to look at first in a flaky scenario.

use crate::judge::{canonical, outcome_words};
use crate::recording::{Observation, Recording, StepOutcome};
use crate::scenario::model::Scenario;
use crate::text;

/// How many lines before the departure are shown.
const CONTEXT: usize = 2;

/// The first step that ended differently, and for each part of the canonical form (the events of each namespace, the
/// options on the wire, the counters…) the first line that is not the same. Independent events that changed places
/// are no difference.
pub fn departure(scenario: &Scenario, passing: &Recording, failing: &Recording) -> String {
    let mut blocks: Vec<String> = step(passing, failing).into_iter().collect();
    let (left, right) = (canonical(scenario, passing), canonical(scenario, failing));
    let (left, right) = (sections(&left), sections(&right));
    let new = right.iter().filter(|section| left.iter().all(|other| other.heading != section.heading));
    for Section { heading, .. } in left.iter().chain(new) {
        blocks.extend(first_difference(heading, lines(&left, heading), lines(&right, heading)));
    }
    if blocks.is_empty() {
        "it observed the same as a passing run: the failure is not part of the canonical form".to_owned()
    } else {
        format!("it differs from a passing run (-) here (+):\n{}", blocks.join("\n"))
    }
}

/// A part of the canonical form: a heading at the margin, and the indented lines below it.
struct Section<'a> {
    heading: &'a str,
    lines: Vec<&'a str>,
}

fn sections(canonical: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in canonical.lines().filter(|line| !line.is_empty()) {
        match sections.last_mut() {
            Some(section) if line.starts_with(' ') => section.lines.push(line),
            _ => sections.push(Section { heading: line, lines: Vec::new() }),
        }
    }
    sections
}

/// The lines of a section of that name; none, if there is no such section.
fn lines<'a>(sections: &'a [Section<'a>], heading: &str) -> &'a [&'a str] {
    sections.iter().find(|section| section.heading == heading).map_or(&[], |section| &section.lines)
}

fn first_difference(heading: &str, left: &[&str], right: &[&str]) -> Option<String> {
    let same = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    if same == left.len() && same == right.len() {
        return None;
    }
    let mut block = vec![format!("  {heading}")];
    block.extend(left.iter().take(same).skip(same.saturating_sub(CONTEXT)).map(|line| format!("    {line}")));
    block.extend(left.get(same).map(|line| format!("  - {line}")));
    block.extend(right.get(same).map(|line| format!("  + {line}")));
    Some(block.join("\n"))
}

/// The first step that ended differently.
fn step(passing: &Recording, failing: &Recording) -> Option<String> {
    let (left, right) = (outcomes(passing), outcomes(failing));
    let ((_, _, before), (at, number, after)) =
        left.iter().zip(&right).find(|((_, _, left), (_, _, right))| words(left) != words(right))?;
    let milliseconds = at / 1_000_000;
    Some(format!("  step {}, at {milliseconds} ms:\n  - {}\n  + {}", number + 1, words(before), words(after)))
}

fn outcomes(recording: &Recording) -> Vec<(u64, usize, &StepOutcome)> {
    recording
        .entries
        .iter()
        .filter_map(|entry| match &entry.what {
            Observation::StepFinished { step, outcome } => Some((entry.at, *step, outcome)),
            _ => None,
        })
        .collect()
}

fn words(outcome: &StepOutcome) -> String {
    text::one_line(&outcome_words(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::example;
    use crate::recording::Timeout;
    use crate::report::example::recording;

    /// The recording, but step 1 ran out of time, and an event is missing.
    fn failing() -> Recording {
        let mut failing = recording();
        let lost = failing.entries.iter().rposition(|entry| matches!(entry.what, Observation::Event { .. }));
        failing.entries.remove(lost.unwrap());
        for entry in &mut failing.entries {
            if let Observation::StepFinished { step: 1, outcome } = &mut entry.what {
                *outcome = StepOutcome::TimedOut(Timeout::in_words("2 subflows of `main`", "there is 1"));
            }
        }
        failing
    }

    #[test]
    fn the_first_departures_are_told() {
        insta::assert_snapshot!(departure(&example::scenario(), &recording(), &failing()));
    }

    #[test]
    fn equal_recordings_do_not_depart() {
        let text = departure(&example::scenario(), &recording(), &recording());
        assert!(text.starts_with("it observed the same as a passing run"), "{text}");
    }
}
