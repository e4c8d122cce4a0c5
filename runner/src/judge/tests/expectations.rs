//! Each expectation: a run for which it holds, and changes of that run for which it must not.

use std::collections::BTreeMap;

use crate::judge::FindingKind;
use crate::mptcp::{Endpoint, EndpointFlags, EventKind, PmEvent, SubflowFlags};
use crate::recording::{Moment, Observation, Side};
use crate::scenario::model::{
    Action, BytesExpectation, CounterExpectation, EndpointsExpectation, EventExpectation, EventItem, EventPattern,
    Expectation, InfoExpectation, LimitsExpectation, Range, SocketCountExpectation, SubflowPattern,
    SubflowsExpectation, WireExpectation, WirePattern,
};
use crate::wire::TcpFlags;

use super::fixture::{Run, add_addr, and, carrying, client_endpoints, ip, place, with};

fn one(pattern: EventPattern) -> EventItem {
    EventItem::One { place: place(2), pattern, count: 1..=1 }
}

fn on_main(kind: EventKind) -> EventPattern {
    with(EventPattern::of(kind), "connection", "main".to_owned())
}

fn joined(local: &str, remote: &str) -> EventPattern {
    with(with(on_main(EventKind::SubEstablished), "local", ip(local)), "remote", ip(remote))
}

fn client_events() -> EventExpectation {
    let branches = vec![
        vec![one(joined("10.0.2.2", "10.0.1.1"))],
        vec![one(with(on_main(EventKind::Announced), "remote", ip("10.0.4.1"))), one(joined("10.0.3.2", "10.0.4.1"))],
    ];
    EventExpectation {
        namespace: "client".to_owned(),
        place: place(1),
        complete: true,
        items: vec![
            one(on_main(EventKind::Created)),
            one(on_main(EventKind::Established)),
            EventItem::AnyOrder { place: place(3), branches },
            one(on_main(EventKind::Closed)),
        ],
    }
}

fn run_with_events() -> Run {
    let mut run = Run::good();
    run.scenario.expect.events.push(client_events());
    run
}

#[test]
fn the_expected_events_pass_in_any_allowed_order() {
    let mut run = run_with_events();
    assert_eq!(run.findings(), []);
    let first = run.event_index("client", EventKind::SubEstablished, 0);
    let second = run.event_index("client", EventKind::SubEstablished, 1);
    run.recording.entries.swap(first, second);
    assert_eq!(run.findings(), []);
}

#[test]
fn a_removed_event_is_found_and_shown() {
    let mut run = run_with_events();
    let index = run.event_index("client", EventKind::SubEstablished, 1);
    run.recording.entries.remove(index);
    let findings = run.findings();
    assert_eq!(run.kinds(), [FindingKind::Events]);
    let finding = &findings[0];
    assert!(
        finding.summary.contains("expected `sub_established connection main local 10.0.3.2 remote 10.0.4.1`"),
        "{finding:?}"
    );
    assert!(finding.summary.contains("observed `closed main`"), "{finding:?}");
    assert!(finding.detail.contains("> - sub_established connection main local 10.0.3.2"), "{}", finding.detail);
    assert!(finding.detail.contains("<mp_join_syn id 2>"), "the segments around it are shown: {}", finding.detail);
    assert!(finding.at.is_some());
}

#[test]
fn an_additional_event_is_found_and_shown() {
    let mut run = run_with_events();
    let index = run.event_index("client", EventKind::SubEstablished, 1);
    let again = run.recording.entries[index].clone();
    run.recording.entries.insert(index, again);
    let findings = run.findings();
    assert_eq!(run.kinds(), [FindingKind::Events]);
    assert!(findings[0].detail.contains("> + "), "{}", findings[0].detail);
}

#[test]
fn swapped_events_are_found() {
    let mut run = run_with_events();
    let announced = run.event_index("client", EventKind::Announced, 0);
    let joined = run.event_index("client", EventKind::SubEstablished, 1);
    run.recording.entries.swap(announced, joined);
    assert_eq!(run.kinds(), [FindingKind::Events]);
}

