//! Words that the language had before, and plain scalars that YAML 1.1 reads as something else than YAML 1.2: both are
//! errors that name what to write, and [`fix`] writes it. The main type is [`Change`].
//!
//! A later renaming is a row of [`KEYS`] or [`WORDS`].

use std::ops::Range;
use std::path::Path;

use super::diagnostic::Diagnostic;
use super::grammar::{KERNELS, KVM, Kind, Record, SCENARIO, Shape};
use super::model::Place;
use super::yaml::{self, Entry, Node, Value};
use crate::scenario::SourceText;

/// Keys with an old name, wherever a record has the new one.
const KEYS: [(&str, &str); 3] = [("alone", "exclusive"), ("deadline", "timeout"), ("on", "connection")];

/// Values with an old name, by what stands in their place.
const WORDS: [(Kind, &str, &str); 4] = [
    (Kind::Switch, "on", "true"),
    (Kind::Switch, "off", "false"),
    (Kind::Word(&KVM), "on", "true"),
    (Kind::Word(&KVM), "off", "false"),
];

/// The most errors that are kept.
const MOST: usize = 1_000;

/// Something to write in another way.
#[derive(Debug)]
struct Change {
    place: Place,
    range: Range<usize>,
    why: Why,
}

#[derive(Debug)]
enum Why {
    /// A key or a value has another name.
    Renamed { old: &'static str, new: &'static str },
    /// So has a key, but its record has the new one, too.
    Twice { old: &'static str, new: &'static str },
    /// As a plain scalar, YAML 1.1 reads it as this.
    Plain { text: String, read_as: &'static str },
}

impl Change {
    /// What to write instead, if that can be said.
    fn replacement(&self) -> Option<String> {
        match &self.why {
            Why::Renamed { new, .. } => Some((*new).to_owned()),
            Why::Twice { .. } => None,
            // Nothing in it needs an escape.
            Why::Plain { text, .. } => Some(format!("\"{text}\"")),
        }
    }

    fn diagnostic(&self, file: &str, filled_in: bool) -> Diagnostic {
        let but = if filled_in { ", unless it is the value of a variable" } else { "" };
        let rewrites = format!("`mptcplab check --fix {file}` rewrites it{but}");
        match &self.why {
            Why::Renamed { old, new } => {
                Diagnostic::new(self.place, format!("`{old}` was renamed: write `{new}`")).help(rewrites)
            }
            Why::Twice { old, new } => Diagnostic::new(
                self.place,
                format!("`{old}` was renamed to `{new}`, and both are given: remove `{old}`"),
            ),
            Why::Plain { text, read_as } => {
                let message = format!("YAML 1.1 reads `{text}` as {read_as}: write `\"{text}\"`");
                Diagnostic::new(self.place, message).help(rewrites)
            }
        }
    }
}

/// What is to be written in another way in the tree of that text, in which variables may have been filled in. In the tree,
/// old words are replaced, so that nothing follows from them.
pub(super) fn renew(root: &mut Node, source: &SourceText, filled_in: bool) -> Vec<Diagnostic> {
    let changes = changes(root, &source.text);
    changes.iter().take(MOST).map(|change| change.diagnostic(&source.name, filled_in)).collect()
}

/// What a file with words of the language is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileKind {
    /// A scenario.
    #[default]
    Scenario,
    /// What scenarios share.
    Topology,
    /// A list of kernels.
    Kernels,
}

/// A text with the words of today, and quotes where they are needed. Everything else is as it was, to the byte.
#[derive(Debug, Default)]
pub struct Rewritten {
    /// The text.
    pub text: String,
    /// How many places differ.
    pub changes: usize,
    /// What it is.
    pub kind: FileKind,
}

/// Rewrites the text of a file. What can't be rewritten stays, and is an error when the file is read.
pub fn fix(file: &Path, text: &str) -> Rewritten {
    let Some(mut root) = yaml::parse(0, text, &mut Vec::new()) else {
        return Rewritten { text: text.to_owned(), ..Rewritten::default() };
    };
    let in_topologies = file.parent().is_some_and(|folder| folder.ends_with("topologies"));
    let kind = match is_list_of_kernels(&root) {
        true => FileKind::Kernels,
        false if in_topologies => FileKind::Topology,
        false => FileKind::Scenario,
    };
    let mut fixed = Rewritten { text: String::with_capacity(text.len()), changes: 0, kind };
    let mut copied = 0;
    for change in changes(&mut root, text) {
        let Some(replacement) = change.replacement() else { continue };
        fixed.text.push_str(text.get(copied..change.range.start).unwrap_or_default());
        fixed.text.push_str(&replacement);
        copied = change.range.end;
        fixed.changes += 1;
    }
    fixed.text.push_str(text.get(copied..).unwrap_or_default());
    fixed
}

