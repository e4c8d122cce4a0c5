//! How good paths are, in figures: `cargo run --release --example path_figures`.
//!
//! Throughput and latency of a spliced link against a plain veth pair in the same run, and how exactly delays and rates
//! are kept.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "it is for reading, and may fail")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mptcplab::forward::{Forwarder, News, Prepared};
use mptcplab::path::Path;
use mptcplab::plan::{Plan, Setup, plan};
use mptcplab::scenario::model::{
    Address, Conditions, Expectation, Link, LinkEnd, Namespace, PathPlan, Place, Scenario, World,
};
use mptcplab::sys::privilege;
use mptcplab::testbed::{self, Home, Testbed};
use socket2::{Domain, Protocol, Socket, Type};

const PLAIN: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
const SPLICED: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const MPTCP: Protocol = Protocol::MPTCP;

fn main() {
    privilege::enter().unwrap();
    let home = Home::create().unwrap();
    home.enter_for_good().unwrap();
    let only = std::env::args().nth(1).unwrap_or_default();
    let wanted = |name: &str| only.is_empty() || only == name;
    if wanted("throughput") {
        throughput(&home);
    }
    if wanted("latency") {
        latency(&home);
    }
    if wanted("delay") {
        for millis in [1, 10, 100] {
            delay(&home, Duration::from_millis(millis));
        }
    }
    if wanted("rate") {
        for rate in [1_000_000, 20_000_000, 100_000_000] {
            self::rate(&home, rate);
        }
    }
}

/// Two hosts, with a plain link and a spliced one.
struct Lab {
    testbed: Testbed,
    forwarder: Forwarder,
}

impl Lab {
    fn new(home: &Arc<Home>, conditions: &Conditions) -> Self {
        let path = PathPlan {
            link: "spliced".to_owned(),
            place: Place::default(),
            seed: 1,
            conditions: [conditions.clone(), conditions.clone()],
            rules: Vec::new(),
        };
        let Plan { setup, .. } = plan(&scenario(path.clone()));
        let setup: Vec<Setup> = setup.into_iter().filter(|setup| !matches!(setup, Setup::Operation(_))).collect();
        let testbed = testbed::build(home, &setup).unwrap();
        let prepared = Prepared::open("spliced", testbed.path("spliced").unwrap(), 1500).unwrap();
        let forwarder = prepared.start(Path::new(&path)).unwrap().ready().unwrap();
        Self { testbed, forwarder }
    }

    fn pair(&self, to: Ipv4Addr, protocol: Protocol) -> (TcpStream, TcpStream) {
        let socket = |name: &str| {
            let node = self.testbed.node(name).unwrap();
            node.run(|| Socket::new(Domain::IPV4, Type::STREAM, Some(protocol)).unwrap()).unwrap()
        };
        let listener = socket("server");
        listener.bind(&SocketAddr::from((to, 0)).into()).unwrap();
        listener.listen(1).unwrap();
        let listener = TcpListener::from(listener);
        let client = socket("client");
        client.connect(&listener.local_addr().unwrap().into()).unwrap();
        (TcpStream::from(client), listener.accept().unwrap().0)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let news = self.forwarder.take_news();
        let lost: Vec<&News> = news.iter().filter(|news| !matches!(news, News::Deed(_))).collect();
        if !lost.is_empty() {
            println!("  LOST: {lost:?}");
        }
    }
}

fn scenario(path: PathPlan) -> Scenario {
    let namespace = |name: &str| Namespace {
        name: name.to_owned(),
        place: Place::default(),
        limits: None,
        endpoints: Vec::new(),
        routes: Vec::new(),
        sysctls: Vec::new(),
        userspace_path_manager: false,
        events: true,
        forwarding: false,
    };
    let link = |name: &str, device: &str, net: u8| Link {
        name: name.to_owned(),
        place: Place::default(),
        mtu: None,
        rate: None,
        ends: [("client", 1), ("server", 2)].map(|(namespace, host)| LinkEnd {
            namespace: namespace.to_owned(),
            device: device.to_owned(),
            addresses: vec![Address { address: Ipv4Addr::new(10, 0, net, host).into(), prefix: 24 }],
        }),
    };
    Scenario {
        file: "figures".into(),
        variant: None,
        title: String::new(),
        about: String::new(),
        see: Vec::new(),
        requires: Vec::new(),
        alone: false,
        world: World {
            namespaces: vec![namespace("client"), namespace("server")],
            links: vec![link("plain", "eth1", 1), link("spliced", "eth2", 2)],
            paths: vec![path],
        },
        steps: Vec::new(),
        expect: Expectation::default(),
        sources: Vec::new(),
    }
}

