//! Resource limits: memory and open files. They are checked in advance, since Rust aborts when an allocation fails.

use std::io::{Read, Write as _};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use crate::files;
use crate::text;

use super::backend::Trouble;

/// Any command needs this much address space: the program with its libraries takes half of it.
const PROGRAM_SPACE: u64 = 64 << 20;

const LIFT: &str = "lift the limit with `ulimit -v unlimited`";

/// The first scenario needs this much address space. glibc's allocator reserves 128 MiB per thread for a moment, and
/// keeps half of it (`HEAP_MAX_SIZE`, malloc/arena.c); a run has three or four threads.
const RUN_SPACE: u64 = 512 << 20;

/// Address space of each further concurrent scenario.
const JOB_SPACE: u64 = 256 << 20;

/// Memory that a scenario may need, for capture rings and its recording. Most need a tenth.
const JOB_MEMORY: u64 = 32 << 20;

/// Open files of the program itself, without scenarios.
const PROGRAM_FILES: u64 = 32;

/// Open files of a scenario. Two namespaces usually need forty; paths and further namespaces need more.
const JOB_FILES: u64 = 64;

/// More concurrent scenarios would only wait for the locks of the kernel's network configuration.
const MOST_JOBS: usize = 1024;

/// There is too little memory; the error message is already written.
pub(super) struct NoSpace;

/// Refuses to start if the program would abort for lack of memory. This comes first and allocates nothing: even reading
/// the arguments needs memory. If the image and its libraries don't fit, the kernel (`bprm_execve`, fs/exec.c), the
/// loader or Rust's runtime ends the program before this.
pub(super) fn check_program() -> Result<(), NoSpace> {
    let limit = limit(Resource::RLIMIT_AS);
    if limit >= PROGRAM_SPACE {
        return Ok(());
    }
    let (needed, limit) = (PROGRAM_SPACE >> 20, limit >> 10);
    // There is no other place to report an error of this write.
    let _ = write!(
        std::io::stderr(),
        "error: mptcplab needs {needed} MiB of address space, but the limit is {limit} KiB (RLIMIT_AS)\n\
         hint: {LIFT}\n"
    );
    Err(NoSpace)
}

/// Whether `--bisect` is among the arguments, without memory to read them into.
pub(super) fn is_bisection() -> bool {
    files::kernel::open("/proc/self/cmdline").is_ok_and(has_bisect)
}

/// Whether one of the arguments, each of which ends with a zero byte, is `--bisect`.
fn has_bisect(mut arguments: impl Read) -> bool {
    const SOUGHT: &[u8] = b"--bisect\0";
    let (mut matched, mut begins, mut buffer) = (0, true, [0; 256]);
    while let Ok(length @ 1..) = arguments.read(&mut buffer) {
        for byte in buffer.iter().take(length) {
            if begins && SOUGHT.get(matched) == Some(byte) {
                matched += 1;
            } else {
                (matched, begins) = (0, false);
            }
            if matched == SOUGHT.len() {
                return true;
            }
            if *byte == 0 {
                (matched, begins) = (0, true);
            }
        }
    }
    false
}

/// Refuses to run if the limits are too low for a single scenario.
pub(super) fn check_run() -> Result<(), Trouble> {
    has_space(limit(Resource::RLIMIT_AS), RUN_SPACE, "running scenarios")?;
    has_files(limit(Resource::RLIMIT_NOFILE))
}

fn has_space(limit: u64, needed: u64, what: &str) -> Result<(), Trouble> {
    if limit >= needed {
        return Ok(());
    }
    let (limit, needed) = (text::size(limit), text::size(needed));
    let message = format!("{what} needs {needed} of address space, but the limit is {limit} (RLIMIT_AS)");
    Err(Trouble { hints: vec![LIFT.to_owned()], ..Trouble::new(message) })
}

fn has_files(limit: u64) -> Result<(), Trouble> {
    let needed = PROGRAM_FILES + JOB_FILES;
    if limit >= needed {
        return Ok(());
    }
    let message = format!("running scenarios needs {needed} open files, but the limit is {limit} (RLIMIT_NOFILE)");
    Err(Trouble {
        hints: vec![format!("raise the limit with `ulimit -n {needed}`; beyond the hard limit, as root")],
        ..Trouble::new(message)
    })
}

/// The maximum number of concurrent scenarios, and what limits it.
pub(super) fn most_jobs() -> (usize, &'static str) {
    let files = limit(Resource::RLIMIT_NOFILE);
    let space = limit(Resource::RLIMIT_AS);
    fitting(files, space, available_memory())
}

fn fitting(files: u64, space: u64, memory: Option<u64>) -> (usize, &'static str) {
    let jobs = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
    let bounds = [
        (MOST_JOBS, "more would only wait for kernel locks"),
        (jobs(files.saturating_sub(PROGRAM_FILES) / JOB_FILES), "limited by open files (RLIMIT_NOFILE)"),
        (jobs(1 + space.saturating_sub(RUN_SPACE) / JOB_SPACE), "limited by address space (RLIMIT_AS)"),
        (memory.map_or(MOST_JOBS, |memory| jobs(memory / JOB_MEMORY)), "limited by available memory"),
    ];
    bounds.into_iter().min_by_key(|(jobs, _)| *jobs).unwrap_or((1, ""))
}

fn limit(of: Resource) -> u64 {
    getrlimit(of).map_or(RLIM_INFINITY, |(now, _)| now)
}

/// `MemAvailable` of /proc/meminfo, in bytes.
fn available_memory() -> Option<u64> {
    let text = files::kernel::read_text("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bisection_is_told_by_a_whole_argument() {
        for (arguments, expected) in [
            ("mptcplab\0--bisect\0x.yaml\0", true),
            ("mptcplab\0x.yaml\0--bisect\0", true),
            ("mptcplab\0--bisecting\0", false),
            ("mptcplab\0x--bisect\0", false),
            ("mptcplab\0--bis\0ect\0", false),
            ("mptcplab\0--bis\0--bisect\0", true),
            ("", false),
        ] {
            assert_eq!(has_bisect(arguments.as_bytes()), expected, "{arguments:?}");
        }
        let long = format!("{}\0--bisect\0", "x".repeat(5000));
        assert!(has_bisect(long.as_bytes()));
    }

    #[test]
    fn the_narrowest_bound_decides() {
        let none = RLIM_INFINITY;
        assert_eq!(fitting(none, none, None), (1024, "more would only wait for kernel locks"));
        assert_eq!(fitting(1024, none, None), (15, "limited by open files (RLIMIT_NOFILE)"));
        assert_eq!(fitting(none, 1 << 30, None), (3, "limited by address space (RLIMIT_AS)"));
        assert_eq!(fitting(none, none, Some(1 << 30)), (32, "limited by available memory"));
        assert_eq!(fitting(0, 0, Some(0)).0, 1);
    }

    #[test]
    fn what_is_too_little_is_said() {
        let message = has_space(1 << 20, RUN_SPACE, "running scenarios").unwrap_err().message;
        assert_eq!(message, "running scenarios needs 512 MiB of address space, but the limit is 1 MiB (RLIMIT_AS)");
        assert!(has_files(95).is_err() && has_files(96).is_ok());
        assert!(available_memory().is_some());
    }
}
