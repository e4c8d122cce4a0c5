//! The paths of a running scenario: their threads, what they tell, what steps change.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use indexmap::IndexMap;
use tokio::task::JoinHandle;

use super::executor::Executor;
use super::recorder::Recorder;
use crate::forward::{Forwarder, Notice, Prepared, Starting};
use crate::nanos;
use crate::path::Path;
use crate::plan::{PathSetup, Plan};
use crate::recording::{LostWhat, Moment, Observation, Stalled};
use crate::scenario::model::{LinkEnd, PathChange, PathRule};
use crate::sys::readiness::watch;
use crate::testbed::Testbed;

/// All paths of a run, by the name of their link.
#[derive(Default)]
pub(super) struct Paths(IndexMap<String, Live>);

/// A path, and the task that listens to it.
struct Live {
    path: Rc<LivePath>,
    task: JoinHandle<()>,
    /// The rules that are installed.
    rules: RefCell<Vec<String>>,
    /// How each end was when its drops were last looked at.
    ends: Cell<[EndState; 2]>,
}

/// What tells whether packets that an end sent were lost before they reached the path.
#[derive(Clone, Copy, Default)]
struct EndState {
    /// Packets that its interface has dropped until now.
    dropped: u64,
    /// It has a carrier.
    running: bool,
}

/// What forwards, and where its notices go.
struct LivePath {
    forwarder: Forwarder,
    ends: [LinkEnd; 2],
    recorder: Rc<Recorder>,
}

/// Starts the threads of all paths; they get ready by themselves.
pub(super) fn prepare(plan: &Plan, testbed: &Testbed) -> Result<Vec<Starting>, String> {
    let start = |setup: &PathSetup| {
        let (mut path, link) = (Path::new(&setup.path), &setup.path.link);
        setup.mtu.into_iter().for_each(|mtu| path.set_link_mtu(mtu));
        let node = testbed.path(link).map_err(|error| error.to_string())?;
        let prepared = Prepared::open(link, node, setup.rings);
        prepared.and_then(|prepared| prepared.start(path)).map_err(|error| error.to_string())
    };
    plan.paths().map(start).collect()
}

impl Paths {
    /// Waits until all of them forward, and listens to them.
    pub(super) fn start(
        plan: &Plan,
        testbed: &Testbed,
        starting: Vec<Starting>,
        recorder: &Rc<Recorder>,
    ) -> Result<Self, String> {
        let mut paths = IndexMap::new();
        for (PathSetup { path: plan, ends, .. }, starting) in plan.paths().zip(starting) {
            let forwarder = starting.ready().map_err(|error| error.to_string())?;
            let path = LivePath { forwarder, ends: ends.clone(), recorder: Rc::clone(recorder) };
            let ends = Cell::new(path.end_states(testbed)?);
            let path = Rc::new(path);
            let task = path.listen().map_err(|error| format!("listen to the path of {}: {error}", plan.link))?;
            let rules = RefCell::new(plan.rules.iter().map(|rule| rule.name.clone()).collect());
            paths.insert(plan.link.clone(), Live { path, task, rules, ends });
        }
        Ok(Self(paths))
    }

    fn get(&self, link: &str) -> Result<&Live, String> {
        self.0.get(link).ok_or_else(|| format!("the link {link} has no path"))
    }

    /// Records all pending notices of the paths.
    pub(super) fn observe_now(&self) {
        self.0.values().for_each(|live| live.path.observe_now());
    }

    /// A link with packets in flight on its path, apart from held ones.
    pub(super) fn busy(&self) -> Option<&str> {
        self.0.iter().find(|(_, live)| live.path.forwarder.is_busy()).map(|(link, _)| link.as_str())
    }

    /// Ends all forwarding.
    pub(super) fn close(self) {
        self.0.into_values().for_each(|live| live.task.abort());
    }
}

impl LivePath {
    /// Starts the task that records what the path tells.
    fn listen(self: &Rc<Self>) -> std::io::Result<JoinHandle<()>> {
        let bell = watch(self.forwarder.bell()?)?;
        let path = Rc::clone(self);
        Ok(tokio::task::spawn_local(async move {
            while let Ok(mut guard) = bell.readable().await {
                // Cleared before the notices are taken: what comes in between wakes us once more, for nothing.
                guard.clear_ready();
                path.observe_now();
            }
        }))
    }

