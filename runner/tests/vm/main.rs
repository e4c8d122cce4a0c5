//! Machines: what becomes of kernels that don't boot, that panic, or that aren't any; that nothing is left; and that
//! scenarios run on real ones.
//!
//! What needs no kernel uses a script in the place of QEMU. Real kernels are those that `ci/fetch-kernels` has put into
//! `target/kernels`, and those in `MPTCPLAB_TEST_KERNELS` (paths of images, separated by colons); without any, these tests
//! are ignored.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod cpio;
#[path = "../require/mod.rs"]
mod require;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use require::{Outcome, machine_lacks};

const SCENARIO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/subflows/endpoint.yaml");

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = vec![
        Trial::test("what_is_no_kernel_is_refused", what_is_no_kernel_is_refused),
        Trial::test("missing_modules_are_told", missing_modules_are_told),
        Trial::test("a_missing_qemu_is_told", a_missing_qemu_is_told),
        Trial::test("what_qemu_complains_about_is_told", what_qemu_complains_about_is_told),
        Trial::test("a_kernel_that_says_nothing_is_over_at_the_limit", a_kernel_that_says_nothing_is_over_at_the_limit),
        Trial::test("a_panic_at_boot_is_told", a_panic_at_boot_is_told),
        Trial::test("a_guest_that_talks_nonsense_is_told", a_guest_that_talks_nonsense_is_told),
        Trial::test("the_machine_dies_with_us", the_machine_dies_with_us),
        Trial::test("a_log_that_cannot_be_written_is_told", a_log_that_cannot_be_written_is_told),
        Trial::test("a_log_that_has_no_space_is_told", a_log_that_has_no_space_is_told),
        Trial::test("emulated_processors_take_turns", emulated_processors_take_turns),
        Trial::ignorable_test("cpio::it_understands_our_archives", cpio::it_understands_our_archives),
    ];
    let kernels = kernels();
    if kernels.is_empty() {
        let reason = "no other-kernel: run ci/fetch-kernels target/kernels, or set MPTCPLAB_TEST_KERNELS";
        trials.push(Trial::ignorable_test("a_real_kernel", move || machine_lacks(reason)));
    }
    for kernel in kernels {
        let name = kernel.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let trial = |what: &str, test: fn(&Path) -> Outcome| {
            let kernel = kernel.clone();
            Trial::ignorable_test(format!("{name} {what}"), move || test(&kernel))
        };
        trials.push(trial("runs a scenario", a_real_kernel_runs_a_scenario));
        trials.push(trial("panics in a scenario", a_panic_fails_its_scenario));
        trials.push(trial("has a second", a_second_is_not_enough));
        trials.push(trial("is killed in a scenario", a_killed_machine_costs_what_ran));
        trials.push(trial("is stopped in a scenario", a_machine_that_stands_still_is_lost));
        trials.push(trial("has a full disk", a_full_disk_is_told));
        trials.push(trial("has modules compressed with xz", modules_may_be_compressed));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Images to test with.
fn kernels() -> Vec<PathBuf> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kernels");
    let mut images: Vec<PathBuf> = fs::read_dir(fetched)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|package| fs::read_dir(package.path().join("boot")).ok())
        .flat_map(|boot| boot.flatten().map(|entry| entry.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))
        .collect();
    let named = std::env::var("MPTCPLAB_TEST_KERNELS").unwrap_or_default();
    images.extend(named.split(':').filter(|path| !path.is_empty()).map(PathBuf::from));
    images
}

/// `mptcplab vm` with these arguments and a scenario.
fn vm(kernel: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mptcplab"));
    command.arg("vm").arg("--kernel").arg(kernel).args(arguments).arg(SCENARIO).stdin(Stdio::null());
    command
}

/// A folder with a file that looks like a kernel, its modules, and a script in the place of QEMU.
struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    /// `script` is what QEMU does; `$console` and `$port` are its descriptors of the console and of the way to init.
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // As the boot protocol of x86 has it: magic, and where the version is.
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x80_u16.to_le_bytes());
        image[0x280..0x28a].copy_from_slice(b"9.9.9-none");
        fs::write(folder.path().join("image"), image).unwrap();
        let modules = folder.path().join("modules");
        fs::create_dir(&modules).unwrap();
        // One that no run needs: it is never read.
        fs::write(modules.join("parport.ko"), "").unwrap();
        let qemu = folder.path().join("qemu");
        let head = r"#!/bin/bash
