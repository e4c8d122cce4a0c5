//! What a `wait` step waits for.

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{self, EVENT_KEYS, Kind, SUBFLOW_KEYS, Shape, WIRE_OPTIONS};
use super::super::model::{Condition, EventPattern, Place, SubflowPattern, WirePattern};
use super::super::record::{group, part};
use super::super::scalar;
use super::super::yaml::Node;
use super::event::{event_namespace, event_pattern, subflow_pattern, wire_pattern};
use super::part::OneSide;
use super::scope::Scope;
use super::{At, Fields, Read, all, connection};
use crate::mptcp::Side;

group! {
    /// What a `wait` step waits for.
    Conditions: Vec<Condition> = &grammar::CONDITIONS_OF_WAIT, conditions
}

group! {
    /// A namespace of which events are recorded.
    EventNamespace: String = &[grammar::IN], |at| {
        let namespace = at.namespace().clone()?;
        event_namespace(at.reader, at.scope, &namespace, at.fields.place_of("in"))?;
        Ok(namespace)
    }
}

group! {
    /// An event like this.
    EventSeen: EventPattern = &[]; one of &EVENT_KEYS, |at| {
        let chosen = at.reader.choice(at.fields)?;
        let (pattern, within) =
            event_pattern(at.reader, chosen, at.namespace().as_deref().ok(), at.scope)?;
        match within {
            None => Ok(pattern),
            Some(place) => Err(at.reader.report(
                Diagnostic::new(place, "`count` belongs beside the event, not inside it")
                    .help(format!("like `event: {{ in: server, {}: {{ … }}, count: 2 }}`", chosen.key)),
            )),
        }
    }
}

group! {
    /// A subflow like this, of `side` of `connection`.
    SubflowLike: SubflowPattern = &SUBFLOW_KEYS, |at| {
        let side = at.need::<OneSide>("side");
        let namespace = match (at.connection(), side) {
            (Ok(known), Ok(side)) => known.details.as_ref().map(|details| details.namespace(side)),
            _ => None,
        };
        subflow_pattern(at.reader, at.fields, namespace, at.scope)
    }
}

group! {
    /// An MPTCP option like this, with its sender.
    OptionSent: WirePattern = &[grammar::IN.doc("The namespace that sends it.")]; one of &WIRE_OPTIONS, |at| {
        let pattern = wire_pattern(at.reader, at.reader.choice(at.fields)?);
        Ok(WirePattern { sender: at.namespace().clone()?, ..pattern? })
    }
}

part! {
    /// How many bytes of a background transfer have arrived: more than none, and no more than it has.
    Moved: u64 = Shape::Scalar(Kind::Size), |at, node| {
        let bytes = at.reader.scalar(node, scalar::size)?;
        if bytes == 0 {
            let nothing = "a transfer has always delivered 0 bytes; expected more";
            return Err(at.reader.error(node.place, nothing));
        }
        let known = at.connection()?;
        known.live(at.reader, at.fields.place_of("connection"))?;
        let Some(transfer) = known.background else {
            return Err(connection::none_is_running(at.fields, &known.name));
        };
        let all = transfer.from(at.need::<OneSide>("by")?);
        if bytes > all {
            let message = format!("the transfer has only {all} bytes in this direction");
            return Err(at.reader.error(node.place, message));
        }
        Ok(bytes)
    }
}

/// What is counted since the start of the run never becomes less: when an earlier step has waited for it, nothing is
/// left to wait for.
pub(super) fn check_news(fields: &Fields<'_>, conditions: &[Condition], scope: &mut Scope) -> Read<()> {
    let counted: Vec<(String, u64)> = conditions.iter().filter_map(counted).collect();
    let known = |(what, count): &(String, u64)| match scope.awaited.get(what) {
        Some((seen, place)) if seen >= count => Some(*place),
        _ => None,
    };
    let known: Vec<Place> = counted.iter().filter_map(known).collect();
    if let Some(earlier) = known.first()
        && known.len() == conditions.len()
    {
        return Err(fields.reader.report(
            Diagnostic::new(fields.place(), "this condition already holds: an earlier step has waited for it")
                .context(*earlier, "here")
                .help("the count starts at the beginning of the run; expect a larger one"),
        ));
    }
    for (what, count) in counted {
        let seen = scope.awaited.entry(what).or_insert((count, fields.place()));
        if seen.0 < count {
            *seen = (count, fields.place());
        }
    }
    Ok(())
}

