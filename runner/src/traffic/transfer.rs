//! One direction of a transfer: writing the payload at one end, reading and comparing it at the other.
//!
//! Writer and reader are two applications. If one of them ends, so does the transfer: this is reported at once
//! ([`Tell`]), with the errno, and nobody waits for bytes that can't arrive any more.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::socket::symbol;
use super::zero_copy;
use crate::payload::{Comparison, Payload};
use crate::recording::{CallEnd, Got, Side, SocketCall};
use crate::scenario::model::TransferPlan;

/// The progress of one direction of a connection. Shared between a background transfer and those who wait for it.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    sent: Rc<Cell<u64>>,
    received: Rc<Cell<u64>>,
    /// The number of bytes received when the current transfer began.
    before: Rc<Cell<u64>>,
    /// The comparison of the current transfer's bytes.
    comparison: Rc<Cell<Comparison>>,
}

impl Progress {
    /// A transfer begins.
    pub fn begin(&self) {
        self.before.set(self.received.get());
        self.comparison.take();
    }

    /// The comparison of the bytes received since the current transfer began.
    pub fn comparison(&self) -> Comparison {
        self.comparison.get()
    }

    /// Bytes read by the receiver since the current transfer began.
    pub fn received_of_transfer(&self) -> u64 {
        self.received.get() - self.before.get()
    }

    /// Bytes handed to the kernel since the connection was opened.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Bytes read by the receiver since the connection was opened.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    pub(super) fn add_sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    pub(super) fn add_received(&self, bytes: usize, comparison: Comparison) {
        self.received.set(self.received.get() + bytes as u64);
        let mut all = self.comparison.get();
        all.add(comparison);
        self.comparison.set(all);
    }
}

/// The result of one direction of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivery {
    /// Bytes that arrived.
    pub bytes: u64,
    /// Bytes that should have arrived.
    pub expected: u64,
    /// Bytes that the kernel accepted from the writer.
    pub sent: u64,
    /// The comparison of the arrived bytes.
    pub comparison: Comparison,
    /// From the first write to the last read; `None` if it was cut off.
    pub took: Option<Duration>,
    /// What ended it before all bytes had arrived: the first failed call, or the end of the stream.
    pub stopped: Option<CallEnd>,
    /// Calls that ended without bytes after that.
    pub also: Vec<CallEnd>,
}

impl Delivery {
    /// The call that failed before all bytes had arrived: one with this errno, or else the first one.
    pub fn failure(&self, error: Option<&str>) -> Option<&CallEnd> {
        let ends = || self.stopped.iter().chain(&self.also);
        let wanted = error.and_then(|error| ends().find(|end| end.error() == Some(error)));
        wanted.or(self.stopped.as_ref().filter(|end| end.error().is_some())).filter(|_| self.bytes < self.expected)
    }
}

/// Whom to tell at once of calls that get no bytes, or wrong ones.
#[derive(Clone)]
pub struct Tell(Rc<dyn Fn(CallEnd)>);

impl Tell {
    /// Calls this.
    pub fn to(act: impl Fn(CallEnd) + 'static) -> Self {
        Self(Rc::new(act))
    }

    /// Nobody.
    pub fn nobody() -> Self {
        Self::to(drop)
    }

    pub(super) fn tell(&self, end: CallEnd) {
        (self.0)(end);
    }
}

impl std::fmt::Debug for Tell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tell")
    }
}

/// Polls a future once.
pub(super) async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) {
    poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

/// The size of one read or write. Large enough for the kernel to build full segments.
const CHUNK: usize = 64 * 1024;

/// The interval at which a paced writer gets its share.
const PACE_TICK: Duration = Duration::from_millis(10);

/// How bytes are sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TransferWays {
    /// In bytes per second.
    pub(super) pace: Option<u64>,
    /// By sendfile() and splice().
    pub(super) zero_copy: bool,
    /// Bytes that the kernel has accepted already.
    pub(super) already: u64,
}

impl TransferWays {
    pub(super) fn of(plan: &TransferPlan) -> Self {
        Self { pace: plan.pace, zero_copy: plan.zero_copy, already: 0 }
    }
}

