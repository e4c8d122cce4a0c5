//! The protocol between host and guest: a [`Question`] and its [`Answer`], as JSON.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::engine::{NamespaceFrames, Run};
use crate::observe::LogLine;
use crate::recording::{Recording, SourceText};
use crate::results::KernelIdentity;
use crate::scenario::model::{Feature, Scenario};
use crate::session::Permission;
use crate::testbed::probe::Availability;

/// A request of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Get ready: create the base namespace.
    Enter {
        /// The timeout scale.
        #[serde(rename = "patience")]
        timeout_scale: NonZeroU32,
        /// The programs that scenarios may start: those of the guest's root file system.
        #[serde(default)]
        programs: Permission,
    },
    /// Probe these features, by their words.
    Probe(Vec<String>),
    /// Run this scenario.
    Run {
        /// Its file on the host, for labels and messages.
        file: String,
        /// Its variant.
        variant: Option<String>,
        /// Its text with the variables filled in, then its topology's.
        sources: Vec<SourceText>,
    },
    /// Report the problems that the kernel logged while nothing ran.
    LateTrouble,
    /// Panic the kernel, for tests of crashes.
    Crash,
}

/// An answer of the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    /// It is ready.
    Entered {
        /// Why the kernel log isn't watched; `None` if it is.
        log: Option<String>,
        /// Which kernel it is.
        kernel: KernelIdentity,
        /// The number of its processors.
        processors: NonZeroU32,
    },
    /// For each feature, why it is missing, or `None`.
    Probed(Vec<(String, Option<String>)>),
    /// What the run observed.
    Ran(Box<Ran>),
    /// Lines of the kernel log.
    LateTrouble(Vec<String>),
    /// Why it can't be done.
    Trouble(String),
}

/// A [`Run`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ran {
    recording: Recording,
    frames: Vec<NamespaceFrames>,
    kernel_log: Result<Vec<LogLine>, String>,
}

impl Question {
    /// A description for people: the file of the running scenario, and its variant.
    pub fn subject(&self) -> Option<String> {
        match self {
            Self::Run { file, variant: Some(variant), .. } => Some(format!("{file} ({variant})")),
            Self::Run { file, variant: None, .. } => Some(file.clone()),
            Self::Crash => Some("a deliberate crash".to_owned()),
            Self::Enter { .. } | Self::Probe(_) | Self::LateTrouble => None,
        }
    }

    /// The question that runs a scenario.
    pub fn run(scenario: &Scenario) -> Self {
        Self::Run {
            file: scenario.file.display().to_string(),
            variant: scenario.variant.clone(),
            sources: scenario.sources.clone(),
        }
    }

    /// The question that probes these features.
    pub fn probe<'a>(features: impl IntoIterator<Item = &'a Feature>) -> Self {
        Self::Probe(features.into_iter().map(Feature::word).collect())
    }
}

impl From<Run> for Ran {
    fn from(run: Run) -> Self {
        Self { recording: run.recording, frames: run.frames, kernel_log: run.kernel_log }
    }
}

impl From<Ran> for Run {
    fn from(ran: Ran) -> Self {
        Self { recording: ran.recording, frames: ran.frames, kernel_log: ran.kernel_log }
    }
}

/// The result of probing a feature, by its word.
pub fn probed(feature: &Feature, availability: &Availability) -> (String, Option<String>) {
    let missing = match availability {
        Availability::Yes => None,
        Availability::No(reason) => Some(reason.clone()),
    };
    (feature.word(), missing)
}
