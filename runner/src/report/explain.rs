//! Why each subflow and each announcement of a run is there, or is not: the decisions of the reference, for people and
//! for other programs.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};

use crate::judge::observed;
use crate::mptcp::Limits;
use crate::recording::{Connection, Recording, Side};
use crate::reference::{Candidate, Decision, Outcome, Reference};
use crate::scenario::model::{Action, Operation, Scenario};
use crate::text;

use super::Style;
use super::style::Role;

/// The decisions of a run: a table for each side of each connection.
pub fn explanation(scenario: &Scenario, recording: &Recording, reference: &Reference, style: Style) -> String {
    let mut lines = vec![style.paint(Role::Heading, text::one_line(&scenario.label()))];
    let connections: Vec<&Connection> = recording.connections().collect();
    if connections.is_empty() {
        lines.push("no connection was established".to_owned());
    }
    lines.extend(
        observed(scenario, recording).iter().map(|reason| format!("  {}", text::one_line(&reason.to_string()))),
    );
    let mut by_side: HashMap<(&str, Side), Vec<&Decision>> = HashMap::new();
    for decision in &reference.decisions {
        by_side.entry((&decision.connection, decision.side)).or_default().push(decision);
    }
    for connection in connections {
        let ends = (text::socket(connection.client_address), text::socket(connection.server_address));
        lines.push(String::new());
        lines
            .push(style.paint(Role::Heading, format!("{}: {} → {}", text::one_line(&connection.name), ends.0, ends.1)));
        for (side, namespace) in [(Side::Client, &connection.client), (Side::Server, &connection.server)] {
            lines.push(format!("  {} ({}): {}", side.word(), text::one_line(namespace), limits(scenario, namespace)));
            let decisions: &[&Decision] = by_side.get(&(connection.name.as_str(), side)).map_or(&[], Vec::as_slice);
            table(scenario, decisions, style, &mut lines);
        }
    }
    style.finish(lines.join("\n") + "\n")
}

/// The limits of a namespace, and which of them nothing sets.
fn limits(scenario: &Scenario, namespace: &str) -> String {
    let configured = scenario.world.namespace(namespace);
    if configured.is_some_and(|namespace| namespace.userspace_path_manager) {
        return "userspace path manager".to_owned();
    }
    let set = configured.and_then(|namespace| namespace.limits);
    let by_default = if set.is_none() { " (default)" } else { "" };
    let Limits { subflows, add_addr_accepted } = set.unwrap_or_default();
    let changed = scenario
        .steps
        .iter()
        .any(|step| matches!(&step.action, Action::Do(Operation::SetLimits { namespace: of, .. }) if of == namespace));
    let later = if changed { "; changed by a step" } else { "" };
    format!("limits subflows {subflows}{by_default}, add_addr_accepted {add_addr_accepted}{by_default}{later}")
}

/// Its decisions about options say that a connection isn't MPTCP any more.
const FALLBACK: &str = "fallback";

/// The rules that say why something is there. Others say what it is like, which is of interest where it is wrong.
const TELLING: [&str; 11] = [
    FALLBACK,
    "subflow-has-a-reason",
    "answer-to-a-join",
    "join-from-the-peer",
    "announce-signal-endpoints",
    "accept-announcements",
    "remove-deleted-addresses",
    "close-subflows-to-removed-addresses",
    "tell-changed-priorities",
    "what-userspace-asks-for",
    "closed-subflows-stay-closed",
];

/// What people ask about; the others are counted.
fn is_told(decision: &Decision) -> bool {
    if decision.outcome == Outcome::Done && !TELLING.contains(&decision.rule.name) {
        return false;
    }
    decision.outcome.is_violation()
        || match decision.candidate {
            Candidate::Subflow { .. }
            | Candidate::Join { .. }
            | Candidate::Announcement { .. }
            | Candidate::Removal { .. }
            | Candidate::Priority { .. } => true,
            Candidate::Echo { .. } | Candidate::Event { .. } | Candidate::Option { .. } | Candidate::Shown { .. } => {
                decision.outcome == Outcome::Undetermined || decision.rule.name == FALLBACK
            }
        }
}

