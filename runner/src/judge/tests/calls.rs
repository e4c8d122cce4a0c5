//! What single calls of applications got.

use crate::judge::FindingKind;
use crate::recording::{CallEnd, Calls, Got, Observation, Side, SocketCall, StepOutcome};
use crate::scenario::model::Action;

use super::fixture::{DEADLINE, Run};

fn read(bytes: u64, error: Option<&str>) -> Action {
    let (connection, error) = ("main".to_owned(), error.map(str::to_owned));
    Action::Read { connection, by: Side::Server, bytes, peek: false, inq: Some(3), error, deadline: DEADLINE }
}

fn calls(bytes: u64) -> Calls {
    Calls { bytes, inq: Some(3), ..Calls::of("main", Side::Server, SocketCall::Read, 7) }
}

/// A run that reads 7 bytes, with these calls.
fn reading(made: Option<Calls>) -> Run {
    let mut run = Run::good();
    run.step(read(7, None), |run| made.into_iter().for_each(|made| run.push(Observation::Calls(Box::new(made)))));
    run
}

#[test]
fn calls_get_what_was_asked_for() {
    assert_eq!(reading(Some(calls(7))).findings(), []);
    assert_eq!(reading(None).kinds(), [FindingKind::Incomplete]);
    assert_eq!(reading(Some(calls(6))).kinds(), [FindingKind::Integrity]);
    assert_eq!(reading(Some(Calls { wrong: 1, ..calls(7) })).kinds(), [FindingKind::Integrity]);
    let run = reading(Some(Calls { inq: Some(4), ..calls(7) }));
    assert_eq!(run.kinds(), [FindingKind::Application]);
    let summary = &run.findings()[0].summary;
    assert_eq!(summary, "the server's read() on main: 7 bytes, TCP_INQ 4; expected TCP_INQ 3");
    assert_eq!(reading(Some(Calls { inq: None, ..calls(7) })).kinds(), [FindingKind::Application]);
}

#[test]
fn a_call_fails_with_the_errno_that_is_expected() {
    let failing = |symbol: &str| {
        let got = Got::Error(symbol.to_owned());
        let end = CallEnd { connection: "main".to_owned(), side: Side::Server, call: SocketCall::Read, got, bytes: 0 };
        let mut run = Run::good();
        run.step_ending(read(7, Some("ECONNRESET")), StepOutcome::Application(end), |_| {});
        run
    };
    assert_eq!(failing("ECONNRESET").findings(), []);
    assert_eq!(failing("EPIPE").kinds(), [FindingKind::Application]);
}
