//! What every run is put to, whatever its scenario expects.

use crate::judge::{FindingKind, Snapshots, Verdict, judge, verdict};
use crate::mptcp::{EventKind, MptcpInfo};
use crate::recording::{
    CallEnd, Contradiction, Got, Integrity, LostWhat, Moment, Observation, Seen, Side, SocketCall, StepOutcome, Timeout,
};
use crate::scenario::model::{
    Action, CloseHow, ConnectionOutcome, CounterExpectation, Filter, FilterAction, FilterHook, Operation, TransferPlan,
};

use super::fixture::{DEADLINE, Run, close, connect_plan, flush, place, transfer_plan};

#[test]
fn a_good_run_has_no_findings() {
    assert_eq!(Run::good().findings(), []);
}

#[test]
fn lost_events_and_packets_are_errors() {
    for what in [LostWhat::Events, LostWhat::Packets, LostWhat::Room] {
        let mut run = Run::good();
        run.push(Observation::Lost { namespace: "client".to_owned(), what, count: Some(3) });
        assert_eq!(run.kinds(), [FindingKind::Incomplete]);
        assert!(matches!(verdict(&run.scenario, &run.recording, Snapshots::Compare), Verdict::Error(_)));
    }
}

#[test]
fn a_recording_without_an_end_is_an_error() {
    let mut run = Run::good();
    run.remove(|what| *what == Observation::Ended);
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
}

#[test]
fn an_event_that_was_lost_in_silence_is_an_error() {
    let mut run = Run::good();
    run.remove(|what| matches!(what, Observation::Event { event, .. } if event.kind == EventKind::Announced));
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
    run.scenario.world.namespaces[0].events = false;
    assert_eq!(run.kinds(), []);
}

#[test]
fn only_warnings_of_the_kernel_count() {
    let mut run = Run::good();
    run.push(Observation::KernelLog { line: "eth1: link becomes ready".to_owned() });
    assert_eq!(run.kinds(), []);
    run.push(Observation::KernelLog { line: "WARNING: CPU: 0 PID: 1 at net/mptcp/protocol.c:1".to_owned() });
    assert_eq!(run.kinds(), [FindingKind::Kernel]);
    assert!(matches!(verdict(&run.scenario, &run.recording, Snapshots::Compare), Verdict::Failed(_)));
}

#[test]
fn a_step_that_did_not_end_is_found_once() {
    let mut run = Run::good();
    run.remove(|what| matches!(what, Observation::StepFinished { step, .. } if *step >= 2));
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
    run.remove(|what| matches!(what, Observation::StepStarted { step, .. } if *step >= 2));
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
}

#[test]
fn a_step_of_another_scenario_is_found() {
    let mut run = Run::good();
    run.push(Observation::StepFinished { step: 77, outcome: StepOutcome::Done });
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
}

pub(super) fn set_outcome(run: &mut Run, wanted: usize, new: &StepOutcome) {
    run.change(|what| match what {
        Observation::StepFinished { step, outcome } if *step == wanted => {
            *outcome = new.clone();
            true
        }
        _ => false,
    });
}

fn contradiction() -> Contradiction {
    Contradiction {
        asked: "delete endpoint 5 in server".to_owned(),
        answered: "an ACK".to_owned(),
        shown: vec!["it shows `10.0.2.1 id 5 signal`".to_owned()],
    }
}

fn call_end() -> CallEnd {
    CallEnd {
        connection: "main".to_owned(),
        side: Side::Client,
        call: SocketCall::Read,
        got: Got::Error("ECONNRESET".to_owned()),
        bytes: 7,
    }
}

/// It is a finding about the kernel: the verdict is "failed", and a bisection takes it for "bad".
#[test]
fn a_contradiction_in_the_set_up_is_a_failure_and_no_error() {
    let mut run = Run::good();
    run.recording.entries.clear();
    run.push(Observation::SetupContradicted(contradiction()));
    run.push(Observation::Ended);
    let findings = run.findings();
    let [finding] = findings.as_slice() else { panic!("{findings:#?}") };
    assert!(!finding.kind.is_error());
    assert_eq!(
        finding.summary,
        "set-up: delete endpoint 5 in server: the kernel answered with an ACK, but it shows `10.0.2.1 id 5 signal`"
    );
}

