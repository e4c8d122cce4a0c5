//! The tables of the reference (scenarios/README.md) come from the grammar: each between two comments that name a record.
//!
//! `MPTCPLAB_UPDATE=1 cargo test --lib the_reference_is_up_to_date` writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::grammar::{KERNELS, Key, Kind, Record, SCENARIO, Shape, TOPOLOGY};

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

/// The words that a key takes, if it takes some only.
fn words(shape: &Shape) -> Option<String> {
    match shape {
        Shape::Scalar(Kind::Word(words)) => {
            Some(words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
        }
        Shape::Scalar(Kind::Integer(0, u64::MAX)) => None,
        Shape::Scalar(Kind::Integer(least, u64::MAX)) => Some(format!("from {least}")),
        Shape::Scalar(Kind::Integer(least, most)) => Some(format!("{least} to {most}")),
        Shape::List(inner) | Shape::Some(inner) => words(inner).map(|words| format!("a list of {words}")),
        Shape::Scalar(_) | Shape::Record(_) | Shape::Table(..) | Shape::Either(_) => None,
    }
}

/// The table of a record: its keys; or, where each is a record of its own, the keys of those.
fn table(record: &Record) -> String {
    let names = |keys: &[Key], required: bool| {
        keys.iter().filter(|key| key.required == required).map(|key| format!("`{}`", key.name)).collect::<Vec<_>>()
    };
    let mut table = String::new();
    if record.all_keys().all(|key| matches!(key.shape, Shape::Record(_))) {
        table.push_str("| key | what it does | what it needs | what it may have |\n|---|---|---|---|\n");
    } else {
        table.push_str("| key | what it says |\n|---|---|\n");
    }
    for key in record.all_keys() {
        let _ = match key.shape {
            Shape::Record(inner) if table.starts_with("| key | what it does") => {
                let mut needs = names(inner.keys, true);
                needs.extend((!inner.one_of.is_empty()).then(|| names(inner.one_of, false).join(" or ")));
                let may = names(inner.keys, false);
                writeln!(table, "| `{}` | {} | {} | {} |", key.name, key.doc, needs.join(", "), may.join(", "))
            }
            _ => {
                let words = words(&key.shape).map_or_else(String::new, |words| format!(" ({words})"));
                let required = if key.required { " Required." } else { "" };
                writeln!(table, "| `{}`{words} | {}{required} |", key.name, key.doc)
            }
        };
    }
    table
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
            let record = records.get(name).unwrap_or_else(|| panic!("there is no record `{name}`"));
            let _ = write!(made, "\n{}\n", table(record));
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
    assert!(made.matches("<!-- generated: begin ").count() >= 4);
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
