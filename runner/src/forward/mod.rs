//! Forwarding: the thread that stands between the two inner sides of a spliced link, and does to packets what their
//! [`Path`] says ([`Forwarder`]).
//!
//! Frames are taken from the kernel with their time stamps, in the order of these, and the path reckons with them: how
//! late the thread comes changes nothing in what becomes of a packet. What is lost here, against all precautions, is
//! reported ([`Notice::Lost`]). The thread holds descriptors only: when the process ends, however it does, nothing is left.

mod clock;
mod lateness;
mod outbox;
mod thread;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use thiserror::Error;

use crate::path::{Effect, Path};
use crate::plan::{Frames, INNER_DEVICES, Rings};
use crate::processors::Late;
use crate::recording::LostWhat;
use crate::sys::port::{Port, Unbound};
use crate::sys::slots::PacketError;
use crate::testbed::{Node, TestbedError};

/// What happened on a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// It did something to a packet, at that time in nanoseconds since the epoch.
    Effect(Box<Effect>),
    /// Packets were lost instead of being forwarded.
    Lost {
        /// The end of the link (0 or 1) that had sent them.
        from: usize,
        /// How many, where it is known.
        count: Option<u64>,
        /// How.
        what: LostWhat,
    },
    /// The thread came late: packets waited meanwhile that should have gone on.
    Late {
        /// When, and for how long.
        late: Late,
        /// How long of it the thread waited for a processor, where it is known.
        waited: Option<Duration>,
    },
    /// The thread can't go on: nothing is forwarded any more.
    Failed(String),
}

/// Why there is no forwarding.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// An inner side can't be opened.
    #[error("forward the frames of link {link}: {call} on {device}: {}{}", error, advice(.error))]
    Port {
        /// The link.
        link: String,
        /// The inner side.
        device: &'static str,
        /// The call.
        call: &'static str,
        /// The answer.
        error: io::Error,
    },
    /// There is no such path, or it can't be entered.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// The thread, or what wakes it, can't be made.
    #[error("start to forward the frames of link {link}: {error}")]
    Start {
        /// The link.
        link: String,
        /// The answer.
        error: io::Error,
    },
    /// It has ended before its time.
    #[error("the thread that forwards the frames of link {link} has ended: nothing crosses this link any more")]
    Gone {
        /// The link.
        link: String,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(nix::libc::EPERM) => "; it needs CAP_NET_RAW in the user namespace that owns the network namespace",
        Some(nix::libc::ENOMEM) => "; run fewer scenarios at a time (`--jobs N`)",
        _ => "",
    }
}

/// What is done to a path on its thread. It gives back what tells of it, for when everything that came of it is out.
type Job = Box<dyn FnOnce(&mut Path) -> Answer + Send>;
type Answer = Box<dyn FnOnce() + Send>;

/// What the thread tells without being asked.
#[derive(Debug)]
struct Shared {
    notices: Mutex<Vec<Notice>>,
    /// Packets are in flight on the path, or wait to be sent.
    busy: AtomicBool,
    /// Rung when there are notices.
    bell: EventFd,
    /// Rung when there are jobs, or when it is over.
    wake: EventFd,
    over: AtomicBool,
}

/// A path at work. Dropping it ends the forwarding.
#[derive(Debug)]
pub struct Forwarder {
    link: String,
    jobs: Sender<Job>,
    shared: Arc<Shared>,
}

/// A path whose thread has still to be started.
#[derive(Debug)]
pub struct Prepared {
    link: String,
    sides: [Side; 2],
}

/// An inner side, before frames are taken from it.
#[derive(Debug)]
struct Side {
    device: &'static str,
    index: u32,
    socket: Unbound,
    rings: Rings,
}

/// A path whose thread is about to forward.
#[derive(Debug)]
pub struct Starting {
    forwarder: Forwarder,
    ready: Receiver<Result<(), ForwardError>>,
}

