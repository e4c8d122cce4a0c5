//! One namespace of a running scenario: the clients that ask its kernel, and the observers that listen to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use super::recorder::Recorder;
use crate::nanos;
use crate::netlink::DeviceNames;
use crate::netlink::diag::DiagSocket;
use crate::netlink::events::{EventSocket, Received, Reception};
use crate::netlink::nft::NftClient;
use crate::netlink::pm::PmClient;
use crate::observe::{Capture, CaptureSocket, Counters, FrameCopies};
use crate::recording::{LostWhat, Name, Observation};
use crate::sys::readiness::watch;
use crate::wire::IcmpError;

/// One namespace of a running scenario.
pub(super) struct Node {
    pub(super) pm: PmClient,
    pub(super) diag: DiagSocket,
    pub(super) filters: Option<NftClient>,
    counters: RefCell<Counters>,
    pub(super) observers: Rc<Observers>,
    task: JoinHandle<()>,
}

/// A namespace with all of its sockets open, before its capture has started.
pub(super) struct Opened {
    name: String,
    devices: DeviceNames,
    /// The indices of interfaces that aren't ends of links.
    upper: Vec<u32>,
    events: Option<EventSocket>,
    capture: CaptureSocket,
    pm: PmClient,
    diag: DiagSocket,
    counters: Counters,
}

impl Opened {
    /// Opens everything. The calling thread must be in the namespace.
    pub(super) fn open(name: &str, devices: DeviceNames, upper: Vec<u32>, events: bool) -> Result<Self, String> {
        Ok(Self {
            events: if events { Some(EventSocket::open(name, devices.clone()).map_err(text)?) } else { None },
            capture: CaptureSocket::open().map_err(text)?,
            pm: PmClient::open(name, devices.clone()).map_err(text)?,
            diag: DiagSocket::open(name, devices.clone()).map_err(text)?,
            counters: Counters::open().map_err(text)?,
            name: name.to_owned(),
            devices,
            upper,
        })
    }

    /// Starts to observe, with so much room for captured frames. The kernel takes its time to start a capture: start all
    /// namespaces together.
    pub(super) async fn start(self, recorder: &Rc<Recorder>, ring_bytes: usize) -> Result<Node, String> {
        let capture = self.capture.start(ring_bytes).await.map_err(text)?;
        let observers = Rc::new(Observers {
            namespace: self.name.into(),
            devices: self.devices,
            upper: self.upper,
            events: self.events.map(RefCell::new),
            capture,
            frames: RefCell::default(),
            recorder: Rc::clone(recorder),
        });
        let task = observers.start().map_err(text)?;
        let counters = RefCell::new(self.counters);
        Ok(Node { pm: self.pm, diag: self.diag, filters: None, counters, observers, task })
    }
}

impl Node {
    /// Ends the observation. Taking a capture down takes the kernel some time: nobody waits for it.
    pub(super) async fn close(self) -> Option<NamespaceFrames> {
        self.task.abort();
        // Cancelled, as it should be. Only then nobody else holds the observers any more.
        let _ = self.task.await;
        let observers = Rc::try_unwrap(self.observers).ok()?;
        observers.capture.close();
        let (namespace, devices) = (observers.namespace.to_string(), observers.devices);
        Some(NamespaceFrames { namespace, devices, frames: observers.frames.into_inner() })
    }

