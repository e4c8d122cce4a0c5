//! The arguments, as clap reads them.

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::judge::Snapshots;
use crate::scenario::model::Feature;

use super::select::Shard;

const EXIT_CODES: &str = "\
Exit codes:
    0  All scenarios passed (some may have been skipped)
    1  A scenario failed
    2  Wrong usage, or a scenario file with errors
    3  Something could not be set up, or the environment lacks what it takes
    4  All scenarios were skipped
  130  Interrupted by a signal: Ctrl-C (SIGINT), SIGTERM, SIGHUP, …";

const COMPARE_CODES: &str = "\
Exit codes:
    0  Each scenario that was run is the same on both
    1  Something differs
    2  Wrong usage, damaged results, or nothing to compare
    3  A kernel could not be run, or some scenario could not be compared
    4  All scenarios were skipped on both
  130  Interrupted by a signal: Ctrl-C (SIGINT), SIGTERM, SIGHUP, …";

/// A testbed and scenario runner for Multipath TCP
///
/// Runs scenarios of Multipath TCP in network namespaces of their own, and compares what the kernel does with what the
/// scenarios expect. `mptcplab PATH...` is short for `mptcplab run PATH...`.
#[derive(Debug, Parser)]
#[command(name = "mptcplab", version, after_help = EXIT_CODES)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run scenarios
    #[command(after_help = EXIT_CODES)]
    Run(RunArgs),
    /// Tell what differs between two kernels
    #[command(after_help = COMPARE_CODES)]
    Compare(CompareArgs),
    /// Run scenarios on several kernels, for a table of scenarios and kernels
    #[command(after_help = EXIT_CODES)]
    Matrix(MatrixArgs),
    /// Run scenarios on another kernel, in a virtual machine
    #[command(after_help = EXIT_CODES)]
    Vm(Box<VmArgs>),
    /// Check scenario files for errors without running them
    Check(CheckArgs),
    /// Judge stored recordings again
    #[command(after_help = EXIT_CODES)]
    Judge(JudgeArgs),
    /// Tell what this kernel and this user can do, and how to get what is missing
    Doctor,
    /// Print the JSON schema of scenario files
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[expect(clippy::struct_excessive_bools, reason = "each one is an option of the command line")]
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Scenario files, or folders with scenarios in them
    ///
    /// A folder stands for all `*.yaml` files below it, but not those in hidden folders and in folders named
    /// `snapshots` or `topologies`.
    #[arg(value_name = "PATH", required = true)]
    pub(super) paths: Vec<PathBuf>,
    /// Only scenarios with this text in their label or title; can be repeated, for either
    ///
    /// With `*` (any text) or `?` (any character) in it, the text must match the whole label or title. Case doesn't matter.
    #[arg(long, value_name = "TEXT")]
    pub(super) filter: Vec<String>,
    /// Run the good scenarios although some files have errors; exit with 2 all the same, unless one fails
    ///
    /// By default nothing runs: an error in a file is found at once, not after minutes, and never overlooked.
    #[arg(long, conflicts_with = "bisect")]
    pub(super) keep_going: bool,
    /// Remove orphaned snapshots: those that no scenario of the given folders makes
    #[arg(long, conflicts_with_all = ["list", "dry_run"])]
    pub(super) prune_snapshots: bool,
    /// Run shard K of N
    ///
    /// A scenario's label alone decides on its shard.
    #[arg(long, value_name = "K/N")]
    pub(super) shard: Option<Shard>,
    /// List the scenarios instead of running them
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) list: bool,
    /// Print what the scenarios configure as shell commands, instead of running them
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Accept what is observed as the new snapshots
    ///
    /// Of scenarios whose expectations hold. With `--repeat N`, only if all N runs give the same snapshot. Tells which files
    /// were written.
    #[arg(long, conflicts_with = "until_fail")]
    pub(super) update: bool,
    /// Judge by the expectations alone, without snapshots
    #[arg(long, conflicts_with_all = ["update", "results", "show_snapshot"])]
    pub(super) no_snapshot: bool,
    /// Print new snapshots in full
    #[arg(long)]
    pub(super) show_snapshot: bool,
    /// Leave no new or changed snapshots (`*.snap.new`) for a review
    #[arg(long)]
    pub(super) no_pending: bool,
    /// Write the recording to this file; for several scenarios, one file each into this folder
    ///
    /// The folder is made. A name with a slash at its end is that of a folder, for a single scenario, too.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["repeat", "until_fail"])]
    pub(super) record: Option<PathBuf>,
    /// Store what each scenario came to in this folder, for `mptcplab compare`
    ///
    /// Verdicts, observations, recordings, and what is known of the kernel. Existing results in the folder are deleted.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["repeat", "until_fail", "list", "dry_run"])]
    pub(super) results: Option<PathBuf>,
    /// Exit as `git bisect run` wants it: 0 good, 1 bad, 125 can't tell
    ///
    /// Good: all scenarios passed that the kernel has the features for, and there was one. Bad: one failed. Anything else
    /// can't tell good from bad: all were skipped, or a scenario could not be set up, or has no snapshot to compare with.
    #[arg(long, conflicts_with_all = ["update", "list", "dry_run"])]
    pub(super) bisect: bool,
    /// How to print the results
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Human)]
    pub(super) format: Format,
    /// Print one JSON object for each run: short for `--format json`
    #[arg(long, conflicts_with = "format")]
    pub(super) json: bool,
    /// Write the results to this file, too, as the XML of JUnit
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
    /// Write all that is known of a run that failed into a folder in this folder
    ///
    /// The recording, the packets of each namespace (pcapng), the story, counters, sockets, endpoints, the kernel's log
    /// of the time, the commands that have the same effect, and versions. Without this option they go to a new folder
    /// for temporary files.
    #[arg(long, value_name = "FOLDER")]
    pub(super) evidence: Option<PathBuf>,
    /// Keep no evidence
    #[arg(long, conflicts_with = "evidence")]
    pub(super) no_evidence: bool,
    /// Print failures and skips only
    #[arg(short, long, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Tell each story, in full; that of a single file is told anyway, shortened if it is long
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// How many scenarios run at the same time [default: 6 for each processor]
    #[arg(short, long, value_name = "N")]
    pub(super) jobs: Option<NonZeroUsize>,
    /// Run each scenario N times, and tell how many of its runs passed
    #[arg(long, value_name = "N")]
    pub(super) repeat: Option<NonZeroUsize>,
    /// Run the scenarios again and again until one fails, with `--repeat N` at most N times
    #[arg(long)]
    pub(super) until_fail: bool,
    /// Stop after the first failure
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// Multiply all timeouts by N, for slow machines [default: 1; 4 with `vm`]
    ///
    /// Timeouts of steps, quiet periods, and the timeout of ADD_ADDR.
    #[arg(long, value_name = "N")]
    pub(super) timeout_scale: Option<NonZeroU32>,
    /// Fail instead of skipping if one of these features is missing
    ///
    /// `all` stands for every feature that a scenario asks for.
    #[arg(long, value_name = "FEATURE", value_delimiter = ',', value_parser = requirement)]
    pub(super) require: Vec<Requirement>,
}

