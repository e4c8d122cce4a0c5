//! A spliced link that goes down looks like any other.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed};
use mptcplab::forward::Notice;
use mptcplab::scenario::model::Conditions;
use mptcplab::testbed::BaseNamespace;
use socket2::Protocol;

use super::hosts::{Hosts, SPLICED};

/// The kernel notices a carrier at once, or up to a second late.
const A_SECOND: Duration = Duration::from_millis(900);

impl Hosts {
    /// What the path has told since the last call, but for how late its thread came: that is up to the machine.
    pub fn news(&self) -> Vec<Notice> {
        self.forwarder.take_notices().into_iter().filter(|news| !matches!(news, Notice::Late { .. })).collect()
    }

    /// Whether the end of the spliced link in that namespace is up, and has a carrier.
    fn carrier(&self, namespace: &str) -> Result<(bool, bool), Failed> {
        let links = self.testbed.node(namespace)?.route().links()?;
        let link = links.iter().find(|link| link.name == "eth2").ok_or("no link")?;
        Ok((link.up, link.running))
    }
}

pub fn a_spliced_link_goes_down_and_up(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    [Hosts::new(home, &Conditions::default()), Hosts::open(home)].iter().try_for_each(down_and_up)?;
    Ok(Completion::Completed)
}

fn down_and_up(hosts: &Hosts) -> Result<(), Failed> {
    for (near, far) in [("client", "server"), ("server", "client"), ("client", "server")] {
        let start = Instant::now();
        hosts.testbed.set_link(near, "eth2", false)?;
        assert_eq!((hosts.carrier(near)?, hosts.carrier(far)?), ((false, false), (true, false)));
        hosts.testbed.set_link(near, "eth2", true)?;
        assert_eq!((hosts.carrier(near)?, hosts.carrier(far)?), ((true, true), (true, true)));
        assert!(start.elapsed() < A_SECOND, "noticed late, after {:?}", start.elapsed());
        hosts.pair(SPLICED, Protocol::TCP);
    }
    // With one end down, the other has no carrier, and that is no failure.
    hosts.testbed.set_link("client", "eth2", false)?;
    hosts.testbed.set_link("server", "eth2", false)?;
    assert_eq!((hosts.carrier("client")?, hosts.carrier("server")?), ((false, false), (false, false)));
    hosts.testbed.set_link("server", "eth2", true)?;
    assert_eq!((hosts.carrier("client")?, hosts.carrier("server")?), ((false, false), (true, false)));
    hosts.testbed.set_link("client", "eth2", true)?;
    hosts.pair(SPLICED, Protocol::TCP);
    assert_eq!(hosts.news(), []);
    Ok(())
}

/// What was under way when the link went down is gone, as on any link.
pub fn a_dead_link_loses_packets_without_a_report(home: &Arc<BaseNamespace>) -> Result<Completion, Failed> {
    // Longer than a busy machine takes from one step to the next.
    const DELAY: Duration = Duration::from_millis(250);
    let hosts = Hosts::new(home, &Conditions { delay: DELAY, ..Conditions::default() });
    for end in ["server", "client"] {
        let receiver = hosts.testbed.node("server")?.run(|| UdpSocket::bind((SPLICED, 0)))??;
        let sender = hosts.testbed.node("client")?.run(|| UdpSocket::bind("0.0.0.0:0"))??;
        receiver.set_read_timeout(Some(2 * DELAY))?;
        sender.send_to(&[7], receiver.local_addr()?)?;
        receiver.set_read_timeout(Some(Duration::from_secs(5)))?;
        receiver.recv(&mut [0])?;
        receiver.set_read_timeout(Some(3 * DELAY))?;
        sender.send_to(&[7], receiver.local_addr()?)?;
        let before = hosts.forwarder.with(|path| path.totals(0))?;
        assert_eq!(before.entered, before.left + 1, "it is under way");
        hosts.testbed.set_link(end, "eth2", false)?;
        assert!(receiver.recv(&mut [0]).is_err());
        let after = hosts.forwarder.with(|path| path.totals(0))?;
        assert_eq!(after.entered, after.left, "it has left");
        let news = hosts.news();
        assert!(!news.iter().any(|news| !matches!(news, Notice::Effect(_))), "{news:?}");
        hosts.testbed.set_link(end, "eth2", true)?;
    }
    Ok(Completion::Completed)
}
