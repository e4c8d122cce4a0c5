//! What `run --dry-run` prints, run: each scenario's commands in a shell of root, in network and mount namespaces of
//! their own. Each command succeeds, those marked with `!` are refused, and the clean-up leaves nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock};
use std::thread;

use libtest_mimic::{Completion, Failed};

use super::Test;
use super::require::{Lack, Outcome, REQUIRE, machine_lacks};

/// Longer than any script takes; one that hangs is ended, and its test fails.
const LONGEST_SECONDS: &str = "60";
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The shells besides bash, which runs all scripts; these run some with commands of each kind.
const OTHER_SHELLS: [&[&str]; 3] = [&["dash"], &["zsh", "-f"], &["fish", "--no-config"]];
const OF_EACH_KIND: [&str; 6] = [
    "scenarios/fullmesh@ipv4",
    "scenarios/netlink/change-by-id",
    "scenarios/netlink/change-backup-by-address",
    "scenarios/backup/switch-both-ends",
    "scenarios/paths/conditions/bursts",
    "scenarios/userspace/closed-once",
];

/// Scenarios whose traffic is driven as the comments say. The first ones have commands that depend on it.
const WITH_TRAFFIC: [&str; 6] = [
    "scenarios/endpoint-lifecycle/implicit",
    "scenarios/endpoints/implicit",
    "scenarios/netlink/port-needs-the-address",
    "scenarios/fullmesh@ipv4",
    "scenarios/fullmesh@ipv6",
    "scenarios/monitor/closed-only",
];
const DEPEND_ON_TRAFFIC: usize = 3;

/// What a tool says when something else than the command is at fault, and what that is.
const LACKS: [(&str, Lack, &str); 3] = [
    ("Error: Specified qdisc kind is unknown.", Lack::Kernel, "this kernel lacks sch_netem"),
    ("Error: Unknown device type.", Lack::Kernel, "this kernel lacks a kind of device: vlan or dummy"),
    ("than \"laminar\"", Lack::Machine, "ip(8) doesn't know the flag laminar"),
];

/// All programs that scripts may call.
const PROGRAMS: [&str; 13] =
    ["awk", "ethtool", "ip", "mptcpize", "nc", "nft", "nstat", "pm_nl_ctl", "ss", "sysctl", "tc", "tcpdump", "xargs"];

/// The tests of this suite. One after the other: each uses all processors, and one looks at what another has found.
pub fn tests() -> Vec<Test> {
    let ready = |name: &str, test: fn() -> Outcome| {
        Test::new(name, move || OBSTACLE.as_deref().map_or_else(test, machine_lacks))
    };
    let in_shell = |shell: &'static [&'static str]| {
        Test::new(format!("commands_of_each_kind_succeed_in_{}", shell[0]), move || {
            match OBSTACLE.clone().or_else(|| missing(&shell[..1])) {
                None => commands_of_each_kind_succeed(shell),
                Some(reason) => machine_lacks(&reason),
            }
        })
    };
    let mut tests = vec![
        Test::new("what_a_script_calls_is_what_it_lists", what_a_script_calls_is_what_it_lists),
        ready("each_command_succeeds_in_bash", each_command_succeeds_in_bash),
        ready("no_command_is_left_untried", no_command_is_left_untried),
        ready("traffic_flows_as_it_is_suggested", traffic_flows_as_it_is_suggested),
    ];
    tests.extend(OTHER_SHELLS.map(in_shell));
    tests
}

static OBSTACLE: LazyLock<Option<String>> = LazyLock::new(obstacle);

/// Programs that aren't installed.
fn missing(programs: &[&str]) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing: Vec<&str> = programs.iter().copied().filter(|program| !is_there(program)).collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
}

/// Why no script can be run here.
fn obstacle() -> Option<String> {
    missing(&["awk", "bash", "ethtool", "ip", "nft", "sysctl", "tc", "timeout", "unshare", "xargs"]).or_else(|| {
        let probe = "ip netns add probe\nip netns exec probe sysctl -w net.mptcp.enabled=1\nip netns delete probe\n";
        let script = Script { label: "probe".to_owned(), lines: probe.lines().map(str::to_owned).collect() };
        let complaints = script.run(&["bash"]).into_iter().filter(|command| !command.succeeded).collect::<Vec<_>>();
        complaints.first().map(|command| format!("`{}`: {}", command.line, command.said.trim()))
    })
}

/// What is printed for one scenario.
struct Script {
    label: String,
    lines: Vec<String>,
}

/// A command that was run.
struct Tried {
    line: String,
    said: String,
    succeeded: bool,
}

