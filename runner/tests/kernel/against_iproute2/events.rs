//! The events of real connections.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use mptcplab::mptcp::{Endpoint, EndpointFlags, EventKind, PmEvent};
use mptcplab::netlink::events::{EventSocket, Received};
use mptcplab::netlink::pm::{EndpointSelector, PmClient};
use mptcplab::recording::Side;
use mptcplab::testbed::{BaseNamespace, Node};

use super::configuration::endpoints;
use super::shown;
use super::world::{client_of, connect, endpoint, four_links, listen};

/// What is due comes at once; this only ends a test that fails.
const DEADLINE: Duration = Duration::from_secs(5);

/// A running `ip mptcp monitor`. It ends with this.
struct Monitor {
    child: Child,
    incoming: Receiver<String>,
    lines: Vec<String>,
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Monitor {
    /// Starts it in a namespace. When this returns, it listens.
    fn start(node: &Node) -> Result<Self, Failed> {
        let mut command = Command::new("ip");
        command.args(["mptcp", "monitor"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = node.run(|| command.spawn())??;
        let output = child.stdout.take().ok_or("no output")?;
        let (sender, incoming) = mpsc::channel();
        // It ends with the monitor.
        thread::spawn(move || {
            let lines = BufReader::new(output).lines();
            lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut monitor = Self { child, incoming, lines: Vec::new() };
        let deadline = Instant::now() + DEADLINE;
        // It says nothing until there is something to say: listeners come and go until it has seen one.
        while monitor.lines.is_empty() {
            drop(listen(node, "127.0.0.1", 9)?);
            monitor.lines.extend(monitor.incoming.recv_timeout(Duration::from_millis(5)));
            if Instant::now() > deadline {
                return Err("ip mptcp monitor has not begun to listen".into());
            }
        }
        Ok(monitor)
    }

    /// Reads on until the last line has these words.
    fn read_until(&mut self, wanted: &str) -> Result<(), Failed> {
        while !self.lines.last().is_some_and(|line| line.contains(wanted)) {
            let line = self.incoming.recv_timeout(DEADLINE);
            self.lines.push(line.map_err(|_| format!("no `{wanted}` from ip: {:#?}", self.lines))?);
        }
        Ok(())
    }
}

/// A namespace with two that listen to it.
struct Listened<'a> {
    node: &'a Node,
    pm: PmClient,
    events: EventSocket,
    seen: Vec<PmEvent>,
    monitor: Monitor,
}

impl<'a> Listened<'a> {
    fn new(node: &'a Node) -> Result<Self, Failed> {
        let events = node.run(|| EventSocket::open(node.name(), node.devices()))??;
        let monitor = Monitor::start(node)?;
        Ok(Self { node, pm: client_of(node)?, events, seen: Vec::new(), monitor })
    }

    /// Takes events in until there are so many of this kind, since the beginning.
    async fn until(&mut self, kind: EventKind, count: usize) -> Result<&PmEvent, Failed> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            // Sentinels of the monitor's start don't count.
            let alike = |event: &&PmEvent| event.kind == kind && event.local_port != Some(9);
            if self.seen.iter().filter(alike).count() >= count {
                return Ok(self.seen.iter().rfind(alike).unwrap());
            }
            match tokio::time::timeout_at(deadline, self.events.next()).await {
                Ok(reception) => match reception?.what {
                    Received::Event(event) => self.seen.push(event),
                    other => return Err(format!("{other:?}").into()),
                },
                Err(_) => return Err(format!("no {count} {kind:?} in {}: {:#?}", self.node.name(), self.seen).into()),
            }
        }
    }

    /// Compares everything since the monitor began to listen. The last event of both closed a connection.
    fn compare(&mut self) -> Result<(), Failed> {
        let last = self.seen.last().and_then(|event| event.token).ok_or("the last event has no token")?;
        self.monitor.read_until(&format!(" CLOSED] token={last:08x}"))?;
        let lines = &self.monitor.lines;
        let missed = self
            .seen
            .len()
            .checked_sub(lines.len())
            .ok_or_else(|| format!("ip saw more in {}: {lines:#?} than {:#?}", self.node.name(), self.seen))?;
        let (early, common) = self.seen.split_at(missed);
        assert!(early.iter().all(|event| event.local_port == Some(9)), "ip missed some of {early:#?}");
        for (ours, line) in common.iter().zip(lines) {
            assert_eq!(ours.unknown, [], "{line}");
            if let Some(difference) = shown::difference(ours, &self.node.devices(), line)? {
                return Err(format!("in {}:\n{difference}", self.node.name()).into());
            }
        }
        Ok(())
    }
}

pub async fn are_the_same(home: &Arc<BaseNamespace>) -> Result<(), Failed> {
    let testbed = four_links(home)?;
    let mut client = Listened::new(testbed.node("client")?)?;
    let mut server = Listened::new(testbed.node("server")?)?;
    for side in [&client, &server] {
        side.pm.set_limits(Some(8), Some(8)).await?;
    }
    paths_come_and_go(&mut client, &mut server).await?;
    client.compare()?;
    server.compare()?;
    let kinds: BTreeSet<EventKind> = client.seen.iter().chain(&server.seen).map(|event| event.kind).collect();
    let all = [1, 2, 3, 6, 7, 10, 11, 13, 15, 16].map(EventKind::from_number).into();
    assert_eq!(kinds, all, "not each kind of event has come");
    let all: Vec<&PmEvent> = client.seen.iter().chain(&server.seen).collect();
    assert!(all.iter().any(|event| event.error.is_some()), "no event had an error");
    assert!(all.iter().any(|event| event.dev.is_some()), "no event had a device");
    assert!(all.iter().any(|event| event.backup == Some(1)), "no event had a backup flag");
    Ok(())
}

/// Events of all kinds, on both sides.
async fn paths_come_and_go<'a>(client: &mut Listened<'a>, server: &mut Listened<'a>) -> Result<(), Failed> {
    use EventKind::{Announced, Closed, Created, Established, ListenerClosed, Removed, SubClosed, SubEstablished};
    let with_port = Endpoint { port: Some(10100), ..endpoint("10.0.2.1", Some(5), EndpointFlags::SIGNAL) };
    server.pm.add_endpoint(&with_port).await?;
    let backup = EndpointFlags::SUBFLOW | EndpointFlags::BACKUP;
    let with_device = Endpoint { dev: Some("eth3".to_owned()), ..endpoint("10.0.3.2", Some(20), backup) };
    client.pm.add_endpoint(&with_device).await?;
    let listener = listen(server.node, "::", 8080)?;

    let mut main = connect(client.node, &listener, "10.0.1.1:8080".parse()?).await?;
    for side in [&mut *client, &mut *server] {
        side.until(SubEstablished, 2).await?;
        // One of the client's is implicit by now.
        endpoints(side.node, &side.pm).await?;
    }
    client.pm.set_flags(EndpointSelector::Id(20), EndpointFlags::empty()).await?;
    assert_eq!(server.until(EventKind::SubPriority, 1).await?.backup, Some(0));

    server.pm.add_endpoint(&endpoint("10.0.4.1", Some(77), EndpointFlags::SIGNAL)).await?;
    client.until(SubEstablished, 3).await?;
    server.until(SubEstablished, 3).await?;
    // An address of the client itself, at which nobody listens.
    server.pm.add_endpoint(&endpoint("10.0.4.2", Some(78), EndpointFlags::SIGNAL)).await?;
    client.until(Announced, 3).await?;
    assert_eq!(client.until(SubClosed, 1).await?.error, Some(111));

    client.pm.delete_endpoint(20, None).await?;
    server.until(Removed, 1).await?;
    server.until(SubClosed, 1).await?;
    client.until(SubClosed, 2).await?;
    server.pm.delete_endpoint(5, None).await?;
    server.until(ListenerClosed, 1).await?;
    server.until(SubClosed, 2).await?;
    client.until(Removed, 1).await?;
    client.until(SubClosed, 3).await?;
    server.pm.flush().await?;
    server.until(SubClosed, 3).await?;
    client.until(SubClosed, 4).await?;

    let mut ipv6 = connect(client.node, &listener, "[dead:beef:1::1]:8080".parse()?).await?;
    for (connection, count) in [(&mut ipv6, 1), (&mut main, 2)] {
        for side in [&mut *client, &mut *server] {
            side.until(Created, 2).await?;
            side.until(Established, 2).await?;
        }
        connection.close_gracefully(Side::Client).await?;
        client.until(Closed, count).await?;
        server.until(Closed, count).await?;
    }
    Ok(())
}
