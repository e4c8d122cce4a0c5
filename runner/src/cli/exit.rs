//! Exit codes.

use std::process::ExitCode;

use crate::report::Totals;

/// The exit code of mptcplab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was as expected, or there was nothing to judge.
    Passed = 0,
    /// A scenario failed.
    Failed = 1,
    /// Usage error, or a scenario with errors. clap exits with the same code.
    Usage = 2,
    /// A run could not be set up or trusted, or the environment lacks a requirement.
    Environment = 3,
    /// All scenarios were skipped.
    Skipped = 4,
    /// For `git bisect run`: can't tell whether this kernel is good or bad.
    Undecided = 125,
    /// Ended by SIGINT (Ctrl-C) or SIGTERM. A shell reports the same code for a program that SIGINT killed.
    Interrupted = 130,
}

impl Exit {
    /// The exit code of a run. A failure outweighs an error, since a failure can be trusted.
    pub(super) fn of(totals: &Totals) -> Self {
        match totals {
            Totals { interrupted: true, .. } => Self::Interrupted,
            Totals { failed: 1.., .. } => Self::Failed,
            Totals { errors: 1.., .. } => Self::Environment,
            Totals { passed: 0, skipped: 1.., .. } => Self::Skipped,
            _ => Self::Passed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides() {
        let totals = |passed, failed, errors, skipped| Totals { passed, failed, errors, skipped, ..Totals::default() };
        assert_eq!(Exit::of(&totals(2, 0, 0, 0)), Exit::Passed);
        assert_eq!(Exit::of(&totals(2, 0, 0, 1)), Exit::Passed);
        assert_eq!(Exit::of(&totals(0, 0, 0, 1)), Exit::Skipped);
        assert_eq!(Exit::of(&totals(2, 0, 1, 1)), Exit::Environment);
        assert_eq!(Exit::of(&totals(2, 1, 1, 1)), Exit::Failed);
    }

    #[test]
    fn what_was_interrupted_never_passes() {
        for failed in [0, 1] {
            let totals = Totals { passed: 2, failed, interrupted: true, ..Totals::default() };
            assert_eq!(Exit::of(&totals), Exit::Interrupted);
        }
    }
}
