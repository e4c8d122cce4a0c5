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
    let variants = yaml::parse(0, &source.text, &mut found).and_then(|root| {
        let matrix = matrix::Matrix::read(&root, &source.text, &mut found);
        matrix.variants(&root, &source.text).map_err(|diagnostic| found.push(diagnostic)).ok()
    });
    let broken = !found.is_empty();
    diagnostics.add(found, std::slice::from_ref(&source), None);

    let mut scenarios = Vec::new();
    for variant in variants.unwrap_or_default() {
        // The errors of the matrix itself are known; those of the rest are the same in each variant.
        let label = variant.label.filter(|_| !broken);
        let text = SourceText { name: source.name.clone(), text: variant.text };
        match read_variant(path, label.as_deref(), text, None) {
            Ok(scenario) => scenarios.push(scenario),
            Err((found, sources)) => diagnostics.add(found, &sources, label.as_deref()),
        }
        if broken || diagnostics.len() > ENOUGH {
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
    read_variant(file, variant, scenario.clone(), Some(rest.first().cloned())).map_err(|(found, sources)| {
        diagnostics.add(found, &sources, variant);
        diagnostics
    })
}

/// Reads one variant. The topology is looked for beside the file unless it is given.
fn read_variant(
    path: &Path,
    variant: Option<&str>,
    text: SourceText,
    topology: Option<Option<SourceText>>,
) -> Result<Scenario, (Vec<Diagnostic>, Vec<SourceText>)> {
    let mut found = Vec::new();
    let mut sources = vec![text];
    let root = sources.first().and_then(|source| yaml::parse(0, &source.text, &mut found));
    let Some(root) = root else { return Err((found, sources)) };
    let named = root.get("topology").filter(|node| node.text().is_some() && !node.is_absent());
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
    let named_but_missing = named.is_some() && topology.is_none();
    let reader = read::Reader::default();
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
