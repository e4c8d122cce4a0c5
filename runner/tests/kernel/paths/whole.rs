//! A path that is open for good carries frames whole, as a plain veth pair does, and counts what they would be on a wire.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed};
use mptcplab::netlink::route::Request;
use mptcplab::observe::Counters;
use mptcplab::plan::GSO_MAX_SIZE;
use mptcplab::testbed::BaseNamespace;
use socket2::Protocol;

use super::hosts::{Hosts, SPLICED};

const BYTES: usize = 4 * 1024 * 1024;
/// Of the IP and the TCP header, with a time stamp.
const HEADERS: u64 = 52;
const PATIENCE: Duration = Duration::from_secs(10);

/// What a namespace has sent and received so far. All bytes are those of IP packets.
#[derive(Clone, Copy)]
struct Traffic {
    /// TCP segments. `TcpOutSegs` has only those that bring something new, or nothing (`__tcp_transmit_skb`,
    /// net/ipv4/tcp_output.c); those that are sent again are in `TcpRetransSegs`.
    sent: u64,
    /// Bytes through the spliced link, in frames as they were given to the device.
    sent_bytes: u64,
    /// Frames.
    frames: u64,
    /// IP packets: those that a frame stands for (`ip_rcv_core`, net/ipv4/ip_input.c).
    packets: u64,
    /// Bytes of the frames.
    bytes: u64,
}

impl Hosts {
    fn traffic(&self, namespace: &str) -> Result<Traffic, Failed> {
        let node = self.testbed.node(namespace)?;
        let counters = node.run(Counters::open)??.read()?;
        let counter = |name: &str| counters.get(name).copied().ok_or(format!("no {name}"));
        let link = node.route().links()?.into_iter().find(|link| link.name == "eth2").ok_or("no link")?;
        Ok(Traffic {
            sent: counter("TcpOutSegs")? + counter("TcpRetransSegs")?,
            sent_bytes: link.tx_bytes,
            frames: counter("IpInReceives")?,
            packets: counter("IpExtInNoECTPkts")?,
            bytes: counter("IpExtInOctets")?,
        })
    }
}

/// No two stretches of it are alike.
fn payload(salt: u32) -> Vec<u8> {
    (0..u32::try_from(BYTES / 4).unwrap())
        .flat_map(|word| (word ^ salt).wrapping_mul(0x9e37_79b9).to_le_bytes())
        .collect()
}

/// Bytes arrive whole in both directions, in frames that nobody has cut, and these are counted as what they are.
pub fn an_open_path_carries_frames_whole(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    for protocol in [Protocol::TCP, Protocol::MPTCP] {
        let hosts = Hosts::open(home);
        let names = ["client", "server"];
        let before = [hosts.traffic("client")?, hosts.traffic("server")?];
        let (client, server) = hosts.pair(SPLICED, protocol);
        for (mut from, mut to, salt) in [(&client, &server, 1), (&server, &client, 2)] {
            let mut arrived = vec![0; BYTES];
            thread::scope(|scope| -> std::io::Result<()> {
                let writer = scope.spawn(move || from.write_all(&payload(salt)));
                to.read_exact(&mut arrived)?;
                writer.join().unwrap()
            })?;
            assert!(arrived == payload(salt), "{protocol:?}: other bytes than were sent");
        }
        // The last acknowledgments, too.
        let deadline = Instant::now() + PATIENCE;
        let (totals, now) = loop {
            let now = [hosts.traffic("client")?, hosts.traffic("server")?];
            let totals = hosts.totals()?;
            let settled = (0..2).all(|from| totals[from].entered == now[from].sent - before[from].sent);
            if settled || Instant::now() > deadline {
                break (totals, now);
            }
        };
        for (from, far) in [(0, 1), (1, 0)] {
            let (name, totals) = (names[from], totals[from]);
            let packets = now[far].packets - before[far].packets;
            assert_eq!(totals.entered, now[from].sent - before[from].sent, "{name}: the kernel counts segments, too");
            assert_eq!((totals.left, totals.left_bytes), (totals.entered, totals.entered_bytes), "{name}");
            assert_eq!(totals.left, packets, "{name}: the other end counts packets, too");
            if protocol == Protocol::TCP {
                // Each packet but the first of a frame has headers that the frame hasn't. Other options than a time stamp
                // are only in frames of one packet: nobody sends data and has some to acknowledge that came out of order.
                let cut = packets - (now[far].frames - before[far].frames);
                let bytes = now[far].bytes - before[far].bytes;
                assert_eq!(totals.left_bytes, bytes + cut * HEADERS, "{name}");
            }
            let frames = now[from].sent_bytes - before[from].sent_bytes;
            assert!(
                frames < totals.entered_bytes,
                "{name}: {frames} bytes in frames that somebody has cut: {totals:?}"
            );
        }
        assert_eq!(hosts.news(), []);
    }
    Ok(Completion::Completed)
}

/// The limit is there, and without it, what the slots have no room for is reported.
pub fn frames_that_are_too_long_are_reported(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let hosts = Hosts::open(home);
    let node = hosts.testbed.node("client")?;
    let limit = || -> Result<u32, Failed> {
        let links = node.route().links()?;
        Ok(links.iter().find(|link| link.name == "eth2").ok_or("no link")?.gso_max_size)
    };
    assert_eq!(limit()?, GSO_MAX_SIZE);
    node.route().request(Request::set_gso_max_size(node.index("eth2")?, "eth2", 65_536))?;
    assert_eq!(limit()?, 65_536);
    let (client, _server) = hosts.pair(SPLICED, Protocol::TCP);
    client.set_nonblocking(true)?;
    let deadline = Instant::now() + PATIENCE;
    let much = vec![7; 65_536];
    while hosts.lost(0)? == 0 {
        assert!(Instant::now() < deadline, "nothing was reported");
        let _ = (&client).write(&much);
    }
    Ok(Completion::Completed)
}
