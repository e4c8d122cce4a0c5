//! The arguments, as clap reads them.

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::judge::{Measures, Rules, Snapshots};
use crate::scenario::model::Feature;
use crate::session::Permission;

use super::reports::Requested;
use super::select::Shard;
use super::shell::ShellArgs;

mod kernels;

pub(super) use kernels::{CacheArgs, CompareArgs, KvmArg, MachineArgs, MatrixArgs, ReportFormat, VmArgs};

const EXIT_CODES: &str = "\
Exit codes:
    0  All scenarios passed (some may have been skipped)
    1  A scenario failed
    2  Usage error, or an error in a scenario file
    3  A run could not be set up or trusted, or the environment lacks a requirement
    4  All scenarios were skipped
  130  Interrupted by a signal: Ctrl-C (SIGINT), SIGTERM, SIGHUP, …";

const COMPARE_CODES: &str = "\
Exit codes:
    0  Every scenario that ran is the same on both
    1  Something differs
    2  Usage error, damaged results, or nothing to compare
    3  A kernel could not be run, or a scenario could not be compared
    4  All scenarios were skipped on both
  130  Interrupted by a signal: Ctrl-C (SIGINT), SIGTERM, SIGHUP, …";

const EXPLAIN_CODES: &str = "\
Exit codes:
    0  The reasons were printed
    1  The kernel broke a rule
    2  Usage error, or an error in a scenario file
    3  A scenario could not be run, or the kernel could not be asked
  130  Interrupted by a signal: Ctrl-C (SIGINT), SIGTERM, SIGHUP, …";
const IMPORT_CODES: &str = "\
Exit codes:
    0  The draft was written
    1  The draft was written, but part of the report could not be read
    2  Usage error, or no draft: the report is unreadable, or says nothing about MPTCP
    3  The draft could not be written";

/// A testbed and scenario runner for Multipath TCP
///
/// Runs each scenario in its own network namespaces, and compares the kernel's behaviour with the scenario's
/// expectations. `mptcplab PATH...` is short for `mptcplab run PATH...`.
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
    /// Show the differences between two kernels
    #[command(after_help = COMPARE_CODES)]
    Compare(CompareArgs),
    /// Run scenarios on several kernels, and print a table of the results
    #[command(after_help = EXIT_CODES)]
    Matrix(MatrixArgs),
    /// Run scenarios on another kernel, in a virtual machine
    #[command(after_help = EXIT_CODES)]
    Vm(Box<VmArgs>),
    /// Check scenario files for errors without running them
    Check(CheckArgs),
    /// Open a shell in the world of a scenario
    Shell(ShellArgs),
    /// Draft a scenario from a field report: logs, captures, and the output of `ip mptcp` and `ss`
    #[command(after_help = IMPORT_CODES)]
    Import(ImportArgs),
    /// Judge stored recordings again
    #[command(after_help = EXIT_CODES)]
    Judge(JudgeArgs),
    /// Explain why each subflow and each announcement is there, or is not
    #[command(after_help = EXPLAIN_CODES)]
    Explain(ExplainArgs),
    /// Show which features this kernel and user have, and how to get missing ones
    Doctor,
    /// Print the JSON schema of scenario files
    Schema,
    /// Print a shell completion script
    Completions {
        /// Shell to complete for
        shell: Shell,
    },
}

