//! Matching an ordered list of events with a list of patterns, in which some parts may come in any order.
//!
//! Interleaving is hard in general, so the matcher doesn't try orders one after the other: it follows all states
//! that the list can be in at once, event by event, and meets each state once. The number of states is bounded; a
//! list that is too ambiguous is reported as such, never passed.
//!
//! In a list that isn't complete, events may come in between. Two kinds of items would mean nothing there, so they
//! are given a meaning that can fail: an item that need not come at all (`count` from 0) says that no more than its
//! upper bound of such events may come in the whole list. The same holds for `count: 0` in a complete list.

use std::collections::HashSet;

use crate::scenario::model::{EventItem, EventPattern, Range};

/// More states at once than any list that a person would write.
const MOST_STATES: usize = 4_096;
/// More steps altogether than any recording needs.
const MOST_NODES: usize = 1_000_000;
/// More than all states at once may hold, a cell for each list within each: some 50 MB.
const MOST_CELLS: usize = 1_000_000;

/// The result of matching.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    /// The list describes the events.
    Match,
    /// It doesn't.
    Mismatch(Mismatch<'a>),
    /// More events like this than the item allows in the whole list: the index of the first one too many.
    TooMany {
        /// The item.
        item: &'a EventItem,
        /// The index of the event.
        at: usize,
    },
    /// The list can be in too many states to decide.
    TooAmbiguous,
}

/// How far matching got.
#[derive(Debug)]
pub(super) struct Mismatch<'a> {
    /// Which item each matched event was matched by: (index of the event, item), in order.
    pub(super) matched: Vec<(usize, &'a EventItem)>,
    /// The index of the first event that no state can go on with; the number of events if it is the end that came
    /// too early.
    pub(super) at: usize,
    /// The items that were still missing, each as often as required, in an order that fits the remaining events.
    pub(super) missing: Vec<&'a EventItem>,
}

/// Where a list of items is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    index: usize,
    inner: Inner,
}

/// Where the item at that index is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Inner {
    /// It has not begun.
    Fresh,
    /// It has matched this number of events.
    Count(u64),
    /// Each branch is somewhere.
    Branches(Vec<State>),
}

impl State {
    const START: Self = Self { index: 0, inner: Inner::Fresh };
}

/// Which events an item may stand for.
pub(super) trait Matches {
    /// Whether the event of that index is like the pattern.
    fn matches(&self, pattern: &EventPattern, event: usize) -> bool;
}

impl<F: Fn(&EventPattern, usize) -> bool> Matches for F {
    fn matches(&self, pattern: &EventPattern, event: usize) -> bool {
        self(pattern, event)
    }
}

/// Match `events` events with the items.
pub(super) fn match_items<'a>(
    items: &'a [EventItem],
    complete: bool,
    events: usize,
    matches: &impl Matches,
) -> Outcome<'a> {
    if let Some((item, at)) = too_many(items, complete, events, matches) {
        return Outcome::TooMany { item, at };
    }
    Matcher { items, complete, events, matches, nodes: Vec::new() }.run()
}

/// The first event that is one too many of its kind in the whole list.
fn too_many<'a>(
    items: &'a [EventItem],
    complete: bool,
    events: usize,
    matches: &impl Matches,
) -> Option<(&'a EventItem, usize)> {
    items.iter().find_map(|item| match item {
        EventItem::One { pattern, count, .. } if *count.end() == 0 || (!complete && *count.start() == 0) => {
            let most = usize::try_from(*count.end()).unwrap_or(usize::MAX);
            (0..events).filter(|event| matches.matches(pattern, *event)).nth(most).map(|event| (item, event))
        }
        EventItem::One { .. } => None,
        EventItem::AnyOrder { branches, .. } => {
            branches.iter().find_map(|branch| too_many(branch, complete, events, matches))
        }
    })
}

