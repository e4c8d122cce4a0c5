//! How good paths are, in figures: `cargo run --release --example path_figures`.
//!
//! Throughput and latency of a spliced link against a plain veth pair in the same run, and how exactly delays and rates
//! are kept. A path that is open for good carries frames whole, as the plain pair does; one that may change carries real
//! ones.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "it is for reading, and may fail"
)]

#[path = "../tests/kernel/paths/hosts.rs"]
mod hosts;

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hosts::{Hosts, PLAIN, SPLICED};
use mptcplab::forward::Notice;
use mptcplab::scenario::model::Conditions;
use mptcplab::sys::privilege;
use mptcplab::testbed::BaseNamespace;
use socket2::Protocol;

fn main() {
    privilege::enter().unwrap();
    let home = BaseNamespace::create().unwrap();
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

/// Two hosts that say at their end whether something was lost: then the figures are worth nothing.
struct Checked(Hosts);

impl Checked {
    fn new(home: &Arc<BaseNamespace>, conditions: &Conditions) -> Self {
        Self(Hosts::new(home, conditions))
    }

    fn open(home: &Arc<BaseNamespace>) -> Self {
        Self(Hosts::open(home))
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        let news = self.0.forwarder.take_notices();
        let lost: Vec<&Notice> = news.iter().filter(|news| !matches!(news, Notice::Effect(_))).collect();
        if !lost.is_empty() {
            println!("  LOST: {lost:?}");
        }
    }
}

/// Bits per second of one connection.
fn measure(Checked(hosts): &Checked, to: Ipv4Addr, protocol: Protocol, time: Duration) -> f64 {
    let (mut client, mut server) = hosts.pair(to, protocol);
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

fn throughput(home: &Arc<BaseNamespace>) {
    println!("throughput of one connection, Gbit/s:");
    let time = Duration::from_secs(3);
    for (name, protocol) in [("MPTCP", Protocol::MPTCP), ("TCP", Protocol::TCP)] {
        let hosts = Checked::open(home);
        let plain = measure(&hosts, PLAIN, protocol, time);
        let open = measure(&hosts, SPLICED, protocol, time);
        let real = measure(&Checked::new(home, &Conditions::default()), SPLICED, protocol, time);
        let share = |path: f64| format!("{:.2} ({:.0} %)", path / 1e9, 100.0 * path / plain);
        let (open, real) = (share(open), share(real));
        println!("  {name}: plain veth {:.2}, open path {open}, path with real frames {real}", plain / 1e9);
    }
}

/// How long a byte takes there and back, sorted.
fn ping_pong(Checked(hosts): &Checked, to: Ipv4Addr, count: usize) -> Vec<Duration> {
    let (mut client, mut server) = hosts.pair(to, Protocol::TCP);
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

fn latency(home: &Arc<BaseNamespace>) {
    println!("a byte there and back, median:");
    for (name, hosts) in
        [("open path", Checked::open(home)), ("path with real frames", Checked::new(home, &Conditions::default()))]
    {
        let plain = percentile(&ping_pong(&hosts, PLAIN, 10_000), 50);
        let spliced = percentile(&ping_pong(&hosts, SPLICED, 10_000), 50);
        let added = spliced.saturating_sub(plain) / 2;
        println!("  plain veth {plain:?}, {name} {spliced:?}: it adds {added:?} each way");
    }
}

fn delay(home: &Arc<BaseNamespace>, delay: Duration) {
    let hosts = Checked::new(home, &Conditions { delay, ..Conditions::default() });
    let plain = percentile(&ping_pong(&hosts, PLAIN, 1000), 50);
    let count = if delay < Duration::from_millis(50) { 1000 } else { 100 };
    let mut errors: Vec<Duration> =
        ping_pong(&hosts, SPLICED, count).iter().map(|time| (time.saturating_sub(plain) / 2).abs_diff(delay)).collect();
    errors.sort();
    println!(
        "a delay of {delay:?}: error median {:?}, 99th percentile {:?}",
        percentile(&errors, 50),
        percentile(&errors, 99)
    );
}

fn rate(home: &Arc<BaseNamespace>, rate: u64) {
    let hosts = Checked::new(home, &Conditions { rate: Some(rate), ..Conditions::default() });
    let measured = measure(&hosts, SPLICED, Protocol::TCP, Duration::from_secs(3));
    // The rate is that of IP packets: 1500 bytes carry 1448.
    let expected = rate as f64 * 1448.0 / 1500.0;
    println!("a rate of {} Mbit/s: off by {:.2} %", rate / 1_000_000, 100.0 * (measured / expected - 1.0));
}
