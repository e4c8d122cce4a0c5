//! A packet socket on one interface that receives and sends whole frames: a receive ring ([`slots`](super::slots)) and
//! sendmmsg(2).
//!
//! Unlike [`ring`](super::ring), which observes, this must not lose frames: slots have room for a whole frame, the
//! socket doesn't receive its own frames (`PACKET_IGNORE_OUTGOING`), and sent frames bypass the queueing discipline
//! (`PACKET_QDISC_BYPASS`). Unsegmented frames can be received and sent whole, with their offload information
//! (`PACKET_VNET_HDR`). Nothing here needs tokio: the forwarding thread waits with ppoll(2).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;

use super::packet;
use super::slots::{PacketError, Slots};
use super::sockopt::getsockopt_bytes;

/// Maximum number of frames per [`Port::send`].
pub const BATCH: usize = 64;

/// `PACKET_IGNORE_OUTGOING` and `PACKET_QDISC_BYPASS` (`include/uapi/linux/if_packet.h`).
const PACKET_IGNORE_OUTGOING: i32 = 23;
const PACKET_QDISC_BYPASS: i32 = 20;
/// `PACKET_VNET_HDR`
const PACKET_VNET_HDR: i32 = 15;
/// The bytes of a slot before the Ethernet header: `TPACKET2_HDRLEN` and 16, aligned, less the 14 of the header.
const BEFORE_FRAME: usize = 66;
/// The first members of `struct tpacket2_hdr`, 32 bits each: status, length, captured length; then 16 bits each: the
/// offsets of the Ethernet header and the next one; then the time in two parts of 32 bits.
const HEADER: usize = 24;

/// A packet socket that doesn't receive yet.
#[derive(Debug)]
pub struct Unbound(OwnedFd);

/// A packet socket that is bound to one interface.
#[derive(Debug)]
pub struct Port {
    // Before the socket, because fields are dropped in this order.
    slots: Slots,
    socket: OwnedFd,
    whole: bool,
}

/// A received frame. It is borrowed from the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it arrived, in nanoseconds of `CLOCK_REALTIME`.
    pub at_ns: u64,
    /// From its Ethernet header on.
    pub bytes: &'a [u8],
    /// Its original length. If it exceeds the number of bytes, the slot was too small.
    pub length: usize,
    /// Its checksum is complete. The kernel leaves it to the device otherwise (`CHECKSUM_PARTIAL`).
    pub checksummed: bool,
    /// The work left to the device, if frames are received whole.
    pub offload: Option<Offload>,
    /// Frames were lost since the last call of [`Port::dropped`].
    pub losing: bool,
}

/// The work left to the device that sends a frame (`struct virtio_net_hdr`, in host byte order: `vio_le`,
/// net/packet/af_packet.c). The default is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offload([u8; Self::SIZE]);

impl Offload {
    /// In bytes: flags, kind, length of the headers, size of the parts, where the checksum begins, and where it goes.
    pub const SIZE: usize = 10;

    /// The offload information at the beginning of these bytes.
    fn before(slot: &[u8], start: usize) -> Self {
        Self(slot.get(..start).and_then(|before| before.last_chunk()).copied().unwrap_or_default())
    }

    /// The payload size of each segment, if the frame has to be segmented.
    pub fn gso_size(&self) -> Option<u16> {
        let Self([_, kind, _, _, low, high, ..]) = self;
        (*kind != 0).then(|| u16::from_ne_bytes([*low, *high]))
    }

    /// Its bytes for the kernel.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Unbound {
    /// Opens a socket in the network namespace of the calling thread, to which it belongs from then on.
    ///
    /// # Errors
    ///
    /// `EPERM` without CAP_NET_RAW in the user namespace that owns the network.
    pub fn open() -> Result<Self, PacketError> {
        // Protocol 0: it receives nothing before the ring is in place.
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the call has no pointers.
        let descriptor = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        // SAFETY: the descriptor was just made, and belongs to nobody else.
        Ok(Self(unsafe {
            OwnedFd::from_raw_fd(Errno::result(descriptor).map_err(PacketError::at("socket(AF_PACKET)"))?)
        }))
    }

