//! One line of text for one thing: an observed event, a subflow, a segment, or a pattern for one of them.

use std::fmt::{Display, Write as _};

use nix::errno::Errno;

use crate::mptcp::{EventKind, PmEvent, SubflowFlags, SubflowState, TCP_ESTABLISHED, tcp_state_word};
use crate::scenario::model::{
    ErrorPattern, EventItem, EventPattern, Range, SubflowPattern, WireExpectation, WirePattern,
};
use crate::wire::{MptcpOption, Segment, TcpFlags};

use super::names::{Names, end};

/// Appends ` word value`, if there is a value.
pub(super) fn push<T: Display>(text: &mut String, word: &str, value: Option<T>) {
    if let Some(value) = value {
        _ = write!(text, " {word} {value}");
    }
}

/// Appends ` word` or, if it is expressly not so, ` word: no`.
fn push_flag(text: &mut String, word: &str, value: Option<bool>) {
    match value {
        Some(true) => _ = write!(text, " {word}"),
        Some(false) => _ = write!(text, " {word}: no"),
        None => {}
    }
}

/// The symbol of an errno: `ECONNREFUSED`; a number that has none is shown as it is.
pub(super) fn errno(number: u8) -> String {
    let errno = Errno::from_raw(number.into());
    if errno == Errno::UnknownErrno { format!("errno {number}") } else { format!("{errno:?}") }
}

/// A count range: `3`, `2..=4`, `at least 1`, `at most 3`.
pub(super) fn range(range: &Range) -> String {
    match (*range.start(), *range.end()) {
        (start, end) if start == end => start.to_string(),
        (start, u64::MAX) => format!("at least {start}"),
        (0, end) => format!("at most {end}"),
        (start, end) => format!("{start}..={end}"),
    }
}

/// Indented lines, for a finding's detail.
pub(super) fn indented(lines: impl Iterator<Item = impl Display>) -> String {
    lines.fold(String::new(), |mut text, line| {
        _ = writeln!(text, "  {line}");
        text
    })
}

/// An event with everything it says, volatile values included.
pub(super) fn event(names: &Names<'_>, namespace: &str, event: &PmEvent) -> String {
    let mut text = event.kind.word();
    if let Some(token) = event.token {
        _ = write!(text, " {}", names.token(namespace, token));
    }
    match (event.local, event.remote) {
        (Some(local), Some(remote)) => {
            let local = end(Some(local), event.local_port);
            _ = write!(text, " {local} > {}", end(Some(remote), event.remote_port));
        }
        (Some(address), None) => _ = write!(text, " {}", end(Some(address), event.local_port)),
        (None, Some(address)) => _ = write!(text, " {}", end(Some(address), event.remote_port)),
        (None, None) => {}
    }
    if event.kind != EventKind::Created && event.kind != EventKind::Established {
        push(&mut text, "local_id", event.local_id);
        push(&mut text, "remote_id", event.remote_id);
    }
    if event.backup == Some(1) {
        text.push_str(" backup");
    }
    push(&mut text, "error", event.error.map(errno));
    push(&mut text, "dev", event.dev.as_ref());
    push(&mut text, "reset_reason", event.reset_reason);
    if event.server_side {
        text.push_str(" server_side");
    }
    if event.deny_join_id0 {
        text.push_str(" deny_join_id0");
    }
    text
}

/// What an event must look like.
pub(super) fn event_pattern(pattern: &EventPattern) -> String {
    let mut text = pattern.kind.word();
    push(&mut text, "connection", pattern.connection.as_ref());
    push(&mut text, "local", pattern.local);
    push(&mut text, "local_port", pattern.local_port);
    push(&mut text, if pattern.kind == EventKind::Announced { "address" } else { "remote" }, pattern.remote);
    push(&mut text, "remote_port", pattern.remote_port);
    push(&mut text, "local_id", pattern.local_id);
    push(&mut text, "remote_id", pattern.remote_id);
    push_flag(&mut text, "backup", pattern.backup);
    match &pattern.error {
        Some(ErrorPattern::None) => text.push_str(" error none"),
        Some(ErrorPattern::Any) => text.push_str(" error any"),
        Some(ErrorPattern::Errno(symbol, _)) => push(&mut text, "error", Some(symbol)),
        None => {}
    }
    push(&mut text, "dev", pattern.dev.as_ref());
    push(&mut text, "reset_reason", pattern.reset_reason);
    push_flag(&mut text, "server_side", pattern.server_side);
    push_flag(&mut text, "deny_join_id0", pattern.deny_join_id0);
    text
}

/// An item of an event list.
pub(super) fn event_item(item: &EventItem) -> String {
    match item {
        EventItem::One { pattern, count, .. } if *count == (1..=1) => event_pattern(pattern),
        EventItem::One { pattern, count, .. } => format!("{} (count {})", event_pattern(pattern), range(count)),
        EventItem::AnyOrder { branches, .. } => {
            let branches = branches.iter().map(|branch| {
                let items: Vec<String> = branch.iter().map(event_item).collect();
                items.join(", then ")
            });
            format!("in any order: {}", branches.collect::<Vec<_>>().join("; "))
        }
    }
}

/// A subflow of a dump.
pub(super) fn subflow(subflow: &SubflowState) -> String {
    let local = end(Some(subflow.local.ip()), Some(subflow.local.port()));
    let remote = end(Some(subflow.remote.ip()), Some(subflow.remote.port()));
    let mut text = format!("{local} > {remote} local_id {} remote_id {}", subflow.local_id, subflow.remote_id);
    if subflow.flags.contains(SubflowFlags::BKUP_LOC) {
        text.push_str(" backup_local");
    }
    if subflow.flags.contains(SubflowFlags::BKUP_REM) {
        text.push_str(" backup_remote");
    }
    push(&mut text, "dev", subflow.dev.as_ref());
    if subflow.tcp_state != TCP_ESTABLISHED {
        _ = write!(text, " ({})", tcp_state_word(subflow.tcp_state));
    }
    text
}

