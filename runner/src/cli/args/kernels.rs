//! The arguments of the commands that run other kernels: `compare`, `matrix` and `vm`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{ProgramArgs, RunArgs};

/// How a report on several kernels is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ReportFormat {
    /// Text for people
    Text,
    /// One JSON object
    Json,
    /// Markdown
    Markdown,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReportArgs {
    /// Print the results as FORMAT
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = ReportFormat::Text)]
    format: ReportFormat,
    /// Print one JSON object: short for `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Print Markdown: short for `--format markdown`
    #[arg(long, conflicts_with_all = ["format", "json"])]
    markdown: bool,
}

impl ReportArgs {
    /// The output format, from `--format` or its short forms.
    pub(in crate::cli) fn format(&self) -> ReportFormat {
        match self {
            Self { json: true, .. } => ReportFormat::Json,
            Self { markdown: true, .. } => ReportFormat::Markdown,
            Self { format, .. } => *format,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CacheArgs {
    /// Cache results in FOLDER, until the kernel, mptcplab or the scenario changes [default: $XDG_CACHE_HOME/mptcplab
    /// or ~/.cache/mptcplab]
    #[arg(long, value_name = "FOLDER")]
    pub(in crate::cli) cache: Option<PathBuf>,
    /// Run everything, without using cached results
    #[arg(long)]
    pub(in crate::cli) fresh: bool,
}

/// Options that `compare` and `matrix` pass on to `vm`, and the programs also to `run`.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct MachineArgs {
    /// Limit the total time of each kernel in a virtual machine to TIME: `90`, `90s`, `10m` [default: 30m]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(in crate::cli) time_limit: Option<Duration>,
    /// Use PROGRAM as QEMU [default: qemu-system-x86_64]
    #[arg(long, value_name = "PROGRAM")]
    pub(in crate::cli) qemu: Option<PathBuf>,
    /// Use PROGRAM as mptcplab in the guests [default: this mptcplab]
    #[arg(long, value_name = "PROGRAM")]
    pub(in crate::cli) runner: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) programs: ProgramArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CompareArgs {
    /// A folder written by `mptcplab run --results`, a kernel image, or `running` for the running kernel
    #[arg(value_name = "A")]
    pub(in crate::cli) a: PathBuf,
    /// What to compare A with: again a folder, a kernel image, or `running`
    #[arg(value_name = "B")]
    pub(in crate::cli) b: PathBuf,
    /// Scenario files and folders to compare [default: all of A and B]; for a kernel, the ones to run
    #[arg(value_name = "PATH")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    /// Load the modules of kernel image A from FOLDER
    #[arg(long, value_name = "FOLDER")]
    pub(in crate::cli) modules_a: Option<PathBuf>,
    /// Load the modules of kernel image B from FOLDER
    #[arg(long, value_name = "FOLDER")]
    pub(in crate::cli) modules_b: Option<PathBuf>,
    /// Accept the names of kernels listed in FILE as A and B; FILE is a list as for `mptcplab matrix`
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) kernels: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) machine: MachineArgs,
    #[command(flatten)]
    pub(in crate::cli) cache: CacheArgs,
    #[command(flatten)]
    pub(in crate::cli) report: ReportArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MatrixArgs {
    /// A YAML file that lists kernels and scenarios
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    /// Scenario files and folders, instead of those listed in FILE
    #[arg(value_name = "PATH")]
    pub(in crate::cli) paths: Vec<PathBuf>,
    /// Omit scenarios that passed in the same way on every kernel
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,
    #[command(flatten)]
    pub(in crate::cli) machine: MachineArgs,
    #[command(flatten)]
    pub(in crate::cli) cache: CacheArgs,
    #[command(flatten)]
    pub(in crate::cli) report: ReportArgs,
}

/// Whether the processor's virtualisation is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum KvmArg {
    /// Try KVM; emulate if it doesn't work
    Auto,
    /// Require KVM
    On,
    /// Emulate
    Off,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VmArgs {
    /// Boot IMAGE: a vmlinuz (bzImage), a vmlinux with a PVH entry, or a User-Mode Linux program
    #[arg(long, value_name = "IMAGE")]
    pub(in crate::cli) kernel: PathBuf,
    /// Load the kernel's modules from FOLDER [default: ../lib/modules/VERSION beside the image, or
    /// /lib/modules/VERSION]
    #[arg(long, value_name = "FOLDER")]
    pub(in crate::cli) modules: Option<PathBuf>,
    /// Load no modules, for a kernel with everything built in
    #[arg(long, conflicts_with_all = ["modules", "load"])]
    pub(in crate::cli) no_modules: bool,
    /// Load these modules in addition to those that scenarios need
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(in crate::cli) load: Vec<String>,
    /// Set the machine's memory, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 768, value_parser = clap::value_parser!(u32).range(64..))]
    pub(in crate::cli) memory: u32,
    /// Give the machine N processors [default: as many as the host has, at most 4; 1 if emulated, where more take
    /// turns]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(in crate::cli) cpus: Option<u32>,
    /// Append ARGUMENTS to the kernel command line
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    pub(in crate::cli) append: Option<String>,
    /// Limit the total time to TIME: `90`, `90s`, `10m`
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = time)]
    pub(in crate::cli) time_limit: Duration,
    /// Use KVM, the processor's virtualisation
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = KvmArg::Auto)]
    pub(in crate::cli) kvm: KvmArg,
    /// Use PROGRAM as QEMU [default: qemu-system-x86_64]
    #[arg(long, value_name = "PROGRAM")]
    pub(in crate::cli) qemu: Option<PathBuf>,
    /// Use PROGRAM as mptcplab in the guest [default: this mptcplab]
    #[arg(long, value_name = "PROGRAM")]
    pub(in crate::cli) runner: Option<PathBuf>,
    /// Write the guest's kernel log to FILE
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) kernel_log: Option<PathBuf>,
    /// Panic the guest's kernel instead of running scenarios whose label contains TEXT
    #[arg(long, value_name = "TEXT", hide = true)]
    pub(in crate::cli) crash: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) run: RunArgs,
}

/// `90`, `90s`, `10m`, `1h`.
fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) =
        text.find(|character: char| !character.is_ascii_digit()).map_or((text, "s"), |at| text.split_at(at));
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("expected a time like `90s`, `10m`, or `1h`".to_owned()),
    };
    let seconds =
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| "expected a time like `90s`, `10m`, or `1h`".to_owned())
}