/// Options with an old name.
const RENAMED: [(&str, &str); 2] = [("--partition", "--shard"), ("--patience", "--timeout-scale")];

impl Cli {
    /// Reads the command line. An old name of an option is an error that tells the new one.
    pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(arguments).map_err(|mut error| {
            let unknown = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(unknown)) if error.kind() == ErrorKind::UnknownArgument => unknown.as_str(),
                _ => "",
            };
            if let Some((old, new)) = RENAMED.iter().find(|(old, _)| *old == unknown) {
                let tip = StyledStr::from(format!("`{old}` was renamed to `{new}`"));
                error.remove(ContextKind::SuggestedArg);
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
            }
            error
        })
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Human,
    /// TAP 13, as the kernel's selftests print it
    Tap,
    /// One JSON object for each run, a line each
    Json,
}

impl RunArgs {
    /// What is done with snapshots while scenarios run. An update waits until all runs of a scenario are over.
    pub(super) fn snapshots(&self) -> Snapshots {
        match self {
            Self { no_snapshot: true, .. } | Self { update: true, .. } => Snapshots::Ignore,
            // In a bisection it is another kernel that is observed.
            Self { no_pending: true, .. } | Self { bisect: true, .. } => Snapshots::Compare,
            _ => Snapshots::Review,
        }
    }

    /// How results are printed, by whatever name it was asked for.
    pub(super) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// What `--require` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Requirement {
    /// Whatever a scenario needs.
    All,
    /// This feature.
    Feature(Feature),
}

