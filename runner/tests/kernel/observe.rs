//! The observers against this machine's kernel, in network namespaces of their own: two of them, `client`
//! (10.0.1.2, fd00:1::2) and `server` (10.0.1.1, fd00:1::1), joined by a veth pair.

use std::cell::RefCell;
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Completion, Failed};
use mptcplab::mptcp::{IPPROTO_MPTCP, OPTIONS, Reading, canonical};
use mptcplab::observe::sockets::{full_info, is_mptcp, mptcp_info, subflow_addresses, subflow_tcp_info};
use mptcplab::observe::{Capture, CaptureSocket, Counters, delta};
use mptcplab::plan::DEFAULT_RING_BYTES;
use mptcplab::recording::{Direction, OptionAnswer};
use mptcplab::scenario::model::{OptionSetting, Place, SocketOptions};
use mptcplab::traffic::set_options;
use mptcplab::wire::{IcmpError, MptcpOption, Segment, TcpFlags};
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Runtime;

use super::at_home;
use super::require::machine_lacks;

type Outcome = Result<(), Failed>;
type Body = fn() -> Outcome;

const SERVER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));
const SERVER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1));

const TESTS: [(&str, Body); 13] = [
    ("a_capture_shows_the_handshake_in_order", a_capture_shows_the_handshake_in_order),
    ("a_capture_accounts_for_each_byte", a_capture_accounts_for_each_byte),
    ("a_capture_bears_the_time_of_day", a_capture_bears_the_time_of_day),
    ("only_tcp_on_ethernet_is_captured", only_tcp_on_ethernet_is_captured),
    ("icmp_errors_are_captured", icmp_errors_are_captured),
    ("a_full_ring_is_reported_as_loss", a_full_ring_is_reported_as_loss),
    ("a_captured_frame_wakes_the_reader", a_captured_frame_wakes_the_reader),
    ("counters_are_those_of_their_namespace", counters_are_those_of_their_namespace),
    ("a_socket_tells_about_its_connection", a_socket_tells_about_its_connection),
    ("the_ways_to_ask_for_subflows_agree", the_ways_to_ask_for_subflows_agree),
    ("a_server_sees_that_a_client_is_not_mptcp", a_server_sees_that_a_client_is_not_mptcp),
    ("a_client_sees_that_it_fell_back", a_client_sees_that_it_fell_back),
    ("each_socket_option_is_set_or_refused", each_socket_option_is_set_or_refused),
];

/// What the kernel refuses on MPTCP sockets (`mptcp_setsockopt`, net/mptcp/sockopt.c).
const REFUSED: [(&str, &str); 10] = [
    ("tclass", "EOPNOTSUPP"),
    ("zerocopy", "EOPNOTSUPP"),
    ("oobinline", "EOPNOTSUPP"),
    ("ttl", "EOPNOTSUPP"),
    ("user_timeout", "ENOPROTOOPT"),
    ("syncnt", "ENOPROTOOPT"),
    ("linger2", "ENOPROTOOPT"),
    ("quickack", "ENOPROTOOPT"),
    ("window_clamp", "ENOPROTOOPT"),
    ("md5sig", "ENOPROTOOPT"),
];

/// Each option of the table is what the kernel calls so: it takes the value and shows it, on a TCP socket and, unless it
/// refuses it there, on an MPTCP socket.
fn each_socket_option_is_set_or_refused() -> Outcome {
    let namespace = Namespace::new().map_err(|error| error.to_string())?;
    namespace.inside(|| {
        for option in OPTIONS {
            for (protocol, is_mptcp) in [(Protocol::TCP, false), (Protocol::from(IPPROTO_MPTCP), true)] {
                let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(protocol))?;
                let value = option.sample();
                let setting = OptionSetting { option, value: value.clone(), place: Place::default() };
                let options = SocketOptions { set: vec![setting], ..SocketOptions::default() };
                let answer = RefCell::new(None);
                set_options(socket.as_fd(), &options, &|_, told| _ = answer.replace(Some(told)))?;
                let answer = answer.into_inner();
                let refused = REFUSED.iter().find(|(word, _)| is_mptcp && *word == option.word);
                let as_expected = match (&answer, refused) {
                    (Some(OptionAnswer::Refused(errno)), Some((_, wanted))) => errno == wanted,
                    (Some(OptionAnswer::Shown(shown)), None) => option.agrees(&value, shown),
                    (Some(OptionAnswer::Hidden(None)), None) => option.reading == Reading::Nothing,
                    _ => false,
                };
                assert!(as_expected, "{} (MPTCP: {is_mptcp}): {answer:?}, {refused:?}", option.symbol);
            }
        }
        Ok(())
    })
}

