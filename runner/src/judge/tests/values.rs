//! What was expected and observed, as values for other programs.

use serde_json::{Value, json};

use crate::judge::FindingKind;
use crate::mptcp::MptcpInfo;
use crate::recording::{CallEnd, Got, Integrity, Observation, Side, SocketCall, StepOutcome};
use crate::scenario::model::{Action, CloseHow, ConnectionOutcome, Expectation, Operation, TransferPlan};

use super::accounted::{ODD, moved};
use super::either::either;
use super::expectations::{counter, info, limits};
use super::fixture::{Run, close, place};
use super::paths::{loss, matched, run_with};
use super::verdicts::{failing_connect, fall_back, filter, hits, must_fail, set_connect_outcome, set_outcome};

/// The one finding of the run has this kind and these values.
#[track_caller]
fn assert_values(run: &Run, kind: FindingKind, expected: &Value, observed: &Value) {
    let findings = run.findings();
    let [finding] = findings.as_slice() else { panic!("{findings:#?}") };
    assert_eq!(finding.kind, kind, "{finding:#?}");
    let values = finding.values.as_deref().unwrap_or_else(|| panic!("{finding:#?}"));
    assert_eq!((&values.expected, &values.observed), (expected, observed), "{}", finding.summary);
}

#[test]
fn bytes_that_did_not_arrive_intact() {
    let with = |arrived: u64, as_they_came: Integrity, tolerate: u64| {
        let mut run = Run::good();
        run.change(|what| match what {
            Observation::Transferred { sender: Side::Client, bytes, integrity, .. } => {
                (*bytes, *integrity) = (arrived, as_they_came.clone());
                true
            }
            _ => false,
        });
        for step in &mut run.scenario.steps {
            if let Action::Transfer(plan) = &mut step.action {
                *plan = TransferPlan { tolerate_corrupt: tolerate, ..plan.clone() };
            }
        }
        run
    };
    let integrity = |run, expected, observed| assert_values(&run, FindingKind::Integrity, &expected, &observed);
    integrity(
        with(1000, Integrity::Corrupt { first: 17, count: 2 }, 0),
        json!({ "bytes": 1000, "corrupt": 0 }),
        json!({ "bytes": 1000, "corrupt": 2, "first_corrupt": 17 }),
    );
    integrity(
        with(1000, Integrity::Corrupt { first: 17, count: 2 }, 1),
        json!({ "bytes": 1000, "corrupt": { "at_most": 1 } }),
        json!({ "bytes": 1000, "corrupt": 2, "first_corrupt": 17 }),
    );
    let short = || (json!({ "bytes": 1000, "corrupt": 0 }), json!({ "bytes": 5, "corrupt": 0 }));
    for integrity_of_five in [Integrity::Short { expected: 1000 }, Integrity::Intact] {
        let (expected, observed) = short();
        integrity(with(5, integrity_of_five, 0), expected, observed);
    }
}

#[test]
fn connections_with_another_protocol() {
    let connection = |run: &Run, expected: Value, observed: Value| {
        assert_values(run, FindingKind::Connection, &expected, &observed);
    };
    let mut run = Run::good();
    fall_back(&mut run, Some(&MptcpInfo { flags: 3, ..MptcpInfo::default() }));
    connection(&run, json!("mptcp"), json!({ "client": "fallback", "server": "fallback" }));
    fall_back(&mut run, None);
    connection(&run, json!("mptcp"), json!({ "client": "tcp_later", "server": "tcp_later" }));

    let mut run = Run::good();
    run.change(|what| match what {
        Observation::Connected { connection } => connection.server_token.take().is_some(),
        _ => false,
    });
    connection(&run, json!("mptcp"), json!({ "client": "mptcp", "server": "tcp" }));
    let mut run = Run::good();
    set_connect_outcome(&mut run, &ConnectionOutcome::Tcp);
    connection(&run, json!("tcp"), json!({ "client": "mptcp", "server": "mptcp" }));
}

#[test]
fn filters_and_rules_that_never_matched() {
    let mut run = Run::good();
    run.step(Action::Do(Operation::AddFilter(filter(false))), |_| {});
    run.push(hits(0));
    assert_values(&run, FindingKind::Filter, &json!({ "at_least": 1 }), &json!(0));
    let mut run = run_with(vec![loss()]);
    matched(&mut run, "loss", 0);
    assert_values(&run, FindingKind::Path, &json!({ "at_least": 1 }), &json!(0));
}

#[test]
fn counters_that_are_not_listed() {
    assert_values(&moved(Run::good(), "server", ODD, 3), FindingKind::Counter, &json!(0), &json!(3));
    let mut run = Run::good();
    run.scenario.expect = Expectation {
        other_counters_zero: vec![("server".to_owned(), place(5))],
        ..counter(&["server"], "MPTcpExtMPJoinSynRx", 2..=2)
    };
    let (joins, open) = ("MPTcpExtMPJoinAckRx", "MPTcpExtMPCurrEstab");
    assert_values(&run, FindingKind::Counter, &json!({ joins: 0, open: 0 }), &json!({ joins: 2, open: 1 }));
}

#[test]
fn alternatives_have_the_values_of_each_difference() {
    let mut run = Run::good();
    let first = Expectation { limits: limits(Some(5), None).limits, ..info("subflows", 3..=3) };
    run.scenario.expect = either(vec![first, info("subflows", 4..=u64::MAX)]);
    let limits = |subflows: u32, add_addr_accepted: Option<u32>| json!({ "limits": { "subflows": subflows, "add_addr_accepted": add_addr_accepted } });
    assert_values(
        &run,
        FindingKind::Either,
        &json!([[{ "info": 3 }, limits(5, None)], [{ "info": { "at_least": 4 } }]]),
        &json!([[{ "info": 2 }, limits(4, Some(1))], [{ "info": 2 }]]),
    );
}

#[test]
fn refusals_and_calls_of_applications() {
    assert_values(&failing_connect(StepOutcome::Done), FindingKind::Refusal, &json!("ECONNREFUSED"), &Value::Null);
    let timed_out = StepOutcome::Refused { error: "ETIMEDOUT".to_owned(), message: None };
    assert_values(&failing_connect(timed_out), FindingKind::Refusal, &json!("ECONNREFUSED"), &json!("ETIMEDOUT"));
    let reset = json!({ "error": "ECONNRESET" });
    assert_values(&must_fail(false, &StepOutcome::Done), FindingKind::Application, &reset, &Value::Null);

    let mut run = Run::good();
    run.step(close(CloseHow::Graceful), |_| {});
    let (connection, side, call) = ("main".to_owned(), Side::Server, SocketCall::Read);
    let got = Got::Error("ECONNRESET".to_owned());
    let last = run.scenario.steps.len() - 1;
    set_outcome(&mut run, last, &StepOutcome::Application(CallEnd { connection, side, call, got, bytes: 0 }));
    assert_values(&run, FindingKind::Application, &json!("end_of_stream"), &reset);
}
