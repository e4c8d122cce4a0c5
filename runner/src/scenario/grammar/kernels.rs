//! The list of kernels that `mptcplab matrix` reads.

use super::{Key, Kind, Record, Shape, scalar};

/// A file with a list of kernels.
pub static KERNELS: Record = Record::plain(
    "kernels",
    "a list of kernels",
    &[
        Key::new(
            "paths",
            Shape::List(&Shape::Scalar(Kind::Line)),
            "Scenario files and folders, as seen from the file's own folder.",
        )
        .required(),
        Key::new(
            "kernels",
            Shape::List(&Shape::Either(&[Shape::Scalar(Kind::Word(&["running"])), Shape::Record(&KERNEL)])),
            "The kernels: `running` for the one that runs here, or a map with `image:`.",
        )
        .required(),
    ],
);

/// A kernel of the list.
pub static KERNEL: Record = Record::plain(
    "kernel",
    "a kernel",
    &[
        scalar("name", Kind::Line, "What it is called in tables.").required(),
        scalar("image", Kind::Line, "The kernel's image, as seen from the file's own folder.").required(),
        scalar("modules", Kind::Line, "The folder with its modules, as seen from the file's own folder."),
        Key::new("load", Shape::List(&Shape::Scalar(Kind::Line)), "Modules to load, besides those that are needed."),
        scalar("append", Kind::Line, "Further arguments for the kernel."),
        scalar("memory", Kind::Integer(64, 1 << 20), "The machine's memory in MiB."),
        scalar("cpus", Kind::Integer(1, 255), "How many processors the machine has."),
        scalar("kvm", Kind::Word(&KVM), "Whether the processor's virtualisation is used."),
    ],
);

/// The words for `kvm:`.
pub const KVM: [&str; 3] = ["auto", "true", "false"];