fn requirement(word: &str) -> Result<Requirement, String> {
    if word == "all" {
        return Ok(Requirement::All);
    }
    Feature::from_word(word).map(Requirement::Feature).ok_or_else(|| {
        let words: Vec<&str> = Feature::PLAIN.iter().map(|(word, _)| *word).collect();
        format!("expected `all`, {}, `counter:NAME`, `sysctl:NAME` or `info:FIELD`", quoted(&words))
    })
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// How a report on several kernels is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// For people
    Text,
    /// One JSON object
    Json,
    /// Markdown
    Markdown,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// How to print the results
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
    /// How results are printed, by whatever name it was asked for.
    pub(super) fn format(&self) -> ReportFormat {
        match self {
            Self { json: true, .. } => ReportFormat::Json,
            Self { markdown: true, .. } => ReportFormat::Markdown,
            Self { format, .. } => *format,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct CacheArgs {
    /// Where results are kept, to be used again while neither kernel, nor mptcplab, nor scenario changes [default:
    /// mptcplab in XDG_CACHE_HOME, or in ~/.cache]
    #[arg(long, value_name = "FOLDER")]
    pub(super) cache: Option<PathBuf>,
    /// Run everything, and use no stored results
    #[arg(long)]
    pub(super) fresh: bool,
}

/// What `compare` and `matrix` hand on to `vm`.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct MachineArgs {
    /// How long all of it may take on a kernel in a virtual machine: `90`, `90s`, `10m` [default: 30m]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) time_limit: Option<Duration>,
    /// QEMU [default: qemu-system-x86_64]
    #[arg(long, value_name = "PROGRAM")]
    pub(super) qemu: Option<PathBuf>,
    /// The mptcplab for the guests [default: this one]
    #[arg(long, value_name = "PROGRAM")]
    pub(super) runner: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// A folder that `mptcplab run --results` wrote, a kernel image, or `running` for the kernel that runs here
    #[arg(value_name = "A")]
    pub(super) a: PathBuf,
    /// What it is compared with, likewise
    #[arg(value_name = "B")]
    pub(super) b: PathBuf,
    /// Only the scenarios of these files and folders; for kernels, those that are run
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// The folder with the modules of the kernel image A
    #[arg(long, value_name = "FOLDER")]
    pub(super) modules_a: Option<PathBuf>,
    /// The folder with the modules of the kernel image B
    #[arg(long, value_name = "FOLDER")]
    pub(super) modules_b: Option<PathBuf>,
    /// A and B may be names of kernels in this list, as `mptcplab matrix` reads it
    #[arg(long, value_name = "FILE")]
    pub(super) kernels: Option<PathBuf>,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
    #[command(flatten)]
    pub(super) cache: CacheArgs,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

#[derive(Debug, Args)]
pub(super) struct MatrixArgs {
    /// The list of kernels and scenarios, a YAML file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Scenario files and folders instead of those of the list
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Leave out scenarios that passed in the same way on each kernel
    #[arg(short, long)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
    #[command(flatten)]
    pub(super) cache: CacheArgs,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

/// Whether the processor's virtualisation is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KvmArg {
    /// If it works here, which is tried; otherwise emulation
    Auto,
    /// Nothing else
    On,
    /// Emulation
    Off,
}

#[derive(Debug, Args)]
pub(super) struct VmArgs {
    /// The kernel: a vmlinuz (bzImage), a vmlinux with an entry for PVH, or a program of User-Mode Linux
    #[arg(long, value_name = "IMAGE")]
    pub(super) kernel: PathBuf,
    /// The folder with the kernel's modules [default: ../lib/modules/VERSION beside the image, or /lib/modules/VERSION]
    #[arg(long, value_name = "FOLDER")]
    pub(super) modules: Option<PathBuf>,
    /// The kernel has everything built in
    #[arg(long, conflicts_with_all = ["modules", "load"])]
    pub(super) no_modules: bool,
    /// Load these modules, too; those that scenarios need are loaded anyway
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) load: Vec<String>,
    /// Memory of the machine, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 768, value_parser = clap::value_parser!(u32).range(64..))]
    pub(super) memory: u32,
    /// Processors of the machine [default: as many as there are here, 4 at most; 1 if it is emulated, where more take
    /// turns]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(super) cpus: Option<u32>,
    /// More arguments for the kernel
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    pub(super) append: Option<String>,
    /// How long all of it may take: `90`, `90s`, `10m`
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = time)]
    pub(super) time_limit: Duration,
    /// Whether the processor's virtualisation is used
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = KvmArg::Auto)]
    pub(super) kvm: KvmArg,
    /// QEMU [default: qemu-system-x86_64]
    #[arg(long, value_name = "PROGRAM")]
    pub(super) qemu: Option<PathBuf>,
    /// The mptcplab for the guest [default: this one]
    #[arg(long, value_name = "PROGRAM")]
    pub(super) runner: Option<PathBuf>,
    /// Write the log of the guest's kernel to this file
    #[arg(long, value_name = "FILE")]
    pub(super) kernel_log: Option<PathBuf>,
    /// Let the guest's kernel panic instead of running scenarios with this text in their label
    #[arg(long, value_name = "TEXT", hide = true)]
    pub(super) crash: Option<String>,
    #[command(flatten)]
    pub(super) run: RunArgs,
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

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Scenario files, or folders with scenarios in them
    #[arg(value_name = "PATH", required = true)]
    pub(super) paths: Vec<PathBuf>,
    /// Print nothing if there is no error
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Remove orphaned snapshots: those that no scenario of the given folders makes
    #[arg(long)]
    pub(super) prune_snapshots: bool,
    /// Rewrite old words of the language in place, and quote what YAML 1.1 reads differently
    ///
    /// Comments and layout stay as they are. What can't be rewritten, such as the value of a variable, is reported as an
    /// error. Topologies and lists of kernels are rewritten if they are named.
    #[arg(long)]
    pub(super) fix: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "each one is an option of the command line")]
