//! The kernel's log during a run: what the kernel says about a problem of its own goes into the recording.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::task::JoinHandle;

use super::recorder::Recorder;
use crate::observe::{KernelLog, LogLine};
use crate::recording::Observation;
use crate::sys::readiness::watch;

/// A report continues after its first line (registers, a stack trace): number of lines that belong to it.
const REPORT_LINES: usize = 80;

/// Maximum number of lines kept: more than a run can have to do with.
const MOST_LINES: usize = 2000;

/// Watches the log from its beginning to [`LogWatch::finish`].
pub(super) struct LogWatch {
    state: Rc<State>,
    task: JoinHandle<()>,
}

struct State {
    log: RefCell<KernelLog>,
    lines: RefCell<Vec<LogLine>>,
    /// How many of the next lines belong to a report.
    report: Cell<usize>,
    failed: RefCell<Option<String>>,
    recorder: Rc<Recorder>,
}

impl LogWatch {
    /// Begins to watch, or says why it can't.
    pub(super) fn start(recorder: &Rc<Recorder>) -> Result<Self, String> {
        let log = KernelLog::open().map_err(|error| error.to_string())?;
        let state = State {
            log: RefCell::new(log),
            lines: RefCell::default(),
            report: Cell::new(0),
            failed: RefCell::default(),
            recorder: Rc::clone(recorder),
        };
        Self::watch(Rc::new(state)).map_err(|error| format!("cannot wait for /dev/kmsg: {error}"))
    }

    fn watch(state: Rc<State>) -> std::io::Result<Self> {
        let descriptor = watch(std::os::fd::AsFd::as_fd(&*state.log.borrow()).try_clone_to_owned()?)?;
        let watched = Rc::clone(&state);
        let task = tokio::task::spawn_local(async move {
            while let Ok(mut guard) = descriptor.readable().await {
                // Cleared before the log is read: a line that comes in between wakes us once more, for nothing.
                guard.clear_ready();
                watched.read();
            }
        });
        Ok(Self { state, task })
    }

    /// Ends the watch, with all that came.
    pub(super) async fn finish(self) -> Result<Vec<LogLine>, String> {
        self.task.abort();
        // Cancelled, as it should be.
        let _ = self.task.await;
        self.state.read();
        match self.state.failed.take() {
            Some(reason) => Err(reason),
            None => Ok(self.state.lines.take()),
        }
    }
}

impl State {
    /// Takes in what has come. The machine's usual chatter stays out of the recording.
    fn read(&self) {
        let drained = self.log.borrow_mut().drain();
        let drained = match drained {
            Ok(drained) => drained,
            Err(error) => {
                self.failed.borrow_mut().get_or_insert(error.to_string());
                return;
            }
        };
        for line in drained.lines {
            if line.trouble().is_some() {
                self.report.set(REPORT_LINES);
            }
            if self.report.get() > 0 && line.facility == 0 {
                self.report.set(self.report.get() - 1);
                self.recorder.note(Observation::KernelLog { line: line.text.clone() });
            }
            let mut lines = self.lines.borrow_mut();
            if lines.len() < MOST_LINES {
                lines.push(line);
            }
        }
    }
}
