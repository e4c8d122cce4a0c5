//! Each check on real recordings: unchanged they are right, and one change makes exactly one rule speak.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use proptest::prelude::*;

use crate::mptcp::Side;
use crate::payload::Payload;
use crate::recording::{self, Direction, Observation, PathEffect, Recording};
use crate::reference::consequences::may_follow;
use crate::reference::{Outcome, consult};
use crate::wire::{DssMapping, Head, MptcpOption, Segment, TcpFlags};

/// Fullmesh: five subflows, no checksums, closed in an orderly way. Older than the first bytes of payloads.
const FULLMESH: &str = include_str!("../../../fixtures/recordings/fullmesh-ipv4.jsonl");
/// Checksums, two joins, ADD_ADDR, MP_PRIO, REMOVE_ADDR, DATA_FIN of the client, MP_FASTCLOSE.
const OPTIONS: &str = include_str!("../../../fixtures/recordings/wire-options.jsonl");
/// A filter damages data of the client; MP_FAIL from both sides, and the infinite mapping.
const INFINITE: &str = include_str!("../../../fixtures/recordings/infinite-mapping.jsonl");

fn read(text: &str) -> Recording {
    recording::read(text.as_bytes()).unwrap()
}

/// The rules that a recording breaks, and how often.
fn broken(recording: &Recording) -> Vec<(&'static str, String)> {
    let scenario = recording.header.scenario().unwrap();
    let reference = consult(&scenario, recording);
    reference
        .violations()
        .map(|decision| (decision.rule.name, format!("{}: {}", decision.candidate, decision.because)))
        .collect()
}

/// What a change does to a recording: the names of the rules that it breaks, and how many decisions say so.
fn after(text: &str, change: impl FnOnce(&mut Recording)) -> (BTreeSet<&'static str>, usize) {
    without_consequences("", text, change)
}

/// What a change does to a recording: the names of the rules that it breaks, without those that follow from this one,
/// and how many decisions say so.
fn without_consequences(
    rule: &str,
    text: &str,
    change: impl FnOnce(&mut Recording),
) -> (BTreeSet<&'static str>, usize) {
    let mut recording = read(text);
    assert_eq!(broken(&recording), [], "it breaks a rule unchanged");
    change(&mut recording);
    let broken = broken(&recording);
    let own: Vec<&str> = broken.iter().map(|(name, _)| *name).filter(|name| !may_follow(rule, name)).collect();
    (own.iter().copied().collect(), own.len())
}

/// Checks that a change breaks one of all rules, and once; and perhaps those that follow from it.
#[track_caller]
fn breaks(rule: &str, text: &str, change: impl FnOnce(&mut Recording)) {
    let (names, count) = without_consequences(rule, text, change);
    assert_eq!((names.into_iter().collect::<Vec<_>>(), count), (vec![rule], 1));
}

/// The entries of the segments that a namespace sent, or received.
fn entries(recording: &Recording, of: &str, way: Direction, is_meant: impl Fn(&Segment) -> bool) -> Vec<usize> {
    let all = recording.entries.iter().enumerate().filter_map(|(index, entry)| {
        pick!(&entry.what, Observation::Packet { namespace, direction, segment, .. }
            if namespace.as_str() == of && *direction == way && is_meant(segment) => index)
    });
    all.collect()
}

fn segment(recording: &mut Recording, entry: usize) -> &mut Segment {
    pick!(&mut recording.entries[entry].what, Observation::Packet { segment, .. } => segment).unwrap()
}

/// The first segment that a namespace sent, of those that are meant.
fn sent<'r>(recording: &'r mut Recording, of: &str, is_meant: impl Fn(&Segment) -> bool) -> &'r mut Segment {
    let entry = *entries(recording, of, Direction::Out, is_meant).first().unwrap();
    segment(recording, entry)
}

/// Whether a segment has an option of this kind.
fn has(wanted: fn(&MptcpOption) -> bool) -> impl Fn(&Segment) -> bool {
    move |segment| segment.options.iter().any(wanted)
}

/// Changes the fields of an option of the first segment that a namespace sent with it.
macro_rules! edit {
    ($recording:expr, $of:expr, $shape:pat => $change:expr) => {{
        #[allow(unused_variables, reason = "the shape is also used to find the segment")]
        let is_meant = |segment: &Segment| segment.options.iter().any(|option| matches!(option, $shape));
        for option in &mut sent($recording, $of, is_meant).options {
            if let $shape = option {
                $change;
            }
        }
    }};
}

