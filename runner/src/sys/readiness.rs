//! Waiting in tokio for a descriptor to become readable.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

/// Registers the descriptor with the runtime of the calling thread, and owns it from then on.
///
/// # Errors
///
/// There is no runtime, or epoll fails.
pub fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // Without a runtime, tokio would panic.
    Handle::try_current().map_err(io::Error::other)?;
    // SAFETY: what is registered owns the descriptor: it stays open, and the same, until it is deregistered.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}
