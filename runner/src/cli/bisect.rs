//! Exit codes for `git bisect run`: 0 is good, 1 is bad, 125 can't tell. No other code is used: git takes all others up
//! to 127 as bad, and aborts the bisection at higher ones.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::judge::{FindingKind, Verdict};
use crate::report::Printer;
use crate::scenario::model::Scenario;
use crate::text;

use super::args::Cli;
use super::program::Program;
use super::{Exit, Kernel, execute};

/// What the verdicts say about the kernel, with the first reason of each kind.
#[derive(Debug, Default)]
pub(super) struct Bisection {
    good: usize,
    bad: Option<String>,
    undecided: Option<String>,
    skipped: usize,
    /// The first of those that were skipped, and why.
    skip: Option<String>,
}

impl Bisection {
    /// Takes in a verdict.
    pub(super) fn add(&mut self, scenario: &Scenario, verdict: &Verdict) {
        let label = text::one_line(&scenario.label());
        match verdict {
            Verdict::Passed => self.good += 1,
            // Without a snapshot there is nothing to differ from.
            Verdict::Failed(findings) if findings.iter().all(|finding| finding.kind == FindingKind::SnapshotNew) => {
                self.undecided.get_or_insert(format!("{label} has no snapshot yet"));
            }
            Verdict::Failed(_) => {
                self.bad.get_or_insert(format!("{label} failed"));
            }
            Verdict::Skipped { reason } => {
                self.skipped += 1;
                self.skip.get_or_insert(format!("{label} was skipped: {}", text::one_line(reason)));
            }
            Verdict::Error(_) if verdict.is_stalled() => {
                self.undecided.get_or_insert(format!("{label} stalled, so it can't be judged"));
            }
            Verdict::Error(_) => {
                self.undecided.get_or_insert(format!("{label} could not be run or trusted"));
            }
        }
    }

    /// The exit code, with a line on standard error that says why. `exit` is the one without `--bisect`; `late_trouble`:
    /// the kernel reported a problem while no scenario ran.
    pub(super) fn exit(&self, exit: Exit, late_trouble: bool, printer: &mut Printer) -> Exit {
        let trouble = late_trouble.then(|| "the kernel reported a problem of its own".to_owned());
        let (code, why) = match (exit, self.bad.clone().or(trouble), &self.undecided) {
            (Exit::Interrupted, ..) => (Exit::Undecided, "can't tell: the run was interrupted".to_owned()),
            // A failure stays a failure, whatever else could not be run.
            (_, Some(reason), _) => (Exit::Failed, format!("bad: {reason}")),
            (_, None, Some(reason)) => (Exit::Undecided, format!("can't tell: {reason}")),
            (Exit::Passed, None, None) if self.good > 0 => {
                // Skips are fine: the kernel was probed, and other scenarios have judged it.
                let skipped = self.skip.as_ref().map(|reason| format!(", {} skipped ({reason})", self.skipped));
                let passed = text::count(self.good as u64, "run");
                (Exit::Passed, format!("good: {passed} passed{}", skipped.unwrap_or_default()))
            }
            _ => match &self.skip {
                Some(reason) if self.good == 0 => (Exit::Undecided, format!("can't tell: {reason}")),
                _ => (Exit::Undecided, "can't tell: no scenario ran, or some output could not be written".to_owned()),
            },
        };
        printer.note(&format!("bisect: {why}"));
        code
    }
}

/// The exit code for all other endings: a usage error, a kernel without MPTCP, missing privileges.
pub(super) fn settle(exit: Exit, printer: &mut Printer) -> Exit {
    match exit {
        Exit::Passed | Exit::Failed | Exit::Undecided => exit,
        Exit::Usage | Exit::Environment | Exit::Skipped | Exit::Interrupted => {
            printer.note("bisect: can't tell: the scenarios were not run");
            Exit::Undecided
        }
    }
}

/// Runs a command so that even a panic ends with one of these codes.
pub(super) fn guarded(cli: Cli, printer: &mut Printer) -> Exit {
    let outcome = catch_unwind(AssertUnwindSafe(|| execute(cli, &Kernel::default(), &Program::default(), printer)));
    match outcome {
        Ok(exit @ (Exit::Passed | Exit::Failed)) => exit,
        // Its message is on standard error already.
        Ok(_) | Err(_) => Exit::Undecided,
    }
}
