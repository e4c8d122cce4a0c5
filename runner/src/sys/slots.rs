//! The receive ring of a packet socket (`TPACKET_V2`, net/packet/af_packet.c): memory to which the kernel writes
//! frames, and which is read without a system call. [`ring`](super::ring) observes with it, [`port`](super::port)
//! forwards.
//!
//! Why version 2: version 3 shows frames by the block, after a timeout; version 2 shows each frame at once.
#![allow(unsafe_code)]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use thiserror::Error;

use super::packet;

/// Slots are aligned to `TPACKET_ALIGNMENT`.
pub const ALIGNMENT: usize = 16;
/// Blocks consist of pages of at most 64 KiB.
const PAGE: usize = 64 * 1024;

/// A failed step of setting up a packet socket.
#[derive(Debug, Error)]
#[error("{call}: {error}")]
pub struct PacketError {
    /// The call: `setsockopt(PACKET_RX_RING)`.
    pub call: &'static str,
    /// The error; the kernel's, if it has an errno.
    pub error: io::Error,
}

impl PacketError {
    /// To map errors of a call with.
    pub fn at<E: Into<io::Error>>(call: &'static str) -> impl Fn(E) -> Self {
        move |error| Self { call, error: error.into() }
    }
}

/// The layout of a ring's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    slot: usize,
    slots_per_block: usize,
    block: usize,
    blocks: usize,
}

impl Shape {
    /// At least `slots` slots of at least `bytes` bytes.
    fn new(slot: usize, slots: usize) -> Self {
        let slot = slot.max(1).next_multiple_of(ALIGNMENT);
        let block = slot.next_multiple_of(PAGE);
        let slots_per_block = block / slot;
        Self { slot, slots_per_block, block, blocks: slots.max(1).div_ceil(slots_per_block) }
    }

    fn slots(&self) -> usize {
        self.slots_per_block * self.blocks
    }

    fn bytes(&self) -> usize {
        self.block * self.blocks
    }

    fn offset(&self, index: usize) -> usize {
        index / self.slots_per_block * self.block + index % self.slots_per_block * self.slot
    }
}

/// The ring's memory, shared with the kernel. Each slot belongs to one side at any time; the first 32 bits of its
/// `struct tpacket2_hdr` say to which (`tp_status`). The kernel fills the slots in turn.
#[derive(Debug)]
pub struct Slots {
    start: NonNull<libc::c_void>,
    shape: Shape,
    /// The next slot that the kernel fills, or the oldest that it has filled.
    next: usize,
}

// SAFETY: the memory belongs to this value alone (the kernel aside), and nothing in it depends on a thread.
unsafe impl Send for Slots {}
// SAFETY: a shared reference gives read access only, to slots that the kernel doesn't write to until `give_back`, which
// needs an exclusive reference.
unsafe impl Sync for Slots {}

impl Slots {
    /// Gives a packet socket a ring of at least `slots` slots of at least `bytes` bytes, headers included.
    ///
    /// The socket must have been created with protocol 0, so that it receives nothing before the ring is in place. This
    /// takes about 10 ms, in which the kernel waits for an RCU grace period (`packet_set_ring`).
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the kernel can't give so much memory, `EINVAL` if it isn't a packet socket.
    pub fn set_up(socket: &OwnedFd, bytes: usize, slots: usize) -> Result<Self, PacketError> {
        let shape = Shape::new(bytes, slots);
        let set = |name, numbers: &[usize]| packet::set_option(socket.as_fd(), name, numbers);
        set(libc::PACKET_VERSION, &[libc::tpacket_versions::TPACKET_V2 as usize])
            .map_err(PacketError::at("setsockopt(PACKET_VERSION)"))?;
        // struct tpacket_req
        let request = [shape.block, shape.blocks, shape.slot, shape.slots()];
        set(libc::PACKET_RX_RING, &request).map_err(PacketError::at("setsockopt(PACKET_RX_RING)"))?;
        let size = NonZeroUsize::new(shape.bytes()).ok_or(Errno::EINVAL).map_err(PacketError::at("mmap"))?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that exists already.
        let start =
            unsafe { mmap(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, socket, 0) }
                .map_err(PacketError::at("mmap"))?;
        Ok(Self { start, shape, next: 0 })
    }

    /// The oldest slot with a frame, from its `struct tpacket2_hdr` on, if there is one.
    pub fn first(&self) -> Option<&[u8]> {
        // Acquire: see all that the kernel wrote before it handed the slot over.
        if self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: `next` is always within the shape, whose slots lie within the mapping. The slot is ours, so the kernel
        // doesn't write to it until `give_back`, which can't be called while this borrow of `self` lives.
        Some(unsafe { std::slice::from_raw_parts(self.at_next(), self.shape.slot) })
    }

    /// Returns the slot of [`first`](Self::first) to the kernel, and advances to the next one.
    pub fn give_back(&mut self) {
        // Release: all our reads of the slot come before the kernel's next write to it.
        self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % self.shape.slots();
    }

    fn status(&self) -> &AtomicU32 {
        // SAFETY: `next` is always within the shape, slots are aligned to 16 bytes from the start of a page, and this process
        // accesses the status in no other way while the kernel may write it.
        unsafe { AtomicU32::from_ptr(self.at_next().cast()) }
    }

    fn at_next(&self) -> *mut u8 {
        self.start.as_ptr().cast::<u8>().wrapping_add(self.shape.offset(self.next))
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no borrow of it can exist any more. It fails only if it isn't a mapping.
        let _ = unsafe { munmap(self.start, self.shape.bytes()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_room_for_the_longest_frame_and_stay_within_the_ring() {
        for (bytes, slots) in [(1580, 4096), (1, 1), (65_615, 256), (9080, 1000), (256, 4 * 256 + 1)] {
            let shape = Shape::new(bytes, slots);
            assert!(shape.slots() >= slots && shape.slot >= bytes, "{shape:?}");
            assert_eq!((shape.slot % ALIGNMENT, shape.block % PAGE), (0, 0));
            for index in 0..shape.slots() {
                assert!(shape.offset(index) + shape.slot <= shape.bytes());
                assert!(shape.offset(index) % shape.block + shape.slot <= shape.block, "no slot crosses blocks");
            }
        }
    }
}