/// The tests of this suite.
pub fn tests() -> Vec<super::Test> {
    let test = |(name, body): (&'static str, Body)| {
        super::Test::new(name, move || match OBSTACLE.as_deref() {
            Some(reason) => machine_lacks(reason),
            None => body().map(|()| Completion::Completed),
        })
    };
    TESTS.into_iter().map(test).collect()
}

/// Why the namespaces can't be built here.
static OBSTACLE: LazyLock<Option<String>> = LazyLock::new(|| match at_home::home() {
    Ok(_) => World::new().err().map(|error| error.to_string()),
    Err(reason) => Some(reason.to_owned()),
});

/// A network namespace that nothing but its descriptor keeps alive.
struct Namespace(File);

impl Namespace {
    /// Makes one, with `lo` up.
    fn new() -> Result<Self, Box<dyn Error>> {
        let file = std::thread::scope(|scope| {
            let made = scope.spawn(|| -> Result<File, String> {
                unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("unshare(CLONE_NEWNET): {errno}"))?;
                ip("link set lo up")?;
                File::open("/proc/thread-self/ns/net").map_err(|error| error.to_string())
            });
            made.join().map_err(|_| "the thread panicked".to_owned())?
        })?;
        Ok(Self(file))
    }

    /// Runs something in the namespace, on a thread of its own.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("entering our own namespace");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| format!("ip(8): {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

struct World {
    client: Namespace,
    server: Namespace,
}

impl World {
    fn new() -> Result<Self, Box<dyn Error>> {
        let world = Self { client: Namespace::new()?, server: Namespace::new()? };
        world.client.inside(mptcp_works)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), world.server.0.as_raw_fd());
        world.client.inside(|| ip(&format!("link add eth1 type veth peer name eth1 netns {path}")))?;
        for (namespace, host) in [(&world.client, 2), (&world.server, 1)] {
            namespace.inside(|| {
                ip("link set eth1 up")?;
                ip(&format!("addr add 10.0.1.{host}/24 dev eth1"))?;
                ip(&format!("addr add fd00:1::{host}/64 dev eth1 nodad"))
            })?;
        }
        Ok(world)
    }

    fn listen(&self, address: IpAddr, kind: Kind) -> (Socket, SocketAddr) {
        self.server.inside(|| {
            let listener = kind.socket(address);
            listener.bind(&SocketAddr::new(address, 0).into()).unwrap();
            listener.listen(16).unwrap();
            let bound = listener.local_addr().unwrap().as_socket().unwrap();
            (listener, bound)
        })
    }

    /// A connection on which a byte has gone each way, so that both sides are fully established.
    fn connect(&self, address: IpAddr, client: Kind, server: Kind) -> (Socket, Socket) {
        let (listener, bound) = self.listen(address, server);
        let client = self.client.inside(|| client.socket(address));
        client.connect(&bound.into()).unwrap();
        let (server, _) = listener.accept().unwrap();
        for (mut from, mut to) in [(&client, &server), (&server, &client)] {
            from.write_all(&[1]).unwrap();
            to.read_exact(&mut [0]).unwrap();
        }
        (client, server)
    }
}

fn mptcp_works() -> Result<(), String> {
    Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::from(IPPROTO_MPTCP)))
        .map(drop)
        .map_err(|error| format!("socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP): {error}"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Mptcp,
}

impl Kind {
    fn socket(self, address: IpAddr) -> Socket {
        let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let protocol = match self {
            Self::Tcp => Protocol::TCP,
            Self::Mptcp => Protocol::from(IPPROTO_MPTCP),
        };
        Socket::new(domain, Type::STREAM, Some(protocol)).unwrap()
    }
}

/// Sends so many bytes, ends the stream, and returns when the other side has read them all.
fn send(mut from: &Socket, mut to: &Socket, bytes: u64) {
    let bytes = usize::try_from(bytes).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            from.write_all(&vec![7; bytes]).unwrap();
            from.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        to.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), bytes);
    });
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn open(namespace: &Namespace, runtime: &Runtime, ring_bytes: usize) -> Capture {
    let socket = namespace.inside(|| CaptureSocket::open().unwrap());
    runtime.block_on(socket.start(ring_bytes)).unwrap()
}

/// What a capture holds by now.
fn segments(capture: &mut Capture) -> Vec<(Direction, Segment)> {
    let mut found = Vec::new();
    capture.drain(|frame| {
        assert_eq!(frame.bytes.len(), usize::try_from(frame.original_length).unwrap().min(190));
        found.push((frame.direction, frame.segment().expect("only TCP is captured")));
    });
    assert_eq!(capture.lost().unwrap(), 0);
    found
}

