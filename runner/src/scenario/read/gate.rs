//! What holds on some kernels only. It is settled in the tree, before anything is read, so that whatever is written
//! in a scenario may depend on a feature, and nothing after this knows of it.
//!
//! * An item of a list with `when: FEATURE` is there only where the condition holds.
//! * `{ when: FEATURE, is: VALUE, else: VALUE }` may stand for any value. Without `else`, there is nothing otherwise.
//! * Events of listening sockets are expected only of kernels that have them.

use std::collections::BTreeSet;

use super::super::diagnostic::Diagnostic;
use super::super::model::Feature;
use super::super::scalar::Parsed;
use super::super::yaml::{Entry, Node, Value};
use super::{Read, Reader, all, feature};

/// So many features may decide in one scenario: it is read once for each combination.
const MOST_FEATURES: usize = 4;
/// The parts of a scenario file in which something may depend on a feature.
pub const PARTS: [&str; 3] = ["namespaces", "steps", "expect"];
const WHEN: &str = "when";
const IS: &str = "is";
const ELSE: &str = "else";

/// What must be there, or must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    feature: Feature,
    there: bool,
}

impl Condition {
    fn opposite(&self) -> Self {
        Self { there: !self.there, ..self.clone() }
    }

    fn holds(&self, lacking: &BTreeSet<Feature>) -> bool {
        lacking.contains(&self.feature) != self.there
    }
}

/// Where in the file a node stands, as far as events of listening sockets have a meaning there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Elsewhere,
    /// In `expect:` or `check:`.
    Expectation,
    /// In its `events:`.
    Events,
}

impl Where {
    fn below(self, key: &str) -> Self {
        match (self, key) {
            // The alternatives of a choice are expectations, too.
            (Self::Elsewhere, "expect" | "check") | (Self::Expectation, "either" | "of") => Self::Expectation,
            (Self::Expectation, "events") => Self::Events,
            (Self::Expectation, _) => Self::Elsewhere,
            (other, _) => other,
        }
    }
}

/// The features that something in a scenario depends on.
pub fn asked(reader: &Reader, root: &Node) -> Read<BTreeSet<Feature>> {
    let required = words(root, "requires");
    let mut asked = words(root, "snapshot_by");
    if let (true, Some(node)) = (asked.contains(&Feature::Mptcp), root.get("snapshot_by")) {
        return Err(reader.error(node.place, always_there(&Feature::Mptcp)));
    }
    if let (Some(both), Some(node)) = (asked.intersection(&required).next(), root.get("snapshot_by")) {
        return Err(reader.error(node.place, always_there(both)));
    }
    let parts = root.entries().iter().filter(|entry| PARTS.contains(&entry.key.as_str()));
    all(parts.map(|part| {
        let place = Where::Elsewhere.below(&part.key);
        ask(reader, &part.value, place, &[], &required, &mut asked)
    }))?;
    // Only listener events may be there: they are asked for by themselves.
    asked.retain(|feature| !required.contains(feature));
    if asked.len() > MOST_FEATURES {
        let message = format!("the scenario depends on {} features; at most {MOST_FEATURES} are allowed", asked.len());
        return Err(reader.error(root.place, message));
    }
    Ok(asked)
}

fn always_there(feature: &Feature) -> String {
    if *feature == Feature::Mptcp {
        return "`mptcp` can't be a condition: on kernels without it, no scenario runs".to_owned();
    }
    format!("`{}` can't be a condition: `requires:` skips the scenario without it", feature.word())
}

