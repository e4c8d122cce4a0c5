//! The program itself, killed at any instant: nothing of it is left, and it changed nothing of the network that it
//! was started in.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::Test;
use super::require::{Outcome, machine_lacks};

/// How often the program is killed.
const KILLS: u32 = 50;
/// After so many kills, a run is let live, and has to pass.
const CONTROL: u32 = 10;
/// The instants are the same each time.
const SEED: u64 = 8684;
/// Each run has it in its environment, and so has whatever it starts.
const MARK: &str = "MPTCPLAB_TEST_RUN";
/// Longer than anything here takes.
const LONGEST: Duration = Duration::from_secs(60);
/// `nobody`
const ORDINARY_USER: u32 = 65534;

const SCENARIO: &str = include_str!("never_lies/good.yaml");
/// Both kinds of links are there: a plain one, and one that is forwarded by a thread.
const PATHS: &str = "paths: { link2: { both: { delay: 1 ms } } }";
const TOPOLOGY: &str = include_str!("../../../fixtures/topologies/two-links.yaml");

/// The kernel's listener for an endpoint with a port holds the namespace; and the run has no end of its own.
const ENDLESS: &str = "title: It never ends
about: It is quiet for minutes.
topology: two-links
paths: { link2: { both: { delay: 1 ms } } }
namespaces: { server: { endpoints: [{ address: 10.0.2.1, port: 10100, flags: [signal] }] } }
matrix: { number: { one: { port: 8081 }, two: { port: 8082 } } }
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1, port: $port }
  - quiet: { period: 200 s, timeout: 300 s }
expect: { counters: { server: { MPTcpExtMPCapableSYNRX: 1 } } }
";

type Body = fn() -> Outcome;

/// The tests of this suite.
pub fn tests() -> Vec<Test> {
    let tests: [(&str, Body); 5] = [
        ("nothing_is_left_after_sigkill", nothing_is_left_after_sigkill),
        ("signals_leave_no_namespace", signals_leave_no_namespace),
        ("the_network_outside_stays_as_it_is", the_network_outside_stays_as_it_is),
        ("an_ordinary_user_can_run_it", an_ordinary_user_can_run_it),
        ("threads_that_can_not_be_made_are_no_panic", threads_that_can_not_be_made_are_no_panic),
    ];
    tests.into_iter().map(|(name, test)| Test::new(name, test)).collect()
}

/// A folder with the program, a scenario and its snapshot, that everyone may read and in which everyone may work.
struct Place {
    folder: TempDir,
    mark: String,
}

impl Place {
    fn new(mark: &str) -> Result<Self, Failed> {
        let everyone = Permissions::from_mode(0o777);
        let place = Self {
            folder: tempfile::Builder::new().permissions(everyone.clone()).tempdir()?,
            mark: format!("{mark}-{}", std::process::id()),
        };
        for folder in ["topologies", "tmp", "work"] {
            fs::create_dir(place.path(folder))?;
            fs::set_permissions(place.path(folder), everyone.clone())?;
        }
        fs::write(place.path("topologies/two-links.yaml"), TOPOLOGY)?;
        fs::write(place.path("scenario.yaml"), format!("{SCENARIO}\n{PATHS}\n"))?;
        // Under another name, so that no other run is taken for ours.
        fs::copy(env!("CARGO_BIN_EXE_mptcplab"), place.program())?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self) -> PathBuf {
        self.path("mptcplab")
    }

