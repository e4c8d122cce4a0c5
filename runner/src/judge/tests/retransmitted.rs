//! Announcements that a timer retransmitted, in expectations.

use crate::judge::FindingKind;
use crate::mptcp::EventKind;
use crate::recording::Observation;
use crate::scenario::model::{
    CounterExpectation, EventExpectation, EventItem, EventPattern, Range, WireExpectation, WirePattern,
};
use crate::wire::TcpFlags;

use super::fixture::{Run, add_addr, announced, echo, place};

const CLIENT: &str = "10.0.1.2:40001";
const SERVER: &str = "10.0.1.1:8080";

/// The server announces 10.0.4.1 as id 1 in the fixture. This moves the announcement's echo behind `late` more
/// ADD_ADDRs, each with its echo; the events that report those come after `closed`.
fn with_late_echoes(late: usize) -> Run {
    let mut run = Run::good();
    run.remove(|what| is_announcement(what, true));
    for _ in 0..late {
        run.segment(SERVER, CLIENT, TcpFlags::ACK, vec![add_addr(1, "10.0.4.1")]);
    }
    for _ in 0..=late {
        run.segment(CLIENT, SERVER, TcpFlags::ACK, vec![echo(1, "10.0.4.1")]);
    }
    for _ in 0..late {
        run.event("client", announced(1, "10.0.4.1"));
    }
    let late = u64::try_from(late).unwrap();
    let counted = |what: &mut Observation, moved: &str| match what {
        Observation::Counters { namespace, values, .. } if namespace == "client" => {
            values.get_mut(moved).filter(|value| **value > 0).map(|value| *value += late).is_some()
        }
        _ => false,
    };
    run.change(|what| counted(what, "MPTcpExtAddAddr"));
    run
}

/// The announcement comes once more after its echo has arrived: no timer does that.
fn with_one_too_many() -> Run {
    let mut run = Run::good();
    run.segment(SERVER, CLIENT, TcpFlags::ACK, vec![add_addr(1, "10.0.4.1")]);
    run.event("client", announced(1, "10.0.4.1"));
    run.change(|what| match what {
        Observation::Counters { namespace, values, .. } if namespace == "client" => {
            values.get_mut("MPTcpExtAddAddr").filter(|value| **value > 0).map(|value| *value += 1).is_some()
        }
        _ => false,
    });
    run
}

fn is_announcement(what: &Observation, echoes: bool) -> bool {
    let Observation::Packet { segment, .. } = what else { return false };
    segment.options.iter().any(|option| option.is_called(if echoes { "add_addr_echo" } else { "add_addr" }))
}

fn item(kind: EventKind, count: Range) -> EventItem {
    EventItem::One { place: place(2), pattern: EventPattern::of(kind), count }
}

fn events(mut run: Run, announcements: Range) -> Vec<FindingKind> {
    let items = vec![
        item(EventKind::Created, 1..=1),
        item(EventKind::Established, 1..=1),
        item(EventKind::Announced, announcements),
        item(EventKind::SubEstablished, 2..=2),
        item(EventKind::Closed, 1..=1),
    ];
    run.scenario.expect.events =
        vec![EventExpectation { namespace: "client".to_owned(), place: place(1), complete: true, items }];
    run.kinds()
}

fn wire(mut run: Run, sender: &str, option: &str, range: Range) -> Vec<FindingKind> {
    let pattern = WirePattern { sender: sender.to_owned(), ..WirePattern::named(option) };
    run.scenario.expect.wire = vec![WireExpectation { place: place(1), pattern, range }];
    run.kinds()
}

fn counter(mut run: Run, name: &str, range: Range) -> Vec<FindingKind> {
    run.scenario.expect.counters = vec![CounterExpectation {
        namespaces: vec!["client".to_owned()],
        name: name.to_owned(),
        less: None,
        place: place(1),
        range,
    }];
    run.kinds()
}

#[test]
fn an_event_list_holds_whenever_retransmissions_come() {
    assert_eq!(events(Run::good(), 1..=1), []);
    assert_eq!(events(with_late_echoes(2), 1..=1), [], "they aren't counted");
    assert_eq!(events(with_late_echoes(2), 3..=3), [], "they are counted where the first one is");
    assert_eq!(events(with_late_echoes(2), 2..=u64::MAX), []);
    assert_eq!(events(with_late_echoes(2), 4..=4), [FindingKind::Events]);
    assert_eq!(events(with_late_echoes(2), 2..=2), [FindingKind::Events], "neither with all nor with none of them");
}

#[test]
fn an_announcement_after_its_echo_is_none_of_the_timers() {
    assert_eq!(events(with_one_too_many(), 1..=1), [FindingKind::Events]);
    assert_eq!(wire(with_one_too_many(), "server", "add_addr", 1..=1), [FindingKind::Wire]);
    assert_eq!(counter(with_one_too_many(), "MPTcpExtAddAddr", 1..=1), [FindingKind::Counter]);
}

#[test]
fn what_was_sent_is_expected_with_or_without_retransmissions() {
    for (sender, option) in [("server", "add_addr"), ("client", "add_addr_echo")] {
        assert_eq!(wire(Run::good(), sender, option, 1..=1), []);
        assert_eq!(wire(with_late_echoes(2), sender, option, 1..=1), [], "{option}");
        assert_eq!(wire(with_late_echoes(2), sender, option, 3..=3), [], "{option}");
        assert_eq!(wire(with_late_echoes(2), sender, option, 2..=2), [FindingKind::Wire], "{option}");
    }
}

#[test]
fn counters_are_expected_with_or_without_retransmissions() {
    let name = "MPTcpExtAddAddr";
    assert_eq!(counter(Run::good(), name, 1..=1), []);
    assert_eq!(counter(with_late_echoes(2), name, 1..=1), []);
    assert_eq!(counter(with_late_echoes(2), name, 3..=3), []);
    assert_eq!(counter(with_late_echoes(2), name, 2..=2), [FindingKind::Counter]);
    assert_eq!(counter(with_late_echoes(2), name, 0..=0), [FindingKind::Counter]);
}