#[test]
fn each_field_of_an_event_is_compared() {
    type Change = fn(&mut PmEvent);
    let changes: [Change; 4] = [
        |event| event.token = Some(1),
        |event| event.local = Some(ip("10.9.9.9")),
        |event| event.remote = Some(ip("10.9.9.9")),
        |event| event.kind = EventKind::SubClosed,
    ];
    for change in changes {
        let mut run = run_with_events();
        let index = run.event_index("client", EventKind::SubEstablished, 0);
        let Observation::Event { event, .. } = &mut run.recording.entries[index].what else { unreachable!() };
        change(event);
        assert_eq!(run.kinds(), [FindingKind::Events]);
    }
}

#[test]
fn v4_mapped_addresses_are_the_same_addresses() {
    let mut run = run_with_events();
    run.change(|what| match what {
        Observation::Event { event, .. } => {
            event.local = event.local.map(|local| ip(&format!("::ffff:{local}")));
            event.local.is_some()
        }
        _ => false,
    });
    assert_eq!(run.findings(), []);
}

#[test]
fn events_that_were_not_recorded_are_an_error() {
    let mut run = Run::good();
    run.scenario.world.namespaces[0].events = false;
    run.scenario.expect.events.push(EventExpectation { items: Vec::new(), ..client_events() });
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
}

#[test]
fn a_check_looks_at_what_was_before_it() {
    let mut run = Run::good();
    let mut expected = client_events();
    expected.items.pop();
    set_check(&mut run, Expectation { events: vec![expected], ..Expectation::default() });
    assert_eq!(run.findings(), []);
    set_check(&mut run, Expectation { events: vec![client_events()], ..Expectation::default() });
    assert_eq!(run.kinds(), [FindingKind::Events], "CLOSED comes after the check");
}

fn set_check(run: &mut Run, new: Expectation) {
    let check = run.scenario.steps.iter_mut().find_map(|step| match &mut step.action {
        Action::Check(expectation) => Some(expectation),
        _ => None,
    });
    **check.unwrap() = new;
}

/// Whether an expectation holds, in the check and at the end alike.
pub(super) fn kinds_with(run: &Run, expectation: &Expectation) -> Vec<FindingKind> {
    let mut at_end = run.clone();
    at_end.scenario.expect = expectation.clone();
    let mut in_check = run.clone();
    set_check(&mut in_check, expectation.clone());
    assert_eq!(at_end.kinds(), in_check.kinds());
    at_end.kinds()
}

pub(super) fn counter(namespaces: &[&str], name: &str, range: Range) -> Expectation {
    let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
    let expected = CounterExpectation { namespaces, place: place(4), name: name.to_owned(), less: None, range };
    Expectation { counters: vec![expected], ..Expectation::default() }
}

#[test]
fn counters_are_compared_by_how_much_they_moved() {
    let run = Run::good();
    let check = |namespaces: &[&str], name: &str, range: Range| kinds_with(&run, &counter(namespaces, name, range));
    assert_eq!(check(&["server"], "MPTcpExtMPJoinSynRx", 2..=2), []);
    assert_eq!(check(&["server"], "MPTcpExtMPJoinSynRx", 1..=1), [FindingKind::Counter]);
    assert_eq!(check(&["server"], "MPTcpExtMPJoinSynRx", 3..=u64::MAX), [FindingKind::Counter]);
    assert_eq!(check(&["client", "server"], "MPTcpExtMPTCPRetrans", 4..=4), []);
    assert_eq!(check(&["client", "server"], "MPTcpExtMPTCPRetrans", 5..=5), [FindingKind::Counter]);
}

