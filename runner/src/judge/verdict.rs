//! The result of a run: the [`Verdict`], with a [`Finding`] for each difference from what was expected.

use serde::Serialize;
use serde_json::{Value, json};

use crate::recording::Recording;
use crate::scenario::model::{Place, Range, Scenario};

use super::checks::findings;
use super::names::Names;
use super::{Candidate, Reason, RuleCounts, Rules, Snapshots, rules, stall};

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was as expected.
    Passed,
    /// Something was not.
    Failed(Vec<Finding>),
    /// It was not run.
    Skipped {
        /// The features that are missing, or why it can't be run here.
        reason: String,
    },
    /// It could not be run, or the recording can't be trusted: set-up failed, events were lost, a time limit passed.
    Error(Vec<Finding>),
}

/// One difference from what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of check failed.
    pub kind: FindingKind,
    /// Where the expectation is written.
    pub place: Option<Place>,
    /// One line: what was expected, what was observed.
    pub summary: String,
    /// More lines: sequences side by side, an extract of the time line.
    pub detail: String,
    /// The time in the recording, nanoseconds since the start, around which to look.
    pub at: Option<u64>,
    /// Possible explanations in the recording. Only the first finding of a run has any.
    pub reasons: Vec<Reason>,
    /// Expected and observed as values, for other programs.
    pub values: Option<Box<Values>>,
}

/// What was expected and what was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// A number, a range (`at_least`, `at_most`), or what has several fields.
    pub expected: Value,
    /// Of the same form; a range is compared with a number.
    pub observed: Value,
}

/// A range as a value: a number if it is one.
pub(super) fn range_value(range: &Range) -> Value {
    match (*range.start(), *range.end()) {
        (start, end) if start == end => json!(start),
        (start, u64::MAX) => json!({ "at_least": start }),
        (0, end) => json!({ "at_most": end }),
        (start, end) => json!({ "at_least": start, "at_most": end }),
    }
}

/// The kinds of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// An event list.
    Events,
    /// A counter.
    Counter,
    /// A subflow set.
    Subflows,
    /// A number of sockets.
    Sockets,
    /// `MPTCP_INFO`.
    Info,
    /// An endpoint dump.
    Endpoints,
    /// Limits.
    Limits,
    /// The kernel broke a rule of the reference.
    Rule,
    /// The kernel broke one that doesn't depend on time: what a segment says is wrong.
    WireRule,
    /// Bytes on a link.
    Bytes,
    /// MPTCP options on the wire.
    Wire,
    /// None of several alternatives.
    Either,
    /// A connection fell back to TCP unexpectedly, or did not although it should have.
    Connection,
    /// A byte arrived corrupted, or not at all.
    Integrity,
    /// A wait or quiet period ran out.
    Deadline,
    /// An operation was refused though it shouldn't be, or the other way round.
    Refusal,
    /// A filter never matched.
    Filter,
    /// A rule of a path never matched, or a path did something more or less often than it should.
    Path,
    /// The snapshot differs.
    SnapshotChanged,
    /// There is no snapshot yet.
    SnapshotNew,
    /// The kernel shows something other than what it accepted.
    Contradiction,
    /// A socket or a subflow doesn't have an option that was set.
    Option,
    /// A socket call of an application failed, or returned something unexpected.
    Application,
    /// A program ended or wrote something unexpected.
    Program,
    /// Events or packets were lost, the recording is cut off.
    Incomplete,
    /// Something could not be set up.
    Setup,
    /// The kernel lacks a feature, and has newer ones.
    Feature,
    /// The kernel log has a warning.
    Kernel,
    /// A stall was long enough to explain the other findings.
    Stalled,
}

impl FindingKind {
    /// The run itself went wrong, or its recording can't be trusted: neither a pass nor a failure of the kernel.
    pub fn is_error(self) -> bool {
        matches!(self, Self::Incomplete | Self::Setup | Self::Stalled)
    }

    /// The word used in machine-readable reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Counter => "counter",
            Self::Subflows => "subflows",
            Self::Sockets => "sockets",
            Self::Info => "info",
            Self::Endpoints => "endpoints",
            Self::Limits => "limits",
            Self::Rule | Self::WireRule => "rule",
            Self::Bytes => "bytes",
            Self::Wire => "wire",
            Self::Either => "either",
            Self::Connection => "connection",
            Self::Integrity => "integrity",
            Self::Deadline => "deadline",
            Self::Refusal => "refusal",
            Self::Filter => "filter",
            Self::Path => "path",
            Self::SnapshotChanged => "snapshot_changed",
            Self::SnapshotNew => "snapshot_new",
            Self::Contradiction => "contradiction",
            Self::Option => "option",
            Self::Application => "application",
            Self::Program => "program",
            Self::Incomplete => "incomplete",
            Self::Setup => "setup",
            Self::Feature => "feature",
            Self::Kernel => "kernel",
            Self::Stalled => "stalled",
        }
    }
}