/// That bytes are missing follows from the call that failed.
#[test]
fn bytes_that_are_missing_after_a_failed_call_are_not_told_again() {
    let mut run = Run::good();
    let transfer = run.scenario.steps.iter().position(|step| matches!(step.action, Action::Transfer(_))).unwrap();
    run.change(|what| match what {
        Observation::Transferred { sender: Side::Client, bytes, integrity, .. } => {
            (*bytes, *integrity) = (7, Integrity::Short { expected: 1000 });
            true
        }
        _ => false,
    });
    assert_eq!(run.kinds(), [FindingKind::Integrity]);
    set_outcome(&mut run, transfer, &StepOutcome::Application(call_end()));
    run.remove(|what| match what {
        Observation::StepStarted { step, .. } | Observation::StepFinished { step, .. } => *step > transfer,
        _ => false,
    });
    assert_eq!(run.kinds(), [FindingKind::Application]);
}

/// Recordings go to JSON lines and back; those of before, which have less to say, can still be read.
#[test]
fn outcomes_are_stored_and_read() {
    let mut run = Run::good();
    run.push(Observation::Application(call_end()));
    run.push(Observation::SetupContradicted(contradiction()));
    for outcome in [StepOutcome::Application(call_end()), StepOutcome::Contradicted(contradiction())] {
        run.push(Observation::StepFinished { step: 0, outcome });
    }
    let mut stored = Vec::new();
    crate::recording::write(&run.recording, &mut stored).unwrap();
    assert_eq!(crate::recording::read(stored.as_slice()).unwrap(), run.recording);
    let lost = r#"{"type":"lost","namespace":"client","what":"forwarding","count":6}"#;
    assert!(serde_json::from_str::<Observation>(lost).is_ok());
}

#[test]
fn a_failed_step_is_the_only_finding_of_a_run_that_it_cut_short() {
    let timed_out = StepOutcome::TimedOut(Timeout::in_words("an event", "none"));
    let cases = [
        (timed_out, FindingKind::Deadline),
        (StepOutcome::Contradicted(contradiction()), FindingKind::Contradiction),
        (StepOutcome::Application(call_end()), FindingKind::Application),
        (
            StepOutcome::NotQuiet { seen: Some(Seen::Words { text: "a segment".to_owned() }), after: None },
            FindingKind::Deadline,
        ),
        (StepOutcome::Failed { message: "no such device".to_owned() }, FindingKind::Setup),
        (StepOutcome::Refused { error: "EPERM".to_owned(), message: None }, FindingKind::Refusal),
    ];
    for (outcome, kind) in cases {
        let mut run = Run::good();
        run.scenario.expect.counters.push(CounterExpectation {
            namespaces: vec!["client".to_owned()],
            place: place(1),
            name: "MPTcpExtAddAddr".to_owned(),
            less: None,
            range: 9..=9,
        });
        set_outcome(&mut run, 2, &outcome);
        run.remove(|what| match what {
            Observation::StepStarted { step, .. } | Observation::StepFinished { step, .. } => *step > 2,
            _ => false,
        });
        assert_eq!(run.kinds(), [kind]);
        let finding = run.findings().remove(0);
        assert_eq!(finding.place, Some(place(102)));
        // A wait says what it waited for: the step's words would say it again.
        let step = if kind == FindingKind::Deadline { "step 3 " } else { "step 3 (words of step 2)" };
        assert!(finding.summary.contains(step), "{}", finding.summary);
        assert!(finding.detail.contains("client: event sub_established main"), "{}", finding.detail);
    }
}

