//! The runs and their order. [`crate::instances`] makes sure that an exclusive scenario runs alone; here such scenarios
//! only come last, one after the other, so that no worker waits for them.

use std::ops::Range;
use std::time::Duration;

use crate::scenario::model::{Action, Operation, Scenario};

/// Without an end, rounds are run in batches, so that exclusive scenarios get their turn. A batch has at least this
/// many runs per worker.
const RUNS_FOR_A_WORKER: usize = 4;

/// The runs: each scenario in each round. Runs are numbered by scenario first, then by round.
#[derive(Debug)]
pub(super) struct Schedule<'a> {
    /// Scenarios that share the machine, then exclusive ones; each in the order of the files.
    scenarios: Vec<&'a Scenario>,
    /// The positions of those that share the machine, in the order in which they begin.
    order: Vec<usize>,
    /// `None`: until stopped.
    rounds: Option<usize>,
    workers: usize,
}

/// Runs that are executed concurrently.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    rounds: Range<usize>,
    /// Positions, and the scenarios there.
    order: Vec<(usize, &'a Scenario)>,
    /// How many scenarios there are in all.
    scenarios: usize,
    workers: usize,
}

impl<'a> Schedule<'a> {
    /// `rounds`: the number of runs of each scenario; `None` for no end.
    pub(super) fn new(scenarios: &'a [Scenario], rounds: Option<usize>, workers: usize) -> Self {
        let (alone, mut ordered): (Vec<&Scenario>, Vec<&Scenario>) =
            scenarios.iter().partition(|scenario| scenario.is_exclusive());
        let mut order: Vec<usize> = (0..ordered.len()).collect();
        // The longest ones start first, so that nothing waits for them in the end. The sort is stable.
        let estimates: Vec<Duration> = ordered.iter().map(|scenario| estimate(scenario)).collect();
        order.sort_by_key(|position| std::cmp::Reverse(estimates.get(*position).copied().unwrap_or_default()));
        ordered.extend(alone);
        Self { scenarios: ordered, order, rounds, workers }
    }

    /// The scenario of a run.
    pub(super) fn scenario(&self, run: usize) -> Option<&'a Scenario> {
        self.scenarios.get(self.position(run)).copied()
    }

    /// The position of a run's scenario among all scenarios.
    pub(super) fn position(&self, run: usize) -> usize {
        run % self.scenarios.len().max(1)
    }

    /// Which round a run belongs to, from 1, of how many; `None` if there is only one.
    pub(super) fn repetition(&self, run: usize) -> Option<(usize, Option<usize>)> {
        let round = run / self.scenarios.len().max(1) + 1;
        (self.rounds != Some(1)).then_some((round, self.rounds))
    }

    /// How many runs there are; `None` for no end.
    pub(super) fn runs(&self) -> Option<usize> {
        self.rounds.map(|rounds| rounds.saturating_mul(self.scenarios.len()))
    }

    /// All runs, in batches that are done one after the other.
    pub(super) fn batches(&self) -> impl Iterator<Item = Batch<'a>> + '_ {
        let enough = (RUNS_FOR_A_WORKER * self.workers).div_ceil(self.scenarios.len().max(1)).max(1);
        let step = self.rounds.unwrap_or(enough).max(1);
        let end = self.rounds.unwrap_or(usize::MAX);
        let at = |position: usize| self.scenarios.get(position).map(|scenario| (position, *scenario));
        let together: Vec<_> = self.order.iter().filter_map(|position| at(*position)).collect();
        let alone: Vec<_> = (self.order.len()..self.scenarios.len()).filter_map(at).collect();
        let parts: Vec<_> =
            [(together, self.workers), (alone, 1)].into_iter().filter(|(order, _)| !order.is_empty()).collect();
        (0..end).step_by(step).flat_map(move |first| {
            let rounds = first..first.saturating_add(step).min(end);
            parts.clone().into_iter().map(move |(order, workers)| Batch {
                rounds: rounds.clone(),
                order,
                scenarios: self.scenarios.len(),
                workers,
            })
        })
    }
}