fn is_mapped(segment: &Segment) -> bool {
    segment.payload > 0
        && segment.options.iter().any(|option| matches!(option, MptcpOption::Dss { mapping: Some(_), .. }))
}

/// Changes the mapping of the n-th segment with data that a namespace sent.
fn remap(recording: &mut Recording, of: &str, nth: usize, change: impl FnOnce(&mut DssMapping)) {
    let entry = entries(recording, of, Direction::Out, is_mapped)[nth];
    let mapping = segment(recording, entry)
        .options
        .iter_mut()
        .find_map(|option| pick!(option, MptcpOption::Dss { mapping: Some(mapping), .. } => mapping));
    change(mapping.unwrap());
}

/// Gives each segment a window of 500, shifted by 7 bits if the SYNs of these sides say so.
fn windows(recording: &mut Recording, scaling: &[&str]) {
    for entry in &mut recording.entries {
        let Observation::Packet { namespace, direction, segment, .. } = &mut entry.what else { continue };
        segment.window = Some(500);
        let sender = match (namespace.as_str(), *direction) {
            ("client", Direction::Out) | ("server", Direction::In) => "client",
            _ => "server",
        };
        let scales = segment.flags.contains(TcpFlags::SYN) && scaling.contains(&sender);
        segment.window_scale = scales.then_some(7);
    }
}

#[test]
fn receive_window() {
    let both: &[&str] = &["client", "server"];
    for text in [FULLMESH, OPTIONS] {
        assert_eq!(after(text, |it| windows(it, both)).0, [].into());
    }
    let ack = |it: &mut Recording, window| {
        let acks = entries(
            it,
            "server",
            Direction::Out,
            has(|option| matches!(option, MptcpOption::Dss { data_ack: Some(_), .. })),
        );
        let nth = acks[acks.len() / 2];
        segment(it, nth).window = Some(window);
    };
    let closed = |it: &mut Recording, scaling: &[&str]| {
        windows(it, scaling);
        ack(it, 0);
    };
    breaks("receive-window", FULLMESH, |it| closed(it, both));
    // Without the option in both SYNs nothing is shifted; the same window may be large enough then.
    breaks("receive-window", FULLMESH, |it| closed(it, &["client"]));
}

#[test]
fn mp_capable() {
    breaks("mp-capable", OPTIONS, |it| edit!(it, "client", MptcpOption::MpCapable { version, .. } => *version = 0));
    breaks("mp-capable", OPTIONS, |it| edit!(it, "client", MptcpOption::MpCapable { flags, .. } => *flags |= 0x40));
    breaks("mp-capable", OPTIONS, |it| edit!(it, "client", MptcpOption::MpCapable { flags, .. } => *flags &= 0xfe));
    breaks("mp-capable", OPTIONS, |it| edit!(it, "client", MptcpOption::MpCapable { flags, .. } => *flags |= 0x20));
    // The third ACK then contradicts it.
    let required = |it: &mut Recording| edit!(it, "client", MptcpOption::MpCapable { flags, .. } => *flags |= 0x80);
    assert_eq!(without_consequences("mp-capable", FULLMESH, required).0, ["mp-capable"].into());
    let third_ack = |it: &mut Recording| edit!(it, "client", MptcpOption::MpCapable { flags, receiver_key: Some(_), .. } => *flags = 1);
    breaks("mp-capable", OPTIONS, third_ack);
    let key =
        |it: &mut Recording| edit!(it, "client", MptcpOption::MpCapable { receiver_key: Some(key), .. } => *key ^= 1);
    breaks("mp-capable", OPTIONS, key);
    let without = |it: &mut Recording| {
        sent(it, "client", has(|option| matches!(option, MptcpOption::MpCapable { receiver_key: Some(_), .. })))
            .options
            .clear();
    };
    breaks("mp-capable", OPTIONS, without);
}