for argument; do
    case $argument in
        socket,id=console,fd=*) console=${argument##*=} ;;
        socket,id=port,fd=*) port=${argument##*=} ;;
    esac
done
";
        fs::write(&qemu, format!("{head}{script}\n")).unwrap();
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn vm(&self, arguments: &[&str]) -> Command {
        let [modules, qemu] = ["modules", "qemu"].map(|name| self.path(name));
        let own = ["--kvm", "off", "--modules", modules.to_str().unwrap(), "--qemu", qemu.to_str().unwrap()];
        vm(&self.path("image"), &[&own, arguments].concat())
    }
}

/// What it says to standard error, if it ends with this exit code.
#[track_caller]
fn complaint(output: &Output, code: i32) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    err
}

#[track_caller]
fn contains(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is missing in:\n{text}");
}

fn what_is_no_kernel_is_refused() -> Result<(), Failed> {
    contains(&complaint(&vm(Path::new("/bin/true"), &[]).output()?, 3), "`/bin/true` is not a kernel");
    contains(&complaint(&vm(Path::new("/nonexistent"), &[]).output()?, 3), "can't read the kernel `/nonexistent`");
    Ok(())
}

fn missing_modules_are_told() -> Result<(), Failed> {
    let workshop = Workshop::new("exit 0");
    let error = complaint(&vm(&workshop.path("image"), &["--kvm", "off"]).output()?, 3);
    contains(&error, "no modules for kernel 9.9.9-none");
    contains(&error, "--modules");
    let error = complaint(&workshop.vm(&["--load", "warp_drive"]).output()?, 3);
    contains(&error, "warp_drive");
    Ok(())
}

fn a_missing_qemu_is_told() -> Result<(), Failed> {
    let workshop = Workshop::new("exit 0");
    let modules = workshop.path("modules");
    let mut command = vm(&workshop.path("image"), &["--kvm", "off", "--modules", modules.to_str().unwrap()]);
    let error = complaint(&command.env("PATH", "/nonexistent").output()?, 3);
    contains(&error, "qemu-system-x86");
    Ok(())
}

fn what_qemu_complains_about_is_told() -> Result<(), Failed> {
    let workshop = Workshop::new("echo 'qemu: no such machine' >&2; exit 1");
    let error = complaint(&workshop.vm(&[]).output()?, 3);
    contains(&error, "the kernel doesn't boot");
    contains(&error, "qemu: no such machine");
    Ok(())
}

fn a_kernel_that_says_nothing_is_over_at_the_limit() -> Result<(), Failed> {
    let workshop = Workshop::new("exec sleep 1000");
    let begin = Instant::now();
    let error = complaint(&workshop.vm(&["--time-limit", "1"]).output()?, 3);
    contains(&error, "the time limit of 1 s has passed");
    assert!(begin.elapsed() < Duration::from_secs(30));
    Ok(())
}

fn a_panic_at_boot_is_told() -> Result<(), Failed> {
    let workshop =
        Workshop::new("printf 'Kernel pa' >&$console; printf 'nic - not syncing: no init\\n' >&$console; exit 0");
    let error = complaint(&workshop.vm(&[]).output()?, 3);
    contains(&error, "the kernel doesn't boot");
    contains(&error, "Kernel panic - not syncing: no init");
    Ok(())
}

fn a_guest_that_talks_nonsense_is_told() -> Result<(), Failed> {
    let workshop = Workshop::new("printf 'no frame at all' >&$port; exec sleep 1000");
    contains(&complaint(&workshop.vm(&[]).output()?, 3), "the guest sent an invalid frame");
    Ok(())
}

