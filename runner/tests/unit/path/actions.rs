//! Every action of the language, and every field that it can rewrite, with what arrives on the far side: read by smoltcp,
//! options as octets that were written down by hand from RFC 8684. A word of the language, or a variant of the type,
//! that has no row here doesn't get through.

use std::collections::BTreeSet;
use std::time::Duration;

use mptcplab::scenario::model::{Injected, Injection, PacketPattern, Rewrite, RuleAction};
use serde_json::Value;

use super::harness::{Arrived, Harness, MS, Seen, TIMESTAMPS, Tcp, any, ip};

/// A mapping of three bytes with a DATA_ACK, padded (RFC 8684 section 3.3), then MP_PRIO with the B bit (section 3.3.8).
const BOTH: &str = "1e16200d0000004dfffffffffffffffe0000000100030101 1e035101";

/// What is sent: two segments that follow each other.
fn traffic(ipv6: bool) -> [Tcp; 2] {
    [(100, b"abc"), (103, b"def")].map(|(sequence, payload)| {
        let options = [&TIMESTAMPS[..], &octets(BOTH)].concat();
        Tcp { options, ..Tcp::data(sequence, payload) }.six(ipv6)
    })
}

fn octets(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u32> = hexadecimal.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

fn outside(ipv6: bool) -> &'static str {
    if ipv6 { "fd00:1::99" } else { "10.0.1.99" }
}

/// The word of the language; each variant has one, or the compiler says so.
fn word(action: &RuleAction) -> &'static str {
    match action {
        RuleAction::Drop => "drop",
        RuleAction::Delay(_) => "delay",
        RuleAction::Duplicate => "duplicate",
        RuleAction::Hold => "hold",
        RuleAction::Corrupt { .. } => "corrupt",
        RuleAction::Strip(None) => "strip_mptcp",
        RuleAction::Strip(Some(_)) => "strip",
        RuleAction::Rewrite(_) => "rewrite",
        RuleAction::Nat { .. } => "nat",
        RuleAction::Inject(Injection { what: Injected::Reset, .. }) => "inject reset",
        RuleAction::Inject(Injection { what: Injected::Fin, .. }) => "inject fin",
        RuleAction::Inject(Injection { what: Injected::AddAddr { .. }, .. }) => "inject add_addr",
        RuleAction::Split(_) => "split",
        RuleAction::Merge(_) => "merge",
    }
}

/// Each action with what arrives: after how many milliseconds, who says it to whom, flags, sequence number, payload, and
/// the options behind the timestamps.
fn rows(ipv6: bool) -> Vec<(RuleAction, Vec<&'static str>)> {
    const FIRST: &str = "0 client > server PA 100 abc BOTH";
    const SECOND: &str = "0 client > server PA 103 def BOTH";
    let no_backup = Rewrite { option: "mp_prio".into(), backup: Some(false), ..Rewrite::default() };
    let forged = Injected::AddAddr { id: 6, address: ip("10.9.9.9"), port: None };
    let inject = |forward: bool, what: Injected| RuleAction::Inject(Injection { forward, what });
    vec![
        (RuleAction::Drop, vec![]),
        (
            RuleAction::Delay(Duration::from_millis(20)),
            vec!["20 client > server PA 100 abc BOTH", "20 client > server PA 103 def BOTH"],
        ),
        (RuleAction::Duplicate, vec![FIRST, FIRST, SECOND, SECOND]),
        (RuleAction::Hold, vec!["70 client > server PA 100 abc BOTH", "70 client > server PA 103 def BOTH"]),
        (
            RuleAction::Corrupt(1),
            vec!["0 client > server PA 100 a\\x9dc BOTH", "0 client > server PA 103 d\\x9af BOTH"],
        ),
        (RuleAction::Strip(None), vec!["0 client > server PA 100 abc NOPS", "0 client > server PA 103 def NOPS"]),
        (
            RuleAction::Strip(Some("dss".into())),
            vec!["0 client > server PA 100 abc PRIO", "0 client > server PA 103 def PRIO"],
        ),
        (
            RuleAction::Rewrite(no_backup),
            vec!["0 client > server PA 100 abc REGULAR", "0 client > server PA 103 def REGULAR"],
        ),
        (
            RuleAction::Nat { address: ip(outside(ipv6)), port: Some(7000) },
            vec!["0 outside > server PA 100 abc BOTH", "0 outside > server PA 103 def BOTH"],
        ),
        // RFC 9293 section 3.10.7: what the receiver expects next, or what an unexpected segment acknowledges.
        (inject(true, Injected::Reset), vec![FIRST, "0 client > server RA 103", SECOND]),
        (inject(false, Injected::Reset), vec![FIRST, "0 server > client R 5000", SECOND]),
        (inject(true, Injected::Fin), vec![FIRST, "0 client > server FA 103", SECOND]),
        (inject(false, Injected::Fin), vec![FIRST, "0 server > client FA 5000", SECOND]),
        (inject(true, forged), vec![FIRST, "0 client > server A 103 FORGED", SECOND]),
        (
            RuleAction::Split(2),
            vec![
                "0 client > server A 100 ab BOTH",
                "0 client > server PA 102 c BOTH",
                "0 client > server A 103 de BOTH",
                "0 client > server PA 105 f BOTH",
            ],
        ),
        (RuleAction::Merge(2), vec!["0 client > server PA 100 abcdef BOTH"]),
    ]
}