#[test]
fn token() {
    let of_join = |it: &mut Recording| edit!(it, "client", MptcpOption::MpJoinSyn { token, .. } => *token ^= 1);
    breaks("token", OPTIONS, of_join);
    breaks("token", OPTIONS, |it| {
        let connection = it
            .entries
            .iter_mut()
            .find_map(|entry| pick!(&mut entry.what, Observation::Connected { connection } => connection));
        connection.unwrap().client_token = Some(7);
    });
}

#[test]
fn join_hmac() {
    breaks("join-hmac", OPTIONS, |it| edit!(it, "server", MptcpOption::MpJoinSynAck { hmac, .. } => *hmac ^= 1));
    breaks(
        "join-hmac",
        OPTIONS,
        |it| edit!(it, "client", MptcpOption::MpJoinAck { hmac } => hmac.replace_range(..1, "x")),
    );
}

#[test]
fn a_syn_ack_with_a_wrong_hmac_gets_no_third_ack() {
    breaks("join-hmac", OPTIONS, |it| {
        let entry =
            entries(it, "client", Direction::In, has(|option| matches!(option, MptcpOption::MpJoinSynAck { .. })))[0];
        for option in &mut segment(it, entry).options {
            if let MptcpOption::MpJoinSynAck { hmac, .. } = option {
                *hmac ^= 1;
            }
        }
    });
}

#[test]
fn join_handshake() {
    let is_ack = || has(|option| matches!(option, MptcpOption::MpJoinAck { .. }));
    breaks("join-handshake", OPTIONS, |it| sent(it, "client", is_ack()).options.clear());
    let (names, _) = without_consequences("join-handshake", OPTIONS, |it| {
        // The server never got the third ACK.
        for entry in entries(it, "server", Direction::In, is_ack()) {
            segment(it, entry).options.clear();
        }
    });
    assert_eq!(names, ["join-handshake"].into());
}

#[test]
fn nothing_follows_a_third_ack_with_a_wrong_hmac() {
    let (names, _) = without_consequences("join-handshake", OPTIONS, |it| {
        for entry in entries(it, "server", Direction::In, has(|option| matches!(option, MptcpOption::MpJoinAck { .. })))
        {
            segment(it, entry).options = vec![MptcpOption::MpJoinAck { hmac: "00".repeat(20) }];
        }
    });
    assert_eq!(names, ["join-handshake"].into());
}

#[test]
fn no_data_before_the_fourth_ack() {
    breaks("join-handshake", FULLMESH, |it| {
        let is_ack = has(|option| matches!(option, MptcpOption::MpJoinAck { .. }));
        let join = sent(it, "client", &is_ack).source;
        let mut options = sent(it, "client", |segment| segment.source == join && is_mapped(segment)).options.clone();
        let ack = sent(it, "client", is_ack);
        ack.payload = 1;
        for option in &mut options {
            if let MptcpOption::Dss { data_ack, .. } = option {
                *data_ack = None;
            }
        }
        ack.options.append(&mut options);
    });
}

#[test]
fn add_addr_hmac_and_echo() {
    let hmac = |it: &mut Recording| {
        edit!(it, "server", MptcpOption::AddAddr { echo: false, body, .. } => body.hmac = body.hmac.map(|hmac| hmac ^ 1));
    };
    breaks("add-addr-hmac", OPTIONS, hmac);
    let echo = |it: &mut Recording| edit!(it, "client", MptcpOption::AddAddr { echo: true, address_id, .. } => *address_id += 1);
    breaks("echo-repeats-announcement", OPTIONS, echo);
    let port =
        |it: &mut Recording| edit!(it, "client", MptcpOption::AddAddr { echo: true, body, .. } => body.port = Some(1));
    breaks("echo-repeats-announcement", OPTIONS, port);
}

#[test]
fn mapping() {
    breaks("mapping", FULLMESH, |it| remap(it, "client", 1, |mapping| mapping.subflow_sequence += 1));
    breaks("mapping", FULLMESH, |it| remap(it, "client", 1, |mapping| mapping.length = 1));
    breaks("mapping", FULLMESH, |it| remap(it, "server", 0, |mapping| mapping.data_sequence ^= 1 << 60));
    // Behind the first byte: the data after it is there, and what should have been mapped isn't.
    breaks("mapping", FULLMESH, |it| {
        let mut wanted = None;
        for entry in entries(it, "server", Direction::Out, is_mapped).split_off(1) {
            let segment = segment(it, entry);
            let source = segment.source;
            for option in &mut segment.options {
                let MptcpOption::Dss { mapping: Some(mapping), .. } = option else { continue };
                if *wanted.get_or_insert((source, mapping.subflow_sequence)) == (source, mapping.subflow_sequence) {
                    mapping.data_sequence = mapping.data_sequence.wrapping_add(7);
                }
            }
        }
    });
}

