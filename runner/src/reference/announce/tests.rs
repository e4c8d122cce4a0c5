//! In each test, exactly one rule is broken in a real recording. Time is stretched where the rule needs time.

use super::*;
use crate::mptcp::{EventKind, PmEvent};
use crate::recording::{Direction, Entry, Moment, Observation, Recording, read};
use crate::reference::consequences::may_follow;
use crate::reference::{Decision, Rule, consult};
use crate::scenario::model::Action;
use crate::wire::{MptcpOption, Segment, TcpFlags};

const SIGNAL: &str = include_str!("../../../../fixtures/recordings/endpoints-signal-ipv4.jsonl");
const FULLMESH: &str = include_str!("../../../../fixtures/recordings/fullmesh-ipv4.jsonl");
const REMOVE: &str = include_str!("../../../../fixtures/recordings/remove-signal-endpoint.jsonl");
const BACKUP: &str = include_str!("../../../../fixtures/recordings/backup-first-subflow.jsonl");
const ECHO_LOST: &str = include_str!("../../../../fixtures/recordings/add-addr-echo-lost.jsonl");
const USERSPACE: &str = include_str!("../../../../fixtures/recordings/userspace-announce.jsonl");

/// The endpoint in [`SIGNAL`].
const ENDPOINT: &str = "{ address: 10.0.2.1, flags: [signal], id: 5 }";

fn recording(text: &str) -> Recording {
    read(text.as_bytes()).expect("a recording")
}

fn decisions(recording: &Recording) -> Vec<Decision> {
    let scenario = recording.header.scenario().expect("its scenario");
    consult(&scenario, recording).decisions
}

fn violations(recording: &Recording) -> Vec<String> {
    let all = decisions(recording).into_iter().filter(|decision| decision.outcome.is_violation());
    let words = |decision: Decision| {
        let (rule, side, outcome) = (decision.rule.name, decision.side.word(), decision.outcome.word());
        format!("{rule}: {side}: {}: {outcome}: {}", decision.candidate, decision.because)
    };
    all.map(words).collect()
}

/// Asserts that of all rules exactly this one is broken, with those that follow, and that one violation says so.
#[track_caller]
fn breaks(recording: &Recording, rule: &Rule, said: &str) {
    let violations = violations(recording);
    let name = |one: &String| one.split(':').next().map(str::to_owned).unwrap_or_default();
    let others = violations.iter().filter(|one| name(one) != rule.name && !may_follow(rule.name, &name(one)));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new());
    let is_it = |one: &String| name(one) == rule.name && one.contains(said);
    assert!(violations.iter().any(is_it), "{violations:#?}");
}

/// Puts 60 seconds before the step that closes the connection.
fn stretch(recording: &mut Recording) {
    let scenario = recording.header.scenario().expect("its scenario");
    let is_close = |entry: &Entry| match entry.what {
        Observation::StepStarted { step, .. } => matches!(scenario.steps[step].action, Action::Close { .. }),
        _ => false,
    };
    let close = recording.entries.iter().position(is_close).expect("a step that closes");
    recording.entries[close..].iter_mut().for_each(|entry| entry.at += 60_000_000_000);
}

/// Changes the scenario.
#[track_caller]
fn rewrite(recording: &mut Recording, from: &str, to: &str) {
    let source = &mut recording.header.sources[0].text;
    assert!(source.contains(from), "{source}");
    *source = source.replace(from, to);
    // What the kernel showed belongs to the old one.
    recording.entries.retain(|entry| !matches!(entry.what, Observation::Sockets { .. }));
}

