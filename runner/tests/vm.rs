//! Machines: what becomes of kernels that don't boot, that panic, or that aren't any; that nothing is left; and that
//! scenarios run on real ones.
//!
//! What needs no kernel uses a script in the place of QEMU. Real kernels are those that `ci/fetch-kernels` has put into
//! `target/kernels`, and those in `MPTCPLAB_TEST_KERNELS` (paths of images, separated by colons); without any, these tests
//! are ignored.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

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
    ];
    let kernels = kernels();
    if kernels.is_empty() {
        let reason = "no kernel: run ci/fetch-kernels target/kernels, or set MPTCPLAB_TEST_KERNELS";
        trials.push(Trial::test(format!("a_real_kernel ({reason})"), || Ok(())).with_ignored_flag(true));
    }
    for kernel in kernels {
        let name = kernel.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (first, second) = (kernel.clone(), kernel);
        trials.push(Trial::test(format!("{name} runs a scenario"), move || a_real_kernel_runs_a_scenario(&first)));
        trials.push(Trial::test(format!("{name} panics in a scenario"), move || a_panic_fails_its_scenario(&second)));
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
    contains(&error, "no modules for the kernel 9.9.9-none");
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
    contains(&complaint(&workshop.vm(&[]).output()?, 3), "can't be understood");
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
        contains(&error, "can't be written any more");
    }
    Ok(())
}

/// Looks again and again, for ten seconds.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::yield_now();
    }
    None
}

fn a_real_kernel_runs_a_scenario(kernel: &Path) -> Result<(), Failed> {
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
    Ok(())
}

fn first_file(folder: &Path) -> std::io::Result<String> {
    let entry = fs::read_dir(folder)?.next().ok_or(std::io::ErrorKind::NotFound)??;
    fs::read_to_string(entry.path())
}

fn a_panic_fails_its_scenario(kernel: &Path) -> Result<(), Failed> {
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
    Ok(())
}
