//! A session: what runs of scenarios share. The home namespace, what this kernel can do, and one thread for each run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine;
use crate::judge::{self, Finding, FindingKind, Verdict};
use crate::recording::Recording;
use crate::scenario::model::{Feature, Scenario};
use crate::testbed::probe::{Availability, probe};
use crate::testbed::{Home, NamespaceError};

/// Runs scenarios, several at the same time if asked to.
///
/// The privileges must have been entered before, while the process had a single thread
/// ([`crate::sys::privilege::enter`]).
#[derive(Debug)]
pub struct Session {
    home: Arc<Home>,
    known: Mutex<BTreeMap<Feature, Availability>>,
}

/// One run of a scenario, judged.
#[derive(Debug)]
pub struct Run {
    /// What was observed; `None` if it was skipped.
    pub recording: Option<Recording>,
    /// What it came to.
    pub verdict: Verdict,
    /// How long it took.
    pub duration: Duration,
}

impl Session {
    /// Makes the home namespace.
    pub fn open() -> Result<Self, NamespaceError> {
        Ok(Self { home: Home::create()?, known: Mutex::default() })
    }

    /// What this kernel has of these features. Each one is tried once.
    pub fn features(&self, wanted: &[Feature]) -> BTreeMap<Feature, Availability> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown: Vec<Feature> = wanted.iter().filter(|feature| !known.contains_key(*feature)).cloned().collect();
        if !unknown.is_empty() {
            known.extend(probe(&self.home, &unknown));
        }
        wanted.iter().filter_map(|feature| Some((feature.clone(), known.get(feature)?.clone()))).collect()
    }

    /// Runs a scenario on a thread of its own and judges it.
    pub fn run(&self, scenario: &Scenario) -> Run {
        let begin = Instant::now();
        let run = |recording, verdict| Run { recording, verdict, duration: begin.elapsed() };
        let mut wanted = vec![Feature::Mptcp];
        wanted.extend(scenario.requires.iter().cloned());
        let features = self.features(&wanted);
        let missing: Vec<String> = features
            .iter()
            .filter_map(|(feature, availability)| match availability {
                Availability::Yes => None,
                Availability::No(reason) => Some(format!("{}: {reason}", feature.word())),
            })
            .collect();
        if !missing.is_empty() {
            return run(None, Verdict::Skipped { reason: missing.join("; ") });
        }
        let words: Vec<String> = features.keys().map(Feature::word).collect();
        match self.record(scenario, &words) {
            Ok(recording) => {
                let verdict = judge::verdict(scenario, &recording);
                run(Some(recording), verdict)
            }
            Err(message) => run(None, Verdict::Error(vec![setup_finding(message)])),
        }
    }

    /// Runs it without judging.
    fn record(&self, scenario: &Scenario, features: &[String]) -> Result<Recording, String> {
        thread::scope(|scope| {
            let worker = thread::Builder::new().name("scenario".to_owned()).spawn_scoped(scope, || {
                self.home.enter_for_good().map_err(|error| error.to_string())?;
                Ok(engine::run(scenario, &self.home, features))
            });
            worker
                .map_err(|error| format!("start a thread: {error}"))?
                .join()
                .unwrap_or_else(|_| Err("the runner itself failed; this is a bug in mptcplab".to_owned()))
        })
    }
}

fn setup_finding(message: String) -> Finding {
    Finding { kind: FindingKind::Setup, place: None, summary: message, detail: String::new(), at: None }
}
