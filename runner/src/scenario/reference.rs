//! The tables of the reference (scenarios/README.md) come from the grammar: each between two comments that name a record.
//!
//! `MPTCPLAB_UPDATE=1 cargo test --lib the_reference_is_up_to_date` writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::grammar::{KERNELS, Key, Kind, Record, SCENARIO, Shape, TOPOLOGY};
use super::read::path::rule::PLAIN_ACTIONS;
use crate::mptcp::{INFO_FIELDS, InfoField, SOCKET_COUNTS, SocketCount};

/// All records that a file can have, by name.
fn records() -> BTreeMap<&'static str, &'static Record> {
    fn walk(shape: &Shape, found: &mut BTreeMap<&'static str, &'static Record>) {
        match shape {
            Shape::Scalar(_) => {}
            Shape::List(inner) | Shape::Some(inner) | Shape::Table(_, _, inner) => walk(inner, found),
            Shape::Either(shapes) => shapes.iter().for_each(|shape| walk(shape, found)),
            Shape::Record(record) => {
                if found.insert(record.name, *record).is_none() {
                    record.all_keys().for_each(|key| walk(&key.shape, found));
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    for record in [&SCENARIO, TOPOLOGY, KERNELS] {
        walk(&Shape::Record(record), &mut found);
    }
    found
}

/// What a key takes, if that says more than its meaning does.
fn takes(shape: &Shape) -> Option<String> {
    let named = |names: &mut dyn Iterator<Item = &'static str>| {
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    match shape {
        Shape::Scalar(Kind::Word(words)) => Some(named(&mut words.iter().copied())),
        Shape::Scalar(Kind::Integer(0, u64::MAX)) | Shape::List(Shape::Record(_)) => None,
        Shape::Scalar(Kind::Integer(least, u64::MAX)) => Some(format!("from {least}")),
        Shape::Scalar(Kind::Integer(least, most)) => Some(format!("{least} to {most}")),
        Shape::Scalar(Kind::Duration) => Some("a duration".to_owned()),
        Shape::Scalar(Kind::Size) => Some("a size".to_owned()),
        Shape::Scalar(Kind::Rate) => Some("a rate".to_owned()),
        Shape::Scalar(Kind::Percent) => Some("a share".to_owned()),
        Shape::Scalar(Kind::Count) => Some("a count".to_owned()),
        Shape::List(inner) | Shape::Some(inner) => takes(inner).map(|words| format!("a list of {words}")),
        Shape::Either(shapes) => {
            let each: Option<Vec<String>> = shapes.iter().map(takes).collect();
            each.map(|each| each.join(", or "))
        }
        Shape::Record(record) if record.all_keys().count() <= 4 => {
            Some(named(&mut record.all_keys().map(|key| key.name)))
        }
        Shape::Scalar(_) | Shape::Record(_) | Shape::Table(..) => None,
    }
}

/// A table with these columns. A column in which nothing stands is left out.
fn columns(heads: &[&str], rows: &[Vec<String>]) -> String {
    let used: Vec<usize> = (0..heads.len()).filter(|column| rows.iter().any(|row| !row[*column].is_empty())).collect();
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let mut table = line(used.iter().map(|column| heads[*column]).collect());
    let _ = writeln!(table, "|{}", "---|".repeat(used.len()));
    table.extend(rows.iter().map(|row| line(used.iter().map(|column| row[*column].as_str()).collect())));
    table
}

/// The table of a record: its keys; or, where one of many is chosen, the keys of each.
fn table(record: &Record) -> String {
    let names = |keys: &[Key], required: bool| {
        keys.iter().filter(|key| key.required == required).map(|key| format!("`{}`", key.name)).collect::<Vec<_>>()
    };
    let is_choice = record.keys.is_empty() && record.one_of.iter().any(|key| key.record().is_some());
    if !is_choice || record.name == "action" {
        let plain = if record.name == "action" { &PLAIN_ACTIONS[..] } else { &[] };
        let row = |key: &Key| {
            let takes = takes(&key.shape).map_or_else(String::new, |words| format!(" ({words})"));
            let required = if key.required { " Required." } else { "" };
            vec![format!("`{}`{takes}", key.name), format!("{}{required}", key.doc)]
        };
        let rows: Vec<_> = plain.iter().chain(record.all_keys()).map(row).collect();
        return columns(&["key", "meaning"], &rows);
    }
    let row = |key: &'static Key| {
        let (mut needs, mut may) = (Vec::new(), Vec::new());
        if let Some(inner) = key.record() {
            needs = names(inner.keys, true);
            needs.extend((!inner.one_of.is_empty()).then(|| names(inner.one_of, false).join(" or ")));
            may = names(inner.keys, false);
        }
        vec![format!("`{}`", key.name), key.doc.to_owned(), needs.join(", "), may.join(", ")]
    };
    let rows: Vec<_> = record.one_of.iter().map(row).collect();
    columns(&["key", "meaning", "required keys", "optional keys"], &rows)
}

/// The fields of `struct mptcp_info`.
fn info() -> String {
    let row = |(name, .., doc): &InfoField| vec![format!("`{name}`"), (*doc).to_owned()];
    columns(&["field", "meaning"], &INFO_FIELDS.iter().map(row).collect::<Vec<_>>())
}

/// The numbers of sockets.
fn sockets() -> String {
    let row = |(word, _, doc): &SocketCount| vec![format!("`{word}`"), (*doc).to_owned()];
    columns(&["number", "meaning"], &SOCKET_COUNTS.iter().map(row).collect::<Vec<_>>())
}

/// The text with each table as it must be.
fn with_tables(text: &str) -> String {
    let records = records();
    let mut made = String::new();
    let mut within = false;
    for line in text.lines() {
        if line == "<!-- generated: end -->" {
            within = false;
        }
        if !within {
            made.push_str(line);
            made.push('\n');
        }
        if let Some(name) = line.strip_prefix("<!-- generated: begin ").and_then(|rest| rest.strip_suffix(" -->")) {
            let record = || records.get(name).unwrap_or_else(|| panic!("there is no record `{name}`"));
            let table = match name {
                "info" => info(),
                "sockets" => sockets(),
                _ => table(record()),
            };
            let _ = write!(made, "\n{table}\n");
            within = true;
        }
    }
    assert!(!within, "a table has no end");
    made
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/README.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let made = with_tables(&written);
    assert!(made.matches("<!-- generated: begin ").count() >= 14);
    if std::env::var_os("MPTCPLAB_UPDATE").is_some() {
        std::fs::write(&path, made).unwrap();
        return;
    }
    let difference = made.lines().zip(written.lines()).find(|(made, written)| made != written);
    assert!(
        made == written,
        "scenarios/README.md is out of date: MPTCPLAB_UPDATE=1 cargo test --lib the_reference_is_up_to_date\n{difference:?}"
    );
}

#[test]
fn a_table_follows_its_record() {
    let text = "before\n<!-- generated: begin remove_filter -->\nold\n<!-- generated: end -->\nafter\n";
    let made = with_tables(text);
    assert!(made.starts_with("before\n") && made.ends_with("<!-- generated: end -->\nafter\n"), "{made}");
    assert!(made.contains("| `name` | Its name. Required. |\n") && !made.contains("old"), "{made}");
    assert_eq!(with_tables(&made), made);
}
