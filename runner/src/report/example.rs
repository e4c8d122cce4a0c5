//! A recording and findings made by hand, for tests of the renderings.

use crate::judge::{Finding, FindingKind};
use crate::mptcp::{EventKind, PmEvent};
use crate::recording::{
    Connection, Direction, Entry, Header, Integrity, Observation, Recording, Side, StepOutcome, Timeout,
};
use crate::scenario::model::Place;
use crate::wire::{AddAddrBody, DssMapping, MptcpOption, Segment, TcpFlags};

pub(super) const CLIENT: &str = "10.0.1.2:41000";
pub(super) const SERVER: &str = "10.0.1.1:8080";

pub(super) fn segment(source: &str, destination: &str, flags: TcpFlags, options: Vec<MptcpOption>) -> Segment {
    Segment::bare(source.parse().unwrap(), destination.parse().unwrap(), flags, options)
}

pub(super) fn entry(microseconds: u64, what: Observation) -> Entry {
    Entry { at: microseconds * 1000, what }
}

/// Captured on a device.
pub(super) fn on(microseconds: u64, namespace: &str, device: &str, direction: Direction, segment: &Segment) -> Entry {
    let (namespace, device, segment) = (namespace.into(), device.into(), segment.clone());
    entry(microseconds, Observation::Packet { namespace, device, direction, segment })
}

fn packet(microseconds: u64, namespace: &str, direction: Direction, segment: &Segment) -> Entry {
    on(microseconds, namespace, "eth1", direction, segment)
}

/// Sent by one namespace, arrived in the other 10 µs later.
pub(super) fn crossing(microseconds: u64, from: &str, to: &str, segment: &Segment) -> [Entry; 2] {
    [packet(microseconds, from, Direction::Out, segment), packet(microseconds + 10, to, Direction::In, segment)]
}

pub(super) fn lost(microseconds: u64, from: &str, segment: &Segment) -> [Entry; 1] {
    [packet(microseconds, from, Direction::Out, segment)]
}

pub(super) fn capable(key: Option<u64>) -> Vec<MptcpOption> {
    vec![MptcpOption::MpCapable {
        version: 1,
        flags: 1,
        sender_key: key,
        receiver_key: None,
        data_length: None,
        checksum: None,
    }]
}

pub(super) fn dss(data_fin: bool, length: u16) -> Vec<MptcpOption> {
    let mapping = DssMapping { data_sequence: 1, wide: true, subflow_sequence: 1, length, checksum: None };
    vec![MptcpOption::Dss { data_fin, data_ack: Some((1, true)), mapping: Some(mapping) }]
}

pub(super) fn event(microseconds: u64, namespace: &str, event: PmEvent) -> Entry {
    entry(microseconds, Observation::Event { namespace: namespace.to_owned(), event: Box::new(event) })
}

fn started(microseconds: u64, step: usize, text: &str) -> Entry {
    entry(microseconds, Observation::StepStarted { step, text: text.to_owned() })
}

fn done(microseconds: u64, step: usize) -> Entry {
    entry(microseconds, Observation::StepFinished { step, outcome: StepOutcome::Done })
}

pub(crate) fn recording_of(entries: Vec<Entry>) -> Recording {
    let header = Header {
        format: crate::recording::FORMAT,
        mptcplab: "0.1.0".to_owned(),
        kernel: "6.18.0".to_owned(),
        title: "fullmesh opens a subflow from each endpoint".to_owned(),
        file: "scenarios/fullmesh.yaml".to_owned(),
        variant: None,
        sources: Vec::new(),
        features: Vec::new(),
        lacks: Vec::new(),
    };
    Recording { header, entries }
}