impl Script {
    /// The scripts of all scenarios.
    fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Script>> = OnceLock::new();
        ALL.get_or_init(|| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mptcplab"));
            let output = command.args(["run", "--dry-run", "scenarios"]).current_dir(ROOT).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout).unwrap();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            // Two lines with label and title, and an empty one, are before it.
            let needs = |place: &usize| lines[*place] == "# Needs a root shell, and:";
            let mut places: Vec<usize> = (0..lines.len()).filter(needs).map(|place| place - 3).collect();
            assert!(places.len() > 200, "{} scripts", places.len());
            places.push(lines.len());
            let label = |line: &str| line.trim_start_matches("# ").trim_matches('\'').to_owned();
            let scripts = places.windows(2).map(|ends| &lines[ends[0]..ends[1]]);
            scripts.map(|lines| Self { label: label(&lines[0]), lines: lines.to_vec() }).collect()
        })
    }

    fn with_label(label: &str) -> Result<&'static Self, Failed> {
        let labelled = Self::all().iter().find(|script| script.label == label);
        labelled.ok_or_else(|| format!("no scenario {label}").into())
    }

    fn commands(&self) -> impl Iterator<Item = &String> {
        self.lines.iter().filter(|line| !line.is_empty() && !line.starts_with('#'))
    }

    /// The commands of its clean-up.
    fn clean_up(&self) -> Vec<&str> {
        let block = self.lines.iter().skip_while(|line| !line.starts_with("# Clean up"));
        block.skip(1).filter_map(|line| line.strip_prefix("# ")).collect()
    }

    /// What became of each of its commands, its clean-up included.
    fn run(&self, shell: &[&str]) -> Vec<Tried> {
        let begin = ["mount -t tmpfs tmpfs /run", "ip -o link > /run/links"];
        let end = ["ip -o link | cmp - /run/links", "test -z \"$(ip netns list)\""];
        let lines = begin.into_iter().chain(self.commands().map(String::as_str)).chain(self.clean_up()).chain(end);
        run(shell, lines)
    }
}

/// Feeds the lines to the shell, one by one, as somebody who pastes them does, and asks after each how it went.
fn run<'line>(shell: &[&str], lines: impl Iterator<Item = &'line str>) -> Vec<Tried> {
    let status = if shell[0] == "fish" { "$status" } else { "$?" };
    let lines: Vec<&str> = lines.collect();
    let mut script = String::new();
    for (place, line) in lines.iter().enumerate() {
        writeln!(script, "{line}\necho \"@@ {place} {status}\"").unwrap();
    }
    let mut command = Command::new("timeout");
    command.args([LONGEST_SECONDS, "unshare", "--net", "--mount"]);
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    // What a command says, in its place.
    command.args(["sh", "-c", "exec \"$0\" \"$@\" 2>&1"]).args(shell);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // On another thread: both pipes may be full.
    let writer = thread::spawn(move || input.write_all(script.as_bytes()));
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    let _ = writer.join().unwrap();
    let mut rest = said.as_str();
    let tried = |(place, line): (usize, &&str)| {
        let mark = format!("@@ {place} ");
        let (said, after) = rest.split_once(&mark).unwrap_or((rest, "without an end"));
        let (status, after) = after.split_once('\n').unwrap_or((after, ""));
        rest = after;
        Tried { line: (*line).to_owned(), said: said.to_owned(), succeeded: status == "0" }
    };
    lines.iter().enumerate().map(tried).collect()
}

/// What became of all scripts.
#[derive(Default)]
struct Collected {
    tried: usize,
    /// With the label of its scenario.
    failed: Vec<String>,
    /// What is lacking, and the command that couldn't be tried for it.
    untried: Vec<(Lack, &'static str, String)>,
}

impl Collected {
    fn add(&mut self, label: &str, commands: Vec<Tried>) {
        // Without the device, what is done with it fails, too.
        let mut no_device = None;
        for command in commands {
            self.tried += 1;
            if command.succeeded {
                continue;
            }
            let lacks = LACKS.iter().find(|(words, ..)| command.said.contains(words));
            if lacks.is_some_and(|(words, ..)| words.contains("device type")) {
                no_device = lacks;
            }
            match lacks.or(no_device) {
                Some((_, lack, reason)) => self.untried.push((*lack, reason, command.line)),
                None => self.failed.push(format!("{label}: {}\n    {}", command.line, command.said.trim())),
            }
        }
    }

    fn judge(&self) -> Outcome {
        if self.failed.is_empty() {
            return Ok(Completion::Completed);
        }
        let shown: Vec<&str> = self.failed.iter().take(20).map(String::as_str).collect();
        Err(format!("{} of {} commands failed\n{}", self.failed.len(), self.tried, shown.join("\n")).into())
    }
}

/// All scripts, run once. Variants of a scenario may have the same commands: one of them is enough.
fn in_bash() -> &'static Collected {
    static OUTCOME: OnceLock<Collected> = OnceLock::new();
    OUTCOME.get_or_init(|| {
        let mut seen = BTreeSet::new();
        let depends = |script: &&Script| WITH_TRAFFIC[..DEPEND_ON_TRAFFIC].contains(&script.label.as_str());
        let independent = Script::all().iter().filter(|script| !depends(script));
        let scripts: Vec<&Script> =
            independent.filter(|script| seen.insert(script.commands().cloned().collect::<Vec<_>>())).collect();
        let (next, outcome) = (AtomicUsize::new(0), Mutex::new(Collected::default()));
        thread::scope(|scope| {
            // More than there are processors: a shell waits for the kernel half of the time.
            for _ in 0..2 * thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let commands = script.run(&["bash"]);
                        outcome.lock().unwrap().add(&script.label, commands);
                    }
                });
            }
        });
        outcome.into_inner().unwrap()
    })
}

