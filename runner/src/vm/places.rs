//! Where everything is in the guest: what the host packs, and the guest finds.

/// The program, which is the guest's init.
pub const PROGRAM: &str = "/mptcplab";
/// The serial line that leads to the host where there is no virtio port, by the name of its device.
pub const LINE: &str = "/mptcplab.line";
/// Modules: `NUMBER-NAME.ko`, to be loaded in this order.
pub const MODULES: &str = "/mptcplab.modules";
/// The name of the virtio port that leads to the host.
pub const PORT: &str = "mptcplab";
