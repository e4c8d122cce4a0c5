//! More time for everything, for slow machines: an emulated one takes ten times as long for the same thing.

use std::num::NonZeroU32;

use crate::scenario::model::Action;

use super::Plan;

impl Plan {
    /// The same plan with this many times the time: deadlines, and the quiet periods in which nothing may come.
    #[must_use]
    pub fn with_patience(mut self, factor: NonZeroU32) -> Self {
        for step in &mut self.steps {
            stretch(&mut step.action, factor.get());
        }
        self
    }
}

fn stretch(action: &mut Action, factor: u32) {
    match action {
        Action::Wait { deadline, .. } | Action::FinishTransfer { deadline, .. } | Action::Close { deadline, .. } => {
            *deadline = deadline.saturating_mul(factor);
        }
        Action::Quiet { period, deadline } => {
            *period = period.saturating_mul(factor);
            *deadline = deadline.saturating_mul(factor);
        }
        Action::Connect(plan) => plan.deadline = plan.deadline.saturating_mul(factor),
        Action::Transfer(plan) => plan.deadline = plan.deadline.saturating_mul(factor),
        Action::Listen(_)
        | Action::StopListening { .. }
        | Action::Check(_)
        | Action::SetPath(_)
        | Action::AddRule { .. }
        | Action::RemoveRule { .. }
        | Action::Release { .. }
        | Action::ExpectError { .. }
        | Action::Do(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::{example, plan};

    /// Every duration of a plan's steps.
    fn durations(plan: &Plan) -> Vec<Duration> {
        let of_step = |action: &Action| match action {
            Action::Wait { deadline, .. }
            | Action::FinishTransfer { deadline, .. }
            | Action::Close { deadline, .. } => {
                vec![*deadline]
            }
            Action::Quiet { period, deadline } => vec![*period, *deadline],
            Action::Connect(plan) => vec![plan.deadline],
            Action::Transfer(plan) => vec![plan.deadline],
            _ => Vec::new(),
        };
        plan.steps.iter().flat_map(|step| of_step(&step.action)).collect()
    }

    #[test]
    fn everything_that_takes_time_may_take_more() {
        let once = durations(&plan(&example::scenario()));
        assert!(once.len() >= 3, "{once:?}");
        let factor = NonZeroU32::new(3).unwrap();
        let thrice = durations(&plan(&example::scenario()).with_patience(factor));
        assert_eq!(thrice, once.iter().map(|duration| *duration * 3).collect::<Vec<_>>());
    }
}
