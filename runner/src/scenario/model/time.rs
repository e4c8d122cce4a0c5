//! How long steps may take, and how long they take at least.

use std::time::Duration;

use super::step::{Action, ConnectPlan, TransferPlan};
use super::{RunPlan, StartPlan};

/// The longest that a run may take, however many steps there are: nobody waits longer for the verdict of a scenario.
pub const LONGEST_RUN: Duration = Duration::from_secs(30 * 60);

/// The timeout of a step, borrowed as the action is: the one list of steps with a timeout, and of those without.
macro_rules! timeout_of {
    ($action:expr) => {
        match $action {
            Self::Wait { deadline, .. }
            | Self::FinishTransfer { deadline, .. }
            | Self::Close { deadline, .. }
            | Self::Accept { deadline, .. }
            | Self::Write { deadline, .. }
            | Self::Read { deadline, .. }
            | Self::Quiet { deadline, .. }
            | Self::Connect(ConnectPlan { deadline, .. })
            | Self::Transfer(TransferPlan { deadline, .. })
            | Self::Start(StartPlan { deadline, .. })
            | Self::Run(RunPlan { deadline, .. })
            | Self::FinishProgram { deadline, .. }
            | Self::Stop { deadline, .. } => Some(deadline),
            Self::Listen(_)
            | Self::StopListening { .. }
            | Self::SetOptions { .. }
            | Self::GetOption(_)
            | Self::Shutdown { .. }
            | Self::Check(_)
            | Self::Signal { .. }
            | Self::SetPath(_)
            | Self::AddRule { .. }
            | Self::RemoveRule { .. }
            | Self::Release { .. }
            | Self::ExpectError { .. }
            | Self::Do(_) => None,
        }
    };
}

impl Action {
    /// After this time it has ended, one way or the other. Zero for what waits for nothing.
    pub fn most_time(&self) -> Duration {
        timeout_of!(self).copied().unwrap_or_default()
    }

    /// It takes this time even if all goes well: only a quiet period does.
    pub fn least_time(&self) -> Duration {
        match self {
            Self::Quiet { period, .. } => *period,
            _ => Duration::ZERO,
        }
    }

    /// Multiplies its timeout and its quiet period.
    pub fn stretch(&mut self, factor: u32) {
        if let Some(timeout) = timeout_of!(self) {
            *timeout = timeout.saturating_mul(factor);
        }
        if let Self::Quiet { period, .. } = self {
            *period = period.saturating_mul(factor);
        }
    }
}
