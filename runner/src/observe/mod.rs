//! Observing a network namespace from outside the path manager: the segments on its interfaces ([`Capture`]), its
//! counters ([`Counters`]), the state of our sockets ([`sockets`]) and the kernel log ([`KernelLog`]). [`FrameCopies`]
//! holds captured frames after the capture, and [`pcapng`] writes them to a file for other tools.
//!
//! A thread inside a namespace opens what belongs to it, and can leave afterwards: the opened files and sockets stay
//! with the namespace for life.

mod capture;
mod counters;
mod filter;
mod frame_copies;
mod kmsg;
pub mod pcapng;
pub mod sockets;

pub use capture::{Capture, CaptureError, CaptureSocket, CapturedFrame};
pub use counters::{Counters, CountersError, delta, is_gauge};
pub use frame_copies::FrameCopies;
pub use kmsg::{KernelLog, KernelLogError, LogDrain, LogLine};

/// An error in the kernel's words, with the symbol of its errno if it has one (`EPERM: Operation not permitted`).
fn kernel_words(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |errno| nix::errno::Errno::from_raw(errno).to_string())
}
