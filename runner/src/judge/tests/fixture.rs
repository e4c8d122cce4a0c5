//! A small run: a client with two additional addresses, a server that announces one.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::judge::{Finding, FindingKind, judge};
use crate::mptcp::{Endpoint, EndpointFlags, EventKind, Limits, MptcpInfo, PmEvent, SubflowFlags, SubflowState};
use crate::pattern::{EventPattern, Pattern, Table, Wanted, WirePattern};
use crate::recording::{
    Connection, Direction, Entry, Header, Integrity, Moment, Observation, Recording, Side, StepOutcome,
};
use crate::scenario::model::{
    Action, Address, CloseHow, ConnectPlan, ConnectionOutcome, Expectation, KernelVariants, Link, LinkEnd, Namespace,
    Operation, Place, Scenario, SocketOptions, SocketProtocol, Step, TransferPlan, World,
};
use crate::wire::{AddAddrBody, DssMapping, MptcpOption, Segment, TcpFlags};

pub(super) const CLIENT_TOKEN: u32 = 0x1111;
pub(super) const SERVER_TOKEN: u32 = 0x2222;
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// A scenario with the recording of one run of it.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) scenario: Scenario,
    pub(super) recording: Recording,
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A place whose line tells the tests which expectation it is.
pub(super) fn place(line: usize) -> Place {
    Place { line, ..Place::default() }
}

impl Run {
    /// Nothing but a world and an end.
    pub(super) fn empty() -> Self {
        let scenario = Scenario {
            file: "scenarios/demo.yaml".into(),
            variant: None,
            title: "demo".to_owned(),
            about: String::new(),
            see: Vec::new(),
            requires: Vec::new(),
            kernel_variants: KernelVariants::default(),
            left_out: None,
            exclusive: false,
            world: world(),
            connections: Vec::new(),
            steps: Vec::new(),
            expect: Expectation::default(),
            sources: Vec::new(),
        };
        let header = Header {
            format: crate::recording::FORMAT,
            mptcplab: "0.1.0".to_owned(),
            kernel: "6.18.0".to_owned(),
            title: "demo".to_owned(),
            file: "scenarios/demo.yaml".to_owned(),
            variant: None,
            sources: Vec::new(),
            features: Vec::new(),
            lacks: Vec::new(),
        };
        let mut run = Self { scenario, recording: Recording { header, entries: Vec::new() } };
        run.push(Observation::Ended);
        run
    }

    /// connect, transfer, quiet, check, close: everything as it should be.
    pub(super) fn good() -> Self {
        let mut run = Self::empty();
        run.counters(&Moment::Start, 0);
        run.step(Action::Connect(connect_plan()), |run| {
            run.handshake();
            run.push(Observation::Connected { connection: Box::new(connection()) });
        });
        run.step(Action::Transfer(transfer_plan()), |run| {
            for sender in [Side::Client, Side::Server] {
                run.push(Observation::Transferred {
                    connection: "main".to_owned(),
                    sender,
                    bytes: 1000,
                    integrity: Integrity::Intact,
                    took: None,
                });
            }
        });
        run.step(Action::Quiet { period: Duration::from_millis(50), deadline: DEADLINE }, |_| {});
        run.step(Action::Check(Box::default()), |run| run.state(&Moment::Check(3), &Moment::Check(3)));
        run.step(close(CloseHow::Graceful), |run| {
            run.state(&Moment::End, &Moment::BeforeClose);
            run.closed();
        });
        run
    }

    /// Adds an entry before the end.
    pub(super) fn push(&mut self, what: Observation) {
        let entries = &mut self.recording.entries;
        let end = entries.pop_if(|entry| entry.what == Observation::Ended);
        let at = u64::try_from(entries.len()).unwrap() * 1_000_000;
        entries.push(Entry { at, what });
        entries.extend(end.map(|end| Entry { at: at + 1_000_000, ..end }));
    }

    /// Adds a step that is done, with what is observed meanwhile.
    pub(super) fn step(&mut self, action: Action, during: impl FnOnce(&mut Self)) {
        self.step_ending(action, StepOutcome::Done, during);
    }

    pub(super) fn step_ending(&mut self, action: Action, outcome: StepOutcome, during: impl FnOnce(&mut Self)) {
        let step = self.scenario.steps.len();
        self.scenario.steps.push(Step { place: place(100 + step), action });
        self.push(Observation::StepStarted { step, text: format!("words of step {step}") });
        during(self);
        self.push(Observation::StepFinished { step, outcome });
    }

    pub(super) fn event(&mut self, namespace: &str, event: PmEvent) {
        self.push(Observation::Event { namespace: namespace.to_owned(), event: Box::new(event) });
    }