fn refused_run(outcome: StepOutcome) -> Run {
    let mut run = Run::good();
    let action =
        Action::ExpectError { error: "EINVAL".to_owned(), message: Some("not found".to_owned()), operation: flush() };
    run.step_ending(action, outcome, |_| {});
    run
}

#[test]
fn a_refusal_must_be_the_expected_one() {
    let refused = |error: &str, message: Option<&str>| StepOutcome::Refused {
        error: error.to_owned(),
        message: message.map(str::to_owned),
    };
    assert_eq!(refused_run(refused("EINVAL", Some("address not found"))).kinds(), []);
    for bad in [
        refused("EBUSY", Some("address not found")),
        refused("EINVAL", Some("something else")),
        refused("EINVAL", None),
        StepOutcome::Done,
    ] {
        assert_eq!(refused_run(bad.clone()).kinds(), [FindingKind::Refusal], "{bad:?}");
    }
}

/// A run whose only connection is to fail.
pub(super) fn failing_connect(outcome: StepOutcome) -> Run {
    let mut run = Run::empty();
    let plan = crate::scenario::model::ConnectPlan {
        outcome: ConnectionOutcome::Error("ECONNREFUSED".to_owned()),
        ..connect_plan()
    };
    run.step_ending(Action::Connect(plan), outcome, |_| {});
    run
}

#[test]
fn a_connect_that_must_fail_must_fail() {
    let refused = |error: &str| StepOutcome::Refused { error: error.to_owned(), message: None };
    assert_eq!(failing_connect(refused("ECONNREFUSED")).kinds(), []);
    assert_eq!(failing_connect(refused("ETIMEDOUT")).kinds(), [FindingKind::Refusal]);
    assert_eq!(failing_connect(StepOutcome::Done).kinds(), [FindingKind::Refusal]);
}

pub(super) fn set_connect_outcome(run: &mut Run, new: &ConnectionOutcome) {
    for step in &mut run.scenario.steps {
        if let Action::Connect(plan) = &mut step.action {
            plan.outcome = new.clone();
        }
    }
}

#[test]
fn a_connection_must_be_in_the_recording() {
    let mut run = Run::good();
    run.remove(|what| matches!(what, Observation::Connected { .. }));
    assert!(run.kinds().contains(&FindingKind::Connection));
}

#[test]
fn a_side_without_a_token_is_a_fallback() {
    for side in [Side::Client, Side::Server] {
        let mut run = Run::good();
        run.change(|what| match what {
            Observation::Connected { connection } => {
                match side {
                    Side::Client => connection.client_token = None,
                    Side::Server => connection.server_token = None,
                }
                true
            }
            _ => false,
        });
        assert_eq!(run.kinds(), [FindingKind::Connection]);
        set_connect_outcome(&mut run, &ConnectionOutcome::Tcp);
        assert_eq!(run.kinds(), []);
    }
}

pub(super) fn fall_back(run: &mut Run, info: Option<&MptcpInfo>) {
    run.change(|what| match what {
        Observation::Sockets { moment: Moment::BeforeClose, info: old, .. } => {
            *old = info.cloned().map(Box::new);
            true
        }
        _ => false,
    });
}

#[test]
fn a_fallback_after_the_handshake_is_found_unless_it_is_expected() {
    for info in [Some(MptcpInfo { flags: 3, ..MptcpInfo::default() }), None] {
        let mut run = Run::good();
        fall_back(&mut run, info.as_ref());
        assert_eq!(run.kinds(), [FindingKind::Connection]);
        run.scenario.expect.counters.push(CounterExpectation {
            namespaces: vec!["server".to_owned()],
            place: place(1),
            name: "MPTcpExtInfiniteMapRx".to_owned(),
            less: None,
            range: 1..=1,
        });
        run.change(|what| match what {
            Observation::Counters { values, moment, .. } => {
                values.insert("MPTcpExtInfiniteMapRx".to_owned(), u64::from(*moment != Moment::Start));
                true
            }
            _ => false,
        });
        assert_eq!(run.kinds(), []);
    }
}

