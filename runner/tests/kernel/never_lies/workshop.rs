//! Where good scenarios are made bad: files in a folder of their own, and what runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use libtest_mimic::Failed;
use mptcplab::judge::{self, Finding, FindingKind, Snapshots, Verdict};
use mptcplab::recording::Recording;
use mptcplab::scenario::{self, model::Scenario};
use mptcplab::session::{self, Session};
use tempfile::TempDir;

/// The scenario that passes.
pub const GOOD: &str = include_str!("good.yaml");
const TOPOLOGY: &str = include_str!("../../../../fixtures/topologies/two-links.yaml");

/// A test: it is given what all of them share.
pub type Test = Box<dyn FnOnce(&Workshop) -> Result<(), Failed> + Send>;

/// What the tests share.
#[derive(Clone)]
pub struct Workshop {
    session: Arc<Session>,
    good: Arc<OnceLock<Result<Good, String>>>,
}

/// A run of the good scenario.
#[derive(Clone)]
pub struct Good {
    /// It was found to have no fault but the lack of a snapshot.
    pub recording: Recording,
    /// What its snapshot must be.
    pub canonical: String,
}

impl Workshop {
    /// The error is the reason why nothing can be tested here.
    pub fn open() -> Result<Self, String> {
        let session = Session::open().map_err(|error| error.to_string())?;
        let desk = Desk::new(GOOD).map_err(|failed| failed.message().unwrap_or_default().to_owned())?;
        let scenario = desk.load()?;
        // The tests add packet filters to it.
        let mut needed = scenario;
        needed.requires.push(mptcplab::scenario::model::Feature::Nftables);
        let features = session.features(&session::wanted(&needed))?;
        match session::lacking(&needed, &features) {
            Some(reason) => Err(reason),
            None => Ok(Self { session: Arc::new(session), good: Arc::default() }),
        }
    }

    /// Runs a scenario.
    pub fn record(&self, scenario: &Scenario) -> Result<Recording, String> {
        self.session.record(scenario)
    }

    /// The good scenario's run, without which nothing that fails would say anything.
    pub fn good(&self) -> Result<&Good, Failed> {
        let good = self.good.get_or_init(|| {
            let scenario = Desk::new(GOOD).map_err(|error| format!("{:?}", error.message()))?.load()?;
            let recording = self.record(&scenario)?;
            let findings = judge::judge(&scenario, &recording);
            if findings.is_empty() {
                let canonical = judge::canonical(&scenario, &recording);
                Ok(Good { recording, canonical })
            } else {
                Err(format!("the good scenario is not good: {findings:#?}"))
            }
        });
        good.as_ref().map_err(|message| Failed::from(message.as_str()))
    }

    /// Runs a scenario on a desk and judges it.
    pub fn verdict(&self, desk: &Desk) -> Result<Verdict, Failed> {
        let scenario = desk.load()?;
        Ok(judge::verdict(&scenario, &self.record(&scenario)?, Snapshots::Compare))
    }
}

/// A folder with a scenario in it.
pub struct Desk {
    folder: TempDir,
}

impl Desk {
    /// Puts a scenario's text and its topology into a folder.
    pub fn new(text: &str) -> Result<Self, Failed> {
        let desk = Self { folder: tempfile::tempdir()? };
        fs::create_dir(desk.path().join("topologies"))?;
        fs::write(desk.path().join("topologies/two-links.yaml"), TOPOLOGY)?;
        fs::write(desk.file(), text)?;
        Ok(desk)
    }

    /// Puts the snapshot beside it, as insta keeps it.
    pub fn with_snapshot(self, canonical: &str) -> Result<Self, Failed> {
        fs::create_dir(self.path().join("snapshots"))?;
        fs::write(
            self.path().join("snapshots/scenario.snap"),
            format!("---\nsource: scenario.yaml\n---\n{canonical}\n"),
        )?;
        Ok(self)
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The scenario's file.
    pub fn file(&self) -> PathBuf {
        self.path().join("scenario.yaml")
    }

    /// Its only variant.
    pub fn load(&self) -> Result<Scenario, String> {
        let scenarios = scenario::load(&self.file()).map_err(|diagnostics| diagnostics.render(false))?;
        scenarios.into_iter().next().ok_or_else(|| "a scenario without a variant".to_owned())
    }
}

/// Replaces something that is there exactly once: a change that changes nothing would prove nothing.
pub fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "`{from}` is to be there once, in:\n{text}");
    assert_ne!(from, to);
    text.replace(from, to)
}

/// The verdict must be bad, for this reason.
pub fn assert_found(verdict: &Verdict, kind: FindingKind, words: &str) -> Result<(), Failed> {
    let findings: &[Finding] = match verdict {
        Verdict::Failed(findings) if !kind.is_error() => findings,
        Verdict::Error(findings) if kind.is_error() => findings,
        // On a machine that stood still meanwhile, it is shown below the stall.
        Verdict::Error(findings) if findings.first().is_some_and(|first| first.kind == FindingKind::Stalled) => {
            findings
        }
        other => return Err(format!("{kind:?} `{words}` was to be found, but the verdict is {other:#?}").into()),
    };
    let found =
        |finding: &Finding| finding.kind == kind && (finding.summary.contains(words) || finding.detail.contains(words));
    if findings.iter().any(found) {
        return Ok(());
    }
    Err(format!("{kind:?} `{words}` was to be found, but it was {findings:#?}").into())
}
