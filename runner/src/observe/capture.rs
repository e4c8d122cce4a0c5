//! Capturing the segments on the interfaces of one namespace: [`Capture`].

use std::io;

use nix::libc;
use socket2::{Domain, Socket, Type};
use thiserror::Error;

use super::filter::TCP_AND_ICMP_ERRORS;
use super::kernel_words;
use crate::recording::Direction;
use crate::sys::ring::{Ring, WatchedRing};
use crate::sys::slots::PacketError;
use crate::wire::Segment;

/// A running capture of all TCP segments and ICMP errors on all Ethernet interfaces of a namespace, in both directions; `lo` is left
/// out. [`Capture::close`] ends it; so does dropping it, but then the kernel keeps the thread waiting for some 25 ms.
///
/// It sees segments as on the wire: incoming ones before any filter or queue of the namespace, outgoing ones after
/// them.
#[derive(Debug)]
pub struct Capture {
    ring: WatchedRing,
}

/// A frame in the ring. It is borrowed: copy what you need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapturedFrame<'a> {
    /// The kernel's time stamp, in nanoseconds of `CLOCK_REALTIME`.
    pub at_ns: u64,
    /// The index of the interface in the namespace.
    pub ifindex: u32,
    /// Whether it left or entered through that interface.
    pub direction: Direction,
    /// The original length of the frame in bytes, Ethernet header included. Before segmentation by offload it may
    /// exceed the MTU by far.
    pub original_length: u32,
    /// The captured bytes, from the Ethernet header on.
    pub bytes: &'a [u8],
}

/// Why capturing failed.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// It can't start.
    #[error("can't capture in this network namespace: {call}: {}{}", kernel_words(.error), advice(.error))]
    Open {
        /// The call that failed.
        call: &'static str,
        /// The answer.
        error: io::Error,
    },
    /// It can't be waited for.
    #[error("can't wait for captured segments: {0}")]
    Wait(io::Error),
    /// The number of lost frames is unknown.
    #[error("can't tell whether the capture is complete: {call}: {}", kernel_words(.error))]
    Statistics {
        /// The call that failed.
        call: &'static str,
        /// The answer.
        error: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => "; it needs CAP_NET_RAW in the user namespace that owns the network namespace",
        Some(libc::EAFNOSUPPORT) => "; the kernel needs CONFIG_PACKET",
        Some(libc::ENOMEM) => "; run fewer scenarios at a time (`--jobs N`)",
        _ => "",
    }
}

/// A capture that isn't started yet.
#[derive(Debug)]
pub struct CaptureSocket(Socket);

impl CaptureSocket {
    /// Opens a packet socket in the network namespace of the calling thread. It captures nothing yet.
    pub fn open() -> Result<Self, CaptureError> {
        let at = |call| move |error| CaptureError::Open { call, error };
        // Protocol 0: nothing is captured before the filter and the ring are in place.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).map_err(at("socket(AF_PACKET, SOCK_RAW)"))?;
        socket.set_nonblocking(true).map_err(at("fcntl(O_NONBLOCK)"))?;
        socket.attach_filter(&TCP_AND_ICMP_ERRORS).map_err(at("setsockopt(SO_ATTACH_FILTER)"))?;
        Ok(Self(socket))
    }

    /// Starts the capture, with a ring of `ring_bytes` bytes ([`crate::plan`] determines the number); each frame takes
    /// 256 bytes of it. When this returns, every segment is captured.
    ///
    /// The kernel needs about 10 ms, in which this task waits and others continue. So start the captures of several
    /// namespaces together. The runtime needs I/O enabled.
    pub async fn start(self, ring_bytes: usize) -> Result<Capture, CaptureError> {
        let watch = |error| CaptureError::Open { call: "epoll_ctl", error };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // Not on tokio's threads: tokio panics if it can't start the first one.
        let work = move || drop(sender.send(Ring::new(self.0.into(), ring_bytes)));
        let thread = std::thread::Builder::new().name("capture".to_owned()).spawn(work);
        thread.map_err(|error| CaptureError::Open { call: "pthread_create", error })?;
        let ring = receiver
            .await
            .map_err(|error| watch(io::Error::other(error)))?
            .map_err(|PacketError { call, error }| CaptureError::Open { call, error })?;
        Ok(Capture { ring: WatchedRing::new(ring).map_err(watch)? })
    }
}

impl Capture {
    /// Waits for a frame that is captured after the last call. Call [`Capture::drain`] next: frames that stay in the
    /// ring cause no further wake-up.
    ///
    /// Cancel safe.
    pub async fn readable(&self) -> Result<(), CaptureError> {
        self.ring.readable().await.map_err(CaptureError::Wait)
    }

