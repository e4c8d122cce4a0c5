//! What was seen, as expectations: events in the order that the kernel promises, everything else in any order.

use std::fmt::Write as _;

use super::steps::quoted;
use crate::errno::errno_symbol;
use crate::mptcp::{EventKind, PmEvent};

/// An event that is expected.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// The name of its connection.
    pub(super) connection: String,
    pub(super) event: PmEvent,
    /// The announced port is one of its own, not that of the connection.
    pub(super) with_port: bool,
}

impl Expected {
    /// Like `sub_established: { local: 10.0.1.2 }`.
    pub(super) fn words(&self, named: bool) -> String {
        let event = &self.event;
        let mut keys: Vec<String> = Vec::new();
        let needs_name = named || matches!(event.kind, EventKind::Created | EventKind::Established | EventKind::Closed);
        if needs_name {
            keys.push(format!("connection: {}", self.connection));
        }
        let mut add = |key: &str, value: Option<String>| keys.extend(value.map(|value| format!("{key}: {value}")));
        let is_subflow =
            matches!(event.kind, EventKind::SubEstablished | EventKind::SubClosed | EventKind::SubPriority);
        let is_opening = matches!(event.kind, EventKind::Created | EventKind::Established);
        if is_subflow || is_opening {
            add("local", event.local.map(quoted));
            add("remote", event.remote.map(quoted));
        }
        if is_subflow {
            add("local_id", event.local_id.map(|id| id.to_string()));
            add("remote_id", event.remote_id.map(|id| id.to_string()));
        }
        match event.kind {
            EventKind::Announced => {
                add("address", event.remote.map(quoted));
                add("id", event.remote_id.map(|id| id.to_string()));
                add("port", event.remote_port.filter(|port| self.with_port && *port != 0).map(|port| port.to_string()));
            }
            EventKind::Removed => add("id", event.remote_id.map(|id| id.to_string())),
            EventKind::SubClosed => add("error", event.error.and_then(error)),
            EventKind::SubPriority => add("backup", event.backup.map(|backup| (backup != 0).to_string())),
            EventKind::SubEstablished => {
                add("backup", event.backup.filter(|backup| *backup != 0).map(|_| "true".to_owned()));
            }
            _ => {}
        }
        format!("{}: {{ {} }}", event.kind.word(), keys.join(", "))
    }

    /// Nothing is independent of it: it is before everything that follows, and after all before.
    fn is_fixed(&self) -> bool {
        matches!(self.event.kind, EventKind::Created | EventKind::Established | EventKind::Closed)
    }

    /// Can only happen after the other one.
    fn follows(&self, other: &Self) -> bool {
        let (it, earlier) = (&self.event, &other.event);
        if self.connection != other.connection {
            return false;
        }
        match (earlier.kind, it.kind) {
            (EventKind::Announced, EventKind::SubEstablished) => earlier.remote == it.remote,
            (EventKind::Removed, EventKind::SubClosed) => earlier.remote_id == it.remote_id,
            (EventKind::SubEstablished | EventKind::SubPriority, EventKind::SubClosed | EventKind::SubPriority)
            | (EventKind::SubClosed, EventKind::SubEstablished) => {
                (earlier.local, earlier.remote) == (it.local, it.remote)
            }
            _ => false,
        }
    }
}

/// The symbol of an errno, if it has one.
fn error(number: u8) -> Option<String> {
    let symbol = errno_symbol(i32::from(number));
    symbol.starts_with('E').then_some(symbol)
}

/// The lines of a list of events, without indentation. Within a stretch no step happened.
pub(super) fn lines(stretches: &[Vec<Expected>], named: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for stretch in stretches {
        for part in stretch.split_inclusive(Expected::is_fixed) {
            let (fixed, free) = match part.split_last() {
                Some((last, rest)) if last.is_fixed() => (Some(last), rest),
                _ => (None, part),
            };
            unordered(free, named, &mut lines);
            lines.extend(fixed.map(|it| format!("- {}", it.words(named))));
        }
    }
    lines
}

/// Events without an order, except where one can only follow another.
fn unordered(events: &[Expected], named: bool, lines: &mut Vec<String>) {
    // What everything else depends on comes first.
    if let Some((first, rest)) = events.split_first()
        && (rest.is_empty() || rest.iter().all(|it| it.follows(first)))
    {
        lines.push(format!("- {}", first.words(named)));
        if !rest.is_empty() {
            unordered(rest, named, lines);
        }
        return;
    }
    if events.is_empty() {
        return;
    }
    let mut chains: Vec<Vec<&Expected>> = Vec::new();
    for event in events {
        match chains.iter_mut().find(|chain| chain.last().is_some_and(|last| event.follows(last))) {
            Some(chain) => chain.push(event),
            None => chains.push(vec![event]),
        }
    }
    if let [chain] = chains.as_slice() {
        lines.extend(chain.iter().map(|it| format!("- {}", it.words(named))));
        return;
    }
    lines.push("- any_order:".to_owned());
    for chain in chains {
        let mut line = String::from("    - ");
        let words: Vec<String> = chain.iter().map(|it| it.words(named)).collect();
        match words.as_slice() {
            [one] => line.push_str(one),
            many => _ = write!(line, "[{}]", many.join(", ")),
        }
        lines.push(line);
    }
}