fn a_capture_shows_the_handshake_in_order() -> Outcome {
    for address in [SERVER_V4, SERVER_V6] {
        let world = World::new()?;
        let runtime = runtime();
        let mut at_client = open(&world.client, &runtime, DEFAULT_RING_BYTES);
        let mut at_server = open(&world.server, &runtime, DEFAULT_RING_BYTES);
        let (client, _server) = world.connect(address, Kind::Mptcp, Kind::Mptcp);

        let seen = segments(&mut at_client);
        let handshake: Vec<_> = seen
            .iter()
            .take(3)
            .map(|(direction, segment)| {
                assert_eq!(segment.options.len(), 1, "{segment:?}");
                (*direction, segment.flags, segment.options[0].encode().len())
            })
            .collect();
        // RFC 8684 section 3.1: no key, the sender's key, both keys.
        assert_eq!(
            handshake,
            [
                (Direction::Out, TcpFlags::SYN, 4),
                (Direction::In, TcpFlags::SYN | TcpFlags::ACK, 12),
                (Direction::Out, TcpFlags::ACK, 20),
            ]
        );
        let local = client.local_addr().unwrap().as_socket().unwrap();
        assert_eq!((seen[0].1.source, seen[0].1.destination.ip()), (local, address));

        // The other side has seen the same, the other way round.
        let mirrored = |direction| if direction == Direction::Out { Direction::In } else { Direction::Out };
        let seen_by_server: Vec<_> = segments(&mut at_server).into_iter().map(|(d, s)| (mirrored(d), s)).collect();
        for (one, other) in seen.iter().zip(&seen_by_server).take(3) {
            assert_eq!(one, other);
        }
    }
    Ok(())
}

fn a_capture_accounts_for_each_byte() -> Outcome {
    const BYTES: u64 = 1 << 20;
    for address in [SERVER_V4, SERVER_V6] {
        let world = World::new()?;
        let runtime = runtime();
        let mut at_client = open(&world.client, &runtime, DEFAULT_RING_BYTES);
        let mut at_server = open(&world.server, &runtime, DEFAULT_RING_BYTES);
        let (client, server) = world.connect(address, Kind::Mptcp, Kind::Mptcp);
        send(&client, &server, BYTES);

        for (capture, wanted) in [(&mut at_client, Direction::Out), (&mut at_server, Direction::In)] {
            let sent: Vec<Segment> =
                segments(capture).into_iter().filter(|(direction, _)| *direction == wanted).map(|(_, s)| s).collect();
            // Both sequence spaces are covered from end to end. (MPTCP may send data twice under new TCP numbers.)
            let first = sent[0].sequence.wrapping_add(1);
            let tcp = sent.iter().filter(|segment| segment.payload > 0).map(|segment| {
                let start = u64::from(segment.sequence.wrapping_sub(first));
                start..start + u64::from(segment.payload)
            });
            let tcp = union(tcp.collect());
            assert!(tcp.len() == 1 && tcp[0].start == 0, "no gaps: {tcp:?}");
            let data = sent.iter().flat_map(|segment| &segment.options).filter_map(|option| match option {
                MptcpOption::Dss { mapping: Some(mapping), data_fin, .. } => {
                    let length = u64::from(mapping.length) - u64::from(*data_fin);
                    Some(mapping.data_sequence..mapping.data_sequence + length)
                }
                _ => None,
            });
            let data = union(data.filter(|range| !range.is_empty()).collect());
            assert_eq!((data.len(), data[0].end - data[0].start), (1, BYTES), "{data:?}");

            let largest = sent.iter().map(|segment| segment.payload).max();
            assert!(largest > Some(1500), "segmentation offload makes segments that exceed the MTU");
        }
    }
    Ok(())
}

/// Ranges that overlap or touch are made one.
fn union(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    ranges.into_iter().fold(Vec::new(), |mut merged, range| {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
        merged
    })
}

fn a_capture_bears_the_time_of_day() -> Outcome {
    let now = || u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    let world = World::new()?;
    let runtime = runtime();
    let capture = open(&world.client, &runtime, DEFAULT_RING_BYTES);
    let before = now();
    let _sockets = world.connect(SERVER_V4, Kind::Mptcp, Kind::Mptcp);
    let after = now();
    let mut times = Vec::new();
    capture.drain(|frame| times.push(frame.at_ns));
    assert!(times.len() >= 3);
    assert!(times.is_sorted(), "{times:?}");
    assert!(times[0] >= before && times[2] <= after, "{before} {times:?} {after}");
    Ok(())
}