#[test]
fn a_byte_of_a_subflow_has_one_data_sequence_number() {
    breaks("mapping", FULLMESH, |it| {
        let first = entries(it, "client", Direction::Out, is_mapped)[0];
        let again = it.entries[first].clone();
        it.entries.insert(first + 1, again);
        remap(it, "client", 1, |mapping| mapping.data_sequence = mapping.data_sequence.wrapping_add(1));
    });
}

#[test]
fn short_data_sequence_numbers_are_as_good() {
    let (names, _) = after(FULLMESH, |it| {
        for entry in &mut it.entries {
            let Observation::Packet { segment, .. } = &mut entry.what else { continue };
            for option in &mut segment.options {
                let MptcpOption::Dss { mapping: Some(mapping), .. } = option else { continue };
                mapping.data_sequence &= 0xffff_ffff;
                mapping.wide = false;
            }
        }
    });
    assert_eq!(names, BTreeSet::new());
}

#[test]
fn payload() {
    breaks("payload", OPTIONS, |it| {
        let data = sent(it, "server", is_mapped);
        data.head = Head::of(&data.head.bytes().iter().map(|byte| byte ^ 1).collect::<Vec<_>>());
    });
}

#[test]
fn a_filter_that_damages_what_is_sent_is_named() {
    let mut recording = read(INFINITE);
    let data = entries(&recording, "client", Direction::Out, is_mapped)[0];
    segment(&mut recording, data).head = Head::of(b"damaged!");
    let scenario = recording.header.scenario().unwrap();
    let reference = consult(&scenario, &recording);
    assert_eq!(reference.violations().count(), 0);
    let payload = reference.decisions.iter().filter(|decision| decision.rule.name == "payload");
    let named = payload.filter(|decision| decision.outcome == Outcome::NotDone);
    let because: Vec<_> = named.map(|decision| decision.because.as_str()).collect();
    assert!(
        matches!(because[..], [because] if because.ends_with("the filter `damage` changes what is sent")),
        "{because:?}"
    );
}

/// The same bytes without MPTCP.
fn plain(recording: &mut Recording) {
    let ends = |end: SocketAddr| end.port() == 8080 || end.ip().to_string() == "10.0.1.2";
    // The additional subflows go, and so do the implicit endpoints of their addresses.
    recording.entries.retain_mut(|entry| {
        let Observation::Packet { segment, .. } = &mut entry.what else {
            return !matches!(entry.what, Observation::Endpoints { .. });
        };
        segment.options.clear();
        ends(segment.source) && ends(segment.destination)
    });
    for entry in &mut recording.entries {
        if let Observation::Connected { connection } = &mut entry.what {
            (connection.client_token, connection.server_token) = (None, None);
        }
    }
}

#[test]
fn plain_tcp_has_the_same_bytes_and_no_options() {
    assert_eq!(after(OPTIONS, plain).1, 0);
    breaks("payload", OPTIONS, |it| {
        plain(it);
        sent(it, "client", |segment| segment.payload > 100).head = Head::of(b"wrong");
    });
    breaks("fallback", OPTIONS, |it| {
        plain(it);
        let option = MptcpOption::Dss { data_fin: false, data_ack: None, mapping: None };
        sent(it, "client", |segment| segment.payload > 100).options.push(option);
    });
}

#[test]
fn dss_checksum() {
    let change = |mapping: &mut DssMapping| mapping.checksum = mapping.checksum.map(|checksum| checksum ^ 1);
    breaks("dss-checksum", OPTIONS, |it| remap(it, "server", 1, change));
    breaks("dss-checksum", OPTIONS, |it| remap(it, "client", 0, |mapping| mapping.checksum = None));
    breaks("dss-checksum", FULLMESH, |it| remap(it, "client", 0, |mapping| mapping.checksum = Some(0)));
}

