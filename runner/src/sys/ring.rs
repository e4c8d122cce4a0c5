//! A packet socket that observes: its receive ring ([`slots`](super::slots)), watched by tokio.
//!
//! Why a ring: a plain socket is charged for each unsegmented frame as a whole, against a receive buffer that only root
//! may enlarge, and a few of them fill it. A ring holds a fixed number of frames of any size.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::unix::AsyncFd;

use super::packet;
use super::readiness::watch;
use super::slots::{PacketError, Slots};

/// Bytes of one frame in the ring: its `struct tpacket2_hdr`, its `struct sockaddr_ll`, and 190 bytes from the Ethernet
/// header on. The longest relevant headers have 122 (Ethernet, IPv6 with a jumbo option, TCP with all options).
pub const FRAME_SIZE: usize = 256;

/// A packet socket with its ring, already capturing.
#[derive(Debug)]
pub struct Ring {
    // Before the socket, because fields are dropped in this order: the mapping should not outlive the socket.
    slots: Slots,
    socket: OwnedFd,
}

/// A [`Ring`] that a tokio runtime watches.
#[derive(Debug)]
pub struct WatchedRing {
    slots: RefCell<Slots>,
    /// Never replaced, and never given away.
    socket: AsyncFd<OwnedFd>,
}

impl Ring {
    /// Gives a packet socket a ring of at least `bytes` bytes, then binds it to all interfaces of its namespace (which
    /// the calling thread need not be in). A filter should already be attached, so that nothing else is captured.
    ///
    /// # Errors
    ///
    /// Those of [`Slots::set_up`].
    pub fn new(socket: OwnedFd, bytes: usize) -> Result<Self, PacketError> {
        let slots = Slots::set_up(&socket, FRAME_SIZE, bytes.div_ceil(FRAME_SIZE))?;
        packet::bind(socket.as_fd(), packet::ALL_INTERFACES).map_err(PacketError::at("bind"))?;
        Ok(Self { slots, socket })
    }
}

impl WatchedRing {
    /// Registers an unread ring with the caller's tokio runtime.
    ///
    /// # Errors
    ///
    /// There is no runtime, or the kernel refuses to watch another descriptor.
    pub fn new(ring: Ring) -> io::Result<Self> {
        Ok(Self { slots: RefCell::new(ring.slots), socket: watch(ring.socket)? })
    }

    /// Waits for a frame that arrives after the last call. Call [`drain`](Self::drain) then: frames that are already in
    /// the ring cause no further wake-up.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// None, unless the runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        let mut guard = self.socket.readable().await?;
        // Epoll is edge-triggered here, so each further frame wakes us.
        guard.clear_ready();
        Ok(())
    }

    /// Passes each received frame to `consume` and returns it to the kernel, until none is left.
    ///
    /// `consume` gets the whole slot of [`FRAME_SIZE`] bytes, which begins with its `struct tpacket2_hdr`. A call from
    /// within `consume` finds no frame.
    pub fn drain(&self, mut consume: impl FnMut(&[u8])) {
        let Ok(mut slots) = self.slots.try_borrow_mut() else { return };
        while let Some(frame) = slots.first() {
            consume(frame);
            slots.give_back();
        }
    }

    /// The number of frames dropped for lack of room in the ring since the last call (`PACKET_STATISTICS`, `tp_drops`).
    ///
    /// # Errors
    ///
    /// None are known for a packet socket.
    pub fn dropped(&self) -> Result<u32, PacketError> {
        packet::dropped(self.socket.as_fd()).map_err(PacketError::at("getsockopt(PACKET_STATISTICS)"))
    }

    /// Deregisters the ring, which can then be dropped on another thread.
    pub fn unwatch(self) -> Ring {
        Ring { slots: self.slots.into_inner(), socket: self.socket.into_inner() }
    }
}