/// All changes, in the order of the text.
fn changes(root: &mut Node, text: &str) -> Vec<Change> {
    let record = if is_list_of_kernels(root) { KERNELS } else { &SCENARIO };
    let mut walk = Walk { text, changes: Vec::new() };
    walk.node(root, &[Shape::Record(record)]);
    walk.changes
}

/// A list of kernels, not a scenario.
fn is_list_of_kernels(root: &Node) -> bool {
    root.get("kernels").is_some() && root.get("steps").is_none()
}

struct Walk<'a> {
    text: &'a str,
    changes: Vec<Change>,
}

impl Walk<'_> {
    /// Looks at a node where one of these shapes may stand; at none, only for what YAML 1.1 reads in another way.
    fn node(&mut self, node: &mut Node, shapes: &[Shape]) {
        let shapes = flattened(shapes);
        let (place, range) = (node.place, node.range.clone());
        match &mut node.value {
            Value::Scalar { text, plain } => {
                let renamed = WORDS.iter().find(|(kind, old, _)| {
                    old == text && shapes.iter().any(|shape| matches!(shape, Shape::Scalar(other) if other == kind))
                });
                if let Some((_, old, new)) = renamed {
                    *text = (*new).to_owned();
                    self.changes.push(Change { place, range, why: Why::Renamed { old, new } });
                } else if *plain {
                    self.plain(text, place, range);
                }
            }
            Value::List(items) => {
                let inner = |shape: &Shape| match shape {
                    Shape::List(inner) => Some(**inner),
                    Shape::Scalar(_) | Shape::Some(_) | Shape::Record(_) | Shape::Table(..) | Shape::Either(_) => None,
                };
                let inner: Vec<Shape> = shapes.iter().filter_map(inner).collect();
                for item in items {
                    self.node(item, &inner);
                }
            }
            Value::Map(entries) => self.map(entries, &shapes),
        }
    }

    fn map(&mut self, entries: &mut Vec<Entry>, shapes: &[Shape]) {
        let is_choice = entries.iter().any(|entry| entry.key == "is");
        let mut superfluous = Vec::new();
        for index in 0..entries.len() {
            let new = new_name(&entries[index].key, shapes);
            let twice = new.is_some_and(|(_, new)| entries.iter().any(|entry| entry.key == new));
            let Some(entry) = entries.get_mut(index) else { return };
            let (place, range) = (entry.place, entry.range.clone());
            match new {
                Some((old, new)) if twice => {
                    superfluous.push(old);
                    self.changes.push(Change { place, range, why: Why::Twice { old, new } });
                }
                Some((old, new)) => {
                    new.clone_into(&mut entry.key);
                    self.changes.push(Change { place, range, why: Why::Renamed { old, new } });
                }
                None if self.is_plain(&range) => self.plain(&entry.key, place, range),
                None => {}
            }
            let below = match entry.key.as_str() {
                "is" | "else" if is_choice => shapes.to_vec(),
                key => shapes.iter().filter_map(|shape| below(shape, key)).collect(),
            };
            self.node(&mut entry.value, &below);
        }
        // Nothing more is to be said about an old name beside the new one.
        entries.retain(|entry| !superfluous.contains(&entry.key.as_str()));
    }

    fn plain(&mut self, text: &str, place: Place, range: Range<usize>) {
        if let Some(read_as) = yaml::in_yaml_1_1(text) {
            self.changes.push(Change { place, range, why: Why::Plain { text: text.to_owned(), read_as } });
        }
    }

    fn is_plain(&self, range: &Range<usize>) -> bool {
        self.text.get(range.clone()).is_some_and(|written| !written.starts_with(['"', '\'', '|', '>']))
    }
}

/// The shapes with alternatives spread out.
fn flattened(shapes: &[Shape]) -> Vec<Shape> {
    let spread = |shape: &Shape| match shape {
        Shape::Either(inner) => flattened(inner),
        Shape::Some(inner) => flattened(std::slice::from_ref(inner)),
        other => vec![*other],
    };
    shapes.iter().flat_map(spread).collect()
}

/// What stands below a key.
fn below(shape: &Shape, key: &str) -> Option<Shape> {
    match shape {
        Shape::Record(record) => record.all_keys().chain(record.never).find(|it| it.name == key).map(|key| key.shape),
        Shape::Table(_, _, inner) => Some(**inner),
        Shape::Scalar(_) | Shape::List(_) | Shape::Some(_) | Shape::Either(_) => None,
    }
}

/// The old and the new name of a key.
fn new_name(key: &str, shapes: &[Shape]) -> Option<(&'static str, &'static str)> {
    let has = |record: &Record, name: &str| record.all_keys().chain(record.never).any(|key| key.name == name);
    KEYS.into_iter().find(|(old, new)| {
        let renamed = |shape: &Shape| matches!(shape, Shape::Record(record) if has(record, new) && !has(record, old));
        *old == key && shapes.iter().any(renamed)
    })
}