fn only_tcp_on_ethernet_is_captured() -> Outcome {
    let world = World::new()?;
    let runtime = runtime();
    let mut capture = open(&world.server, &runtime, DEFAULT_RING_BYTES);
    for (address, any) in [(SERVER_V4, "0.0.0.0:0"), (SERVER_V6, "[::]:0")] {
        let server = world.server.inside(|| UdpSocket::bind((address, 0)).unwrap());
        let client = world.client.inside(|| UdpSocket::bind(any).unwrap());
        client.send_to(&[1, 2, 3], server.local_addr().unwrap()).unwrap();
        server.recv(&mut [0; 3]).unwrap();
    }
    world.server.inside(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    });
    let mut seen = Vec::new();
    capture.drain(|frame| seen.push(frame.bytes.to_vec()));
    assert!(seen.is_empty(), "UDP, neighbour discovery and lo are not wanted: {seen:x?}");

    // The same capture does see TCP, of both families, on the same link.
    let mut kept_open = Vec::new();
    for address in [SERVER_V4, SERVER_V6] {
        kept_open.push(world.connect(address, Kind::Tcp, Kind::Tcp));
        let seen = segments(&mut capture);
        assert!(seen.len() >= 3 && seen.iter().all(|(_, segment)| segment.options.is_empty()), "{seen:?}");
        assert!(seen.iter().all(|(_, segment)| [segment.source.ip(), segment.destination.ip()].contains(&address)));
    }
    Ok(())
}

