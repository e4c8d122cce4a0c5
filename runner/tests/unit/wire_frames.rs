//! Our decoder against tshark's, on real frames with each form of each MPTCP option that Linux sends
//! (`fixtures/wire`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mptcplab::wire::{DssMapping, MptcpOption, OPTION_WORDS, Segment};
use proptest::prelude::*;

/// The fields of a frame, by tshark's names; several values in the order of their options.
type Fields = BTreeMap<String, Vec<String>>;

struct Fixture {
    name: String,
    frame: Vec<u8>,
    expected: Fields,
}

impl Fixture {
    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/wire");
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "hex"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (fields, hex): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
        let expected = fields.iter().map(|line| {
            let (name, values) = line.trim_start_matches("# ").split_once(": ").unwrap();
            (name.to_owned(), values.split(',').map(plain).collect())
        });
        let hex = hex.concat();
        let octet = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            frame: (0..hex.len()).step_by(2).map(octet).collect(),
            expected: expected.collect(),
        }
    }

    fn segment(&self) -> Segment {
        let original_length = self.expected["frame.len"][0].parse().unwrap();
        Segment::parse(&self.frame, original_length).unwrap_or_else(|| panic!("{} is no segment", self.name))
    }
}

/// tshark writes some numbers in hexadecimal.
fn plain(value: &str) -> String {
    match value.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16)) {
        Some(Ok(number)) => number.to_string(),
        _ => value.to_owned(),
    }
}

/// What we make of a frame, in tshark's terms.
fn as_tshark(segment: &Segment, frame_length: &str) -> Fields {
    let mut fields = Fields::new();
    let ip = if segment.source.is_ipv4() { "ip" } else { "ipv6" };
    for (name, value) in [
        ("frame.len".to_owned(), frame_length.to_owned()),
        (format!("{ip}.src"), segment.source.ip().to_string()),
        (format!("{ip}.dst"), segment.destination.ip().to_string()),
        ("tcp.srcport".to_owned(), segment.source.port().to_string()),
        ("tcp.dstport".to_owned(), segment.destination.port().to_string()),
        ("tcp.seq_raw".to_owned(), segment.sequence.to_string()),
        ("tcp.ack_raw".to_owned(), segment.acknowledgment.to_string()),
        ("tcp.flags".to_owned(), segment.flags.bits().to_string()),
        ("tcp.len".to_owned(), segment.payload.to_string()),
    ] {
        fields.insert(name, vec![value]);
    }
    for option in &segment.options {
        for (name, value) in option_fields(option) {
            fields.entry(format!("tcp.options.mptcp.{name}")).or_default().push(value);
        }
    }
    fields
}

fn bit(condition: bool) -> String {
    u8::from(condition).to_string()
}

