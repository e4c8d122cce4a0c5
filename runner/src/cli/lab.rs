//! What the command line needs from the rest of mptcplab.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::judge::Verdict;
use crate::recording::{Header, Recording};
use crate::scenario::model::{Feature, Scenario};

/// Whether a feature is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// It is.
    Yes,
    /// It isn't, and why.
    No(String),
}

/// Why something can't be done, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trouble {
    /// What was attempted, on what, and what came of it. May have several lines.
    pub message: String,
    /// What one can do.
    pub hints: Vec<String>,
}

/// Everything that the commands use. [`Kernel`] is the real one.
pub trait Lab: Sync {
    /// All variants of the scenario in a file; or all its errors, rendered.
    fn load(&self, file: &Path, colour: bool) -> Result<Vec<Scenario>, String>;
    /// The scenario of a recording; or its errors, rendered.
    fn load_recorded(&self, header: &Header, colour: bool) -> Result<Scenario, String>;
    /// The JSON schema of scenario files.
    fn schema(&self) -> serde_json::Value;
    /// Gets what the snapshots need into place; `update` accepts what is observed. Called while there is one thread.
    fn prepare_snapshots(&self, update: bool);
    /// Gets the privileges, as root or in a user namespace; says in words which. Called while there is one thread.
    fn enter(&self) -> Result<String, Trouble>;
    /// Tries which of these features there are.
    fn probe(&self, features: &BTreeSet<Feature>) -> BTreeMap<Feature, Availability>;
    /// Runs a scenario. What goes wrong in it is part of the recording.
    fn run(&self, scenario: &Scenario) -> Result<Recording, Trouble>;
    /// Judges a recording, snapshot included.
    fn verdict(&self, scenario: &Scenario, recording: &Recording) -> Verdict;
}

/// The kernel that mptcplab runs on.
pub struct Kernel;

/// Until the parts are put together: each answers that it isn't there.
impl Lab for Kernel {
    fn load(&self, file: &Path, _colour: bool) -> Result<Vec<Scenario>, String> {
        Err(format!("error: `{}` can't be read: scenario files are not part of this build\n", file.display()))
    }

    fn load_recorded(&self, _header: &Header, _colour: bool) -> Result<Scenario, String> {
        Err("error: scenario files are not part of this build\n".to_owned())
    }

    fn schema(&self) -> serde_json::Value {
        serde_json::Value::Object(serde_json::Map::new())
    }

    fn prepare_snapshots(&self, _update: bool) {}

    fn enter(&self) -> Result<String, Trouble> {
        Err(Trouble { message: "the engine is not part of this build".to_owned(), hints: Vec::new() })
    }

    fn probe(&self, features: &BTreeSet<Feature>) -> BTreeMap<Feature, Availability> {
        features
            .iter()
            .map(|feature| (feature.clone(), Availability::No("not part of this build".to_owned())))
            .collect()
    }

    fn run(&self, _scenario: &Scenario) -> Result<Recording, Trouble> {
        Err(Trouble { message: "the engine is not part of this build".to_owned(), hints: Vec::new() })
    }

    fn verdict(&self, _scenario: &Scenario, _recording: &Recording) -> Verdict {
        Verdict::Skipped { reason: "judging is not part of this build".to_owned() }
    }
}