    /// The program with the scenario, as it is called in each test.
    fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        command
            .args(["run", "--json"])
            .arg(self.path("scenario.yaml"))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("TMPDIR", self.path("tmp"))
            .env(MARK, &self.mark)
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        command
    }

    /// Makes the snapshot. If the program can't run at all here, says why.
    fn accept(&self) -> Result<Option<String>, Failed> {
        let output = self.command().arg("--update").output()?;
        match output.status.code() {
            Some(0) => Ok(None),
            // The environment lacks something, or all is skipped.
            Some(3 | 4) if output.stdout.is_empty() || output.status.code() == Some(4) => {
                Ok(Some(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned()))
            }
            _ => Err(told(&output).into()),
        }
    }

    fn passes(&self) -> Result<(), Failed> {
        let output = self.command().output()?;
        if output.status.success() { Ok(()) } else { Err(told(&output).into()) }
    }

    /// All files that a run may have touched.
    fn files(&self) -> Result<BTreeSet<PathBuf>, Failed> {
        let mut files = BTreeSet::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                }
                files.insert(entry.path());
            }
        }
        Ok(files)
    }

    /// The processes that are left of a run, or of what it started.
    fn processes(&self) -> Vec<String> {
        let mark = format!("{MARK}={}", self.mark);
        let is_ours = |process: &Path| {
            let marked = fs::read(process.join("environ"))
                .is_ok_and(|variables| variables.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()));
            marked || fs::read_link(process.join("exe")).is_ok_and(|program| program == self.program())
        };
        let numbers = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
        let all = entries(Path::new("/proc")).into_iter().filter(|path| numbers(path));
        all.filter(|path| is_ours(path)).map(|path| path.display().to_string()).collect()
    }
}

/// What a program printed, and its end.
pub fn told(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}{err}", output.status)
}

/// What is in a folder; nothing if it is gone.
fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The network namespaces that a process holds by its threads and files.
fn namespaces(process: &Path) -> BTreeSet<PathBuf> {
    let threads = entries(&process.join("task")).into_iter().map(|task| task.join("ns/net"));
    let links = threads.chain(entries(&process.join("fd"))).chain([process.join("ns/net")]);
    links
        .filter_map(|link| fs::read_link(link).ok())
        .filter(|target| target.as_os_str().as_encoded_bytes().starts_with(b"net:["))
        .collect()
}

/// Bind mounts of network namespaces, by which they would outlive every process.
fn mounted_namespaces() -> Result<Vec<String>, Failed> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounts.lines().filter(|line| line.contains(" nsfs ")).map(str::to_owned).collect())
}

/// splitmix64
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Waits until the child has closed its standard output, which it does when it ends, but no longer than that.
pub fn wait_for_end(child: &mut Child, longest: Duration) {
    let mut output = child.stdout.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    // It ends when the child is killed.
    thread::spawn(move || {
        let _ = output.read_to_end(&mut Vec::new());
        let _ = sender.send(());
    });
    let _ = receiver.recv_timeout(longest);
}

fn nothing_is_left_after_sigkill() -> Outcome {
    let place = Place::new("killed")?;
    if let Some(obstacle) = place.accept()? {
        return machine_lacks(&obstacle);
    }
    let begin = Instant::now();
    place.passes()?;
    let life = begin.elapsed();
    let before = (place.files()?, mounted_namespaces()?, host());
    let mut random = SEED;
    let mut caught = 0;
    for kill in 0..KILLS {
        // One instant in each part of its life, and some of them in the last moments.
        let part = life / KILLS;
        let jitter = u32::try_from(next_random(&mut random) % 1000)?;
        let instant = part * kill + part * jitter / 1000;
        let mut child = place.command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        wait_for_end(&mut child, instant);
        let process = PathBuf::from(format!("/proc/{}", child.id()));
        let held: BTreeSet<_> =
            namespaces(&process).difference(&namespaces(Path::new("/proc/self"))).cloned().collect();
        caught += u32::from(!held.is_empty());
        child.kill()?;
        child.wait()?;
        // A namespace is kept alive by processes, by their files, and by mounts; of either there is none.
        let when = format!("kill {kill} after {instant:?}");
        assert_eq!(place.processes(), Vec::<String>::new(), "{when}");
        assert_eq!((place.files()?, mounted_namespaces()?, host()), before, "{when}");
        if kill % CONTROL == CONTROL - 1 {
            place
                .passes()
                .map_err(|failed| format!("the run after {when}: {}", failed.message().unwrap_or_default()))?;
        }
    }
    assert!(caught > KILLS / 4, "only {caught} of {KILLS} kills came while the program had namespaces");
    Ok(Completion::Completed)
}

