//! Whatever is in a recording: judging it neither panics nor passes what it can't know.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use crate::judge::{canonical, judge};
use crate::mptcp::{EventKind, MptcpInfo, PmEvent, SubflowFlags, SubflowState};
use crate::recording::{
    CallEnd, Connection, Contradiction, Direction, Entry, Got, Integrity, LostWhat, Moment, Observation, Side,
    SocketCall, StepOutcome,
};
use crate::wire::{AddAddrBody, DssMapping, MptcpOption, Segment, TcpFlags};

use super::fixture::Run;

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["client", "server", "router", "main", ""]).prop_map(str::to_owned)
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        prop::sample::select(vec!["10.0.1.1", "10.0.1.2", "10.0.4.1", "::ffff:10.0.1.1", "fd00::1"])
            .prop_map(|text| text.parse().unwrap()),
        any::<IpAddr>(),
    ]
}

fn socket() -> impl Strategy<Value = SocketAddr> {
    (address(), prop::sample::select(vec![0, 8080, 40001, 65535]))
        .prop_map(|(address, port)| SocketAddr::new(address, port))
}

fn token() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0, 0x1111, 0x2222, u32::MAX])
}

fn event() -> impl Strategy<Value = PmEvent> {
    let fields = (
        any::<u8>(),
        prop::option::of(token()),
        prop::option::of(socket()),
        prop::option::of(socket()),
        prop::option::of(any::<u8>()),
        prop::option::of(any::<u8>()),
        prop::option::of(any::<u8>()),
        prop::option::of(any::<u32>()),
    );
    fields.prop_map(|(kind, token, local, remote, id, backup, error, reset_reason)| PmEvent {
        token,
        local: local.map(|end| end.ip()),
        local_port: local.map(|end| end.port()),
        remote: remote.map(|end| end.ip()),
        remote_port: remote.map(|end| end.port()),
        local_id: id,
        remote_id: id,
        backup,
        error,
        reset_reason,
        ..PmEvent::new(EventKind::from_number(kind % 20))
    })
}

fn option() -> impl Strategy<Value = MptcpOption> {
    prop_oneof![
        (any::<u8>(), any::<u8>(), any::<Option<u64>>(), any::<Option<u64>>()).prop_map(
            |(version, flags, sender_key, receiver_key)| MptcpOption::MpCapable {
                version,
                flags,
                sender_key,
                receiver_key,
                data_length: None,
                checksum: None
            }
        ),
        (token(), any::<u8>()).prop_map(|(token, address_id)| MptcpOption::MpJoinSyn {
            backup: false,
            address_id,
            token,
            nonce: 0
        }),
        (any::<bool>(), prop::option::of(any::<u16>())).prop_map(|(data_fin, length)| MptcpOption::Dss {
            data_fin,
            data_ack: None,
            mapping: length.map(|length| DssMapping {
                data_sequence: u64::MAX,
                wide: true,
                subflow_sequence: u32::MAX,
                length: length % 3,
                checksum: None
            }),
        }),
        (any::<bool>(), 0..3_u8, address(), any::<Option<u16>>()).prop_map(|(echo, address_id, address, port)| {
            MptcpOption::AddAddr { echo, address_id, body: AddAddrBody { address, port, hmac: None } }
        }),
        prop::collection::vec(0..3_u8, 0..4).prop_map(|address_ids| MptcpOption::RemoveAddr { address_ids }),
        any::<bool>().prop_map(|backup| MptcpOption::MpPrio { backup }),
        any::<u64>().prop_map(|receiver_key| MptcpOption::MpFastclose { receiver_key }),
        any::<(u8, u8)>().prop_map(|(flags, reason)| MptcpOption::MpTcprst { flags, reason }),
        any::<Option<u8>>().prop_map(|subtype| MptcpOption::Malformed { subtype, bytes: "1e".to_owned() }),
    ]
}

fn segment() -> impl Strategy<Value = Segment> {
    let window = (any::<Option<u16>>(), any::<Option<u8>>());
    (socket(), socket(), any::<u8>(), window, prop::collection::vec(option(), 0..3)).prop_map(
        |(source, destination, flags, (window, window_scale), options)| Segment {
            sequence: u32::MAX,
            acknowledgment: 0,
            payload: u32::MAX,
            window,
            window_scale,
            ..Segment::bare(source, destination, TcpFlags::from_bits_retain(flags), options)
        },
    )
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![
        Just(Moment::Start),
        Just(Moment::BeforeClose),
        Just(Moment::End),
        prop::sample::select(vec![0, 3, usize::MAX]).prop_map(Moment::Check),
    ]
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Client), Just(Side::Server)]
}

fn step() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![0, 1, 2, 3, 4, usize::MAX])
}

fn integrity() -> impl Strategy<Value = Integrity> {
    prop_oneof![
        Just(Integrity::Intact),
        any::<(u64, u64)>().prop_map(|(first, count)| Integrity::Corrupt { first, count }),
        any::<u64>().prop_map(|expected| Integrity::Short { expected }),
    ]
}

fn subflow() -> impl Strategy<Value = SubflowState> {
    (socket(), socket(), any::<u8>(), any::<u32>()).prop_map(|(local, remote, small, flags)| SubflowState {
        local,
        remote,
        tcp_state: small % 14,
        local_id: small,
        remote_id: small,
        token_local: flags,
        flags: SubflowFlags::from_bits_retain(flags),
        dev: None,
        tcp: None,
        options: None,
    })
}

fn observation() -> impl Strategy<Value = Observation> {
    // Each kind is as likely as any other.
    prop_oneof![2 => of_a_step(), 5 => of_a_connection(), 5 => of_a_place(), 1 => Just(Observation::Ended)]
}

