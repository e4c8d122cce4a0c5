//! What is shown beside a failed expectation: the nearest misses, and where they are.

use std::time::Duration;

use super::fixture::{Run, and, carrying, client_endpoints, ip, place, with};
use crate::judge::FindingKind;
use crate::mptcp::EventKind;
use crate::recording::{Observation, Seen, Side, StepOutcome};
use crate::scenario::model::{
    Action, CounterExpectation, EndpointsExpectation, EventExpectation, EventItem, EventPattern, Expectation,
    SubflowPattern, SubflowsExpectation, WireExpectation, WirePattern,
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
    let detail = finding(wire(|pattern| *pattern = carrying(pattern.clone(), "id", 5_u8))).detail;
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
    assert!(found.summary.ends_with("found 2, 1 of them as expected: id 2 instead of 9"), "{}", found.summary);

    let patterns = [("10.0.1.2", 0), ("10.0.2.2", 1), ("10.0.3.2", 7)]
        .map(|(local, id): (_, u8)| and(and(SubflowPattern::default(), "local", ip(local)), "local_id", id));
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

/// What is found if the client's list has these events, and only these.
fn of_events(complete: bool, patterns: Vec<EventPattern>) -> crate::judge::Finding {
    let items = patterns.into_iter().map(|pattern| EventItem::One { place: place(8), pattern, count: 1..=1 });
    let events = EventExpectation { namespace: "client".to_owned(), place: place(7), complete, items: items.collect() };
    finding(Expectation { events: vec![events], ..Expectation::default() })
}

fn joined(local: &str, id: u8) -> EventPattern {
    with(with(EventPattern::of(EventKind::SubEstablished), "local", ip(local)), "local_id", id)
}

#[test]
fn an_event_that_came_instead_names_the_field_that_differs() {
    let events = vec![
        EventPattern::of(EventKind::Created),
        EventPattern::of(EventKind::Established),
        with(EventPattern::of(EventKind::Announced), "remote", ip("10.0.4.1")),
    ];
    let with_id = |id: u8| {
        let mut events = events.clone();
        events[2] = with(events[2].clone(), "remote_id", id);
        events
    };
    let found = of_events(true, with_id(9));
    assert!(found.summary.ends_with(": id 1 instead of 9"), "{}", found.summary);
    assert!(found.detail.starts_with("nearest misses:\n  client: announced main 10.0.4.1"), "{}", found.detail);
}

#[test]
fn an_event_that_did_not_come_is_shown_where_one_like_it_is() {
    let found = of_events(false, vec![joined("10.0.2.2", 9)]);
    let [heading, first, ..] = found.detail.lines().collect::<Vec<_>>()[..] else { panic!("{}", found.detail) };
    assert_eq!(heading, "nearest misses:");
    assert!(first.starts_with("  client: sub_established main 10.0.2.2"), "{}", found.detail);
    assert!(first.ends_with(": local_id 1 instead of 9"), "{}", found.detail);
    let marked = found.detail.lines().find(|line| line.starts_with("> ") && line.contains(" ms ")).unwrap_or_default();
    assert!(marked.contains("sub_established main 10.0.2.2"), "the stretch is around it: {}", found.detail);
}

#[test]
fn an_event_of_another_namespace_is_a_near_miss() {
    let pattern = with(EventPattern::of(EventKind::Created), "local", ip("10.0.1.1"));
    let found = of_events(false, vec![pattern]);
    assert!(found.detail.contains(": in server instead of client\n"), "{}", found.detail);
    assert!(
        found
            .detail
            .contains("  client: created main 10.0.1.2:40001 > 10.0.1.1:8080: local 10.0.1.2 instead of 10.0.1.1\n"),
        "{}",
        found.detail
    );
}

#[test]
fn an_event_that_came_too_early_is_a_near_miss() {
    let kinds = [EventKind::Established, EventKind::Created];
    let found = of_events(false, kinds.map(EventPattern::of).to_vec());
    assert!(found.detail.contains(": earlier than expected\n"), "{}", found.detail);
    let found = of_events(true, kinds.map(EventPattern::of).to_vec());
    assert!(found.detail.contains(": later than expected\n"), "{}", found.detail);
}

#[test]
fn what_disturbs_the_quiet_is_counted() {
    let mut run = Run::good();
    let quiet = Action::Quiet { period: Duration::from_millis(50), deadline: Duration::from_secs(1) };
    let outcome = StepOutcome::not_quiet(Some(Seen::Words { text: "a segment".to_owned() }), Duration::from_secs(1));
    run.step_ending(quiet, outcome, |run| {
        for _ in 0..3 {
            run.join("10.0.2.2:40002", "10.0.1.1:8080", 1, 0);
        }
    });
    assert!(matches!(run.recording.entries.last().map(|entry| &entry.what), Some(Observation::Ended)));
    let found = run.findings().remove(0);
    assert_eq!(found.summary, "step 6 timed out after 1 s waiting for quiet; last seen: a segment");
    let counted =
        "activity during the quiet step:\n  3 × client: segment 10.0.2.2:40002 > 10.0.1.1:8080 <mp_join_syn>, last at ";
    assert!(found.detail.starts_with(counted), "{}", found.detail);
}
