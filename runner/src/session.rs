//! A session: what runs of scenarios share, that is, the base namespace, the probed features, and the kernel log.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use indexmap::IndexMap;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::engine::{self, KernelFeatures, Run, Visitor};
use crate::instances::Machine;
use crate::judge::{self, Measures, Rules, Snapshots, Verdict};
use crate::observe::{KernelLog, LogLine};
use crate::plan::plan;
use crate::processors::Processors;
use crate::recording::Recording;
use crate::scenario::model::{Feature, Scenario};
use crate::testbed::probe::{Availability, probe, watch_listeners};
use crate::testbed::{BaseNamespace, NamespaceError};

mod regression;

pub use regression::{is_sign, regression, regressions, with_signs};

/// How long to wait for other mptcplab processes on this machine. Their longest runs take some minutes.
const OTHERS: Duration = Duration::from_secs(600);

/// Runs scenarios, from any number of threads.
///
/// The privileges must have been acquired before, while the process had a single thread
/// ([`crate::sys::privilege::enter`]).
#[derive(Debug)]
pub struct Session {
    base: Arc<BaseNamespace>,
    known: Mutex<BTreeMap<Feature, Availability>>,
    machine: Machine,
    log: Result<Mutex<Log>, String>,
    timeout_scale: OnceLock<NonZeroU32>,
    permission: OnceLock<Permission>,
    processors: Arc<Processors>,
}

/// Which programs scenarios may start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Permission {
    /// None: scenarios that start one are skipped.
    #[default]
    Nothing,
    /// Programs of these names.
    These(BTreeSet<String>),
    /// All.
    Everything,
}

impl Permission {
    /// Why it doesn't permit a program; `None` if it does.
    fn refusal(&self, program: &str) -> Option<String> {
        match self {
            Self::Everything => None,
            Self::These(names) if names.contains(program) => None,
            Self::Nothing => Some("programs are not permitted; `--allow-programs` permits them".to_owned()),
            Self::These(_) => Some(format!("it is not in the list of `--allow-programs`; add `{program}`")),
        }
    }
}

/// The kernel log since the session began.
#[derive(Debug)]
struct Log {
    log: KernelLog,
    /// Problems that are already in the recording of a run.
    told: HashSet<LogLine>,
}

impl Session {
    /// Creates the base namespace.
    pub fn open() -> Result<Self, NamespaceError> {
        let log = KernelLog::open().map(|log| Mutex::new(Log { log, told: HashSet::new() }));
        Ok(Self {
            base: BaseNamespace::create()?,
            known: Mutex::default(),
            machine: Machine::default(),
            log: log.map_err(|error| error.to_string()),
            timeout_scale: OnceLock::new(),
            permission: OnceLock::new(),
            processors: Arc::new(Processors::watched()),
        })
    }

    /// Sets the timeout scale, which multiplies deadlines and quiet periods. It is 1 unless set, and can be set once.
    pub fn set_timeout_scale(&self, scale: NonZeroU32) {
        let _ = self.timeout_scale.set(scale);
    }

    /// Permits scenarios to start programs. Nothing is permitted unless it was; it can be called once.
    pub fn permit_programs(&self, permission: Permission) {
        let _ = self.permission.set(permission);
    }

    /// Why a feature isn't available by permission alone.
    fn refusal(&self, feature: &Feature) -> Option<String> {
        let Feature::Program(name) = feature else { return None };
        self.permission.get().unwrap_or(&Permission::Nothing).refusal(name)
    }

    /// Whether the kernel log is watched, and if not, why.
    pub fn kernel_log(&self) -> Availability {
        match &self.log {
            Ok(_) => Availability::Yes,
            Err(reason) => Availability::No(reason.clone()),
        }
    }

    /// The problems that the kernel reported since the last call while nothing ran: a namespace may be taken down after
    /// its run.
    pub fn late_trouble(&self) -> Vec<LogLine> {
        let Ok(log) = &self.log else { return Vec::new() };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that can't be read any more counts like one that can't be opened.
        let lines = log.log.drain().unwrap_or_default().lines;
        lines.into_iter().filter(|line| line.trouble().is_some() && !log.told.contains(line)).collect()
    }

