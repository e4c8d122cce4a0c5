//! Programs, closed in: a [`Host`] is what a program sees of the world, a [`Program`] is one that runs there.
//!
//! A scenario may come from anywhere, and so may the program's input. Whatever the program does, it reaches nothing but
//! its own host:
//!
//! * **A user namespace** of its own, which owns the host's network namespace: capabilities mean something there and
//!   nowhere else, not even in the other hosts of the world. Root's programs run as user ids that nobody else has
//!   ([`enclosure`]). No user namespaces can be created in it.
//! * **A PID namespace**, whose first process ends with the thread that made it, for whatever reason: with it, the kernel
//!   kills all others. Daemons are no exception ([`host`]).
//! * **A mount namespace** with a tree of its own: `/usr` and the like, read-only, and empty memory file systems. Sockets
//!   and secrets of the machine aren't in it ([`tree`]).
//! * **A process without the past** of this one: no descriptors but three, no environment, no keyrings, no terminal, few
//!   capabilities, limited resources; setuid programs gain nothing ([`program`]).
//! * **System calls** that lead out of namespaces are refused, such as sockets of families that network namespaces don't
//!   separate ([`filter`]).
//!
//! Processes are forked, not started from a file: mptcplab is a library, too. What runs after a fork makes system calls
//! only, and allocates nothing: other threads may have held locks.
#![allow(unsafe_code)]

mod child;
mod enclosure;
mod filter;
mod host;
mod program;
mod sockets;
mod tree;

use std::io;

use nix::errno::Errno;
use thiserror::Error;

use crate::errno::errno_symbol;

pub use child::Stage;
pub use enclosure::Enclosure;
pub use host::Host;
pub use program::{Ended, Launch, Program, SEARCHED, installed};
pub use sockets::{Answer, Asked, SocketRequests, can_be_forced};

/// Why a program can't be closed in, or started.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// A call of this process failed.
    #[error("{0}: {1}")]
    Call(&'static str, #[source] io::Error),
    /// A call of the new process failed.
    #[error("{}: {}: {}{}", .0.words(), errno_symbol(*.1 as i32), .1.desc(), .0.advice(*.1))]
    Child(Stage, Errno),
    /// The new process ended before it was done.
    #[error("the new process ended before it was ready")]
    Vanished,
    /// A text can't be handed over.
    #[error("an argument, a variable or a file name has a NUL character")]
    Nul,
    /// The system calls of this architecture aren't known.
    #[error("programs can't be closed in on this architecture: its system calls are not known")]
    Architecture,
}

impl SandboxError {
    fn call(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Call(what, error)
    }

    fn errno(what: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::Call(what, errno.into())
    }
}
