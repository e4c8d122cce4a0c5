//! The receive ring of a packet socket (`TPACKET_V2`, net/packet/af_packet.c): memory that the kernel writes captured
//! frames to, and that is read without a system call.
//!
//! Why a ring: a plain socket is charged for the whole of each segment that offload has not cut yet, against a receive
//! buffer that only root may enlarge; a few of them fill it. A ring holds a fixed number of frames of any size.
//! Why version 2: version 3 shows frames by the block, after a time-out, so a capture would lag behind what it
//! captures. Version 2 shows each frame at once.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use tokio::io::unix::AsyncFd;

use super::packet;
use super::readiness::watch;

/// Bytes of one frame in the ring: its `struct tpacket2_hdr`, its `struct sockaddr_ll`, and 190 bytes from the Ethernet
/// header on. The longest headers that interest us have 122 (Ethernet, IPv6 with a jumbo option, TCP with all options).
pub const FRAME_SIZE: usize = 256;

/// Bytes of one block. It has to be a multiple of the page size, which is 64 KiB at most, and of [`FRAME_SIZE`].
const BLOCK_SIZE: usize = 64 * 1024;

/// A packet socket with its ring, already capturing.
#[derive(Debug)]
pub struct Ring {
    // Before the socket, because fields are dropped in this order: what is mapped should not outlive what it maps.
    mapping: Mapping,
    socket: OwnedFd,
}

/// A [`Ring`] that a tokio runtime watches.
#[derive(Debug)]
pub struct WatchedRing {
    mapping: RefCell<Mapping>,
    /// Never replaced, and never handed out.
    socket: AsyncFd<OwnedFd>,
    /// The index of the frame that the kernel fills next.
    next: Cell<usize>,
}

/// A step of the set-up that failed.
#[derive(Debug)]
pub struct RingError {
    /// The call: `setsockopt(PACKET_RX_RING)`.
    pub call: &'static str,
    /// The answer; of the kernel, if it has an errno.
    pub error: io::Error,
}

impl Ring {
    /// Gives a packet socket a ring of at least `bytes` bytes, then binds it to all interfaces of its namespace (which
    /// the calling thread need not be in).
    ///
    /// The socket must have been created with protocol 0, so that nothing is captured before the ring is in place; for
    /// the same reason a filter should already be attached.
    ///
    /// Takes some 10 ms, in which the kernel waits for an RCU grace period (`packet_set_ring`).
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the kernel can't give so much memory, `EINVAL` if it isn't a packet socket.
    pub fn new(socket: OwnedFd, bytes: usize) -> Result<Self, RingError> {
        let at = |call| move |error| RingError { call, error };
        let set = |name, numbers: &[usize]| packet::set_option(socket.as_fd(), name, numbers);
        let blocks = bytes.div_ceil(BLOCK_SIZE).max(1);
        set(libc::PACKET_VERSION, &[libc::tpacket_versions::TPACKET_V2 as usize])
            .map_err(at("setsockopt(PACKET_VERSION)"))?;
        // struct tpacket_req
        let request = [BLOCK_SIZE, blocks, FRAME_SIZE, blocks * (BLOCK_SIZE / FRAME_SIZE)];
        set(libc::PACKET_RX_RING, &request).map_err(at("setsockopt(PACKET_RX_RING)"))?;
        let mapping = Mapping::new(&socket, blocks * BLOCK_SIZE).map_err(at("mmap"))?;
        packet::bind(socket.as_fd(), packet::ALL_INTERFACES).map_err(at("bind"))?;
        Ok(Self { mapping, socket })
    }
}

impl WatchedRing {
    /// Puts a ring, from which nothing was read yet, under the watch of the tokio runtime that the caller is on.
    ///
    /// # Errors
    ///
    /// There is no runtime, or the kernel refuses to watch one more descriptor.
    pub fn new(ring: Ring) -> io::Result<Self> {
        Ok(Self { mapping: RefCell::new(ring.mapping), socket: watch(ring.socket)?, next: Cell::new(0) })
    }