/// One direction of a transfer.
pub(super) struct Flow {
    pub(super) connection: String,
    /// The sending side.
    pub(super) from: Side,
    pub(super) sender: Rc<TcpStream>,
    pub(super) receiver: Rc<TcpStream>,
    pub(super) length: u64,
    pub(super) ways: TransferWays,
    /// Nobody else reads from the sender's socket meanwhile, so its error has to be read here.
    pub(super) one_way: bool,
    pub(super) progress: Progress,
    pub(super) tell: Tell,
    /// The result so far; the comparison is in the progress.
    pub(super) delivery: Rc<RefCell<Delivery>>,
}

impl Flow {
    /// Sends all bytes, and compares them as they arrive. Ends when all have arrived, or can't any more: the reader got
    /// an error or the end of the stream; or the writer got an error, and nothing is left to read.
    ///
    /// Returns whether all have arrived.
    pub(super) async fn run(&self) -> bool {
        let begin = Instant::now();
        self.delivery.borrow_mut().expected = self.length;
        if self.is_cut_short().await {
            self.read_queued();
        }
        let mut delivery = self.delivery.borrow_mut();
        delivery.took = Some(begin.elapsed());
        delivery.bytes == self.length
    }

    /// Runs until the reader is done, or nothing more can be written: then `true`.
    async fn is_cut_short(&self) -> bool {
        let mut writing = pin!(self.write());
        let mut reading = pin!(self.read());
        let all_written = tokio::select! {
            biased;
            () = &mut reading => {
                // The writer's error from the same cause, if it gets one now.
                poll_once(writing).await;
                return false;
            }
            all_written = &mut writing => all_written,
        };
        if !all_written {
            return true;
        }
        tokio::select! {
            biased;
            () = &mut reading => false,
            () = self.fail_of_sender() => true,
        }
    }