    /// A segment, seen leaving and arriving.
    pub(super) fn segment(&mut self, from: &str, to: &str, flags: TcpFlags, options: Vec<MptcpOption>) {
        let segment = Segment::bare(socket(from), socket(to), flags, options);
        for (end, direction) in [(segment.source, Direction::Out), (segment.destination, Direction::In)] {
            let namespace = self.scenario.world.owner(end.ip()).unwrap().into();
            let device = "eth1".into();
            self.push(Observation::Packet { namespace, device, direction, segment: segment.clone() });
        }
    }

    fn handshake(&mut self) {
        let (client, server) = ("10.0.1.2:40001", "10.0.1.1:8080");
        self.segment(client, server, TcpFlags::SYN, vec![capable(false, false)]);
        self.segment(server, client, TcpFlags::SYN | TcpFlags::ACK, vec![capable(true, false)]);
        self.event("client", with_ends(EventKind::Created, CLIENT_TOKEN, client, server));
        self.segment(client, server, TcpFlags::ACK, vec![capable(true, true)]);
        self.event("server", with_ends(EventKind::Created, SERVER_TOKEN, server, client));
        self.event("server", with_ends(EventKind::Established, SERVER_TOKEN, server, client));
        self.event("client", with_ends(EventKind::Established, CLIENT_TOKEN, client, server));
        self.segment(server, client, TcpFlags::ACK, vec![add_addr(1, "10.0.4.1")]);
        self.event("client", announced(1, "10.0.4.1"));
        self.segment(client, server, TcpFlags::ACK, vec![echo(1, "10.0.4.1")]);
        self.join("10.0.2.2:40002", "10.0.1.1:8080", 1, 0);
        self.join("10.0.3.2:40003", "10.0.4.1:8080", 2, 1);
        for (from, to) in [(client, server), (server, client)] {
            self.segment(from, to, TcpFlags::ACK, vec![dss(false, 1)]);
        }
    }

    /// A subflow that the client opens, with its events on both sides.
    pub(super) fn join(&mut self, client: &str, server: &str, client_id: u8, server_id: u8) {
        let syn = MptcpOption::MpJoinSyn { backup: false, address_id: client_id, token: SERVER_TOKEN, nonce: 7 };
        let synack = MptcpOption::MpJoinSynAck { backup: false, address_id: server_id, hmac: 8, nonce: 9 };
        self.segment(client, server, TcpFlags::SYN, vec![syn]);
        self.segment(server, client, TcpFlags::SYN | TcpFlags::ACK, vec![synack]);
        self.event("client", subflow(EventKind::SubEstablished, CLIENT_TOKEN, client, server, (client_id, server_id)));
        self.segment(client, server, TcpFlags::ACK, vec![MptcpOption::MpJoinAck { hmac: "ab".to_owned() }]);
        self.event("server", subflow(EventKind::SubEstablished, SERVER_TOKEN, server, client, (server_id, client_id)));
    }

    fn closed(&mut self) {
        self.segment("10.0.1.2:40001", "10.0.1.1:8080", TcpFlags::ACK, vec![dss(true, 1)]);
        self.segment("10.0.1.1:8080", "10.0.1.2:40001", TcpFlags::ACK, vec![dss(true, 1)]);
        for (namespace, token) in [("client", CLIENT_TOKEN), ("server", SERVER_TOKEN)] {
            self.event(namespace, PmEvent { token: Some(token), ..PmEvent::new(EventKind::Closed) });
        }
    }

    /// Counters of both namespaces that moved by `joins` joins since the start.
    fn counters(&mut self, moment: &Moment, joins: u64) {
        for namespace in ["client", "server"] {
            let values = BTreeMap::from([
                ("MPTcpExtMPJoinAckRx".to_owned(), 5 + if namespace == "server" { joins } else { 0 }),
                ("MPTcpExtMPJoinSynRx".to_owned(), 5 + if namespace == "server" { joins } else { 0 }),
                ("MPTcpExtAddAddr".to_owned(), u64::from(namespace == "client" && joins > 0)),
                ("MPTcpExtMPTCPRetrans".to_owned(), 3 + joins),
                ("MPTcpExtMPCurrEstab".to_owned(), 1),
                ("TcpCurrEstab".to_owned(), 3),
                ("TcpInSegs".to_owned(), 70),
            ]);
            self.push(Observation::Counters { namespace: namespace.to_owned(), moment: moment.clone(), values });
        }
        for (link, sent) in [("one", 1000 * (1 + joins)), ("two", 0)] {
            self.push(Observation::LinkBytes {
                namespace: "client".to_owned(),
                link: link.to_owned(),
                moment: moment.clone(),
                sent,
                received: 0,
            });
        }
    }

