//! A path with two ends, frames to send, and an independent reader for what arrives.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use etherparse::{PacketBuilder, TcpHeader};
use mptcplab::path::{Effect, Path};
use mptcplab::recording::PathEffect;
use mptcplab::scenario::model::{Conditions, PacketPattern, PathPlan, PathRule, Place, RuleAction, WirePattern};
use mptcplab::wire::{MptcpOption, TcpFlags};
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpOption, TcpPacket,
};

pub const MS: u64 = 1_000_000;

/// What arrived: the end, and the frame.
pub type Arrived = (usize, Vec<u8>);

pub struct Harness {
    pub path: Path,
    pub now: u64,
}

impl Harness {
    pub fn new(conditions: [Conditions; 2], rules: Vec<PathRule>) -> Self {
        let plan = PathPlan { link: "link1".into(), place: Place::default(), seed: 1, conditions, rules };
        Self { path: Path::new(&plan), now: 1000 * MS }
    }

    pub fn with_rule(matching: PacketPattern, action: RuleAction) -> Self {
        Self::new(Default::default(), vec![rule("rule", matching, action)])
    }

    /// Sends a frame; what arrives at once.
    pub fn send(&mut self, from: usize, frame: &[u8]) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        self.path.enter(self.now, from, frame, &mut |to, frame| arrived.push((to, frame.to_vec())));
        arrived
    }

    /// What arrives until then.
    pub fn until(&mut self, now: u64) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        self.now = now;
        self.path.due(now, &mut |to, frame| arrived.push((to, frame.to_vec())));
        arrived
    }

    pub fn after(&mut self, passed: u64) -> Vec<Arrived> {
        self.until(self.now + passed)
    }

    /// What was done, in words: `3 drop`.
    pub fn effects(&mut self) -> Vec<String> {
        self.path.take_effects().iter().map(Self::word_of).collect()
    }

    fn word_of(effect: &Effect) -> String {
        match &effect.what {
            PathEffect::Rule { action, made, .. } if made.is_empty() => format!("{} {action}", effect.number),
            PathEffect::Rule { action, made, .. } => format!("{} {action} → {}", effect.number, made.len()),
            what => format!("{} {what:?}", effect.number),
        }
    }
}

pub fn rule(name: &str, matching: PacketPattern, action: RuleAction) -> PathRule {
    PathRule { name: name.into(), place: Place::default(), matching, action, may_be_unused: false }
}

pub fn any() -> PacketPattern {
    PacketPattern::default()
}

pub fn wire(option: &str) -> WirePattern {
    WirePattern::named(option)
}

pub fn with_option(option: &str) -> PacketPattern {
    PacketPattern { option: Some(wire(option)), ..any() }
}

pub fn delay(delay: Duration) -> Conditions {
    Conditions { delay, ..Conditions::default() }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A segment to send. The first end of the link is 10.0.1.2 or fd00:1::2, the second 10.0.1.1 or fd00:1::1.
#[derive(Debug, Clone)]
pub struct Tcp {
    pub ipv6: bool,
    pub ports: (u16, u16),
    pub sequence: u32,
    pub acknowledgment: u32,
    pub flags: TcpFlags,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

pub const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9];

impl Tcp {
    pub fn data(sequence: u32, payload: &[u8]) -> Self {
        let flags = TcpFlags::ACK | TcpFlags::PSH;
        let options = TIMESTAMPS.to_vec();
        Self {
            ipv6: false,
            ports: (40000, 8080),
            sequence,
            acknowledgment: 5000,
            flags,
            options,
            payload: payload.into(),
        }
    }

    pub fn ack(sequence: u32) -> Self {
        Self { flags: TcpFlags::ACK, ..Self::data(sequence, &[]) }
    }

    pub fn syn(sequence: u32) -> Self {
        Self { flags: TcpFlags::SYN, acknowledgment: 0, ..Self::data(sequence, &[]) }
    }

    /// Behind the options that are there, padded with NOPs.
    pub fn option(mut self, option: &MptcpOption) -> Self {
        self.options.extend(option.encode());
        self.options.resize(self.options.len().next_multiple_of(4), 1);
        self
    }

    pub fn six(self, ipv6: bool) -> Self {
        Self { ipv6, ..self }
    }

    /// The frame with right checksums, as `from` sends it.
    pub fn frame(&self, from: usize) -> Vec<u8> {
        let mut tcp = TcpHeader::default();
        let (client, server) = self.ports;
        (tcp.source_port, tcp.destination_port) = if from == 0 { (client, server) } else { (server, client) };
        (tcp.sequence_number, tcp.acknowledgment_number) = (self.sequence, self.acknowledgment);
        tcp.window_size = 512;
        tcp.fin = self.flags.contains(TcpFlags::FIN);
        tcp.syn = self.flags.contains(TcpFlags::SYN);
        tcp.rst = self.flags.contains(TcpFlags::RST);
        tcp.psh = self.flags.contains(TcpFlags::PSH);
        tcp.ack = self.flags.contains(TcpFlags::ACK);
        tcp.set_options_raw(&self.options).unwrap();
        let mut frame = Vec::new();
        let last = |end: usize| u8::from(end == 0) + 1;
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, last(from)], [2, 0, 0, 0, 0, last(1 - from)]);
        if self.ipv6 {
            let address = |end: usize| [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last(end)];
            ethernet
                .ipv6(address(from), address(1 - from), 64)
                .tcp_header(tcp)
                .write(&mut frame, &self.payload)
                .unwrap();
        } else {
            let address = |end: usize| [10, 0, 1, last(end)];
            ethernet
                .ipv4(address(from), address(1 - from), 64)
                .tcp_header(tcp)
                .write(&mut frame, &self.payload)
                .unwrap();
        }
        frame
    }
}