/// What the far side is told in `rows`, with its octets.
const OPTIONS: [(&str, &str); 5] = [
    ("BOTH", BOTH),
    ("NOPS", "010101010101010101010101010101010101010101010101 01010101"),
    ("PRIO", "010101010101010101010101010101010101010101010101 1e035101"),
    ("REGULAR", "1e16200d0000004dfffffffffffffffe0000000100030101 1e035001"),
    // Section 3.4.1: length 16, IPv4 without a port, id 6, and an HMAC that can't be right.
    ("FORGED", "1e1030060a0909090000000000000000"),
];

fn line(after: u64, arrived: &Arrived, ipv6: bool) -> String {
    let seen = Seen::read(arrived);
    let (client, server) = if ipv6 { ("fd00:1::2", "fd00:1::1") } else { ("10.0.1.2", "10.0.1.1") };
    let names = [(client, 40000, "client"), (server, 8080, "server"), (outside(ipv6), 7000, "outside")];
    let name = |socket: std::net::SocketAddr| {
        let known = names.iter().find(|(address, port, _)| socket.ip() == ip(address) && socket.port() == *port);
        known.map_or_else(|| socket.to_string(), |(.., name)| (*name).to_owned())
    };
    assert_eq!(seen.to == 1, name(seen.destination) == "server", "it arrives where its destination is");
    let behind = seen.options.get(TIMESTAMPS.len()..).unwrap_or_default();
    let options = OPTIONS.iter().find(|(_, hexadecimal)| octets(hexadecimal) == behind);
    let options = options.map_or_else(|| format!("{behind:02x?}"), |(name, _)| (*name).to_owned());
    let (payload, sequence) = (seen.payload.escape_ascii().to_string(), seen.sequence);
    let words = [
        format!("{after} {} > {} {} {sequence}", name(seen.source), name(seen.destination), seen.flags),
        payload,
        if behind.is_empty() { String::new() } else { options },
    ];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Sends the traffic through a rule, waits, releases.
fn far_side(action: &RuleAction, ipv6: bool) -> Vec<String> {
    let once = matches!(action, RuleAction::Inject { .. }).then_some(1..=1);
    let mut harness = Harness::with_rule(PacketPattern { nth: once, ..any() }, action.clone());
    let begin = harness.now;
    let mut lines = Vec::new();
    let mut tell = |now: u64, arrived: &[Arrived]| {
        lines.extend(arrived.iter().map(|arrived| line((now - begin) / MS, arrived, ipv6)));
    };
    for segment in traffic(ipv6) {
        let arrived = harness.send(0, &segment.frame(0));
        tell(begin, &arrived);
    }
    for passed in [20, 50] {
        let arrived = harness.after(passed * MS);
        tell(harness.now, &arrived);
    }
    harness.path.release("rule");
    let arrived = harness.after(0);
    tell(harness.now, &arrived);
    lines
}

#[test]
fn the_far_side_of_each_action_is_as_it_should_be() {
    for ipv6 in [false, true] {
        for (action, expected) in rows(ipv6) {
            assert_eq!(far_side(&action, ipv6), expected, "{} {action:?}, IPv6 {ipv6}", word(&action));
        }
    }
}

fn schema() -> Value {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/scenario.schema.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The keys of an object of the language.
fn keys(schema: &Value, of: &str) -> Vec<String> {
    let properties = schema["$defs"][of]["properties"].as_object();
    properties.unwrap_or_else(|| panic!("the schema has no `{of}`")).keys().cloned().collect()
}

#[test]
fn each_action_of_the_language_has_a_row() {
    let schema = schema();
    let words = &schema["$defs"]["path_rule"]["properties"]["action"]["anyOf"][0]["$ref"];
    let words = words.as_str().and_then(|reference| reference.strip_prefix("#/$defs/")).unwrap();
    let bare = &schema["$defs"][words]["anyOf"][0]["enum"];
    let mut language: BTreeSet<String> =
        bare.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect();
    assert!(language.contains("drop") && !language.contains("inject"), "{language:?}");
    language.extend(keys(&schema, "action"));
    assert!(language.remove("inject"));
    language.extend(keys(&schema, "inject").iter().map(|what| format!("inject {what}")));
    let here: BTreeSet<String> = rows(false).iter().map(|(action, _)| word(action).to_owned()).collect();
    assert_eq!(here, language);
}

/// The field that a rewriting is about, as the language calls it; a new one is missed by the compiler.
fn field(rewrite: &Rewrite) -> &'static str {
    let Rewrite {
        option: _,
        id,
        backup,
        address,
        port,
        flags,
        reason,
        token,
        damage_hmac,
        damage_checksum,
        data_sequence_offset,
    } = rewrite;
    let fields = [
        (id.is_some(), "id"),
        (backup.is_some(), "backup"),
        (address.is_some(), "address"),
        (port.is_some(), "port"),
        (flags.is_some(), "flags"),
        (reason.is_some(), "reason"),
        (token.is_some(), "token"),
        (*damage_hmac, "hmac"),
        (*damage_checksum, "checksum"),
        (data_sequence_offset.is_some(), "shift"),
    ];
    let mut given = fields.iter().filter(|(given, _)| *given);
    let (Some((_, field)), None) = (given.next(), given.next()) else { panic!("one field: {rewrite:?}") };
    field
}

/// What each field becomes: the option's word, what is rewritten, the octets before and after.
fn rewritten() -> Vec<(&'static str, Rewrite, &'static str, &'static str)> {
    const CAPABLE: &str = "1e040101";
    const JOIN_SYN: &str = "1e0c1001 00000001 00000002";
    const JOIN_SYNACK: &str = "1e101001 1122334455667788 00000002";
    const JOIN_ACK: &str = "1e181000 0123456789abcdef0123456789abcdef01234567";
    const DSS: &str = "1e14200c 00000000000000ff 00000001 0003 beef";
    const DATA_FIN: &str = "1e14201c 00000000000000ff 00000001 0003 beef";
    const ADD_ADDR: &str = "1e123004 0a000201 1f90 1122334455667788 0101";
    const ECHO: &str = "1e0a3104 0a000201 1f90 0101";
    const REMOVE: &str = "1e054001 02010101";
    const PRIO: &str = "1e035101";
    const TCPRST: &str = "1e048103";
    let none = Rewrite::default;
    let (address, hmac) = (Some(ip("10.0.9.9")), || Rewrite { damage_hmac: true, ..none() });
    let checksum = || Rewrite { damage_checksum: true, ..none() };
    let shift = || Rewrite { data_sequence_offset: Some(2), ..none() };
    vec![
        ("mp_capable", Rewrite { flags: Some(0x81), ..none() }, CAPABLE, "1e040181"),
        ("mp_join_syn", Rewrite { id: Some(9), ..none() }, JOIN_SYN, "1e0c1009 00000001 00000002"),
        ("mp_join_syn", Rewrite { backup: Some(true), ..none() }, JOIN_SYN, "1e0c1101 00000001 00000002"),
        ("mp_join_syn", Rewrite { token: Some(0xabcd), ..none() }, JOIN_SYN, "1e0c1001 0000abcd 00000002"),
        ("mp_join_synack", Rewrite { id: Some(9), ..none() }, JOIN_SYNACK, "1e101009 1122334455667788 00000002"),
        ("mp_join_synack", Rewrite { backup: Some(true), ..none() }, JOIN_SYNACK, "1e101101 1122334455667788 00000002"),
        ("mp_join_synack", hmac(), JOIN_SYNACK, "1e101001 1122334455667789 00000002"),
        ("mp_join_ack", hmac(), JOIN_ACK, "1e181000 0123456789abcdef0123456789abcdef01234566"),
        ("dss", checksum(), DSS, "1e14200c 00000000000000ff 00000001 0003 beee"),
        ("dss", shift(), DSS, "1e14200c 0000000000000101 00000001 0003 beef"),
        ("data_fin", checksum(), DATA_FIN, "1e14201c 00000000000000ff 00000001 0003 beee"),
        ("data_fin", shift(), DATA_FIN, "1e14201c 0000000000000101 00000001 0003 beef"),
        ("add_addr", Rewrite { id: Some(9), ..none() }, ADD_ADDR, "1e123009 0a000201 1f90 1122334455667788 0101"),
        ("add_addr", Rewrite { address, ..none() }, ADD_ADDR, "1e123004 0a000909 1f90 1122334455667788 0101"),
        ("add_addr", Rewrite { port: Some(80), ..none() }, ADD_ADDR, "1e123004 0a000201 0050 1122334455667788 0101"),
        ("add_addr", hmac(), ADD_ADDR, "1e123004 0a000201 1f90 1122334455667789 0101"),
        ("add_addr_echo", Rewrite { id: Some(9), ..none() }, ECHO, "1e0a3109 0a000201 1f90 0101"),
        ("add_addr_echo", Rewrite { address, ..none() }, ECHO, "1e0a3104 0a000909 1f90 0101"),
        ("add_addr_echo", Rewrite { port: Some(80), ..none() }, ECHO, "1e0a3104 0a000201 0050 0101"),
        ("remove_addr", Rewrite { id: Some(9), ..none() }, REMOVE, "1e054009 02010101"),
        ("mp_prio", Rewrite { backup: Some(false), ..none() }, PRIO, "1e035001"),
        ("mp_tcprst", Rewrite { flags: Some(0), ..none() }, TCPRST, "1e048003"),
        ("mp_tcprst", Rewrite { reason: Some(6), ..none() }, TCPRST, "1e048106"),
    ]
}

#[test]
fn each_field_is_rewritten_where_rfc_8684_has_it() {
    for (option, rewrite, before, after) in rewritten() {
        let what = format!("{} of {option}", field(&rewrite));
        let action = RuleAction::Rewrite(Rewrite { option: option.to_owned(), ..rewrite });
        for ipv6 in [false, true] {
            let mut harness = Harness::with_rule(any(), action.clone());
            let segment = Tcp { options: octets(before), ..Tcp::ack(1) }.six(ipv6);
            let arrived = harness.send(0, &segment.frame(0));
            let [only] = arrived.as_slice() else { panic!("{what}: {arrived:?}") };
            assert_eq!(Seen::read(only).options, octets(after), "{what}");
            assert_eq!(harness.path.rule_hits("rule"), Some(1), "{what}");
        }
    }
}

#[test]
fn each_field_that_the_language_can_rewrite_has_a_row() {
    let schema = schema();
    let mut language = BTreeSet::new();
    for option in keys(&schema, "rewrite") {
        let of = schema["$defs"]["rewrite"]["properties"][&option]["$ref"].as_str().unwrap();
        let fields = keys(&schema, of.strip_prefix("#/$defs/").unwrap());
        language.extend(fields.into_iter().map(|field| format!("{option} {field}")));
    }
    let here: BTreeSet<String> =
        rewritten().iter().map(|(option, rewrite, ..)| format!("{option} {}", field(rewrite))).collect();
    assert_eq!(here, language);
    assert_eq!(here.len(), rewritten().len(), "each once");
}

/// What each action makes of the traffic, for another reader.
pub fn treated() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for ipv6 in [false, true] {
        for (action, _) in rows(ipv6) {
            let mut harness = Harness::with_rule(any(), action);
            let mut arrived: Vec<Arrived> =
                traffic(ipv6).iter().flat_map(|segment| harness.send(0, &segment.frame(0))).collect();
            arrived.extend(harness.after(50 * MS));
            harness.path.release("rule");
            arrived.extend(harness.after(0));
            frames.extend(arrived.into_iter().map(|(_, frame)| frame));
        }
    }
    frames
}