#[test]
fn checksums_are_those_of_rfc_1071() {
    // A connection named `main`: one byte from the server, as the kernel mapped it.
    let mut byte = [0];
    Payload::of("main", Side::Server).fill(0, &mut byte);
    let recording = read(OPTIONS);
    let mapped = entries(&recording, "server", Direction::Out, is_mapped);
    let first = pick!(&recording.entries[mapped[0]].what, Observation::Packet { segment, .. } => segment).unwrap();
    assert_eq!((first.payload, first.head.bytes()), (1, &byte[..]));
}

#[test]
fn data_ack() {
    let ack = |it: &mut Recording, nth: usize, change: fn(u64) -> u64| {
        let has_ack = |segment: &Segment| {
            segment.options.iter().any(|option| matches!(option, MptcpOption::Dss { data_ack: Some(_), .. }))
        };
        let all = entries(it, "server", Direction::Out, has_ack);
        for option in &mut segment(it, all[nth.min(all.len() - 1)]).options {
            if let MptcpOption::Dss { data_ack: Some((ack, _)), .. } = option {
                *ack = change(*ack);
            }
        }
    };
    breaks("data-ack", FULLMESH, |it| ack(it, 0, |ack| ack.wrapping_add(1)));
    breaks("data-ack", FULLMESH, |it| ack(it, usize::MAX, |ack| ack.wrapping_sub(20_000)));
    breaks("data-ack", FULLMESH, |it| ack(it, 0, |ack| ack ^ 1 << 62));
    // A path rule changes what arrives: the kernel takes bytes without a mapping for those that come next.
    let behind_a_rule = |it: &mut Recording, action: &str, to_port: u16| {
        ack(it, 0, |ack| ack.wrapping_add(1));
        let mut changed = sent(it, "client", is_mapped).clone();
        changed.destination.set_port(to_port);
        let what = PathEffect::Rule { rule: "two become one".into(), action: action.into(), made: Vec::new() };
        let (link, sender) = ("link1".into(), "client".into());
        let segment = Some(Box::new(changed));
        let what = Observation::Path { link, sender, number: 1, after: 0, part: 0, parts: Vec::new(), what, segment };
        it.entries.push(recording::Entry { at: 0, what });
    };
    assert_eq!(after(FULLMESH, |it| behind_a_rule(it, "merge", 8080)).0, [].into());
    breaks("data-ack", FULLMESH, |it| behind_a_rule(it, "delay", 8080));
    breaks("data-ack", FULLMESH, |it| behind_a_rule(it, "merge", 9));
}

#[test]
fn data_that_was_lost_on_the_way_is_not_acknowledged() {
    let (names, _) = after(FULLMESH, |it| {
        let data = entries(it, "server", Direction::In, |segment| segment.payload > 100)[0];
        it.entries.remove(data);
    });
    assert_eq!(names, ["data-ack"].into());
}

#[test]
fn data_fin() {
    let fin = |it: &mut Recording, nth: usize, change: fn(&mut DssMapping)| {
        let has_fin = has(|option| matches!(option, MptcpOption::Dss { data_fin: true, .. }));
        let entry = entries(it, "client", Direction::Out, has_fin)[nth];
        for option in &mut segment(it, entry).options {
            if let MptcpOption::Dss { mapping: Some(mapping), .. } = option {
                change(mapping);
            }
        }
    };
    breaks("data-fin", FULLMESH, |it| {
        fin(it, 1, |mapping| mapping.data_sequence = mapping.data_sequence.wrapping_add(1));
    });
    breaks("data-fin", FULLMESH, |it| fin(it, 0, |mapping| mapping.subflow_sequence = 5));
    breaks("data-fin", FULLMESH, |it| {
        edit!(it, "client", MptcpOption::Dss { data_fin: true, mapping, .. } => *mapping = None);
    });
}

#[test]
fn option_form() {
    let strange = || MptcpOption::Malformed { subtype: Some(12), bytes: "1e03c0".to_owned() };
    breaks("option-form", FULLMESH, |it| sent(it, "client", is_mapped).options.push(strange()));
    breaks("option-form", FULLMESH, |it| sent(it, "client", is_mapped).malformed = true);
    breaks(
        "option-form",
        OPTIONS,
        |it| edit!(it, "client", MptcpOption::RemoveAddr { address_ids } => *address_ids = vec![1, 1]),
    );
    breaks("option-form", OPTIONS, |it| {
        sent(it, "client", has(|option| matches!(option, MptcpOption::MpTcprst { .. }))).flags.remove(TcpFlags::RST);
    });
}

