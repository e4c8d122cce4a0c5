//! What a `wait` step waits for.

use super::super::diagnostic::Diagnostic;
use super::super::grammar;
use super::super::model::{Action, Condition, Place, WirePattern};
use super::super::scalar;
use super::super::yaml::Node;
use super::event::{event_namespace, event_pattern, subflow_pattern, wire_pattern};
use super::scope::Scope;
use super::step::SHORT;
use super::{Fields, Read, Reader, all, connection};
use crate::mptcp::Side;

/// Reads a `wait` step.
pub(super) fn read(reader: &Reader, fields: &Fields<'_>, scope: &mut Scope) -> Read<Action> {
    let action = conditions(reader, fields, scope)?;
    if let Action::Wait { conditions, .. } = &action {
        check_news(reader, fields, scope, conditions)?;
    }
    Ok(action)
}

/// What is counted since the start of the run never becomes less: when an earlier step has waited for it, nothing is
/// left to wait for.
fn check_news(reader: &Reader, fields: &Fields<'_>, scope: &mut Scope, conditions: &[Condition]) -> Read<()> {
    let counted: Vec<(String, u64)> = conditions.iter().filter_map(counted).collect();
    let known = |(what, count): &(String, u64)| match scope.awaited.get(what) {
        Some((seen, place)) if seen >= count => Some(*place),
        _ => None,
    };
    let known: Vec<Place> = counted.iter().filter_map(known).collect();
    if let Some(earlier) = known.first()
        && known.len() == conditions.len()
    {
        return Err(reader.report(
            Diagnostic::new(fields.place(), "an earlier step has waited for this: it holds already")
                .context(*earlier, "here")
                .help("it counts since the start of the run; say how many there must be by now"),
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
        Condition::Rule { link, rule, matched } => (rule_key(link, rule), *matched),
        Condition::Subflows { .. } | Condition::Subflow { .. } | Condition::Endpoint { .. } => return None,
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

fn conditions(reader: &Reader, fields: &Fields<'_>, scope: &Scope) -> Read<Action> {
    let deadline = fields.or("timeout", SHORT, scalar::duration);
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
    if conditions.is_empty() && fields.node.entries().iter().all(|entry| entry.key == "timeout") {
        let words: Vec<_> = fields.record.keys.iter().map(|key| format!("`{}`", key.name)).collect();
        return Err(reader.report(Diagnostic::new(fields.place(), "no condition to wait for").help(format!(
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
    let on = fields.need_node("connection").and_then(|node| {
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
    let bytes = fields.need("bytes", scalar::size).and_then(|bytes| {
        let nothing = "the transfer has 0 bytes from its start: there is nothing to wait for";
        if bytes == 0 { Err(reader.error(fields.place_of("bytes"), nothing)) } else { Ok(bytes) }
    });
    let on = fields.need_node("connection")?;
    let by = fields.need_node("by");
    let known = scope.connection(reader, on)?;
    known.live(reader, on.place)?;
    let sender = by.and_then(|node| connection::side(reader, known, node))?;
    let bytes = bytes?;
    let Some(transfer) = known.background else {
        return Err(reader.report(
            Diagnostic::new(on.place, format!("no background transfer of `{}` is running", known.name))
                .help("`transfer: { …, background: true }` starts one"),
        ));
    };
    let all = transfer.from(sender);
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