    /// Which of these features this kernel has. Each one is probed once in a session.
    pub fn features(&self, wanted: &BTreeSet<Feature>) -> Result<BTreeMap<Feature, Availability>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // This depends on the moment, and is never true while a run of ours is active.
        let moment = Feature::NoEventListener;
        known.remove(&moment);
        let unknown: BTreeSet<Feature> =
            wanted.iter().filter(|feature| !known.contains_key(feature)).cloned().collect();
        if !unknown.is_empty() {
            // Probes listen, too. If other processes don't finish, the probe finds them listening.
            let _place = self.machine.enter(unknown.contains(&moment), OTHERS);
            known.extend(self.in_base(|| self.probe(&unknown))??);
        }
        let availability =
            |feature: &Feature| self.refusal(feature).map(Availability::No).or_else(|| known.get(feature).cloned());
        Ok(wanted.iter().filter_map(|feature| Some((feature.clone(), availability(feature)?))).collect())
    }

    fn probe(&self, features: &BTreeSet<Feature>) -> Result<BTreeMap<Feature, Availability>, String> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("can't start the event loop: {error}"))?;
        LocalSet::new().block_on(&runtime, probe(&self.base, features)).map_err(|error| error.to_string())
    }

    /// Runs a scenario and judges it. It is skipped if the kernel lacks a feature that it requires.
    pub fn verdict(&self, scenario: &Scenario) -> Result<Verdict, String> {
        let features = self.features(&with_signs(scenario.depends_on()))?;
        if let Some(first) = regressions(scenario, &features).into_iter().next() {
            return Err(first);
        }
        if let Some(reason) = lacking(scenario, &features) {
            return Ok(Verdict::Skipped { reason });
        }
        let measures = Measures { snapshots: Snapshots::Review, rules: Rules::Apply };
        Ok(judge::verdict(scenario, &self.record(scenario)?, measures))
    }

    /// Runs a scenario, without judging it.
    pub fn record(&self, scenario: &Scenario) -> Result<Recording, String> {
        self.run(scenario).map(|run| run.recording)
    }

    /// Runs a scenario, without judging it, and returns everything that it observed.
    pub fn run(&self, scenario: &Scenario) -> Result<Run, String> {
        self.visited(scenario, None)
    }

    /// The same, with a visitor to the world at its end.
    pub fn visited(&self, scenario: &Scenario, visitor: Option<Visitor>) -> Result<Run, String> {
        if engine::abandoned() {
            return Err(engine::INTERRUPTED.to_owned());
        }
        // Whoever asks: nothing is started without permission.
        for program in scenario.programs() {
            if let Some(refusal) = self.refusal(&Feature::Program(program.command.clone())) {
                return Err(format!("the scenario starts {}: {refusal}", program.command));
            }
        }
        let kernel = self.kernel_features(scenario)?;
        let scenario = scenario.on_kernel(|feature| kernel.lacks.contains(feature)).scenario();
        let _place = self
            .machine
            .enter(scenario.exclusive, OTHERS)
            .map_err(|busy| if engine::abandoned() { engine::INTERRUPTED.to_owned() } else { busy.to_string() })?;
        let plan = plan(scenario).with_timeout_scale(*self.timeout_scale.get().unwrap_or(&NonZeroU32::MIN));
        let run = || self.in_base(|| engine::run_visited(&plan, &self.base, &kernel, visitor));
        let run = if scenario.requires.contains(&Feature::NoEventListener) { self.unheard(run)? } else { run()? };
        if engine::abandoned() {
            return Err(engine::INTERRUPTED.to_owned());
        }
        if let (Ok(log), Ok(lines)) = (&self.log, &run.kernel_log) {
            let troubles = lines.iter().filter(|line| line.trouble().is_some()).cloned();
            log.lock().unwrap_or_else(PoisonError::into_inner).told.extend(troubles);
        }
        Ok(run)
    }

    /// Which features this kernel has, of all that the scenario depends on.
    fn kernel_features(&self, scenario: &Scenario) -> Result<KernelFeatures, String> {
        let asked = scenario.requires.iter().chain(&scenario.kernel_variants.asked).cloned();
        let userspace = scenario.world.namespaces.iter().any(|namespace| namespace.userspace_path_manager);
        let features = self.features(&asked.chain(userspace.then_some(Feature::TokenDump)).collect())?;
        let processors = Some(Arc::clone(&self.processors));
        let mut kernel = KernelFeatures { processors, ..KernelFeatures::default() };
        for (feature, availability) in features {
            let side = if availability == Availability::Yes { &mut kernel.has } else { &mut kernel.lacks };
            side.insert(feature);
        }
        Ok(kernel)
    }

    /// Runs while watching for other listeners to path-manager events: another process may start to listen at any
    /// moment, and then the kernel's behaviour says nothing about the scenario.
    fn unheard(&self, run: impl FnOnce() -> Result<Run, String>) -> Result<Run, String> {
        let over = AtomicBool::new(false);
        let (tell, begun) = mpsc::channel();
        thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let runtime = Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| format!("can't start the event loop: {error}"))?;
                let begun = move || {
                    // The receiver waits until this arrives.
                    let _ = tell.send(());
                };
                self.in_base(|| LocalSet::new().block_on(&runtime, watch_listeners(&self.base, begun, &over)))?
            });
            // If nothing arrives, the watch has already ended.
            let run = begun.recv().is_ok().then(run);
            over.store(true, Ordering::Release);
            let watched = watch.join().unwrap_or_else(|_| Err("the watch for event listeners failed".to_owned()));
            watched.map_err(|reason| format!("this run can't be trusted: {reason}"))?;
            run.unwrap_or_else(|| Err("nothing watched for event listeners".to_owned()))
        })
    }

    /// Runs `work` on a new thread in the base namespace; the calling thread stays where it is.
    fn in_base<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, String> {
        let _at_work = engine::AtWork::unless_abandoned().ok_or_else(|| engine::INTERRUPTED.to_owned())?;
        thread::scope(|scope| {
            let worker = thread::Builder::new().name("scenario".to_owned()).spawn_scoped(scope, || {
                self.base.enter_for_good().map_err(|error| error.to_string())?;
                Ok(work())
            });
            let worker = worker.map_err(|error| format!("can't start a thread: {error}"))?;
            worker.join().unwrap_or_else(|_| Err("mptcplab panicked: this is a bug in mptcplab".to_owned()))
        })
    }
}