/// What can be read of a list of features; its errors are noted by whoever reads it.
fn words(root: &Node, key: &str) -> BTreeSet<Feature> {
    let items = match root.get(key).map(|node| &node.value) {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter().filter_map(|item| feature(item.text()?).ok()).collect()
}

fn ask(
    reader: &Reader,
    node: &Node,
    place: Where,
    given: &[Condition],
    required: &BTreeSet<Feature>,
    asked: &mut BTreeSet<Feature>,
) -> Read<()> {
    let mut conditions_here = Vec::new();
    if let Some(when) = node.get(WHEN) {
        conditions_here = conditions(reader, when)?;
        for condition in &conditions_here {
            if required.contains(&condition.feature) || condition.feature == Feature::Mptcp {
                return Err(reader.error(when.place, always_there(&condition.feature)));
            }
            if let Some(outer) = given.iter().find(|outer| outer.feature == condition.feature) {
                let always = if outer.there == condition.there { "always" } else { "never" };
                let message = format!("inside a condition on `{}`, this one {always} holds", outer.feature.word());
                return Err(reader.error(when.place, message));
            }
            asked.insert(condition.feature.clone());
        }
        check_choice(reader, node)?;
    }
    // What stands in `else:` is known to lack a feature only if there is one condition.
    let otherwise = match conditions_here.as_slice() {
        [one] => vec![one.opposite()],
        _ => Vec::new(),
    };
    let with = |more: &[Condition]| -> Vec<Condition> { given.iter().chain(more).cloned().collect() };
    let (inside, otherwise) = (with(&conditions_here), with(&otherwise));
    match &node.value {
        Value::Scalar { .. } => Ok(()),
        Value::List(items) => all(items.iter().map(|item| {
            if place == Where::Events && is_listener_event(item) {
                asked.insert(Feature::ListenerEvents);
            }
            ask(reader, item, place, given, required, asked)
        }))
        .map(drop),
        Value::Map(entries) => all(entries.iter().map(|entry| {
            let given = if entry.key == ELSE { &otherwise } else { &inside };
            ask(reader, &entry.value, place.below(&entry.key), given, required, asked)
        }))
        .map(drop),
    }
}

/// A value that depends on a feature has nothing else beside it, and isn't the same either way.
fn check_choice(reader: &Reader, node: &Node) -> Read<()> {
    let Some(is) = node.get(IS) else { return Ok(()) };
    if let Some(other) = node.entries().iter().find(|entry| !is_word_of_choice(entry)) {
        let message = format!("`{}` can't be combined with `when:` and `is:`", other.key);
        return Err(reader.report(Diagnostic::new(other.place, message).help("only `else:` can")));
    }
    match node.get(ELSE) {
        Some(other) if is.says_the_same(other) => {
            let diagnostic =
                Diagnostic::new(other.place, "the condition has no effect: `is:` and `else:` are the same");
            Err(reader.report(diagnostic.context(is.place, "the same")))
        }
        _ => Ok(()),
    }
}

/// A node, or, if it is a choice, what may stand in its place.
pub(super) fn alternatives(node: &Node) -> Vec<&Node> {
    match node.get(IS) {
        Some(is) => [Some(is), node.get(ELSE)].into_iter().flatten().flat_map(alternatives).collect(),
        None => vec![node],
    }
}

fn is_word_of_choice(entry: &Entry) -> bool {
    [WHEN, IS, ELSE].contains(&entry.key.as_str())
}

/// The conditions of a `when:`, all of which must hold.
fn conditions(reader: &Reader, node: &Node) -> Read<Vec<Condition>> {
    let conditions = match &node.value {
        Value::List(items) => all(items.iter().map(|item| reader.scalar(item, condition)))?,
        Value::Scalar { .. } | Value::Map(_) => vec![reader.scalar(node, condition)?],
    };
    if conditions.is_empty() || conditions.iter().any(|one| conditions.contains(&one.opposite())) {
        return Err(reader.error(node.place, "the condition has no effect: it holds on no kernel or on all"));
    }
    Ok(conditions)
}

/// `FEATURE` or `not FEATURE`.
fn condition(text: &str) -> Parsed<Condition> {
    let (word, there) = text.strip_prefix("not ").map_or((text, true), |word| (word.trim(), false));
    Ok(Condition { feature: feature(word)?, there })
}

/// The same with all conditions settled, for a kernel that lacks these of the features that were [`asked`] for. What
/// can't be understood stays: it was noted there.
pub fn settled(root: &Node, lacking: &BTreeSet<Feature>) -> Node {
    let Value::Map(entries) = &root.value else { return root.clone() };
    let entries = entries.iter().map(|entry| {
        let in_part = PARTS.contains(&entry.key.as_str());
        let place = Where::Elsewhere.below(&entry.key);
        if in_part { Entry { value: inside(&entry.value, place, lacking), ..entry.clone() } } else { entry.clone() }
    });
    Node { value: Value::Map(entries.collect()), ..root.clone() }
}

/// A value that is there.
fn inside(node: &Node, place: Where, lacking: &BTreeSet<Feature>) -> Node {
    let value = match &node.value {
        Value::Scalar { .. } => return node.clone(),
        Value::List(items) => Value::List(items.iter().filter_map(|item| item_of(item, place, lacking)).collect()),
        Value::Map(entries) => Value::Map(
            entries
                .iter()
                .filter_map(|entry| {
                    let value = chosen(&entry.value, lacking)?;
                    Some(Entry { value: inside(value, place.below(&entry.key), lacking), ..entry.clone() })
                })
                .collect(),
        ),
    };
    Node { value, ..node.clone() }
}

fn item_of(item: &Node, place: Where, lacking: &BTreeSet<Feature>) -> Option<Node> {
    if place == Where::Events && lacking.contains(&Feature::ListenerEvents) && is_listener_event(item) {
        return None;
    }
    let item = chosen(item, lacking)?;
    if item.get(WHEN).is_none() {
        return Some(inside(item, place, lacking));
    }
    // What can't be understood was noted, and is no error of the rest.
    let holds = holds(item, lacking).unwrap_or(true);
    let rest: Vec<Entry> = item.entries().iter().filter(|entry| entry.key != WHEN).cloned().collect();
    holds.then(|| inside(&Node { value: Value::Map(rest), ..item.clone() }, place, lacking))
}

/// What stands in the place of a choice; the node itself if it is none.
fn chosen<'a>(node: &'a Node, lacking: &BTreeSet<Feature>) -> Option<&'a Node> {
    match (node.get(IS), holds(node, lacking)) {
        (Some(value), Some(true)) => chosen(value, lacking),
        (Some(_), Some(false)) => chosen(node.get(ELSE)?, lacking),
        _ => Some(node),
    }
}

/// Whether the condition of a node holds; `None` if it has none.
fn holds(node: &Node, lacking: &BTreeSet<Feature>) -> Option<bool> {
    let when = node.get(WHEN)?;
    let conditions = conditions(&Reader::new(false), when).ok()?;
    Some(conditions.iter().all(|condition| condition.holds(lacking)))
}

/// `listener_created`, or `listener_created: {…}`.
fn is_listener_event(item: &Node) -> bool {
    let is_word = |word: &str| matches!(word, "listener_created" | "listener_closed");
    item.text().is_some_and(is_word) || item.entries().iter().any(|entry| is_word(&entry.key))
}