fn table(scenario: &Scenario, decisions: &[&Decision], style: Style, lines: &mut Vec<String>) {
    let mut rows: Vec<(Outcome, String, String, usize)> = Vec::new();
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    let (minor, major): (Vec<&Decision>, Vec<&Decision>) = decisions.iter().partition(|decision| decision.is_minor);
    let mut told = HashSet::new();
    for decision in major.into_iter().chain(minor) {
        let repeats = decision.is_minor && told.contains(decision.because.as_str());
        if repeats || !is_told(decision) {
            *others.entry(decision.rule.name).or_default() += 1;
            continue;
        }
        told.insert(decision.because.as_str());
        let candidate = text::one_line(&decision.candidate.to_string());
        let known = if is_known(scenario, decision) { "; a known fault of this kernel" } else { "" };
        let why = format!("{}{known} [{}]", text::one_line(&decision.because), decision.rule.name);
        match rows.iter_mut().find(|(outcome, what, because, _)| {
            (*outcome, what.as_str(), because.as_str()) == (decision.outcome, &candidate, &why)
        }) {
            Some((.., times)) => *times += 1,
            None => rows.push((decision.outcome, candidate, why, 1)),
        }
    }
    // What is said about the same thing stands together.
    let order: Vec<(Outcome, String)> = rows.iter().map(|(outcome, what, ..)| (*outcome, what.clone())).collect();
    rows.sort_by_key(|(outcome, what, ..)| order.iter().position(|(of, same)| (of, same) == (outcome, what)));
    let width = rows.iter().map(|(_, what, ..)| what.chars().count()).max().unwrap_or(0);
    let mut last = None;
    for (outcome, what, why, times) in rows {
        let (role, mut word) = outcome_word(outcome);
        let times = if times > 1 { format!(" ({times} times)") } else { String::new() };
        let mut what = what;
        let this = Some((outcome, what.clone()));
        if last == this {
            (word, what) = ("", String::new());
        }
        last = this;
        lines.push(format!("    {} {what:<width$}  {why}{times}", style.paint(role, format!("{word:<9}"))));
    }
    let (rules, rest) = (others.len() as u64, others.values().sum::<usize>() as u64);
    if rest > 0 {
        let line = format!(
            "    and {} by {}: as the rules say",
            text::count(rest, "other decision"),
            text::count(rules, "rule")
        );
        lines.push(style.paint(Role::Faint, line));
    }
}

/// It breaks a rule, as the scenario says.
fn is_known(scenario: &Scenario, decision: &Decision) -> bool {
    decision.outcome.is_violation() && scenario.expect.broken_rule(decision.rule.name).is_some()
}

fn outcome_word(outcome: Outcome) -> (Role, &'static str) {
    match outcome {
        Outcome::Done => (Role::Good, "there"),
        Outcome::NotDone => (Role::Faint, "not there"),
        Outcome::Missing => (Role::Bad, "missing"),
        Outcome::Wrong => (Role::Bad, "wrong"),
        Outcome::Undetermined => (Role::Warning, "unknown"),
    }
}

/// The same as one JSON object: `label`, `observed` (what the recording shows beside the decisions, in words), and
/// `decisions` with `connection`, `side`, `at_ns`, `candidate`, `outcome`
/// (`done`, `not_done`, `missing`, `wrong`, `undetermined`), `rule`, `because`, and `evidence`: the indices of entries of
/// the recording. `known_fault` is true where the scenario says that this kernel breaks the rule.
pub fn explanation_json(scenario: &Scenario, recording: &Recording, reference: &Reference) -> Value {
    let observed: Vec<String> = observed(scenario, recording).iter().map(ToString::to_string).collect();
    let decisions: Vec<Value> = reference.decisions.iter().map(|decision| decision_json(scenario, decision)).collect();
    json!({ "label": scenario.label(), "observed": observed, "decisions": decisions })
}

fn decision_json(scenario: &Scenario, decision: &Decision) -> Value {
    let mut json = json!({
        "connection": decision.connection,
        "side": decision.side.word(),
        "at_ns": decision.at,
        "candidate": decision.candidate.to_string(),
        "outcome": decision.outcome.word(),
        "rule": decision.rule.name,
        "because": decision.because,
        "evidence": decision.evidence,
    });
    if is_known(scenario, decision) {
        json["known_fault"] = true.into();
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{RULES, consult};

    #[test]
    fn what_tells_is_a_rule() {
        for name in TELLING {
            assert!(RULES.iter().any(|rule| rule.name == name), "{name}");
        }
    }

    #[test]
    fn a_run_is_explained() {
        let text = include_str!("../../fixtures/recordings/endpoints-signal-ipv4.jsonl");
        let recording = crate::recording::read(text.as_bytes()).unwrap();
        let scenario = recording.header.scenario().unwrap();
        let reference = consult(&scenario, &recording);
        insta::assert_snapshot!(explanation(&scenario, &recording, &reference, Style { colour: false, unicode: true }));
        let json = explanation_json(&scenario, &recording, &reference);
        assert_eq!(json["decisions"].as_array().map(Vec::len), Some(reference.decisions.len()));
    }
}
