//! Socket options: what is set must be there, on each subflow, too; what must be refused is refused.

use crate::judge::{FindingKind, canonical, judge};
use crate::mptcp::{OptionValue, SocketOption, SubflowFlags, SubflowOptions};
use crate::recording::{Entry, Observation, OptionAnswer, OptionCall, OptionSocket, Side};
use crate::scenario::model::{Action, OptionSetting, SocketOptions};
use crate::wire::TcpFlags;

use super::fixture::{Run, place};

fn option(word: &str) -> &'static SocketOption {
    SocketOption::of_word(word).unwrap()
}

fn setting(word: &str, value: u64) -> OptionSetting {
    OptionSetting { option: option(word), value: OptionValue::Number(value), place: place(7) }
}

fn call(word: &str, asked: u64, answer: OptionAnswer) -> OptionCall {
    let socket = OptionSocket::Connection { connection: "main".to_owned(), side: Side::Client };
    OptionCall { socket, option: word.to_owned(), asked: OptionValue::Number(asked), answer, passed_on: false }
}

fn shown(value: u64) -> OptionAnswer {
    OptionAnswer::Shown(OptionValue::Number(value))
}

/// The client sets a mark, a traffic class and a receive buffer, and is refused a timeout.
fn good() -> Run {
    let mut run = Run::good();
    let Action::Connect(plan) = &mut run.scenario.steps[0].action else { panic!("the first step connects") };
    plan.options = SocketOptions {
        set: vec![setting("mark", 7), setting("tos", 0x10), setting("rcvbuf", 8192)],
        refused: vec![("ENOPROTOOPT".to_owned(), setting("user_timeout", 5000))],
        not_inherited: Vec::new(),
    };
    let refused = OptionAnswer::Refused("ENOPROTOOPT".to_owned());
    let answers = [
        call("mark", 7, shown(7)),
        call("tos", 0x10, shown(0x10)),
        call("rcvbuf", 8192, shown(16384)),
        call("user_timeout", 5000, refused),
    ];
    let begin = run.recording.entries.iter().position(|entry| matches!(entry.what, Observation::StepStarted { .. }));
    let begin = begin.unwrap();
    let at = run.recording.entries[begin].at;
    let calls = answers.into_iter().map(|call| Entry { at, what: Observation::Option(Box::new(call)) });
    run.recording.entries.splice(begin + 1..=begin, calls);
    run.change(|what| match what {
        Observation::Sockets { side: Side::Client, options, subflows, .. } => {
            let now = [("mark", 7), ("tos", 0x10), ("rcvbuf", 16384)];
            options.extend(now.map(|(word, value)| (word.to_owned(), shown(value))));
            for (index, subflow) in subflows.iter_mut().enumerate() {
                let rest = SubflowOptions::default();
                let seen = SubflowOptions { mark: Some(7), tos: Some(0x10), rcvbuf: Some(16384), ..rest };
                subflow.options = Some(Box::new(seen));
                subflow.flags.set(SubflowFlags::JOIN_LOC, index > 0);
            }
            true
        }
        Observation::Packet { namespace, segment, .. } if **namespace == *"client" => {
            segment.traffic_class = 0x10 | 2;
            true
        }
        _ => false,
    });
    run
}

/// Replaces what the kernel answered to that option.
fn answering(word: &str, answer: &OptionAnswer) -> Run {
    let mut run = good();
    run.change(|what| match what {
        Observation::Option(call) if call.option == word => {
            call.answer = answer.clone();
            true
        }
        _ => false,
    });
    run
}

/// Changes the options of the client's second subflow.
fn second_subflow(mut run: Run, change: impl Fn(&mut SubflowOptions)) -> Run {
    run.change(|what| match what {
        Observation::Sockets { side: Side::Client, subflows, .. } => {
            change(subflows[1].options.as_mut().unwrap());
            true
        }
        _ => false,
    });
    run
}

fn summary(run: &Run) -> String {
    let findings = run.findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].place, Some(place(7)));
    findings[0].summary.clone()
}

#[test]
fn options_that_are_everywhere_are_no_finding() {
    assert_eq!(good().findings(), []);
}

#[test]
fn an_answer_that_contradicts_is_found() {
    let run = answering("rcvbuf", &shown(8192));
    assert_eq!(run.kinds(), [FindingKind::Contradiction]);
    insta::assert_snapshot!(summary(&run), @"the client's socket of main: SO_RCVBUF 8192 bytes was asked for, but it reads 8192 bytes; expected 16384 bytes, twice as many");
    assert_eq!(answering("mark", &OptionAnswer::Hidden(Some("EOPNOTSUPP".to_owned()))).kinds(), [FindingKind::Refusal]);
}

