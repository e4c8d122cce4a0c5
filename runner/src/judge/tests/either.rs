//! Alternatives: one of them must hold, entirely.

use crate::judge::{Finding, FindingKind};
use crate::scenario::model::{Alternative, Choice, Expectation};

use super::accounted::{ODD, moved};
use super::expectations::{bytes, counter, info, kinds_with, limits};
use super::fixture::{Run, place};

pub(super) fn either(alternatives: Vec<Expectation>) -> Expectation {
    let alternatives = (30..).zip(alternatives);
    let alternatives = alternatives.map(|(line, expectation)| Alternative { place: place(line), expectation });
    let because = "the test says so".to_owned();
    let choice = Choice { place: place(20), because, alternatives: alternatives.collect() };
    Expectation { either: vec![choice], ..Expectation::default() }
}

fn subflows(count: u64) -> Expectation {
    info("subflows", count..=count)
}

/// All of two expectations about the client's limits and about counters.
fn both(limits: Expectation, counters: Expectation) -> Expectation {
    Expectation { counters: counters.counters, ..limits }
}

fn finding(expectation: Expectation) -> Finding {
    let mut run = Run::good();
    run.scenario.expect = expectation;
    let mut findings = run.findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

#[test]
fn one_alternative_must_hold() {
    let run = Run::good();
    assert_eq!(kinds_with(&run, &either(vec![subflows(2), subflows(3)])), []);
    assert_eq!(kinds_with(&run, &either(vec![subflows(3), subflows(2)])), []);
    assert_eq!(kinds_with(&run, &either(vec![subflows(2), info("subflows", 1..=2)])), [], "both hold");
    assert_eq!(kinds_with(&run, &either(vec![subflows(1), subflows(3)])), [FindingKind::Either]);
}

#[test]
fn an_alternative_must_hold_entirely() {
    let joins = |count| counter(&["server"], "MPTcpExtMPJoinSynRx", count..=count);
    let run = Run::good();
    let of = |first, second| {
        kinds_with(
            &run,
            &either(vec![both(limits(Some(4), None), joins(first)), both(limits(Some(5), None), joins(second))]),
        )
    };
    assert_eq!(of(2, 3), []);
    assert_eq!(of(3, 2), [FindingKind::Either], "each half holds in one of them");
}

#[test]
fn each_choice_must_hold_and_so_must_what_stands_beside() {
    let run = Run::good();
    let mut expectation = either(vec![subflows(2), subflows(3)]);
    expectation.either.extend(either(vec![subflows(0), subflows(1)]).either);
    assert_eq!(kinds_with(&run, &expectation), [FindingKind::Either]);
    let beside = Expectation { either: either(vec![subflows(2), subflows(3)]).either, ..limits(Some(5), None) };
    assert_eq!(kinds_with(&run, &beside), [FindingKind::Limits]);
}

#[test]
fn the_nearest_alternative_is_told_first() {
    let far = both(limits(Some(5), None), counter(&["server"], "MPTcpExtMPJoinSynRx", 7..=7));
    let found = finding(either(vec![far, subflows(3)]));
    assert_eq!(found.place, Some(place(20)));
    let summary = "either at the end: none of the 2 alternatives holds; the nearest, number 2: subflows of main, client \
                   side, at the end: expected 3, found 2";
    assert_eq!(found.summary, summary);
    let lines: Vec<&str> = found.detail.lines().collect();
    assert_eq!(lines[0], "because: the test says so");
    assert_eq!(lines[1], "alternative 2 (line 31):");
    assert_eq!(lines[3], "alternative 1 (line 30):");
    assert!(lines[4].starts_with("  counter MPTcpExtMPJoinSynRx of server"), "{}", found.detail);
    assert!(lines[5].starts_with("  limits of client"), "{}", found.detail);
}

#[test]
fn what_can_t_be_judged_might_have_held() {
    let unknown = bytes("three", 0..=0);
    let run = Run::good();
    assert_eq!(kinds_with(&run, &either(vec![unknown.clone(), subflows(3)])), [FindingKind::Incomplete]);
    assert_eq!(kinds_with(&run, &either(vec![unknown, subflows(2)])), []);
}

#[test]
fn an_alternative_that_does_not_hold_accounts_for_nothing() {
    let run = moved(Run::good(), "server", ODD, 1);
    let with = |odd| {
        let mut run = run.clone();
        run.scenario.expect =
            either(vec![both(limits(Some(odd), None), counter(&["server"], ODD, 1..=1)), subflows(2)]);
        run.kinds()
    };
    assert_eq!(with(4), [], "it holds and mentions the counter");
    assert_eq!(with(5), [FindingKind::Counter]);
}

#[test]
fn other_counters_are_those_that_no_alternative_that_holds_lists() {
    let kinds = |expectation| {
        let mut run = moved(Run::good(), "server", ODD, 1);
        run.scenario.expect = expectation;
        run.kinds()
    };
    let joins = || {
        let mut expectation = counter(&["server"], "MPTcpExtMPJoinSynRx", 2..=2);
        for (name, value) in [("MPTcpExtMPJoinAckRx", 2), ("MPTcpExtMPCurrEstab", 1)] {
            expectation.counters.extend(counter(&["server"], name, value..=value).counters);
        }
        expectation.other_counters_zero = vec![("server".to_owned(), place(3))];
        expectation
    };
    let with = |count, subflow_count| {
        let alternatives = vec![counter(&["server"], ODD, count..=count), subflows(subflow_count)];
        kinds(Expectation { either: either(alternatives).either, ..joins() })
    };
    assert_eq!(with(1, 3), []);
    assert!(with(2, 2).contains(&FindingKind::Counter));
    // The other way round, what stands beside is listed in the alternative, too.
    let inner = Expectation { other_counters_zero: joins().other_counters_zero, ..counter(&["server"], ODD, 1..=1) };
    let outer =
        Expectation { other_counters_zero: Vec::new(), either: either(vec![inner, subflows(3)]).either, ..joins() };
    assert_eq!(kinds(outer), []);
}