fn of_a_step() -> impl Strategy<Value = Observation> {
    let outcome = prop_oneof![
        Just(StepOutcome::Done),
        Just(StepOutcome::Refused { error: "EINVAL".to_owned(), message: None }),
        Just(StepOutcome::NotQuiet { seen: None, after: None }),
        call_end().prop_map(StepOutcome::Application),
        contradiction().prop_map(StepOutcome::Contradicted),
    ];
    prop_oneof![
        step().prop_map(|step| Observation::StepStarted { step, text: "text".to_owned() }),
        (step(), outcome).prop_map(|(step, outcome)| Observation::StepFinished { step, outcome }),
        contradiction().prop_map(Observation::SetupContradicted),
    ]
}

fn contradiction() -> impl Strategy<Value = Contradiction> {
    prop::collection::vec(name(), 0..3).prop_map(|shown| Contradiction {
        asked: "add it".to_owned(),
        answered: "an ACK".to_owned(),
        shown,
    })
}

fn call_end() -> impl Strategy<Value = CallEnd> {
    let got = prop_oneof![
        Just(Got::EndOfStream),
        any::<u64>().prop_map(Got::Bytes),
        Just(Got::Error("ECONNRESET".to_owned()))
    ];
    let call = prop_oneof![Just(SocketCall::Read), Just(SocketCall::Write), Just(SocketCall::Accept)];
    (name(), side(), call, got, any::<u64>()).prop_map(|(connection, side, call, got, bytes)| CallEnd {
        connection,
        side,
        call,
        got,
        bytes,
    })
}

fn of_a_connection() -> impl Strategy<Value = Observation> {
    let sides = (name(), name(), socket(), socket());
    let tokens = (prop::option::of(token()), prop::option::of(token()));
    prop_oneof![
        (sides, tokens, any::<bool>()).prop_map(|(sides, (client_token, server_token), by_programs)| {
            let (client, server, client_address, server_address) = sides;
            let connection = Connection {
                name: "main".to_owned(),
                client,
                server,
                client_address,
                server_address,
                client_token,
                server_token,
                by_programs,
                unaccepted: false,
            };
            Observation::Connected { connection: Box::new(connection) }
        }),
        (name(), side(), moment(), token(), prop::collection::vec(subflow(), 0..4)).prop_map(
            |(connection, side, moment, token, subflows)| Observation::Sockets {
                connection,
                side,
                moment,
                info: (token != 0).then(|| Box::new(MptcpInfo { token, ..MptcpInfo::default() })),
                subflows,
                options: std::collections::BTreeMap::new(),
            }
        ),
        (name(), side(), any::<u64>(), integrity(), any::<Option<u64>>()).prop_map(
            |(connection, sender, bytes, integrity, took)| Observation::Transferred {
                connection,
                sender,
                bytes,
                integrity,
                took
            }
        ),
        (name(), event()).prop_map(|(namespace, event)| Observation::Event { namespace, event: Box::new(event) }),
        call_end().prop_map(Observation::Application),
    ]
}

/// Of a namespace or a link.
fn of_a_place() -> impl Strategy<Value = Observation> {
    let direction = prop_oneof![Just(Direction::Out), Just(Direction::In)];
    let counters = prop::collection::btree_map("MPTcpExt(AddAddr|MPJoinSynRx|MPFastcloseTx|Odd)", any::<u64>(), 0..4);
    prop_oneof![
        (name(), direction, segment()).prop_map(|(namespace, direction, segment)| Observation::Packet {
            namespace: namespace.into(),
            device: "".into(),
            direction,
            segment
        }),
        (name(), moment(), counters).prop_map(|(namespace, moment, values)| Observation::Counters {
            namespace,
            moment,
            values
        }),
        (name(), any::<Option<u64>>()).prop_map(|(namespace, count)| Observation::Lost {
            namespace,
            what: LostWhat::Events,
            count
        }),
        (name(), any::<u64>()).prop_map(|(namespace, packets)| Observation::FilterHits {
            namespace,
            filter: "drop".to_owned(),
            packets
        }),
        (name(), any::<u64>()).prop_map(|(rule, segments)| Observation::RuleHits {
            link: "link1".to_owned(),
            rule,
            segments
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_recordings_don_t_panic(
        observations in prop::collection::vec((any::<u64>(), observation()), 0..60),
        mixed_in in any::<bool>(),
    ) {
        let mut run = Run::good();
        let entries = observations.into_iter().map(|(at, what)| Entry { at, what });
        if mixed_in {
            let half = run.recording.entries.len() / 2;
            run.recording.entries.splice(half..half, entries);
        } else {
            run.recording.entries = entries.collect();
        }
        let findings = judge(&run.scenario, &run.recording);
        let ended = run.recording.entries.iter().any(|entry| entry.what == Observation::Ended);
        prop_assert!(ended || !findings.is_empty(), "a recording without an end passed");
        let text = canonical(&run.scenario, &run.recording);
        prop_assert_eq!(&text, &canonical(&run.scenario, &run.recording));
    }
}

#[test]
fn a_long_recording_takes_no_longer_than_it_should() {
    let mut run = Run::good();
    let entries = std::mem::take(&mut run.recording.entries);
    let index = entries.iter().position(|entry| matches!(entry.what, Observation::Event { .. })).unwrap();
    run.recording.entries = entries.clone();
    run.recording.entries.splice(index..index, std::iter::repeat_n(entries[index].clone(), 50_000));
    assert!(canonical(&run.scenario, &run.recording).lines().count() > 50_000);
}
