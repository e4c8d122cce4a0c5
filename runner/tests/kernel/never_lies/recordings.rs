//! Recordings that can't be trusted, and snapshots that aren't what was observed.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::thread;

use libtest_mimic::Failed;
use mptcplab::judge::{self, FindingKind, Snapshots, Verdict};
use mptcplab::mptcp::IPPROTO_MPTCP;
use mptcplab::netlink::DeviceNames;
use mptcplab::netlink::events::{EventSocket, Received};
use mptcplab::recording::{Entry, LostWhat, Moment, Observation, Recording};
use mptcplab::testbed::{BaseNamespace, Namespace};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::workshop::{Desk, GOOD, Test, Workshop, assert_found, replaced};

pub fn all() -> Vec<(&'static str, Test)> {
    vec![
        ("snapshot::there_is_none", Box::new(no_snapshot)),
        ("snapshot::one_line_differs", Box::new(another_snapshot)),
        ("snapshot::of_a_run_with_a_subflow_less", Box::new(a_snapshot_of_another_run)),
        ("recording::events_are_lost", Box::new(|workshop| with_a_loss(workshop, LostWhat::Events, "events"))),
        ("recording::segments_are_lost", Box::new(|workshop| with_a_loss(workshop, LostWhat::Packets, "segments"))),
        ("recording::cut_off_anywhere", Box::new(cut_off)),
        ("recording::without_the_segments", Box::new(without_segments)),
        ("recording::any_counter_moves_further", Box::new(a_counter_more)),
        ("recording::the_kernel_complains", Box::new(a_warning_of_the_kernel)),
        ("events::a_full_buffer_is_noticed", Box::new(|_| a_full_buffer())),
    ]
}

fn no_snapshot(workshop: &Workshop) -> Result<(), Failed> {
    let good = workshop.good()?;
    let desk = Desk::new(GOOD)?;
    let verdict = judge::verdict(&desk.load()?, &good.recording, Snapshots::Compare);
    assert_found(&verdict, FindingKind::SnapshotNew, "there is no snapshot")?;
    // Nobody asked for one: the next run must not pass either.
    assert!(!desk.path().join("snapshots").exists(), "a snapshot came out of nothing");
    assert_found(
        &judge::verdict(&desk.load()?, &good.recording, Snapshots::Compare),
        FindingKind::SnapshotNew,
        "there is no snapshot",
    )
}

fn another_snapshot(workshop: &Workshop) -> Result<(), Failed> {
    let good = workshop.good()?;
    let line = good.canonical.lines().find(|line| line.contains("MPTcpExtMPJoinAckRx")).unwrap();
    let changed = replaced(&good.canonical, line, &line.replace('2', "3"));
    let desk = Desk::new(GOOD)?.with_snapshot(&changed)?;
    let verdict = judge::verdict(&desk.load()?, &good.recording, Snapshots::Compare);
    assert_found(&verdict, FindingKind::SnapshotChanged, &format!("+{line}"))?;
    let kept = fs::read_to_string(desk.path().join("snapshots/scenario.snap"))?;
    assert!(kept.contains(changed.trim_end()), "the snapshot was overwritten");
    Ok(())
}

/// The snapshot sees what no expectation speaks of.
fn a_snapshot_of_another_run(workshop: &Workshop) -> Result<(), Failed> {
    let (head, _) = GOOD.split_once("expect:").unwrap();
    let (steps, rest) = head.split_once("  - add_endpoint").unwrap();
    let close = rest.lines().rfind(|line| line.contains("close")).unwrap();
    let desk = Desk::new(&format!("{steps}{close}\n"))?.with_snapshot(&workshop.good()?.canonical)?;
    assert_found(&workshop.verdict(&desk)?, FindingKind::SnapshotChanged, "10.0.2.1")
}

fn judged(workshop: &Workshop, recording: &Recording) -> Result<judge::Verdict, Failed> {
    let desk = Desk::new(GOOD)?.with_snapshot(&workshop.good()?.canonical)?;
    Ok(judge::verdict(&desk.load()?, recording, Snapshots::Compare))
}

fn with_a_loss(workshop: &Workshop, what: LostWhat, words: &str) -> Result<(), Failed> {
    let mut recording = workshop.good()?.recording.clone();
    let middle = recording.entries.len() / 2;
    let at = recording.entries[middle].at;
    let lost = Observation::Lost { namespace: "client".to_owned(), what, count: None };
    recording.entries.insert(middle, Entry { at, what: lost });
    assert_found(&judged(workshop, &recording)?, FindingKind::Incomplete, &format!("{words} of client were lost"))
}

