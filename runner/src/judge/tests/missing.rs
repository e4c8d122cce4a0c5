//! What is not in the recording, or not of this run, can't pass.

use crate::judge::{FindingKind, Snapshots, Verdict, verdict};
use crate::mptcp::Limits;
use crate::recording::{Moment, Observation, StepOutcome};
use crate::scenario::model::{Action, EndpointsExpectation, Expectation, Operation};

use super::expectations::{bytes, counter, endpoints, info, kinds_with, limits};
use super::fixture::{Run, client_endpoints, place};
use super::paths::{loss, run_with};
use super::verdicts::{filter, set_outcome};

#[test]
fn a_set_up_that_failed_is_an_error() {
    let mut run = Run::good();
    run.push(Observation::SetupFailed { message: "no more memory".to_owned() });
    assert_eq!(run.kinds(), [FindingKind::Setup]);
    assert!(matches!(verdict(&run.scenario, &run.recording, Snapshots::Compare), Verdict::Error(_)));
}

#[test]
fn states_that_were_not_taken_are_an_error() {
    let without = |expectation: &Expectation, which: fn(&Observation) -> bool| {
        let mut run = Run::good();
        run.remove(which);
        kinds_with(&run, expectation)
    };
    let is_sockets = |what: &Observation| matches!(what, Observation::Sockets { .. });
    assert_eq!(without(&info("subflows", 2..=2), is_sockets), [FindingKind::Incomplete]);
    let is_endpoints = |what: &Observation| matches!(what, Observation::Endpoints { .. });
    assert_eq!(without(&endpoints(client_endpoints()), is_endpoints), [FindingKind::Incomplete]);
    let is_limits = |what: &Observation| matches!(what, Observation::Limits { .. });
    assert_eq!(without(&limits(Some(4), None), is_limits), [FindingKind::Incomplete]);
    let others = Expectation { other_counters_zero: vec![("client".to_owned(), place(1))], ..Expectation::default() };
    let is_counters = |what: &Observation| matches!(what, Observation::Counters { .. });
    assert_eq!(without(&others, is_counters), [FindingKind::Incomplete]);
}

#[test]
fn plain_tcp_has_no_fields() {
    let mut run = Run::good();
    run.change(|what| match what {
        Observation::Sockets { info, .. } => {
            *info = None;
            true
        }
        _ => false,
    });
    let kinds = kinds_with(&run, &info("subflows", 0..=u64::MAX));
    assert_eq!(kinds, [FindingKind::Connection, FindingKind::Info]);
}

#[test]
fn a_counter_of_no_namespace_is_none() {
    assert_eq!(kinds_with(&Run::good(), &counter(&[], "MPTcpExtMPJoinSynRx", 0..=0)), [FindingKind::Counter]);
}

#[test]
fn what_went_backwards_is_found() {
    let mut run = Run::good();
    run.change(|what| match what {
        Observation::LinkBytes { moment, sent, .. } => {
            *sent = if *moment == Moment::Start { 5000 } else { 4999 };
            true
        }
        _ => false,
    });
    assert_eq!(kinds_with(&run, &bytes("one", 0..=u64::MAX)), [FindingKind::Bytes]);
    let mut run = Run::good();
    run.change(|what| match what {
        Observation::Counters { moment, values, .. } => {
            values.insert("MPTcpExtRmAddr".to_owned(), u64::from(*moment == Moment::Start));
            true
        }
        _ => false,
    });
    let others = Expectation { other_counters_zero: vec![("client".to_owned(), place(1))], ..Expectation::default() };
    run.scenario.expect = others;
    assert!(run.findings()[0].summary.contains("MPTcpExtRmAddr of client at the end: it decreased from 1 to 0"));
}

#[test]
fn of_other_counters_only_those_that_depend_on_timing_may_move() {
    let mut run = Run::good();
    run.change(|what| match what {
        Observation::Counters { moment: Moment::End, values, .. } => {
            values.insert("MPTcpExtMPCurrEstab".to_owned(), 0);
            values.insert("MPTcpExtAddAddr".to_owned(), 0);
            true
        }
        Observation::Counters { values, .. } => values.insert("MPTcpExtMPCurrEstab".to_owned(), 0).is_some(),
        _ => false,
    });
    run.scenario.expect.other_counters_zero = vec![("client".to_owned(), place(1))];
    assert_eq!(run.kinds(), [], "retransmissions and counters of TCP have moved");
}

#[test]
fn the_last_state_of_a_moment_counts() {
    let mut run = Run::good();
    let last = Limits { subflows: 8, add_addr_accepted: 8 };
    run.push(Observation::Limits { namespace: "client".to_owned(), moment: Moment::End, limits: last });
    run.scenario.expect = limits(Some(8), Some(8));
    assert_eq!(run.kinds(), []);
    run.scenario.expect = limits(Some(4), Some(1));
    assert_eq!(run.kinds(), [FindingKind::Limits]);
}

/// The addresses of a connection are asked for as long as it is there.
#[test]
fn the_addresses_of_a_connection_are_those_before_its_close() {
    let mut run = Run::good();
    run.push(Observation::ConnectionEndpoints {
        namespace: "client".to_owned(),
        connection: "main".to_owned(),
        moment: Moment::BeforeClose,
        endpoints: client_endpoints(),
    });
    let of_main = |endpoints| EndpointsExpectation {
        namespace: "client".to_owned(),
        connection: Some("main".to_owned()),
        place: place(1),
        endpoints,
    };
    run.scenario.expect.endpoints = vec![of_main(client_endpoints())];
    assert_eq!(run.kinds(), []);
    run.scenario.expect.endpoints = vec![of_main(Vec::new())];
    assert_eq!(run.kinds(), [FindingKind::Endpoints]);
}

#[test]
fn what_a_filter_or_a_rule_is_for_may_not_have_come_in_a_run_that_was_cut_short() {
    let failed = StepOutcome::Failed { message: "it broke".to_owned() };
    let mut filtered = Run::good();
    filtered.step(Action::Do(Operation::AddFilter(filter(false))), |_| {});
    let ruled = run_with(vec![loss()]);
    for mut run in [filtered, ruled] {
        assert_eq!(run.kinds(), [FindingKind::Incomplete], "how often it matched is not in the recording");
        let last = run.scenario.steps.len() - 1;
        set_outcome(&mut run, last, &failed);
        assert_eq!(run.kinds(), [FindingKind::Setup]);
    }
}