#[test]
fn findings_have_what_was_expected_and_observed_as_values() {
    let values = |range: Range| {
        let mut run = Run::good();
        run.scenario.expect = counter(&["server"], "MPTcpExtMPJoinSynRx", range);
        let finding = crate::judge::judge(&run.scenario, &run.recording).remove(0);
        let values = finding.values.unwrap();
        format!("{} {}", values.expected, values.observed)
    };
    assert_eq!(values(1..=1), "1 2");
    assert_eq!(values(3..=u64::MAX), r#"{"at_least":3} 2"#);
    assert_eq!(values(0..=1), r#"{"at_most":1} 2"#);
    assert_eq!(values(3..=4), r#"{"at_least":3,"at_most":4} 2"#);
}

#[test]
fn events_subflows_and_info_are_values_with_their_fields() {
    let values = |expectation: Expectation| {
        let mut run = Run::good();
        run.scenario.expect = expectation;
        let finding = crate::judge::judge(&run.scenario, &run.recording).remove(0);
        let values = finding.values.unwrap();
        (values.expected, values.observed)
    };
    assert_eq!(values(info("subflows", 3..=3)), (3.into(), 2.into()));
    let (expected, observed) = values(subflows(vec![subflow("10.0.2.2", Some(7))]));
    assert_eq!(expected, serde_json::json!([{ "local": "10.0.2.2", "local_id": 7 }]));
    let second = observed.as_array().unwrap().iter().find(|subflow| subflow["local"] == "10.0.2.2").unwrap();
    assert_eq!((&second["local_id"], &second["backup"]), (&1.into(), &false.into()));
    let events = |complete, items| {
        let events = vec![EventExpectation { namespace: "client".to_owned(), place: place(1), complete, items }];
        Expectation { events, ..Expectation::default() }
    };
    let announced = with(EventPattern::of(EventKind::Announced), "remote_id", 9_u8);
    let (expected, observed) = values(events(false, vec![one(announced)]));
    assert_eq!(expected, serde_json::json!({ "announced": { "id": 9 } }));
    assert!(observed.is_null(), "{observed}");
    let (expected, observed) = values(events(true, Vec::new()));
    assert!(expected.is_null(), "{expected}");
    assert_eq!(observed["created"]["connection"], "main");
}

#[test]
fn gauges_are_compared_by_their_value() {
    let run = Run::good();
    assert_eq!(kinds_with(&run, &counter(&["server"], "MPTcpExtMPCurrEstab", 1..=1)), []);
    assert_eq!(kinds_with(&run, &counter(&["server"], "MPTcpExtMPCurrEstab", 0..=0)), [FindingKind::Counter]);
    assert_eq!(kinds_with(&run, &counter(&["client", "server"], "TcpCurrEstab", 6..=6)), []);
}

#[test]
fn a_counter_that_this_kernel_has_not_is_never_passed() {
    let mut run = Run::good();
    run.scenario.expect = counter(&["server"], "MPTcpExtNoSuch", 0..=0);
    assert_eq!(run.kinds(), [FindingKind::Counter]);
    assert!(run.findings()[0].summary.contains("`counter:MPTcpExtNoSuch` to `requires:`"));
}

#[test]
fn counters_that_were_not_taken_are_an_error() {
    let mut run = Run::good();
    run.scenario.expect = counter(&["server"], "MPTcpExtMPJoinSynRx", 2..=2);
    run.remove(|what| matches!(what, Observation::Counters { moment: Moment::End, .. }));
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
    let mut run = Run::good();
    run.scenario.expect = counter(&["server"], "MPTcpExtMPJoinSynRx", 2..=2);
    run.remove(|what| matches!(what, Observation::Counters { moment: Moment::Start, .. }));
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
}

#[test]
fn a_counter_that_went_backwards_is_found() {
    let mut run = Run::good();
    run.scenario.expect = counter(&["server"], "MPTcpExtMPJoinSynRx", 0..=u64::MAX);
    run.change(|what| match what {
        Observation::Counters { moment: Moment::End, values, .. } => {
            values.insert("MPTcpExtMPJoinSynRx".to_owned(), 1);
            true
        }
        _ => false,
    });
    assert_eq!(run.kinds(), [FindingKind::Counter]);
}

#[test]
fn all_other_counters_must_stay() {
    let run = Run::good();
    let mut expectation = Expectation {
        other_counters_zero: vec![("server".to_owned(), place(5))],
        ..counter(&["server"], "MPTcpExtMPJoinSynRx", 2..=2)
    };
    let add = |expectation: &mut Expectation, name: &str, range: Range| {
        expectation.counters.extend(counter(&["server"], name, range).counters);
    };
    assert_eq!(kinds_with(&run, &expectation), [FindingKind::Counter]);
    add(&mut expectation, "MPTcpExtMPJoinAckRx", 2..=2);
    add(&mut expectation, "MPTcpExtMPTCPRetrans", 2..=2);
    assert_eq!(kinds_with(&run, &expectation), [FindingKind::Counter], "the gauge is 1");
    add(&mut expectation, "MPTcpExtMPCurrEstab", 1..=1);
    assert_eq!(kinds_with(&run, &expectation), []);
}

fn subflow(local: &str, local_id: Option<u8>) -> SubflowPattern {
    let pattern = and(SubflowPattern::default(), "local", ip(local));
    match local_id {
        Some(id) => and(pattern, "local_id", id),
        None => pattern,
    }
}

fn subflows(patterns: Vec<SubflowPattern>) -> Expectation {
    let expected =
        SubflowsExpectation { connection: "main".to_owned(), side: Side::Client, place: place(6), subflows: patterns };
    Expectation { subflows: vec![expected], ..Expectation::default() }
}

#[test]
fn the_subflows_are_a_complete_set() {
    let run = Run::good();
    let any = SubflowPattern::default();
    let all = vec![any.clone(), subflow("10.0.2.2", Some(1)), subflow("10.0.1.2", None)];
    assert_eq!(kinds_with(&run, &subflows(all.clone())), []);
    assert_eq!(kinds_with(&run, &subflows(all[..2].to_vec())), [FindingKind::Subflows], "one is not listed");
    let four = [all.clone(), vec![any.clone()]].concat();
    assert_eq!(kinds_with(&run, &subflows(four)), [FindingKind::Subflows], "one in TIME_WAIT doesn't count");
    let wrong = vec![any.clone(), subflow("10.0.2.2", Some(2)), subflow("10.0.1.2", None)];
    assert_eq!(kinds_with(&run, &subflows(wrong)), [FindingKind::Subflows]);
    let twice = vec![any, subflow("10.0.2.2", None), subflow("10.0.2.2", None)];
    assert_eq!(kinds_with(&run, &subflows(twice)), [FindingKind::Subflows]);
}

#[test]
fn backup_is_told_by_side() {
    let mut run = Run::good();
    run.change(|what| match what {
        Observation::Sockets { subflows, side: Side::Client, .. } => {
            subflows[1].flags |= SubflowFlags::BKUP_REM;
            true
        }
        _ => false,
    });
    let besides = |pattern: SubflowPattern| vec![subflow("10.0.1.2", None), subflow("10.0.3.2", None), pattern];
    let second = subflow("10.0.2.2", None);
    let backup = besides(and(second.clone(), "backup", true));
    assert_eq!(kinds_with(&run, &subflows(backup)), []);
    let remote = besides(and(second.clone(), "backup_remote", true));
    assert_eq!(kinds_with(&run, &subflows(remote)), []);
    let local = besides(and(second, "backup_local", true));
    assert_eq!(kinds_with(&run, &subflows(local)), [FindingKind::Subflows]);
}

#[test]
fn sockets_that_were_not_taken_are_an_error() {
    let mut run = Run::good();
    run.scenario.expect = subflows(Vec::new());
    run.remove(|what| matches!(what, Observation::Sockets { moment: Moment::BeforeClose, .. }));
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
}

pub(super) fn info(field: &str, range: Range) -> Expectation {
    let (connection, field) = ("main".to_owned(), field.to_owned());
    let expected = InfoExpectation { connection, side: Side::Client, place: place(7), field, range };
    Expectation { info: vec![expected], ..Expectation::default() }
}

#[test]
fn fields_of_mptcp_info_are_compared() {
    let run = Run::good();
    assert_eq!(kinds_with(&run, &info("subflows", 2..=2)), []);
    assert_eq!(kinds_with(&run, &info("subflows", 3..=3)), [FindingKind::Info]);
    assert_eq!(kinds_with(&run, &info("fallback", 0..=0)), []);
    assert_eq!(kinds_with(&run, &info("subflows_total", 0..=u64::MAX)), [FindingKind::Info], "not reported");
    assert_eq!(kinds_with(&run, &info("no_such", 0..=u64::MAX)), [FindingKind::Info]);
}

#[test]
fn each_field_that_can_be_named_is_known() {
    let info = crate::mptcp::MptcpInfo::default();
    for (field, ..) in crate::mptcp::INFO_FIELDS {
        assert!(info.field(field).is_some(), "{field}");
    }
}

pub(super) fn endpoints(endpoints: Vec<Endpoint>) -> Expectation {
    let namespace = "client".to_owned();
    let expected = EndpointsExpectation { namespace, connection: None, place: place(8), endpoints };
    Expectation { endpoints: vec![expected], ..Expectation::default() }
}

#[test]
fn endpoints_are_a_complete_set() {
    let run = Run::good();
    let mut expected = client_endpoints();
    expected.reverse();
    expected[0].id = None;
    assert_eq!(kinds_with(&run, &endpoints(expected.clone())), []);
    assert_eq!(kinds_with(&run, &endpoints(expected[..1].to_vec())), [FindingKind::Endpoints]);
    let changes: [fn(&mut Endpoint); 5] = [
        |endpoint| endpoint.id = Some(7),
        |endpoint| endpoint.flags |= EndpointFlags::BACKUP,
        |endpoint| endpoint.port = Some(1),
        |endpoint| endpoint.dev = Some("eth9".to_owned()),
        |endpoint| endpoint.address = ip("10.0.9.9"),
    ];
    for change in changes {
        let mut wrong = expected.clone();
        change(&mut wrong[1]);
        assert_eq!(kinds_with(&run, &endpoints(wrong)), [FindingKind::Endpoints]);
    }
}

pub(super) fn limits(subflows: Option<u32>, add_addr_accepted: Option<u32>) -> Expectation {
    let namespace = "client".to_owned();
    let expected = LimitsExpectation { namespace, place: place(9), subflows, add_addr_accepted };
    Expectation { limits: vec![expected], ..Expectation::default() }
}

#[test]
fn limits_are_compared() {
    let run = Run::good();
    assert_eq!(kinds_with(&run, &limits(Some(4), Some(1))), []);
    assert_eq!(kinds_with(&run, &limits(None, Some(1))), []);
    assert_eq!(kinds_with(&run, &limits(Some(5), None)), [FindingKind::Limits]);
    assert_eq!(kinds_with(&run, &limits(Some(4), Some(0))), [FindingKind::Limits]);
}

pub(super) fn bytes(link: &str, range: Range) -> Expectation {
    let expected = BytesExpectation { link: link.to_owned(), sent_by: "client".to_owned(), place: place(10), range };
    Expectation { bytes: vec![expected], ..Expectation::default() }
}

#[test]
fn bytes_of_a_link_are_compared() {
    let run = Run::good();
    assert_eq!(kinds_with(&run, &bytes("one", 2000..=2000)), []);
    assert_eq!(kinds_with(&run, &bytes("one", 2001..=u64::MAX)), [FindingKind::Bytes]);
    assert_eq!(kinds_with(&run, &bytes("two", 0..=0)), []);
    assert_eq!(kinds_with(&run, &bytes("three", 0..=0)), [FindingKind::Incomplete]);
}

fn wire(sender: &str, option: &str) -> WirePattern {
    WirePattern { sender: sender.to_owned(), ..WirePattern::named(option) }
}

fn on_wire(pattern: WirePattern, range: Range) -> Expectation {
    Expectation { wire: vec![WireExpectation { place: place(11), pattern, range }], ..Expectation::default() }
}

#[test]
fn options_on_the_wire_are_counted_with_their_sender() {
    let run = Run::good();
    let count = |pattern: WirePattern, range: Range| kinds_with(&run, &on_wire(pattern, range));
    assert_eq!(count(wire("server", "add_addr"), 1..=1), []);
    assert_eq!(count(wire("server", "add_addr"), 2..=2), [FindingKind::Wire]);
    assert_eq!(count(wire("client", "add_addr"), 0..=0), []);
    assert_eq!(count(wire("client", "add_addr_echo"), 0..=0), [FindingKind::Wire]);
    assert_eq!(count(wire("client", "mp_join_syn"), 2..=2), []);
    let from = carrying(carrying(wire("client", "mp_join_syn"), "from", ip("10.0.2.2")), "id", 1_u8);
    assert_eq!(count(from.clone(), 1..=1), []);
    assert_eq!(count(carrying(from, "id", 2_u8), 1..=1), [FindingKind::Wire]);
    let address = carrying(wire("server", "add_addr"), "address", ip("10.0.4.1"));
    assert_eq!(count(address.clone(), 1..=1), []);
    assert_eq!(count(carrying(address, "port", 1_u16), 1..=1), [FindingKind::Wire]);
    assert_eq!(count(carrying(wire("client", "dss"), "checksum", false), 1..=2), []);
    assert_eq!(count(carrying(wire("client", "dss"), "checksum", true), 1..=2), [FindingKind::Wire]);
}

#[test]
fn data_fin_is_seen_at_the_end_only() {
    let mut run = Run::good();
    run.scenario.expect = on_wire(wire("client", "data_fin"), 1..=1);
    assert_eq!(run.kinds(), []);
    set_check(&mut run, on_wire(wire("client", "data_fin"), 0..=0));
    assert_eq!(run.kinds(), []);
}

#[test]
fn retransmissions_count_for_an_expectation() {
    let mut run = Run::good();
    run.segment("10.0.1.1:8080", "10.0.1.2:40001", TcpFlags::ACK, vec![add_addr(1, "10.0.4.1")]);
    run.scenario.expect = on_wire(wire("server", "add_addr"), 2..=2);
    assert_eq!(run.kinds(), []);
}

#[test]
fn a_pattern_that_can_match_nothing_is_found() {
    let run = Run::good();
    let impossible = carrying(wire("client", "mp_prio"), "address", ip("10.0.4.1"));
    assert_eq!(kinds_with(&run, &on_wire(impossible, 0..=0)), [FindingKind::Wire]);
    assert_eq!(kinds_with(&run, &on_wire(wire("client", "no_such"), 0..=0)), [FindingKind::Wire]);
}

#[test]
fn a_recording_without_segments_proves_nothing_about_the_wire() {
    let mut run = Run::good();
    run.scenario.expect = on_wire(wire("client", "mp_fastclose"), 0..=0);
    assert_eq!(run.kinds(), []);
    run.remove(|what| matches!(what, Observation::Packet { .. }));
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
}

#[test]
fn forwarded_segments_have_another_sender() {
    let mut run = Run::good();
    run.change(|what| match what {
        Observation::Packet { namespace, .. } if namespace == "client" => {
            *namespace = "server".into();
            true
        }
        _ => false,
    });
    run.scenario.expect = on_wire(wire("server", "add_addr_echo"), 0..=0);
    assert_eq!(run.kinds(), []);
}

#[test]
fn numbers_of_sockets_must_be_in_their_range() {
    let expected = |word, range| {
        let sockets = vec![SocketCountExpectation { namespace: "client".to_owned(), place: place(9), word, range }];
        Expectation { sockets, ..Expectation::default() }
    };
    let mut run = Run::good();
    run.scenario.expect = expected("mptcp", 1..=1);
    assert_eq!(run.kinds(), [FindingKind::Incomplete], "nothing was counted");
    let counts = BTreeMap::from([("mptcp".to_owned(), 1), ("in_use".to_owned(), 2)]);
    for (moment, counts) in [(Moment::Check(3), BTreeMap::new()), (Moment::End, counts)] {
        run.push(Observation::SocketCounts { namespace: "client".to_owned(), moment, counts });
    }
    assert_eq!(run.findings(), []);
    run.scenario.expect = expected("in_use", 0..=1);
    assert_eq!(run.kinds(), [FindingKind::Sockets]);
    assert_eq!(run.findings()[0].summary, "sockets of client, at the end: expected in_use at most 1, found 2");
    run.scenario.expect = expected("tokens", 0..=1);
    assert_eq!(run.kinds(), [FindingKind::Incomplete], "this number was not counted");
}