/// What a subflow must look like.
pub(super) fn subflow_pattern(pattern: &SubflowPattern) -> String {
    let mut text = String::new();
    push(&mut text, "local", pattern.local);
    push(&mut text, "local_port", pattern.local_port);
    push(&mut text, "remote", pattern.remote);
    push(&mut text, "remote_port", pattern.remote_port);
    push(&mut text, "local_id", pattern.local_id);
    push(&mut text, "remote_id", pattern.remote_id);
    push_flag(&mut text, "backup", pattern.backup);
    push_flag(&mut text, "backup_local", pattern.backup_local);
    push_flag(&mut text, "backup_remote", pattern.backup_remote);
    push(&mut text, "dev", pattern.dev.as_ref());
    if text.is_empty() { "any".to_owned() } else { text.split_off(1) }
}

/// What an option on the wire must look like.
pub(super) fn wire_expectation(expectation: &WireExpectation) -> String {
    format!("{} (count {})", wire_pattern(&expectation.pattern), range(&expectation.range))
}

fn wire_pattern(pattern: &WirePattern) -> String {
    let mut text = format!("{} sent by {}", pattern.option, pattern.sender);
    push(&mut text, "address", pattern.address);
    push(&mut text, "port", pattern.port);
    push(&mut text, "id", pattern.id);
    push_flag(&mut text, "backup", pattern.backup);
    push(&mut text, "from", pattern.from);
    push(&mut text, "to", pattern.to);
    push(&mut text, "flags", pattern.flags.map(|flags| format!("{flags:#04x}")));
    push(&mut text, "reason", pattern.reason);
    push_flag(&mut text, "checksum", pattern.checksum);
    text
}

/// A segment with its MPTCP options.
pub(super) fn segment(segment: &Segment) -> String {
    let source = end(Some(segment.source.ip()), Some(segment.source.port()));
    let destination = end(Some(segment.destination.ip()), Some(segment.destination.port()));
    let mut text = format!("{source} > {destination}");
    for (flag, word) in [(TcpFlags::SYN, "SYN"), (TcpFlags::FIN, "FIN"), (TcpFlags::RST, "RST"), (TcpFlags::ACK, "ACK")]
    {
        if segment.flags.contains(flag) {
            _ = write!(text, " {word}");
        }
    }
    if segment.payload > 0 {
        push(&mut text, "length", Some(segment.payload));
    }
    for option in &segment.options {
        _ = write!(text, " <{}>", mptcp_option(option));
    }
    text
}

/// An option with what matters to people.
pub(super) fn mptcp_option(option: &MptcpOption) -> String {
    let mut text = option_word(option).to_owned();
    match option {
        MptcpOption::MpCapable { flags, .. } => _ = write!(text, " flags {flags:#04x}"),
        MptcpOption::MpJoinSyn { backup, address_id, .. } | MptcpOption::MpJoinSynAck { backup, address_id, .. } => {
            push(&mut text, "id", Some(address_id));
            push_flag(&mut text, "backup", backup.then_some(true));
        }
        MptcpOption::Dss { data_fin, mapping, .. } => {
            push_flag(&mut text, "data_fin", data_fin.then_some(true));
            push(&mut text, "mapped", mapping.as_ref().map(|mapping| mapping.length));
        }
        MptcpOption::AddAddr { address_id, body, .. } => {
            push(&mut text, "id", Some(address_id));
            _ = write!(text, " {}", end(Some(body.address), body.port));
        }
        MptcpOption::RemoveAddr { address_ids } => {
            let ids: Vec<String> = address_ids.iter().map(u8::to_string).collect();
            push(&mut text, "id", Some(ids.join(" ")));
        }
        MptcpOption::MpPrio { backup } => push_flag(&mut text, "backup", Some(*backup)),
        MptcpOption::MpTcprst { flags, reason } => _ = write!(text, " flags {flags:#04x} reason {reason}"),
        MptcpOption::Malformed { subtype, bytes } => {
            push(&mut text, "subtype", *subtype);
            push(&mut text, "bytes", Some(bytes));
        }
        MptcpOption::MpJoinAck { .. } | MptcpOption::MpFail { .. } | MptcpOption::MpFastclose { .. } => {}
    }
    text
}

/// The word of an option, as wire expectations spell it.
pub(super) fn option_word(option: &MptcpOption) -> &'static str {
    match option {
        MptcpOption::MpCapable { .. } => "mp_capable",
        MptcpOption::MpJoinSyn { .. } => "mp_join_syn",
        MptcpOption::MpJoinSynAck { .. } => "mp_join_synack",
        MptcpOption::MpJoinAck { .. } => "mp_join_ack",
        MptcpOption::Dss { .. } => "dss",
        MptcpOption::AddAddr { echo: false, .. } => "add_addr",
        MptcpOption::AddAddr { echo: true, .. } => "add_addr_echo",
        MptcpOption::RemoveAddr { .. } => "remove_addr",
        MptcpOption::MpPrio { .. } => "mp_prio",
        MptcpOption::MpFail { .. } => "mp_fail",
        MptcpOption::MpFastclose { .. } => "mp_fastclose",
        MptcpOption::MpTcprst { .. } => "mp_tcprst",
        MptcpOption::Malformed { .. } => "malformed",
    }
}