/// The segments that leave, or arrive at, a namespace.
fn segments<'a>(recording: &'a mut Recording, wanted: (&'a str, Direction)) -> impl Iterator<Item = &'a mut Segment> {
    recording.entries.iter_mut().filter_map(move |entry| match &mut entry.what {
        Observation::Packet { namespace, direction, segment, .. }
            if namespace.as_str() == wanted.0 && *direction == wanted.1 =>
        {
            Some(segment)
        }
        _ => None,
    })
}

/// Removes the entries of segments that leave a namespace.
fn lose(recording: &mut Recording, wanted: &str, mut is_lost: impl FnMut(&Segment) -> bool) {
    let before = recording.entries.len();
    recording.entries.retain(|entry| match &entry.what {
        Observation::Packet { namespace, direction: Direction::Out, segment, .. } if namespace.as_str() == wanted => {
            !is_lost(segment)
        }
        _ => true,
    });
    assert!(recording.entries.len() < before);
}

fn is_announcement(option: &MptcpOption) -> bool {
    matches!(option, MptcpOption::AddAddr { echo: false, .. })
}

fn is_echo(option: &MptcpOption) -> bool {
    matches!(option, MptcpOption::AddAddr { echo: true, .. })
}

fn events<'a>(recording: &'a mut Recording, wanted: &'a str, kind: EventKind) -> impl Iterator<Item = &'a mut PmEvent> {
    recording.entries.iter_mut().filter_map(move |entry| match &mut entry.what {
        Observation::Event { namespace, event } if *namespace == wanted && event.kind == kind => Some(&mut **event),
        _ => None,
    })
}

fn forget(recording: &mut Recording, wanted: &str, kind: EventKind) {
    recording.entries.retain(|entry| {
        !matches!(&entry.what, Observation::Event { namespace, event } if *namespace == wanted && event.kind == kind)
    });
}

#[test]
fn real_recordings_break_no_rule() {
    for text in [SIGNAL, FULLMESH, REMOVE, BACKUP, ECHO_LOST, USERSPACE] {
        let mut recording = recording(text);
        assert_eq!(violations(&recording), Vec::<String>::new());
        let open = decisions(&recording)
            .into_iter()
            .filter(|decision| decision.outcome == crate::reference::Outcome::Undetermined);
        assert_eq!(open.count(), 0);
        // Nor does time alone, where nothing waits for a retransmission.
        stretch(&mut recording);
        assert_eq!(violations(&recording), Vec::<String>::new());
    }
}

#[test]
fn a_signal_endpoint_that_is_not_announced() {
    let mut recording = recording(SIGNAL);
    rewrite(&mut recording, ENDPOINT, &format!("{ENDPOINT}\n      - {{ address: 10.0.3.1, flags: [signal] }}"));
    assert_eq!(violations(&recording), Vec::<String>::new());
    stretch(&mut recording);
    breaks(&recording, &due::RULE, "server: ADD_ADDR id 6 10.0.3.1: missing: signal endpoint");
}

#[test]
fn an_announcement_without_a_signal_endpoint() {
    let mut recording = recording(SIGNAL);
    rewrite(&mut recording, ENDPOINT, "{ address: 10.0.2.1, flags: [subflow], id: 5 }");
    breaks(&recording, &permitted::RULE, "no signal endpoint has this address, port and address ID");
}

#[test]
fn an_announcement_with_another_id_than_its_endpoint() {
    let mut recording = recording(SIGNAL);
    rewrite(&mut recording, ENDPOINT, "{ address: 10.0.2.1, flags: [signal], id: 9 }");
    breaks(&recording, &permitted::RULE, "no signal endpoint has this address, port and address ID");
}

#[test]
fn an_announcement_that_no_userspace_path_manager_asked_for() {
    let mut recording = recording(USERSPACE);
    rewrite(&mut recording, "address: 10.0.3.1, id: 20 }", "address: 10.0.3.1, id: 21 }");
    breaks(&recording, &permitted::RULE, "ADD_ADDR id 20 10.0.3.1: wrong: no userspace path manager asked for it");
}

#[test]
fn an_announcement_before_its_turn() {
    let mut recording = recording(SIGNAL);
    rewrite(&mut recording, ENDPOINT, &format!("{{ address: 10.0.3.1, id: 2, flags: [signal] }}\n      - {ENDPOINT}"));
    breaks(&recording, &one_at_a_time::RULE, "the endpoint 10.0.3.1 id 2 signal comes before it");
}

#[test]
fn a_second_announcement_without_a_reason() {
    let mut recording = recording(SIGNAL);
    rewrite(&mut recording, ENDPOINT, &format!("{ENDPOINT}\n      - {{ address: 10.0.3.1, flags: [signal] }}"));
    let first = recording.entries.iter().position(|entry| match &entry.what {
        Observation::Packet { direction: Direction::Out, segment, .. } => segment.options.iter().any(is_announcement),
        _ => false,
    });
    let first = first.expect("an announcement");
    let mut copy = recording.entries[first].clone();
    copy.at += 1;
    if let Observation::Packet { segment, .. } = &mut copy.what
        && let Some(MptcpOption::AddAddr { address_id, body, .. }) = segment.options.first_mut()
    {
        (*address_id, body.address) = (6, "10.0.3.1".parse().expect("an address"));
    }
    recording.entries.insert(first + 1, copy);
    breaks(&recording, &one_at_a_time::RULE, "announcement 2 after 1 reasons to announce one");
}

#[test]
fn one_retransmission_too_many() {
    let mut recording = recording(ECHO_LOST);
    let last = recording.entries.iter().rposition(|entry| match &entry.what {
        Observation::Packet { direction: Direction::Out, segment, .. } => segment.options.iter().any(is_announcement),
        _ => false,
    });
    let last = last.expect("an announcement");
    let copy = recording.entries[last].clone();
    recording.entries.insert(last, copy);
    breaks(&recording, &retransmission::RULE, "retransmission 4 of at most 3");
}

#[test]
fn no_retransmission() {
    let mut recording = recording(ECHO_LOST);
    let mut count = 0;
    lose(&mut recording, "server", |segment| {
        count += usize::from(segment.options.iter().any(is_announcement));
        count > 1 && segment.options.iter().any(is_announcement)
    });
    recording.entries.retain(|entry| match &entry.what {
        Observation::Packet { namespace, segment, .. } => {
            namespace.as_str() != "server" || !segment.options.iter().any(is_echo)
        }
        _ => true,
    });
    stretch(&mut recording);
    breaks(&recording, &retransmission::RULE, "after retransmission 0 of 3");
}

#[test]
fn a_retransmission_although_they_are_switched_off() {
    let mut recording = recording(ECHO_LOST);
    rewrite(&mut recording, "net.mptcp.add_addr_timeout: 1", "net.mptcp.add_addr_timeout: 0");
    breaks(&recording, &retransmission::RULE, "but add_addr_timeout is 0");
}

#[test]
fn a_retransmission_after_the_echo() {
    let mut recording = recording(ECHO_LOST);
    rewrite(&mut recording, "option: add_addr, action: drop", "option: add_addr, from: 10.9.9.9, action: drop");
    // Each of them half a second later than the one before.
    let mut late = 0;
    for entry in &mut recording.entries {
        let is_repeated = matches!(&entry.what, Observation::Packet { namespace, direction: Direction::Out, segment, .. }
            if namespace.as_str() == "server" && segment.options.iter().any(is_announcement));
        late += 500_000_000 * u64::from(is_repeated);
        entry.at += late;
    }
    breaks(&recording, &retransmission::RULE, "after the echo");
}

#[test]
fn no_echo() {
    let mut recording = recording(SIGNAL);
    lose(&mut recording, "client", |segment| segment.options.iter().any(is_echo));
    stretch(&mut recording);
    breaks(&recording, &echo::RULE, "client: echo of ADD_ADDR id 5 10.0.2.1: missing");
}

#[test]
fn an_echo_of_something_else() {
    let mut recording = recording(SIGNAL);
    for segment in segments(&mut recording, ("client", Direction::Out)) {
        for option in &mut segment.options {
            if let MptcpOption::AddAddr { echo: true, body, .. } = option {
                body.port = Some(8080);
            }
        }
    }
    breaks(&recording, &echo::RULE, "wrong: no such ADD_ADDR was received");
}

#[test]
fn an_announcement_accepted_against_the_limit() {
    let mut recording = recording(SIGNAL);
    rewrite(&mut recording, "add_addr_accepted: 1", "add_addr_accepted: 0");
    breaks(&recording, &accept::RULE, "accepted, but add_addr_accepted 0: the announcement is echoed and then ignored");
}

#[test]
fn an_announcement_that_is_not_accepted() {
    let mut recording = recording(SIGNAL);
    let is_there = |segment: &Segment| {
        segment.source.ip().to_string() == "10.0.2.1" || segment.destination.ip().to_string() == "10.0.2.1"
    };
    recording.entries.retain(|entry| match &entry.what {
        Observation::Packet { segment, .. } => !is_there(segment),
        Observation::Sockets { .. } => false,
        _ => true,
    });
    for side in ["client", "server"] {
        forget(&mut recording, side, EventKind::SubEstablished);
    }
    stretch(&mut recording);
    breaks(&recording, &accept::RULE, "client: ADD_ADDR id 5 10.0.2.1: missing: no limit was reached");
}

#[test]
fn no_removal() {
    let mut recording = recording(REMOVE);
    for segment in segments(&mut recording, ("server", Direction::Out)) {
        segment.options.retain(|option| !matches!(option, MptcpOption::RemoveAddr { .. }));
    }
    stretch(&mut recording);
    breaks(&recording, &removal::RULE, "server: REMOVE_ADDR id 1: missing: endpoint 10.0.2.1 id 1 signal was deleted");
}

#[test]
fn a_removal_of_another_address() {
    let mut recording = recording(REMOVE);
    for segment in segments(&mut recording, ("server", Direction::Out)) {
        for option in &mut segment.options {
            if let MptcpOption::RemoveAddr { address_ids } = option {
                *address_ids = vec![7];
            }
        }
    }
    breaks(&recording, &removal::RULE, "nothing removed an address with this address ID");
}

#[test]
fn a_removed_address_that_keeps_its_subflow() {
    let mut recording = recording(REMOVE);
    lose(&mut recording, "client", |segment| {
        segment.source.ip().to_string() == "10.0.2.2" && segment.flags.intersects(TcpFlags::FIN | TcpFlags::RST)
    });
    stretch(&mut recording);
    breaks(&recording, &removed::RULE, "client: REMOVE_ADDR id 1: missing: 10.0.2.2:");
}

#[test]
fn a_removal_that_is_ignored() {
    let counted = |end: u64| {
        let mut recording = recording(REMOVE);
        stretch(&mut recording);
        let last = recording.entries.len() - 1;
        for (place, moment, value) in [(0, Moment::Start, 0), (last, Moment::End, end)] {
            let values = [("MPTcpExtRmAddr".to_owned(), value)].into();
            let what = Observation::Counters { namespace: "client".to_owned(), moment, values };
            recording.entries.insert(place, Entry { at: recording.entries[place].at, what });
        }
        recording
    };
    assert_eq!(violations(&counted(1)), Vec::<String>::new());
    let said = "missing: MPTcpExtRmAddr increased by 0, and the peer removed 1 address IDs of subflows";
    breaks(&counted(0), &removed::RULE, said);
}

#[test]
fn a_priority_with_the_wrong_value() {
    let mut recording = recording(BACKUP);
    recording.entries.retain(|entry| !matches!(entry.what, Observation::Sockets { .. }));
    for segment in segments(&mut recording, ("client", Direction::Out)) {
        for option in &mut segment.options {
            if let MptcpOption::MpPrio { backup } = option {
                *backup = !*backup;
            }
        }
    }
    breaks(&recording, &priority::RULE, "MP_PRIO of 10.0.1.2: no backup: wrong: no endpoint with this address");
}

#[test]
fn no_priority() {
    let mut recording = recording(BACKUP);
    recording.entries.retain(|entry| !matches!(entry.what, Observation::Sockets { .. }));
    for segment in segments(&mut recording, ("client", Direction::Out)) {
        segment.options.retain(|option| !matches!(option, MptcpOption::MpPrio { .. }));
    }
    stretch(&mut recording);
    breaks(&recording, &priority::RULE, "client: MP_PRIO of 10.0.1.2: no backup: missing: endpoint 10.0.1.2");
}

#[test]
fn a_connection_that_is_not_reported_as_it_is() {
    let mut other = recording(SIGNAL);
    events(&mut other, "server", EventKind::Created).for_each(|event| event.server_side = false);
    breaks(&other, &connection_events::RULE, "event created: wrong: it names the other side");

    let mut denied = recording(SIGNAL);
    events(&mut denied, "client", EventKind::Established).for_each(|event| event.deny_join_id0 = true);
    breaks(&denied, &connection_events::RULE, "the C flag of the peer's MP_CAPABLE says otherwise");

    let mut silent = recording(SIGNAL);
    forget(&mut silent, "client", EventKind::Established);
    breaks(&silent, &connection_events::RULE, "client: event established: missing");

    let mut twice = recording(SIGNAL);
    let created = twice
        .entries
        .iter()
        .position(|entry| matches!(&entry.what, Observation::Event { event, .. } if event.kind == EventKind::Created));
    let created = created.expect("an event");
    let copy = twice.entries[created].clone();
    twice.entries.insert(created, copy);
    breaks(&twice, &connection_events::RULE, "it was created already");

    let mut early = recording(SIGNAL);
    let closed = early
        .entries
        .iter()
        .position(|entry| matches!(&entry.what, Observation::Event { event, .. } if event.kind == EventKind::Closed));
    let closed = early.entries[closed.expect("an event")].what.clone();
    let joined = early.entries.iter().position(
        |entry| matches!(&entry.what, Observation::Event { event, .. } if event.kind == EventKind::SubEstablished),
    );
    let joined = joined.expect("an event");
    let at = early.entries[joined].at;
    early.entries.insert(joined + 1, Entry { at, what: closed });
    breaks(&early, &connection_events::RULE, "event closed: wrong: nobody had closed the connection");
}

#[test]
fn an_address_or_priority_that_is_not_reported_as_it_is() {
    for (text, side, kind) in [
        (SIGNAL, "client", EventKind::Announced),
        (REMOVE, "client", EventKind::Removed),
        (BACKUP, "server", EventKind::SubPriority),
    ] {
        let mut silent = recording(text);
        forget(&mut silent, side, kind);
        breaks(&silent, &events::RULE, &format!("{side}: event {}: missing", kind.word()));

        let mut other = recording(text);
        for event in self::events(&mut other, side, kind) {
            event.remote_id = event.remote_id.map(|id| id + 1);
            event.backup = event.backup.map(|backup| 1 - backup);
        }
        breaks(&other, &events::RULE, &format!("{side}: event {}: wrong", kind.word()));
    }
}

#[test]
fn a_subflow_that_is_not_reported_as_it_is() {
    for side in ["client", "server"] {
        let mut silent = recording(SIGNAL);
        forget(&mut silent, side, EventKind::SubEstablished);
        breaks(&silent, &subflow_events::RULE, &format!("{side}: event sub_established: missing"));
    }
    let mut backup = recording(SIGNAL);
    events(&mut backup, "client", EventKind::SubEstablished).for_each(|event| event.backup = Some(1));
    breaks(&backup, &subflow_events::RULE, "the peer's MP_JOIN has another backup flag");

    let mut ids = recording(SIGNAL);
    events(&mut ids, "server", EventKind::SubEstablished).for_each(|event| event.local_id = Some(9));
    breaks(&ids, &subflow_events::RULE, "this side's MP_JOIN has another address ID");

    let mut reset = recording(REMOVE);
    events(&mut reset, "client", EventKind::SubClosed).for_each(|event| event.error = Some(104));
    breaks(&reset, &subflow_events::RULE, "no RST was received");
}

#[test]
fn values_that_are_not_shown_as_they_are() {
    for (side, change) in [
        ("add_addr_signal 2", 0),
        ("add_addr_signal_max 2", 1),
        ("add_addr_accepted 2", 2),
        ("add_addr_accepted_max 2", 3),
        ("local_addr_max 1", 4),
        ("endp_laminar_max 1", 5),
    ] {
        let mut recording = recording(REMOVE);
        for entry in &mut recording.entries {
            let Observation::Sockets { info: Some(info), .. } = &mut entry.what else { continue };
            let field = match change {
                0 => &mut info.add_addr_signal,
                1 => &mut info.add_addr_signal_max,
                2 => &mut info.add_addr_accepted,
                3 => &mut info.add_addr_accepted_max,
                4 => info.local_addr_max.as_mut().expect("a field of this kernel"),
                _ => info.endp_laminar_max.as_mut().expect("a field of this kernel"),
            };
            *field += 1;
        }
        breaks(&recording, &shown::RULE, side);
    }
    let mut flags = recording(BACKUP);
    for entry in &mut flags.entries {
        let Observation::Sockets { subflows, .. } = &mut entry.what else { continue };
        for subflow in subflows {
            subflow.flags.toggle(crate::mptcp::SubflowFlags::BKUP_REM);
        }
    }
    breaks(&flags, &shown::RULE, "client: backup of the peer for 10.0.1.2 → 10.0.1.1: wrong");
}
