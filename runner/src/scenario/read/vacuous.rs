//! What is written, but says nothing: an expectation, a list of steps or a choice that holds whatever happens. It is
//! looked for in the tree as it is written: where a condition leaves nothing on some kernels, that is meant.

use super::super::diagnostic::Diagnostic;
use super::super::yaml::{Node, Value};
use super::Reader;
use super::gate::alternatives;

/// How deep below a section of an expectation a map or list may not be empty. Further down, and where nothing is
/// listed here, an empty list says that there is none, and an empty pattern stands for any.
const SECTIONS: [(&str, usize); 10] = [
    ("events", 0),
    ("counters", 1),
    ("subflows", 1),
    ("info", 2),
    ("endpoints", 0),
    ("connection_endpoints", 1),
    ("limits", 0),
    ("bytes", 1),
    ("wire", 0),
    ("paths", 3),
];

/// Notes everything in a scenario that is empty though it ought to say something.
pub fn check(reader: &Reader, root: &Node) {
    if let Some(steps) = root.get("steps") {
        check_steps(reader, steps, "the scenario has no steps");
    }
    if let Some(expect) = root.get("expect") {
        check_expectation(reader, expect);
    }
}

/// What is wrong with a scenario as a whole in which nothing else is wrong.
pub fn check_whole(root: &Node) -> Option<Diagnostic> {
    let is_empty = root.get("steps").is_none() && root.get("expect").is_none();
    is_empty.then(|| {
        Diagnostic::new(root.place, "nothing is done and nothing is expected: this can't fail")
            .help("`steps:` says what is done, `expect:` what must be observed")
    })
}

fn check_steps(reader: &Reader, steps: &Node, message: &str) {
    let Value::List(items) = &steps.value else { return };
    if items.is_empty() {
        reader.report(Diagnostic::new(steps.place, message).help("leave it out, or write a step"));
    }
    for step in items.iter().flat_map(alternatives) {
        for repeated in step.get("repeat").into_iter().flat_map(alternatives) {
            for steps in repeated.get("steps").into_iter().flat_map(alternatives) {
                check_steps(reader, steps, "there are no steps to repeat");
            }
        }
        for expectation in step.get("check").into_iter().flat_map(alternatives) {
            check_expectation(reader, expectation);
        }
    }
}

fn check_expectation(reader: &Reader, expectation: &Node) {
    if let Value::Map(sections) = &expectation.value
        && sections.is_empty()
    {
        let sections: Vec<_> = SECTIONS.iter().map(|(name, _)| format!("`{name}`")).collect();
        reader.report(
            Diagnostic::new(expectation.place, "an empty expectation can't fail")
                .help(format!("it has {}", sections.join(", "))),
        );
    }
    for (name, depth) in SECTIONS {
        for section in expectation.get(name).into_iter().flat_map(alternatives) {
            check_section(reader, section, depth);
        }
    }
}

fn check_section(reader: &Reader, node: &Node, depth: usize) {
    let is_empty = match &node.value {
        Value::Scalar { .. } => false,
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    };
    if is_empty {
        reader.error(node.place, "nothing is expected here");
    }
    if let Some(depth) = depth.checked_sub(1) {
        for part in node.entries().iter().flat_map(|entry| alternatives(&entry.value)) {
            check_section(reader, part, depth);
        }
    }
}
