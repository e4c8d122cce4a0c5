//! Each key of the grammar is used, and each field of the tables can be asked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::SourceText;
use super::grammar::{EVENT_KEYS, Key, Kind, Record, SCENARIO, Shape, WIRE_OPTIONS};
use super::model::EventItem;
use super::yaml::{Node, Value};
use crate::pattern::Pattern;

/// The name of a key that is the same in several records.
fn name(record: &Record, key: &Key) -> (&'static str, &'static str) {
    let shared = [
        ("operation", "step"),
        ("wait_event", "event_item"),
        ("wait_wire", "wire_item"),
        ("rule_option", "wire_item"),
        ("alternative", "expect"),
        ("connection_endpoint", "endpoint"),
    ];
    let chosen = record.one_of.iter().any(|other| other.name == key.name);
    let is_alternative = ["alternative", "connection_endpoint"].contains(&record.name);
    let other = shared.iter().find(|(name, _)| (chosen || is_alternative) && *name == record.name);
    (other.map_or(record.name, |(_, other)| *other), key.name)
}

/// Notes each key of the grammar that the node uses.
fn used(shape: &Shape, node: &Node, seen: &mut BTreeSet<(&'static str, &'static str)>) {
    match (shape, &node.value) {
        (Shape::Some(inner), _) => used(inner, node, seen),
        (Shape::List(inner), Value::List(items)) => items.iter().for_each(|item| used(inner, item, seen)),
        (Shape::Table(_, _, inner), Value::Map(entries)) => {
            for entry in entries {
                used(inner, &entry.value, seen);
            }
        }
        (Shape::Record(record), Value::Map(entries)) => {
            for entry in entries {
                if let Some(key) = record.key(&entry.key) {
                    seen.insert(name(record, key));
                    used(&key.shape, &entry.value, seen);
                }
            }
        }
        (Shape::Either(shapes), _) => shapes.iter().for_each(|shape| used(shape, node, seen)),
        _ => {}
    }
}

/// Notes each key of the grammar.
fn known(shape: &Shape, seen: &mut BTreeSet<(&'static str, &'static str)>) {
    match shape {
        Shape::Scalar(_) => {}
        Shape::List(inner) | Shape::Some(inner) | Shape::Table(_, _, inner) => known(inner, seen),
        Shape::Either(shapes) => shapes.iter().for_each(|shape| known(shape, seen)),
        Shape::Record(record) => {
            for key in record.all_keys() {
                if seen.insert(name(record, key)) {
                    known(&key.shape, seen);
                }
            }
        }
    }
}

/// Scenarios of the workspace: the fixtures, and those that are scenarios themselves, where they are.
fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![folder.join("fixtures/good"), folder.join("../scenarios")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn each_key_of_the_grammar_is_used() {
    let (mut uses, mut knows) = (BTreeSet::new(), BTreeSet::new());
    for file in files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let root = super::yaml::parse(0, &text, &mut Vec::new()).unwrap();
        used(&Shape::Record(&SCENARIO), &root, &mut uses);
    }
    known(&Shape::Record(&SCENARIO), &mut knows);
    let of_a_table = |name: &str| {
        EVENT_KEYS.iter().chain(&WIRE_OPTIONS).any(|key| key.record().is_some_and(|record| record.name == name))
    };
    let missing: Vec<_> = knows.difference(&uses).filter(|(record, _)| !of_a_table(record)).collect();
    assert!(missing.is_empty(), "no fixture and no scenario has {missing:?}");
    assert!(uses.len() > 200, "{}", uses.len());
}

/// A value for a field.
fn sample(shape: &Shape) -> &'static str {
    match shape {
        Shape::Scalar(Kind::Name) => "main",
        Shape::Scalar(Kind::Address) => "10.0.1.1",
        Shape::Scalar(Kind::Switch) => "true",
        Shape::Scalar(Kind::Device) => "link1",
        Shape::Scalar(Kind::ErrorPattern) => "ECONNRESET",
        Shape::Scalar(Kind::Port | Kind::Integer(..) | Kind::Count) => "7",
        other => panic!("no field is like {other:?}"),
    }
}

#[test]
fn each_field_of_a_table_can_be_asked_for() {
    let items = |keys: &[Key], before: &str| -> Vec<String> {
        let one = |key: &Key| -> Vec<String> {
            let fields = key.record().unwrap().keys.iter();
            let item = |field: &Key| {
                format!("      - {{ {before}{}: {{ {}: {} }} }}\n", key.name, field.name, sample(&field.shape))
            };
            fields.map(item).collect()
        };
        keys.iter().flat_map(one).collect()
    };
    let (events, options) = (items(&EVENT_KEYS, ""), items(&WIRE_OPTIONS, "by: client, "));
    let text = format!(
        "title: x\nabout: x\nlinks:\n  link1:\n    ends: {{ client: {{}}, server: {{ addresses: [10.0.1.1/24] }} }}\n\
         steps:\n  - connect: {{ name: main, from: client, to: server, address: 10.0.1.1 }}\n  \
         - close: {{ connection: main, by: client }}\nexpect:\n  events:\n    client:\n{}  wire:\n{}",
        events.concat(),
        options.concat().replace("      -", "    -")
    );
    let source = SourceText { name: "x.yaml".to_owned(), text };
    let scenario = super::load_sources(Path::new("x.yaml"), None, &[source]).unwrap_or_else(|found| panic!("{found}"));
    let asked = |item: &EventItem| match item {
        EventItem::One { pattern, count, .. } => pattern.fields != Pattern::default() || *count == (7..=7),
        EventItem::AnyOrder { .. } => false,
    };
    let expect = &scenario.expect;
    assert_eq!(expect.events[0].items.iter().filter(|item| asked(item)).count(), events.len());
    assert_eq!(expect.wire.iter().filter(|wire| wire.pattern.fields != Pattern::default()).count(), options.len());
    assert!(events.len() > 40 && options.len() > 40, "{} and {}", events.len(), options.len());
}
