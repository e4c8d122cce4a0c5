//! The timeout scale, for slow machines: an emulated one takes ten times as long for the same thing.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::scenario::model::{Action, LONGEST_RUN};

use super::{Plan, Setup};

/// In seconds: how long the kernel waits for the echo of an ADD_ADDR, at most, before it retransmits it. Namespaces begin
/// with one second (`testbed::baseline`).
const ADD_ADDR_TIMEOUT: &str = "net.mptcp.add_addr_timeout";

/// What a step, and all of them together, may take beside their deadlines: an operation that has none, the final state,
/// and how late a loaded machine is.
const MARGIN: Duration = Duration::from_secs(30);

impl Plan {
    /// How long the steps of this plan may take: their deadlines, at most [`LONGEST_RUN`], and a margin.
    pub fn time_limit(&self) -> Duration {
        let factor = self.timeout_scale.get();
        let steps = self.steps.iter().map(|step| step.action.most_time());
        let all = steps.fold(Duration::ZERO, Duration::saturating_add);
        all.min(LONGEST_RUN.saturating_mul(factor)).saturating_add(MARGIN.saturating_mul(factor))
    }

    /// The same plan with all timeouts multiplied: deadlines, quiet periods, and the time after which the kernel
    /// retransmits an ADD_ADDR, unless the scenario sets that. A machine that stands still for a second would otherwise
    /// see a retransmission.
    #[must_use]
    pub fn with_timeout_scale(mut self, factor: NonZeroU32) -> Self {
        for step in &mut self.steps {
            step.action.stretch(factor.get());
        }
        if factor > NonZeroU32::MIN {
            self.wait_for_echoes(factor);
        }
        self.timeout_scale = self.timeout_scale.saturating_mul(factor);
        self
    }

    fn wait_for_echoes(&mut self, seconds: NonZeroU32) {
        let says = |namespace: &str, setup: &Setup| {
            matches!(setup, Setup::Sysctl { namespace: of, name, .. }
                if of == namespace && name.replace('/', ".") == ADD_ADDR_TIMEOUT)
        };
        let namespaces = self.setup.iter().filter_map(|setup| pick!(setup, Setup::Namespace { name, .. } => name));
        let silent = namespaces.filter(|namespace| !self.setup.iter().any(|setup| says(namespace, setup)));
        let sysctl = |namespace: &String| Setup::Sysctl {
            namespace: namespace.clone(),
            name: ADD_ADDR_TIMEOUT.to_owned(),
            value: seconds.to_string(),
        };
        let sysctls: Vec<Setup> = silent.map(sysctl).collect();
        let first_other = self.setup.iter().position(|setup| !matches!(setup, Setup::Namespace { .. }));
        let at = first_other.unwrap_or(self.setup.len());
        self.setup.splice(at..at, sysctls);
    }
}

/// How long one step of such a plan may take: its deadline, and a margin.
pub fn step_limit(action: &Action, factor: u32) -> Duration {
    action.most_time().saturating_add(MARGIN.saturating_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{example, plan};
    use crate::scenario::model::Scenario;

    #[test]
    fn everything_that_takes_time_may_take_more() {
        let seconds = Duration::from_secs;
        let mut once = plan(&example::scenario());
        let finish = Action::FinishTransfer { connection: "main".to_owned(), deadline: seconds(7) };
        let quiet = Action::Quiet { period: seconds(2), deadline: seconds(20) };
        once.steps.extend([finish, quiet].map(example::step));
        let durations = |plan: &Plan| -> Vec<(Duration, Duration)> {
            plan.steps.iter().map(|step| (step.action.least_time(), step.action.most_time())).collect()
        };
        // connect, wait, add_endpoint, transfer, close, finish_transfer, quiet
        let expected = [(0, 5), (0, 5), (0, 0), (0, 10), (0, 5), (0, 7), (2, 20)];
        assert_eq!(durations(&once), expected.map(|(least, most)| (seconds(least), seconds(most))));
        let thrice = once.with_timeout_scale(NonZeroU32::new(3).unwrap());
        assert_eq!(durations(&thrice), expected.map(|(least, most)| (seconds(3 * least), seconds(3 * most))));
    }

    #[test]
    fn a_run_has_a_time_limit_however_many_steps_it_has() {
        let mut plan = plan(&example::scenario());
        let sum: Duration = plan.steps.iter().map(|step| step.action.most_time()).sum();
        assert_eq!(plan.time_limit(), sum + MARGIN);
        let quiet = Action::Quiet { period: Duration::from_secs(600), deadline: Duration::from_secs(600) };
        plan.steps = vec![example::step(quiet); 9_000];
        assert_eq!(plan.time_limit(), LONGEST_RUN + MARGIN);
        assert_eq!(plan.with_timeout_scale(NonZeroU32::new(4).unwrap()).time_limit(), (LONGEST_RUN + MARGIN) * 4);
    }

    #[test]
    fn an_announcement_is_repeated_later_unless_the_scenario_says_when() {
        let timeouts = |scenario: &Scenario, factor| {
            let plan = plan(scenario).with_timeout_scale(NonZeroU32::new(factor).unwrap());
            let of_setup = |setup: &Setup| {
                pick!(setup, Setup::Sysctl { namespace, name, value }
                    if name == ADD_ADDR_TIMEOUT => format!("{namespace} {value}"))
            };
            plan.setup.iter().filter_map(of_setup).collect::<Vec<_>>()
        };
        let mut scenario = example::scenario();
        assert_eq!(timeouts(&scenario, 1), [""; 0]);
        assert_eq!(timeouts(&scenario, 4), ["client 4", "server 4"]);
        scenario.world.namespaces[0].sysctls.push((ADD_ADDR_TIMEOUT.to_owned(), "0".to_owned()));
        assert_eq!(timeouts(&scenario, 4), ["server 4", "client 0"]);
    }
}