/// Bits per second of one connection.
fn measure(lab: &Lab, to: Ipv4Addr, protocol: Protocol, time: Duration) -> f64 {
    let (mut client, mut server) = lab.pair(to, protocol);
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        let (start, mut bytes) = (Instant::now(), 0_u64);
        loop {
            match server.read(&mut buffer).unwrap() {
                0 => return (bytes, start.elapsed()),
                read => bytes += read as u64,
            }
        }
    });
    let (start, buffer) = (Instant::now(), vec![7; 256 * 1024]);
    while start.elapsed() < time {
        client.write_all(&buffer).unwrap();
    }
    drop(client);
    let (bytes, took) = reader.join().unwrap();
    bytes as f64 * 8.0 / took.as_secs_f64()
}

fn throughput(home: &Arc<Home>) {
    println!("throughput of one connection, Gbit/s:");
    let time = Duration::from_secs(3);
    for (name, protocol) in [("MPTCP", MPTCP), ("TCP", Protocol::TCP)] {
        let lab = Lab::new(home, &Conditions::default());
        let plain = measure(&lab, PLAIN, protocol, time);
        let spliced = measure(&lab, SPLICED, protocol, time);
        println!(
            "  {name}: plain veth {:.2}, path {:.2} ({:.0} %)",
            plain / 1e9,
            spliced / 1e9,
            100.0 * spliced / plain
        );
    }
}

/// How long a byte takes there and back, sorted.
fn ping_pong(lab: &Lab, to: Ipv4Addr, count: usize) -> Vec<Duration> {
    let (mut client, mut server) = lab.pair(to, Protocol::TCP);
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let echo = thread::spawn(move || {
        let mut byte = [0];
        while server.read(&mut byte).unwrap() == 1 {
            server.write_all(&byte).unwrap();
        }
    });
    let mut times = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        client.write_all(&[7]).unwrap();
        client.read_exact(&mut [0]).unwrap();
        times.push(start.elapsed());
    }
    drop(client);
    echo.join().unwrap();
    times.sort();
    times
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn latency(home: &Arc<Home>) {
    println!("a byte there and back, median:");
    let lab = Lab::new(home, &Conditions::default());
    let plain = percentile(&ping_pong(&lab, PLAIN, 10_000), 50);
    let spliced = percentile(&ping_pong(&lab, SPLICED, 10_000), 50);
    println!("  plain veth {plain:?}, path {spliced:?}: the path adds {:?} each way", (spliced - plain) / 2);
}

fn delay(home: &Arc<Home>, delay: Duration) {
    let lab = Lab::new(home, &Conditions { delay, ..Conditions::default() });
    let plain = percentile(&ping_pong(&lab, PLAIN, 1000), 50);
    let count = if delay < Duration::from_millis(50) { 1000 } else { 100 };
    let mut errors: Vec<Duration> =
        ping_pong(&lab, SPLICED, count).iter().map(|time| (time.saturating_sub(plain) / 2).abs_diff(delay)).collect();
    errors.sort();
    println!(
        "a delay of {delay:?}: error median {:?}, 99th percentile {:?}",
        percentile(&errors, 50),
        percentile(&errors, 99)
    );
}

fn rate(home: &Arc<Home>, rate: u64) {
    let lab = Lab::new(home, &Conditions { rate: Some(rate), ..Conditions::default() });
    let measured = measure(&lab, SPLICED, Protocol::TCP, Duration::from_secs(3));
    // The rate is that of IP packets: 1500 bytes carry 1448.
    let expected = rate as f64 * 1448.0 / 1500.0;
    println!("a rate of {} Mbit/s: off by {:.2} %", rate / 1_000_000, 100.0 * (measured / expected - 1.0));
}
