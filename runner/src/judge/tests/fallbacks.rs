//! A connection that falls back is found, unless the scenario says of this one that it does.

use crate::judge::FindingKind;
use crate::mptcp::MptcpInfo;
use crate::recording::{Moment, Observation, Side};
use crate::scenario::model::{ConnectionOutcome, Expectation, InfoExpectation, Range, WireExpectation, WirePattern};
use crate::wire::{DssMapping, MptcpOption, TcpFlags};

use super::either::either;
use super::expectations::{counter, info, limits};
use super::fixture::{Run, place};
use super::verdicts::{fall_back, set_connect_outcome};

const INFINITE: &str = "MPTcpExtInfiniteMapRx";

/// A run whose connection fell back by an infinite mapping of the client's.
fn fallen_back() -> Run {
    let mut run = Run::good();
    fall_back(&mut run, Some(&MptcpInfo { flags: 3, ..MptcpInfo::default() }));
    let mapping = DssMapping { data_sequence: 1, wide: true, subflow_sequence: 1, length: 0, checksum: None };
    let option = MptcpOption::Dss { data_fin: false, data_ack: None, mapping: Some(mapping) };
    run.segment("10.0.1.2:40001", "10.0.1.1:8080", TcpFlags::ACK, vec![option]);
    run.change(|what| match what {
        Observation::Counters { namespace, values, moment } => {
            let by = u64::from(namespace == "server" && *moment != Moment::Start);
            values.insert(INFINITE.to_owned(), by);
            true
        }
        _ => false,
    });
    run
}

/// Whether the fallback is found though this is expected; nothing else is.
fn is_found_with(expectation: Expectation) -> bool {
    let mut run = fallen_back();
    run.scenario.expect = expectation;
    match run.kinds().as_slice() {
        [] => false,
        [FindingKind::Connection] => true,
        others => panic!("{others:?}"),
    }
}

fn on_wire(sender: &str, range: Range) -> Expectation {
    let pattern = WirePattern { sender: sender.to_owned(), ..WirePattern::named("infinite_mapping") };
    Expectation { wire: vec![WireExpectation { place: place(1), pattern, range }], ..Expectation::default() }
}

#[test]
fn a_scenario_says_it_by_what_must_be_seen_of_it() {
    assert!(is_found_with(Expectation::default()));
    assert!(!is_found_with(info("fallback", 1..=1)));
    assert!(!is_found_with(info("flags", 3..=3)));
    assert!(!is_found_with(counter(&["server"], INFINITE, 1..=1)));
    assert!(!is_found_with(on_wire("client", 1..=1)));
}

#[test]
fn an_alternative_says_it_if_it_holds() {
    let holds = |subflows| either(vec![info("fallback", 1..=1), info("subflows", subflows..=subflows)]);
    assert!(!is_found_with(holds(77)));
    let with_limits = Expectation { info: info("fallback", 1..=1).info, ..limits(Some(77), None) };
    assert!(is_found_with(either(vec![with_limits, limits(Some(4), None)])));
}

#[test]
fn what_holds_without_a_fallback_says_nothing() {
    assert!(is_found_with(info("fallback", 0..=1)));
    assert!(is_found_with(info("flags", 2..=3)));
    assert!(is_found_with(counter(&["server"], INFINITE, 0..=1)));
    assert!(is_found_with(on_wire("client", 0..=1)));
}

#[test]
fn what_is_said_of_others_says_nothing() {
    let mut run = fallen_back();
    run.scenario.world.namespaces.push(crate::scenario::model::Namespace::new("bystander"));
    run.scenario.expect = counter(&["bystander"], INFINITE, 1..=1);
    assert!(run.kinds().contains(&FindingKind::Connection));
    run.scenario.expect = on_wire("bystander", 1..=1);
    assert!(run.kinds().contains(&FindingKind::Connection));
    let of_another = InfoExpectation {
        connection: "other".to_owned(),
        side: Side::Client,
        place: place(1),
        field: "fallback".to_owned(),
        range: 1..=1,
    };
    run.scenario.expect = Expectation { info: vec![of_another], ..Expectation::default() };
    assert!(run.kinds().contains(&FindingKind::Connection));
}

/// A fallback that is expected happens to a connection that was MPTCP at first.
#[test]
fn plain_tcp_from_the_start_is_no_fallback() {
    let mut run = fallen_back();
    run.scenario.expect = info("fallback", 1..=1);
    run.change(|what| match what {
        Observation::Connected { connection } => {
            connection.client_token = None;
            true
        }
        _ => false,
    });
    assert_eq!(run.kinds(), [FindingKind::Connection]);
}

/// Where nobody has called accept(), the kernel is the server, and has no socket to ask.
#[test]
fn a_connection_that_nobody_accepted_is_what_its_client_is() {
    let unaccepted = |client_token: Option<u32>| {
        let mut run = Run::good();
        run.change(|what| match what {
            Observation::Connected { connection } => {
                (connection.client_token, connection.server_token) = (client_token, None);
                connection.unaccepted = true;
                true
            }
            _ => false,
        });
        run.kinds().contains(&FindingKind::Connection)
    };
    assert!(!unaccepted(Some(7)));
    assert!(unaccepted(None));
}

#[test]
fn a_connection_that_must_not_come_about_is_found() {
    let mut run = Run::good();
    set_connect_outcome(&mut run, &ConnectionOutcome::Error("ECONNREFUSED".to_owned()));
    assert_eq!(run.kinds(), [FindingKind::Refusal, FindingKind::Connection]);
}