/// What a condition counts, and how many there must be, if the number can only grow.
fn counted(condition: &Condition) -> Option<(String, u64)> {
    let number = |count: &usize| u64::try_from(*count).unwrap_or(u64::MAX);
    Some(match condition {
        Condition::Event { namespace, pattern, count } => (format!("event {namespace} {pattern:?}"), number(count)),
        Condition::Wire { pattern, count } => (format!("wire {pattern:?}"), number(count)),
        // Those of what there is now (MPTcpExtMPCurrEstab, TcpCurrEstab) become less, too.
        Condition::Counter { name, .. } if name.ends_with("CurrEstab") => return None,
        Condition::Counter { namespace, name, at_least } => (format!("counter {namespace} {name}"), *at_least),
        Condition::Transferred { connection, sender, bytes } => (transferred_key(connection, *sender), *bytes),
        Condition::Output { program, contains, count } => (format!("output {program} {contains}"), number(count)),
        Condition::Rule { link, rule, matched } => (rule_key(link, rule), *matched),
        Condition::Subflows { .. }
        | Condition::Subflow { .. }
        | Condition::Endpoint { .. }
        | Condition::Queue { .. }
        | Condition::Sockets { .. } => return None,
    })
}

/// What `awaited` has for a direction of a connection's transfer. The next transfer begins from 0.
pub(super) fn transferred_key(connection: &str, sender: Side) -> String {
    format!("transferred {connection} {sender:?}")
}

/// What `awaited` has for a rule. One that is installed anew begins from 0.
pub(super) fn rule_key(link: &str, rule: &str) -> String {
    format!("rule {link} {rule}")
}

fn conditions(at: &At<'_>) -> Read<Vec<Condition>> {
    let read = at.fields.node.entries().iter().filter(|entry| !entry.value.is_absent()).map(|entry| {
        let (word, node) = (entry.key.as_str(), &entry.value);
        match word {
            "subflows" => subflow_counts(at, node),
            "events" => each(at, "event", node),
            "counters" => each(at, "counter", node),
            _ if Condition::KEYS.iter().any(|key| key.name == word) => {
                Condition::chosen(at, word, node).map(|condition| vec![condition])
            }
            _ => Ok(Vec::new()),
        }
    });
    let conditions: Vec<Condition> = all(read)?.into_iter().flatten().collect();
    if conditions.is_empty() && at.fields.node.entries().iter().all(|entry| entry.key == "timeout") {
        let words: Vec<_> = at.fields.record.keys.iter().map(|key| format!("`{}`", key.name)).collect();
        return Err(at.reader.report(
            Diagnostic::new(at.fields.place(), "expected a condition to wait for").help(format!(
                "its keys are {}; `quiet: 50 ms` waits until nothing happens any more",
                words.join(", ")
            )),
        ));
    }
    Ok(conditions)
}

/// Conditions of one kind.
fn each(at: &At<'_>, word: &str, node: &Node) -> Read<Vec<Condition>> {
    let items = at.list(node)?;
    if items.is_empty() {
        let message = format!("`{word}s` is empty; expected a condition to wait for");
        return Err(at.reader.error(node.place, message));
    }
    all(items.iter().map(|item| Condition::chosen(at, word, item)))
}

fn subflow_counts(at: &At<'_>, node: &Node) -> Read<Vec<Condition>> {
    let At { reader, scope, .. } = at;
    let entries = reader.table(node, "`subflows`")?;
    if entries.is_empty() {
        return Err(reader.error(node.place, "`subflows` is empty; expected a condition to wait for"));
    }
    all(entries.iter().map(|entry| {
        let count = reader.scalar(&entry.value, scalar::octet);
        let known = scope.known_connection(reader, &entry.key, entry.place)?;
        known.live_mptcp(reader, entry.place)?;
        Ok(Condition::Subflows { connection: known.name.clone(), count: usize::from(count?) })
    }))
}