fn each_command_succeeds_in_bash() -> Outcome {
    let outcome = in_bash();
    assert!(outcome.tried > 5_000, "only {} commands", outcome.tried);
    outcome.judge()
}

/// What couldn't be tried here is told, with the reason.
fn no_command_is_left_untried() -> Outcome {
    let outcome = in_bash();
    let all = Script::all().iter().map(|script| script.commands().count()).sum::<usize>();
    if outcome.untried.len() * 2 > all {
        return Err("most commands are not tried".into());
    }
    for (_, lack, reason) in LACKS {
        let mut commands = outcome.untried.iter().filter(|(.., of, _)| *of == reason).map(|(.., command)| command);
        if let Some(first) = commands.next() {
            let others = commands.count();
            return REQUIRE.lacking(lack, &format!("{reason}: {} commands are not tried, like `{first}`", others + 1));
        }
    }
    Ok(Completion::Completed)
}

fn commands_of_each_kind_succeed(shell: &[&str]) -> Outcome {
    let mut outcome = Collected::default();
    for label in OF_EACH_KIND {
        outcome.add(label, Script::with_label(label)?.run(shell));
    }
    outcome.judge()
}

/// Hints are commands in comments.
fn hint(line: &str) -> Option<&str> {
    line.strip_prefix("#   ").filter(|command| command.starts_with("ip netns exec "))
}

fn what_a_script_calls_is_what_it_lists() -> Result<(), Failed> {
    for script in Script::all() {
        let (needs, body) = script.lines.split_at(script.lines.iter().position(|line| line == "# Set up").unwrap());
        let listed = needs.iter().filter_map(|line| line.strip_prefix("#   "));
        let listed: BTreeSet<&str> =
            listed.filter_map(|tool| tool.split([' ', ',']).next()).filter(|word| *word != "an").collect();
        let commands = body.iter().filter_map(|line| if line.starts_with('#') { hint(line) } else { Some(line) });
        let words = commands.flat_map(|command| command.split(' ')).map(|word| word.trim_start_matches("./"));
        let called: BTreeSet<&str> = words.filter(|word| PROGRAMS.contains(word)).collect();
        if called != listed {
            return Err(format!("{} calls {called:?} and lists {listed:?}", script.label).into());
        }
    }
    Ok(())
}

/// Until a command succeeds. It is asked again and again: no program waits for a socket or a counter.
fn until(command: &str) -> String {
    format!("until {command}; do sleep 0.02; done")
}

/// The number before these words in a step's description.
fn number_before(step: &str, words: &str) -> Option<u32> {
    step.split_once(words)?.0.rsplit(' ').next()?.parse().ok()
}

/// The script's set-up and steps with their traffic: listeners and clients run as the comments say, and each wait for
/// subflows or a counter waits.
fn with_traffic(script: &Script) -> Vec<String> {
    let mut lines = Vec::new();
    let mut step = "";
    for line in script.lines.iter().take_while(|line| !line.starts_with("# Clean up")) {
        if line.starts_with("# Step ") || line.starts_with("# 'Step ") {
            step = line;
        }
        let Some(command) = hint(line) else {
            lines.push(line.clone());
            continue;
        };
        let words: Vec<&str> = command.split(' ').collect();
        if words.contains(&"-l") {
            let port = words[words.iter().position(|word| *word == ">").unwrap() - 1];
            lines.push(command.to_owned());
            let listening = format!("ip netns exec {} ss -Hltn | grep -q ':{port} '", words[3]);
            lines.push(until(&listening));
        } else if words.contains(&"nc") {
            // Its standard input stays open, as a terminal's does, and a line is typed.
            let typed = format!("/run/typed-{}", lines.len());
            lines.push(format!("mkfifo {typed} && exec {{terminal}}<>{typed}"));
            lines.push(format!("{command} <&$terminal > /dev/null &"));
            lines.push("echo a line >&$terminal".to_owned());
        } else if words.contains(&"nstat") {
            lines.push(until(&format!("{command} | awk '$2 > 0 {{ moved = 1 }} END {{ exit !moved }}'")));
        } else if let Some(subflows) = number_before(step, " subflows on both sides") {
            lines.push(until(&format!("test $({command} | grep -c '^tcp *ESTAB') -eq {subflows}")));
        }
    }
    lines.retain(|line| !line.is_empty() && !line.starts_with('#'));
    lines
}

fn traffic_flows_as_it_is_suggested() -> Outcome {
    if let Some(reason) = missing(&["mptcpize", "nc", "nstat", "ss"]) {
        return machine_lacks(&reason);
    }
    let mut outcome = Collected::default();
    for label in WITH_TRAFFIC {
        let script = with_traffic(Script::with_label(label)?);
        let begin = ["mount -t tmpfs tmpfs /run", "trap 'kill $(jobs -p)' EXIT"];
        outcome.add(label, run(&["bash"], begin.into_iter().chain(script.iter().map(String::as_str))));
    }
    outcome.judge()
}