impl Prepared {
    /// Opens the inner sides of a link in the namespace of its path. The calling thread must be in the base
    /// namespace.
    ///
    /// # Errors
    ///
    /// [`ForwardError`]
    pub fn open(link: &str, node: &Node, rings: Rings) -> Result<Self, ForwardError> {
        let open = |device: &'static str| -> Result<Side, ForwardError> {
            let index = node.index(device).map_err(TestbedError::from)?;
            let socket = node.run(Unbound::open)?.map_err(|error| ForwardError::port(link, device, error))?;
            Ok(Side { device, index, socket, rings })
        };
        let [first, second] = INNER_DEVICES;
        let sides = [open(first)?, open(second)?];
        Ok(Self { link: link.to_owned(), sides })
    }

    /// Starts the thread. It binds the inner sides itself: that takes the kernel some 10 ms each, and there may be more
    /// paths to start.
    ///
    /// # Errors
    ///
    /// [`ForwardError::Start`]
    pub fn start(self, path: Path) -> Result<Starting, ForwardError> {
        let Self { link, sides } = self;
        let error = |error| ForwardError::Start { link: link.clone(), error };
        let event = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let shared = Shared {
            notices: Mutex::default(),
            busy: AtomicBool::new(false),
            bell: event().map_err(|errno| error(errno.into()))?,
            wake: event().map_err(|errno| error(errno.into()))?,
            over: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        let (jobs, received) = mpsc::channel();
        let (tell, ready) = mpsc::channel();
        let (name, thread_shared) = (link.clone(), Arc::clone(&shared));
        let work = move || match bind(&name, sides) {
            Ok(ports) => {
                // Who started it may be gone: then it is over, too.
                let _ = tell.send(Ok(()));
                thread::work(ports, path, thread_shared, &received);
            }
            Err(error) => drop(tell.send(Err(error))),
        };
        std::thread::Builder::new().name(format!("path {link}")).spawn(work).map_err(error)?;
        Ok(Starting { forwarder: Forwarder { link, jobs, shared }, ready })
    }
}

fn bind(link: &str, sides: [Side; 2]) -> Result<[Port; 2], ForwardError> {
    let [first, second] = sides.map(|side| {
        let Rings { frames, longest, slots } = side.rings;
        let port = side.socket.bind(side.index, longest, slots, frames == Frames::Whole);
        port.map_err(|error| ForwardError::port(link, side.device, error))
    });
    Ok([first?, second?])
}

impl Starting {
    /// Waits until each frame is forwarded.
    ///
    /// # Errors
    ///
    /// [`ForwardError`]
    pub fn ready(self) -> Result<Forwarder, ForwardError> {
        let gone = || ForwardError::Gone { link: self.forwarder.link.clone() };
        self.ready.recv().map_err(|_| gone())??;
        Ok(self.forwarder)
    }
}

impl ForwardError {
    fn port(link: &str, device: &'static str, error: PacketError) -> Self {
        let PacketError { call, error } = error;
        Self::Port { link: link.to_owned(), device, call, error }
    }
}

impl Forwarder {
    /// The name of the link.
    pub fn link(&self) -> &str {
        &self.link
    }

    /// Does something with the path, between two packets: all that came before the call have been treated. When it
    /// returns, what came of it is on its way.
    ///
    /// # Errors
    ///
    /// [`ForwardError::Gone`]
    pub fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Path) -> T + Send + 'static,
    ) -> Result<T, ForwardError> {
        let gone = || ForwardError::Gone { link: self.link.clone() };
        let (answer, answered) = mpsc::channel();
        let job: Job = Box::new(move |path| {
            let result = act(path);
            // A caller that no longer waits doesn't need it.
            Box::new(move || drop(answer.send(result)))
        });
        self.jobs.send(job).map_err(|_| gone())?;
        self.shared.wake();
        answered.recv().map_err(|_| gone())
    }

    /// What has happened since the last call. A packet that has left the path has its notices here before.
    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.shared.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Packets are in flight. Held ones don't count: they wait for a step.
    pub fn is_busy(&self) -> bool {
        self.shared.busy.load(Ordering::Acquire)
    }

    /// A descriptor that becomes readable when there are notices, each time anew (for an edge-triggered epoll).
    ///
    /// # Errors
    ///
    /// The process has too many descriptors.
    pub fn bell(&self) -> io::Result<OwnedFd> {
        self.shared.bell.as_fd().try_clone_to_owned()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.shared.wake();
    }
}

impl Shared {
    fn wake(&self) {
        // It fails only if it is rung already, 2^64 times.
        let _ = self.wake.write(1);
    }

    fn publish(&self, notices: impl Iterator<Item = Notice>) {
        let mut notices = notices.peekable();
        if notices.peek().is_none() {
            return;
        }
        let mut all = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(notices);
        drop(all);
        let _ = self.bell.write(1);
    }
}