    fn observe_now(&self) {
        for notice in self.forwarder.take_notices() {
            match notice {
                Notice::Effect(effect) => self.recorder.observe(
                    effect.at,
                    Observation::Path {
                        link: self.forwarder.link().into(),
                        sender: self.sender(effect.from).into(),
                        number: effect.number,
                        after: effect.after,
                        part: effect.part,
                        parts: effect.parts,
                        what: effect.what,
                        segment: effect.segment.map(Box::new),
                    },
                ),
                Notice::Lost { from, count, what } => self.lost(from, what, count),
                Notice::Late { late, waited } => {
                    let link = self.forwarder.link().to_owned();
                    self.recorder.stalled(Stalled::Path { link }, late, waited);
                }
                Notice::Failed(message) => self.recorder.note(Observation::SetupFailed {
                    message: format!("forward the packets of {}: {message}", self.forwarder.link()),
                }),
            }
        }
    }

    fn lost(&self, from: usize, what: LostWhat, count: Option<u64>) {
        let lost = Observation::Lost { namespace: self.sender(from), what, count };
        self.recorder.observe(nanos::now(), lost);
    }

    fn sender(&self, from: usize) -> String {
        self.ends.get(from).map(|end| end.namespace.clone()).unwrap_or_default()
    }

    /// What the interfaces of both ends have dropped, and whether they have a carrier.
    fn end_states(&self, testbed: &Testbed) -> Result<[EndState; 2], String> {
        let mut states = [EndState::default(); 2];
        for (state, end) in states.iter_mut().zip(&self.ends) {
            let node = testbed.node(&end.namespace).map_err(|error| error.to_string())?;
            let links = node.route().links().map_err(|error| error.to_string())?;
            let link = links.iter().find(|link| link.name == end.device);
            *state = link.map_or(*state, |link| EndState { dropped: link.tx_dropped, running: link.running });
        }
        Ok(states)
    }

    fn with<T: Send + 'static>(&self, act: impl FnOnce(&mut Path) -> T + Send + 'static) -> Result<T, String> {
        let result = self.forwarder.with(act).map_err(|error| error.to_string());
        self.observe_now();
        result
    }
}

