//! Actions that change a segment within.

use std::fs;
use std::net::IpAddr;

use mptcplab::scenario::model::{Rewrite, RuleAction};
use mptcplab::wire::{AddAddrBody, DssMapping, MptcpOption};

use super::harness::{Harness, Seen, TIMESTAMPS, Tcp, any, ip, only, with_option};

/// What becomes of a segment.
fn treated(action: &RuleAction, segment: &Tcp) -> Seen {
    let mut harness = Harness::with_rule(any(), action.clone());
    let seen = only(&harness.send(0, &segment.frame(0)));
    assert_eq!(harness.effects(), [format!("1 {} → 1", action.word())]);
    let before = only(&Harness::new(Default::default(), Vec::new()).send(0, &segment.frame(0)));
    assert_eq!((seen.sequence, &seen.flags, seen.source), (before.sequence, &before.flags, before.source));
    assert_eq!((seen.options.len(), seen.payload.len()), (before.options.len(), before.payload.len()));
    seen
}

/// The action finds nothing to do: no match.
fn left_alone(action: RuleAction, segment: &Tcp) {
    let mut harness = Harness::with_rule(any(), action);
    let frame = segment.frame(0);
    assert_eq!(harness.send(0, &frame), [(1, frame)]);
    assert_eq!(harness.path.rule_hits("rule"), Some(0));
}

pub fn dss(checksum: Option<u16>) -> MptcpOption {
    let mapping = DssMapping { data_sequence: u64::MAX - 1, wide: true, subflow_sequence: 1, length: 3, checksum };
    MptcpOption::Dss { data_fin: false, data_ack: Some((77, false)), mapping: Some(mapping) }
}

fn join(backup: bool, address_id: u8) -> MptcpOption {
    MptcpOption::MpJoinSyn { backup, address_id, token: 1, nonce: 2 }
}

fn announcement(address: &str, port: Option<u16>) -> MptcpOption {
    let body = AddAddrBody { address: ip(address), port, hmac: Some(0x1122) };
    MptcpOption::AddAddr { echo: false, address_id: 4, body }
}

/// The sum that RFC 8684 section 3.3.1 asks for, over the pseudo header and the payload; 0 if it is right.
fn dss_sum(option: &MptcpOption, payload: &[u8]) -> u16 {
    let MptcpOption::Dss { mapping: Some(mapping), .. } = option else { panic!("no mapping: {option:?}") };
    let mut octets = mapping.data_sequence.to_be_bytes().to_vec();
    octets.extend(mapping.subflow_sequence.to_be_bytes());
    octets.extend(mapping.length.to_be_bytes());
    octets.extend(mapping.checksum.unwrap().to_be_bytes());
    octets.extend(payload);
    octets.resize(octets.len().next_multiple_of(2), 0);
    let sum = octets.chunks(2).fold(0, |sum, pair| sum + u32::from(pair[0]) * 256 + u32::from(pair[1]));
    !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
}

#[test]
fn a_corrupted_byte_is_seen_by_the_dss_checksum_only() {
    for ipv6 in [false, true] {
        let right = !{
            let MptcpOption::Dss { mapping: Some(mapping), .. } = dss(Some(0)) else { panic!() };
            let zero = MptcpOption::Dss { data_fin: false, data_ack: None, mapping: Some(mapping) };
            !dss_sum(&zero, b"abc")
        };
        let segment = Tcp::data(1, b"abc").option(&dss(Some(right))).six(ipv6);
        assert_eq!(dss_sum(&dss(Some(right)), b"abc"), 0);
        // `treated` has checked TCP's checksum.
        let seen = treated(&RuleAction::Corrupt(1), &segment);
        assert_eq!(seen.payload, [b'a', !b'b', b'c']);
        assert_ne!(dss_sum(&seen.mptcp()[0], &seen.payload), 0);
        left_alone(RuleAction::Corrupt(3), &segment);
    }
}

#[test]
fn stripped_options_become_nops() {
    let segment = Tcp { options: [&[4, 2, 1, 1], &TIMESTAMPS[..]].concat(), ..Tcp::syn(9) };
    let capable = MptcpOption::decode(&[30, 4, 0x01, 0x01]);
    let seen = treated(&RuleAction::Strip(None), &segment.clone().option(&capable));
    assert_eq!(seen.mptcp(), []);
    assert_eq!(seen.options, [&segment.options[..], &[1; 4]].concat(), "the others are as they were");
    assert_eq!(seen.timestamps, Some((7, 9)));
    left_alone(RuleAction::Strip(None), &segment);
}

#[test]
fn only_the_option_that_is_named_is_stripped() {
    let both = Tcp::ack(1).option(&dss(None)).option(&MptcpOption::MpPrio { backup: true }).six(true);
    let strip = |word: &str| RuleAction::Strip(Some(word.into()));
    assert_eq!(treated(&strip("mp_prio"), &both).mptcp(), [dss(None)]);
    assert_eq!(treated(&strip("dss"), &both).mptcp(), [MptcpOption::MpPrio { backup: true }]);
    assert_eq!(treated(&RuleAction::Strip(None), &both).mptcp(), []);
    left_alone(strip("data_fin"), &both);
    left_alone(strip("add_addr"), &both);
}

