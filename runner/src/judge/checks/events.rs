//! The events of a namespace against an expected list.

use serde_json::{Value, json};

use crate::judge::alignment::{Row, align, side_by_side};
use crate::judge::retransmitted::Retransmitted;
use crate::judge::sequence::{Mismatch, Outcome, match_items};
use crate::judge::verdict::range_value;
use crate::judge::{Finding, FindingKind, render, time_line};
use crate::mptcp::{EventKind, PmEvent};
use crate::pattern::{Seen, event_kinds, observed_json};
use crate::scenario::model::{EventExpectation, EventItem, EventPattern, Feature, Place};

use super::scope::Scope;

/// What is wrong with the events of a namespace.
pub(super) fn check(scope: &Scope<'_, '_>, expected: &EventExpectation) -> Option<Finding> {
    let namespace = expected.namespace.as_str();
    if !scope.names.scenario().world.namespace(namespace).is_some_and(|namespace| namespace.events) {
        // An empty list would hold for it, and mean nothing.
        let summary = format!("events of {namespace}: not recorded in this namespace");
        return Some(Finding::new(FindingKind::Incomplete, summary).placed(expected.place));
    }
    let mut events = time_line::events_of(scope.names, namespace, scope.until);
    if !tells_of_listeners(scope, &expected.items) {
        events.retain(|(_, event)| !is_of_listener(event.kind));
    }
    let list = List { scope, namespace, events };
    let matches = |pattern: &EventPattern, event: usize| list.matches(pattern, event);
    let difference = match match_items(&expected.items, expected.complete, list.events.len(), &matches) {
        Outcome::Match => return None,
        _ if list.holds_with_late_echoes(expected) => return None,
        Outcome::Mismatch(mismatch) => list.mismatch(&mismatch, expected.complete),
        Outcome::TooMany { item, at } => Difference {
            summary: format!("expected `{}`, observed one too many: `{}`", render::event_item(item), list.text(at)),
            detail: String::new(),
            place: Some(item_place(item)),
            expected: item_json(item, true),
            event: at,
            fine: None,
            near: None,
        },
        Outcome::TooAmbiguous => Difference {
            summary: "there are too many ways to match this list: use patterns that tell the events apart, or `count` \
                      for identical ones"
                .to_owned(),
            detail: String::new(),
            place: None,
            expected: None,
            event: list.events.len(),
            fine: None,
            near: None,
        },
    };
    Some(list.finding(expected, &difference))
}

/// Whether a list includes listening sockets. Kernels before 6.2 have no events of them, so a list that must hold
/// there can't name them: it is complete without them, unless the scenario requires `listener_events`.
fn tells_of_listeners(scope: &Scope<'_, '_>, items: &[EventItem]) -> bool {
    scope.names.scenario().requires.contains(&Feature::ListenerEvents) || items.iter().any(names_listener)
}

fn names_listener(item: &EventItem) -> bool {
    match item {
        EventItem::One { pattern, .. } => is_of_listener(pattern.kind),
        EventItem::AnyOrder { branches, .. } => branches.iter().flatten().any(names_listener),
    }
}

fn is_of_listener(kind: EventKind) -> bool {
    matches!(kind, EventKind::ListenerCreated | EventKind::ListenerClosed)
}

/// Where a list and the events diverge.
struct Difference {
    summary: String,
    detail: String,
    /// The item that it is about.
    place: Option<Place>,
    /// What was expected there.
    expected: Option<Value>,
    /// The index of the event, in the namespace's events.
    event: usize,
    /// The index of the last event that is as expected.
    fine: Option<usize>,
    /// The entry of the nearest miss, if nothing came in the place of what was expected.
    near: Option<usize>,
}

/// An event that looks like the expected one.
struct Miss<'a> {
    entry: usize,
    namespace: &'a str,
    event: &'a PmEvent,
    differences: Vec<String>,
}

/// How many near misses are listed.
const MISSES: usize = 3;

/// The events of a namespace, with the indices of their entries.
struct List<'s, 'n, 'a> {
    scope: &'s Scope<'n, 'a>,
    namespace: &'s str,
    events: Vec<(usize, &'a PmEvent)>,
}

