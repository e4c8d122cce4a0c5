//! Scenario files: YAML text to the checked [`model::Scenario`], all errors of a file at once.
//!
//! The way of a file: its text ([`mod@file`]) becomes a tree in which everything has its place ([`yaml`]); the
//! [`matrix`] makes a text of each variant; the tree is [`read`] against the [`grammar`] into the [`model`]. What is
//! wrong on the way is a [`Diagnostics`].

use std::path::Path;

mod diagnostic;
mod file;
mod grammar;
mod matrix;
pub mod model;
mod nearest;
mod read;
mod scalar;
mod schema;
mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, snippet};
pub use schema::json_schema;

use crate::recording::SourceText;
use model::Scenario;
use yaml::Node;

/// So many errors are enough: further variants of a matrix are not read.
const ENOUGH: usize = 1_000;

/// Reads a scenario file with its topology: all variants of its matrix, in order.
pub fn load(path: &Path) -> Result<Vec<Scenario>, Diagnostics> {
    let mut diagnostics = Diagnostics::new(path.display().to_string());
    let source = match file::read(path) {
        Ok(source) => source,
        Err(diagnostic) => {
            diagnostics.add(vec![diagnostic], &[], None);
            return Err(diagnostics);
        }
    };
    let mut found = Vec::new();
    let root = yaml::parse(0, &source.text, &mut found);
    let matrix = root.as_ref().map(|root| matrix::Matrix::read(root, &source.text, &mut found));
    let mut variants = Vec::new();
    if let (Some(root), Some(matrix), true) = (&root, &matrix, found.is_empty()) {
        match matrix.variants(root, &source.text) {
            Ok(made) => variants = made,
            Err(diagnostic) => found.push(diagnostic),
        }
    }
    let broken = !found.is_empty();
    if broken && root.is_some() {
        // The rest of the file can be checked all the same, as it is written.
        variants.push(matrix::Variant { label: None, text: source.text.clone() });
    }
    diagnostics.add(found, std::slice::from_ref(&source), None);

    let mut scenarios = Vec::new();
    for variant in variants {
        let label = variant.label;
        let text = SourceText { name: source.name.clone(), text: variant.text };
        match read_variant(path, label.as_deref(), text, None, broken) {
            Ok(scenario) => scenarios.push(scenario),
            Err((found, sources)) => diagnostics.add(found, &sources, label.as_deref()),
        }
        if diagnostics.len() > ENOUGH {
            break;
        }
    }
    if diagnostics.is_empty() { Ok(scenarios) } else { Err(diagnostics) }
}

/// Reads a scenario from the texts that a recording carries: the scenario with its variables filled in, then its
/// topology, if it has one.
pub fn load_sources(file: &Path, variant: Option<&str>, sources: &[SourceText]) -> Result<Scenario, Diagnostics> {
    let mut diagnostics = Diagnostics::new(file.display().to_string());
    let Some((scenario, rest)) = sources.split_first() else {
        let diagnostic = Diagnostic::of_file("the recording has no text of its scenario");
        diagnostics.add(vec![diagnostic], &[], variant);
        return Err(diagnostics);
    };
    read_variant(file, variant, scenario.clone(), Some(rest.first().cloned()), false).map_err(|(found, sources)| {
        diagnostics.add(found, &sources, variant);
        diagnostics
    })
}

