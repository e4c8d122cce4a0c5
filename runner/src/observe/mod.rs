//! What can be seen of a network namespace from outside the path manager: the segments on its interfaces
//! ([`Capture`]), its counters ([`Counters`]), the state of our sockets ([`sockets`]) and the kernel's log
//! ([`KernelLog`]). [`KeptFrames`] holds captured frames after the capture, and [`pcapng`] writes them to a file for
//! other tools.
//!
//! What belongs to a namespace is opened by a thread that is inside it, and stays there for life: the thread can
//! leave.

mod capture;
mod counters;
mod filter;
mod kept;
mod kmsg;
pub mod pcapng;
pub mod sockets;

pub use capture::{Capture, CaptureError, CaptureSocket, CapturedFrame};
pub use counters::{Counters, CountersError, delta, is_gauge};
pub use kept::KeptFrames;
pub use kmsg::{KernelLog, KernelLogError, LogDrain, LogLine};

/// An error in the kernel's words, with the symbol of its errno (`EPERM: Operation not permitted`) where it has one.
fn kernel_words(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |errno| nix::errno::Errno::from_raw(errno).to_string())
}
