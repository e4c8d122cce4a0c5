//! One line for each scenario, and the totals.

use std::time::Duration;

use crate::judge::{Decided, RuleCounts, Verdict};
use crate::scenario::model::Scenario;
use crate::text;

use super::style::Role;
use super::{RunReport, Style, rates};

/// `PASS signal/port@ipv6 (118 ms)  title`; a scenario that was skipped has its reason instead of a time. Where a link has
/// a rate, the achieved one stands beside the time.
pub fn summary_line(run: &RunReport, style: Style) -> String {
    let title = text::one_line(&run.scenario.title);
    let took = milliseconds(run.duration);
    let mut duration = match rates::telling(run.scenario, run.rates) {
        Some(rate) => format!("{took}; {}", rate.line()),
        None => took,
    };
    if !run.compared {
        duration.push_str("; without a snapshot");
    }
    let (role, word, rest) = match run.verdict {
        Verdict::Passed => (Role::Good, "PASS", format!("({duration})  {title}")),
        Verdict::Failed(_) => (Role::Bad, "FAIL", format!("({duration})  {title}")),
        Verdict::Error(_) => (Role::Bad, "ERROR", format!("({duration})  {title}")),
        Verdict::Skipped { reason } => (Role::Warning, "SKIP", format!("({})  {title}", text::one_line(reason))),
    };
    style.finish(format!("{} {} {}", style.paint(role, word), run.label(), style.paint(Role::Faint, rest)))
}

/// Whole milliseconds below ten seconds, tenths of a second above.
pub(super) fn milliseconds(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{}.{} s", duration.as_secs(), duration.subsec_millis() / 100)
    }
}

/// The runs that took longest: `slowest: a (1203 ms), b (980 ms)`.
pub fn slowest_line(runs: &[(Duration, String)], style: Style) -> String {
    let runs: Vec<String> = runs.iter().map(|(took, label)| format!("{label} ({})", milliseconds(*took))).collect();
    style.paint(Role::Faint, format!("slowest: {}", runs.join(", ")))
}

/// How much the reference decided: `reference: 41 rules, 1,234 decisions, 3 undetermined`; and how many violations the
/// scenarios expect of this kernel.
pub fn reference_line(counts: &RuleCounts, style: Style) -> String {
    let Decided { decisions, undetermined, known_faults } = counts.total();
    let (rules, decisions) =
        (text::count(counts.by_rule.len() as u64, "rule"), text::count(decisions as u64, "decision"));
    let known = match known_faults as u64 {
        0 => String::new(),
        known => format!(", {} of this kernel", text::count(known, "known fault")),
    };
    let line = format!("reference: {rules}, {decisions}, {undetermined} undetermined{known}");
    style.paint(Role::Faint, line)
}

/// The results of the runs of one scenario: `FAIL signal/port (9 of 10 runs passed, 98 ms to 130 ms)  title`.
pub fn repetition_line(runs: &Repetitions, scenario: &Scenario, style: Style) -> String {
    let (role, word) = match runs {
        Repetitions { failed: 1.., .. } => (Role::Bad, "FAIL"),
        Repetitions { errors: 1.., .. } => (Role::Bad, "ERROR"),
        Repetitions { skipped: Some(reason), .. } => {
            let rest = format!("({})  {}", text::one_line(reason), text::one_line(&scenario.title));
            let label = text::one_line(&scenario.label());
            return style.finish(format!(
                "{} {label} {}",
                style.paint(Role::Warning, "SKIP"),
                style.paint(Role::Faint, rest)
            ));
        }
        _ => (Role::Good, "PASS"),
    };
    let all = text::count((runs.passed + runs.failed + runs.errors) as u64, "run");
    let (shortest, longest) = (milliseconds(runs.shortest), milliseconds(runs.longest));
    let times = if shortest == longest { shortest } else { format!("{shortest} to {longest}") };
    let stalled = match runs.stalled {
        0 => String::new(),
        stalled => format!(", {stalled} stalled"),
    };
    let rest = format!("({} of {all} passed{stalled}, {times})  {}", runs.passed, text::one_line(&scenario.title));
    let label = text::one_line(&scenario.label());
    style.finish(format!("{} {label} {}", style.paint(role, word), style.paint(Role::Faint, rest)))
}

/// The results of several runs of one scenario.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repetitions {
    /// As expected.
    pub passed: usize,
    /// Not as expected.
    pub failed: usize,
    /// Could not be run, or not be trusted.
    pub errors: usize,
    /// How many of these errors are due to a stall.
    pub stalled: usize,
    /// Why it was skipped, if it was.
    pub skipped: Option<String>,
    /// The duration of the shortest.
    pub shortest: Duration,
    /// The duration of the longest.
    pub longest: Duration,
}

impl Repetitions {
    /// Count one more.
    pub fn add(&mut self, verdict: &Verdict, took: Duration) {
        let first = self.passed + self.failed + self.errors == 0;
        self.shortest = if first { took } else { self.shortest.min(took) };
        self.longest = self.longest.max(took);
        self.stalled += usize::from(verdict.is_stalled());
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed(_) => self.failed += 1,
            Verdict::Error(_) => self.errors += 1,
            Verdict::Skipped { reason } => self.skipped = Some(reason.clone()),
        }
    }
}

/// Number of runs by verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// As expected.
    pub passed: usize,
    /// Not as expected.
    pub failed: usize,
    /// Could not be run, or not be trusted.
    pub errors: usize,
    /// How many of these errors are due to a stall.
    pub stalled: usize,
    /// Not run: a feature is missing.
    pub skipped: usize,
    /// Not run: an earlier one failed and `--fail-fast` was given, or the run was interrupted.
    pub left_out: usize,
    /// The run was interrupted.
    pub interrupted: bool,
    /// The expectations alone decided.
    pub without_snapshot: bool,
}

impl Totals {
    /// Count one more.
    pub fn add(&mut self, verdict: &Verdict) {
        self.stalled += usize::from(verdict.is_stalled());
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed(_) => self.failed += 1,
            Verdict::Error(_) => self.errors += 1,
            Verdict::Skipped { .. } => self.skipped += 1,
        }
    }

    /// How many runs there were, the skipped ones included.
    pub fn all(&self) -> usize {
        self.passed + self.failed + self.errors + self.skipped
    }

    /// `12 runs in 1200 ms: 10 passed, 1 failed, 1 skipped`.
    pub fn line(&self, duration: Duration, style: Style) -> String {
        let left_out = if self.interrupted { "not run: interrupted" } else { "not run after the first failure" };
        let passed = if self.without_snapshot { "passed without a snapshot" } else { "passed" };
        let in_error = match self.stalled {
            0 => "in error".to_owned(),
            stalled => format!("in error ({stalled} by a stall)"),
        };
        let parts = [
            (self.passed, passed, Role::Good),
            (self.failed, "failed", Role::Bad),
            (self.errors, in_error.as_str(), Role::Bad),
            (self.skipped, "skipped", Role::Warning),
            (self.left_out, left_out, Role::Warning),
        ];
        let mut parts: Vec<String> = parts
            .iter()
            .filter(|(number, ..)| *number > 0)
            .map(|(number, word, role)| style.paint(*role, format!("{number} {word}")))
            .collect();
        let runs = text::count(self.all() as u64, "run");
        if self.interrupted && self.left_out == 0 {
            parts.push(style.paint(Role::Warning, "interrupted"));
        }
        if parts.is_empty() {
            return format!("{runs} in {}", milliseconds(duration));
        }
        format!("{runs} in {}: {}", milliseconds(duration), parts.join(", "))
    }
}
