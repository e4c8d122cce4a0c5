//! What a `wait` step waits for.

use super::super::diagnostic::Diagnostic;
use super::super::grammar;
use super::super::model::{Action, Condition, WirePattern};
use super::super::scalar;
use super::super::yaml::Node;
use super::event::{event_namespace, event_pattern, subflow_pattern, wire_pattern};
use super::scope::Scope;
use super::step::SHORT;
use super::{Fields, Read, Reader, all, connection};

/// Reads a `wait` step.
pub(super) fn read(reader: &Reader, fields: &Fields<'_>, scope: &Scope) -> Read<Action> {
    let deadline = fields.or("deadline", SHORT, scalar::duration);
    let mut conditions = Vec::new();
    for entry in fields.node.entries() {
        if entry.value.is_absent() {
            continue;
        }
        let node = &entry.value;
        match entry.key.as_str() {
            "subflows" => conditions.push(subflow_counts(reader, node, scope)),
            "event" => conditions.push(event(reader, node, scope).map(one)),
            "events" => conditions.push(each(reader, node, "`events`", |item| event(reader, item, scope))),
            "counter" => conditions.push(counter(reader, node, scope).map(one)),
            "counters" => conditions.push(each(reader, node, "`counters`", |item| counter(reader, item, scope))),
            "subflow" => conditions.push(subflow(reader, node, scope).map(one)),
            "endpoint" => conditions.push(endpoint(reader, node, scope).map(one)),
            "transferred" => conditions.push(transferred(reader, node, scope).map(one)),
            "wire" => conditions.push(wire(reader, node, scope).map(one)),
            "rule" => conditions.push(super::path::wait(reader, node, scope).map(one)),
            _ => {}
        }
    }
    let conditions: Vec<Condition> = all(conditions)?.into_iter().flatten().collect();
    if conditions.is_empty() && fields.node.entries().iter().all(|entry| entry.key == "deadline") {
        let words: Vec<_> = fields.record.keys.iter().map(|key| format!("`{}`", key.name)).collect();
        return Err(reader.report(Diagnostic::new(fields.place(), "it isn't said what to wait for").help(format!(
            "its keys are {}; to wait until nothing happens any more there is `quiet: 50 ms`",
            words.join(", ")
        ))));
    }
    Ok(Action::Wait { conditions, deadline: deadline? })
}

fn one(condition: Condition) -> Vec<Condition> {
    vec![condition]
}

fn each(reader: &Reader, node: &Node, what: &str, read: impl Fn(&Node) -> Read<Condition>) -> Read<Vec<Condition>> {
    let items = reader.list(node, what)?;
    if items.is_empty() {
        return Err(reader.error(node.place, format!("{what} is empty: there is nothing to wait for")));
    }
    all(items.iter().map(read))
}

fn subflow_counts(reader: &Reader, node: &Node, scope: &Scope) -> Read<Vec<Condition>> {
    let entries = reader.table(node, "`subflows`")?;
    if entries.is_empty() {
        return Err(reader.error(node.place, "`subflows` is empty: there is nothing to wait for"));
    }
    all(entries.iter().map(|entry| {
        let count = reader.scalar(&entry.value, scalar::octet);
        let known = scope.known_connection(reader, &entry.key, entry.place)?;
        known.live_mptcp(reader, entry.place)?;
        Ok(Condition::Subflows { connection: known.name.clone(), count: usize::from(count?) })
    }))
}

fn event(reader: &Reader, node: &Node, scope: &Scope) -> Read<Condition> {
    let fields = reader.record(node, &grammar::WAIT_EVENT)?;
    let namespace = fields.need_node("in").and_then(|node| {
        let namespace = scope.namespace(reader, node)?;
        event_namespace(reader, scope, &namespace, node.place)?;
        Ok(namespace)
    });
    let count = times(&fields);
    let chosen = reader.choice(&fields)?;
    let (pattern, within) = event_pattern(reader, chosen, namespace.as_deref().ok(), scope)?;
    if let Some(place) = within {
        return Err(reader.report(
            Diagnostic::new(place, "here `count` stands beside the event, not within it")
                .help(format!("like `event: {{ in: server, {}: {{ … }}, count: 2 }}`", chosen.key)),
        ));
    }
    Ok(Condition::Event { namespace: namespace?, pattern, count: count? })
}

