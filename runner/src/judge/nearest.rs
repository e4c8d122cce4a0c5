//! Nearest misses: what looks almost like what was expected, and in which fields it differs.

use std::fmt::Display;
use std::net::IpAddr;

use crate::mptcp::{Endpoint, EventKind, PmEvent, SubflowFlags, SubflowState, canonical};
use crate::scenario::model::{ErrorPattern, EventPattern, SubflowPattern, WirePattern};
use crate::wire::Segment;

use super::matching::option_fields;
use super::render;

/// Fields that differ, in words: `id 2 instead of 1`.
pub(super) type Differences = Vec<String>;

fn compare<T: PartialEq + Display>(differences: &mut Differences, field: &str, wanted: Option<T>, observed: Option<T>) {
    match (wanted, observed) {
        (Some(wanted), Some(observed)) if wanted != observed => {
            differences.push(format!("{field} {observed} instead of {wanted}"));
        }
        (Some(wanted), None) => differences.push(format!("no {field} instead of {wanted}")),
        _ => {}
    }
}

/// In which fields a subflow differs from a pattern.
pub(super) fn of_subflow(pattern: &SubflowPattern, subflow: &SubflowState) -> Differences {
    let local = subflow.flags.contains(SubflowFlags::BKUP_LOC);
    let remote = subflow.flags.contains(SubflowFlags::BKUP_REM);
    let mut differences = Vec::new();
    let found = &mut differences;
    compare(found, "local", pattern.local.map(canonical), Some(canonical(subflow.local.ip())));
    compare(found, "local_port", pattern.local_port, Some(subflow.local.port()));
    compare(found, "remote", pattern.remote.map(canonical), Some(canonical(subflow.remote.ip())));
    compare(found, "remote_port", pattern.remote_port, Some(subflow.remote.port()));
    compare(found, "local_id", pattern.local_id, Some(subflow.local_id));
    compare(found, "remote_id", pattern.remote_id, Some(subflow.remote_id));
    compare(found, "backup", pattern.backup, Some(local || remote));
    compare(found, "backup_local", pattern.backup_local, Some(local));
    compare(found, "backup_remote", pattern.backup_remote, Some(remote));
    compare(found, "dev", pattern.dev.as_ref(), subflow.dev.as_ref());
    differences
}

/// In which fields an event differs from a pattern; `None` if it is of another kind. `connection` is the name of the
/// connection that its token belongs to.
pub(super) fn of_event(pattern: &EventPattern, event: &PmEvent, connection: Option<&str>) -> Option<Differences> {
    if pattern.kind != event.kind {
        return None;
    }
    let mut differences = Vec::new();
    let found = &mut differences;
    let address = |address: Option<IpAddr>| address.map(canonical);
    let remote = if pattern.kind == EventKind::Announced { "address" } else { "remote" };
    compare(found, "connection", pattern.connection.as_deref(), connection);
    compare(found, "local", address(pattern.local), address(event.local));
    compare(found, "local_port", pattern.local_port, event.local_port);
    compare(found, remote, address(pattern.remote), address(event.remote));
    compare(found, "remote_port", pattern.remote_port, event.remote_port);
    compare(found, "local_id", pattern.local_id, event.local_id);
    compare(found, "remote_id", pattern.remote_id, event.remote_id);
    compare(found, "backup", pattern.backup, event.backup.map(|backup| backup != 0));
    let error = event.error.map_or_else(|| "none".to_owned(), render::errno);
    match &pattern.error {
        Some(ErrorPattern::Any) if event.error.is_none() => compare(found, "error", Some("any".to_owned()), None),
        Some(ErrorPattern::None) => compare(found, "error", Some("none".to_owned()), Some(error)),
        Some(ErrorPattern::Errno(symbol, number)) if event.error.map(i32::from) != Some(*number) => {
            compare(found, "error", Some(symbol.clone()), Some(error));
        }
        Some(ErrorPattern::Any | ErrorPattern::Errno(..)) | None => {}
    }
    compare(found, "dev", pattern.dev.as_ref(), event.dev.as_ref());
    compare(found, "reset_reason", pattern.reset_reason, event.reset_reason);
    compare(found, "server_side", pattern.server_side, Some(event.server_side));
    compare(found, "deny_join_id0", pattern.deny_join_id0, Some(event.deny_join_id0));
    Some(differences)
}

