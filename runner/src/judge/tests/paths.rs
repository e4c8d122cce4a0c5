//! What paths did: each expectation and each rule, and what must be found when it isn't so.

use crate::judge::{FindingKind, canonical};
use crate::recording::{Moment, Observation, PathTotals};
use crate::scenario::model::{
    Action, Conditions, Expectation, PacketPattern, PathCount, PathExpectation, PathPlan, PathRule, Range, RuleAction,
    WirePattern,
};

use super::fixture::{Run, place};

const LINK: &str = "link1";

pub(super) fn rule(name: &str, option: Option<&str>, nth: Option<Range>, action: RuleAction) -> PathRule {
    let matching = PacketPattern { option: option.map(WirePattern::named), nth, ..PacketPattern::default() };
    PathRule { name: name.to_owned(), place: place(7), matching, action, may_be_unused: false }
}

pub(super) fn run_with(rules: Vec<PathRule>) -> Run {
    let mut run = Run::good();
    run.scenario.world.paths.push(PathPlan {
        link: LINK.to_owned(),
        place: place(1),
        seed: 0,
        conditions: [Conditions::default(), Conditions::default()],
        rules,
    });
    run
}

pub(super) fn matched(run: &mut Run, rule: &str, segments: u64) {
    run.push(Observation::RuleHits { link: LINK.to_owned(), rule: rule.to_owned(), segments });
}

pub(super) fn loss() -> PathRule {
    rule("loss", Some("add_addr"), None, RuleAction::Drop)
}

#[test]
fn a_rule_that_never_matched_is_found() {
    let with = |may_be_unused, segments: Option<u64>| {
        let mut run = run_with(vec![PathRule { may_be_unused, ..loss() }]);
        if let Some(segments) = segments {
            matched(&mut run, "loss", segments);
        }
        run.kinds()
    };
    assert_eq!(with(false, Some(1)), []);
    assert_eq!(with(false, Some(0)), [FindingKind::Path]);
    assert_eq!(with(true, Some(0)), []);
    assert_eq!(with(true, None), [FindingKind::Incomplete]);
}

#[test]
fn a_rule_that_is_added_again_must_match_again() {
    let mut run = run_with(vec![loss()]);
    matched(&mut run, "loss", 2);
    run.step(Action::AddRule { link: LINK.to_owned(), rule: PathRule { place: place(8), ..loss() } }, |_| {});
    matched(&mut run, "loss", 0);
    let findings = run.findings();
    assert_eq!(run.kinds(), [FindingKind::Path]);
    assert_eq!(findings[0].place, Some(place(8)));
}

#[test]
fn of_a_rule_on_another_link_nothing_follows() {
    let mut run = run_with(vec![loss()]);
    run.push(Observation::RuleHits { link: "link2".to_owned(), rule: "loss".to_owned(), segments: 1 });
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
}

fn expectation(what: PathCount, range: Range) -> PathExpectation {
    PathExpectation { link: LINK.to_owned(), place: place(9), what, range }
}

#[test]
fn matches_are_counted_over_all_rules_of_a_name() {
    let expecting = |range: Range| {
        let mut run = run_with(vec![loss()]);
        matched(&mut run, "loss", 2);
        run.step(Action::AddRule { link: LINK.to_owned(), rule: loss() }, |_| {});
        matched(&mut run, "loss", 1);
        run.scenario.expect.paths.push(expectation(PathCount::Rule("loss".to_owned()), range));
        run.kinds()
    };
    assert_eq!(expecting(3..=3), []);
    assert_eq!(expecting(2..=2), [FindingKind::Path]);
    assert_eq!(expecting(4..=u64::MAX), [FindingKind::Path]);
}

/// Each count differs from all others, so that none can stand for another one.
const TOTALS: PathTotals = PathTotals {
    entered: 1,
    entered_bytes: 2,
    left: 3,
    left_bytes: 4,
    lost: 5,
    queue_full: 6,
    too_big: 7,
    reordered: 8,
    duplicated: 9,
    added: 10,
    dropped: 11,
    merged: 12,
};

const FIELDS: [(&str, u64); 12] = [
    ("entered", 1),
    ("entered_bytes", 2),
    ("left", 3),
    ("left_bytes", 4),
    ("lost", 5),
    ("queue_full", 6),
    ("too_big", 7),
    ("reordered", 8),
    ("duplicated", 9),
    ("added", 10),
    ("dropped", 11),
    ("merged", 12),
];