/// One step of one way through the events. Its state is known only while it is at the front: with many branches, a state
/// is large.
struct Node<'a> {
    parent: Option<usize>,
    /// The event that led here and the item that it was matched by.
    by: Option<(usize, &'a EventItem)>,
}

struct Matcher<'a, 'm, M> {
    items: &'a [EventItem],
    complete: bool,
    events: usize,
    matches: &'m M,
    nodes: Vec<Node<'a>>,
}

impl<'a, M: Matches> Matcher<'a, '_, M> {
    fn run(mut self) -> Outcome<'a> {
        self.nodes.push(Node { parent: None, by: None });
        let mut frontier = vec![(0, State::START)];
        for event in 0..self.events {
            let Some(next) = self.step(&frontier, event) else { return Outcome::TooAmbiguous };
            if next.is_empty() {
                return Outcome::Mismatch(self.mismatch(&frontier, event));
            }
            if next.len() > MOST_STATES || self.nodes.len() > MOST_NODES {
                return Outcome::TooAmbiguous;
            }
            frontier = next;
        }
        if frontier.iter().any(|(_, state)| is_finished(self.items, state)) {
            return Outcome::Match;
        }
        Outcome::Mismatch(self.mismatch(&frontier, self.events))
    }

    /// All states after one more event, each with its node; `None` if they are too large.
    fn step(&mut self, frontier: &[(usize, State)], event: usize) -> Option<Vec<(usize, State)>> {
        let mut seen = HashSet::new();
        let mut next = Vec::new();
        let mut room = MOST_CELLS;
        for (parent, state) in frontier {
            let mut advanced = Advanced { states: Vec::new(), room };
            advance(self.items, state, &|pattern| self.matches.matches(pattern, event), &mut advanced)?;
            room = advanced.room;
            // In a list that isn't complete, the event may also be one that came in between.
            if !self.complete && seen.insert(state.clone()) {
                next.push((*parent, state.clone()));
            }
            for (state, item) in advanced.states {
                if seen.insert(state.clone()) {
                    next.push((self.nodes.len(), state));
                    self.nodes.push(Node { parent: Some(*parent), by: Some((event, item)) });
                }
            }
        }
        Some(next)
    }

    /// Of the ways that got furthest, the one with the least to come.
    fn mismatch(&self, frontier: &[(usize, State)], at: usize) -> Mismatch<'a> {
        let found = |pattern: &EventPattern| (at..self.events).find(|event| self.matches.matches(pattern, *event));
        let ways = frontier.iter().map(|(index, state)| (*index, missing(self.items, state, &found)));
        let (best, missing) = ways.min_by_key(|(_, missing)| missing.len()).unwrap_or_default();
        let mut matched = Vec::new();
        let mut next = Some(best);
        while let Some(node) = next.and_then(|index| self.nodes.get(index)) {
            matched.extend(node.by);
            next = node.parent;
        }
        matched.reverse();
        Mismatch { matched, at, missing }
    }
}

/// The states that a list can be in after an event, each with the item that the event is matched by.
struct Advanced<'a> {
    states: Vec<(State, &'a EventItem)>,
    /// How many cells more states may have.
    room: usize,
}

/// Each state that the list can be in after an event. `None` if there is no room for them.
fn advance<'a>(
    items: &'a [EventItem],
    state: &State,
    matches: &impl Fn(&EventPattern) -> bool,
    out: &mut Advanced<'a>,
) -> Option<()> {
    let mut inner = &state.inner;
    for (index, item) in items.iter().enumerate().skip(state.index) {
        match item {
            EventItem::One { pattern, count, .. } => {
                let done = counted(inner);
                if done < *count.end() && matches(pattern) {
                    out.room = out.room.checked_sub(1)?;
                    out.states.push((after_one(index, count, done.saturating_add(1)), item));
                }
            }
            EventItem::AnyOrder { branches, .. } => {
                let fresh = State::START;
                for (number, branch) in branches.iter().enumerate() {
                    let branch_state =
                        if let Inner::Branches(states) = inner { states.get(number).unwrap_or(&fresh) } else { &fresh };
                    let mut advanced = Advanced { states: Vec::new(), room: out.room };
                    advance(branch, branch_state, matches, &mut advanced)?;
                    out.room = advanced.room;
                    for (new, by) in advanced.states {
                        out.room = out.room.checked_sub(branches.len())?;
                        let mut states = branch_states(branches, inner);
                        if let Some(slot) = states.get_mut(number) {
                            *slot = new;
                        }
                        out.states.push((State { index, inner: Inner::Branches(states) }, by));
                    }
                }
            }
        }
        if !can_end(item, inner) {
            return Some(());
        }
        inner = &Inner::Fresh;
    }
    Some(())
}

