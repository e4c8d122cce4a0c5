use super::super::Style;
use super::super::example::{
    CLIENT, SERVER, capable, crossing, dss, entry, event, lost, on, recording, recording_of, segment,
};
use super::story;
use crate::mptcp::{EventKind, PmEvent};
use crate::plan::example;
use crate::recording::{Direction, Entry, Moment, Observation, PathEffect, PathTotals, StepOutcome};
use crate::scenario::model::Namespace;
use crate::wire::{IcmpError, MptcpOption, Segment, TcpFlags};

const UNICODE: Style = Style { colour: false, unicode: true };

#[test]
fn the_story_of_a_run() {
    insta::assert_snapshot!(story(&example::scenario(), &recording(), UNICODE));
}

#[test]
fn the_story_in_ascii() {
    let text = story(&example::scenario(), &recording(), Style::default());
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn the_story_in_colour() {
    let text = story(&example::scenario(), &recording(), Style { colour: true, unicode: true });
    assert_eq!(anstream::adapter::strip_str(&text).to_string(), story(&example::scenario(), &recording(), UNICODE));
    insta::assert_snapshot!(text.replace('\u{1b}', "ESC"));
}

/// One is reported by a router, over another one; the other one by a path, which has no lane.
#[test]
fn icmp_errors_are_arrows() {
    let mut scenario = example::scenario();
    scenario.world.namespaces.insert(1, Namespace::new("router"));
    let icmp = |at, namespace: &str, direction, source: &str| {
        let error = Box::new(IcmpError {
            source: source.parse().unwrap(),
            destination: "10.0.1.2".parse().unwrap(),
            kind: 3,
            code: 4,
            mtu: Some(1400),
            about: Some((CLIENT.parse().unwrap(), SERVER.parse().unwrap())),
        });
        entry(at, Observation::Icmp { namespace: namespace.into(), device: "eth1".into(), direction, error })
    };
    let entries = vec![
        icmp(100, "server", Direction::Out, "10.0.1.1"),
        icmp(110, "router", Direction::In, "10.0.1.1"),
        icmp(120, "router", Direction::Out, "10.0.1.1"),
        icmp(130, "client", Direction::In, "10.0.1.1"),
        icmp(200, "client", Direction::In, "10.0.9.9"),
        // This one gets lost.
        icmp(300, "server", Direction::Out, "10.0.1.1"),
        entry(400, Observation::Ended),
    ];
    insta::assert_snapshot!(story(&scenario, &recording_of(entries), UNICODE));
}

#[test]
fn a_segment_across_a_router_is_one_arrow() {
    let mut scenario = example::scenario();
    scenario.world.namespaces.insert(1, Namespace::new("router"));
    let link = |name, left, right| example::link(name, (left, "right", &[]), (right, "eth1", &[]));
    scenario.world.links = vec![link("lan", "client", "router"), link("wan", "router", "server")];
    let to = |segment: &Segment| {
        [("client", Direction::Out), ("router", Direction::In), ("router", Direction::Out)].map(
            |(namespace, direction)| {
                on(100, namespace, if direction == Direction::Out { "right" } else { "eth1" }, direction, segment)
            },
        )
    };
    let syn = segment(CLIENT, SERVER, TcpFlags::SYN, capable(None));
    let stripped = segment(CLIENT, SERVER, TcpFlags::SYN, Vec::new());
    let mut entries = to(&syn)[..2].to_vec();
    entries.push(on(200, "router", "right", Direction::Out, &stripped));
    entries.push(on(210, "server", "eth1", Direction::In, &stripped));
    entries.push(on(
        300,
        "server",
        "eth1",
        Direction::Out,
        &segment(SERVER, CLIENT, TcpFlags::SYN | TcpFlags::ACK, Vec::new()),
    ));
    // Lost behind the router.
    let late = segment("10.0.1.2:41001", SERVER, TcpFlags::SYN, capable(None));
    entries.extend(to(&late));
    entries.push(entry(400, Observation::Ended));
    insta::assert_snapshot!(story(&scenario, &recording_of(entries), UNICODE));
}

#[test]
fn a_recording_that_was_cut_off_says_so() {
    let text = story(&example::scenario(), &recording_of(Vec::new()), UNICODE);
    assert!(text.contains("it was cut off"), "{text}");
}

#[test]
fn foreign_text_does_not_reach_the_terminal_as_it_is() {
    let line = "\u{1b}]0;title\u{7}".to_owned();
    let entries = vec![entry(1, Observation::KernelLog { line }), entry(2, Observation::Ended)];
    assert!(!story(&example::scenario(), &recording_of(entries), UNICODE).contains('\u{1b}'));
}

#[test]
fn options_in_words() {
    let fastclose = vec![MptcpOption::MpFastclose { receiver_key: 1 }, MptcpOption::MpTcprst { flags: 0, reason: 1 }];
    let reset = segment(CLIENT, SERVER, TcpFlags::RST | TcpFlags::ACK, fastclose);
    assert_eq!(super::words::segment_words(&reset), "RST MP_FASTCLOSE, MP_TCPRST reason 1 (MPTCP-specific error)");
}

/// What paths did stands at the segments that they did it to, also where only data was on its way.
#[test]
fn what_paths_did_is_told_where_they_did_it() {
    let rule = |rule: &str, action: &str, made: Vec<Segment>| PathEffect::Rule {
        rule: rule.into(),
        action: action.into(),
        made,
    };
    let effect = |at: u64, number: u64, what: PathEffect, segment: &Segment| {
        entry(
            at,
            Observation::Path {
                link: "wifi".into(),
                sender: "client".into(),
                number,
                after: 0,
                part: 0,
                parts: Vec::new(),
                what,
                segment: Some(Box::new(segment.clone())),
            },
        )
    };
    let syn = segment(CLIENT, SERVER, TcpFlags::SYN, capable(None));
    let stripped = segment(CLIENT, SERVER, TcpFlags::SYN, Vec::new());
    let data = Segment { payload: 1000, ..segment(CLIENT, SERVER, TcpFlags::ACK, dss(false, 1000)) };
    let outside = Segment { source: "192.0.2.1:5000".parse().unwrap(), ..syn.clone() };
    let mut entries = crossing(100, "client", "server", &stripped).to_vec();
    if let Some(Observation::Packet { segment, .. }) = entries.first_mut().map(|entry| &mut entry.what) {
        *segment = syn.clone();
    }
    entries.insert(1, effect(100, 1, rule("strip", "strip", vec![stripped]), &syn));
    entries.extend(lost(200, "client", &data));
    entries.push(effect(200, 2, rule("hole", "drop", Vec::new()), &data));
    // The same once more: this one is lost by chance, which is counted only.
    entries.extend(lost(300, "client", &data));
    entries.push(effect(300, 3, PathEffect::Lost, &data));
    let translated = crossing(400, "client", "server", &syn);
    entries.push(translated[0].clone());
    entries.push(effect(400, 4, rule("nat", "nat", vec![outside.clone()]), &syn));
    entries.push(crossing(400, "client", "server", &outside)[1].clone());
    let totals = PathTotals { entered: 4, lost: 1, dropped: 1, ..PathTotals::default() };
    let totals = Box::new(totals);
    let (link, sender) = ("wifi".to_owned(), "client".to_owned());
    entries.push(entry(500, Observation::PathTotals { link, sender, moment: Moment::End, totals }));
    entries.push(entry(600, Observation::Ended));
    insta::assert_snapshot!(story(&example::scenario(), &recording_of(entries), UNICODE));
}

fn listener() -> PmEvent {
    PmEvent {
        local: Some("0.0.0.0".parse().unwrap()),
        local_port: Some(8080),
        ..PmEvent::new(EventKind::ListenerCreated)
    }
}

fn of_main(kind: EventKind) -> PmEvent {
    PmEvent {
        token: Some(0x51),
        local: Some("10.0.1.1".parse().unwrap()),
        local_port: Some(8080),
        remote: Some("10.0.1.2".parse().unwrap()),
        remote_port: Some(41000),
        ..PmEvent::new(kind)
    }
}

fn handshake() -> Vec<Entry> {
    let ack = TcpFlags::ACK;
    let mut entries =
        crossing(100, "client", "server", &segment(CLIENT, SERVER, TcpFlags::SYN, capable(None))).to_vec();
    entries.extend(crossing(200, "server", "client", &segment(SERVER, CLIENT, TcpFlags::SYN | ack, capable(Some(1)))));
    entries.extend(crossing(300, "client", "server", &segment(CLIENT, SERVER, ack, capable(Some(1)))));
    entries
}

/// Events are read late, all at once. Each stands behind what it follows, and its time is a bound.
#[test]
fn events_stand_where_they_happened() {
    let mut entries = handshake();
    entries.extend(crossing(400, "client", "server", &segment(CLIENT, SERVER, TcpFlags::ACK, dss(true, 1))));
    for (at, event_) in
        [listener(), of_main(EventKind::Created), of_main(EventKind::Established), of_main(EventKind::Closed)]
            .into_iter()
            .zip(500..)
            .map(|(event, at)| (at, event))
    {
        entries.push(event(at, "server", event_));
    }
    entries.push(entry(600, Observation::Ended));
    let text = story(&example::scenario(), &recording_of(entries), UNICODE);
    let order: Vec<&str> =
        ["listener_created", "SYN MP_", "SYN/ACK", "  ACK MP_", ": created", "established", "DATA_FIN", "closed"]
            .to_vec();
    let places: Vec<_> = order.iter().map(|word| text.find(word).unwrap_or_else(|| panic!("{word}: {text}"))).collect();
    assert!(places.is_sorted(), "{text}");
    assert!(text.contains("≤0.100") && text.contains("≤0.501") && text.contains("≤0.503"), "{text}");
}

/// What the tear-down sends and nobody receives is not lost.
#[test]
fn the_story_ends_with_the_step_that_failed() {
    let mut entries = handshake();
    let outcome = StepOutcome::TimedOut(crate::recording::Timeout::in_words("3 subflows", "1"));
    entries.push(entry(400, Observation::StepFinished { step: 1, outcome }));
    entries.extend(lost(500, "client", &segment(CLIENT, SERVER, TcpFlags::ACK, dss(true, 1))));
    entries.push(event(510, "server", of_main(EventKind::Closed)));
    entries.push(entry(600, Observation::Ended));
    let text = story(&example::scenario(), &recording_of(entries), UNICODE);
    assert!(!text.contains("DATA_FIN") && !text.contains("never arrived") && !text.contains("closed"), "{text}");
    assert!(text.contains("the story ends with the step that failed"), "{text}");
}

#[test]
fn what_a_path_still_has_is_not_lost() {
    let mut entries = lost(100, "client", &segment(CLIENT, SERVER, TcpFlags::SYN, capable(None))).to_vec();
    let totals = PathTotals { entered: 1, ..PathTotals::default() };
    let totals = Box::new(totals);
    let (link, sender) = ("wifi".to_owned(), "client".to_owned());
    entries.push(entry(500, Observation::PathTotals { link, sender, moment: Moment::End, totals }));
    entries.push(entry(600, Observation::Ended));
    let text = story(&example::scenario(), &recording_of(entries), UNICODE);
    assert!(text.contains("still in flight at the end") && !text.contains('✗'), "{text}");
}

#[test]
fn retransmissions_tell_how_long_they_went_on() {
    let syn = segment(CLIENT, SERVER, TcpFlags::SYN, capable(None));
    let mut entries = lost(100, "client", &syn).to_vec();
    entries.extend(lost(1_000_100, "client", &syn));
    entries.extend(lost(3_000_100, "client", &syn));
    entries.push(entry(3_100_000, Observation::Ended));
    let text = story(&example::scenario(), &recording_of(entries), UNICODE);
    assert!(text.contains("×3 over 3.0 s"), "{text}");
}

/// A path splits a segment with signalling: its parts arrive, and nothing is lost.
#[test]
fn what_arrives_in_parts_is_not_lost() {
    let fin = Segment { payload: 20, ..segment(CLIENT, SERVER, TcpFlags::ACK, dss(true, 20)) };
    let parts = [0, 10].map(|offset| Segment { payload: 10, sequence: 1 + offset, ..fin.clone() });
    let mut entries = lost(100, "client", &fin).to_vec();
    entries.push(entry(
        100,
        Observation::Path {
            link: "wifi".into(),
            sender: "client".into(),
            number: 1,
            after: 0,
            part: 0,
            parts: vec![1],
            what: PathEffect::Rule { rule: "small".into(), action: "split".into(), made: parts.to_vec() },
            segment: Some(Box::new(fin)),
        },
    ));
    entries.extend(parts.iter().map(|part| on(110, "server", "eth1", Direction::In, part)));
    entries.push(entry(200, Observation::Ended));
    let text = story(&example::scenario(), &recording_of(entries), UNICODE);
    assert!(text.contains("├────────────▶│  DATA_FIN (split into 2 segments by rule “small” of wifi)  10"), "{text}");
}

/// The source address says one link, the route another one.
#[test]
fn a_link_that_the_address_does_not_tell_is_told() {
    let join = vec![MptcpOption::MpJoinSyn { backup: false, address_id: 1, token: 7, nonce: 8 }];
    let mut entries =
        crossing(100, "client", "server", &segment("10.0.2.2:42000", SERVER, TcpFlags::SYN, join)).to_vec();
    entries.extend(handshake().into_iter().take(2));
    entries.push(entry(200, Observation::Ended));
    let text = story(&example::scenario(), &recording_of(entries), UNICODE);
    assert!(text.contains("10.0.2.2:42000 → 10.0.1.1:8080 by eth1 (wifi)\n"), "{text}");
    assert!(text.contains("10.0.1.2:41000 → 10.0.1.1:8080 by eth1\n"), "{text}");
    let mut alone = example::scenario();
    alone.world.links.truncate(1);
    let text = story(&alone, &recording_of(handshake()), UNICODE);
    assert!(text.contains("10.0.1.2:41000 → 10.0.1.1:8080\n"), "there is no other device: {text}");
}
