//! How late the threads of a run come, and how busy the machine is: [`Stalls`].

use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::recorder::Recorder;
use crate::files;
use crate::nanos;
use crate::processors::{Late, NOTED, PERIOD, Seat, Waited};
use crate::recording::{Busy, Observation, Stalled};

/// Watches the thread of a run.
pub(super) struct Stalls {
    task: JoinHandle<()>,
    before: Load,
}

/// What the kernel counts for the whole machine, or the control group. Nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    pressure: Option<u64>,
    stolen: Option<u64>,
    throttled: Option<u64>,
}

impl Stalls {
    /// From now on, on the event loop of the calling thread.
    pub(super) fn watch(recorder: &Rc<Recorder>) -> Self {
        let recorder = Rc::clone(recorder);
        let mut waited = Waited::of_this_thread();
        let task = tokio::task::spawn_local(async move {
            loop {
                let due = Instant::now() + PERIOD;
                sleep_until(due).await;
                let late = Instant::now().saturating_duration_since(due);
                let waited = waited.since_last();
                if late >= NOTED {
                    recorder.stalled(Stalled::Run, Late::until_now(late), waited);
                }
            }
        });
        Self { task, before: Load::now() }
    }

    /// The end: adds what was seen of the processor, and how busy the machine was, if anything came late.
    pub(super) fn finish(self, seat: Option<&Seat>, recorder: &Recorder) {
        self.task.abort();
        if let Some(seat) = seat {
            let number = seat.processor();
            for late in seat.late_since(recorder.start()) {
                recorder.stalled(Stalled::Processor { number }, late, None);
            }
            for late in seat.workers_late_since(recorder.start()) {
                recorder.stalled(Stalled::Worker { processor: number }, late, None);
            }
        }
        let (stalls, left_out) = recorder.stalls();
        if stalls > 0 {
            let now = Load::now();
            let moved = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
            recorder.note(Observation::Busy(Busy {
                left_out: u64::try_from(left_out).unwrap_or(u64::MAX),
                pressure: moved(now.pressure, self.before.pressure),
                stolen: moved(now.stolen, self.before.stolen),
                throttled: moved(now.throttled, self.before.throttled),
                of: nanos::now().saturating_sub(recorder.start()),
            }));
        }
    }
}

impl Load {
    fn now() -> Self {
        let read = |path: &str| files::kernel::read_text(path).ok();
        Self {
            pressure: read("/proc/pressure/cpu").as_deref().and_then(pressure),
            stolen: read("/proc/stat").as_deref().and_then(stolen),
            throttled: cpu_stat().and_then(|path| read(&path)).as_deref().and_then(throttled),
        }
    }
}

/// The `cpu.stat` of the process's control group, version 2.
fn cpu_stat() -> Option<String> {
    let groups = files::kernel::read_text("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(format!("/sys/fs/cgroup{group}/cpu.stat"))
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=123`, in microseconds.
fn pressure(text: &str) -> Option<u64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let total = some.split_whitespace().find_map(|field| field.strip_prefix("total="))?;
    microseconds(total)
}

/// The eighth number of the first line, in ticks of 10 ms (`USER_HZ`).
fn stolen(text: &str) -> Option<u64> {
    let all = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: u64 = all.split_whitespace().nth(7)?.parse().ok()?;
    ticks.checked_mul(10_000_000)
}

/// `throttled_usec 123`
fn throttled(text: &str) -> Option<u64> {
    microseconds(text.lines().find_map(|line| line.strip_prefix("throttled_usec "))?)
}

fn microseconds(text: &str) -> Option<u64> {
    let duration = Duration::from_micros(text.trim().parse().ok()?);
    u64::try_from(duration.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_counts_is_read() {
        let text = "some avg10=8.22 avg60=3.40 avg300=2.56 total=36807520\nfull avg10=0.00 total=7\n";
        assert_eq!(pressure(text), Some(36_807_520_000));
        let text = "cpu  10132153 290696 3084719 46828483 16683 0 25195 175628 0 0\ncpu0 1393280\n";
        assert_eq!(stolen(text), Some(1_756_280_000_000));
        assert_eq!(throttled("usage_usec 9\nnr_throttled 3\nthrottled_usec 1500\n"), Some(1_500_000));
        assert_eq!((pressure("x"), stolen("cpu 1"), throttled("usage_usec 9")), (None, None, None));
    }
}