/// A user namespace, in which the kernel counts network namespaces (`inc_net_namespaces`, net/core/net_namespace.c):
/// also those that no process has any more.
struct Counted {
    holder: Child,
}

impl Counted {
    fn new() -> Result<Self, Failed> {
        let mut unshare = Command::new("unshare");
        // It says that it is there, and ends with its standard input.
        unshare.args(["--user", "--map-root-user", "sh", "-c", "echo ready; read end"]);
        let mut holder = unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = [0; 6];
        holder.stdout.as_mut().unwrap().read_exact(&mut line)?;
        Ok(Self { holder })
    }

    /// The command in there.
    fn command(&self, inner: &Command) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--preserve-credentials", "--target", &self.holder.id().to_string()]);
        // The tests may run under nohup(1), or in the background of a shell, which ignores SIGINT: an ignored signal would
        // stay ignored.
        command.args(["env", "--default-signal"]);
        command.arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null());
        if let Some(folder) = inner.get_current_dir() {
            command.current_dir(folder);
        }
        command
    }

    fn shell(&self, line: &str) -> Result<Output, Failed> {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]);
        Ok(self.command(&shell).output()?)
    }

    /// As many may be made.
    fn limit(&self, namespaces: u32) -> Result<(), Failed> {
        let output = self.shell(&format!("echo {namespaces} > /proc/sys/user/max_net_namespaces"))?;
        if output.status.success() { Ok(()) } else { Err(told(&output).into()) }
    }

    /// Whether there is none: then one can be made where one is allowed.
    fn is_empty(&self) -> Result<bool, Failed> {
        self.limit(1)?;
        Ok(self.shell("unshare --net true")?.status.success())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// Waits until the program handles the signal.
fn wait_for_handler(child: &mut Child, signal: Signal) -> Result<(), Failed> {
    let deadline = Instant::now() + LONGEST;
    while Instant::now() < deadline {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
        if u64::from_str_radix(caught.trim(), 16)? >> (signal as i32 - 1) & 1 == 1 {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said)?;
            return Err(format!("the program ended before it handled the signal, {status}: {said}").into());
        }
    }
    Err("the program never handled the signal".into())
}

/// One tidy end for all signals: before anything is made, while it is probed what the kernel can do, and twice in a run.
fn signals_leave_no_namespace() -> Outcome {
    const ROUNDS: u32 = 12;
    let place = Place::new("signals")?;
    if let Some(obstacle) = place.accept()? {
        return machine_lacks(&obstacle);
    }
    fs::write(place.path("scenario.yaml"), ENDLESS)?;
    let counted = Counted::new()?;
    assert!(counted.is_empty()?, "a new user namespace has network namespaces");
    let mut seen = 0;
    for round in 0..ROUNDS {
        let which = [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT][round as usize % 3];
        counted.limit(100)?;
        let mut command = counted.command(&place.command());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        wait_for_handler(&mut child, which)?;
        // At once, while it probes what the kernel can do, and when the runs are on.
        wait_for_end(&mut child, Duration::from_millis(60) * (round / 3));
        let process = Pid::from_raw(i32::try_from(child.id())?);
        kill(process, which)?;
        let mut said = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        while lines.read_line(&mut said)? > 0 {
            if said.contains("waiting for") {
                // None is made any more.
                seen += u32::from(!counted.is_empty()?);
                kill(process, which)?;
                break;
            }
        }
        lines.read_to_string(&mut said)?;
        let when = format!("round {round}, {which}: {said}");
        assert_eq!(child.wait()?.code(), Some(130), "{when}");
        // The kernel takes namespaces down when it has time.
        let deadline = Instant::now() + LONGEST;
        while !counted.is_empty()? {
            assert!(Instant::now() < deadline, "namespaces are left: {when}");
        }
    }
    assert!(seen > 0, "no namespace was ever there");
    Ok(Completion::Completed)
}

fn the_network_outside_stays_as_it_is() -> Outcome {
    let place = Place::new("host")?;
    let before = host();
    if let Some(obstacle) = place.accept()? {
        return machine_lacks(&obstacle);
    }
    place.passes()?;
    assert_eq!(host(), before);
    assert_eq!(place.processes(), Vec::<String>::new());
    Ok(Completion::Completed)
}

