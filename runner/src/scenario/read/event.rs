//! Patterns of events, subflows and MPTCP options.

use std::net::IpAddr;

use super::super::diagnostic::Diagnostic;
use super::super::grammar;
use super::super::model::{ErrorPattern, EventPattern, Place, SubflowPattern, WirePattern};
use super::super::scalar::{self, Parsed, Problem};
use super::super::yaml::{Entry, Node};
use super::scope::Scope;
use super::{Fields, Read, Reader};
use crate::mptcp::EventKind;

/// Events of that namespace are recorded.
pub(super) fn event_namespace(reader: &Reader, scope: &Scope, namespace: &str, place: Place) -> Read<()> {
    match scope.silent.get(namespace) {
        Some(off) => Err(reader.report(
            Diagnostic::new(place, format!("no events of `{namespace}` are recorded"))
                .context(*off, "switched off here"),
        )),
        None => Ok(()),
    }
}

/// Reads the fields of an event. Besides, where its `count` is, for those who don't want one there.
pub(super) fn event_pattern(
    reader: &Reader,
    entry: &Entry,
    namespace: Option<&str>,
    scope: &Scope,
) -> Read<(EventPattern, Option<Place>)> {
    let (Some(kind), Some(record)) = (EventKind::from_word(&entry.key), grammar::event_record(&entry.key)) else {
        return Err(reader.error(entry.place, format!("`{}` is not a kind of event", entry.key)));
    };
    let fields = reader.record(&entry.value, record)?;
    let connection = match has(&fields, "connection") {
        Some(node) => connection_of_event(reader, node, namespace, scope).map(Some),
        None => Ok(None),
    };
    let dev = match has(&fields, "dev") {
        Some(node) => device(reader, node, namespace, scope).map(Some),
        None => Ok(None),
    };
    let is_listener = matches!(kind, EventKind::ListenerCreated | EventKind::ListenerClosed);
    let (own, other) = if is_listener { ("address", "") } else { ("", "address") };
    let (own_port, peer_port) = if is_listener { ("port", "") } else { ("", "port") };
    let local = either(&fields, "local", own, scalar::address);
    let remote = either(&fields, "remote", other, scalar::address);
    let local_port = either(&fields, "local_port", own_port, scalar::port);
    let remote_port = either(&fields, "remote_port", peer_port, scalar::port);
    let local_id = either(&fields, "local_id", "", scalar::octet);
    let remote_id = either(&fields, "remote_id", "id", scalar::octet);
    let backup = either(&fields, "backup", "", scalar::switch);
    let error = either(&fields, "error", "", error_pattern);
    let reset_reason = either(&fields, "reset_reason", "", scalar::octet);
    let server_side = either(&fields, "server_side", "", scalar::switch);
    let deny_join_id0 = either(&fields, "deny_join_id0", "", scalar::switch);
    let pattern = EventPattern {
        kind,
        connection: connection?,
        local: canonical(local?),
        remote: canonical(remote?),
        local_port: local_port?,
        remote_port: remote_port?,
        local_id: local_id?,
        remote_id: remote_id?,
        backup: backup?,
        error: error?,
        dev: dev?,
        reset_reason: reset_reason?.map(u32::from),
        server_side: server_side?,
        deny_join_id0: deny_join_id0?,
    };
    Ok((pattern, fields.get("count").map(|node| node.place)))
}

/// The value of a key that this record may not even know.
fn has<'a>(fields: &Fields<'a>, key: &str) -> Option<&'a Node> {
    fields.record.key(key).and_then(|key| fields.get(key.name))
}

/// The value of a key or of its other spelling.
fn either<T>(fields: &Fields<'_>, key: &str, other: &str, parse: impl Fn(&str) -> Parsed<T>) -> Read<Option<T>> {
    match (has(fields, key), has(fields, other)) {
        (Some(_), Some(node)) => {
            let message = format!("`{key}` and `{other}` mean the same; expected one of them");
            Err(fields.reader.error(node.place, message))
        }
        (Some(node), None) | (None, Some(node)) => fields.reader.scalar(node, parse).map(Some),
        (None, None) => Ok(None),
    }
}

fn canonical(address: Option<IpAddr>) -> Option<IpAddr> {
    address.map(|address| address.to_canonical())
}