/// A connection, a subflow, an announcement that needs a retransmission, data, and the end.
pub(crate) fn recording() -> Recording {
    let ack = TcpFlags::ACK;
    let to_server = |flags, options| segment(CLIENT, SERVER, flags, options);
    let to_client = |flags, options| segment(SERVER, CLIENT, flags, options);
    let join = |flags, option| segment("10.0.2.2:42000", SERVER, flags, vec![option]);
    let syn = MptcpOption::MpJoinSyn { backup: false, address_id: 1, token: 7, nonce: 8 };
    let syn_ack = MptcpOption::MpJoinSynAck { backup: false, address_id: 0, hmac: 9, nonce: 10 };
    let body = AddAddrBody { address: "10.0.2.1".parse().unwrap(), port: None, hmac: Some(1) };
    let announcement = |echo| vec![MptcpOption::AddAddr { echo, address_id: 1, body: body.clone() }];
    let connection = Connection {
        name: "main".to_owned(),
        client: "client".to_owned(),
        server: "server".to_owned(),
        client_address: CLIENT.parse().unwrap(),
        server_address: SERVER.parse().unwrap(),
        client_token: Some(0xc1),
        server_token: Some(0x51),
        by_programs: false,
        unaccepted: false,
    };
    let of = |kind, token| PmEvent { token: Some(token), ..PmEvent::new(kind) };
    let addresses = |event: PmEvent| PmEvent {
        local: Some("10.0.2.2".parse().unwrap()),
        local_port: Some(42000),
        local_id: Some(1),
        remote: Some("10.0.1.1".parse().unwrap()),
        remote_port: Some(8080),
        remote_id: Some(0),
        backup: Some(0),
        ..event
    };
    let announced =
        PmEvent { remote: Some("10.0.2.1".parse().unwrap()), remote_id: Some(1), ..of(EventKind::Announced, 0xc1) };
    let data = Segment { payload: 65536, ..to_server(ack, dss(false, 1448)) };
    let mut entries = vec![started(0, 0, "connect main: client to server at 10.0.1.1:8080")];
    entries.extend(crossing(400, "client", "server", &to_server(TcpFlags::SYN, capable(None))));
    entries.extend(crossing(450, "server", "client", &to_client(TcpFlags::SYN | ack, capable(Some(1)))));
    entries.extend(crossing(500, "client", "server", &to_server(ack, capable(Some(1)))));
    entries.push(event(520, "client", of(EventKind::Created, 0xc1)));
    entries.push(event(540, "client", of(EventKind::Established, 0xc1)));
    entries.push(entry(560, Observation::Connected { connection: Box::new(connection) }));
    entries.extend([done(570, 0), started(600, 1, "wait until main has 2 subflows on both sides, at most 5 s")]);
    entries.extend(crossing(620, "client", "server", &join(TcpFlags::SYN, syn)));
    let answer = segment(SERVER, "10.0.2.2:42000", TcpFlags::SYN | ack, vec![syn_ack]);
    entries.extend(crossing(640, "server", "client", &answer));
    entries.extend(crossing(660, "client", "server", &join(ack, MptcpOption::MpJoinAck { hmac: "00".to_owned() })));
    entries.push(event(700, "client", addresses(of(EventKind::SubEstablished, 0xc1))));
    entries.extend([done(710, 1), started(720, 2, "server adds the endpoint 10.0.2.1 signal")]);
    entries.extend(lost(730, "server", &to_client(ack, announcement(false))));
    entries.extend(crossing(740, "server", "client", &Segment { sequence: 2, ..to_client(ack, announcement(false)) }));
    entries.push(event(760, "client", announced));
    entries.extend(crossing(780, "client", "server", &to_server(ack, announcement(true))));
    entries.extend([done(790, 2), started(800, 3, "transfer on main: 64 KiB each way")]);
    entries.extend(crossing(810, "client", "server", &data));
    entries.extend(crossing(830, "server", "client", &Segment { sequence: 9, ..to_client(ack, dss(false, 0)) }));
    let integrity = Integrity::Intact;
    let connection = "main".to_owned();
    let (sender, bytes, took) = (Side::Client, 65536, Some(5_242_880));
    entries.push(entry(900, Observation::Transferred { connection, sender, bytes, integrity, took }));
    entries.extend([done(910, 3), started(920, 4, "the client of main closes it")]);
    for microseconds in [1000, 1100] {
        entries.extend(crossing(microseconds, "client", "server", &to_server(ack, dss(true, 1))));
    }
    let outcome = StepOutcome::TimedOut(Timeout::in_words("the end of main", "there are 2 subflows"));
    entries.push(entry(6_000_000, Observation::StepFinished { step: 4, outcome }));
    entries.push(entry(6_000_100, Observation::Ended));
    recording_of(entries)
}

/// A finding that points into [`crate::plan::example::SOURCE`].
pub(super) fn finding() -> Finding {
    let source = crate::plan::example::SOURCE;
    let start = source.find("MPTcpExtMPJoinAckRx").unwrap();
    let place = Place { source: 0, line: 4, column: 15, start, end: start + "MPTcpExtMPJoinAckRx: 1".len() };
    Finding {
        kind: FindingKind::Counter,
        place: Some(place),
        summary: "MPTcpExtMPJoinAckRx of server moved by 0, 1 expected".to_owned(),
        detail: "other counters that moved:\n  MPTcpExtMPCapableSYNRX 1\n\u{1b}[2J".to_owned(),
        at: Some(700_000),
        reasons: Vec::new(),
        values: None,
    }
}