#[test]
fn a_refusal_must_be_expected_and_an_expected_one_must_come() {
    let refused = |errno: &str| OptionAnswer::Refused(errno.to_owned());
    let run = answering("user_timeout", &shown(5000));
    assert_eq!(run.kinds(), [FindingKind::Refusal]);
    insta::assert_snapshot!(summary(&run), @"the client's socket of main: TCP_USER_TIMEOUT 5000 ms; expected a refusal with ENOPROTOOPT");
    assert_eq!(answering("user_timeout", &refused("EOPNOTSUPP")).kinds(), [FindingKind::Refusal]);
    // What was refused is expected nowhere.
    let kinds = answering("mark", &refused("EPERM")).kinds();
    assert_eq!(kinds, [FindingKind::Refusal]);
}

#[test]
fn a_call_that_was_not_recorded_is_an_error() {
    let mut run = good();
    run.remove(|what| matches!(what, Observation::Option(call) if call.option == "tos"));
    assert_eq!(run.kinds(), [FindingKind::Incomplete]);
}

#[test]
fn each_subflow_must_have_what_was_set() {
    let run = second_subflow(good(), |options| options.mark = Some(0));
    assert_eq!(run.kinds(), [FindingKind::Option]);
    insta::assert_snapshot!(summary(&run), @"the client's socket of main: SO_MARK 7 is 0 on the subflow 10.0.2.2 → 10.0.1.1");
    let unseen = second_subflow(good(), |options| options.mark = None);
    assert_eq!(unseen.kinds(), [FindingKind::Option]);
    assert_eq!(second_subflow(good(), |options| options.rcvbuf = Some(8192)).kinds(), [FindingKind::Option]);
}

#[test]
fn what_must_not_be_inherited_is_not() {
    let without = |mut run: Run| {
        let Action::Connect(plan) = &mut run.scenario.steps[0].action else { panic!("the first step connects") };
        plan.options.not_inherited = vec![(option("mark"), place(8))];
        run
    };
    let run = without(good());
    assert_eq!(run.kinds(), [FindingKind::Option; 2], "both additional subflows have it");
    let mut run = without(good());
    run.change(|what| match what {
        Observation::Sockets { side: Side::Client, subflows, .. } => {
            for subflow in &mut subflows[1..] {
                subflow.options.as_mut().unwrap().mark = Some(0);
            }
            true
        }
        _ => false,
    });
    assert_eq!(run.findings(), []);
}

#[test]
fn the_socket_must_keep_what_was_set() {
    let mut run = good();
    run.change(|what| match what {
        Observation::Sockets { side: Side::Client, options, .. } => {
            options.insert("mark".to_owned(), shown(8)).is_some()
        }
        _ => false,
    });
    assert_eq!(run.kinds(), [FindingKind::Option]);
    run.change(|what| match what {
        Observation::Sockets { side: Side::Client, options, .. } => options.remove("mark").is_some(),
        _ => false,
    });
    assert_eq!(run.kinds(), [FindingKind::Option]);
}

#[test]
fn segments_must_carry_the_traffic_class() {
    let mut run = good();
    run.change(|what| match what {
        Observation::Packet { segment, .. } if segment.source.ip().to_string() == "10.0.2.2" => {
            segment.traffic_class = 0;
            true
        }
        _ => false,
    });
    assert_eq!(run.kinds(), [FindingKind::Option]);
    insta::assert_snapshot!(summary(&run), @"the client's socket of main: IP_TOS 0x10 was set, but 2 segments of 10.0.2.2 → 10.0.1.1 left with 0x00");
    // The kernel makes a RST without the socket.
    let mut run = good();
    run.change(|what| match what {
        Observation::Packet { segment, .. } if segment.source.ip().to_string() == "10.0.2.2" => {
            segment.traffic_class = 0;
            segment.flags |= TcpFlags::RST;
            true
        }
        _ => false,
    });
    assert_eq!(run.findings(), []);
}

#[test]
fn options_are_in_the_canonical_form() {
    let text = canonical(&good().scenario, &good().recording);
    let lines: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("socket options")).take(4).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    socket options of main, client side:
      SO_MARK 7, subflows: 7
      SO_RCVBUF 16384 bytes, subflows: 16384 bytes
      IP_TOS 0x10, subflows: 0x10
    ");
    assert!(!canonical(&Run::good().scenario, &Run::good().recording).contains("socket options"));
}

#[test]
fn recordings_with_options_are_stored_and_read() {
    let run = good();
    let mut stored = Vec::new();
    crate::recording::write(&run.recording, &mut stored).unwrap();
    assert_eq!(crate::recording::read(stored.as_slice()).unwrap(), run.recording);
    assert_eq!(judge(&run.scenario, &run.recording), []);
}