    /// Passes on all captured frames, oldest first, without waiting. It sees everything that the kernel captured before
    /// the call.
    pub fn drain(&self, mut consume: impl FnMut(CapturedFrame<'_>)) {
        self.ring.drain(|frame| {
            if let Some(captured) = CapturedFrame::from_ring(frame) {
                consume(captured);
            }
        });
    }

    /// The number of frames lost since the last call because the ring was full. If it isn't 0, the capture is
    /// incomplete, and the absence of a frame proves nothing.
    pub fn lost(&self) -> Result<u64, CaptureError> {
        let dropped = self.ring.dropped();
        dropped.map(u64::from).map_err(|PacketError { call, error }| CaptureError::Statistics { call, error })
    }

    /// Ends the capture, without waiting for the kernel to remove the ring.
    pub fn close(self) {
        let ring = self.ring.unwatch();
        // If the thread can't start, the closure and its ring are dropped here. Nobody waits for the thread: the kernel
        // would do the same at the end of the process.
        let _ = std::thread::Builder::new().name("end of capture".to_owned()).spawn(move || drop(ring));
    }
}

impl<'a> CapturedFrame<'a> {
    /// The frame as a TCP segment; `None` if it is an ICMP error, or only a part of a segment (an IP fragment).
    pub fn segment(&self) -> Option<Segment> {
        Segment::parse(self.bytes, self.original_length)
    }

    /// Reads a frame of the ring: `struct tpacket2_hdr` (`include/uapi/linux/if_packet.h`), `struct sockaddr_ll`, and at
    /// `tp_mac` the packet. Numbers are in host byte order.
    ///
    /// `None` if the layout is different, which the kernel never produces.
    fn from_ring(frame: &'a [u8]) -> Option<Self> {
        /// After `struct tpacket2_hdr`, which has 32 bytes.
        const SOCKADDR_LL: usize = 32;
        /// `PACKET_OUTGOING`: this host sent it. Everything else is incoming.
        const OUTGOING: u8 = 4;

        let captured = usize::try_from(u32_at(frame, 8)?).ok()?;
        let start = usize::from(u16::from_ne_bytes(*frame.get(12..)?.first_chunk()?));
        let seconds = u64::from(u32_at(frame, 16)?);
        Some(Self {
            at_ns: seconds * 1_000_000_000 + u64::from(u32_at(frame, 20)?),
            ifindex: u32_at(frame, SOCKADDR_LL + 4)?,
            direction: if *frame.get(SOCKADDR_LL + 10)? == OUTGOING { Direction::Out } else { Direction::In },
            original_length: u32_at(frame, 4)?,
            bytes: frame.get(start..start.checked_add(captured)?)?,
        })
    }
}

fn u32_at(frame: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*frame.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_a_frame_of_the_ring() {
        let mut frame = vec![0; 256];
        frame[4..8].copy_from_slice(&70_000_u32.to_ne_bytes());
        frame[8..12].copy_from_slice(&190_u32.to_ne_bytes());
        frame[12..14].copy_from_slice(&66_u16.to_ne_bytes());
        frame[16..20].copy_from_slice(&3_u32.to_ne_bytes());
        frame[20..24].copy_from_slice(&5_u32.to_ne_bytes());
        frame[36..40].copy_from_slice(&7_u32.to_ne_bytes());
        frame[42] = 4;
        let captured = CapturedFrame::from_ring(&frame).unwrap();
        assert_eq!((captured.at_ns, captured.ifindex, captured.original_length), (3_000_000_005, 7, 70_000));
        assert_eq!((captured.direction, captured.bytes.len()), (Direction::Out, 190));
        frame[42] = 0;
        assert_eq!(CapturedFrame::from_ring(&frame).unwrap().direction, Direction::In);
    }

    #[test]
    fn refuses_a_packet_that_is_not_within_its_frame() {
        let mut frame = vec![0; 256];
        frame[8..12].copy_from_slice(&191_u32.to_ne_bytes());
        frame[12..14].copy_from_slice(&66_u16.to_ne_bytes());
        assert_eq!(CapturedFrame::from_ring(&frame), None);
    }

    #[test]
    fn an_error_tells_what_to_do() {
        let error = CaptureError::Open { call: "mmap", error: io::Error::from_raw_os_error(libc::EPERM) };
        assert_eq!(
            error.to_string(),
            "can't capture in this network namespace: mmap: EPERM: Operation not permitted; it needs CAP_NET_RAW in the \
             user namespace that owns the network namespace"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_frames_do_not_panic(frame in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(captured) = CapturedFrame::from_ring(&frame) {
                captured.segment();
            }
        }
    }
}