    fn state(&mut self, moment: &Moment, sockets: &Moment) {
        self.counters(moment, 2);
        for (side, token) in [(Side::Client, CLIENT_TOKEN), (Side::Server, SERVER_TOKEN)] {
            self.push(Observation::Sockets {
                connection: "main".to_owned(),
                side,
                moment: sockets.clone(),
                info: Some(Box::new(MptcpInfo {
                    subflows: 2,
                    subflows_max: 4,
                    flags: 2,
                    token,
                    ..MptcpInfo::default()
                })),
                subflows: subflows(side, token),
                options: BTreeMap::new(),
            });
        }
        for namespace in ["client", "server"] {
            let endpoints = if namespace == "client" { client_endpoints() } else { Vec::new() };
            let namespace = namespace.to_owned();
            self.push(Observation::Endpoints { namespace: namespace.clone(), moment: moment.clone(), endpoints });
            let limits = Limits { subflows: 4, add_addr_accepted: 1 };
            self.push(Observation::Limits { namespace, moment: moment.clone(), limits });
        }
    }

    /// Everything that is wrong.
    pub(super) fn findings(&self) -> Vec<Finding> {
        judge(&self.scenario, &self.recording)
    }

    /// The kinds of what is wrong.
    pub(super) fn kinds(&self) -> Vec<FindingKind> {
        self.findings().iter().map(|finding| finding.kind).collect()
    }

    /// Changes each observation that `change` says it did; at least one.
    pub(super) fn change(&mut self, mut change: impl FnMut(&mut Observation) -> bool) {
        let changed = self.recording.entries.iter_mut().filter_map(|entry| change(&mut entry.what).then_some(()));
        assert!(changed.count() > 0, "the test changes nothing");
    }

    /// Removes the observations for which `which` holds; at least one.
    pub(super) fn remove(&mut self, which: impl Fn(&Observation) -> bool) {
        let before = self.recording.entries.len();
        self.recording.entries.retain(|entry| !which(&entry.what));
        assert!(self.recording.entries.len() < before, "the test removes nothing");
    }

    /// The index of the n-th event of that kind of a namespace.
    pub(super) fn event_index(&self, namespace: &str, kind: EventKind, nth: usize) -> usize {
        let events = self.recording.entries.iter().enumerate().filter(|(_, entry)| match &entry.what {
            Observation::Event { namespace: of, event } => of == namespace && event.kind == kind,
            _ => false,
        });
        events.map(|(index, _)| index).nth(nth).unwrap()
    }
}

fn world() -> World {
    let end = |namespace: &str, device: &str, address: &str| LinkEnd {
        namespace: namespace.to_owned(),
        device: device.to_owned(),
        addresses: vec![Address { address: ip(address), prefix: 24 }],
    };
    let link = |name: &str, client: &str, server: &str| Link {
        name: name.to_owned(),
        place: Place::default(),
        mtu: None,
        rate: None,
        ends: [end("client", name, client), end("server", name, server)],
    };
    World {
        paths: Vec::new(),
        namespaces: vec![Namespace::new("client"), Namespace::new("server")],
        links: vec![
            link("one", "10.0.1.2", "10.0.1.1"),
            link("two", "10.0.2.2", "10.0.2.1"),
            link("three", "10.0.3.2", "10.0.3.1"),
            link("four", "10.0.4.2", "10.0.4.1"),
        ],
    }
}

pub(super) fn connect_plan() -> ConnectPlan {
    ConnectPlan {
        accepts: true,
        again: None,
        name: "main".to_owned(),
        from: "client".to_owned(),
        to: "server".to_owned(),
        address: socket("10.0.1.1:8080"),
        scope: None,
        source: None,
        source_port: None,
        protocol: SocketProtocol::Mptcp,
        outcome: ConnectionOutcome::Mptcp,
        server_protocol: None,
        options: SocketOptions::default(),
        accepted: SocketOptions::default(),
        implicit_listener: None,
        translated: None,
        handshake: true,
        deadline: DEADLINE,
    }
}

pub(super) fn transfer_plan() -> TransferPlan {
    TransferPlan {
        zero_copy: false,
        connection: "main".to_owned(),
        from_client: 1000,
        from_server: 1000,
        pace: None,
        background: false,
        tolerate_corrupt: 0,
        error: None,
        deadline: DEADLINE,
    }
}

pub(super) fn close(how: CloseHow) -> Action {
    Action::Close { connection: "main".to_owned(), by: Side::Client, how, deadline: DEADLINE }
}

pub(super) fn flush() -> Operation {
    Operation::FlushEndpoints { namespace: "client".to_owned() }
}

