//! A session: what runs of scenarios share. The home namespace, what this kernel was found to have, and its log.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::engine::{self, Run};
use crate::observe::{KernelLog, LogLine};
use crate::recording::Recording;
use crate::scenario::model::{Feature, Scenario};
use crate::testbed::probe::{Availability, probe};
use crate::testbed::{Home, NamespaceError};

/// Runs scenarios, from as many threads at the same time as one likes.
///
/// The privileges must have been entered before, while the process had a single thread
/// ([`crate::sys::privilege::enter`]).
#[derive(Debug)]
pub struct Session {
    home: Arc<Home>,
    known: Mutex<BTreeMap<Feature, Availability>>,
    log: Result<Mutex<Log>, String>,
}

/// The kernel's log since the session began.
#[derive(Debug)]
struct Log {
    log: KernelLog,
    /// Troubles that a run has in its recording.
    told: HashSet<LogLine>,
}

impl Session {
    /// Makes the home namespace.
    pub fn open() -> Result<Self, NamespaceError> {
        let log = KernelLog::open().map(|log| Mutex::new(Log { log, told: HashSet::new() }));
        Ok(Self { home: Home::create()?, known: Mutex::default(), log: log.map_err(|error| error.to_string()) })
    }

    /// Whether the kernel's log is watched, and why not.
    pub fn kernel_log(&self) -> Availability {
        match &self.log {
            Ok(_) => Availability::Yes,
            Err(reason) => Availability::No(reason.clone()),
        }
    }

    /// What the kernel has said since the last call about problems of its own while nothing ran: a namespace may be
    /// taken down after its run is over.
    pub fn late_trouble(&self) -> Vec<LogLine> {
        let Ok(log) = &self.log else { return Vec::new() };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that can't be read any more says no more than one that can't be opened.
        let lines = log.log.drain().unwrap_or_default().lines;
        lines.into_iter().filter(|line| line.trouble().is_some() && !log.told.contains(line)).collect()
    }

    /// What this kernel has of these features. Each one is tried once in a session.
    pub fn features(&self, wanted: &BTreeSet<Feature>) -> Result<BTreeMap<Feature, Availability>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown: BTreeSet<Feature> =
            wanted.iter().filter(|feature| !known.contains_key(feature)).cloned().collect();
        if !unknown.is_empty() {
            known.extend(self.at_home(|| self.probe(&unknown))??);
        }
        Ok(wanted.iter().filter_map(|feature| Some((feature.clone(), known.get(feature)?.clone()))).collect())
    }

    fn probe(&self, features: &BTreeSet<Feature>) -> Result<BTreeMap<Feature, Availability>, String> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("start the event loop: {error}"))?;
        LocalSet::new().block_on(&runtime, probe(&self.home, features)).map_err(|error| error.to_string())
    }

    /// Runs a scenario, without judging it.
    pub fn record(&self, scenario: &Scenario) -> Result<Recording, String> {
        self.run(scenario).map(|run| run.recording)
    }

    /// Runs a scenario, without judging it, and keeps everything that the run has left behind.
    pub fn run(&self, scenario: &Scenario) -> Result<Run, String> {
        let features = self.features(&scenario.requires.iter().cloned().collect())?;
        let had = features.iter().filter(|(_, availability)| **availability == Availability::Yes);
        let words: Vec<String> = had.map(|(feature, _)| feature.word()).collect();
        let run = self.at_home(|| engine::run(scenario, &self.home, &words))?;
        if let (Ok(log), Ok(lines)) = (&self.log, &run.kernel_log) {
            let troubles = lines.iter().filter(|line| line.trouble().is_some()).cloned();
            log.lock().unwrap_or_else(PoisonError::into_inner).told.extend(troubles);
        }
        Ok(run)
    }

    /// On a thread of its own that lives in the home namespace: the caller's stays where it is.
    fn at_home<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, String> {
        thread::scope(|scope| {
            let worker = thread::Builder::new().name("scenario".to_owned()).spawn_scoped(scope, || {
                self.home.enter_for_good().map_err(|error| error.to_string())?;
                Ok(work())
            });
            let worker = worker.map_err(|error| format!("start a thread: {error}"))?;
            worker.join().unwrap_or_else(|_| Err("the runner itself failed; this is a defect of mptcplab".to_owned()))
        })
    }
}
