//! Machines: [`Machine::start`] starts QEMU or User-Mode Linux, with a console and a channel to its init.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::image::{Image, Kind};
use super::places::{PORT, PROGRAM};
use crate::sys::child::spawn_bound;

/// The program that emulates a machine.
const QEMU: &str = "qemu-system-x86_64";

/// Maximum time between the end of a process's streams and its exit.
const MOMENT: Duration = Duration::from_secs(1);

/// The configuration of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// QEMU, if not the one in the search path.
    pub qemu: Option<PathBuf>,
    /// In MiB.
    pub memory: u32,
    /// Processors, if not the default of the [`Accelerator`]. User-Mode Linux has one.
    pub cpus: Option<u32>,
    /// More arguments for the kernel.
    pub append: Option<String>,
}

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor itself.
    Kvm,
    /// QEMU, which translates them.
    Emulation,
}

/// The default maximum, since more processors are hardly ever used.
const MOST_CPUS: u32 = 4;

impl Accelerator {
    /// QEMU's name for it.
    ///
    /// Emulated processors take turns on one thread. With a thread for each, one may translate code while another
    /// changes it, and keep the stale translation: Linux patches its own code at run time (`text_poke_bp_batch`,
    /// arch/x86/kernel/alternative.c), and crashes on the temporary breakpoint (`Oops: int3`). QEMU takes its locks
    /// early enough since 8.1 (commit deba78709ae8), but older versions are in use.
    fn word(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Emulation => "tcg,thread=single",
        }
    }

    /// QEMU's name for its most capable processor.
    fn processor(self) -> &'static str {
        match self {
            Self::Kvm => "host",
            Self::Emulation => "max",
        }
    }

    /// The default number of processors. Processors that take turns are no faster than one.
    fn cpus(self) -> u32 {
        let here = || available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok());
        match self {
            Self::Kvm => here().unwrap_or(1).min(MOST_CPUS),
            Self::Emulation => 1,
        }
    }
}

/// A channel to init and back.
#[derive(Debug)]
pub struct Channel {
    /// Our end.
    pub stream: UnixStream,
    /// Maximum number of bytes in flight to the guest.
    pub window: usize,
}

/// A port accepts everything; this only limits it.
const PORT_WINDOW: usize = 64 << 10;
/// A serial line has room for 4096 bytes in the guest (`N_TTY_BUF_SIZE`, drivers/tty/n_tty.c). Once that is full,
/// User-Mode Linux doesn't resume reading by itself.
const LINE_WINDOW: usize = 1024;

/// A running machine. It ends when this is dropped, or when the thread that started it ends.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    /// Output of the kernel and the firmware.
    pub console: UnixStream,
    /// The channels for frames.
    pub channels: Vec<Channel>,
}

impl Kind {
    /// The serial line to the host, for machines without a virtio port.
    pub fn line(self) -> &'static str {
        match self {
            // The first one is the console.
            Self::X86 => "ttyS1",
            Self::UserMode => "ttyS0",
        }
    }
}

impl Machine {
    /// Starts a machine with this kernel and initial file system.
    pub fn start(image: &Image, initramfs: &File, build: &Build, accelerator: Accelerator) -> Result<Self, String> {
        match image.kind {
            Kind::X86 => qemu(image, initramfs, build, accelerator).map_err(|error| no_qemu(build, &error)),
            Kind::UserMode => user_mode(image, initramfs, build)
                .map_err(|error| format!("can't run `{}`: {error}", image.path.display())),
        }
    }