/// What ip(8) is asked about the network here.
const QUESTIONS: [&str; 11] = [
    "-d link",
    "-4 addr",
    "-6 addr",
    "-4 route show table all",
    "-6 route show table all",
    "-4 rule",
    "-6 rule",
    "neigh show nud permanent",
    "mptcp endpoint",
    "mptcp limits",
    "netns list",
];

/// Everything that can be seen of the network here, but for what time alone changes.
fn host() -> Vec<String> {
    let by_ip = QUESTIONS.iter().map(|question| {
        let output = Command::new("ip").args(question.split(' ')).output();
        let text = output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned());
        text.lines().map(without_lifetimes).collect::<Vec<_>>().join("\n")
    });
    let names = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let names = names.lines().map(|line| line.split(':').next().unwrap_or_default().to_owned());
    let mut files = entries(Path::new("/proc/sys/net/mptcp"));
    files.extend(["forwarding", "rp_filter"].map(|name| Path::new("/proc/sys/net/ipv4/conf/all").join(name)));
    files.extend(["route", "if_inet6"].map(|name| Path::new("/proc/self/net").join(name)));
    files.sort();
    let read = |path: &PathBuf| format!("{}: {}", path.display(), fs::read_to_string(path).unwrap_or_default());
    by_ip.chain(names).chain(files.iter().map(read)).collect()
}

/// Addresses and routes of DHCP and router advertisements live for a time, which passes.
fn without_lifetimes(line: &str) -> String {
    let mut words = line.split_whitespace().peekable();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        if matches!(word, "valid_lft" | "preferred_lft" | "expires") {
            words.next();
        } else {
            kept.push(word);
        }
    }
    kept.join(" ")
}

/// Why nothing can be tried as an ordinary user.
fn no_ordinary_user() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root can become somebody else".to_owned());
    }
    // Asked of another program: a refusal of ours must not excuse itself.
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--net", "true"]);
    match unshare.uid(ORDINARY_USER).gid(ORDINARY_USER).output() {
        Ok(output) if !output.status.success() => {
            let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Some(format!("user namespaces are forbidden here: {reason}"))
        }
        _ => None,
    }
}

/// Root is not bound by the limit.
fn threads_that_can_not_be_made_are_no_panic() -> Outcome {
    /// Nobody else's processes count.
    const LONELY_USER: u32 = 64_321;
    if let Some(obstacle) = no_ordinary_user() {
        return machine_lacks(&obstacle);
    }
    let place = Place::new("threads")?;
    let mut refused = 0;
    for threads in 1..10 {
        let program = place.command();
        let mut command = Command::new("prlimit");
        command.arg(format!("--nproc={threads}")).arg(program.get_program()).args(program.get_args());
        command.arg("--no-evidence");
        command.current_dir(place.path("work")).uid(LONELY_USER).gid(LONELY_USER).stdin(Stdio::null());
        let output = command.output()?;
        let told = told(&output);
        assert!(!told.contains("panicked"), "{threads} threads: {told}");
        // With enough of them it runs, and there is no snapshot yet.
        assert!(matches!(output.status.code(), Some(1 | 3)), "{threads} threads: {told}");
        refused += u32::from(output.status.code() == Some(3) && told.contains("thread"));
    }
    assert!(refused > 1, "the limit was never in the way");
    Ok(Completion::Completed)
}

fn an_ordinary_user_can_run_it() -> Outcome {
    if let Some(obstacle) = no_ordinary_user() {
        return machine_lacks(&obstacle);
    }
    let as_user = |mut command: Command| command.uid(ORDINARY_USER).gid(ORDINARY_USER).output();
    let place = Place::new("user")?;
    if let Some(obstacle) = place.accept()? {
        return machine_lacks(&obstacle);
    }
    let before = (place.files()?, host());
    let output = as_user(place.command())?;
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains(r#""verdict":"passed""#), "{}", told(&output));
    assert_eq!((place.files()?, host()), before);
    Ok(Completion::Completed)
}
