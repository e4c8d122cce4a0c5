//! How long steps may take, and how long they take at least.

use std::time::Duration;

use super::step::Action;

/// The longest that a run may take, however many steps there are: nobody waits longer for the verdict of a scenario.
pub const LONGEST_RUN: Duration = Duration::from_secs(30 * 60);

impl Action {
    /// After this time it has ended, one way or the other. Zero for what waits for nothing.
    pub fn most_time(&self) -> Duration {
        match self {
            Self::Wait { deadline, .. }
            | Self::FinishTransfer { deadline, .. }
            | Self::Close { deadline, .. }
            | Self::Quiet { deadline, .. } => *deadline,
            Self::Connect(plan) => plan.deadline,
            Self::Transfer(plan) => plan.deadline,
            Self::Listen(_)
            | Self::StopListening { .. }
            | Self::Check(_)
            | Self::SetPath(_)
            | Self::AddRule { .. }
            | Self::RemoveRule { .. }
            | Self::Release { .. }
            | Self::ExpectError { .. }
            | Self::Do(_) => Duration::ZERO,
        }
    }

    /// It takes this time even if all goes well: only a quiet period does.
    pub fn least_time(&self) -> Duration {
        match self {
            Self::Quiet { period, .. } => *period,
            _ => Duration::ZERO,
        }
    }
}