fn option_fields(option: &MptcpOption) -> Vec<(&'static str, String)> {
    match option {
        MptcpOption::MpCapable { version, flags, sender_key, receiver_key, data_length, checksum } => {
            let mut fields = vec![
                ("subtype", "0".to_owned()),
                ("version", version.to_string()),
                ("checksumreq.flags", bit(flags & 0x80 != 0)),
                ("nomoresubflows.flag", bit(flags & 0x20 != 0)),
                ("sha256.flag", bit(flags & 0x01 != 0)),
            ];
            fields.extend(sender_key.map(|key| ("sendkey", key.to_string())));
            fields.extend(receiver_key.map(|key| ("recvkey", key.to_string())));
            fields.extend(data_length.map(|length| ("datalvllen", length.to_string())));
            fields.extend(checksum.map(|checksum| ("checksum", checksum.to_string())));
            fields
        }
        MptcpOption::MpJoinSyn { backup, address_id, token, nonce } => vec![
            ("subtype", "1".to_owned()),
            ("backup.flag", bit(*backup)),
            ("addrid", address_id.to_string()),
            ("recvtok", token.to_string()),
            ("sendrand", nonce.to_string()),
        ],
        MptcpOption::MpJoinSynAck { backup, address_id, hmac, nonce } => vec![
            ("subtype", "1".to_owned()),
            ("backup.flag", bit(*backup)),
            ("addrid", address_id.to_string()),
            ("sendtrunchmac", hmac.to_string()),
            ("sendrand", nonce.to_string()),
        ],
        MptcpOption::MpJoinAck { hmac } => vec![("subtype", "1".to_owned()), ("sendhmac", hmac.clone())],
        MptcpOption::Dss { data_fin, data_ack, mapping } => dss_fields(*data_fin, *data_ack, mapping.as_ref()),
        MptcpOption::AddAddr { echo, address_id, body } => {
            let family = if body.address.is_ipv4() { "ipv4" } else { "ipv6" };
            let mut fields = vec![
                ("subtype", "3".to_owned()),
                ("echo", bit(*echo)),
                ("addrid", address_id.to_string()),
                (family, body.address.to_string()),
            ];
            fields.extend(body.port.map(|port| ("port", port.to_string())));
            fields.extend(body.hmac.map(|hmac| ("addaddrtrunchmac", hmac.to_string())));
            fields
        }
        MptcpOption::RemoveAddr { address_ids } => {
            let ids = address_ids.iter().map(|id| ("addrid", id.to_string()));
            [("subtype", "4".to_owned())].into_iter().chain(ids).collect()
        }
        MptcpOption::MpPrio { backup } => vec![("subtype", "5".to_owned()), ("backup.flag", bit(*backup))],
        MptcpOption::MpFail { data_sequence } => {
            vec![("subtype", "6".to_owned()), ("rawdataseqno", data_sequence.to_string())]
        }
        MptcpOption::MpFastclose { receiver_key } => {
            vec![("subtype", "7".to_owned()), ("recvkey", receiver_key.to_string())]
        }
        MptcpOption::MpTcprst { flags, reason } => {
            vec![("subtype", "8".to_owned()), ("flag_T.flag", bit(flags & 1 != 0)), ("rst_reason", reason.to_string())]
        }
        MptcpOption::Malformed { bytes, .. } => vec![("malformed", bytes.clone())],
    }
}

fn dss_fields(
    data_fin: bool,
    data_ack: Option<(u64, bool)>,
    mapping: Option<&DssMapping>,
) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("subtype", "2".to_owned()),
        ("datafin.flag", bit(data_fin)),
        ("dataack8.flag", bit(data_ack.is_some_and(|(_, wide)| wide))),
        ("dataackpresent.flag", bit(data_ack.is_some())),
        ("dseqn8.flag", bit(mapping.is_some_and(|mapping| mapping.wide))),
        ("dseqnpresent.flag", bit(mapping.is_some())),
    ];
    fields.extend(data_ack.map(|(ack, _)| ("rawdataack", ack.to_string())));
    if let Some(mapping) = mapping {
        fields.push(("rawdataseqno", mapping.data_sequence.to_string()));
        fields.push(("subflowseqno", mapping.subflow_sequence.to_string()));
        fields.push(("datalvllen", mapping.length.to_string()));
    }
    fields
}

#[test]
fn we_read_what_tshark_reads() {
    let fixtures = Fixture::all();
    for fixture in &fixtures {
        let ours = as_tshark(&fixture.segment(), &fixture.expected["frame.len"][0]);
        assert_eq!(ours, fixture.expected, "{}", fixture.name);
    }
}

/// The fixtures are worth something only if they have it all.
#[test]
fn each_option_is_among_the_fixtures() {
    let options: Vec<MptcpOption> = Fixture::all().iter().flat_map(|fixture| fixture.segment().options).collect();
    for word in OPTION_WORDS {
        assert!(options.iter().any(|option| option.is_called(word)), "no frame with {word}");
    }
}

#[test]
fn encoding_gives_the_octets_that_were_captured() {
    for fixture in Fixture::all() {
        for option in fixture.segment().options {
            let octets = option.encode();
            let found = fixture.frame.windows(octets.len()).any(|window| window == octets);
            assert!(found, "{}: {option:?} as {octets:02x?}", fixture.name);
        }
    }
}