#[expect(clippy::struct_excessive_bools, reason = "each one is an option of the command line")]
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Scenario files, or folders that contain scenarios
    ///
    /// A folder stands for all `*.yaml` files below it, except those in hidden folders and in folders named
    /// `snapshots` or `topologies`.
    #[arg(value_name = "PATH", required = true)]
    pub(super) paths: Vec<PathBuf>,
    /// Select scenarios whose label or title contains TEXT; repeat it to select more
    ///
    /// If TEXT contains `*` (any text) or `?` (any character), it must match the whole label or title. Case is ignored.
    #[arg(long, value_name = "TEXT")]
    pub(super) filter: Vec<String>,
    /// Run the valid scenarios even if some files have errors; still exit with 2, unless a scenario fails
    ///
    /// By default nothing runs, so that an error in a file is found at once, not after minutes, and never overlooked.
    #[arg(long, conflicts_with = "bisect")]
    pub(super) keep_going: bool,
    /// Remove orphaned snapshots: those in the given folders that belong to no scenario
    #[arg(long, conflicts_with_all = ["list", "dry_run"])]
    pub(super) prune_snapshots: bool,
    /// Run shard K of N
    ///
    /// A scenario's shard depends on its label alone.
    #[arg(long, value_name = "K/N")]
    pub(super) shard: Option<Shard>,
    /// List the scenarios instead of running them
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) list: bool,
    /// Print the scenarios as shell commands instead of running them
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Accept the observed behaviour as the new snapshots
    ///
    /// Only scenarios whose expectations hold are updated. With `--repeat N`, all N runs must give the same snapshot.
    /// The written files are listed.
    #[arg(long, conflicts_with = "until_fail")]
    pub(super) update: bool,
    /// Judge without snapshots: by the expectations and the rules of the reference
    #[arg(long, conflicts_with_all = ["update", "results", "show_snapshot"])]
    pub(super) no_snapshot: bool,
    #[command(flatten)]
    pub(super) reference: ReferenceArgs,
    /// Print new snapshots in full
    #[arg(long)]
    pub(super) show_snapshot: bool,
    /// Don't write new or changed snapshots (`*.snap.new`) for review
    #[arg(long)]
    pub(super) no_pending: bool,
    /// Write the recording to the file PATH; for several scenarios, write one file each to the folder PATH
    ///
    /// The folder is created. With a trailing slash, PATH is a folder even for a single scenario.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["repeat", "until_fail"])]
    pub(super) record: Option<PathBuf>,
    /// Store the results in FOLDER, for `mptcplab compare`
    ///
    /// Results are verdicts, observations, recordings, and a description of the kernel. Existing results in the folder
    /// are deleted.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["repeat", "until_fail", "list", "dry_run"])]
    pub(super) results: Option<PathBuf>,
    /// Exit with the codes of `git bisect run`: 0 good, 1 bad, 125 can't tell
    ///
    /// Good: at least one scenario passed, and all others passed or were skipped. Bad: a scenario failed. Can't tell:
    /// anything else. For example, all were skipped, or a scenario could not be set up or has no snapshot.
    #[arg(long, conflicts_with_all = ["update", "list", "dry_run"])]
    pub(super) bisect: bool,
    #[command(flatten)]
    pub(super) reports: Requested,
    /// Write the evidence of each failed run to its own folder in FOLDER
    ///
    /// Evidence is the recording, the packets of each namespace (pcapng), the story, counters, sockets, endpoints, the
    /// kernel log of the run, equivalent shell commands, and versions. Without this option it goes to a new temporary
    /// folder.
    #[arg(long, value_name = "FOLDER")]
    pub(super) evidence: Option<PathBuf>,
    /// Keep no evidence
    #[arg(long, conflicts_with = "evidence")]
    pub(super) no_evidence: bool,
    /// Print only failures and skips
    #[arg(short, long, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Print all stories in full [default: only that of a single file, shortened if it is long]
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Run up to N scenarios at a time [default: 6 per processor]
    #[arg(short, long, value_name = "N")]
    pub(super) jobs: Option<NonZeroUsize>,
    /// Run each scenario N times, and count the runs that passed
    #[arg(long, value_name = "N")]
    pub(super) repeat: Option<NonZeroUsize>,
    /// Repeat the scenarios until one fails; with `--repeat N`, at most N times
    #[arg(long)]
    pub(super) until_fail: bool,
    /// Stop after the first failure
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// Open a shell in the world of each run that fails, before it is taken down; run one scenario at a time
    ///
    /// As `mptcplab shell` does. What happens in the shell does not change the verdict.
    #[arg(long, value_name = "WHEN", conflicts_with_all = ["jobs", "list", "dry_run", "bisect"])]
    pub(super) pause: Option<Pause>,
    /// Multiply all timeouts by N, for slow machines [default: 1; 4 with `vm`]
    ///
    /// This includes the timeouts of steps, quiet periods, and the ADD_ADDR timeout.
    #[arg(long, value_name = "N")]
    pub(super) timeout_scale: Option<NonZeroU32>,
    /// Fail instead of skipping if one of these features is missing
    ///
    /// `all` stands for every feature that a scenario requires.
    #[arg(long, value_name = "FEATURE", value_delimiter = ',', value_parser = requirement)]
    pub(super) require: Vec<Requirement>,
    #[command(flatten)]
    pub(super) programs: ProgramArgs,
}