fn the_machine_dies_with_us() -> Result<(), Failed> {
    let workshop =
        Workshop::new("echo $$ > \"${0%/*}/pid.new\"; mv \"${0%/*}/pid.new\" \"${0%/*}/pid\"; exec sleep 1000");
    let mut child = workshop.vm(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let pid = wait_for(|| fs::read_to_string(workshop.path("pid")).ok()).ok_or("the machine was not started")?;
    let process = PathBuf::from(format!("/proc/{}", pid.trim()));
    assert!(process.exists());
    child.kill()?;
    child.wait()?;
    let gone = || fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "));
    wait_for(|| gone().then_some(())).ok_or("the machine lives on")?;
    Ok(())
}

fn a_log_that_cannot_be_written_is_told() -> Result<(), Failed> {
    let workshop = Workshop::new("echo hello >&$console; exit 0");
    contains(&complaint(&workshop.vm(&["--kernel-log", "/nonexistent/log"]).output()?, 3), "/nonexistent/log");
    if Path::new("/dev/full").exists() {
        let error = complaint(&workshop.vm(&["--kernel-log", "/dev/full"]).output()?, 3);
        // A device is not replaced.
        contains(&error, "is neither a file nor a folder");
    }
    Ok(())
}

/// The disk is full when the kernel speaks, not when the log is made.
fn a_log_that_has_no_space_is_told() -> Result<(), Failed> {
    let workshop = Workshop::new("head -c 100000 /dev/zero | tr '\\0' x >&$console; echo >&$console; exit 0");
    let small = workshop.path("small");
    fs::create_dir(&small)?;
    let log = small.join("log");
    let program = workshop.vm(&["--kernel-log", log.to_str().unwrap()]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg("mount -t tmpfs -o size=16k small \"$0\" && exec \"$@\"").arg(&small);
    command.arg(program.get_program()).args(program.get_args()).stdin(Stdio::null());
    let error = complaint(&command.output()?, 3);
    contains(&error, "can't write the guest's kernel log any more: No space left on device");
    // What happened to the machine is still told; a line without an end isn't shown to its end.
    contains(&error, "the machine ended");
    contains(&error, "more characters");
    assert!(error.len() < 4096, "{} bytes", error.len());
    Ok(())
}

/// Looks again and again, for a minute.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::yield_now();
    }
    None
}

fn a_real_kernel_runs_a_scenario(kernel: &Path) -> Outcome {
    let folder = tempfile::tempdir()?;
    let recordings = folder.path().to_str().unwrap();
    let output = vm(kernel, &["--json", "--no-evidence", "--record", recordings]).env("CI", "1").output()?;
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    // Whether it passes is the kernel's business; that it has run is ours.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{out}{err}");
    assert_eq!(out.lines().count(), 2, "{out}{err}");
    contains(&err, "booted in");
    let recording = fs::read_to_string(folder.path().join("scenarios__subflows__endpoint@ipv4.jsonl"))
        .or_else(|_| first_file(folder.path()))?;
    let header: serde_json::Value = serde_json::from_str(recording.lines().next().unwrap_or_default())?;
    let release = header["kernel"].as_str().unwrap_or_default();
    contains(&err, &format!("Linux {release} "));
    assert!(recording.lines().count() > 50, "{recording}");
    Ok(Completion::Completed)
}

fn first_file(folder: &Path) -> std::io::Result<String> {
    let entry = fs::read_dir(folder)?.next().ok_or(std::io::ErrorKind::NotFound)??;
    fs::read_to_string(entry.path())
}

fn a_panic_fails_its_scenario(kernel: &Path) -> Outcome {
    let output = vm(kernel, &["--json", "--no-evidence", "-j", "1", "--crash", "ipv4"]).env("CI", "1").output()?;
    let lines: Vec<serde_json::Value> =
        String::from_utf8_lossy(&output.stdout).lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let [crashed, other] = &lines[..] else {
        return Err(format!("{lines:?}\n{}", String::from_utf8_lossy(&output.stderr)).into());
    };
    assert_eq!((output.status.code(), crashed["verdict"].as_str()), (Some(1), Some("failed")));
    let summary = crashed["findings"][0]["summary"].as_str().unwrap_or_default();
    contains(summary, "the kernel panicked: ");
    contains(summary, "sysrq triggered crash");
    // The next one has a machine of its own.
    let finding = other["findings"][0]["summary"].as_str().unwrap_or_default();
    assert!(!finding.contains("was lost"), "{finding}");
    Ok(Completion::Completed)
}