#[test]
fn fastclose_key() {
    breaks(
        "fastclose-key",
        OPTIONS,
        |it| edit!(it, "client", MptcpOption::MpFastclose { receiver_key } => *receiver_key ^= 1),
    );
}

#[test]
fn prio_on_live_subflow() {
    breaks("prio-on-live-subflow", OPTIONS, |it| {
        let reset = entries(it, "client", Direction::Out, |segment| segment.flags.contains(TcpFlags::RST))[0];
        let mut late = it.entries[reset].clone();
        if let Observation::Packet { segment, .. } = &mut late.what {
            segment.flags = TcpFlags::ACK;
            segment.options = vec![MptcpOption::MpPrio { backup: true }];
        }
        it.entries.insert(reset + 1, late);
    });
}

#[test]
fn fail_needs_checksums() {
    let fail = MptcpOption::MpFail { data_sequence: 7 };
    breaks("fail-needs-checksums", FULLMESH, |it| sent(it, "client", is_mapped).options.push(fail));
}

#[test]
fn fallback() {
    // Nothing asks for the infinite mapping any more.
    breaks("fallback", INFINITE, |it| {
        for entry in entries(it, "client", Direction::In, |_| true) {
            segment(it, entry).options.retain(|option| !matches!(option, MptcpOption::MpFail { .. }));
        }
    });
    // With additional subflows there is none.
    let (names, _) = after(FULLMESH, |it| sent(it, "client", is_mapped).options.clear());
    assert_eq!(names, ["fallback"].into());
    // An option afterwards.
    breaks("fallback", INFINITE, |it| {
        let plain = *entries(it, "client", Direction::Out, |segment| segment.payload > 0).last().unwrap();
        segment(it, plain).options.push(MptcpOption::Dss { data_fin: false, data_ack: None, mapping: None });
    });
}

#[test]
fn a_recording_without_all_segments_decides_nothing() {
    let (names, _) = after(OPTIONS, |it| {
        edit!(it, "client", MptcpOption::MpFastclose { receiver_key } => *receiver_key ^= 1);
        let what =
            Observation::Lost { namespace: "client".to_owned(), what: recording::LostWhat::Packets, count: None };
        it.entries.insert(0, recording::Entry { at: 0, what });
    });
    assert_eq!(names, BTreeSet::new());
}

/// Damages a segment in some way.
fn damage(segment: &mut Segment, how: u8, value: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "any value will do")]
    let short = value as u32;
    match how {
        0 => segment.sequence = short,
        1 => segment.payload = short,
        2 => segment.options.clear(),
        3 => segment.flags = TcpFlags::from_bits_retain(how ^ segment.flags.bits()),
        4 => segment.head = Head::of(&value.to_be_bytes()),
        5 => segment.acknowledgment = short,
        _ => {
            for option in &mut segment.options {
                if let MptcpOption::Dss { data_ack, mapping, .. } = option {
                    *data_ack = Some((value, value.is_multiple_of(2)));
                    if let Some(mapping) = mapping {
                        mapping.data_sequence = mapping.data_sequence.wrapping_add(value >> (how % 64));
                        mapping.subflow_sequence = mapping.subflow_sequence.wrapping_add(short >> (how % 32));
                        mapping.length = u16::try_from(short & 0xffff).unwrap_or(0);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_recording_panics(changes in prop::collection::vec((any::<u16>(), any::<u8>(), any::<u64>()), 0..40), keep in any::<u16>()) {
        let mut recording = read(OPTIONS);
        for (entry, how, value) in changes {
            let entry = usize::from(entry) % recording.entries.len();
            match how {
                250.. => drop(recording.entries.remove(entry)),
                240..250 => recording.entries.swap(entry, 0),
                _ => if let Observation::Packet { segment, .. } = &mut recording.entries[entry].what {
                    damage(segment, how % 80, value);
                }
            }
        }
        recording.entries.truncate(usize::from(keep).max(10));
        consult(&recording.header.scenario().unwrap(), &recording);
    }
}
