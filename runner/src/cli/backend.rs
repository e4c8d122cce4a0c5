//! What the command line needs from the rest of mptcplab.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::OnceLock;

use crate::engine::{Run, Visitor};
use crate::judge::{self, Candidate, Judged, Measures};
use crate::recording::{Header, Recording};
use crate::results::KernelIdentity;
use crate::scenario;
use crate::scenario::model::{Feature, Scenario};
use crate::session::{Permission, Session, raise_descriptor_limit};
use crate::sys::privilege::{self, Privilege};
pub use crate::testbed::probe::Availability;

use super::interrupt;

/// Why something can't be done, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trouble {
    /// What was attempted, on what, and the outcome. May have several lines.
    pub message: String,
    /// What to do about it.
    pub hints: Vec<String>,
    /// The kernel under test failed, not its environment or mptcplab.
    pub kernel: bool,
}

impl Trouble {
    #[expect(clippy::needless_pass_by_value, reason = "it is what map_err() hands over")]
    pub(super) fn new(message: impl ToString) -> Self {
        Self { message: message.to_string(), ..Self::default() }
    }
}

/// What the commands need of the rest of mptcplab. [`Kernel`] is the real implementation. What doesn't touch a kernel is
/// the same for all but tests.
pub trait Backend: Sync {
    /// All variants of the scenario in a file; or all its errors, rendered.
    fn load(&self, file: &Path, colour: bool) -> Result<Vec<Scenario>, String> {
        scenario::load(file).map_err(|errors| errors.render(colour))
    }
    /// The scenario of a recording; or its errors, rendered.
    fn load_recorded(&self, header: &Header, colour: bool) -> Result<Scenario, String> {
        header.scenario().map_err(|errors| errors.render(colour))
    }
    /// Acquires the privileges, as root or in a user namespace, and returns in words which. Called while there is one
    /// thread.
    fn enter(&self) -> Result<String, Trouble>;
    /// Probes these features. Trouble if they can't be probed, which says nothing about the kernel.
    fn probe(&self, features: &BTreeSet<Feature>) -> Result<BTreeMap<Feature, Availability>, Trouble>;
    /// Sets the timeout scale, if one was given, unless `enter` did so. Called after it.
    fn set_timeout_scale(&self, _scale: Option<NonZeroU32>) {}
    /// Permits scenarios to start programs, where there are any. Called after `enter`.
    fn permit_programs(&self, _permission: Permission) {}
    /// The default number of jobs, unless this machine determines it. Called after `enter`.
    fn jobs(&self) -> Option<usize> {
        None
    }
    /// Runs a scenario. Failures in it are part of the recording.
    fn run(&self, scenario: &Scenario) -> Result<Run, Trouble>;
    /// The same, with a visitor to the world at its end; not where the world is another machine's.
    fn visited(&self, scenario: &Scenario, _visitor: Visitor) -> Result<Run, Trouble> {
        self.run(scenario)
    }
    /// Which kernel it is. Known after `enter`.
    fn kernel(&self) -> KernelIdentity {
        KernelIdentity::running()
    }
    /// Whether the kernel log is watched while scenarios run.
    fn kernel_log(&self) -> Availability;
    /// The problems that the kernel reported while nothing ran, one line each.
    fn late_trouble(&self) -> Vec<String>;
    /// Blocks SIGINT and SIGTERM until something watches for them. Called while there is one thread.
    fn hold_interruptions(&self) -> Result<(), Trouble> {
        interrupt::hold().map_err(Trouble::new)
    }
    /// Calls back at the first SIGINT or SIGTERM. The second one ends the program at once.
    fn watch_interruptions(&self, interrupted: Box<dyn FnOnce() + Send>) -> Result<(), Trouble> {
        interrupt::watch(interrupted).map_err(Trouble::new)
    }
    /// Judges a recording, by these measures.
    fn judged(&self, scenario: &Scenario, recording: &Recording, measures: Measures) -> Judged {
        judge::judged(scenario, recording, measures)
    }
    /// What could become the snapshot of a scenario.
    fn candidate(&self, scenario: &Scenario, recording: &Recording) -> Candidate {
        Candidate::of(scenario, recording)
    }
    /// Messages for the user since the last call, besides results.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The kernel that mptcplab runs on.
#[derive(Debug, Default)]
pub struct Kernel {
    session: OnceLock<Session>,
}

impl Kernel {
    fn session(&self) -> Result<&Session, Trouble> {
        self.session.get().ok_or_else(|| Trouble::new("privileges were not acquired"))
    }
}

impl Backend for Kernel {
    fn enter(&self) -> Result<String, Trouble> {
        let doctor = |error: &dyn std::fmt::Display| Trouble {
            hints: vec!["`mptcplab doctor` shows what is missing".to_owned()],
            ..Trouble::new(error)
        };
        let how = privilege::enter().map_err(|error| doctor(&error))?;
        raise_descriptor_limit();
        let session = Session::open().map_err(|error| doctor(&error))?;
        // A second call finds the session of the first one, which serves as well.
        let _ = self.session.set(session);
        Ok(match how {
            Privilege::Root => "root".to_owned(),
            Privilege::UserNamespace => "a user namespace of its own, no root needed".to_owned(),
        })
    }

    fn probe(&self, features: &BTreeSet<Feature>) -> Result<BTreeMap<Feature, Availability>, Trouble> {
        self.session()?.features(features).map_err(Trouble::new)
    }

    fn set_timeout_scale(&self, scale: Option<NonZeroU32>) {
        if let (Ok(session), Some(scale)) = (self.session(), scale) {
            session.set_timeout_scale(scale);
        }
    }

    fn permit_programs(&self, permission: Permission) {
        if let Ok(session) = self.session() {
            session.permit_programs(permission);
        }
    }

    fn run(&self, scenario: &Scenario) -> Result<Run, Trouble> {
        self.session()?.run(scenario).map_err(Trouble::new)
    }

    fn visited(&self, scenario: &Scenario, visitor: Visitor) -> Result<Run, Trouble> {
        self.session()?.visited(scenario, Some(visitor)).map_err(Trouble::new)
    }

    fn kernel_log(&self) -> Availability {
        match self.session() {
            Ok(session) => session.kernel_log(),
            Err(trouble) => Availability::No(trouble.message),
        }
    }

    fn late_trouble(&self) -> Vec<String> {
        let lines = self.session().map(Session::late_trouble).unwrap_or_default();
        lines.iter().map(ToString::to_string).collect()
    }
}