/// Reads one variant. The topology is looked for beside the file unless it is given. `unresolved`: variables may be
/// left in the text, because the matrix has errors.
fn read_variant(
    path: &Path,
    variant: Option<&str>,
    text: SourceText,
    topology: Option<Option<SourceText>>,
    unresolved: bool,
) -> Result<Scenario, (Vec<Diagnostic>, Vec<SourceText>)> {
    let mut found = Vec::new();
    let mut sources = vec![text];
    let root = sources.first().and_then(|source| yaml::parse(0, &source.text, &mut found));
    let Some(root) = root else { return Err((found, sources)) };
    let is_name = |node: &&Node| node.text().is_some_and(|text| !unresolved || !text.contains('$'));
    let named = root.get("topology").filter(|node| !node.is_absent()).filter(is_name);
    let topology = match (named, topology) {
        (None, _) => None,
        (Some(node), None) => find_topology(path, node).map_err(|diagnostic| found.push(diagnostic)).ok(),
        (Some(_), Some(Some(given))) => Some(given),
        (Some(node), Some(None)) => {
            found.push(Diagnostic::new(node.place, "the text of this topology is missing in the recording"));
            None
        }
    };
    let topology = topology.and_then(|source| {
        let tree = yaml::parse(1, &source.text, &mut found);
        sources.push(source);
        tree
    });
    let named_but_missing = topology.is_none() && root.get("topology").is_some();
    let reader = read::Reader::new(unresolved);
    let parts = read::scenario(&reader, &root, topology.as_ref(), named_but_missing);
    found.extend(reader.into_found());
    match parts {
        Ok(parts) if found.is_empty() => Ok(Scenario {
            file: path.to_owned(),
            variant: variant.map(str::to_owned),
            title: parts.title,
            about: parts.about,
            see: parts.see,
            requires: parts.requires,
            alone: parts.alone,
            world: parts.world,
            steps: parts.steps,
            expect: parts.expect,
            sources,
        }),
        _ => Err((found, sources)),
    }
}

/// Finds and reads the topology that a scenario names.
fn find_topology(path: &Path, node: &Node) -> Result<SourceText, Diagnostic> {
    let name = node.text().unwrap_or_default();
    let fine = !name.is_empty()
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !fine {
        return Err(Diagnostic::new(node.place, format!("`{name}` is not the name of a topology")).help(
            "small letters, digits and `-`; `topology: four-links` is the file `topologies/four-links.yaml` beside the \
             scenario, or `fixtures/topologies/four-links.yaml` in a folder above it",
        ));
    }
    let file = file::find_topology(path, name).map_err(|suggestion| {
        let looked = "looked in `topologies` beside the scenario, and in `fixtures/topologies` of each folder above it";
        let help = suggestion.map_or_else(|| looked.to_owned(), |suggestion| format!("{suggestion} ({looked})"));
        Diagnostic::new(node.place, format!("there is no topology `{name}`")).help(help)
    })?;
    file::read(&file).map_err(|diagnostic| {
        let message = format!("the topology `{}`: {}", file.display(), diagnostic.message());
        Diagnostic::new(node.place, message)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::grammar::{Key, Record, SCENARIO, Shape};
    use super::yaml::{Node, Value};

    /// The name of a key that is the same in several records.
    fn name(record: &Record, key: &Key) -> (&'static str, &'static str) {
        let shared = [("operation", "step"), ("wait_event", "event_item"), ("wait_wire", "wire_item")];
        let chosen = record.one_of.iter().any(|other| other.name == key.name);
        let other = shared.iter().find(|(name, _)| chosen && *name == record.name);
        (other.map_or(record.name, |(_, other)| *other), key.name)
    }

    /// Notes each key of the grammar that the node uses.
    fn used(shape: &Shape, node: &Node, seen: &mut BTreeSet<(&'static str, &'static str)>) {
        match (shape, &node.value) {
            (Shape::List(inner), Value::List(items)) => items.iter().for_each(|item| used(inner, item, seen)),
            (Shape::Table(_, inner), Value::Map(entries)) => {
                entries.iter().for_each(|entry| used(inner, &entry.value, seen));
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
            Shape::List(inner) | Shape::Table(_, inner) => known(inner, seen),
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

    #[test]
    fn one_fixture_uses_every_key_of_the_grammar() {
        let text = include_str!("../../../fixtures/good/every-key.yaml");
        let root = super::yaml::parse(0, text, &mut Vec::new()).unwrap();
        let (mut uses, mut knows) = (BTreeSet::new(), BTreeSet::new());
        used(&Shape::Record(&SCENARIO), &root, &mut uses);
        known(&Shape::Record(&SCENARIO), &mut knows);
        let missing: Vec<_> = knows.difference(&uses).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