#[test]
fn mptcp_where_tcp_is_expected_is_found() {
    let mut run = Run::good();
    set_connect_outcome(&mut run, &ConnectionOutcome::Tcp);
    assert_eq!(run.kinds(), [FindingKind::Connection]);
}

fn set_integrity(run: &mut Run, new: &Integrity) {
    run.change(|what| match what {
        Observation::Transferred { sender: Side::Client, integrity, .. } => {
            *integrity = new.clone();
            true
        }
        _ => false,
    });
}

fn change_transfer(run: &mut Run, change: impl Fn(&mut TransferPlan)) {
    for step in &mut run.scenario.steps {
        if let Action::Transfer(plan) = &mut step.action {
            change(plan);
        }
    }
}

#[test]
fn one_damaged_byte_is_one_too_many() {
    let mut run = Run::good();
    set_integrity(&mut run, &Integrity::Corrupt { first: 17, count: 1 });
    assert_eq!(run.kinds(), [FindingKind::Integrity]);
    change_transfer(&mut run, |plan| plan.tolerate_corrupt = 1);
    assert_eq!(run.kinds(), []);
    set_integrity(&mut run, &Integrity::Corrupt { first: 17, count: 2 });
    assert_eq!(run.kinds(), [FindingKind::Integrity]);
}

#[test]
fn missing_bytes_are_found() {
    let mut run = Run::good();
    set_integrity(&mut run, &Integrity::Short { expected: 1000 });
    assert_eq!(run.kinds(), [FindingKind::Integrity]);
    let mut run = Run::good();
    change_transfer(&mut run, |plan| plan.from_server = 1001);
    assert_eq!(run.kinds(), [FindingKind::Integrity]);
    let mut run = Run::good();
    run.remove(|what| matches!(what, Observation::Transferred { sender: Side::Server, .. }));
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
    let mut run = Run::good();
    change_transfer(&mut run, |plan| plan.from_server = 0);
    assert_eq!(run.kinds(), [FindingKind::Incomplete], "a result that nobody asked for");
}

#[test]
fn a_background_transfer_may_be_cut_off_by_an_abrupt_close() {
    let mut run = Run::good();
    set_integrity(&mut run, &Integrity::Short { expected: 1000 });
    change_transfer(&mut run, |plan| plan.background = true);
    assert_eq!(run.kinds(), [FindingKind::Integrity]);
    for step in &mut run.scenario.steps {
        if matches!(step.action, Action::Close { .. }) {
            step.action = close(CloseHow::Abrupt);
        }
    }
    assert_eq!(run.kinds(), []);
    // Of what arrived, some bytes were damaged, as they may be.
    let mut damaged = run.clone();
    set_integrity(&mut damaged, &Integrity::Corrupt { first: 1, count: 1 });
    change_transfer(&mut damaged, |plan| (plan.tolerate_corrupt, plan.from_client) = (1, 2000));
    assert_eq!(damaged.kinds(), []);
    run.remove(|what| matches!(what, Observation::Transferred { .. }));
    assert_eq!(run.kinds(), []);
}

#[test]
fn results_belong_to_the_transfer_that_was_begun_last() {
    let mut run = Run::good();
    let plan = TransferPlan { from_client: 5, from_server: 0, ..transfer_plan() };
    run.step(Action::Transfer(plan), |run| {
        run.push(Observation::Transferred {
            connection: "main".to_owned(),
            sender: Side::Client,
            bytes: 5,
            integrity: Integrity::Intact,
            took: None,
        });
    });
    assert_eq!(run.kinds(), []);
}