/// How many times something must have been seen.
fn times(fields: &Fields<'_>) -> Read<usize> {
    fields.or("count", 1, scalar::integer(1, 1_000_000)).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
}

fn counter(reader: &Reader, node: &Node, scope: &Scope) -> Read<Condition> {
    let fields = reader.record(node, &grammar::WAIT_COUNTER)?;
    let namespace = fields.need_node("in").and_then(|node| scope.namespace(reader, node));
    let name = fields.need("name", scalar::counter);
    let at_least = fields.need("at_least", scalar::integer(1, u64::MAX));
    Ok(Condition::Counter { namespace: namespace?, name: name?, at_least: at_least? })
}

fn subflow(reader: &Reader, node: &Node, scope: &Scope) -> Read<Condition> {
    let fields = reader.record(node, &grammar::WAIT_SUBFLOW)?;
    let present = fields.or("present", true, scalar::switch);
    let on = fields.need_node("on").and_then(|node| {
        let known = scope.connection(reader, node)?;
        known.live_mptcp(reader, node.place)?;
        Ok(known)
    });
    let side = fields.need_node("side").and_then(|node| connection::side(reader, on?, node));
    let namespace = match (on, side) {
        (Ok(known), Ok(side)) => known.details.as_ref().map(|details| details.namespace(side)),
        _ => None,
    };
    let pattern = subflow_pattern(reader, &fields, namespace, scope);
    Ok(Condition::Subflow { connection: on?.name.clone(), side: side?, pattern: pattern?, present: present? })
}

fn endpoint(reader: &Reader, node: &Node, scope: &Scope) -> Read<Condition> {
    let fields = reader.record(node, &grammar::WAIT_ENDPOINT)?;
    let namespace = fields.need_node("in").and_then(|node| scope.namespace(reader, node));
    let address = fields.need("address", scalar::address);
    let present = fields.or("present", true, scalar::switch);
    let flags = fields.get("flags").map(|node| super::world::flags(reader, node)).transpose();
    Ok(Condition::Endpoint { namespace: namespace?, address: address?, flags: flags?, present: present? })
}

fn transferred(reader: &Reader, node: &Node, scope: &Scope) -> Read<Condition> {
    let fields = reader.record(node, &grammar::WAIT_TRANSFERRED)?;
    let bytes = fields.need("bytes", scalar::size);
    let on = fields.need_node("on")?;
    let by = fields.need_node("by");
    let known = scope.connection(reader, on)?;
    known.live(reader, on.place)?;
    let sender = by.and_then(|node| connection::side(reader, known, node))?;
    let bytes = bytes?;
    let Some((from_client, from_server)) = known.background else {
        return Err(reader.report(
            Diagnostic::new(on.place, format!("no background transfer of `{}` is running", known.name))
                .help("`transfer: { …, background: on }` starts one"),
        ));
    };
    let all = if sender == crate::recording::Side::Client { from_client } else { from_server };
    if bytes > all {
        let message = format!("that never happens: the transfer has {all} bytes in this direction");
        return Err(reader.error(fields.place_of("bytes"), message));
    }
    Ok(Condition::Transferred { connection: known.name.clone(), sender, bytes })
}

fn wire(reader: &Reader, node: &Node, scope: &Scope) -> Read<Condition> {
    let fields = reader.record(node, &grammar::WAIT_WIRE)?;
    let sender = fields.need_node("in").and_then(|node| scope.namespace(reader, node));
    let count = times(&fields);
    let pattern = wire_pattern(reader, reader.choice(&fields)?);
    Ok(Condition::Wire { pattern: WirePattern { sender: sender?, ..pattern? }, count: count? })
}