/// Which programs scenarios may start.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ProgramArgs {
    /// Permit scenarios to start programs: all, or only those of a list, such as `curl,nginx`
    ///
    /// Without it, scenarios that start programs are skipped. Programs run in namespaces of their own: they see the
    /// network of the scenario, the machine's programs (read-only), and empty folders. `mptcplab check` says which
    /// programs a scenario starts.
    #[arg(long = "allow-programs", value_name = "NAME", num_args = 0..=1, require_equals = true, value_delimiter = ',',
        default_missing_value = EVERY_PROGRAM)]
    allowed: Option<Vec<String>>,
}

/// What stands for all programs. No program of a scenario has such a name.
const EVERY_PROGRAM: &str = "*";

impl ProgramArgs {
    /// The option itself, for another mptcplab.
    pub(super) fn option(&self) -> Option<OsString> {
        let names = self.allowed.as_ref()?;
        let all = names.iter().any(|name| name == EVERY_PROGRAM);
        let list = if all { String::new() } else { format!("={}", names.join(",")) };
        Some(format!("--allow-programs{list}").into())
    }

    /// The permission.
    pub(super) fn permission(&self) -> Permission {
        match &self.allowed {
            None => Permission::Nothing,
            Some(names) if names.iter().any(|name| name == EVERY_PROGRAM) => Permission::Everything,
            Some(names) => Permission::These(names.iter().cloned().collect()),
        }
    }
}

/// When to stop before a world is taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Pause {
    /// After a failure
    OnFailure,
}

/// Options with an old name.
const RENAMED: [(&str, &str); 2] = [("--partition", "--shard"), ("--patience", "--timeout-scale")];

impl Cli {
    /// Reads the command line. An old option name is an error that names the new one.
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

/// Whether the rules of the reference are applied.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct ReferenceArgs {
    /// Don't check the rules of RFC 8684 and of the path manager
    #[arg(long, conflicts_with = "reference_only")]
    no_reference: bool,
    /// Check only the rules of RFC 8684 and of the path manager, not the expectations and snapshots
    #[arg(long, conflicts_with_all = ["update", "show_snapshot"])]
    pub(super) reference_only: bool,
}

impl ReferenceArgs {
    /// The rules to apply.
    pub(super) fn rules(self) -> Rules {
        match self {
            Self { no_reference: true, .. } => Rules::Ignore,
            Self { reference_only: true, .. } => Rules::Only,
            _ => Rules::Apply,
        }
    }
}

impl RunArgs {
    /// What happens to snapshots while scenarios run. An update waits for all runs of a scenario.
    pub(super) fn snapshots(&self) -> Snapshots {
        match self {
            Self { no_snapshot: true, .. } | Self { update: true, .. } => Snapshots::Ignore,
            // A bisection observes other kernels.
            Self { no_pending: true, .. } | Self { bisect: true, .. } => Snapshots::Compare,
            _ => Snapshots::Review,
        }
    }

    /// What runs are judged by.
    pub(super) fn measures(&self) -> Measures {
        Measures { snapshots: self.snapshots(), rules: self.reference.rules() }
    }
}

