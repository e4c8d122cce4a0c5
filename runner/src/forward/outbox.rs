//! Frames that wait to be sent through one port: [`Outbox`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::sys::port::{BATCH, Offload, Port};

/// How long the kernel may have no room for a frame. It has some again when a softirq has run.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// When it has none, it is asked again after so long.
pub(super) const RETRY: Duration = Duration::from_micros(50);

/// Frames that wait, in order, each behind its [`Offload`] if it has one. Their bytes lie in one buffer, which is used
/// again when all have gone.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// Where each frame ends, less what has gone already.
    frames: VecDeque<std::ops::Range<usize>>,
    /// Since when the kernel has no room.
    blocked: Option<Instant>,
    /// For how long it had none, the last time.
    was_blocked: Option<Duration>,
}

/// What came of an attempt to send everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything has gone.
    All,
    /// The kernel has no room now: try again after [`RETRY`].
    Blocked,
    /// The interface is down, or has no carrier: the frames are gone, as on any link that is down.
    Down,
    /// Number of frames that are lost because the kernel didn't take them.
    Lost(u64),
}

impl Outbox {
    pub(super) fn push(&mut self, offload: Option<Offload>, frame: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(offload.as_ref().map_or(&[], Offload::as_bytes));
        self.bytes.extend_from_slice(frame);
        self.frames.push_back(start..self.bytes.len());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Sends what there is. `carrier` says whether the interface has one; it is asked when the kernel has no room, which
    /// is also what it says when there is no carrier (`__dev_direct_xmit`, net/core/dev.c).
    pub(super) fn flush(&mut self, port: &Port, carrier: impl Fn() -> bool) -> Flushed {
        let mut lost = 0;
        while !self.frames.is_empty() {
            let frames = self.frames.iter().take(BATCH);
            match port.send(frames.map(|frame| self.bytes.get(frame.clone()).unwrap_or_default())) {
                Ok(sent) => {
                    self.frames.drain(..sent.min(self.frames.len()));
                    self.go_on();
                }
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::ENETDOWN | Errno::ENXIO) => return self.discard(Flushed::Down),
                    Some(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => {
                        if !carrier() {
                            return self.discard(Flushed::Down);
                        }
                        if self.blocked.get_or_insert_with(Instant::now).elapsed() < SEND_TIMEOUT {
                            return Flushed::Blocked;
                        }
                        let all = self.frames.len() as u64;
                        return self.discard(Flushed::Lost(lost + all));
                    }
                    Some(Errno::EINTR) => {}
                    // EMSGSIZE: this one will never go.
                    _ => {
                        self.frames.pop_front();
                        lost += 1;
                    }
                },
            }
        }
        self.discard(if lost == 0 { Flushed::All } else { Flushed::Lost(lost) })
    }

    fn discard(&mut self, outcome: Flushed) -> Flushed {
        self.frames.clear();
        self.bytes.clear();
        self.go_on();
        outcome
    }

    fn go_on(&mut self) {
        if let Some(since) = self.blocked.take() {
            self.was_blocked = Some(since.elapsed());
        }
    }

    /// For how long the kernel had no room, if it had none and has some again.
    pub(super) fn take_blocked(&mut self) -> Option<Duration> {
        self.was_blocked.take()
    }
}