    /// Standard error of the program.
    pub fn complaints(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// How it ended, after all its streams have ended; `None` if it still runs.
    pub fn ended_soon(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + MOMENT;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => {}
                Ok(status) => return status,
                Err(_) => return None,
            }
            // A process that is about to end has no descriptor left to wait for.
            let _ = poll(&mut [], PollTimeout::from(1_u8));
        }
    }

    fn kill(&mut self) {
        // The whole group: User-Mode Linux is several processes.
        let group = Pid::from_raw(self.child.id().cast_signed());
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = killpg(group, Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

fn no_qemu(build: &Build, error: &io::Error) -> String {
    match &build.qemu {
        None if error.kind() == io::ErrorKind::NotFound => format!(
            "`{QEMU}` not found; install it (Debian, Ubuntu: `apt-get install qemu-system-x86`), or name it with `--qemu`"
        ),
        None => format!("can't run `{QEMU}`: {error}"),
        Some(qemu) => format!("can't run `{}`: {error}", qemu.display()),
    }
}

/// Kernel arguments of every machine.
fn arguments(build: &Build, own: &str) -> String {
    // After a panic the machine ends, which the host notices.
    let common = format!("rdinit={PROGRAM} panic=-1 loglevel=5");
    let more = build.append.as_deref().unwrap_or_default();
    format!("{own} {common} {more}").trim_end().to_owned()
}

/// Kernel arguments for QEMU. Two facts about clocks are given, since the kernel may get them wrong on a busy host:
/// that the time stamp counter is reliable, and that the timer ticks (`timer_irq_works`,
/// arch/x86/kernel/apic/io_apic.c, wants four ticks in 40 ms, or panics).
const X86_ARGUMENTS: &str = "console=ttyS0 earlyprintk=ttyS0 tsc=reliable no_timer_check random.trust_cpu=on";

fn qemu(image: &Image, initramfs: &File, build: &Build, accelerator: Accelerator) -> io::Result<Machine> {
    let (console, far_console) = UnixStream::pair()?;
    let (port, far_port) = UnixStream::pair()?;
    let (line, far_line) = UnixStream::pair()?;
    let socket = |name: &str, end: &UnixStream| format!("socket,id={name},fd={}", end.as_raw_fd());
    let unpacked = image.unpacked.as_deref().map(in_memory).transpose()?;
    let kernel = unpacked.as_ref().map_or_else(|| fs::canonicalize(&image.path), |file| Ok(own_descriptor(file)))?;
    let mut command = Command::new(build.qemu.as_deref().unwrap_or(Path::new(QEMU)));
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35,hpet=off"])
        .args(["-cpu", accelerator.processor(), "-accel", accelerator.word()])
        .args(["-smp", &build.cpus.unwrap_or(accelerator.cpus()).to_string(), "-m", &format!("{}M", build.memory)])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(own_descriptor(initramfs))
        .args(["-append", &arguments(build, X86_ARGUMENTS)])
        .args(["-chardev", &socket("console", &far_console), "-serial", "chardev:console"])
        .args(["-chardev", &socket("line", &far_line), "-serial", "chardev:line"])
        .args(["-device", "virtio-serial-pci", "-chardev", &socket("port", &far_port)])
        .args(["-device", &format!("virtserialport,chardev=port,name={PORT}")]);
    let mut descriptors = vec![initramfs.as_fd(), far_console.as_fd(), far_port.as_fd(), far_line.as_fd()];
    descriptors.extend(unpacked.iter().map(File::as_fd));
    start(
        command,
        &descriptors,
        console,
        vec![Channel { stream: port, window: PORT_WINDOW }, Channel { stream: line, window: LINE_WINDOW }],
    )
}

fn user_mode(image: &Image, initramfs: &File, build: &Build) -> io::Result<Machine> {
    let (console, far_console) = UnixStream::pair()?;
    let (line, far_line) = UnixStream::pair()?;
    let (console_fd, line_fd) = (far_console.as_raw_fd(), far_line.as_raw_fd());
    let own = format!("con0=fd:{console_fd},fd:{console_fd} con=null ssl0=fd:{line_fd},fd:{line_fd} ssl=null");
    let mut command = Command::new(fs::canonicalize(&image.path)?);
    // It wants a folder for its control socket. A folder that accepts no file leaves nothing behind.
    command.arg("uml_dir=/proc/self/").arg(format!("mem={}M", build.memory)).arg({
        let mut initrd = OsString::from("initrd=");
        initrd.push(own_descriptor(initramfs));
        initrd
    });
    command.args(arguments(build, &own).split_whitespace());
    start(
        command,
        &[initramfs.as_fd(), far_console.as_fd(), far_line.as_fd()],
        console,
        vec![Channel { stream: line, window: LINE_WINDOW }],
    )
}

/// From here on only the machine has the far ends, so the streams end with it.
fn start(
    mut command: Command,
    descriptors: &[BorrowedFd<'_>],
    console: UnixStream,
    channels: Vec<Channel>,
) -> io::Result<Machine> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = spawn_bound(&mut command, descriptors)?;
    Ok(Machine { child, console, channels })
}

/// An anonymous file in memory.
fn in_memory(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"mptcplab-kernel", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(content)?;
    Ok(file)
}

/// The path of an inherited descriptor, in the child process.
fn own_descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