/// One processor unless another number is asked for, and never a thread for each.
fn emulated_processors_take_turns() -> Result<(), Failed> {
    let workshop = Workshop::new("echo \"$*\" > \"${0%/*}/arguments\"; exit 0");
    for (more, processors) in [(&[][..], "-smp 1 "), (&["--cpus", "3"][..], "-smp 3 ")] {
        complaint(&workshop.vm(more).output()?, 3);
        let arguments = fs::read_to_string(workshop.path("arguments"))?;
        contains(&arguments, "-accel tcg,thread=single ");
        contains(&arguments, processors);
        // The timer's check fails on a busy host.
        contains(&arguments, " no_timer_check ");
    }
    Ok(())
}

/// A run on a real kernel, in an empty folder.
struct Live {
    folder: tempfile::TempDir,
}

/// Waits for what never comes.
const ENDLESS: &str = "
title: A connection that nobody closes
about: What is waited for does not come.
topology: two-links
steps:
  - connect: { name: main, from: client, to: server, address: 10.0.1.1 }
  - wait: { event: { in: server, closed: { connection: main } }, timeout: 600 s }
  - close: { connection: main, by: client }
";

impl Live {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["temporary", "topologies"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let topology = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/topologies/two-links.yaml");
        fs::copy(topology, folder.path().join("topologies/two-links.yaml")).unwrap();
        fs::write(folder.path().join("endless.yaml"), ENDLESS).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// `mptcplab vm` with these arguments and scenarios, all at the same time. A program before it may prepare things.
    fn command(&self, before: &[&str], kernel: &Path, arguments: &[&str], scenarios: &[&str]) -> Command {
        let own = [env!("CARGO_BIN_EXE_mptcplab"), "vm", "--kernel", kernel.to_str().unwrap()];
        let words = [before, &own, &["--kvm", "off", "--json", "-j", "8"], arguments, scenarios].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("TMPDIR", self.path("temporary")).env("CI", "1").stdin(Stdio::null());
        command
    }

    /// Runs the scenario that passes and the one that never ends; does something to the machine when the first has passed.
    /// Returns how it ended, and what came of the other.
    fn disturb(&self, kernel: &Path, signal: &str) -> Result<(Output, serde_json::Value), Failed> {
        let endless = self.path("endless.yaml");
        let arguments = ["--results", &self.path("results"), "--no-evidence", "--time-limit", "10m"];
        let mut command = self.command(&[], kernel, &arguments, &[SCENARIO, &endless]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let machine = machine_of(child.id()).ok_or("there is no machine")?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        for _ in 0..2 {
            let passed: serde_json::Value = serde_json::from_str(&lines.next().ok_or("nothing has run")??)?;
            assert_eq!(passed["verdict"], "passed", "{passed}");
        }
        assert!(Command::new("kill").args([signal, &machine.to_string()]).status()?.success());
        let last = serde_json::from_str(&lines.next().ok_or("nothing came of the other")??)?;
        let output = child.wait_with_output()?;
        assert!(!Path::new(&format!("/proc/{machine}")).exists(), "the machine is left");
        self.nothing_is_left();
        Ok((output, last))
    }

    /// No file of ours; a socket would be one, too.
    #[track_caller]
    fn nothing_is_left(&self) {
        let left: Vec<_> = fs::read_dir(self.path("temporary")).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// The verdicts that were stored, sorted.
    fn stored(&self) -> Result<Vec<String>, Failed> {
        let index: serde_json::Value = serde_json::from_str(&fs::read_to_string(self.path("results/results.json"))?)?;
        let scenarios = index["scenarios"].as_array().ok_or_else(|| index.to_string())?;
        let mut verdicts: Vec<String> =
            scenarios.iter().filter_map(|scenario| Some(scenario["verdict"].as_str()?.to_owned())).collect();
        verdicts.sort();
        Ok(verdicts)
    }
}

/// The process of the machine that this process has started, as soon as there is one.
fn machine_of(process: u32) -> Option<u32> {
    let children = || {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).ok()?;
        let lists = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let all: Vec<u32> = lists.flat_map(|list| list.split(' ').flat_map(str::parse).collect::<Vec<_>>()).collect();
        // The one that lists our libraries for a moment is another, and so is one that isn't itself yet.
        all.into_iter().find(|child| {
            let name = fs::read_link(format!("/proc/{child}/exe")).unwrap_or_default();
            let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("qemu-system") || name.starts_with("linux")
        })
    };
    wait_for(children)
}

fn a_second_is_not_enough(kernel: &Path) -> Outcome {
    let live = Live::new();
    let mut command = live.command(&[], kernel, &["--no-evidence", "--time-limit", "1"], &[&live.path("endless.yaml")]);
    let begin = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let machine = machine_of(child.id());
    let output = child.wait_with_output()?;
    // A kernel that boots in less has begun with the scenario.
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &complaint(&output, 3);
    contains(&told, "the time limit of 1 s has passed");
    assert!(begin.elapsed() < Duration::from_secs(30));
    let machine = machine.ok_or("there was no machine")?;
    assert!(!Path::new(&format!("/proc/{machine}")).exists(), "the machine is left");
    live.nothing_is_left();
    Ok(Completion::Completed)
}

/// A machine that gets this signal costs the scenario that ran, and no other.
fn it_costs_what_ran(kernel: &Path, signal: &str, code: i32, verdict: &str, words: &str) -> Result<(), Failed> {
    let live = Live::new();
    let (output, last) = live.disturb(kernel, signal)?;
    complaint(&output, code);
    assert_eq!(last["verdict"], verdict, "{last}");
    contains(last["label"].as_str().unwrap_or_default(), "endless");
    contains(last["findings"][0]["summary"].as_str().unwrap_or_default(), words);
    assert_eq!(live.stored()?, [verdict, "passed", "passed"]);
    Ok(())
}

fn a_killed_machine_costs_what_ran(kernel: &Path) -> Outcome {
    it_costs_what_ran(kernel, "-KILL", 3, "error", "the machine was killed by signal 9")?;
    Ok(Completion::Completed)
}

fn a_machine_that_stands_still_is_lost(kernel: &Path) -> Outcome {
    let begin = Instant::now();
    // It looks like a kernel that hangs, and that is a failure of the kernel.
    it_costs_what_ran(kernel, "-STOP", 1, "failed", "the guest was silent for 60 s")?;
    assert!(begin.elapsed() < Duration::from_secs(240), "{:?}", begin.elapsed());
    Ok(Completion::Completed)
}

/// Results, and then evidence, on a file system that takes next to nothing.
fn a_full_disk_is_told(kernel: &Path) -> Outcome {
    let live = Live::new();
    let small = live.path("small");
    fs::create_dir(&small)?;
    let mount = "mount -t tmpfs -o size=16k small \"$0\" && exec \"$@\"";
    let before = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, &small];
    let fails = live.path("fails.yaml");
    fs::write(&fails, ENDLESS.replace("600 s", "1 ms"))?;
    // A failure stays one, without its evidence.
    for (option, scenario, code) in [("--results", SCENARIO, 3), ("--evidence", &fails, 1)] {
        let folder = format!("{small}/folder");
        let output = live.command(&before, kernel, &[option, &folder], &[scenario]).output()?;
        let error = complaint(&output, code);
        contains(&error, &folder);
        contains(&error, "No space left on device");
        live.nothing_is_left();
    }
    Ok(Completion::Completed)
}

/// The folder with the modules of a kernel of a package that was unpacked.
fn modules_of(kernel: &Path) -> Option<PathBuf> {
    let modules = kernel.parent()?.parent()?.join("lib/modules");
    fs::read_dir(modules).ok()?.flatten().map(|entry| entry.path()).next()
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn modules_may_be_compressed(kernel: &Path) -> Outcome {
    let Some(modules) = modules_of(kernel) else { return machine_lacks("the kernel has no modules beside it") };
    if !runs("xz", &["--version"]) {
        return machine_lacks("not installed: xz");
    }
    let live = Live::new();
    let folder = live.path("modules");
    assert!(runs("cp", &["-r", modules.to_str().unwrap(), &folder]));
    let compress = "find \"$0\" -name '*.ko' -exec xz -0 --check=crc32 {} + && test -z \"$(find \"$0\" -name '*.ko')\"";
    assert!(runs("sh", &["-c", compress, &folder]));
    let output = live.command(&[], kernel, &["--modules", &folder], &[SCENARIO]).output()?;
    complaint(&output, 0);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
    Ok(Completion::Completed)
}