    /// Binds it to the interface with that index, with room for `slots` frames of at most `longest` bytes, Ethernet
    /// header included. It receives from now on; `whole`: frames are received and sent with their [`Offload`].
    ///
    /// # Errors
    ///
    /// Those of [`Slots::set_up`], `ENODEV` if there is no such interface.
    pub fn bind(self, interface: u32, longest: usize, slots: usize, whole: bool) -> Result<Port, PacketError> {
        let socket = self.0;
        let set = |name, numbers: &[usize]| packet::set_option(socket.as_fd(), name, numbers);
        set(PACKET_IGNORE_OUTGOING, &[1]).map_err(PacketError::at("setsockopt(PACKET_IGNORE_OUTGOING)"))?;
        set(PACKET_QDISC_BYPASS, &[1]).map_err(PacketError::at("setsockopt(PACKET_QDISC_BYPASS)"))?;
        if whole {
            // The kernel refuses this after the ring is set up.
            set(PACKET_VNET_HDR, &[1]).map_err(PacketError::at("setsockopt(PACKET_VNET_HDR)"))?;
        }
        let slot = BEFORE_FRAME + if whole { Offload::SIZE } else { 0 } + longest;
        let slots = Slots::set_up(&socket, slot, slots)?;
        packet::bind(socket.as_fd(), interface).map_err(PacketError::at("bind"))?;
        Ok(Port { slots, socket, whole })
    }
}

