//! What host and guest talk about: a [`Question`] and its [`Answer`], as JSON.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::engine::{NamespaceFrames, Run};
use crate::observe::LogLine;
use crate::recording::{Recording, SourceText};
use crate::results::KernelIdentity;
use crate::scenario::model::{Feature, Scenario};
use crate::testbed::probe::Availability;

/// What the host wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Get ready: make the home namespace.
    Enter {
        /// How many times as long everything may take.
        patience: NonZeroU32,
    },
    /// Which of these features there are, by their words.
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
    /// What the kernel said about problems of its own while nothing ran.
    LateTrouble,
    /// Let the kernel panic, for tests of what is made of that.
    Crash,
}

/// What the guest answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    /// It is ready.
    Entered {
        /// Why the kernel's log isn't watched; `None` if it is.
        log: Option<String>,
        /// Which kernel it is.
        kernel: KernelIdentity,
        /// How many processors it has.
        processors: NonZeroU32,
    },
    /// For each feature why there is none, if there is none.
    Probed(Vec<(String, Option<String>)>),
    /// What the run has left behind.
    Ran(Box<Ran>),
    /// Lines of the kernel's log.
    LateTrouble(Vec<String>),
    /// It can't be done; why.
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
    /// What is being done, for people: the file of the scenario that runs, and its variant.
    pub fn subject(&self) -> Option<String> {
        match self {
            Self::Run { file, variant: Some(variant), .. } => Some(format!("{file} ({variant})")),
            Self::Run { file, variant: None, .. } => Some(file.clone()),
            Self::Crash => Some("a deliberate crash".to_owned()),
            Self::Enter { .. } | Self::Probe(_) | Self::LateTrouble => None,
        }
    }

    /// To run a scenario.
    pub fn run(scenario: &Scenario) -> Self {
        Self::Run {
            file: scenario.file.display().to_string(),
            variant: scenario.variant.clone(),
            sources: scenario.sources.clone(),
        }
    }

    /// Which of these features there are.
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

/// What was found out about a feature, by its word.
pub fn probed(feature: &Feature, availability: &Availability) -> (String, Option<String>) {
    let missing = match availability {
        Availability::Yes => None,
        Availability::No(reason) => Some(reason.clone()),
    };
    (feature.word(), missing)
}