    /// Waits until a frame came after the last call. Whoever doesn't [`drain`](Self::drain) then isn't woken again for
    /// the frames that are in the ring already.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// None, unless the runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        let mut guard = self.socket.readable().await?;
        // The kernel announces each frame anew (epoll is edge-triggered here), so one that comes from now on wakes us.
        guard.clear_ready();
        Ok(())
    }

    /// Hands each frame that is there to `consume` and gives it back to the kernel, until none is left.
    ///
    /// What `consume` gets is the whole frame of [`FRAME_SIZE`] bytes, beginning with its `struct tpacket2_hdr`.
    /// A call from within `consume` finds none.
    pub fn drain(&self, mut consume: impl FnMut(&[u8])) {
        let Ok(mut mapping) = self.mapping.try_borrow_mut() else { return };
        while let Some(frame) = mapping.frame(self.next.get()) {
            consume(frame);
            mapping.give_back(self.next.get());
            self.next.set((self.next.get() + 1) % mapping.frame_count());
        }
    }

    /// How many frames found no room in the ring since the last call (`PACKET_STATISTICS`, `tp_drops`).
    ///
    /// # Errors
    ///
    /// None are known for a packet socket.
    pub fn dropped(&self) -> Result<u32, RingError> {
        packet::dropped(self.socket.as_fd()).map_err(|error| RingError { call: "getsockopt(PACKET_STATISTICS)", error })
    }

    /// Ends the watch; what is left can be dropped on another thread.
    pub fn unwatch(self) -> Ring {
        Ring { mapping: self.mapping.into_inner(), socket: self.socket.into_inner() }
    }
}

/// The ring's memory, shared with the kernel.
///
/// Each frame belongs to one of the two at any time; the first 32 bits of its header tell to whom (`tp_status`).
#[derive(Debug)]
struct Mapping {
    start: NonNull<libc::c_void>,
    length: usize,
}

// SAFETY: the memory belongs to this value alone (the kernel aside), and nothing in it depends on a thread.
unsafe impl Send for Mapping {}
// SAFETY: a shared reference gives read access only, to frames that the kernel doesn't write to until `give_back`,
// which needs an exclusive reference.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(socket: &OwnedFd, length: usize) -> io::Result<Self> {
        let size = NonZeroUsize::new(length).ok_or(Errno::EINVAL)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that exists already.
        let start =
            unsafe { mmap(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, socket, 0) }?;
        Ok(Self { start, length })
    }

    fn frame_count(&self) -> usize {
        self.length / FRAME_SIZE
    }

    /// The frame of that index, if it is ours.
    fn frame(&self, index: usize) -> Option<&[u8]> {
        // Acquire: see all that the kernel wrote before it handed the frame over.
        if self.status(index)?.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: `status` proved that the frame lies within the mapping. It is ours, so the kernel doesn't write to it
        // until `give_back`, which can't be called while this borrow of `self` lives.
        Some(unsafe {
            std::slice::from_raw_parts(self.start.as_ptr().cast::<u8>().add(index * FRAME_SIZE), FRAME_SIZE)
        })
    }

    /// Hands a frame back to the kernel.
    fn give_back(&mut self, index: usize) {
        if let Some(status) = self.status(index) {
            // Release: all our reads of the frame come before the kernel's next write to it.
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
    }

    fn status(&self, index: usize) -> Option<&AtomicU32> {
        if index >= self.frame_count() {
            return None;
        }
        // SAFETY: the index is within the mapping, frames are aligned to 256 bytes from the start of a page, and this
        // process accesses the status in no other way while the kernel may write it.
        Some(unsafe { AtomicU32::from_ptr(self.start.as_ptr().cast::<u8>().add(index * FRAME_SIZE).cast()) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no borrow of it can exist any more. It fails only if it isn't a mapping.
        let _ = unsafe { munmap(self.start, self.length) };
    }
}