#[derive(Debug, Args)]
pub(super) struct JudgeArgs {
    /// Recordings that `mptcplab run --record` wrote, or folders with recordings in them
    ///
    /// A folder stands for all `*.jsonl` files below it.
    #[arg(value_name = "PATH", required = true)]
    pub(super) files: Vec<PathBuf>,
    /// Judge by this scenario instead of the one in the recording
    ///
    /// Of a file with a matrix by the variant that was recorded; of a folder by the file of the same name. The steps must be
    /// those that were recorded; the expectations may differ.
    #[arg(long, value_name = "PATH")]
    pub(super) scenario: Option<PathBuf>,
    /// Accept what was observed as the new snapshot of that scenario
    #[arg(long, requires = "scenario")]
    pub(super) update: bool,
    /// Judge by the expectations alone, without snapshots
    #[arg(long, conflicts_with_all = ["update", "show_snapshot"])]
    pub(super) no_snapshot: bool,
    /// Print new snapshots in full
    #[arg(long)]
    pub(super) show_snapshot: bool,
    /// Print one JSON object for each recording
    #[arg(long)]
    pub(super) json: bool,
    /// Print the verdict only if it isn't a pass
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(arguments: &[&str]) -> Cli {
        Cli::try_parse_from([&["mptcplab"], arguments].concat()).unwrap()
    }

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_what_is_meant_when_no_command_is_named() {
        let cli = parse(&["a.yaml", "folder", "-j", "4", "--require", "laminar,tbf"]);
        assert!(cli.command.is_none());
        assert_eq!(cli.run.paths, ["a.yaml", "folder"].map(PathBuf::from));
        let required = [Requirement::Feature(Feature::Laminar), Requirement::Feature(Feature::Tbf)];
        assert_eq!(cli.run.require, required);
    }

    #[test]
    fn a_file_named_like_a_command_can_be_run() {
        let Some(Command::Run(run)) = parse(&["run", "./check"]).command else { panic!("not `run`") };
        assert_eq!(run.paths, [PathBuf::from("./check")]);
        let Some(Command::Run(run)) = parse(&["run", "check"]).command else { panic!("not `run`") };
        assert_eq!(run.paths, [PathBuf::from("check")]);
    }

    #[test]
    fn an_old_name_of_an_option_tells_the_new_one() {
        for (old, new) in RENAMED {
            for command in [&["mptcplab"][..], &["mptcplab", "run"], &["mptcplab", "vm", "--kernel", "x"]] {
                for argument in [old.to_owned(), format!("{old}=2")] {
                    let arguments = [command, &["a.yaml", &argument, "2"]].concat();
                    let error = Cli::read(arguments.into_iter().map(OsString::from)).unwrap_err();
                    assert_eq!(error.exit_code(), 2);
                    assert!(error.to_string().contains(&format!("`{old}` was renamed to `{new}`")), "{error}");
                    assert!(!error.to_string().contains("similar"), "{error}");
                }
            }
        }
    }

    #[test]
    fn unknown_features_are_refused() {
        let error = Cli::try_parse_from(["mptcplab", "a.yaml", "--require", "warp"]).unwrap_err();
        assert!(error.to_string().contains("`mixed_families`"), "{error}");
        assert!(error.to_string().contains("`sysctl:NAME` or `info:FIELD`"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}
