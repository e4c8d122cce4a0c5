//! What the command line needs from the rest of mptcplab.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::OnceLock;

use crate::engine::Run;
use crate::judge::{self, Candidate, Snapshots, Verdict};
use crate::recording::{Header, Recording};
use crate::results::KernelIdentity;
use crate::scenario;
use crate::scenario::model::{Feature, Scenario};
use crate::session::{Session, raise_descriptor_limit};
use crate::sys::privilege::{self, Privilege};
pub use crate::testbed::probe::Availability;

use super::interrupt;

/// Why something can't be done, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trouble {
    /// What was attempted, on what, and what came of it. May have several lines.
    pub message: String,
    /// What one can do.
    pub hints: Vec<String>,
    /// The kernel under test has failed: not what surrounds it, nor mptcplab.
    pub kernel: bool,
}

impl Trouble {
    #[expect(clippy::needless_pass_by_value, reason = "it is what map_err() hands over")]
    pub(super) fn new(message: impl ToString) -> Self {
        Self { message: message.to_string(), ..Self::default() }
    }
}

/// Everything that the commands use. [`Kernel`] is the real one.
pub trait Lab: Sync {
    /// All variants of the scenario in a file; or all its errors, rendered.
    fn load(&self, file: &Path, colour: bool) -> Result<Vec<Scenario>, String>;
    /// The scenario of a recording; or its errors, rendered.
    fn load_recorded(&self, header: &Header, colour: bool) -> Result<Scenario, String>;
    /// The JSON schema of scenario files.
    fn schema(&self) -> serde_json::Value;
    /// Gets the privileges, as root or in a user namespace; says in words which. Called while there is one thread.
    fn enter(&self) -> Result<String, Trouble>;
    /// Tries which of these features there are. Trouble if it can't be tried: that says nothing of the kernel.
    fn probe(&self, features: &BTreeSet<Feature>) -> Result<BTreeMap<Feature, Availability>, Trouble>;
    /// Gives everything so many times as long, if that was asked for. Called after `enter`.
    fn be_patient(&self, factor: Option<NonZeroU32>);
    /// How many scenarios run at a time by default, if that isn't for this machine to say. Called after `enter`.
    fn jobs(&self) -> Option<usize> {
        None
    }
    /// Runs a scenario. What goes wrong in it is part of the recording.
    fn run(&self, scenario: &Scenario) -> Result<Run, Trouble>;
    /// Which kernel it is. Known when the privileges were entered.
    fn kernel(&self) -> KernelIdentity {
        KernelIdentity::running()
    }
    /// Whether the kernel's log is watched while scenarios run.
    fn kernel_log(&self) -> Availability;
    /// What the kernel has said about problems of its own while nothing ran, a line each.
    fn late_trouble(&self) -> Vec<String>;
    /// Holds back SIGINT and SIGTERM until they are watched for. Called while there is one thread.
    fn hold_interruptions(&self) -> Result<(), Trouble>;
    /// Calls back at the first SIGINT or SIGTERM. The second ends the program at once.
    fn watch_interruptions(&self, interrupted: Box<dyn FnOnce() + Send>) -> Result<(), Trouble>;
    /// Judges a recording, with the snapshot as `snapshots` says.
    fn verdict(&self, scenario: &Scenario, recording: &Recording, snapshots: Snapshots) -> Verdict;
    /// What could become the snapshot of a scenario.
    fn candidate(&self, scenario: &Scenario, recording: &Recording) -> Candidate {
        Candidate::of(scenario, recording)
    }
    /// What there is to tell people since the last call, beside results.
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
        self.session.get().ok_or_else(|| Trouble::new("the privileges were not entered"))
    }
}

impl Lab for Kernel {
    fn load(&self, file: &Path, colour: bool) -> Result<Vec<Scenario>, String> {
        scenario::load(file).map_err(|errors| errors.render(colour))
    }

    fn load_recorded(&self, header: &Header, colour: bool) -> Result<Scenario, String> {
        header.scenario().map_err(|errors| errors.render(colour))
    }

    fn schema(&self) -> serde_json::Value {
        scenario::json_schema()
    }

    fn enter(&self) -> Result<String, Trouble> {
        let doctor = |error: &dyn std::fmt::Display| Trouble {
            hints: vec!["`mptcplab doctor` tells what is missing".to_owned()],
            ..Trouble::new(error)
        };
        let how = privilege::enter().map_err(|error| doctor(&error))?;
        raise_descriptor_limit();
        let session = Session::open().map_err(|error| doctor(&error))?;
        // A second call finds the first one's session, which is as good.
        let _ = self.session.set(session);
        Ok(match how {
            Privilege::Root => "root".to_owned(),
            Privilege::UserNamespace => "a user namespace of its own, no root needed".to_owned(),
        })
    }

    fn probe(&self, features: &BTreeSet<Feature>) -> Result<BTreeMap<Feature, Availability>, Trouble> {
        self.session()?.features(features).map_err(Trouble::new)
    }

    fn be_patient(&self, factor: Option<NonZeroU32>) {
        if let (Ok(session), Some(factor)) = (self.session(), factor) {
            session.set_patience(factor);
        }
    }

    fn run(&self, scenario: &Scenario) -> Result<Run, Trouble> {
        self.session()?.run(scenario).map_err(Trouble::new)
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

    fn hold_interruptions(&self) -> Result<(), Trouble> {
        interrupt::hold().map_err(Trouble::new)
    }

    fn watch_interruptions(&self, interrupted: Box<dyn FnOnce() + Send>) -> Result<(), Trouble> {
        interrupt::watch(interrupted).map_err(Trouble::new)
    }

    fn verdict(&self, scenario: &Scenario, recording: &Recording, snapshots: Snapshots) -> Verdict {
        judge::verdict(scenario, recording, snapshots)
    }
}
