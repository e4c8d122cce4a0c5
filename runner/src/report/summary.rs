//! One line for each scenario, and the totals.

use std::time::Duration;

use crate::judge::Verdict;
use crate::text;

use super::style::Role;
use super::{RunReport, Style};

/// `PASS signal/port@ipv6 (118 ms)  title`; a scenario that was skipped has its reason instead of a time.
pub fn summary_line(run: &RunReport, style: Style) -> String {
    let title = text::one_line(&run.scenario.title);
    let duration = milliseconds(run.duration);
    let (role, word, rest) = match run.verdict {
        Verdict::Passed => (Role::Good, "PASS", format!("({duration})  {title}")),
        Verdict::Failed(_) => (Role::Bad, "FAIL", format!("({duration})  {title}")),
        Verdict::Error(_) => (Role::Bad, "ERROR", format!("({duration})  {title}")),
        Verdict::Skipped { reason } => (Role::Warning, "SKIP", format!("({})  {title}", text::one_line(reason))),
    };
    style.finish(format!("{} {} {}", style.paint(role, word), run.label(), style.paint(Role::Faint, rest)))
}

/// Whole milliseconds below ten seconds, tenths of a second above.
fn milliseconds(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{}.{} s", duration.as_secs(), duration.subsec_millis() / 100)
    }
}

/// How many runs came to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// As expected.
    pub passed: usize,
    /// Not as expected.
    pub failed: usize,
    /// Could not be run, or not be trusted.
    pub errors: usize,
    /// Not run: a feature is missing.
    pub skipped: usize,
    /// Not run: an earlier one failed, and `--fail-fast` was given.
    pub left_out: usize,
}

impl Totals {
    /// Count one more.
    pub fn add(&mut self, verdict: &Verdict) {
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
        let parts = [
            (self.passed, "passed", Role::Good),
            (self.failed, "failed", Role::Bad),
            (self.errors, "in error", Role::Bad),
            (self.skipped, "skipped", Role::Warning),
            (self.left_out, "left out after the first failure", Role::Warning),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(number, ..)| *number > 0)
            .map(|(number, word, role)| style.paint(*role, format!("{number} {word}")))
            .collect();
        let runs = text::count(self.all() as u64, "run");
        if parts.is_empty() {
            return format!("{runs} in {}", milliseconds(duration));
        }
        format!("{runs} in {}: {}", milliseconds(duration), parts.join(", "))
    }
}