/// Nobody listens on the port: the server's kernel says so. Neighbour discovery is ICMPv6, too, and not wanted.
fn icmp_errors_are_captured() -> Outcome {
    let world = World::new()?;
    let runtime = runtime();
    let capture = open(&world.client, &runtime, DEFAULT_RING_BYTES);
    for (address, any) in [(SERVER_V4, "0.0.0.0:0"), (SERVER_V6, "[::]:0")] {
        let client = world.client.inside(|| UdpSocket::bind(any).unwrap());
        client.connect((address, 9)).unwrap();
        client.send(&[1, 2, 3]).unwrap();
        // The error is what recv() gets.
        assert_eq!(client.recv(&mut [0; 3]).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        let mut seen = Vec::new();
        capture.drain(|frame| seen.push((frame.direction, IcmpError::parse(frame.bytes))));
        let [(Direction::In, Some(error))] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!((error.source, error.words().as_str(), error.about), (address, "ICMP port unreachable", None));
    }
    Ok(())
}

fn a_full_ring_is_reported_as_loss() -> Outcome {
    // The smallest ring there is: 64 KiB, 256 frames.
    let world = World::new()?;
    let runtime = runtime();
    let capture = open(&world.client, &runtime, 1);
    for _ in 0..100 {
        world.connect(SERVER_V4, Kind::Tcp, Kind::Tcp);
    }
    let lost = capture.lost()?;
    assert!(lost > 0);
    let mut kept = 0;
    capture.drain(|_| kept += 1);
    assert_eq!(kept, 256);

    // Drained, it goes on; and a loss is reported once.
    world.connect(SERVER_V4, Kind::Tcp, Kind::Tcp);
    assert_eq!(capture.lost()?, 0);
    capture.drain(|_| kept += 1);
    assert!(kept > 256);
    capture.close();
    Ok(())
}

fn a_captured_frame_wakes_the_reader() -> Outcome {
    let world = World::new()?;
    let runtime = runtime();
    let mut capture = open(&world.client, &runtime, DEFAULT_RING_BYTES);
    for _ in 0..3 {
        let _sockets = world.connect(SERVER_V4, Kind::Mptcp, Kind::Mptcp);
        let limit = Duration::from_secs(10);
        runtime.block_on(async { tokio::time::timeout(limit, capture.readable()).await })??;
        assert!(segments(&mut capture).len() >= 3);
    }
    Ok(())
}

fn counters_are_those_of_their_namespace() -> Outcome {
    let world = World::new()?;
    let mut at_client = world.client.inside(Counters::open)?;
    let mut at_server = world.server.inside(Counters::open)?;
    let before = (at_client.read()?, at_server.read()?);
    let _sockets = world.connect(SERVER_V6, Kind::Mptcp, Kind::Mptcp);
    let client = delta(&before.0, &at_client.read()?);
    let server = delta(&before.1, &at_server.read()?);

    assert_eq!((client["MPTcpExtMPCapableSYNTX"], server["MPTcpExtMPCapableSYNTX"]), (1, 0));
    assert_eq!((client["MPTcpExtMPCapableSYNRX"], server["MPTcpExtMPCapableSYNRX"]), (0, 1));
    assert_eq!((client["TcpActiveOpens"], server["TcpPassiveOpens"]), (1, 1));
    assert!(server["Ip6InReceives"] >= 3);
    assert!(server["IpExtInOctets"] == 0, "not a single IPv4 packet");
    Ok(())
}

fn a_socket_tells_about_its_connection() -> Outcome {
    let world = World::new()?;
    for address in [SERVER_V4, SERVER_V6] {
        let (client, server) = world.connect(address, Kind::Mptcp, Kind::Mptcp);
        assert!(is_mptcp(client.as_fd())? && is_mptcp(server.as_fd())?);
        let ours = mptcp_info(client.as_fd())?.ok_or("the client is not MPTCP")?;
        let theirs = mptcp_info(server.as_fd())?.ok_or("the server is not MPTCP")?;
        assert!(!ours.fallback() && !theirs.fallback());
        assert!(ours.token != 0 && ours.token != theirs.token);
        assert_eq!((ours.subflows, ours.size >= 48), (0, true));
        assert_eq!(ours.rcv_nxt, theirs.write_seq, "what they wrote has arrived");
        if ours.size >= 80 {
            assert_eq!((ours.bytes_sent, ours.bytes_received), (Some(1), Some(1)));
        }
    }
    Ok(())
}

fn the_ways_to_ask_for_subflows_agree() -> Outcome {
    let world = World::new()?;
    for address in [SERVER_V4, SERVER_V6] {
        let (client, server) = world.connect(address, Kind::Mptcp, Kind::Mptcp);
        let addresses = subflow_addresses(client.as_fd())?.ok_or("the client is not MPTCP")?;
        let local = client.local_addr()?.as_socket().ok_or("no address")?;
        let remote = server.local_addr()?.as_socket().ok_or("no address")?;
        assert_eq!(addresses.len(), 1);
        assert_eq!((addresses[0].local, addresses[0].remote), (local, remote));
        assert_eq!(canonical(addresses[0].remote.ip()), address);

        let tcp = subflow_tcp_info(client.as_fd())?.ok_or("the client is not MPTCP")?;
        assert_eq!(tcp.len(), 1);
        assert_eq!((tcp[0].state, tcp[0].bytes_received), (1, 1));
        assert!(tcp[0].rtt_us > 0 && tcp[0].snd_cwnd > 0);

        // Linux 6.5 and newer.
        if let Some(full) = full_info(client.as_fd())? {
            assert_eq!(full.info.token, mptcp_info(client.as_fd())?.ok_or("the client is not MPTCP")?.token);
            assert_eq!(full.subflows.len(), 1);
            assert_eq!(full.subflows[0].addresses, addresses[0]);
            assert_eq!((full.subflows[0].tcp.state, full.subflows[0].tcp.bytes_received), (1, 1));
            assert_eq!((full.subflows[0].tcp.snd_cwnd, full.subflows[0].id), (tcp[0].snd_cwnd, 1));
        } else {
            assert!(full_info(server.as_fd())?.is_none());
        }
    }
    Ok(())
}

fn a_server_sees_that_a_client_is_not_mptcp() -> Outcome {
    let world = World::new()?;
    for address in [SERVER_V4, SERVER_V6] {
        let (client, server) = world.connect(address, Kind::Tcp, Kind::Mptcp);
        for socket in [&client, &server] {
            assert_eq!(mptcp_info(socket.as_fd())?, None);
            assert_eq!(subflow_addresses(socket.as_fd())?, None);
            assert_eq!(subflow_tcp_info(socket.as_fd())?, None);
            assert_eq!(full_info(socket.as_fd())?, None);
            assert!(!is_mptcp(socket.as_fd())?);
        }
    }
    Ok(())
}

fn a_client_sees_that_it_fell_back() -> Outcome {
    let world = World::new()?;
    let runtime = runtime();
    for address in [SERVER_V4, SERVER_V6] {
        let mut capture = open(&world.client, &runtime, DEFAULT_RING_BYTES);
        let (client, _server) = world.connect(address, Kind::Mptcp, Kind::Tcp);
        assert_eq!(mptcp_info(client.as_fd())?, None);
        assert!(!is_mptcp(client.as_fd())?);
        // It had asked for MPTCP.
        let seen = segments(&mut capture);
        assert!(matches!(seen[0].1.options.as_slice(), [MptcpOption::MpCapable { sender_key: None, .. }]));
        assert!(seen.iter().skip(1).all(|(_, segment)| segment.options.is_empty()), "{seen:?}");
    }
    Ok(())
}
