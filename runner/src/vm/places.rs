//! Paths and names in the guest, for the host that packs and the guest that reads.

/// The program, which is the guest's init.
pub const PROGRAM: &str = "/mptcplab";
/// The device name of the serial line to the host, for machines without a virtio port.
pub const LINE: &str = "/mptcplab.line";
/// Modules: `NUMBER-NAME.ko`, to be loaded in this order.
pub const MODULES: &str = "/mptcplab.modules";
/// The name of the virtio port to the host.
pub const PORT: &str = "mptcplab";
