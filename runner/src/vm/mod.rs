//! Other kernels: the host boots a machine whose init is mptcplab itself, and runs scenarios there. Main type:
//! [`Guest`].
//!
//! The host packs the program and the kernel's modules into an initramfs in memory ([`initramfs`]), and starts a
//! [`machine`]: QEMU or User-Mode Linux. There, [`guest`] is the first process. The host asks it to run scenarios, and
//! it answers with everything that a run observed ([`talk`]); host and guest exchange [`frame`]s. The host judges,
//! writes and prints, as for its own kernel.
//!
//! The machine has no network, no disk, no shell, and no file on the host: whatever happens, nothing is left behind.

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
