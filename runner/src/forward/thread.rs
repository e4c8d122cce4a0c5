//! The thread of a path.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::clock::{Clock, Now};
use super::lateness::Lateness;
use super::outbox::{Flushed, Outbox, RETRY};
use super::{Answer, Job, Notice, Shared};
use crate::nanos;
use crate::path::{Effect, Path};
use crate::plan::INNER_DEVICES;
use crate::processors::{self, Late, NOTED};
use crate::recording::LostWhat;
use crate::sys::port::{BATCH, Frame, Offload, Port};

/// How long the thread looks for more frames before it sleeps, in nanoseconds: to be woken takes longer.
const LINGER: u64 = 20_000;
/// How much earlier than something is due the thread wakes, in nanoseconds, at most.
const EARLY: u64 = 200_000;
/// Maximum number of frames that are read before their results are sent.
const ROUND: usize = 2 * BATCH;
/// Frames that arrived before a job are handled first: this number at most, so that the job is done at all.
const BEFORE_JOB: usize = 100_000;

/// Forwards until it is over.
pub(super) fn work(ports: [Port; 2], path: Path, shared: Arc<Shared>, jobs: &Receiver<Job>) {
    let (clock, outboxes, lateness) = (Clock::start(), Default::default(), Lateness::default());
    let pinned = processors::only_one().is_some();
    Worker { ports, path, clock, outboxes, losing: [false; 2], lateness, shares: pinned, shared }.work(jobs);
}

/// What the thread works with.
struct Worker {
    /// The inner sides, in the order of the link's ends.
    ports: [Port; 2],
    path: Path,
    clock: Clock,
    /// What goes out through each side.
    outboxes: [Outbox; 2],
    /// The kernel has had no slot for frames of this side.
    losing: [bool; 2],
    lateness: Lateness,
    /// The thread has its processor together with its run's: looking for what only that one can bring would keep it from
    /// bringing it.
    shares: bool,
    shared: Arc<Shared>,
}

impl Worker {
    fn work(mut self, jobs: &Receiver<Job>) {
        // How late the kernel may wake a thread, to save wake-ups. 50 µs otherwise.
        let _ = nix::sys::prctl::set_timerslack(1);
        while !self.shared.over.load(Ordering::Acquire) {
            let now = self.clock.both();
            let taken = self.take_frames(now, ROUND);
            self.due(now);
            self.send(now);
            self.tell_lateness(now);
            if taken == 0
                && let Err(error) = self.wait()
            {
                return self.shared.publish([Notice::Failed(format!("wait for frames: {error}"))].into_iter());
            }
            while let Ok(job) = jobs.try_recv() {
                self.do_job(job);
            }
        }
    }

    /// Tells if it came late for what it has just done.
    fn tell_lateness(&mut self, now: Now) {
        let waited_before = self.outboxes.each_mut().map(Outbox::take_blocked);
        if let Some((late, waited)) = self.lateness.take(now.path) {
            self.shared.publish([Notice::Late { late: Late::until_now(late), waited }].into_iter());
        }
        let blocked = waited_before.into_iter().flatten().filter(|blocked| *blocked >= NOTED);
        self.shared.publish(blocked.map(|blocked| Notice::Late { late: Late::until_now(blocked), waited: None }));
    }

    /// What is due now is sent.
    fn due(&mut self, now: Now) {
        if let Some(due) = self.path.next_deadline() {
            self.lateness.add(now.path, due);
        }
        let Self { ports, path, outboxes, .. } = self;
        // What was made or kept here is complete.
        let offload = ports.each_ref().map(|port| port.is_whole().then(Offload::default));
        path.due(now.path, &mut |to, frame| post(outboxes, to, offload.get(to).copied().flatten(), frame));
    }

