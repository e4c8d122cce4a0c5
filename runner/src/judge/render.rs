//! One line of text for one thing: an observed event, a subflow, a segment, or a pattern for one of them.

use std::fmt::{Display, Write as _};

use crate::mptcp::{EventKind, PmEvent, SubflowFlags, SubflowState, TCP_ESTABLISHED, tcp_state_word};
use crate::pattern::{EVENT_FIELDS, OPTION_FIELDS, SUBFLOW, Snapshot, SubflowPattern, event_kinds, option_bit};
use crate::scenario::model::{EventItem, Range, WireExpectation};
use crate::wire::{MptcpOption, Segment, TcpFlags};

use super::names::{Names, end};

/// Appends ` word value`, if there is a value.
pub(super) fn push<T: Display>(text: &mut String, word: &str, value: Option<T>) {
    if let Some(value) = value {
        _ = write!(text, " {word} {value}");
    }
}

/// A count range: `3`, `2 to 4`, `at least 1`, `at most 3`.
pub(super) fn range(range: &Range) -> String {
    match (*range.start(), *range.end()) {
        (start, end) if start == end => start.to_string(),
        (start, u64::MAX) => format!("at least {start}"),
        (0, end) => format!("at most {end}"),
        (start, end) => format!("{start} to {end}"),
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
    let kind = event_kinds(&[event.kind]);
    // The ids of an initial subflow are 0.
    let is_initial = matches!(event.kind, EventKind::Created | EventKind::Established);
    for field in &EVENT_FIELDS {
        match field.snapshot {
            Snapshot::LocalId | Snapshot::RemoteId if is_initial => {}
            Snapshot::Apart if field.word != "server_side" => {}
            Snapshot::Apart | Snapshot::Shown | Snapshot::LocalId | Snapshot::RemoteId | Snapshot::UnlessRacing => {
                text += &field.words(kind, event.into());
            }
        }
    }
    text
}

/// An item of an event list.
pub(super) fn event_item(item: &EventItem) -> String {
    match item {
        EventItem::One { pattern, count, .. } if *count == (1..=1) => pattern.to_string(),
        EventItem::One { pattern, count, .. } => format!("{pattern} (count {})", range(count)),
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
    let text = pattern.words(SUBFLOW);
    if text.is_empty() { "any".to_owned() } else { text.trim_start().to_owned() }
}

/// What an option on the wire must look like.
pub(super) fn wire_expectation(expectation: &WireExpectation) -> String {
    let pattern = &expectation.pattern;
    format!("{pattern} sent by {} (count {})", pattern.sender, range(&expectation.range))
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
    let mut text = option.word().to_owned();
    for field in OPTION_FIELDS.iter().filter(|field| field.snapshot == Snapshot::Shown) {
        text += &field.words(option_bit(option.word()), option.into());
    }
    match option {
        // What it says is that there is none.
        MptcpOption::MpPrio { backup: false } => text.push_str(" backup: no"),
        MptcpOption::Dss { data_fin, mapping, .. } => {
            if *data_fin {
                text.push_str(" data_fin");
            }
            push(&mut text, "mapped", mapping.as_ref().map(|mapping| mapping.length));
        }
        MptcpOption::Malformed { subtype, bytes } => {
            push(&mut text, "subtype", *subtype);
            push(&mut text, "bytes", Some(bytes));
        }
        MptcpOption::MpCapable { .. }
        | MptcpOption::MpJoinSyn { .. }
        | MptcpOption::MpJoinSynAck { .. }
        | MptcpOption::MpJoinAck { .. }
        | MptcpOption::AddAddr { .. }
        | MptcpOption::RemoveAddr { .. }
        | MptcpOption::MpPrio { backup: true }
        | MptcpOption::MpFail { .. }
        | MptcpOption::MpFastclose { .. }
        | MptcpOption::MpTcprst { .. } => {}
    }
    text
}