/// What `--require` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Requirement {
    /// Every feature that a scenario requires.
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
        format!(
            "expected `all`, {}, `counter:NAME`, `sysctl:NAME`, `info:FIELD`, `option:WORD` or `program:NAME`",
            quoted(&words)
        )
    })
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Scenario files, or folders that contain scenarios
    #[arg(value_name = "PATH", required = true)]
    pub(super) paths: Vec<PathBuf>,
    /// Print nothing if there are no errors
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Remove orphaned snapshots: those in the given folders that belong to no scenario
    #[arg(long)]
    pub(super) prune_snapshots: bool,
    /// Rewrite renamed keys and values in place, and quote values that YAML 1.1 reads differently
    ///
    /// Comments and layout are kept. Whatever can't be rewritten, such as the value of a variable, is reported as an
    /// error. Topologies and lists of kernels are rewritten only if PATH names them.
    #[arg(long)]
    pub(super) fix: bool,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The report
    ///
    /// Its content tells its format: the text of `mptcp-get-debug`, the log of `ip mptcp monitor`, the output of
    /// `ip mptcp endpoint show`, `ip mptcp limits show` or `ss -MOi`, several of these in one file, as text or JSON;
    /// or a capture, pcap or pcapng.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Replace addresses and names of devices
    ///
    /// Equal addresses stay equal, those of one network (/24, /64) stay in one network, and the family stays.
    #[arg(long)]
    pub(super) anonymise: bool,
    /// Write the draft to DRAFT, which must not exist yet [default: standard output]
    #[arg(short, long, value_name = "DRAFT")]
    pub(super) output: Option<PathBuf>,
}

#[expect(clippy::struct_excessive_bools, reason = "each one is an option of the command line")]
#[derive(Debug, Args)]
pub(super) struct JudgeArgs {
    /// Recordings written by `mptcplab run --record`, or folders that contain recordings
    ///
    /// A folder stands for all `*.jsonl` files below it.
    #[arg(value_name = "PATH", required = true)]
    pub(super) files: Vec<PathBuf>,
    /// Judge by the scenario in PATH instead of the one in the recording
    ///
    /// In a file with a matrix, the recorded variant is taken; in a folder, the file with the recorded name. The steps
    /// must be those of the recording; the expectations may differ.
    #[arg(long, value_name = "PATH")]
    pub(super) scenario: Option<PathBuf>,
    /// Accept the observed behaviour as the new snapshot of that scenario
    #[arg(long, requires = "scenario")]
    pub(super) update: bool,
    /// Judge without snapshots: by the expectations and the rules of the reference
    #[arg(long, conflicts_with_all = ["update", "show_snapshot"])]
    pub(super) no_snapshot: bool,
    #[command(flatten)]
    pub(super) reference: ReferenceArgs,
    /// Print new snapshots in full
    #[arg(long)]
    pub(super) show_snapshot: bool,
    /// Print one JSON object per recording
    #[arg(long)]
    pub(super) json: bool,
    /// Print only verdicts that aren't a pass
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Scenario files and folders, which are run, or recordings (`*.jsonl`) written by `mptcplab run --record`
    #[arg(value_name = "PATH", required_unless_present = "here", conflicts_with = "here")]
    pub(super) paths: Vec<PathBuf>,
    /// Explain the live connections of this network namespace
    ///
    /// Prints a table for each MPTCP connection: which subflows and announcements exist, which don't, why, and a
    /// command that changes it. Without a connection, prints the faults of the configuration. Changes nothing. Works
    /// for any user; before Linux 6.18, only root sees the subflows.
    #[arg(long)]
    pub(super) here: bool,
    /// Keep printing path-manager events with their reasons, until Ctrl-C; only root may listen
    ///
    /// While a process listens, a userspace path manager accepts subflows and announcements.
    #[arg(long, requires = "here", conflicts_with = "paths")]
    pub(super) follow: bool,
    /// Print one JSON object per run; with `--here`, one object, then one line per event
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) programs: ProgramArgs,
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
    fn explain_needs_to_know_what() {
        for wrong in [&["explain"][..], &["explain", "a.yaml", "--here"], &["explain", "a.yaml", "--follow"]] {
            let error = Cli::try_parse_from([&["mptcplab"], wrong].concat()).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong:?}");
        }
        let Some(Command::Explain(args)) = parse(&["explain", "--here", "--follow", "--json"]).command else {
            panic!("not `explain`")
        };
        assert!(args.here && args.follow && args.json && args.paths.is_empty());
    }

    #[test]
    fn unknown_features_are_refused() {
        let error = Cli::try_parse_from(["mptcplab", "a.yaml", "--require", "warp"]).unwrap_err();
        assert!(error.to_string().contains("`mixed_families`"), "{error}");
        assert!(error.to_string().contains("`option:WORD` or `program:NAME`"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}