/// The features that a scenario requires: those that it names, MPTCP, what its routing takes, and its programs.
pub fn wanted(scenario: &Scenario) -> BTreeSet<Feature> {
    scenario.needs()
}

/// Which of the [`wanted`] features are missing, and why; `None` if none is. A feature that was not probed counts as
/// missing.
pub fn lacking(scenario: &Scenario, features: &BTreeMap<Feature, Availability>) -> Option<String> {
    let mut reasons: IndexMap<String, Vec<String>> = IndexMap::new();
    for feature in wanted(scenario) {
        if let Some(reason) = missing(&feature, features) {
            reasons.entry(reason).or_default().push(format!("`{}`", feature.word()));
        }
    }
    let missing: Vec<String> =
        reasons.iter().map(|(reason, features)| format!("{}: {reason}", features.join(", "))).collect();
    (!missing.is_empty()).then(|| format!("needs {}", missing.join("; ")))
}

/// Why a feature is missing; `None` if it isn't.
pub fn missing(feature: &Feature, features: &BTreeMap<Feature, Availability>) -> Option<String> {
    match features.get(feature) {
        Some(Availability::Yes) => None,
        Some(Availability::No(reason)) => Some(reason.clone()),
        None => Some("it was not probed".to_owned()),
    }
}

/// Raises the limit on file descriptors: a scenario needs some dozens, and the usual limit of 1024 is for programs that
/// use select(2). If it can't be raised, fewer scenarios run at a time.
pub fn raise_descriptor_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::example;

    #[test]
    fn whatever_is_not_known_to_be_there_is_lacking() {
        let scenario = Scenario { requires: vec![Feature::Laminar], ..example::scenario() };
        let features = |laminar| [(Feature::Mptcp, Availability::Yes), (Feature::Laminar, laminar)].into();
        assert_eq!(lacking(&scenario, &features(Availability::Yes)), None);
        let no = features(Availability::No("the flag is not kept".to_owned()));
        assert_eq!(lacking(&scenario, &no).unwrap(), "needs `laminar`: the flag is not kept");
        let only_mptcp = [(Feature::Mptcp, Availability::Yes)].into();
        assert_eq!(lacking(&scenario, &only_mptcp).unwrap(), "needs `laminar`: it was not probed");
    }

    #[test]
    fn each_scenario_needs_mptcp() {
        let scenario = Scenario { requires: Vec::new(), ..example::scenario() };
        let without = [(Feature::Mptcp, Availability::No("EPROTONOSUPPORT".to_owned()))].into();
        assert_eq!(lacking(&scenario, &without).unwrap(), "needs `mptcp`: EPROTONOSUPPORT");
    }
}