/// The state after an item of that index has matched `done` events. Counts that no longer matter are merged, which keeps
/// the number of states low.
fn after_one(index: usize, count: &Range, done: u64) -> State {
    if done >= *count.end() {
        State { index: index.saturating_add(1), inner: Inner::Fresh }
    } else if *count.end() == u64::MAX {
        State { index, inner: Inner::Count(done.min(*count.start())) }
    } else {
        State { index, inner: Inner::Count(done) }
    }
}

fn counted(inner: &Inner) -> u64 {
    if let Inner::Count(done) = inner { *done } else { 0 }
}

fn branch_states(branches: &[Vec<EventItem>], inner: &Inner) -> Vec<State> {
    if let Inner::Branches(states) = inner { states.clone() } else { vec![State::START; branches.len()] }
}

/// Nothing more has to come.
fn is_finished(items: &[EventItem], state: &State) -> bool {
    items.iter().enumerate().skip(state.index).all(|(index, item)| {
        if index == state.index { can_end(item, &state.inner) } else { can_end(item, &Inner::Fresh) }
    })
}

fn can_end(item: &EventItem, inner: &Inner) -> bool {
    match item {
        EventItem::One { count, .. } => counted(inner) >= *count.start(),
        EventItem::AnyOrder { branches, .. } => {
            branches.iter().zip(branch_states(branches, inner)).all(|(branch, state)| is_finished(branch, &state))
        }
    }
}

/// What still has to come. Branches are merged in the order in which the events that they wait for come, so that
/// both can be shown side by side.
fn missing<'a>(
    items: &'a [EventItem],
    state: &State,
    found: &impl Fn(&EventPattern) -> Option<usize>,
) -> Vec<&'a EventItem> {
    /// More lines than anybody reads.
    const MOST: u64 = 100;
    let mut out = Vec::new();
    for (index, item) in items.iter().enumerate().skip(state.index) {
        let fresh = Inner::Fresh;
        let inner = if index == state.index { &state.inner } else { &fresh };
        match item {
            EventItem::One { count, .. } => {
                let needed = count.start().saturating_sub(counted(inner)).min(MOST);
                out.extend((0..needed).map(|_| item));
            }
            EventItem::AnyOrder { branches, .. } => {
                let states = branch_states(branches, inner);
                let rest = branches.iter().zip(&states).map(|(branch, state)| missing(branch, state, found));
                out.extend(merged(rest.collect(), found));
            }
        }
    }
    out
}

fn merged<'a>(
    branches: Vec<Vec<&'a EventItem>>,
    found: &impl Fn(&EventPattern) -> Option<usize>,
) -> Vec<&'a EventItem> {
    let mut keyed = Vec::new();
    for branch in branches {
        // An item can't come before those that precede it in its branch.
        let mut earliest = 0;
        for item in branch {
            if let EventItem::One { pattern, .. } = item {
                earliest = earliest.max(found(pattern).unwrap_or(usize::MAX));
            }
            keyed.push((earliest, item));
        }
    }
    keyed.sort_by_key(|(earliest, _)| *earliest);
    keyed.into_iter().map(|(_, item)| item).collect()
}
