//! A list of kernels: what `mptcplab matrix` compares.

use std::path::PathBuf;

/// Kernels, and the scenarios that are to be run on each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelList {
    /// Scenario files and folders, as seen from the current folder.
    pub paths: Vec<PathBuf>,
    /// In the order of the list.
    pub kernels: Vec<ListedKernel>,
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

/// A kernel image, and the virtual machine that it is run in. What isn't given is up to `mptcplab vm`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// The file.
    pub image: PathBuf,
    /// The folder with its modules.
    pub modules: Option<PathBuf>,
    /// Modules that are to be loaded, besides those that scenarios need.
    pub load: Vec<String>,
    /// Further arguments for the kernel.
    pub append: Option<String>,
    /// MiB.
    pub memory: Option<u64>,
    /// How many processors.
    pub cpus: Option<u64>,
    /// `auto`, `on` or `off`, as `--kvm` takes it.
    pub kvm: Option<&'static str>,
}