/// A transfer that must fail with ECONNRESET, and how it ends.
pub(super) fn must_fail(background: bool, outcome: &StepOutcome) -> Run {
    let mut run = Run::good();
    let error = Some("ECONNRESET".to_owned());
    run.step(Action::Transfer(TransferPlan { from_server: 0, background, error, ..transfer_plan() }), |_| {});
    if background {
        let (connection, deadline) = ("main".to_owned(), DEADLINE);
        run.step(Action::FinishTransfer { connection, deadline }, |_| {});
    }
    let arrived = if *outcome == StepOutcome::Done { 1000 } else { 5 };
    let integrity = if arrived == 5 { Integrity::Short { expected: 1000 } } else { Integrity::Intact };
    let (connection, sender) = ("main".to_owned(), Side::Client);
    run.push(Observation::Transferred { connection, sender, bytes: arrived, integrity, took: None });
    let last = run.scenario.steps.len() - 1;
    set_outcome(&mut run, last, outcome);
    run
}

#[test]
fn a_transfer_that_must_fail_is_held_to_its_errno() {
    let call = |got| {
        let (connection, side) = ("main".to_owned(), Side::Server);
        StepOutcome::Application(CallEnd { connection, side, call: SocketCall::Read, got, bytes: 5 })
    };
    let got = |error: &str| call(Got::Error(error.to_owned()));
    for background in [false, true] {
        assert_eq!(must_fail(background, &got("ECONNRESET")).kinds(), []);
        for (outcome, kind, words) in [
            (got("ETIMEDOUT"), FindingKind::Application, "failed with ETIMEDOUT after 5 bytes; expected ECONNRESET"),
            (call(Got::EndOfStream), FindingKind::Application, "after 5 bytes; expected ECONNRESET"),
            (StepOutcome::Done, FindingKind::Application, "to fail with ECONNRESET, but none failed"),
            (
                StepOutcome::TimedOut(Timeout {
                    after: Some(crate::nanos::of(DEADLINE)),
                    ..Timeout::in_words("the end of the transfer on `main`", "nothing")
                }),
                FindingKind::Deadline,
                "to fail with ECONNRESET",
            ),
        ] {
            let run = must_fail(background, &outcome);
            let findings = judge(&run.scenario, &run.recording);
            assert_eq!(findings[0].kind, kind, "{outcome:?}: {findings:#?}");
            assert!(findings[0].summary.ends_with(words), "{outcome:?}: {findings:#?}");
        }
    }
}

pub(super) fn filter(may_be_unused: bool) -> Filter {
    Filter { may_be_unused, ..Filter::new("drop", "client", FilterHook::Output, FilterAction::Drop) }
}

pub(super) fn hits(packets: u64) -> Observation {
    Observation::FilterHits { namespace: "client".to_owned(), filter: "drop".to_owned(), packets }
}

#[test]
fn a_filter_that_never_matched_is_found() {
    let with_filter = |may_be_unused: bool, packets: Option<u64>| {
        let mut run = Run::good();
        run.step(Action::Do(Operation::AddFilter(filter(may_be_unused))), |_| {});
        if let Some(packets) = packets {
            run.push(hits(packets));
        }
        run.kinds()
    };
    assert_eq!(with_filter(false, Some(1)), []);
    assert_eq!(with_filter(false, Some(0)), [FindingKind::Filter]);
    assert_eq!(with_filter(true, Some(0)), []);
    assert_eq!(with_filter(true, None), [FindingKind::Incomplete]);
}

#[test]
fn a_filter_that_is_added_twice_must_match_twice() {
    let mut run = Run::good();
    for packets in [2, 0] {
        run.step(Action::Do(Operation::AddFilter(filter(false))), |_| {});
        run.push(hits(packets));
    }
    assert_eq!(run.kinds(), [FindingKind::Filter]);
    assert_eq!(run.findings().remove(0).place, Some(place(106)));
}

#[test]
fn a_wait_that_ran_out_is_a_failure_not_an_error() {
    let mut run = Run::good();
    let wait = Action::Wait { conditions: Vec::new(), deadline: DEADLINE };
    let seen = StepOutcome::TimedOut(Timeout::in_words("2 subflows", "1"));
    run.step_ending(wait, seen, |_| {});
    assert!(matches!(verdict(&run.scenario, &run.recording, Snapshots::Compare), Verdict::Failed(_)));
}