fn totals(run: &mut Run, sender: &str, moment: Moment) {
    run.push(Observation::PathTotals {
        link: LINK.to_owned(),
        sender: sender.to_owned(),
        moment,
        totals: Box::new(TOTALS),
    });
}

fn total(field: &str, range: Range) -> PathExpectation {
    expectation(PathCount::Total { sender: "client".to_owned(), field: field.to_owned() }, range)
}

#[test]
fn each_count_is_compared() {
    for (field, value) in FIELDS {
        for (range, kinds) in [
            (value..=value, vec![]),
            (value + 1..=u64::MAX, vec![FindingKind::Path]),
            (0..=value - 1, vec![FindingKind::Path]),
        ] {
            let mut run = run_with(Vec::new());
            totals(&mut run, "client", Moment::End);
            run.scenario.expect.paths.push(total(field, range.clone()));
            assert_eq!(run.kinds(), kinds, "{field} {range:?}");
        }
    }
}

#[test]
fn counts_of_another_sender_or_moment_say_nothing() {
    let mut run = run_with(Vec::new());
    totals(&mut run, "server", Moment::End);
    totals(&mut run, "client", Moment::Start);
    run.scenario.expect.paths.push(total("lost", 5..=5));
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
}

#[test]
fn a_check_step_looks_at_its_own_moment() {
    let expecting = |lost| {
        let mut run = run_with(Vec::new());
        let step = run.scenario.steps.len();
        let check = Expectation { paths: vec![total("lost", lost)], ..Expectation::default() };
        run.step(Action::Check(Box::new(check)), |run| totals(run, "client", Moment::Check(step)));
        let after = PathTotals { lost: 50, ..TOTALS };
        run.push(Observation::PathTotals {
            link: LINK.to_owned(),
            sender: "client".to_owned(),
            moment: Moment::End,
            totals: Box::new(after),
        });
        run.kinds()
    };
    assert_eq!(expecting(5..=5), []);
    assert_eq!(expecting(50..=50), [FindingKind::Path]);
}

/// The lines of the snapshot about rules.
fn shown(rules: Vec<PathRule>, hits: &[(&str, u64)]) -> Vec<String> {
    let mut run = run_with(rules);
    for (rule, segments) in hits {
        matched(&mut run, rule, *segments);
    }
    let text = canonical(&run.scenario, &run.recording);
    let rules = text.lines().skip_while(|line| *line != "rules of paths:").skip(1);
    rules.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_rule_that_may_be_unused_is_not_in_the_snapshot() {
    assert_eq!(shown(vec![loss()], &[("loss", 1)]).len(), 1);
    assert!(shown(vec![PathRule { may_be_unused: true, ..loss() }], &[("loss", 1)]).is_empty());
}

#[test]
fn the_snapshot_has_numbers_only_where_they_are_always_the_same() {
    let exact = [
        rule("echo", Some("add_addr_echo"), Some(2..=2), RuleAction::Drop),
        rule("removal", Some("remove_addr"), None, RuleAction::Drop),
        rule("join", Some("mp_join_syn"), None, RuleAction::Duplicate),
    ];
    for rule in exact {
        let name = rule.name.clone();
        let lines = |segments| shown(vec![rule.clone()], &[(name.as_str(), segments)]);
        assert_ne!(lines(1), lines(2), "{name}");
    }
    let by_chance = [
        rule("announcement", Some("add_addr"), None, RuleAction::Drop),
        rule("lost join", Some("mp_join_syn"), None, RuleAction::Drop),
        rule("data", Some("dss"), Some(2..=u64::MAX), RuleAction::Duplicate),
        rule("anything", None, None, RuleAction::Duplicate),
    ];
    for rule in by_chance {
        let name = rule.name.clone();
        let lines = |segments| shown(vec![rule.clone()], &[(name.as_str(), segments)]);
        assert_eq!(lines(1), lines(2), "{name}");
        assert_eq!(lines(1).len(), 1, "{name}");
    }
    let unused = PathRule { may_be_unused: true, ..loss() };
    assert_eq!(shown(vec![unused.clone()], &[("loss", 0)]), shown(vec![unused], &[("loss", 3)]));
}
