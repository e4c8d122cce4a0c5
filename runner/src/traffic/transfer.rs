//! One direction of a transfer: writing the payload at one end, reading and comparing it at the other.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::payload::{Comparison, Payload};

/// How far one direction of a connection is. Shared between a transfer in the background and whoever waits for it.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    sent: Rc<Cell<u64>>,
    received: Rc<Cell<u64>>,
    /// What had been received when the current transfer began.
    before: Rc<Cell<u64>>,
}

impl Progress {
    /// A transfer begins.
    pub fn begin(&self) {
        self.before.set(self.received.get());
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

    fn add_sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    fn add_received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }
}

/// What one direction of a transfer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Bytes that arrived.
    pub bytes: u64,
    /// Those that should have.
    pub expected: u64,
    /// How they compare.
    pub comparison: Comparison,
    /// From the first write to the last read.
    pub took: Duration,
}

/// The size of one read or write. Large enough for the kernel to build full segments.
const CHUNK: usize = 64 * 1024;

/// How often a paced writer gets its share.
const PACE_TICK: Duration = Duration::from_millis(10);

/// Sends `length` bytes from `sender` to `receiver`, and compares them as they arrive.
///
/// `pace` is in bytes per second. Ends when all has arrived, or the receiver sees the end of the stream or an error.
pub async fn transfer(
    sender: &TcpStream,
    receiver: &TcpStream,
    payload: Payload,
    length: u64,
    pace: Option<u64>,
    progress: &Progress,
) -> io::Result<Delivery> {
    let begin = Instant::now();
    let reading = async {
        let delivery = read(receiver, payload, length, progress).await;
        delivery.map(|delivery| Delivery { took: begin.elapsed(), ..delivery })
    };
    let (written, delivery) = tokio::join!(write(sender, payload, length, pace, progress), reading);
    let delivery = delivery?;
    // A writer's error matters only if something is missing at the other end: the reader tells.
    if delivery.bytes < length {
        written?;
    }
    Ok(delivery)
}

async fn write(
    stream: &TcpStream,
    payload: Payload,
    length: u64,
    pace: Option<u64>,
    progress: &Progress,
) -> io::Result<()> {
    let mut pacer = pace.map(|rate| {
        let mut ticks = interval_at(Instant::now(), PACE_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        (ticks, usize::try_from((rate / 100).max(1)).unwrap_or(CHUNK))
    });
    let mut buffer = vec![0; CHUNK.min(usize::try_from(length).unwrap_or(CHUNK))];
    let mut left = length;
    while left > 0 {
        let mut size = buffer.len().min(usize::try_from(left).unwrap_or(CHUNK));
        if let Some((ticks, share)) = &mut pacer {
            ticks.tick().await;
            size = size.min(*share);
        }
        let chunk = &mut buffer[..size];
        payload.fill(progress.sent(), chunk);
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            stream.writable().await?;
            match stream.try_write(rest) {
                Ok(count) => {
                    rest = &rest[count..];
                    progress.add_sent(count);
                    left -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

async fn read(stream: &TcpStream, payload: Payload, length: u64, progress: &Progress) -> io::Result<Delivery> {
    let mut delivery = Delivery { bytes: 0, expected: length, comparison: Comparison::default(), took: Duration::ZERO };
    let mut buffer = vec![0; CHUNK.min(usize::try_from(length).unwrap_or(CHUNK))];
    while delivery.bytes < length {
        stream.readable().await?;
        let size = buffer.len().min(usize::try_from(length - delivery.bytes).unwrap_or(CHUNK));
        match stream.try_read(&mut buffer[..size]) {
            Ok(0) => break,
            Ok(count) => {
                delivery.comparison.add(payload.compare(progress.received(), &buffer[..count]));
                progress.add_received(count);
                delivery.bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(delivery)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_counts_from_its_own_start() {
        let progress = Progress::default();
        progress.begin();
        progress.add_received(5);
        assert_eq!(progress.received_of_transfer(), 5);
        progress.begin();
        assert_eq!((progress.received_of_transfer(), progress.received()), (0, 5));
        progress.add_received(2);
        assert_eq!(progress.received_of_transfer(), 2);
    }
}
