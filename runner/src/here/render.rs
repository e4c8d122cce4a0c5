//! The table of each connection, as text and as JSON.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::mptcp::Side;
use crate::report::{Role, Style};
use crate::text;

use super::decision::{Decision, Outcome};
use super::follow::Told;
use super::host::{Connection, Host};
use super::reasons::{configuration, decisions, multipath};

/// What of each decision decides whether two connections have the same table.
type Rows = Vec<Decision>;

/// All of it, as text.
pub fn text(host: &Host, style: Style) -> String {
    let mut out = String::new();
    for (connection, rows, alike) in grouped(host) {
        if !out.is_empty() {
            out.push('\n');
        }
        table_of(&mut out, connection, &rows, alike, style);
    }
    let faults = faults(host);
    if !faults.is_empty() {
        if !out.is_empty() {
            out.push('\n');
        }
        let heading = if host.connections.is_empty() {
            "no MPTCP connection; the configuration:"
        } else {
            "this network namespace:"
        };
        _ = writeln!(out, "{}", style.paint(Role::Heading, heading));
        rows_of(&mut out, &faults, style);
    }
    for unread in &host.unread {
        let (what, why) = (text::one_line(&unread.what), text::one_line(&unread.why));
        _ = writeln!(out, "{} {what}: {why}", style.paint(Role::Warning, "not read:"));
        _ = writeln!(out, "      try:  {}", text::one_line(&unread.how));
    }
    style.finish(out)
}

/// The faults of the configuration that no table of a connection shows.
fn faults(host: &Host) -> Vec<Decision> {
    // Endpoints and limits are in the tables of connections.
    if host.connections.is_empty() { configuration(host) } else { multipath(host) }
}

/// Connections with their decisions; those with the same ones are counted.
fn grouped(host: &Host) -> Vec<(&Connection, Rows, usize)> {
    let mut groups: Vec<(&Connection, Rows, usize)> = Vec::new();
    for connection in &host.connections {
        let rows = decisions(host, connection);
        let alike = |(other, known, _): &&mut (&Connection, Rows, usize)| {
            other.side == connection.side && numbers(other) == numbers(connection) && *known == rows
        };
        match groups.iter_mut().find(alike) {
            Some((.., count)) => *count += 1,
            None => groups.push((connection, rows, 0)),
        }
    }
    let attention = |rows: &Rows| rows.first().map_or(Outcome::Yes, |row| row.outcome);
    groups.sort_by_key(|(_, rows, _)| attention(rows));
    groups
}

fn table_of(out: &mut String, connection: &Connection, rows: &[Decision], alike: usize, style: Style) {
    _ = writeln!(out, "{}", style.paint(Role::Heading, title(connection)));
    _ = writeln!(out, "  {}", numbers(connection));
    rows_of(out, rows, style);
    if alike > 0 {
        _ = writeln!(out, "  and {} with the same answers", text::count(alike as u64, "connection"));
    }
}

/// `client 10.0.1.2:43210 → 10.0.1.1:8080, token 4b9290fe`
fn title(connection: &Connection) -> String {
    let side = connection.side.map_or("connection", Side::word);
    let (local, remote): (SocketAddr, SocketAddr) = (text::socket(connection.local), text::socket(connection.remote));
    format!("{side} {local} → {remote}, token {:08x}", connection.token)
}

/// The numbers that limits apply to.
fn numbers(connection: &Connection) -> String {
    let Some(info) = &connection.info else { return "its numbers and limits are unknown".to_owned() };
    let deny = if connection.deny_join_id0 { "; the peer forbids joins to its initial address" } else { "" };
    format!(
        "additional subflows {} of {}; announcements sent {} of {}, accepted {} of {}{deny}",
        info.subflows,
        info.subflows_max,
        info.add_addr_signal,
        info.add_addr_signal_max,
        info.add_addr_accepted,
        info.add_addr_accepted_max,
    )
}

fn rows_of(out: &mut String, rows: &[Decision], style: Style) {
    let width = |text: &str| text.chars().count();
    let candidates: Vec<String> = rows.iter().map(|row| text::one_line(&row.candidate.to_string())).collect();
    let widest = candidates.iter().map(|candidate| width(candidate)).max().unwrap_or(0);
    let words = rows.iter().map(|row| row.outcome.word().len()).max().unwrap_or(0);
    for (row, candidate) in rows.iter().zip(candidates) {
        let (gap, word) = (" ".repeat(widest - width(&candidate)), row.outcome.word());
        let rest = " ".repeat(words - word.len());
        let because = text::one_line(&row.because.to_string());
        _ = writeln!(out, "  {candidate}{gap}  {}{rest}  {because}", style.paint(role(row.outcome), word));
        if let Some(change) = &row.change {
            _ = writeln!(out, "      try:  {}", text::one_line(change));
        }
        if row.outcome != Outcome::Yes {
            _ = writeln!(out, "      {}", style.paint(Role::Faint, format!("rule: {}", row.because.rule())));
        }
    }
}

fn role(outcome: Outcome) -> Role {
    match outcome {
        Outcome::No => Role::Bad,
        Outcome::But | Outcome::Waiting | Outcome::Closing | Outcome::Unknown => Role::Warning,
        Outcome::Yes => Role::Good,
        Outcome::Allowed => Role::Faint,
    }
}

/// All of it, as JSON: the tables, and everything that was read.
pub fn json(host: &Host) -> Value {
    let connections = host.connections.iter().map(|connection| {
        let rows: Vec<Value> = decisions(host, connection).iter().map(row_json).collect();
        json!({
            "token": format!("{:08x}", connection.token),
            "side": connection.side,
            "local": connection.local,
            "remote": connection.remote,
            "decisions": rows,
        })
    });
    json!({
        "connections": connections.collect::<Vec<_>>(),
        "configuration": configuration(host).iter().map(row_json).collect::<Vec<_>>(),
        "host": host,
    })
}

fn row_json(row: &Decision) -> Value {
    json!({
        "candidate": row.candidate,
        "outcome": row.outcome,
        "because": row.because,
        "text": row.because.to_string(),
        "rule": row.because.rule(),
        "change": row.change,
    })
}

/// An event and its reason, as lines.
pub fn told_text(told: &Told, style: Style) -> String {
    let mut out =
        format!("{}  {}", style.paint(Role::Event, text::one_line(&told.event)), text::one_line(&told.text()));
    if let Some(change) = &told.change {
        _ = write!(out, "\n      try:  {}", text::one_line(change));
    }
    if let Some(rule) = told.rule {
        _ = write!(out, "\n      {}", style.paint(Role::Faint, format!("rule: {rule}")));
    }
    style.finish(out)
}

/// An event and its reason, as one line of JSON.
pub fn told_json(told: &Told) -> Value {
    json!({
        "event": told.raw,
        "text": told.text(),
        "rule": told.rule,
        "change": told.change,
    })
}