impl<'a> Batch<'a> {
    /// The runs with their scenarios, in the order in which they begin.
    pub(super) fn runs(&self) -> impl Iterator<Item = (usize, &'a Scenario)> + Send + '_ {
        let run = |round: usize, position: usize| round * self.scenarios + position;
        self.rounds.clone().flat_map(move |round| {
            self.order.iter().map(move |(position, scenario)| (run(round, *position), *scenario))
        })
    }

    /// No more workers than there is work for.
    pub(super) fn workers(&self) -> usize {
        self.workers.min(self.rounds.len().saturating_mul(self.order.len()))
    }
}

/// A rough estimate of how long a scenario waits, from its own text: quiet periods, the pace of transfers, rate limits,
/// and timers of whole seconds. Only good for ordering scenarios.
fn estimate(scenario: &Scenario) -> Duration {
    let rate = scenario.world.links.iter().filter_map(|link| link.rate).min();
    let steps: Duration = scenario
        .steps
        .iter()
        .map(|step| match &step.action {
            Action::Quiet { period, .. } => *period,
            Action::Transfer(transfer) => {
                let bytes = transfer.from_client.max(transfer.from_server);
                let pace = transfer.pace.into_iter().chain(rate.map(|bits| bits / 8)).min();
                // In milliseconds, which is precise enough and doesn't overflow for any real size.
                pace.map_or(Duration::ZERO, |pace| Duration::from_millis(bytes.saturating_mul(1000) / pace.max(1)))
            }
            Action::Do(Operation::SetSysctl { name, value, .. }) => timer(name, value),
            _ => Duration::ZERO,
        })
        .fold(Duration::ZERO, Duration::saturating_add);
    let timers = scenario.world.namespaces.iter().flat_map(|namespace| &namespace.sysctls);
    timers.map(|(name, value)| timer(name, value)).fold(steps, Duration::saturating_add)
}

/// MPTCP timers are in seconds. A scenario that sets one waits for it.
fn timer(name: &str, value: &str) -> Duration {
    let seconds = if name.starts_with("net.mptcp.") && name.ends_with("_timeout") { value.parse().ok() } else { None };
    Duration::from_secs(seconds.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::example;
    use crate::recording::SourceText;
    use crate::scenario::model::{Place, Step};

    fn named(name: &str, quiet: u64, exclusive: bool) -> Scenario {
        let action = Action::Quiet { period: Duration::from_millis(quiet), deadline: Duration::from_secs(5) };
        let steps = vec![Step { action, place: Place::default() }];
        Scenario { file: name.into(), variant: None, exclusive, steps, ..example::scenario() }
    }

    fn labels(batch: &Batch<'_>) -> Vec<String> {
        batch.runs().map(|(_, scenario)| scenario.label()).collect()
    }

    fn numbers(batch: &Batch<'_>) -> Vec<usize> {
        batch.runs().map(|(run, _)| run).collect()
    }

    #[test]
    fn what_starts_programs_is_alone() {
        let text = "title: A program\nabout: It ends.\nnamespaces: { client: {} }\nsteps:\n  - run: { in: client, command: ls }\n";
        let source = SourceText { name: "program.yaml".to_owned(), text: text.to_owned() };
        let program = crate::scenario::load_sources("program.yaml".as_ref(), None, &[source]).unwrap();
        let scenarios = [program, named("short", 1, false)];
        let schedule = Schedule::new(&scenarios, Some(1), 8);
        let batches: Vec<Batch<'_>> = schedule.batches().collect();
        assert_eq!(batches.iter().map(labels).collect::<Vec<_>>(), [vec!["short"], vec!["program"]]);
    }

    #[test]
    fn the_longest_begins_first_and_the_lonely_come_last() {
        let scenarios =
            [named("lonely", 9, true), named("short", 1, false), named("b", 5, false), named("a", 5, false)];
        let schedule = Schedule::new(&scenarios, Some(1), 8);
        let batches: Vec<Batch<'_>> = schedule.batches().collect();
        assert_eq!(batches.iter().map(labels).collect::<Vec<_>>(), [vec!["b", "a", "short"], vec!["lonely"]]);
        assert_eq!(batches.iter().map(Batch::workers).collect::<Vec<_>>(), [3, 1]);
        // They are numbered in the order of the files.
        assert_eq!(numbers(&batches[0]), [1, 2, 0]);
        assert_eq!(schedule.repetition(3), None);
    }

    #[test]
    fn rounds_overlap() {
        let scenarios = [named("a", 0, false), named("b", 1, false), named("c", 0, true)];
        let schedule = Schedule::new(&scenarios, Some(2), 8);
        let batches: Vec<Batch<'_>> = schedule.batches().collect();
        assert_eq!(labels(&batches[0]), ["b", "a", "b", "a"]);
        assert_eq!(numbers(&batches[0]), [1, 0, 4, 3]);
        assert_eq!(labels(&batches[1]), ["c", "c"]);
        assert_eq!((batches.len(), schedule.runs()), (2, Some(6)));
        assert_eq!(schedule.repetition(4), Some((2, Some(2))));
    }

    #[test]
    fn without_an_end_the_lonely_get_their_turn() {
        let scenarios = [named("a", 0, false), named("c", 0, true)];
        let schedule = Schedule::new(&scenarios, None, 2);
        let batches: Vec<Batch<'_>> = schedule.batches().take(4).collect();
        let runs: Vec<Vec<usize>> = batches.iter().map(numbers).collect();
        assert_eq!(runs, [vec![0, 2, 4, 6], vec![1, 3, 5, 7], vec![8, 10, 12, 14], vec![9, 11, 13, 15]]);
        assert_eq!(schedule.runs(), None);
    }

    #[test]
    fn what_a_scenario_says_about_time_counts() {
        let mut scenario = named("a", 50, false);
        let sysctl = ("net.mptcp.add_addr_timeout".to_owned(), "1".to_owned());
        scenario.world.namespaces[0].sysctls.push(sysctl);
        assert_eq!(estimate(&scenario), Duration::from_millis(1050));
    }
}
