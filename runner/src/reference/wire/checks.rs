//! One check of the segments of one side: [`Checks`].

use crate::recording::Direction;
use crate::reference::ledger::Ledger;
use crate::reference::view::{Half, Passed, View};
use crate::reference::{Candidate, Outcome};
use crate::scenario::model::{FilterAction, FilterHook};

/// How many wrong segments of one subflow are reported.
const MOST: u32 = 3;

/// One check of the segments that one side sent, by subflow. What is right makes one decision for each subflow.
pub(super) struct Checks<'v, 'a> {
    view: &'v View<'a>,
    half: &'v Half<'a>,
    what: &'static str,
    flows: Vec<FlowChecks>,
}

/// What was found on one subflow.
#[derive(Clone, Copy, Default)]
struct FlowChecks {
    /// The first one that was right: its time and entry.
    first: Option<(u64, usize)>,
    right: u32,
    wrong: u32,
}

impl<'v, 'a> Checks<'v, 'a> {
    /// Nothing is checked yet.
    pub(super) fn new(view: &'v View<'a>, half: &'v Half<'a>, what: &'static str) -> Self {
        Self { view, half, what, flows: vec![FlowChecks::default(); half.flows.len()] }
    }

    /// A segment is as it should be.
    pub(super) fn right(&mut self, passed: &Passed<'_>) {
        if let Some(flow) = self.flows.get_mut(passed.flow) {
            flow.first.get_or_insert((passed.at, passed.entry));
            flow.right = flow.right.saturating_add(1);
        }
    }

    /// A segment is not. `by_filter`: it may be the work of a filter that does one of these things on the way out.
    pub(super) fn wrong(
        &mut self,
        ledger: &mut Ledger,
        passed: &Passed<'_>,
        by_filter: &[FilterAction],
        because: String,
    ) {
        let Some(flow) = self.flows.get_mut(passed.flow) else { return };
        flow.wrong = flow.wrong.saturating_add(1);
        if flow.wrong > MOST {
            return;
        }
        let (outcome, because) = match filter_of(self.view, self.half, passed.at, by_filter) {
            Some(name) => (Outcome::NotDone, format!("{because}; the filter `{name}` changes what is sent")),
            None => (Outcome::Wrong, because),
        };
        ledger.decide(self.half, passed.at, self.candidate(passed.flow), outcome, because, [passed.entry]);
    }

    /// A segment is not as it should be, which may be the work of a rule that changes what arrives.
    pub(super) fn changed(&mut self, ledger: &mut Ledger, passed: &Passed<'_>, rule: &str, because: &str) {
        let Some(flow) = self.flows.get_mut(passed.flow) else { return };
        flow.wrong = flow.wrong.saturating_add(1);
        if flow.wrong <= MOST {
            let because = format!("{because}; the path rule `{rule}` changes what arrives");
            let candidate = self.candidate(passed.flow);
            ledger.decide(self.half, passed.at, candidate, Outcome::NotDone, because, [passed.entry]);
        }
    }

    /// Nothing was wrong so far.
    pub(super) fn is_right(&self) -> bool {
        self.flows.iter().all(|flow| flow.wrong == 0)
    }

    /// All segments were looked at. `because` says what was right, with the number of segments.
    pub(super) fn finish(self, ledger: &mut Ledger, because: impl Fn(u32) -> String) {
        for (index, flow) in self.flows.iter().enumerate().filter(|(_, flow)| flow.wrong == 0) {
            let Some((at, entry)) = flow.first else { continue };
            let candidate = self.candidate(index);
            ledger.decide(self.half, at, candidate, Outcome::Done, because(flow.right), [entry]);
        }
    }

    fn candidate(&self, flow: usize) -> Candidate {
        option(self.half, flow, self.what)
    }
}

/// An option that this side sends on a subflow, or a field of it.
pub(super) fn option(half: &Half<'_>, flow: usize, what: &'static str) -> Candidate {
    let client = half.connection.client_address;
    let (source, destination) = half.flows.get(flow).map_or((client, client), |flow| (flow.local, flow.remote));
    Candidate::Option { what, source, destination }
}

/// The name of a filter that may have done one of these things to what a side sent until then.
pub(super) fn filter_of(view: &View<'_>, half: &Half<'_>, until: u64, actions: &[FilterAction]) -> Option<String> {
    let mut filters = view.host(half)?.filters(FilterHook::Output, 0, until);
    filters.find(|filter| actions.contains(&filter.action)).map(|filter| filter.name.clone())
}

/// What hides MPTCP options from the capture.
pub(super) const HIDES_OPTIONS: &[FilterAction] = &[FilterAction::StripMptcp];

/// What hides segments or their options from the capture.
pub(super) const HIDES: &[FilterAction] =
    &[FilterAction::StripMptcp, FilterAction::Drop, FilterAction::RejectIcmp, FilterAction::RejectReset];

/// Whether this side sent it.
pub(super) fn is_sent(passed: &Passed<'_>) -> bool {
    passed.direction == Direction::Out
}

/// `1 segment`, `2 segments`.
pub(super) fn segments(count: u32) -> String {
    format!("{count} segment{}", if count == 1 { "" } else { "s" })
}
