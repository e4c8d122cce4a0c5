//! Other kernels: a machine is booted whose init is mptcplab itself, and runs scenarios there. Main type:
//! [`Guest`].
//!
//! The host packs the program and the kernel's modules into a first file system in memory ([`initramfs`]), and starts a
//! [`machine`]: QEMU, or a User-Mode Linux. There, [`guest`] is the first process. It is asked to run scenarios, and
//! answers with all that a run leaves behind ([`talk`]); host and guest send each other [`frame`]s. The host judges,
//! writes and prints, just as it does for its own kernel.
//!
//! No network, no disk, no shell, no file on the host: whatever happens to host or guest, nothing is left.

pub mod cpio;
pub mod elf;
pub mod frame;
pub mod guest;
mod host;
pub mod image;
pub mod initramfs;
pub mod loss;
pub mod machine;
pub mod modules;
mod places;
pub mod program;
mod running;
pub mod talk;

pub use host::{Guest, Kvm, Request};