impl Port {
    /// Passes at most `limit` received frames to `consume`, oldest first, and returns each to the kernel. Returns their
    /// number.
    pub fn receive(&mut self, limit: usize, mut consume: impl FnMut(Frame<'_>)) -> usize {
        for taken in 0..limit {
            let Some(slot) = self.slots.first() else { return taken };
            consume(Frame::parse(slot, self.whole));
            self.slots.give_back();
        }
        limit
    }

    /// When the next frame to [`receive`](Self::receive) arrived, if there is one. Reads memory, without a system call.
    pub fn next_at(&self) -> Option<u64> {
        self.slots.first().map(|slot| Frame::parse(slot, self.whole).at_ns)
    }

    /// Whether frames are received and sent with their [`Offload`].
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Sends at most [`BATCH`] frames, each from its Ethernet header on (from its [`Offload`] on, if the port
    /// [is whole](Self::is_whole)), and returns the number of sent frames.
    ///
    /// # Errors
    ///
    /// No frame was sent. `EAGAIN`, `ENOBUFS`: not now (`ENOBUFS` also if the interface has no carrier);
    /// `ENETDOWN`: the interface is down; `EMSGSIZE`: the first one is longer than the interface's MTU allows.
    pub fn send<'a>(&self, frames: impl Iterator<Item = &'a [u8]>) -> io::Result<usize> {
        let mut parts = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        let mut count = 0;
        for (part, frame) in parts.iter_mut().zip(frames) {
            *part = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        let mut messages = parts.each_mut().map(|part| libc::mmsghdr { msg_hdr: message(part), msg_len: 0 });
        // SAFETY: the first `count` messages are valid: each has one part, in `parts`, and each part is a frame that is
        // borrowed for the whole call. The kernel only reads the frames.
        let sent = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
        Ok(usize::try_from(Errno::result(sent)?).unwrap_or(0))
    }

    /// The number of frames dropped for lack of a free slot since the last call (`PACKET_STATISTICS`, `tp_drops`).
    ///
    /// # Errors
    ///
    /// None are known for a packet socket.
    pub fn dropped(&self) -> io::Result<u32> {
        packet::dropped(self.socket.as_fd())
    }

    /// Whether the interface with that name in the socket's namespace is up and has a carrier that the kernel has
    /// noticed (`SIOCGIFFLAGS`). Unlike rtnetlink, this doesn't wait for the lock of the network configuration, which
    /// others may hold for seconds (`dev_ioctl`, net/core/dev_ioctl.c).
    ///
    /// # Errors
    ///
    /// `ENODEV`: there is no such interface.
    pub fn has_carrier(&self, interface: &str) -> io::Result<bool> {
        let mut request = FlagsRequest { name: [0; libc::IFNAMSIZ], flags: 0, padding: [0; 22] };
        // The name ends with a zero.
        let room = request.name.iter_mut().take(libc::IFNAMSIZ - 1);
        room.zip(interface.as_bytes()).for_each(|(place, byte)| *place = *byte);
        // SAFETY: `request` is laid out as `struct ifreq` and as large, and lives for the whole call; the kernel reads the
        // name and writes within the structure.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) };
        Errno::result(result)?;
        let wanted = libc::IFF_UP | libc::IFF_RUNNING;
        Ok(i32::from(request.flags) & wanted == wanted)
    }

    /// Clears the socket's pending error, such as `ENETDOWN` after the interface went down.
    ///
    /// # Errors
    ///
    /// None are known.
    pub fn clear_error(&self) -> io::Result<()> {
        let mut error = [0; 4];
        getsockopt_bytes(self.socket.as_fd(), libc::SOL_SOCKET, libc::SO_ERROR, &mut error).map(drop)
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `struct ifreq` with the flags of its union, padded to its size.
#[repr(C)]
struct FlagsRequest {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    padding: [u8; 22],
}

/// A message of one part, to the interface that the socket is bound to.
fn message(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all of its members are numbers and pointers, for which 0 is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message
}

impl<'a> Frame<'a> {
    /// Reads a slot. Invalid contents give an empty frame.
    fn parse(slot: &'a [u8], whole: bool) -> Self {
        let header = slot.get(..HEADER).unwrap_or(&[0; HEADER]);
        let long = |at: usize| header.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes);
        let short = |at: usize| header.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes);
        let (status, length, kept, start) = (long(0), long(4) as usize, long(8) as usize, usize::from(short(12)));
        Self {
            at_ns: u64::from(long(16)) * 1_000_000_000 + u64::from(long(20)),
            bytes: slot.get(start..start + kept).unwrap_or_default(),
            length,
            checksummed: status & libc::TP_STATUS_CSUMNOTREADY == 0,
            offload: whole.then(|| Offload::before(slot, start)),
            losing: status & libc::TP_STATUS_LOSING != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_read() {
        let mut slot = vec![0; 128];
        slot[0..4].copy_from_slice(&(libc::TP_STATUS_USER | libc::TP_STATUS_CSUMNOTREADY).to_ne_bytes());
        slot[4..8].copy_from_slice(&90_u32.to_ne_bytes());
        slot[8..12].copy_from_slice(&60_u32.to_ne_bytes());
        slot[12..14].copy_from_slice(&66_u16.to_ne_bytes());
        slot[16..20].copy_from_slice(&3_u32.to_ne_bytes());
        slot[20..24].copy_from_slice(&7_u32.to_ne_bytes());
        let frame = Frame::parse(&slot, false);
        assert_eq!((frame.at_ns, frame.bytes.len(), frame.length), (3_000_000_007, 60, 90));
        assert!(!frame.checksummed && !frame.losing && frame.offload.is_none());
        // The header is right before the frame: partial checksum, TCP over IPv4, gso_size 1448.
        slot[56..60].copy_from_slice(&[1, 1, 66, 0]);
        slot[60..62].copy_from_slice(&1448_u16.to_ne_bytes());
        let offload = Frame::parse(&slot, true).offload.unwrap();
        assert_eq!((offload.gso_size(), offload.as_bytes()), (Some(1448), &slot[56..66]));
        slot[12..14].copy_from_slice(&100_u16.to_ne_bytes());
        assert!(Frame::parse(&slot, true).bytes.is_empty());
        assert!(Frame::parse(&[], true).bytes.is_empty());
        assert_eq!(Offload::default().gso_size(), None);
    }
}