pub(super) fn connection() -> Connection {
    Connection {
        name: "main".to_owned(),
        client: "client".to_owned(),
        server: "server".to_owned(),
        client_address: socket("10.0.1.2:40001"),
        server_address: socket("10.0.1.1:8080"),
        client_token: Some(CLIENT_TOKEN),
        server_token: Some(SERVER_TOKEN),
        by_programs: false,
        unaccepted: false,
    }
}

pub(super) fn with_ends(kind: EventKind, token: u32, local: &str, remote: &str) -> PmEvent {
    let (local, remote) = (socket(local), socket(remote));
    PmEvent {
        token: Some(token),
        local: Some(local.ip()),
        local_port: Some(local.port()),
        remote: Some(remote.ip()),
        remote_port: Some(remote.port()),
        ..PmEvent::new(kind)
    }
}

pub(super) fn subflow(kind: EventKind, token: u32, local: &str, remote: &str, ids: (u8, u8)) -> PmEvent {
    PmEvent { local_id: Some(ids.0), remote_id: Some(ids.1), backup: Some(0), ..with_ends(kind, token, local, remote) }
}

pub(super) fn announced(id: u8, address: &str) -> PmEvent {
    PmEvent {
        token: Some(CLIENT_TOKEN),
        remote_id: Some(id),
        remote: Some(ip(address)),
        remote_port: Some(8080),
        ..PmEvent::new(EventKind::Announced)
    }
}

pub(super) fn capable(sender: bool, receiver: bool) -> MptcpOption {
    MptcpOption::MpCapable {
        version: 1,
        flags: 1,
        sender_key: sender.then_some(4711),
        receiver_key: receiver.then_some(4712),
        data_length: None,
        checksum: None,
    }
}

pub(super) fn add_addr(id: u8, address: &str) -> MptcpOption {
    let body = AddAddrBody { address: ip(address), port: None, hmac: Some(99) };
    MptcpOption::AddAddr { echo: false, address_id: id, body }
}

pub(super) fn echo(id: u8, address: &str) -> MptcpOption {
    let body = AddAddrBody { address: ip(address), port: None, hmac: None };
    MptcpOption::AddAddr { echo: true, address_id: id, body }
}

pub(super) fn dss(data_fin: bool, length: u16) -> MptcpOption {
    let mapping = DssMapping { data_sequence: 1, wide: true, subflow_sequence: 1, length, checksum: None };
    MptcpOption::Dss { data_fin, data_ack: Some((1, false)), mapping: Some(mapping) }
}

fn subflows(side: Side, token: u32) -> Vec<SubflowState> {
    let rows = [
        ("10.0.1.2:40001", "10.0.1.1:8080", 0, 0, 1),
        ("10.0.2.2:40002", "10.0.1.1:8080", 1, 0, 1),
        ("10.0.3.2:40003", "10.0.4.1:8080", 2, 1, 1),
        ("10.0.2.2:40009", "10.0.4.1:8080", 1, 1, 6),
    ];
    rows.into_iter()
        .map(|(client, server, client_id, server_id, tcp_state)| {
            let ends = (socket(client), socket(server), client_id, server_id);
            let (local, remote, local_id, remote_id) =
                if side == Side::Client { ends } else { (ends.1, ends.0, ends.3, ends.2) };
            let flags = SubflowFlags::FULLY_ESTABLISHED;
            SubflowState {
                local,
                remote,
                tcp_state,
                local_id,
                remote_id,
                token_local: token,
                flags,
                dev: None,
                tcp: None,
                options: None,
            }
        })
        .collect()
}

pub(super) fn client_endpoints() -> Vec<Endpoint> {
    [("10.0.2.2", 1), ("10.0.3.2", 2)]
        .into_iter()
        .map(|(address, id)| Endpoint {
            address: ip(address),
            port: None,
            id: Some(id),
            flags: EndpointFlags::SUBFLOW,
            dev: None,
        })
        .collect()
}

/// What an event must look like, besides.
pub(super) fn with(mut pattern: EventPattern, word: &str, wanted: impl Into<Wanted>) -> EventPattern {
    pattern.fields = and(pattern.fields, word, wanted);
    pattern
}

/// What an option must look like, besides.
pub(super) fn carrying(mut pattern: WirePattern, word: &str, wanted: impl Into<Wanted>) -> WirePattern {
    pattern.fields = and(pattern.fields, word, wanted);
    pattern
}

/// What a thing must look like, besides.
pub(super) fn and<T: Table>(pattern: Pattern<T>, word: &str, wanted: impl Into<Wanted>) -> Pattern<T> {
    pattern.and(word, wanted.into()).unwrap()
}
