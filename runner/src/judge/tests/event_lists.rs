//! Event lists as a whole: what is too much, what can't be decided, and listening sockets.

use crate::judge::FindingKind;
use crate::mptcp::{EventKind, PmEvent};
use crate::scenario::model::{EventExpectation, EventItem, EventPattern, Feature, Range};

use super::fixture::{Run, ip, place};

fn some(kind: EventKind, count: Range) -> EventItem {
    EventItem::One { place: place(2), pattern: EventPattern::of(kind), count }
}

fn with_list(mut run: Run, namespace: &str, complete: bool, items: Vec<EventItem>) -> Run {
    run.scenario.expect.events =
        vec![EventExpectation { namespace: namespace.to_owned(), place: place(1), complete, items }];
    run
}

#[test]
fn one_event_too_many_is_found() {
    let limited = |most| {
        let items = vec![some(EventKind::SubEstablished, 0..=most), some(EventKind::Closed, 1..=1)];
        with_list(Run::good(), "client", false, items)
    };
    assert_eq!(limited(2).kinds(), []);
    assert_eq!(limited(1).kinds(), [FindingKind::Events]);
    assert!(limited(1).findings()[0].summary.contains("observed one too many: `sub_established main"));
}

#[test]
fn a_list_that_can_t_be_decided_does_not_hold() {
    // Two dozen sequences that are all alike but for their ends.
    let alike =
        |last| vec![some(EventKind::SubPriority, 1..=1), some(EventKind::SubPriority, 1..=1), some(last, 1..=1)];
    let mut branches: Vec<_> = (0..24).map(|_| alike(EventKind::SubPriority)).collect();
    branches.push(alike(EventKind::Removed));
    let items = vec![EventItem::AnyOrder { place: place(2), branches }];
    let mut run = Run::good();
    for _ in 0..75 {
        run.event("client", PmEvent::new(EventKind::SubPriority));
    }
    let run = with_list(run, "client", false, items);
    assert_eq!(run.kinds(), [FindingKind::Events]);
}

/// Kernels before 6.2 have no such events.
#[test]
fn listeners_count_where_the_list_or_the_scenario_names_them() {
    let mut run = Run::empty();
    let listener = |kind| PmEvent { local: Some(ip("10.0.1.1")), local_port: Some(8080), ..PmEvent::new(kind) };
    run.event("server", listener(EventKind::ListenerCreated));
    run.event("server", listener(EventKind::ListenerClosed));
    let (created, closed) = (some(EventKind::ListenerCreated, 1..=1), some(EventKind::ListenerClosed, 1..=1));
    let kinds = |run: &Run, items| with_list(run.clone(), "server", true, items).kinds();
    assert_eq!(kinds(&run, vec![]), []);
    assert_eq!(kinds(&run, vec![created.clone(), closed]), []);
    assert_eq!(kinds(&run, vec![created]), [FindingKind::Events], "one is named, the other isn't");
    run.scenario.requires.push(Feature::ListenerEvents);
    assert_eq!(kinds(&run, vec![]), [FindingKind::Events]);
}
