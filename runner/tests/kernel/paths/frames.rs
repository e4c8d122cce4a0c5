//! What crosses a spliced link: all frames, in order; real ones, unless the path is open for good.

use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use libtest_mimic::{Completion, Failed};
use mptcplab::forward::Notice;
use mptcplab::net::Offload;
use mptcplab::recording::PathTotals;
use mptcplab::scenario::model::Conditions;
use mptcplab::sys::ethtool::{offload, set_offload};
use mptcplab::testbed::BaseNamespace;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use socket2::Protocol;

use super::hosts::{Hosts, PLAIN, SPLICED};

/// Many times what one offloaded segment can hold.
const BYTES: usize = 4 * 1024 * 1024;
/// More packets than the ring has slots.
const FLOOD: u64 = 20_000;

impl Hosts {
    /// With real frames, and with whole ones.
    fn both(home: &Arc<BaseNamespace>) -> [Self; 2] {
        [Self::new(home, &Conditions::default()), Self::open(home)]
    }

    /// Sends that many bytes from the client to the server.
    fn transfer(&self, bytes: usize) -> Result<(), Failed> {
        let (mut client, mut server) = self.pair(SPLICED, Protocol::TCP);
        let reader = thread::spawn(move || server.read_to_end(&mut Vec::new()));
        client.write_all(&vec![7; bytes])?;
        drop(client);
        assert_eq!(reader.join().unwrap()?, bytes);
        Ok(())
    }

    pub fn totals(&self) -> Result<[PathTotals; 2], Failed> {
        Ok(self.forwarder.with(|path| [0, 1].map(|from| path.totals(from)))?)
    }

    /// The packets that were reported as lost on their way from that end.
    pub fn lost(&self, end: usize) -> Result<u64, Failed> {
        self.totals()?;
        let lost = |news: &Notice| match news {
            Notice::Lost { from, count, .. } if *from == end => *count,
            _ => None,
        };
        Ok(self.news().iter().filter_map(lost).sum())
    }

    fn offloads(&self) -> Result<[[bool; 4]; 3], Failed> {
        let client = self.testbed.node("client")?;
        let read = |device: &str| Offload::ALL.map(|each| offload(device, each).unwrap());
        let path = self.testbed.path("spliced")?;
        Ok([client.run(|| read("eth1"))?, client.run(|| read("eth2"))?, path.run(|| read("second"))?])
    }
}

pub fn frames_are_real(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let hosts = Hosts::new(home, &Conditions::default());
    let [plain, outer, inner] = hosts.offloads()?;
    assert_eq!([outer, inner], [[false; 4]; 2]);
    assert!(plain[0] && plain[1], "other links keep theirs: {plain:?}");
    hosts.transfer(BYTES)?;
    // The forwarder reports each frame that is longer than the MTU or has no checksum yet as lost.
    assert_eq!(hosts.news(), []);
    let [sent, _] = hosts.totals()?;
    let segments = (BYTES / 1448) as u64;
    assert!(sent.entered > segments && sent.entered_bytes / sent.entered <= 1500, "{sent:?}");
    assert_eq!((sent.entered, sent.entered_bytes), (sent.left, sent.left_bytes));
    Ok(Completion::Completed)
}

pub fn frames_that_are_not_real_are_reported(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    let hosts = Hosts::new(home, &Conditions::default());
    let (client, server) = hosts.pair(SPLICED, Protocol::TCP);
    let node = hosts.testbed.node("client")?;
    node.run(|| set_offload("eth2", Offload::TransmitChecksum, true))??;
    (&client).write_all(&[7])?;
    // The byte has been dropped before the write returned: veth needs no time. TCP sends it again, and that is dropped, too.
    assert!(hosts.lost(0)? >= 1);
    node.run(|| set_offload("eth2", Offload::TransmitChecksum, false))??;
    (&server).read_exact(&mut [0])?;
    assert_eq!(hosts.lost(1)?, 0);
    Ok(Completion::Completed)
}

pub fn what_finds_no_slot_is_reported(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    Hosts::both(home).iter().try_for_each(flood)?;
    Ok(Completion::Completed)
}

fn flood(hosts: &Hosts) -> Result<(), Failed> {
    let receiver = hosts.testbed.node("server")?.run(|| UdpSocket::bind((SPLICED, 0)))??;
    let sender = hosts.testbed.node("client")?.run(|| UdpSocket::bind("0.0.0.0:0"))??;
    let target = receiver.local_addr()?;
    let before = hosts.totals()?[0].entered;
    // The thread stands still while it does a job.
    let (busy, is_busy) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let sent = thread::scope(|scope| -> Result<u64, Failed> {
        let forwarder = &hosts.forwarder;
        let job = scope.spawn(move || {
            forwarder.with(move |_| {
                busy.send(()).unwrap();
                may_go_on.recv().unwrap();
            })
        });
        is_busy.recv()?;
        for _ in 0..FLOOD {
            sender.send_to(&[7; 100], target)?;
        }
        go_on.send(())?;
        job.join().unwrap()?;
        Ok(FLOOD)
    })?;
    let (lost, entered) = (hosts.lost(0)?, hosts.totals()?[0].entered - before);
    assert!(lost > 0, "{sent} packets found room");
    assert_eq!(entered + lost, sent);
    Ok(())
}

/// Keeps this thread, and those that it starts from now on, on the processor on which it is. A veth pair has a queue for each
/// processor (`netif_rx`, net/core/dev.c): of two frames that leave an interface on two of them, the second may arrive
/// first.
fn stay_on_one_processor() -> Result<(), Failed> {
    let mut here = CpuSet::new();
    here.set(sched_getcpu()?)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &here)?)
}

pub fn what_comes_in_leaves_in_the_same_order(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    stay_on_one_processor()?;
    Hosts::both(home).iter().try_for_each(in_order)?;
    Ok(Completion::Completed)
}

fn in_order(hosts: &Hosts) -> Result<(), Failed> {
    const COUNT: u32 = 100;
    let receiver = hosts.testbed.node("server")?.run(|| UdpSocket::bind((SPLICED, 0)))??;
    let sender = hosts.testbed.node("client")?.run(|| UdpSocket::bind("0.0.0.0:0"))??;
    for number in 0..COUNT {
        sender.send_to(&number.to_be_bytes(), receiver.local_addr()?)?;
    }
    for number in 0..COUNT {
        let mut bytes = [0; 4];
        receiver.recv(&mut bytes)?;
        assert_eq!(u32::from_be_bytes(bytes), number);
    }
    // And the plain link beside it is none of its business.
    let [before, _] = hosts.totals()?;
    let (client, server) = hosts.pair(PLAIN, Protocol::MPTCP);
    (&client).write_all(&[7])?;
    (&server).read_exact(&mut [0])?;
    assert_eq!(hosts.totals()?[0], before);
    Ok(())
}
