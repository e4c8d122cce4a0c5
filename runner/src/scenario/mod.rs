//! Scenario files: YAML text to the checked [`model::Scenario`], all errors of a file at once.
//!
//! The way of a file: its text ([`mod@file`]) becomes a tree in which everything has its place ([`yaml`]); the
//! [`matrix`] makes a text of each variant; the tree is [`read`] against the [`grammar`] into the [`model`]. What is
//! wrong on the way is a [`Diagnostics`].

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

mod decided;
mod diagnostic;
mod expansion;
mod file;
mod find;
mod grammar;
mod kernels;
mod matrix;
pub mod model;
mod nearest;
mod read;
mod record;
#[cfg(test)]
mod reference;
mod renamed;
mod scalar;
mod schema;
mod source;
mod variable;
pub(crate) mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, snippet};
pub use find::{FindError, Found, find, normal};
pub(crate) use find::{MAX_DEPTH, NOT_SCENARIOS, is_named_like_a_scenario};
pub use kernels::load_kernels;
pub use renamed::{FileKind, Rewritten, fix};
pub use schema::json_schema;
pub use source::SourceText;

use crate::text;
use model::{Feature, KernelVariants, LONGEST_RUN, Scenario, Step};
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
    let variants = match yaml::parse(0, &source.text, &mut found) {
        Some(root) => read_matrix(root, &source.text, &mut found),
        None => Vec::new(),
    };
    let unresolved = !found.is_empty();
    diagnostics.add(found, std::slice::from_ref(&source), None);

    let mut scenarios = Vec::new();
    let mut room = expansion::Room::new(source.text.len());
    for variant in variants {
        let label = variant.label;
        let text = SourceText { name: source.name.clone(), text: variant.text };
        let mut reading =
            Reading { path, label: label.as_deref(), sources: vec![text], found: Vec::new(), unresolved, room };
        match reading.scenario(variant.tree, Topology::LookedUp) {
            Some(scenario) => scenarios.push(scenario),
            None => diagnostics.add(reading.found, &reading.sources, reading.label),
        }
        room = reading.room;
        if diagnostics.len() > ENOUGH || room.is_used_up() {
            break;
        }
    }
    if diagnostics.is_empty() { Ok(scenarios) } else { Err(diagnostics) }
}

/// The variants of a scenario. If its matrix has errors, it is one, as it is written: the rest can be checked all the
/// same.
fn read_matrix(root: Node, text: &str, found: &mut Vec<Diagnostic>) -> Vec<matrix::Variant> {
    let matrix = matrix::Matrix::read(&root, text, found);
    if found.is_empty() {
        match matrix.variants(&root, text) {
            Ok(variants) => return variants,
            Err(diagnostic) => found.push(diagnostic),
        }
    }
    vec![matrix::Variant { label: None, text: text.to_owned(), tree: Some(root) }]
}

/// Reads a scenario from its texts: with its variables filled in, then its topology, if it has one.
pub fn load_sources(file: &Path, variant: Option<&str>, sources: &[SourceText]) -> Result<Scenario, Diagnostics> {
    let mut diagnostics = Diagnostics::new(file.display().to_string());
    let Some((scenario, rest)) = sources.split_first() else {
        let diagnostic = Diagnostic::of_file("the recording has no text of its scenario");
        diagnostics.add(vec![diagnostic], &[], variant);
        return Err(diagnostics);
    };
    let sources = vec![scenario.clone()];
    let room = expansion::Room::new(scenario.text.len());
    let mut reading = Reading { path: file, label: variant, sources, found: Vec::new(), unresolved: false, room };
    reading.scenario(None, Topology::Given(rest.first().cloned())).ok_or_else(|| {
        diagnostics.add(reading.found, &reading.sources, variant);
        diagnostics
    })
}

/// All subsets, the empty one first.
fn subsets(features: &BTreeSet<Feature>) -> Vec<BTreeSet<Feature>> {
    let mut subsets = vec![BTreeSet::new()];
    for feature in features {
        let with: Vec<_> = subsets.iter().map(|subset| subset | &BTreeSet::from([feature.clone()])).collect();
        subsets.extend(with);
    }
    subsets
}

/// Quiet periods that no run has the time for. Steps that wait for something else end as soon as it comes: those are
/// given up when the run's time is over.
fn too_long(steps: &[Step]) -> Option<Diagnostic> {
    let mut sum = Duration::ZERO;
    let step = steps.iter().find(|step| {
        sum = sum.saturating_add(step.action.least_time());
        sum > LONGEST_RUN
    })?;
    let (sum, most) = (text::duration(sum), text::duration(LONGEST_RUN));
    let message = format!("the quiet periods up to this step take {sum}; a run may take at most {most}");
    Some(Diagnostic::new(step.place, message).help("split the scenario, or shorten the quiet periods"))
}

/// Where a topology comes from.
enum Topology {
    /// From a file beside the scenario, or above it.
    LookedUp,
    /// From a recording, if it has one.
    Given(Option<SourceText>),
}

/// The reading of one variant.
struct Reading<'a> {
    path: &'a Path,
    label: Option<&'a str>,
    /// The scenario's text, then the topology's.
    sources: Vec<SourceText>,
    found: Vec<Diagnostic>,
    /// The matrix has errors, so variables may be left in the text.
    unresolved: bool,
    /// How much more the variants may be.
    room: expansion::Room,
}