impl Executor<'_> {
    /// Changes the conditions of a path.
    pub(super) fn set_path(&self, change: &PathChange) -> Result<(), String> {
        let conditions = change.conditions.clone();
        self.paths.get(&change.link)?.path.with(move |path| {
            for (from, conditions) in conditions.iter().enumerate() {
                if let Some(conditions) = conditions {
                    path.set_conditions(from, conditions);
                }
            }
        })
    }

    /// Adds a rule at the end of a path's rules.
    pub(super) fn add_rule(&self, link: &str, rule: &PathRule) -> Result<(), String> {
        let live = self.paths.get(link)?;
        live.rules.borrow_mut().push(rule.name.clone());
        let rule = rule.clone();
        live.path.with(move |path| path.add_rule(&rule))
    }

    /// Removes a rule, and records how often it matched.
    pub(super) fn remove_rule(&self, link: &str, rule: &str) -> Result<(), String> {
        let live = self.paths.get(link)?;
        let name = rule.to_owned();
        let segments = live.path.with(move |path| path.remove_rule(&name))?;
        let segments = segments.ok_or_else(|| no_rule(link, rule))?;
        live.rules.borrow_mut().retain(|other| other != rule);
        self.recorder.note(Observation::RuleHits { link: link.to_owned(), rule: rule.to_owned(), segments });
        Ok(())
    }

    /// Releases what a rule holds.
    pub(super) fn release(&self, link: &str, rule: &str) -> Result<(), String> {
        let name = rule.to_owned();
        match self.paths.get(link)?.path.with(move |path| path.release(&name))? {
            None => Err(no_rule(link, rule)),
            Some(0) => Err(format!("rule {rule} of {link} holds no packet to release: wait until it has matched")),
            Some(_) => Ok(()),
        }
    }

    /// How often a rule has matched until now.
    pub(super) fn rule_hits(&self, link: &str, rule: &str) -> Result<u64, String> {
        let name = rule.to_owned();
        let hits = self.paths.get(link)?.path.with(move |path| path.rule_hits(&name))?;
        hits.ok_or_else(|| no_rule(link, rule))
    }

    /// Takes what each direction of each path has done until now.
    pub(super) fn take_path_totals(&self, moment: &Moment) -> Result<(), String> {
        for (link, live) in &self.paths.0 {
            let totals = live.path.with(|path| [0, 1].map(|from| path.totals(from)))?;
            for (from, totals) in totals.into_iter().enumerate() {
                self.recorder.note(Observation::PathTotals {
                    link: link.clone(),
                    sender: live.path.sender(from),
                    moment: moment.clone(),
                    totals: Box::new(totals),
                });
            }
        }
        Ok(())
    }

    /// The end of all paths: what they still hold is dropped, and their rules say how often they matched.
    pub(super) fn finish_paths(&self) -> Result<(), String> {
        for live in self.paths.0.values() {
            live.path.with(Path::finish)?;
        }
        self.take_rule_hits()?;
        self.count_drops()
    }

    /// How often each rule that is still installed has matched.
    pub(super) fn take_rule_hits(&self) -> Result<(), String> {
        for (link, live) in &self.paths.0 {
            let rules = live.rules.take();
            let names = rules.clone();
            let hits = live.path.with(move |path| names.iter().map(|name| path.rule_hits(name)).collect::<Vec<_>>())?;
            for (rule, segments) in rules.into_iter().zip(hits) {
                let segments = segments.ok_or_else(|| no_rule(link, &rule))?;
                self.recorder.note(Observation::RuleHits { link: link.clone(), rule, segments });
            }
        }
        Ok(())
    }

    /// Looks for packets that never reached their path though the link had a carrier: the backlog of a processor was full
    /// (`enqueue_to_backlog`, net/core/dev.c; `veth_xmit` counts it in `tx_dropped`).
    ///
    /// Called before and after a link is set up or down, so that each stretch in between has a carrier or has none. Without
    /// one, the interface drops what it should send, and counts that in `tx_dropped`, too (`noop_enqueue`,
    /// net/sched/sch_generic.c): that is what a link is expected to do that is down, and not a loss of ours.
    pub(super) fn count_drops(&self) -> Result<(), String> {
        for live in self.paths.0.values() {
            let (before, now) = (live.ends.get(), live.path.end_states(&self.testbed)?);
            for (from, count) in lost_on_the_way(before, now).into_iter().enumerate() {
                if count > 0 {
                    live.path.lost(from, LostWhat::Backlog, Some(count));
                }
            }
            live.ends.set(now);
        }
        Ok(())
    }

    /// What was dropped until now is no loss: the link was being set up or down.
    pub(super) fn forgive_drops(&self) -> Result<(), String> {
        for live in self.paths.0.values() {
            live.ends.set(live.path.end_states(&self.testbed)?);
        }
        Ok(())
    }
}

/// How many packets of each end its interface dropped though the link had a carrier all the time.
fn lost_on_the_way(before: [EndState; 2], now: [EndState; 2]) -> [u64; 2] {
    let had_carrier = before.iter().chain(&now).all(|end| end.running);
    let [first, second] = [0, 1].map(|from| {
        let count = |states: &[EndState; 2]| states.get(from).map_or(0, |end| end.dropped);
        count(&now).saturating_sub(count(&before))
    });
    if had_carrier { [first, second] } else { [0; 2] }
}

fn no_rule(link: &str, rule: &str) -> String {
    format!("the path of {link} has no rule {rule}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(dropped: [u64; 2], running: [bool; 2]) -> [EndState; 2] {
        let [(first, up), (second, peer_up)] = [(dropped[0], running[0]), (dropped[1], running[1])];
        [EndState { dropped: first, running: up }, EndState { dropped: second, running: peer_up }]
    }

    #[test]
    fn only_what_is_dropped_with_a_carrier_is_lost() {
        let (up, down) = ([true; 2], [false; 2]);
        assert_eq!(lost_on_the_way(ends([1, 2], up), ends([1, 5], up)), [0, 3]);
        for (before, now) in [(down, down), (down, up), (up, down), ([true, false], up)] {
            assert_eq!(lost_on_the_way(ends([1, 2], before), ends([7, 5], now)), [0, 0]);
        }
    }
}