    /// All counters as they are now.
    pub(super) fn read_counters(&self) -> Result<BTreeMap<String, u64>, String> {
        self.counters.borrow_mut().read().map_err(text)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err() hands over")]
fn text(error: impl ToString) -> String {
    error.to_string()
}

/// What the capture of a namespace has left behind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NamespaceFrames {
    /// The namespace.
    pub namespace: String,
    /// Its devices.
    pub devices: DeviceNames,
    /// The frames.
    pub frames: FrameCopies,
}

/// What listens to a namespace.
pub(super) struct Observers {
    namespace: Name,
    devices: DeviceNames,
    upper: Vec<u32>,
    events: Option<RefCell<EventSocket>>,
    capture: Capture,
    frames: RefCell<FrameCopies>,
    recorder: Rc<Recorder>,
}

impl Observers {
    /// Starts the task that records what comes in.
    fn start(self: &Rc<Self>) -> std::io::Result<JoinHandle<()>> {
        let events = self.events.as_ref().map(|events| readiness(&*events.borrow())).transpose()?;
        let observers = Rc::clone(self);
        Ok(tokio::task::spawn_local(async move {
            loop {
                tokio::select! {
                    _ = observers.capture.readable() => {}
                    () = event_comes(events.as_ref()) => {}
                }
                observers.observe_now();
            }
        }))
    }

    /// Records everything pending.
    pub(super) fn observe_now(&self) {
        self.drain_events();
        self.drain_capture();
    }

    fn drain_events(&self) {
        let Some(events) = &self.events else { return };
        loop {
            match events.borrow_mut().try_next() {
                Ok(None) => return,
                Ok(Some(Reception { at, what })) => self.recorder.observe(at, observation(&self.namespace, what)),
                // The socket itself failed: what it would have told is lost.
                Err(_) => return self.recorder.observe(nanos::now(), lost_events(&self.namespace)),
            }
        }
    }

    fn drain_capture(&self) {
        self.capture.drain(|frame| {
            // It was, or will be, captured at the end of a link.
            if self.upper.contains(&frame.ifindex) {
                return;
            }
            self.frames.borrow_mut().keep(&frame);
            let (namespace, direction) = (self.namespace.clone(), frame.direction);
            let device = || self.devices.name(frame.ifindex).into();
            let icmp = |error| Observation::Icmp {
                namespace: namespace.clone(),
                device: device(),
                direction,
                error: Box::new(error),
            };
            let packet = match frame.segment() {
                Some(segment) => {
                    Some(Observation::Packet { namespace: namespace.clone(), device: device(), direction, segment })
                }
                None => IcmpError::parse(frame.bytes).map(icmp),
            };
            if let Some(packet) = packet {
                self.recorder.observe(frame.at_ns, packet);
            }
        });
        let lost = self.capture.lost();
        if !matches!(lost, Ok(0)) {
            let namespace = self.namespace.to_string();
            let lost = Observation::Lost { namespace, what: LostWhat::Packets, count: lost.ok() };
            self.recorder.observe(nanos::now(), lost);
        }
    }
}

/// Becomes ready when there is an event to read; never without a socket.
async fn event_comes(socket: Option<&AsyncFd<OwnedFd>>) {
    match socket {
        // Cleared before the socket is drained: what comes in between wakes us once more, for nothing.
        Some(socket) => {
            if let Ok(mut guard) = socket.readable().await {
                guard.clear_ready();
            }
        }
        None => std::future::pending().await,
    }
}

/// What came from the event socket, for the recording. What can't be read is lost, too.
fn observation(namespace: &str, received: Received) -> Observation {
    match received {
        Received::Event(event) => Observation::Event { namespace: namespace.to_owned(), event: Box::new(event) },
        Received::Lost | Received::Undecodable { .. } => lost_events(namespace),
    }
}

fn lost_events(namespace: &str) -> Observation {
    Observation::Lost { namespace: namespace.to_owned(), what: LostWhat::Events, count: None }
}

/// A second descriptor of the socket, to wait on: the socket itself stays free to be drained at any moment.
fn readiness(socket: &impl AsFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    watch(socket.as_fd().try_clone_to_owned()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_event_is_a_loss() {
        let undecodable = Received::Undecodable { raw: vec![1], reason: "too short".to_owned() };
        for received in [Received::Lost, undecodable] {
            let lost = Observation::Lost { namespace: "client".to_owned(), what: LostWhat::Events, count: None };
            assert_eq!(observation("client", received), lost);
        }
    }
}