/// A connection of which the namespace can have events.
fn connection_of_event(reader: &Reader, node: &Node, namespace: Option<&str>, scope: &Scope) -> Read<String> {
    let known = scope.connection(reader, node)?;
    let Some(details) = known.live_or_closed(reader, node.place)? else { return Ok(known.name.clone()) };
    if details.client_protocol == super::super::model::SocketProtocol::Tcp {
        return Err(reader.report(
            Diagnostic::new(node.place, format!("`{}` is a plain TCP connection: it has no events", known.name))
                .context(known.place, "its client's socket is plain TCP"),
        ));
    }
    if let Some(namespace) = namespace {
        known.namespace_is_side(reader, namespace, node.place)?;
    }
    Ok(known.name.clone())
}

fn device(reader: &Reader, node: &Node, namespace: Option<&str>, scope: &Scope) -> Read<String> {
    match namespace {
        Some(namespace) => scope.device(reader, &Ok(namespace.to_owned()), node),
        None => reader.scalar(node, scalar::device),
    }
}

fn error_pattern(text: &str) -> Parsed<ErrorPattern> {
    match text {
        "none" => Ok(ErrorPattern::None),
        "any" => Ok(ErrorPattern::Any),
        _ => match scalar::errno(text) {
            Ok((symbol, number)) => Ok(ErrorPattern::Errno(symbol, number)),
            Err(problem) => Err(Problem {
                message: format!("`{text}` is not an error: it is `none`, `any`, or the symbol of an errno"),
                help: problem.help,
            }),
        },
    }
}

/// Reads the fields of a subflow.
pub(super) fn subflow_pattern(
    reader: &Reader,
    fields: &Fields<'_>,
    namespace: Option<&str>,
    scope: &Scope,
) -> Read<SubflowPattern> {
    let dev = fields.get("dev").map(|node| device(reader, node, namespace, scope)).transpose();
    let local = fields.optional("local", scalar::address);
    let remote = fields.optional("remote", scalar::address);
    let local_port = fields.optional("local_port", scalar::port);
    let remote_port = fields.optional("remote_port", scalar::port);
    let local_id = fields.optional("local_id", scalar::octet);
    let remote_id = fields.optional("remote_id", scalar::octet);
    let backup = fields.optional("backup", scalar::switch);
    let backup_local = fields.optional("backup_local", scalar::switch);
    let backup_remote = fields.optional("backup_remote", scalar::switch);
    let pattern = SubflowPattern {
        local: canonical(local?),
        remote: canonical(remote?),
        local_id: local_id?,
        remote_id: remote_id?,
        local_port: local_port?,
        remote_port: remote_port?,
        backup: backup?,
        backup_local: backup_local?,
        backup_remote: backup_remote?,
        dev: dev?,
    };
    let both = pattern.backup_local.unwrap_or(false) || pattern.backup_remote.unwrap_or(false);
    let neither = pattern.backup_local == Some(false) && pattern.backup_remote == Some(false);
    if (pattern.backup == Some(false) && both) || (pattern.backup == Some(true) && neither) {
        return Err(reader.report(
            Diagnostic::new(fields.place_of("backup"), "no subflow is like that")
                .help("`backup` is on if `backup_local` or `backup_remote` is"),
        ));
    }
    Ok(pattern)
}

/// Reads the fields of an MPTCP option; the sender is left empty.
pub(super) fn wire_pattern(reader: &Reader, entry: &Entry) -> Read<WirePattern> {
    let Some(record) = grammar::wire_record(&entry.key) else {
        return Err(reader.error(entry.place, format!("`{}` is not an MPTCP option", entry.key)));
    };
    let fields = reader.record(&entry.value, record)?;
    let address = either(&fields, "address", "", scalar::address);
    let port = either(&fields, "port", "", scalar::port);
    let id = either(&fields, "id", "", scalar::octet);
    let backup = either(&fields, "backup", "", scalar::switch);
    let from = either(&fields, "from", "", scalar::address);
    let to = either(&fields, "to", "", scalar::address);
    let flags = either(&fields, "flags", "", scalar::octet);
    let reason = either(&fields, "reason", "", scalar::octet);
    let checksum = either(&fields, "checksum", "", scalar::switch);
    Ok(WirePattern {
        sender: String::new(),
        option: entry.key.clone(),
        address: address?,
        port: port?,
        id: id?,
        backup: backup?,
        from: canonical(from?),
        to: canonical(to?),
        flags: flags?,
        reason: reason?,
        checksum: checksum?,
    })
}