/// In which fields a dumped endpoint differs from an expected one.
pub(super) fn of_endpoint(expected: &Endpoint, dumped: &Endpoint) -> Differences {
    let mut differences = Vec::new();
    let found = &mut differences;
    compare(found, "address", Some(canonical(expected.address)), Some(canonical(dumped.address)));
    // A port, a device and flags that are not expected differ as well.
    let port = |port: Option<u16>| Some(port.map_or_else(|| "none".to_owned(), |port| port.to_string()));
    compare(found, "port", port(expected.port), port(dumped.port));
    compare(found, "id", expected.id, dumped.id);
    let flags =
        |endpoint: &Endpoint| if endpoint.flags.is_empty() { "none".to_owned() } else { endpoint.flags.to_string() };
    compare(found, "flags", Some(flags(expected)), Some(flags(dumped)));
    let dev = |endpoint: &Endpoint| Some(endpoint.dev.clone().unwrap_or_else(|| "none".to_owned()));
    compare(found, "dev", dev(expected), dev(dumped));
    differences
}

/// In which fields the option of a segment that `sender` sent differs from a pattern; `None` if the segment carries no
/// such option.
pub(super) fn of_segment(pattern: &WirePattern, sender: &str, segment: &Segment) -> Option<Differences> {
    let mut differences = Vec::new();
    compare(&mut differences, "sender", Some(pattern.sender.as_str()), Some(sender));
    let address = |address: Option<IpAddr>| address.map(canonical);
    compare(&mut differences, "from", address(pattern.from), address(Some(segment.source.ip())));
    compare(&mut differences, "to", address(pattern.to), address(Some(segment.destination.ip())));
    let options = segment.options.iter().filter(|option| option.is_called(&pattern.option));
    let of_options = options.map(|option| {
        let fields = option_fields(option);
        let mut differences = Vec::new();
        let found = &mut differences;
        compare(found, "address", pattern.address, fields.address);
        compare(found, "port", pattern.port, fields.port);
        if let Some(id) = pattern.id.filter(|id| !fields.ids.contains(id)) {
            let ids: Vec<String> = fields.ids.iter().map(u8::to_string).collect();
            differences.push(format!("id {} instead of {id}", ids.join(" ")));
        }
        let found = &mut differences;
        compare(found, "backup", pattern.backup, fields.backup);
        compare(found, "flags", pattern.flags.map(hexadecimal), fields.flags.map(hexadecimal));
        compare(found, "reason", pattern.reason, fields.reason);
        compare(found, "checksum", pattern.checksum, fields.checksum);
        differences
    });
    differences.extend(of_options.min_by_key(Vec::len)?);
    Some(differences)
}

fn hexadecimal(flags: u8) -> String {
    format!("{flags:#04x}")
}

/// What stands behind a missing one: `; nearest: X (id 2 instead of 1)`, and `: id 2 instead of 1` for a summary. `None` if
/// there is nothing to compare it with.
pub(super) fn miss<T>(
    all: impl Iterator<Item = (T, Differences)>,
    name: impl Fn(T) -> String,
) -> Option<(String, String)> {
    let (one, differences) = nearest(all)?;
    let differences = differences.join(", ");
    Some((format!("; nearest: {} ({differences})", name(one)), format!(": {differences}")))
}

/// The one that differs least, with its differences. The first of several that differ alike.
fn nearest<T>(all: impl Iterator<Item = (T, Differences)>) -> Option<(T, Differences)> {
    all.min_by_key(|(_, differences)| differences.len())
}
