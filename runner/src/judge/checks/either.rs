//! Alternatives: of several expectations, one must hold.

use serde_json::{Value, json};

use crate::judge::names::Names;
use crate::judge::{Finding, FindingKind, Values, render};
use crate::scenario::model::{Action, Alternative, Choice, Expectation};
use crate::text;

use super::findings_of;
use super::scope::Scope;

/// What is wrong if no alternative holds. `around`: the expectation that the choice is a part of.
pub(super) fn check(scope: &Scope<'_, '_>, choice: &Choice, around: &Expectation) -> Option<Finding> {
    let mut misses = Vec::new();
    for (number, alternative) in (1_usize..).zip(&choice.alternatives) {
        let findings = findings(scope, alternative, around);
        if findings.is_empty() {
            return None;
        }
        misses.push((number, alternative, findings));
    }
    let of_each = |value: fn(&Values) -> &Value| -> Vec<Vec<Value>> {
        let misses = misses.iter().map(|(.., findings)| findings.iter().map(|finding| valued(finding, value)));
        misses.map(Iterator::collect).collect()
    };
    let (expected, observed) = (of_each(|values| &values.expected), of_each(|values| &values.observed));
    // The sort is stable: of those that miss alike, the first comes first.
    misses.sort_by_key(|(.., findings)| findings.len());
    let (number, _, nearest) = misses.first()?;
    let first = nearest.first()?;
    // What can't be judged might have held.
    let unknown = misses.iter().flat_map(|(.., findings)| findings).any(|finding| finding.kind.is_error());
    let kind = if unknown { FindingKind::Incomplete } else { FindingKind::Either };
    let more = match nearest.len() {
        1 => String::new(),
        many => format!(", and {} more", many - 1),
    };
    let summary = format!(
        "either {}: none of the {} alternatives holds; the nearest, number {number}: {}{more}",
        scope.when,
        misses.len(),
        first.summary
    );
    let told = misses.iter().map(|(number, alternative, findings)| told(*number, alternative, findings));
    let detail = format!("because: {}\n{}{}", choice.because, told.collect::<String>(), first.detail);
    Some(Finding::new(kind, summary).placed(choice.place).detailed(detail).valued(expected, observed).at(first.at))
}

/// One side of a finding's values, below the word of its kind.
fn valued(finding: &Finding, value: fn(&Values) -> &Value) -> Value {
    json!({ finding.kind.word(): finding.values.as_deref().map(value) })
}

/// Maximum number of findings shown of an alternative.
const TOLD: usize = 5;

fn told(number: usize, alternative: &Alternative, findings: &[Finding]) -> String {
    let summaries = findings.iter().take(TOLD).map(|finding| finding.summary.clone());
    let rest = findings.len().saturating_sub(TOLD);
    let rest = (rest > 0).then(|| format!("and {}", text::count(rest as u64, "more difference")));
    let heading = format!("alternative {number} (line {}):\n", alternative.place.line);
    heading + &render::indented(summaries.chain(rest))
}

fn findings(scope: &Scope<'_, '_>, alternative: &Alternative, around: &Expectation) -> Vec<Finding> {
    findings_of(scope, &alternative.expectation, &[&alternative.expectation, around])
}

/// An expectation and what holds of its alternatives: all that it says about the run. Of a choice of which none holds, or
/// that can't be judged without a scope, it may be any.
pub(super) fn said<'e>(scope: Option<&Scope<'_, '_>>, expectation: &'e Expectation) -> Vec<&'e Expectation> {
    let mut said = vec![expectation];
    for choice in &expectation.either {
        let before = said.len();
        let holding = choice
            .alternatives
            .iter()
            .filter(|alternative| scope.is_some_and(|scope| findings(scope, alternative, expectation).is_empty()));
        said.extend(holding.map(|alternative| &alternative.expectation));
        if said.len() == before {
            said.extend(choice.alternatives.iter().map(|alternative| &alternative.expectation));
        }
    }
    said
}

/// The same for all expectations of a scenario.
pub(super) fn all_said<'a>(names: &Names<'a>) -> Vec<&'a Expectation> {
    let scenario = names.scenario();
    let checks = scenario.steps.iter().enumerate().filter_map(|(index, step)| {
        pick!(&step.action, Action::Check(expectation)
            => said(Scope::of_check(names, index).as_ref(), expectation))
    });
    checks.flatten().chain(said(Some(&Scope::of_run(names)), &scenario.expect)).collect()
}