#[test]
fn a_dss_has_a_checksum_if_its_length_says_so() {
    let checksum = |name: &str| {
        let fixture = Fixture::all().into_iter().find(|fixture| fixture.name == name).unwrap();
        fixture.segment().options.into_iter().find_map(|option| match option {
            MptcpOption::Dss { mapping: Some(mapping), .. } => mapping.checksum,
            _ => None,
        })
    };
    assert_eq!(checksum("dss_mapping"), None);
    // The one's complement sum over sequence numbers, length and the one byte of data (RFC 8684 section 3.3.1) is 0.
    assert_eq!(checksum("dss_mapping_checksum"), Some(0xf4a9));
    assert_eq!(checksum("dss_infinite_mapping"), Some(0));
}

#[test]
fn stories_tell_it_in_the_words_of_the_rfc() {
    let told: Vec<String> = Fixture::all()
        .iter()
        .map(|fixture| {
            let options: Vec<String> = fixture.segment().options.iter().map(ToString::to_string).collect();
            format!("{}: {}", fixture.name, options.join(", ")).trim_end().to_owned()
        })
        .collect();
    assert_eq!(told.join("\n"), STORIES.trim());
}

const STORIES: &str = "
add_addr_ipv4: ADD_ADDR 10.0.2.1 id 1
add_addr_ipv4_echo: ADD_ADDR echo id 1
add_addr_ipv4_port: ADD_ADDR 10.0.3.1:10100 id 2
add_addr_ipv4_port_echo: ADD_ADDR echo id 2
add_addr_ipv6: ADD_ADDR fd00:2::1 id 1
add_addr_ipv6_echo: ADD_ADDR echo id 1
add_addr_ipv6_port: ADD_ADDR [fd00:3::1]:10100 id 1
dss_and_mp_fail: DSS ack, MP_FAIL
dss_and_mp_prio: DSS ack, MP_PRIO no backup
dss_and_mp_prio_backup: DSS ack, MP_PRIO backup
dss_and_remove_addr: DSS ack, REMOVE_ADDR id 1
dss_and_remove_addr_two: DSS ack, REMOVE_ADDR id 2 1
dss_data_ack_32: DSS ack
dss_data_ack_64: DSS ack
dss_data_fin: DSS ack DATA_FIN
dss_infinite_mapping: DSS ack infinite mapping checksum
dss_mapping: DSS ack data 1
dss_mapping_checksum: DSS ack data 1 checksum
dss_segmentation_offload: DSS ack data 31240
mp_capable_ack: MP_CAPABLE v1 H
mp_capable_data: MP_CAPABLE v1 H data 1
mp_capable_data_checksum: MP_CAPABLE v1 A H data 1 checksum
mp_capable_no_joins: MP_CAPABLE v1 C H
mp_capable_syn: MP_CAPABLE v1 H
mp_capable_synack: MP_CAPABLE v1 H
mp_fastclose_and_mp_tcprst: MP_FASTCLOSE, MP_TCPRST reason 0 (unspecified error)
mp_join_ack: MP_JOIN ACK
mp_join_syn: MP_JOIN SYN id 2
mp_join_syn_backup: MP_JOIN SYN id 1 backup
mp_join_synack: MP_JOIN SYN/ACK id 1
mp_join_synack_ipv6: MP_JOIN SYN/ACK id 1
mp_tcprst: MP_TCPRST reason 3 (administratively prohibited)
no_mptcp:
";

proptest! {
    /// Wherever a frame is cut off, and whatever octet is wrong in it.
    #[test]
    fn a_damaged_frame_does_not_panic(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        octet in any::<u8>(),
        length in any::<prop::sample::Index>(),
        original_length in any::<u32>(),
    ) {
        let fixtures = Fixture::all();
        let mut frame = which.get(&fixtures).frame.clone();
        let at = at.index(frame.len());
        frame[at] = octet;
        frame.truncate(length.index(frame.len() + 1));
        Segment::parse(&frame, original_length);
    }

    #[test]
    fn arbitrary_octets_do_not_panic(frame in prop::collection::vec(any::<u8>(), 0..200), length in any::<u32>()) {
        Segment::parse(&frame, length);
    }
}
