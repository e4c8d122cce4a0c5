//! Sending and receiving without read() and write(): sendfile(2) from a file, splice(2) into a pipe.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{SpliceFFlags, splice};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sendfile::sendfile;
use nix::unistd::pipe;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The file that a writer sends.
pub(super) struct Source(File);

impl Source {
    /// An empty file in memory.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(memfd_create(c"transfer", MFdFlags::MFD_CLOEXEC)?.into()))
    }

    /// Replaces what is in it. The kernel may still send the pages of what was there before, so that they are given up
    /// rather than overwritten.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.seek(SeekFrom::Start(0))?;
        self.0.write_all(bytes)
    }

    /// One sendfile() from there.
    pub(super) fn send(&self, socket: &TcpStream, offset: usize, count: usize) -> io::Result<usize> {
        let mut from = i64::try_from(offset).map_err(io::Error::other)?;
        socket.try_io(Interest::WRITABLE, || sendfile(socket, &self.0, Some(&mut from), count).map_err(io::Error::from))
    }
}

/// The pipe into which a reader moves what has arrived.
pub(super) struct Pipe {
    from: OwnedFd,
    to: OwnedFd,
}

impl Pipe {
    /// An empty one.
    pub(super) fn new() -> io::Result<Self> {
        let (from, to) = pipe()?;
        Ok(Self { from, to })
    }

    /// One splice() from the socket; then the bytes are read from the pipe.
    pub(super) fn receive(&self, socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let moved = socket.try_io(Interest::READABLE, || {
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
            splice(socket.as_fd(), None, self.to.as_fd(), None, buffer.len(), flags).map_err(io::Error::from)
        })?;
        let place = buffer.get_mut(..moved).unwrap_or_default();
        File::from(self.from.try_clone()?).read_exact(place)?;
        Ok(moved)
    }
}