#[test]
fn fields_are_rewritten_each_in_its_place() {
    let to = |option: &str, rewrite: Rewrite| RuleAction::Rewrite(Rewrite { option: option.into(), ..rewrite });
    let none = Rewrite::default;
    let address = |text: &str| -> Option<IpAddr> { Some(ip(text)) };
    let cases = [
        (join(false, 1), to("mp_join_syn", Rewrite { backup: Some(true), ..none() }), join(true, 1)),
        (join(true, 1), to("mp_join_syn", Rewrite { id: Some(9), ..none() }), join(true, 9)),
        (
            announcement("10.0.2.1", Some(5)),
            to("add_addr", Rewrite { address: address("10.0.9.9"), port: Some(6), ..none() }),
            announcement("10.0.9.9", Some(6)),
        ),
        (
            MptcpOption::RemoveAddr { address_ids: vec![1, 2] },
            to("remove_addr", Rewrite { id: Some(7), ..none() }),
            MptcpOption::RemoveAddr { address_ids: vec![7, 2] },
        ),
        (
            MptcpOption::MpPrio { backup: true },
            to("mp_prio", Rewrite { backup: Some(false), ..none() }),
            MptcpOption::MpPrio { backup: false },
        ),
        (
            MptcpOption::MpTcprst { flags: 1, reason: 3 },
            to("mp_tcprst", Rewrite { flags: Some(0), reason: Some(6), ..none() }),
            MptcpOption::MpTcprst { flags: 0, reason: 6 },
        ),
        (
            MptcpOption::decode(&[30, 4, 0x01, 0x01]),
            to("mp_capable", Rewrite { flags: Some(0x81), ..none() }),
            MptcpOption::decode(&[30, 4, 0x01, 0x81]),
        ),
        (dss(Some(6)), to("dss", Rewrite { damage_checksum: true, ..none() }), dss(Some(7))),
    ];
    for (before, action, after) in cases {
        for ipv6 in [false, true] {
            let segment = Tcp::ack(1).option(&before).six(ipv6);
            assert_eq!(treated(&action, &segment).mptcp(), std::slice::from_ref(&after));
            left_alone(action.clone(), &Tcp::ack(1).option(&MptcpOption::MpFail { data_sequence: 1 }));
        }
    }
}

#[test]
fn sequence_numbers_hmacs_and_tokens_are_rewritten() {
    let changed = |option: &MptcpOption, rewrite: Rewrite| {
        let rewrite = Rewrite { option: option.word().into(), ..rewrite };
        treated(&RuleAction::Rewrite(rewrite), &Tcp::ack(1).option(option)).mptcp().remove(0)
    };
    let MptcpOption::Dss { mapping: Some(mapping), data_ack: Some((77, false)), .. } =
        changed(&dss(None), Rewrite { data_sequence_offset: Some(3), ..Rewrite::default() })
    else {
        panic!("no mapping")
    };
    assert_eq!((mapping.data_sequence, mapping.length), (1, 3), "modulo 2^64 (RFC 8684 section 3.3.1)");

    let damage = || Rewrite { damage_hmac: true, ..Rewrite::default() };
    let MptcpOption::AddAddr { body, .. } = changed(&announcement("fd00::1", None), damage()) else { panic!() };
    assert_eq!((body.hmac, body.address), (Some(0x1123), ip("fd00::1")));
    let ack = MptcpOption::MpJoinAck { hmac: "0123456789abcdef0123456789abcdef0123456f".into() };
    assert_eq!(
        changed(&ack, damage()),
        MptcpOption::MpJoinAck { hmac: "0123456789abcdef0123456789abcdef0123456e".into() }
    );
    let token = Rewrite { token: Some(5), ..Rewrite::default() };
    assert_eq!(
        changed(&join(false, 1), token),
        MptcpOption::MpJoinSyn { backup: false, address_id: 1, token: 5, nonce: 2 }
    );
}

#[test]
fn bits_that_nobody_knows_stay() {
    let mut segment = Tcp::ack(1);
    segment.options = vec![30, 3, 0x5e, 1];
    let rewrite = Rewrite { option: "mp_prio".into(), backup: Some(true), ..Rewrite::default() };
    assert_eq!(treated(&RuleAction::Rewrite(rewrite), &segment).options, [30, 3, 0x5f, 1]);
}

#[test]
fn what_does_not_fit_is_left_alone() {
    let segment = Tcp::ack(1).option(&announcement("10.0.2.1", None));
    for rewrite in [
        Rewrite { address: Some(ip("fd00::1")), ..Rewrite::default() },
        Rewrite { port: Some(1), ..Rewrite::default() },
        Rewrite { reason: Some(1), ..Rewrite::default() },
    ] {
        left_alone(RuleAction::Rewrite(Rewrite { option: "add_addr".into(), ..rewrite }), &segment);
    }
}

/// Frames that Linux sent; some of them with checksums that the hardware would have filled in.
pub fn captured() -> Vec<(String, Vec<u8>)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/wire");
    let mut frames = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "hex") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let hex: String = text.lines().filter(|line| !line.starts_with('#')).collect();
        let octet = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let frame = (0..hex.len()).step_by(2).map(octet).collect();
        frames.push((path.file_stem().unwrap().to_string_lossy().into_owned(), frame));
    }
    frames.sort();
    frames
}

#[test]
fn what_linux_sends_is_stripped() {
    let mut stripped = 0;
    for (name, frame) in captured() {
        let mut harness = Harness::with_rule(with_option("dss"), RuleAction::Strip(None));
        let arrived = harness.send(0, &frame);
        if harness.path.rule_hits("rule") == Some(1) {
            assert_eq!(only(&arrived).mptcp(), [], "{name}");
            stripped += 1;
        } else {
            assert_eq!(arrived, [(1, frame)], "{name}");
        }
    }
    assert!(stripped >= 10, "{stripped}");
}
