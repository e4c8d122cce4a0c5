//! Single calls of applications: a write() or a read() of so many bytes, and what the kernel says of the rest.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::LiveConnection;
use super::socket::symbol;
use crate::payload::{Comparison, Payload};
use crate::recording::{CallEnd, Calls, Got, Side, SocketCall};

/// `TCP_CM_INQ` (`include/uapi/linux/tcp.h`)
const TCP_CM_INQ: i32 = 36;

/// One recvmsg(): how many bytes, and what `TCP_INQ` says is left.
struct Message {
    bytes: usize,
    inq: Option<u32>,
}

impl LiveConnection {
    /// Writes bytes of the payload.
    pub async fn write_bytes(&self, by: Side, bytes: u64) -> io::Result<Calls> {
        let stream = self.open_stream(by)?;
        let mut calls = Calls::of(&self.name, by, SocketCall::Write, bytes);
        let mut buffer = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX).min(CHUNK)];
        while calls.bytes < bytes && calls.end.is_none() {
            let size = buffer.len().min(usize::try_from(bytes - calls.bytes).unwrap_or(CHUNK));
            let chunk = &mut buffer[..size];
            Payload::of(&self.name, by).fill(self.progress(by).sent(), chunk);
            stream.writable().await?;
            match stream.try_write(chunk) {
                Ok(count) => {
                    self.progress(by).add_sent(count);
                    calls.bytes += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The first write() of a client with TCP_FASTOPEN_CONNECT: again, when there is a connection.
                Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => forget_writable(&stream),
                Err(error) => calls.end = Some(self.ended(by, &calls, Got::Error(symbol(&error)))),
            }
        }
        Ok(calls)
    }

    /// Reads bytes, and compares them; or looks at those that are there without taking them. Ends early at the end of the
    /// stream, or when a call fails.
    pub async fn read_bytes(&self, by: Side, bytes: u64, peek: bool) -> io::Result<Calls> {
        let stream = self.open_stream(by)?;
        let call = if peek { SocketCall::Peek } else { SocketCall::Read };
        let mut calls = Calls::of(&self.name, by, call, bytes);
        let flags = if peek { MsgFlags::MSG_PEEK } else { MsgFlags::empty() };
        // Without bytes to read, the end of the stream is looked for.
        let mut buffer = vec![0; usize::try_from(bytes.max(1)).unwrap_or(CHUNK).min(CHUNK)];
        loop {
            let left = usize::try_from(bytes.max(1) - calls.bytes).unwrap_or(CHUNK);
            let size = buffer.len().min(left);
            match receive(&stream, &mut buffer[..size], flags).await {
                Ok(Message { bytes: 0, inq }) => {
                    calls.inq = inq;
                    calls.end = Some(self.ended(by, &calls, Got::EndOfStream));
                }
                Ok(Message { bytes: count, inq }) => {
                    calls.inq = inq;
                    self.compare(by, peek, buffer.get(..count).unwrap_or_default(), &mut calls);
                }
                Err(error) => calls.end = Some(self.ended(by, &calls, Got::Error(symbol(&error)))),
            }
            if peek || calls.end.is_some() || calls.bytes >= bytes {
                return Ok(calls);
            }
        }
    }

    fn compare(&self, by: Side, peek: bool, received: &[u8], calls: &mut Calls) {
        let (from, progress) = (by.other(), self.progress(by.other()));
        let comparison = Payload::of(&self.name, from).compare(progress.received(), received);
        calls.bytes += received.len() as u64;
        calls.wrong += comparison.wrong;
        if !peek {
            progress.add_received(received.len(), Comparison::default());
        }
    }

    fn ended(&self, side: Side, calls: &Calls, got: Got) -> CallEnd {
        CallEnd { connection: self.name.clone(), side, call: calls.call, got, bytes: calls.bytes }
    }
}

/// Makes the next wait for a writable socket one for news from the kernel.
fn forget_writable(stream: &TcpStream) {
    // Such an error is how tokio learns that the socket isn't writable any more.
    let _ = stream.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
}

/// The most bytes of one call.
const CHUNK: usize = 64 * 1024;

/// One blocking recvmsg(), with room for what `TCP_INQ` says.
async fn receive(stream: &TcpStream, buffer: &mut [u8], flags: MsgFlags) -> io::Result<Message> {
    let mut room = nix::cmsg_space!(u32);
    let mut once = || {
        let mut parts = [IoSliceMut::new(buffer)];
        let message =
            recvmsg::<()>(stream.as_fd().as_raw_fd(), &mut parts, Some(&mut room), flags | MsgFlags::MSG_DONTWAIT)?;
        let told = message.cmsgs()?.find_map(|told| match told {
            ControlMessageOwned::Unknown(told) if told.cmsg_header.cmsg_type == TCP_CM_INQ => Some(told.data_bytes),
            _ => None,
        });
        let inq = told.and_then(|bytes| bytes.first_chunk().copied()).map(u32::from_ne_bytes);
        Ok::<_, Errno>(Message { bytes: message.bytes, inq })
    };
    stream.async_io(Interest::READABLE, || once().map_err(io::Error::from)).await
}