    /// Takes frames from both sides in the order of their coming, at most so many, and says how many there were.
    fn take_frames(&mut self, now: Now, limit: usize) -> usize {
        let Self { ports, path, outboxes, losing, lateness, .. } = self;
        let mut faulty = [0; 2];
        let mut taken = 0;
        while taken < limit {
            let [first, second] = ports.each_ref().map(Port::next_at);
            let from = match (first, second) {
                (None, None) => break,
                (Some(_), None) => 0,
                (None, Some(_)) => 1,
                (Some(first), Some(second)) => usize::from(second < first),
            };
            let [port, ..] = &mut ports[from..] else { break };
            taken += port.receive(1, |frame: Frame<'_>| {
                losing[from] |= frame.losing;
                let at = now.arrival(frame.at_ns);
                lateness.add(now.path, at);
                let out = &mut |to, bytes: &[u8]| post(outboxes, to, frame.offload, bytes);
                let gso_size = frame.offload.and_then(|offload| offload.gso_size());
                let entered = match gso_size {
                    _ if frame.bytes.len() < frame.length => false,
                    Some(gso_size) => path.enter_whole(at, from, frame.bytes, gso_size, out),
                    None if frame.checksummed || frame.offload.is_some() => {
                        path.enter(at, from, frame.bytes, out);
                        true
                    }
                    None => false,
                };
                faulty[from] += u64::from(!entered);
            });
        }
        let faulty = faulty.into_iter().enumerate().filter(|(_, count)| *count > 0);
        self.shared.publish(faulty.map(|(from, count)| Notice::Lost {
            from,
            count: Some(count),
            what: LostWhat::Unreadable,
        }));
        taken
    }

    /// Tells what was done, then sends what has arrived: who sees a packet can know what was done to it.
    fn send(&mut self, now: Now) {
        let effects = self.path.take_effects().into_iter();
        self.shared
            .publish(effects.map(|effect| Notice::Effect(Box::new(Effect { at: now.real(effect.at), ..effect }))));
        self.count_losses();
        for to in [0, 1] {
            let Self { ports, outboxes, .. } = self;
            let outcome = outboxes[to].flush(&ports[to], || has_carrier(ports, to));
            if let Flushed::Lost(count) = outcome {
                let lost = Notice::Lost { from: 1 - to, count: Some(count), what: LostWhat::Sending };
                self.shared.publish([lost].into_iter());
            }
        }
        let waiting = self.outboxes.iter().any(|outbox| !outbox.is_empty());
        self.shared.busy.store(waiting || self.path.next_deadline().is_some(), Ordering::Release);
    }

    fn count_losses(&mut self) {
        for from in [0, 1] {
            if std::mem::take(&mut self.losing[from]) {
                match self.ports[from].dropped() {
                    Ok(0) => {}
                    count => {
                        let count = count.ok().map(u64::from);
                        let lost = Notice::Lost { from, count, what: LostWhat::Forwarding };
                        self.shared.publish([lost].into_iter());
                    }
                }
            }
        }
    }

    /// Nothing is there to be taken or sent.
    fn is_idle(&self) -> bool {
        self.ports.iter().all(|port| port.next_at().is_none())
    }

    /// Looks for frames until that time (of the path's clock), while nobody else needs the processor. `true`: there are
    /// some.
    fn look_until(&self, until: u64) -> bool {
        if self.shares {
            return !self.is_idle();
        }
        while self.clock.now() < until {
            if !self.is_idle() {
                return true;
            }
            thread::yield_now();
        }
        false
    }

    /// Waits until something comes, or something is due.
    fn wait(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        let due = self.path.next_deadline();
        if self.look_until(due.unwrap_or(u64::MAX).min(now.saturating_add(LINGER))) {
            return Ok(());
        }
        let now = self.clock.now();
        let left = due.map(|due| due.saturating_sub(now));
        // The kernel wakes a thread late: by the time that an idle processor needs to begin. So it shall be early.
        let due = left.map(|left| if self.shares { left } else { left - EARLY.min(left / 10) });
        let blocked = self.outboxes.iter().any(|outbox| !outbox.is_empty());
        let retry = blocked.then(|| nanos::of(RETRY));
        let timeout = due.into_iter().chain(retry).min();
        let timeout = timeout.map(|nanos| TimeSpec::from_duration(std::time::Duration::from_nanos(nanos)));
        let [first, second] = &self.ports;
        let mut sources = [first.as_fd(), second.as_fd(), self.shared.wake.as_fd()]
            .map(|source| PollFd::new(source, PollFlags::POLLIN));
        match ppoll(&mut sources, timeout, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [first_source, second_source, wake] = &sources;
        let has = |source: &PollFd<'_>, flag| source.revents().is_some_and(|events| events.contains(flag));
        for (port, source) in [(first, first_source), (second, second_source)] {
            // It went down, or came up again.
            if has(source, PollFlags::POLLERR) {
                port.clear_error()?;
            }
        }
        if has(wake, PollFlags::POLLIN) {
            let _ = self.shared.wake.read();
        } else if let Some(due) = self.path.next_deadline()
            && due.saturating_sub(self.clock.now()) <= EARLY
        {
            self.look_until(due);
        }
        Ok(())
    }

    fn do_job(&mut self, job: Job) {
        let now = self.clock.both();
        let mut left = BEFORE_JOB;
        while left > 0 {
            match self.take_frames(now, ROUND.min(left)) {
                0 => break,
                taken => left -= taken,
            }
            self.send(now);
            self.tell_lateness(now);
        }
        self.due(now);
        let answer: Answer = job(&mut self.path);
        self.due(now);
        self.losing = [true; 2];
        self.send(now);
        answer();
    }
}

fn post(outboxes: &mut [Outbox; 2], to: usize, offload: Option<Offload>, frame: &[u8]) {
    if let Some(outbox) = outboxes.get_mut(to) {
        outbox.push(offload, frame);
    }
}

/// The kernel says so, or can't say. It is asked while packets wait, so it must not be asked in a way that itself waits.
fn has_carrier(ports: &[Port; 2], side: usize) -> bool {
    match (ports.get(side), INNER_DEVICES.get(side)) {
        (Some(port), Some(device)) => port.has_carrier(device).unwrap_or(true),
        _ => true,
    }
}