impl Finding {
    /// A finding without place, detail and time.
    pub(super) fn new(kind: FindingKind, summary: impl Into<String>) -> Self {
        Self {
            kind,
            place: None,
            summary: summary.into(),
            detail: String::new(),
            at: None,
            reasons: Vec::new(),
            values: None,
        }
    }

    /// Where the expectation is written.
    #[must_use]
    pub(super) fn placed(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Further lines.
    #[must_use]
    pub(super) fn detailed(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// What was expected and observed, as values.
    #[must_use]
    pub(super) fn valued(mut self, expected: impl Serialize, observed: impl Serialize) -> Self {
        let value = |what: Result<Value, _>| what.unwrap_or(Value::Null);
        let (expected, observed) = (serde_json::to_value(expected), serde_json::to_value(observed));
        self.values = Some(Box::new(Values { expected: value(expected), observed: value(observed) }));
        self
    }

    /// The time around which to look.
    #[must_use]
    pub(super) fn at(mut self, at: Option<u64>) -> Self {
        self.at = at;
        self
    }
}

/// What a run is judged by, besides its expectations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measures {
    /// The snapshot.
    pub snapshots: Snapshots,
    /// The reference.
    pub rules: Rules,
}

/// The expectations and the snapshot alone, for recordings that are made up: no kernel would do that.
impl From<Snapshots> for Measures {
    fn from(snapshots: Snapshots) -> Self {
        Self { snapshots, rules: Rules::Ignore }
    }
}

/// A verdict, and how much the reference had to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// How much the rules of the reference decided; `None` if they were not applied.
    pub rules: Option<RuleCounts>,
}

impl From<Verdict> for Judged {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, rules: None }
    }
}

/// The verdict on a recorded run.
pub fn verdict(scenario: &Scenario, recording: &Recording, measures: impl Into<Measures>) -> Verdict {
    judged(scenario, recording, measures).verdict
}

/// The verdict on a recorded run: the expectations and the rules of the reference first and, if they all hold, the
/// snapshot.
///
/// The snapshot is left alone when something else is wrong: a snapshot of a run that is known to be bad would only
/// wait to be accepted by mistake.
pub fn judged(scenario: &Scenario, recording: &Recording, measures: impl Into<Measures>) -> Judged {
    let Measures { snapshots, rules } = measures.into();
    let names = Names::of(scenario, recording);
    let mut findings = findings(&names);
    if findings.iter().any(|finding| finding.kind.is_error()) {
        return Verdict::Error(findings).into();
    }
    if rules == Rules::Only {
        findings.clear();
    }
    let counts = (rules != Rules::Ignore).then(|| rules::check(&names, rules, &mut findings));
    let snapshots = if rules == Rules::Only { Snapshots::Ignore } else { snapshots };
    Judged { verdict: settled(&names, findings, snapshots), rules: counts }
}

/// The verdict, where the recording can be trusted.
fn settled(names: &Names<'_>, findings: Vec<Finding>, snapshots: Snapshots) -> Verdict {
    if !findings.is_empty() {
        return unless_stalled(names, findings);
    }
    if snapshots == Snapshots::Ignore {
        return Verdict::Passed;
    }
    // Before the snapshot is settled: what is observed in a run that stalled must not wait to be accepted.
    let candidate = Candidate::of_names(names);
    if let Some(finding) = candidate.change()
        && let Some(stalled) = stall::explanation(names, std::slice::from_ref(&finding))
    {
        return Verdict::Error(vec![stalled, finding]);
    }
    match candidate.settle(snapshots) {
        Ok(()) => Verdict::Passed,
        Err(finding) if finding.kind.is_error() => Verdict::Error(vec![finding]),
        Err(finding) => Verdict::Failed(vec![finding]),
    }
}

/// A failure, or the stall that explains it.
fn unless_stalled(names: &Names<'_>, mut findings: Vec<Finding>) -> Verdict {
    match stall::explanation(names, &findings) {
        Some(stalled) => {
            findings.insert(0, stalled);
            Verdict::Error(findings)
        }
        None => Verdict::Failed(findings),
    }
}

impl Verdict {
    /// It is an error because of a stall.
    pub fn is_stalled(&self) -> bool {
        matches!(self, Self::Error(findings) if findings.iter().any(|finding| finding.kind == FindingKind::Stalled))
    }
}
