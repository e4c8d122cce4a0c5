//! What this machine lets the program have: memory, open files. Said before it is needed, since Rust aborts where an
//! allocation fails.

use std::io::Write as _;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use crate::files;
use crate::text;

use super::lab::Trouble;

/// Any command needs this much address space: the program with its libraries takes half of it.
const PROGRAM_SPACE: u64 = 64 << 20;

const LIFT: &str = "`ulimit -v unlimited` lifts the limit";

/// The first scenario needs this much address space. Each thread of glibc's allocator reserves 128 MiB for a moment, of
/// which half is kept (`HEAP_MAX_SIZE`, malloc/arena.c), and a run has three or four.
const RUN_SPACE: u64 = 512 << 20;

/// Each further scenario at the same time.
const JOB_SPACE: u64 = 256 << 20;

/// Each scenario may take this much memory: rings of captured frames, and what was recorded. Most take a tenth.
const JOB_MEMORY: u64 = 32 << 20;

/// Open files of the program itself, scenarios apart.
const PROGRAM_FILES: u64 = 32;

/// Open files of a scenario. Forty are usual, for two namespaces; paths and further namespaces take more.
const JOB_FILES: u64 = 64;

/// More scenarios at the same time only wait for the locks of the kernel's network configuration.
const MOST_JOBS: usize = 1024;

/// There is too little memory, which has been said.
pub(super) struct NoSpace;

/// Refuses to go on where the program would abort for lack of memory. It is the first thing that is done, and allocates
/// nothing: not even the arguments can be read without memory. With less than the program's image and its libraries take,
/// this isn't reached: the kernel ends the program (`bprm_execve`, fs/exec.c), or its loader does.
pub(super) fn check_program() -> Result<(), NoSpace> {
    let limit = limit(Resource::RLIMIT_AS);
    if limit >= PROGRAM_SPACE {
        return Ok(());
    }
    let (needed, limit) = (PROGRAM_SPACE >> 20, limit >> 10);
    // There is nowhere else to say it.
    let _ = write!(
        std::io::stderr(),
        "error: mptcplab needs {needed} MiB of address space, and is limited to {limit} KiB (RLIMIT_AS)\n\
         hint: {LIFT}\n"
    );
    Err(NoSpace)
}

/// Refuses to run where the first scenario couldn't have what it takes.
pub(super) fn check_run() -> Result<(), Trouble> {
    has_space(limit(Resource::RLIMIT_AS), RUN_SPACE, "running scenarios")?;
    has_files(limit(Resource::RLIMIT_NOFILE))
}

fn has_space(limit: u64, needed: u64, what: &str) -> Result<(), Trouble> {
    if limit >= needed {
        return Ok(());
    }
    let (limit, needed) = (text::size(limit), text::size(needed));
    let message = format!("{what} needs {needed} of address space, and is limited to {limit} (RLIMIT_AS)");
    Err(Trouble { hints: vec![LIFT.to_owned()], ..Trouble::new(message) })
}

fn has_files(limit: u64) -> Result<(), Trouble> {
    let needed = PROGRAM_FILES + JOB_FILES;
    if limit >= needed {
        return Ok(());
    }
    let message = format!("running scenarios needs {needed} open files, and is limited to {limit} (RLIMIT_NOFILE)");
    Err(Trouble { hints: vec![format!("`ulimit -n {needed}` or more, as the user who may")], ..Trouble::new(message) })
}

/// How many scenarios fit in at the same time, and what the bound is.
pub(super) fn most_jobs() -> (usize, &'static str) {
    let files = limit(Resource::RLIMIT_NOFILE);
    let space = limit(Resource::RLIMIT_AS);
    fitting(files, space, available_memory())
}

fn fitting(files: u64, space: u64, memory: Option<u64>) -> (usize, &'static str) {
    let jobs = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
    let bounds = [
        (MOST_JOBS, "more only wait for locks of the kernel"),
        (jobs(files.saturating_sub(PROGRAM_FILES) / JOB_FILES), "the limit of open files (RLIMIT_NOFILE)"),
        (jobs(1 + space.saturating_sub(RUN_SPACE) / JOB_SPACE), "the limit of address space (RLIMIT_AS)"),
        (memory.map_or(MOST_JOBS, |memory| jobs(memory / JOB_MEMORY)), "the memory that is available"),
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
    fn the_narrowest_bound_decides() {
        let none = RLIM_INFINITY;
        assert_eq!(fitting(none, none, None), (1024, "more only wait for locks of the kernel"));
        assert_eq!(fitting(1024, none, None), (15, "the limit of open files (RLIMIT_NOFILE)"));
        assert_eq!(fitting(none, 1 << 30, None), (3, "the limit of address space (RLIMIT_AS)"));
        assert_eq!(fitting(none, none, Some(1 << 30)), (32, "the memory that is available"));
        assert_eq!(fitting(0, 0, Some(0)).0, 1);
    }

    #[test]
    fn what_is_too_little_is_said() {
        let message = has_space(1 << 20, RUN_SPACE, "running scenarios").unwrap_err().message;
        assert_eq!(message, "running scenarios needs 512 MiB of address space, and is limited to 1 MiB (RLIMIT_AS)");
        assert!(has_files(95).is_err() && has_files(96).is_ok());
        assert!(available_memory().is_some());
    }
}