impl Reading<'_> {
    /// The scenario, if nothing is wrong with it. Its tree need not be made again if there is one.
    fn scenario(&mut self, tree: Option<Node>, topology: Topology) -> Option<Scenario> {
        let source = self.sources.first()?;
        let mut root = match tree {
            Some(root) => root,
            None => yaml::parse(0, &source.text, &mut self.found)?,
        };
        self.found.extend(renamed::renew(&mut root, source, self.label.is_some()));
        decided::decide(&mut root);
        let topology = self.topology(&root, topology);
        let topology_missing = topology.is_none() && root.get("topology").is_some();
        let reader = read::Reader::new(self.unresolved);
        // If it can't be said what it depends on, the rest can be checked all the same.
        let asked = read::asked(&reader, &root).unwrap_or_default();
        read::check_that_it_says_something(&reader, &root);
        self.found.extend(reader.into_found());
        if let Err(diagnostic) = self.room.take(&root, subsets(&asked).len()) {
            self.found.push(diagnostic);
            return None;
        }
        let mut forms = Vec::new();
        for lacking in subsets(&asked) {
            let root = read::settled(&root, &lacking);
            let reader = read::Reader::new(self.unresolved);
            let parts = read::scenario(&reader, &root, topology.as_ref(), topology_missing);
            self.note(reader.into_found(), &lacking);
            forms.extend(parts.ok().map(|parts| self.form(parts, &asked, lacking)));
        }
        if self.found.is_empty() {
            self.found.extend(read::check_whole(&root));
        }
        if let Some(diagnostic) = forms.iter().find_map(|form| too_long(&form.steps)) {
            self.found.push(diagnostic);
        }
        if !self.found.is_empty() || self.unresolved || forms.is_empty() {
            return None;
        }
        let mut scenario = forms.remove(0);
        scenario.kernel_variants.forms = forms;
        Some(scenario)
    }

    /// Notes what is wrong with a form of the scenario. What is wrong with each is said once.
    fn note(&mut self, found: Vec<Diagnostic>, lacking: &BTreeSet<Feature>) {
        let is_new = |diagnostic: &Diagnostic| !self.found.contains(diagnostic) && !self.follows(diagnostic);
        let new: Vec<Diagnostic> = found.into_iter().filter(is_new).collect();
        self.found.extend(new.into_iter().map(|diagnostic| {
            if lacking.is_empty() {
                return diagnostic;
            }
            let words: Vec<String> = lacking.iter().map(|feature| format!("`{}`", feature.word())).collect();
            diagnostic.addition(&format!("on kernels without {}", words.join(" and ")))
        }));
    }

    /// Whether it is about a word with a variable that nothing fills in, which has been said: that the word means nothing
    /// follows from it.
    fn follows(&self, diagnostic: &Diagnostic) -> bool {
        let word =
            diagnostic.place().and_then(|place| self.sources.get(place.source)?.text.get(place.start..place.end));
        word.is_some_and(|word| {
            self.unresolved
                && !word.contains(|character: char| character.is_whitespace() || "{[".contains(character))
                && variable::references(word).iter().any(|reference| reference.name.is_some())
        })
    }

    /// What the scenario is on kernels that lack these features.
    fn form(&self, parts: read::Parts, asked: &BTreeSet<Feature>, lacking: BTreeSet<Feature>) -> Scenario {
        let read::Parts { frame, world, connections, steps, expect } = parts;
        let snapshot_by = frame.snapshot_by.into_iter().collect();
        Scenario {
            file: self.path.to_owned(),
            variant: self.label.map(str::to_owned),
            title: frame.title,
            about: frame.about,
            see: frame.see,
            requires: frame.requires,
            kernel_variants: KernelVariants { asked: asked.clone(), lacking, snapshot_by, forms: Vec::new() },
            left_out: frame.left_out,
            exclusive: frame.exclusive,
            world,
            connections,
            steps,
            expect,
            sources: self.sources.clone(),
        }
    }

    /// The tree of the topology that the scenario names.
    fn topology(&mut self, root: &Node, topology: Topology) -> Option<Node> {
        let node = root.get("topology").filter(|node| !node.is_absent())?;
        node.text().filter(|text| !(self.unresolved && text.contains('$')))?;
        let source = match topology {
            Topology::LookedUp => find_topology(self.path, node),
            Topology::Given(Some(source)) => Ok(source),
            Topology::Given(None) => {
                Err(Diagnostic::new(node.place, "the text of this topology is missing in the recording"))
            }
        };
        match source {
            Ok(source) => {
                let mut tree = yaml::parse(1, &source.text, &mut self.found);
                if let Some(root) = &mut tree {
                    self.found.extend(renamed::renew(root, &source, false));
                }
                self.sources.push(source);
                tree
            }
            Err(diagnostic) => {
                self.found.push(diagnostic);
                None
            }
        }
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
    let path = file::find_topology(path, name).map_err(|suggestion| {
        let looked = "looked in `topologies` beside the scenario, and in `fixtures/topologies` of each folder above it";
        let help = suggestion.map_or_else(|| looked.to_owned(), |suggestion| format!("{suggestion} ({looked})"));
        Diagnostic::new(node.place, format!("there is no topology `{name}`")).help(help)
    })?;
    file::read(&path).map_err(|diagnostic| {
        let message = format!("the topology `{}`: {}", path.display(), diagnostic.message());
        Diagnostic::new(node.place, message)
    })
}

#[cfg(test)]
mod tests;
