//! The kernel's workers: threads for deferred work. They show how late it is done ([`Workers`]).
//!
//! The path manager handles events in a worker (`mptcp_schedule_work`, net/mptcp/protocol.c) of the processor on which
//! the event arrived. One of a processor's workers runs at a time (kernel/workqueue.c), and it waits for the processor
//! like other threads: while it waits, no ADD_ADDR is echoed, but timers go on.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::waited::run_delay;
use crate::files;

/// All workers in `/proc`.
static WORKERS: LazyLock<Mutex<Workers>> = LazyLock::new(Mutex::default);

/// How long a list is valid. The kernel creates a new worker when all others of a processor are blocked.
const FRESH: Duration = Duration::from_secs(1);

/// The workers of each processor.
#[derive(Debug, Default)]
struct Workers {
    listed: Option<Instant>,
    /// Threads that aren't workers of a processor.
    others: HashSet<u32>,
    known: HashMap<u32, Arc<Worker>>,
}

/// `kworker/0:1`, for example: a worker of the processor 0.
#[derive(Debug)]
pub(super) struct Worker {
    processor: usize,
    stat: File,
    schedstat: File,
    waited: AtomicU64,
}

/// The workers of a processor.
pub(super) fn of(processor: usize) -> Vec<Arc<Worker>> {
    let mut workers = WORKERS.lock().unwrap_or_else(PoisonError::into_inner);
    if workers.listed.is_none_or(|listed| listed.elapsed() >= FRESH) {
        workers.list();
    }
    workers.known.values().filter(|worker| worker.processor == processor).cloned().collect()
}

impl Workers {
    /// In a PID namespace of its own there is none to be seen.
    fn list(&mut self) {
        self.listed = Some(Instant::now());
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let now: HashSet<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        self.others.retain(|id| now.contains(id));
        self.known.retain(|id, _| now.contains(id));
        for id in now {
            if self.others.contains(&id) || self.known.contains_key(&id) {
                continue;
            }
            match Worker::open(id) {
                Some(worker) => _ = self.known.insert(id, Arc::new(worker)),
                None => _ = self.others.insert(id),
            }
        }
    }
}

impl Worker {
    fn open(id: u32) -> Option<Self> {
        let processor = processor(&files::kernel::read_text(format!("/proc/{id}/comm")).ok()?)?;
        let open = |name: &str| files::kernel::open(format!("/proc/{id}/{name}")).ok();
        let worker =
            Self { processor, stat: open("stat")?, schedstat: open("schedstat")?, waited: AtomicU64::default() };
        worker.waited();
        Some(worker)
    }

    /// How long it has waited for the processor since the last call; a wait is reported when it is over.
    pub(super) fn waited(&self) -> Duration {
        let now = read(&self.schedstat, run_delay).unwrap_or(0);
        Duration::from_nanos(now.saturating_sub(self.waited.swap(now, Ordering::Relaxed)))
    }

    /// Whether it is idle: it neither runs, nor waits for the processor, nor for a lock.
    pub(super) fn is_idle(&self) -> bool {
        read(&self.stat, state).is_none_or(|state| matches!(state, 'I' | 'S'))
    }
}

fn read<T>(file: &File, value: impl Fn(&str) -> Option<T>) -> Option<T> {
    let mut buffer = [0; 128];
    let length = file.read_at(&mut buffer, 0).ok()?;
    value(std::str::from_utf8(buffer.get(..length)?).ok()?)
}

/// The processor of a worker, by its name: `kworker/1:2-events`, but neither `kworker/1:0H` (high priority), nor
/// `kworker/u8:3` (of no processor). `wq_worker_comm` and `create_worker` (kernel/workqueue.c) write it.
fn processor(name: &str) -> Option<usize> {
    let (processor, rest) = name.trim_end().strip_prefix("kworker/")?.split_once(':')?;
    let (id, _) = rest.split_once(['-', '+']).unwrap_or((rest, ""));
    id.parse::<u32>().ok()?;
    processor.parse().ok()
}

/// The third field of `/proc/ID/stat`; the second one is the name, in parentheses.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_told_by_their_names() {
        for (name, expected) in [
            ("kworker/0:1-mld\n", Some(0)),
            ("kworker/12:34+events_power_efficient\n", Some(12)),
            ("kworker/1:2\n", Some(1)),
            ("kworker/1:0H-kblockd\n", None),
            ("kworker/u8:3-kvfree_rcu_reclaim\n", None),
            ("kworker/R-netns\n", None),
            ("kworker/x:1\n", None),
            ("bash\n", None),
        ] {
            assert_eq!(processor(name), expected, "{name}");
        }
    }

    #[test]
    fn states_are_read() {
        assert_eq!(state("7 (kworker/0:0-events) I 2 0 0 0 -1 69238880"), Some('I'));
        assert_eq!(state("7 (a) b) R 2 0"), Some('R'));
        assert_eq!(state("7"), None);
    }

    #[test]
    fn a_busy_thread_is_not_idle_and_its_waiting_is_counted_once() {
        // This thread stands for a worker: where it reads, it runs.
        let open = |name: &str| files::kernel::open(format!("/proc/thread-self/{name}")).unwrap();
        let worker =
            Worker { processor: 0, stat: open("stat"), schedstat: open("schedstat"), waited: AtomicU64::default() };
        assert!(!worker.is_idle());
        worker.waited();
        let begin = Instant::now();
        assert!(worker.waited() <= begin.elapsed() + Duration::from_millis(1));
    }
}