impl List<'_, '_, '_> {
    fn matches(&self, pattern: &EventPattern, event: usize) -> bool {
        self.events.get(event).is_some_and(|(_, event)| {
            let connection = event.token.and_then(|token| self.scope.names.connection(self.namespace, token));
            pattern.matches(event, connection)
        })
    }

    /// Whether the list holds if retransmitted announcements are counted where the first one is, whenever they came, or
    /// aren't counted at all.
    fn holds_with_late_echoes(&self, expected: &EventExpectation) -> bool {
        let again = Retransmitted::of(self.scope.names, self.scope.until).events(
            self.scope.names,
            self.namespace,
            &self.events,
        );
        if again.is_empty() {
            return false;
        }
        let mut gathered: Vec<usize> = (0..self.events.len()).collect();
        gathered.sort_by_key(|event| again.get(event).copied().unwrap_or(*event));
        let without = gathered.iter().copied().filter(|event| !again.contains_key(event)).collect();
        [gathered, without].into_iter().any(|events: Vec<usize>| {
            let matches = |pattern: &EventPattern, event: usize| {
                events.get(event).is_some_and(|event| self.matches(pattern, *event))
            };
            matches!(match_items(&expected.items, expected.complete, events.len(), &matches), Outcome::Match)
        })
    }

    fn text(&self, event: usize) -> String {
        let event = self.events.get(event);
        event.map_or_else(String::new, |(_, event)| render::event(self.scope.names, self.namespace, event))
    }

    fn mismatch(&self, mismatch: &Mismatch<'_>, complete: bool) -> Difference {
        let wanted = mismatch.missing.first();
        let misses = wanted.map(|item| self.nearest_misses(item, mismatch)).unwrap_or_default();
        let mut summary = self.summary(mismatch);
        let came = self.events.get(mismatch.at).map(|(entry, _)| *entry);
        if let Some(nearest) = misses.first().filter(|nearest| came == Some(nearest.entry)) {
            summary = format!("{summary}: {}", nearest.differences.join(", "));
        }
        let mut detail = String::new();
        if !misses.is_empty() {
            let lines = misses.iter().map(|miss| {
                let event = render::event(self.scope.names, miss.namespace, miss.event);
                format!("{}: {event}: {}", miss.namespace, miss.differences.join(", "))
            });
            detail = format!("nearest misses:\n{}", render::indented(lines));
        }
        detail.push_str(&side_by_side(&self.rows(mismatch, complete)));
        Difference {
            summary,
            detail,
            place: wanted.map(|item| item_place(item)),
            expected: wanted.and_then(|item| item_json(item, false)),
            event: mismatch.at,
            fine: mismatch.matched.last().map(|(event, _)| *event),
            near: misses.first().filter(|_| came.is_none()).map(|nearest| nearest.entry),
        }
    }

    /// The events of the expected kind that look most like it: those of this namespace that nothing else in the list stands
    /// for, and those of others.
    fn nearest_misses(&self, wanted: &EventItem, mismatch: &Mismatch<'_>) -> Vec<Miss<'_>> {
        let EventItem::One { pattern, .. } = wanted else { return Vec::new() };
        let is_taken = |event: usize| mismatch.matched.iter().any(|(matched, _)| *matched == event);
        let own = self.events.iter().enumerate().filter(|(index, _)| !is_taken(*index));
        let own = own.filter_map(|(index, (entry, event))| {
            let mut differences = self.differences(self.namespace, pattern, event)?;
            if differences.is_empty() {
                // With nothing else to tell them apart, it is the place in the list.
                let when = if index < mismatch.at { "earlier" } else { "later" };
                differences.push(format!("{when} than expected"));
            }
            Some(Miss { entry: *entry, namespace: self.namespace, event, differences })
        });
        let namespaces = self.scope.names.scenario().world.namespaces.iter().map(|namespace| namespace.name.as_str());
        let others = namespaces.filter(|namespace| *namespace != self.namespace).flat_map(|namespace| {
            let events = time_line::events_of(self.scope.names, namespace, self.scope.until).into_iter();
            events.filter_map(move |(entry, event)| {
                let mut differences = self.differences(namespace, pattern, event)?;
                differences.insert(0, format!("in {namespace} instead of {}", self.namespace));
                Some(Miss { entry, namespace, event, differences })
            })
        });
        let mut misses: Vec<Miss<'_>> = own.chain(others).collect();
        // The sort is stable: of those that differ alike, the first come first.
        misses.sort_by_key(|miss| miss.differences.len());
        misses.truncate(MISSES);
        misses
    }

    fn differences(&self, namespace: &str, pattern: &EventPattern, event: &PmEvent) -> Option<Vec<String>> {
        let connection = event.token.and_then(|token| self.scope.names.connection(namespace, token));
        pattern.differences(event, connection)
    }

    fn summary(&self, mismatch: &Mismatch<'_>) -> String {
        let wanted = mismatch.missing.first().map(|item| one_text(item));
        match (self.events.get(mismatch.at), wanted) {
            (Some(_), Some(wanted)) => format!("expected `{wanted}`, observed `{}`", self.text(mismatch.at)),
            (Some(_), None) => format!("observed `{}`, which is not in the list", self.text(mismatch.at)),
            (None, Some(wanted)) => format!("expected `{wanted}`, which is missing"),
            (None, None) => "the list is incomplete".to_owned(),
        }
    }

    fn rows(&self, mismatch: &Mismatch<'_>, complete: bool) -> Vec<Row> {
        let mut matched = mismatch.matched.iter().peekable();
        let mut rows = Vec::new();
        // In a list that isn't complete, each way goes through to the end: what is missing is missing after the
        // last event that was matched.
        let at = if complete { mismatch.at } else { mismatch.matched.last().map_or(0, |(event, _)| event + 1) };
        for event in 0..at {
            let by = matched.next_if(|(matched, _)| *matched == event);
            let expected = by.map(|(_, item)| one_text(item));
            rows.push(Row { expected, observed: Some(self.text(event)), fine: true });
        }
        let rest: Vec<usize> = (at..self.events.len()).collect();
        let alike = |item: &&EventItem, event: &usize| match item {
            EventItem::One { pattern, .. } => self.matches(pattern, *event),
            EventItem::AnyOrder { .. } => false,
        };
        let mut tail = align(&mismatch.missing, &rest, alike, |item| one_text(item), |event| self.text(*event));
        if !complete {
            for row in &mut tail {
                row.fine |= row.expected.is_none();
            }
        }
        rows.extend(tail);
        rows
    }

    fn finding(&self, expected: &EventExpectation, difference: &Difference) -> Finding {
        let scope = self.scope;
        let came = self.events.get(difference.event).map(|(entry, _)| *entry);
        let entry = came.or(difference.near).unwrap_or(scope.until);
        let time = scope.names.recording().entries.get(entry).map(|entry| entry.at).or(scope.at());
        let fine = difference.fine.and_then(|event| self.events.get(event)).map(|(entry, _)| *entry);
        let context = time_line::around_both(scope.names, fine, entry);
        let detail = if difference.detail.is_empty() { context } else { format!("{}\n{context}", difference.detail) };
        let summary = format!("events of {} {}: {}", self.namespace, scope.when, difference.summary);
        let finding = Finding::new(FindingKind::Events, summary)
            .placed(difference.place.unwrap_or(expected.place))
            .detailed(detail)
            .at(time);
        let observed = self.events.get(difference.event).map(|(_, event)| self.event_json(event));
        match (&difference.expected, observed) {
            (None, None) => finding,
            (wanted, observed) => finding.valued(wanted, observed),
        }
    }

    /// An event as scenarios write it.
    fn event_json(&self, event: &PmEvent) -> Value {
        let connection = event.token.and_then(|token| self.scope.names.connection(self.namespace, token));
        let seen = Seen { what: event, connection, segment: None };
        json!({ event.kind.word(): observed_json(event_kinds(&[event.kind]), seen) })
    }
}

/// An item as scenarios write it, with its count if that matters.
fn item_json(item: &EventItem, with_count: bool) -> Option<Value> {
    let EventItem::One { pattern, count, .. } = item else { return None };
    let mut fields = pattern.fields.json(event_kinds(&[pattern.kind]));
    if with_count {
        fields.insert("count".to_owned(), range_value(count));
    }
    Some(json!({ pattern.kind.word(): fields }))
}

fn item_place(item: &EventItem) -> Place {
    match item {
        EventItem::One { place, .. } | EventItem::AnyOrder { place, .. } => *place,
    }
}

/// One occurrence of an item.
fn one_text(item: &EventItem) -> String {
    match item {
        EventItem::One { pattern, .. } => pattern.to_string(),
        any_order @ EventItem::AnyOrder { .. } => render::event_item(any_order),
    }
}
