//! A list of kernels: what `mptcplab matrix` compares.

use super::super::read::kernels::{ImageFile, Kvm, ListedKernels, ModulesFolder, ScenarioPath, not_empty};
use super::super::record::{List, record};
use super::super::scalar::{Line, Memory, Processors};

record! {
    /// Kernels, and the scenarios that are to be run on each of them.
    #[derive(PartialEq, Eq)]
    KernelList as "kernels", "a list of kernels" then not_empty {
        /// As seen from the current folder.
        paths: need List<ScenarioPath> = "paths", "Scenario files and folders, as seen from the file's own folder.";
        kernels: need ListedKernels = "kernels",
            "The kernels: `running` for the one that runs here, or a map with `image:`.";
    }
}

/// A kernel with the name that it has in tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKernel {
    /// One line; no other kernel of the list has it.
    pub name: String,
    /// Which one it is.
    pub kernel: WhichKernel,
}

/// Which kernel it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichKernel {
    /// The one that runs here, without a virtual machine.
    Running,
    /// The one of an image, in a virtual machine.
    Image(Machine),
}

record! {
    /// A kernel image, and the virtual machine that it is run in. What isn't given is up to `mptcplab vm`.
    #[derive(PartialEq, Eq, Default)]
    Machine {
        image: need ImageFile = "image", "The kernel's image, as seen from the file's own folder.";
        modules: maybe ModulesFolder = "modules", "The folder with its modules, as seen from the file's own folder.";
        load: or(Vec::new()) List<Line> = "load", "Modules to load, besides those that are needed.";
        append: maybe Line = "append", "Additional arguments for the kernel.";
        memory: maybe Memory = "memory", "The machine's memory in MiB.";
        cpus: maybe Processors = "cpus", "How many processors the machine has.";
        /// `auto`, `on` or `off`, as `--kvm` takes it.
        kvm: maybe Kvm = "kvm", "Whether the processor's virtualisation is used.";
    }
}