    /// Writes everything; whether the kernel accepted it.
    async fn write(&self) -> bool {
        let mut pacer = self.ways.pace.map(|rate| {
            let mut ticks = interval_at(Instant::now(), PACE_TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            (ticks, usize::try_from((rate / 100).max(1)).unwrap_or(CHUNK))
        });
        let payload = Payload::of(&self.connection, self.from);
        let mut buffer = vec![0; CHUNK.min(usize::try_from(self.length).unwrap_or(CHUNK))];
        let mut left = self.length.saturating_sub(self.ways.already);
        let mut file = if self.ways.zero_copy { Some(zero_copy::Source::new()) } else { None };
        while left > 0 {
            let mut size = buffer.len().min(usize::try_from(left).unwrap_or(CHUNK));
            if let Some((ticks, share)) = &mut pacer {
                ticks.tick().await;
                size = size.min(*share);
            }
            let chunk = &mut buffer[..size];
            payload.fill(self.progress.sent(), chunk);
            let written = match &mut file {
                None => self.write_all(chunk, |rest| self.sender.try_write(rest)).await,
                Some(Ok(file)) => match file.fill(chunk) {
                    Ok(()) => {
                        self.write_all(chunk, |rest| file.send(&self.sender, chunk.len() - rest.len(), rest.len()))
                            .await
                    }
                    Err(error) => Err(error),
                },
                Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            match written {
                Ok(()) => left -= chunk.len() as u64,
                Err(error) => {
                    self.stop(self.from, SocketCall::Write, Got::Error(symbol(&error)));
                    return false;
                }
            }
        }
        true
    }

    /// Writes these bytes with calls that are told what is left.
    async fn write_all(&self, mut rest: &[u8], mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        while !rest.is_empty() {
            self.sender.writable().await?;
            match write(rest) {
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    self.progress.add_sent(count);
                    self.delivery.borrow_mut().sent += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads until everything has arrived, or nothing more will.
    async fn read(&self) {
        let pipe = if self.ways.zero_copy { Some(zero_copy::Pipe::new()) } else { None };
        let mut buffer = vec![0; CHUNK.min(usize::try_from(self.length).unwrap_or(CHUNK))];
        while self.left() > 0 {
            let size = buffer.len().min(usize::try_from(self.left()).unwrap_or(CHUNK));
            let got = match (self.receiver.readable().await, &pipe) {
                (Ok(()), None) => self.receiver.try_read(&mut buffer[..size]),
                (Ok(()), Some(Ok(pipe))) => pipe.receive(&self.receiver, &mut buffer[..size]),
                (Ok(()), Some(Err(error))) => Err(io::Error::new(error.kind(), error.to_string())),
                (Err(error), _) => Err(error),
            };
            match got {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                got => {
                    if !self.take(&buffer, got) {
                        return;
                    }
                }
            }
        }
    }

    /// Reads what is already in the socket. The writer has failed, so nothing missing will be retransmitted.
    fn read_queued(&self) {
        let mut buffer = vec![0; CHUNK];
        while self.left() > 0 {
            let size = buffer.len().min(usize::try_from(self.left()).unwrap_or(CHUNK));
            // Not through tokio, which notices only at its next turn that the socket is readable.
            let got = recv(self.receiver.as_raw_fd(), &mut buffer[..size], MsgFlags::MSG_DONTWAIT);
            match got {
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                got => {
                    if !self.take(&buffer, got.map_err(io::Error::from)) {
                        return;
                    }
                }
            }
        }
    }

    /// Compares the result of a read(). `false`: it returned no bytes.
    fn take(&self, buffer: &[u8], got: io::Result<usize>) -> bool {
        let got = match got {
            Ok(0) => Got::EndOfStream,
            Err(error) => Got::Error(symbol(&error)),
            Ok(count) => {
                let payload = Payload::of(&self.connection, self.from);
                let received = buffer.get(..count).unwrap_or_default();
                let comparison = payload.compare(self.progress.received(), received);
                self.progress.add_received(count, comparison);
                let mut delivery = self.delivery.borrow_mut();
                delivery.bytes += count as u64;
                return true;
            }
        };
        self.stop(self.from.other(), SocketCall::Read, got);
        false
    }

    /// The result so far.
    pub(super) fn delivered(&self) -> Delivery {
        Delivery { comparison: self.progress.comparison(), ..self.delivery.borrow().clone() }
    }

    fn left(&self) -> u64 {
        self.length.saturating_sub(self.delivery.borrow().bytes)
    }

    /// Waits for an error of the sender's socket, which may still fail after everything is written but before it is
    /// delivered.
    async fn fail_of_sender(&self) {
        if !self.one_way {
            return std::future::pending().await;
        }
        let take_error = || match self.sender.take_error() {
            Ok(Some(error)) | Err(error) => Ok(error),
            Ok(None) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
        };
        let error = self.sender.async_io(Interest::ERROR, take_error).await.unwrap_or_else(|error| error);
        self.stop(self.from, SocketCall::SocketError, Got::Error(symbol(&error)));
    }

    /// Reports how a call ended; the first one stopped the transfer.
    fn stop(&self, side: Side, call: SocketCall, got: Got) {
        let mut delivery = self.delivery.borrow_mut();
        let bytes = if call == SocketCall::Read { delivery.bytes } else { delivery.sent };
        let end = CallEnd { connection: self.connection.clone(), side, call, got, bytes };
        match delivery.stopped {
            None => delivery.stopped = Some(end.clone()),
            Some(_) => delivery.also.push(end.clone()),
        }
        drop(delivery);
        self.tell.tell(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_counts_from_its_own_start() {
        let progress = Progress::default();
        progress.begin();
        progress.add_received(5, Comparison { first: Some(3), wrong: 2 });
        assert_eq!(progress.comparison(), Comparison { first: Some(3), wrong: 2 });
        assert_eq!(progress.received_of_transfer(), 5);
        progress.begin();
        assert_eq!((progress.received_of_transfer(), progress.received()), (0, 5));
        assert_eq!(progress.comparison(), Comparison::default());
        progress.add_received(2, Comparison::default());
        assert_eq!(progress.received_of_transfer(), 2);
    }
}