/// However short, and though each entry that is left is true.
fn cut_off(workshop: &Workshop) -> Result<(), Failed> {
    let good = workshop.good()?;
    for length in 0..good.recording.entries.len() {
        let entries = good.recording.entries[..length].to_vec();
        let recording = Recording { header: good.recording.header.clone(), entries };
        assert_found(&judged(workshop, &recording)?, FindingKind::Incomplete, "cut off")?;
    }
    Ok(())
}

fn without_segments(workshop: &Workshop) -> Result<(), Failed> {
    let mut recording = workshop.good()?.recording.clone();
    recording.entries.retain(|entry| !matches!(entry.what, Observation::Packet { .. }));
    assert_found(&judged(workshop, &recording)?, FindingKind::Incomplete, "the segments that server sent")
}

/// Counters that depend on timing: one more of these says nothing.
const TIMING: [&str; 19] = [
    "AddAddrDrop",
    "AddAddrTxDrop",
    "DuplicateData",
    "EchoAddTxDrop",
    "MPTCPRetrans",
    "NoDSSInWindow",
    "OFOMerge",
    "OFOQueue",
    "OFOQueueTail",
    "RcvPruned",
    "RcvWndConflict",
    "RcvWndConflictUpdate",
    "RcvWndShared",
    "RmAddrDrop",
    "RmAddrTxDrop",
    "SndWndShared",
    "SubflowRecover",
    "SubflowStale",
    "WinProbe",
];

/// Whatever the scenario says or doesn't say: no other MPTCP counter that this kernel has may move by one more.
fn a_counter_more(workshop: &Workshop) -> Result<(), Failed> {
    let good = &workshop.good()?.recording;
    let mut changed = 0;
    for (index, entry) in good.entries.iter().enumerate() {
        let Observation::Counters { namespace, moment: Moment::End, values } = &entry.what else { continue };
        for name in values.keys() {
            let Some(word) = name.strip_prefix("MPTcpExt") else { continue };
            if TIMING.contains(&word) {
                continue;
            }
            let mut recording = good.clone();
            if let Observation::Counters { values, .. } = &mut recording.entries[index].what {
                *values.get_mut(name).unwrap() += 1;
            }
            if judged(workshop, &recording)? == Verdict::Passed {
                return Err(format!("{name} of {namespace} moved by one more, and nobody noticed").into());
            }
            changed += 1;
        }
    }
    assert!(changed >= 2 * 41, "only {changed} counters were looked at");
    // Recovered subflows were stale before.
    let mut recording = good.clone();
    for entry in &mut recording.entries {
        if let Observation::Counters { moment: Moment::End, values, .. } = &mut entry.what {
            *values.get_mut("MPTcpExtSubflowRecover").unwrap() += 1;
        }
    }
    assert_found(&judged(workshop, &recording)?, FindingKind::Counter, "fewer subflows became stale")
}

fn a_warning_of_the_kernel(workshop: &Workshop) -> Result<(), Failed> {
    let mut recording = workshop.good()?.recording.clone();
    let line = "WARNING: CPU: 0 PID: 1 at net/mptcp/protocol.c:1 mptcp_close+0x1/0x2".to_owned();
    recording.entries.insert(1, Entry { at: recording.entries[0].at, what: Observation::KernelLog { line } });
    assert_found(&judged(workshop, &recording)?, FindingKind::Kernel, "mptcp_close")
}

/// In a namespace of its own: a small buffer, and more events than it has room for.
fn a_full_buffer() -> Result<(), Failed> {
    let flood = || -> Result<usize, Box<dyn std::error::Error>> {
        let home = BaseNamespace::create()?;
        home.enter_for_good()?;
        let namespace = Namespace::create(&home)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let _inside = runtime.enter();
        let mut events = namespace.run(|| EventSocket::open("here", DeviceNames::default()))??;
        SockRef::from(&events).set_recv_buffer_size(4096)?;
        let room = events.buffer_size()?;
        assert!(room < 1 << 16, "the buffer still has {room} bytes");
        // Any event takes more than 128 bytes.
        for _ in 0..room / 128 {
            drop(namespace.run(listener)??);
        }
        let received = events.drain()?;
        Ok(received.iter().filter(|reception| reception.what == Received::Lost).count())
    };
    let lost = thread::spawn(move || flood().map_err(|error| error.to_string())).join().unwrap()?;
    if lost > 0 { Ok(()) } else { Err("more events than the buffer has room for, but none was lost".into()) }
}

fn listener() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::from(IPPROTO_MPTCP)))?;
    socket.bind(&SockAddr::from(std::net::SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))))?;
    socket.listen(1)?;
    Ok(socket)
}
