//! What is shown beside a failed expectation: the nearest misses, and where they are.

use std::time::Duration;

use super::fixture::{Run, client_endpoints, ip, place};
use crate::judge::FindingKind;
use crate::recording::{Observation, Side, StepOutcome};
use crate::scenario::model::{
    Action, CounterExpectation, EndpointsExpectation, Expectation, SubflowPattern, SubflowsExpectation,
    WireExpectation, WirePattern,
};

fn wire(change: impl Fn(&mut WirePattern)) -> Expectation {
    let mut pattern = WirePattern { sender: "server".to_owned(), ..WirePattern::named("add_addr") };
    change(&mut pattern);
    let wire = vec![WireExpectation { pattern, range: 1..=1, place: place(7) }];
    Expectation { wire, ..Expectation::default() }
}

fn finding(expect: Expectation) -> crate::judge::Finding {
    let mut run = Run::good();
    run.scenario.expect = expect;
    run.findings().remove(0)
}

#[test]
fn a_segment_that_was_missed_by_one_field_is_shown_where_it_is() {
    let detail = finding(wire(|pattern| pattern.id = Some(5))).detail;
    assert!(detail.starts_with("nearest misses:\n  server: 10.0.1.1:8080 > 10.0.1.2:40001 ACK <add_addr"), "{detail}");
    assert!(detail.contains(": id 1 instead of 5\n"), "{detail}");
    let marked = detail.lines().find(|line| line.starts_with('>')).unwrap_or_default();
    assert!(marked.contains("<add_addr id 1"), "{detail}");
}

#[test]
fn a_segment_of_the_other_side_is_a_near_miss() {
    let detail = finding(wire(|pattern| pattern.sender = "client".to_owned())).detail;
    assert!(detail.contains(": sender server instead of client\n"), "{detail}");
}

#[test]
fn endpoints_and_subflows_name_the_field_that_differs() {
    let mut endpoints = client_endpoints();
    endpoints[1].id = Some(9);
    let expected =
        EndpointsExpectation { namespace: "client".to_owned(), connection: None, endpoints, place: place(7) };
    let found = finding(Expectation { endpoints: vec![expected], ..Expectation::default() });
    assert!(found.summary.ends_with("there are 2, 1 of them as expected: id 2 instead of 9"), "{}", found.summary);

    let patterns = [("10.0.1.2", 0), ("10.0.2.2", 1), ("10.0.3.2", 7)].map(|(local, id)| SubflowPattern {
        local: Some(ip(local)),
        local_id: Some(id),
        ..SubflowPattern::default()
    });
    let expected = SubflowsExpectation {
        connection: "main".to_owned(),
        side: Side::Client,
        subflows: patterns.to_vec(),
        place: place(7),
    };
    let found = finding(Expectation { subflows: vec![expected], ..Expectation::default() });
    assert_eq!(found.kind, FindingKind::Subflows);
    assert!(found.summary.ends_with("2 of them as expected: local_id 2 instead of 7"), "{}", found.summary);
}

#[test]
fn a_counter_is_shown_where_it_moved_with_the_option_that_it_counts() {
    let expected = CounterExpectation {
        namespaces: vec!["client".to_owned()],
        name: "MPTcpExtMPJoinSynRx".to_owned(),
        less: None,
        range: 1..=1,
        place: place(7),
    };
    let detail = finding(Expectation { counters: vec![expected], ..Expectation::default() }).detail;
    assert!(detail.starts_with("elsewhere:\n  server: MPTcpExtMPJoinSynRx 2\n"), "{detail}");
    assert!(detail.contains("<mp_join_syn id 2>"), "{detail}");
}

#[test]
fn what_disturbs_the_quiet_is_counted() {
    let mut run = Run::good();
    let quiet = Action::Quiet { period: Duration::from_millis(50), deadline: Duration::from_secs(1) };
    let outcome = StepOutcome::not_quiet("a segment", Duration::from_secs(1));
    run.step_ending(quiet, outcome, |run| {
        for _ in 0..3 {
            run.join("10.0.2.2:40002", "10.0.1.1:8080", 1, 0);
        }
    });
    assert!(matches!(run.recording.entries.last().map(|entry| &entry.what), Some(Observation::Ended)));
    let found = run.findings().remove(0);
    assert_eq!(found.summary, "step 6 did not become quiet within 1 s; last: a segment");
    let counted =
        "what disturbed it:\n  3 × client: segment 10.0.2.2:40002 > 10.0.1.1:8080 <mp_join_syn>, the last at ";
    assert!(found.detail.starts_with(counted), "{}", found.detail);
}
