//! What is written, but says nothing: an expectation, a list of steps or a choice that holds whatever happens. It is
//! looked for in the tree as it is written: where a condition leaves nothing on some kernels, that is meant.

use super::super::diagnostic::Diagnostic;
use super::super::yaml::{Entry, Node, Value};
use super::Reader;
use super::gate::alternatives;

/// How deep below a section of an expectation a map or list may not be empty. Further down, and where nothing is
/// listed here, an empty list says that there is none, and an empty pattern stands for any.
const SECTIONS: [(&str, usize); 11] = [
    ("events", 0),
    ("counters", 1),
    ("subflows", 1),
    ("info", 2),
    ("endpoints", 0),
    ("sockets", 1),
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
        Diagnostic::new(root.place, "the scenario has neither steps nor expectations, so it can't fail")
            .help("add `steps:`, `expect:`, or both")
    })
}

fn check_steps(reader: &Reader, steps: &Node, message: &str) {
    let Value::List(items) = &steps.value else { return };
    if items.is_empty() {
        reader.report(Diagnostic::new(steps.place, message).help("add a step, or remove the key"));
    }
    for step in items.iter().flat_map(alternatives) {
        for repeated in step.get("repeat").into_iter().flat_map(alternatives) {
            for steps in repeated.get("steps").into_iter().flat_map(alternatives) {
                check_steps(reader, steps, "`repeat` has no steps");
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
    for broken in expectation.get("broken_rules").into_iter().flat_map(alternatives) {
        check_section(reader, broken, 0);
    }
    for either in expectation.get("either").into_iter().flat_map(alternatives) {
        check_section(reader, either, 0);
        let Value::List(choices) = &either.value else { continue };
        let lists = choices.iter().filter_map(|choice| choice.get("of")).flat_map(alternatives);
        lists.for_each(|of| check_choice(reader, of));
    }
}

/// The most alternatives of a choice: each is compared with each.
const MOST_ALTERNATIVES: usize = 20;

/// A choice between one thing says nothing that the thing doesn't, and neither does an alternative that can only hold
/// together with another one.
fn check_choice(reader: &Reader, of: &Node) {
    let Value::List(items) = &of.value else { return };
    if items.len() < 2 {
        let diagnostic = Diagnostic::new(of.place, "a choice needs at least two alternatives");
        reader.report(diagnostic.help("move what must always hold out of `either`"));
    }
    if items.len() > MOST_ALTERNATIVES {
        let message = format!("the choice has too many alternatives: {}, at most {MOST_ALTERNATIVES}", items.len());
        reader.error(of.place, message);
        return;
    }
    for item in items {
        check_expectation(reader, item);
    }
    for (index, alternative) in items.iter().enumerate() {
        let others = items.iter().enumerate().filter(|(other, _)| *other != index);
        let mut others = others.filter(|(other, weaker)| {
            // Of two that say the same, the second one is too many.
            says_no_more(weaker, alternative) && (*other < index || !says_no_more(alternative, weaker))
        });
        if let Some((_, weaker)) = others.next() {
            let message = "this alternative is redundant: whenever it holds, another one holds";
            reader.report(Diagnostic::new(alternative.place, message).context(weaker.place, "this one"));
        }
    }
}

/// Everything in an expectation is in the other one, too.
fn says_no_more(expectation: &Node, other: &Node) -> bool {
    let entries = expectation.entries();
    let is_in_other = |section: &Entry| {
        let Some(other) = other.get(&section.key) else { return false };
        match (&section.value.value, &other.value) {
            (Value::List(items), Value::List(others)) if section.key == "wire" => {
                items.iter().all(|item| others.iter().any(|other| item.says_the_same(other)))
            }
            _ => {
                let depth = SECTIONS.iter().find(|(name, _)| *name == section.key).map_or(0, |(_, depth)| depth + 1);
                is_part(&section.value, other, depth)
            }
        }
    };
    !entries.is_empty() && entries.iter().all(is_in_other)
}

/// Each entry of a map is in the other one, too, down to that depth: deeper down it must be the same. `others: 0` is about
/// what isn't listed, so it isn't a part of anything.
fn is_part(node: &Node, other: &Node, depth: usize) -> bool {
    let has_others = node.get("others").is_some();
    let entries = node.entries();
    node.says_the_same(other)
        || (depth > 0
            && !entries.is_empty()
            && !has_others
            && entries
                .iter()
                .all(|entry| other.get(&entry.key).is_some_and(|other| is_part(&entry.value, other, depth - 1))))
}

fn check_section(reader: &Reader, node: &Node, depth: usize) {
    let is_empty = match &node.value {
        Value::Scalar { .. } => false,
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    };
    if is_empty {
        reader.error(node.place, "this part of the expectation is empty");
    }
    if let Some(depth) = depth.checked_sub(1) {
        for part in node.entries().iter().flat_map(|entry| alternatives(&entry.value)) {
            check_section(reader, part, depth);
        }
    }
}