/// What smoltcp reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub to: usize,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub sequence: u32,
    pub acknowledgment: u32,
    pub flags: String,
    pub window: u16,
    /// All octets of the options.
    pub options: Vec<u8>,
    /// (TSval, TSecr)
    pub timestamps: Option<(u32, u32)>,
    pub payload: Vec<u8>,
}

impl Seen {
    /// Reads a frame. Its lengths and checksums have to be right.
    pub fn read((to, frame): &Arrived) -> Self {
        let ethernet = EthernetFrame::new_checked(frame.as_slice()).unwrap();
        let (source, destination, segment): (IpAddress, IpAddress, &[u8]) = match ethernet.ethertype() {
            EthernetProtocol::Ipv4 => {
                let packet = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
                assert!(packet.verify_checksum(), "IPv4 checksum");
                assert_eq!(usize::from(packet.total_len()), frame.len() - 14, "IPv4 length");
                assert_eq!(packet.next_header(), IpProtocol::Tcp);
                (packet.src_addr().into(), packet.dst_addr().into(), &frame[14 + usize::from(packet.header_len())..])
            }
            EthernetProtocol::Ipv6 => {
                let packet = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
                assert_eq!((packet.version(), packet.total_len()), (6, frame.len() - 14), "IPv6 version and length");
                assert_eq!(packet.next_header(), IpProtocol::Tcp);
                (packet.src_addr().into(), packet.dst_addr().into(), &frame[54..])
            }
            other => panic!("neither IPv4 nor IPv6: {other}"),
        };
        let tcp = TcpPacket::new_checked(segment).unwrap();
        assert!(tcp.verify_checksum(&source, &destination), "TCP checksum");
        Self::of(*to, (source, destination), &tcp)
    }

    fn of(to: usize, (source, destination): (IpAddress, IpAddress), tcp: &TcpPacket<&[u8]>) -> Self {
        let flags = [(tcp.syn(), 'S'), (tcp.fin(), 'F'), (tcp.rst(), 'R'), (tcp.psh(), 'P'), (tcp.ack(), 'A')];
        #[expect(clippy::cast_sign_loss, reason = "smoltcp's sequence numbers are signed")]
        let [sequence, acknowledgment] = [tcp.seq_number(), tcp.ack_number()].map(|number| number.0 as u32);
        Self {
            to,
            source: SocketAddr::new(source.into(), tcp.src_port()),
            destination: SocketAddr::new(destination.into(), tcp.dst_port()),
            sequence,
            acknowledgment,
            flags: flags.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect(),
            window: tcp.window_len(),
            options: tcp.options().to_vec(),
            timestamps: timestamps(tcp.options()),
            payload: tcp.payload().to_vec(),
        }
    }

    /// The MPTCP options, by our own decoder, which `wire_frames` proves against tshark.
    pub fn mptcp(&self) -> Vec<MptcpOption> {
        let (options, malformed) = MptcpOption::decode_all(&self.options);
        assert!(!malformed, "options cannot be walked");
        options
    }
}

fn timestamps(mut options: &[u8]) -> Option<(u32, u32)> {
    while !options.is_empty() {
        match TcpOption::parse(options).unwrap() {
            (_, TcpOption::TimeStamp { tsval, tsecr }) => return Some((tsval, tsecr)),
            (rest, _) => options = rest,
        }
    }
    None
}

/// The only thing that arrived.
pub fn only(arrived: &[Arrived]) -> Seen {
    assert_eq!(arrived.len(), 1, "{arrived:02x?}");
    Seen::read(&arrived[0])
}

#[test]
fn the_reader_finds_whatever_is_wrong() {
    for ipv6 in [false, true] {
        let frame = Tcp::data(1, b"abc").six(ipv6).frame(0);
        // Everything is covered by a checksum or a length, but for the Ethernet addresses and some octets of IPv6.
        let covered = (14..frame.len()).filter(|at| !ipv6 || !(15..=17).contains(at) && *at != 21);
        for at in covered {
            let mut wrong = frame.clone();
            wrong[at] ^= 0x10;
            let read = std::panic::catch_unwind(|| Seen::read(&(1, wrong)));
            assert!(read.is_err(), "octet {at} was changed, and nobody noticed");
        }
    }
}
