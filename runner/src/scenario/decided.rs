//! Conditions on the variant of the matrix: `when: AXIS=VARIANT`.
//!
//! The matrix writes [`ALWAYS`] or [`NEVER`] in their place, so that the text of a variant, which a recording carries,
//! needs no matrix. [`decide`] takes them out of the tree before anything is read.

use super::yaml::{Node, Value};

/// In the place of a condition that holds in this variant.
pub(super) const ALWAYS: &str = "always";

/// In the place of one that doesn't.
pub(super) const NEVER: &str = "never";

const WHEN: &str = "when";
const IS: &str = "is";
const ELSE: &str = "else";

/// `AXIS=VARIANT`, or `not AXIS=VARIANT`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Condition<'a> {
    pub(super) axis: &'a str,
    pub(super) variant: &'a str,
    pub(super) wanted: bool,
}

impl<'a> Condition<'a> {
    /// `None`: it is about something else, a feature perhaps.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let (text, wanted) = text.strip_prefix("not ").map_or((text, true), |rest| (rest.trim(), false));
        let (axis, variant) = text.split_once('=')?;
        Some(Self { axis, variant, wanted })
    }
}

/// Takes all that is decided out of a tree.
pub(super) fn decide(node: &mut Node) {
    match &mut node.value {
        Value::Scalar { .. } => {}
        Value::List(items) => items.retain_mut(there),
        Value::Map(entries) => entries.retain_mut(|entry| there(&mut entry.value)),
    }
}

/// Whether a value is there. If it is, everything in it is decided.
fn there(node: &mut Node) -> bool {
    if let Some(holds) = settled(node) {
        let is_choice = node.get(IS).is_some();
        let Value::Map(entries) = &mut node.value else { return true };
        if is_choice {
            let word = if holds { IS } else { ELSE };
            let Some(index) = entries.iter().position(|entry| entry.key == word) else { return false };
            *node = entries.swap_remove(index).value;
            return there(node);
        }
        if !holds {
            return false;
        }
        entries.retain(|entry| entry.key != WHEN);
    }
    decide(node);
    true
}

/// What the variant alone says of the condition of a node. What is left of a list of conditions is one on features.
fn settled(node: &mut Node) -> Option<bool> {
    let Value::Map(entries) = &mut node.value else { return None };
    let when = entries.iter_mut().find(|entry| entry.key == WHEN)?;
    // What still names a variant belongs to a matrix with errors, which were noted.
    let word = |node: &Node| match node.text()? {
        ALWAYS => Some(true),
        NEVER => Some(false),
        other => Condition::read(other).map(|_| true),
    };
    match &mut when.value.value {
        Value::Scalar { .. } => word(&when.value),
        Value::List(items) => {
            if items.iter().any(|item| word(item) == Some(false)) {
                return Some(false);
            }
            let before = items.len();
            items.retain(|item| word(item).is_none());
            (items.is_empty() && before > 0).then_some(true)
        }
        Value::Map(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    #[test]
    fn conditions_that_are_decided_leave_no_trace() {
        let mut root = parse(
            0,
            "l: [{ when: always, a: 1 }, { when: never, b: 1 }, { when: [always, tbf], c: { when: never, is: 1, else: \
             { when: always, is: 2 } } }, { when: [never, tbf], d: 1 }, { when: tbf, e: { when: never, is: 1 } }]\n",
            &mut Vec::new(),
        )
        .unwrap();
        decide(&mut root);
        let expected = parse(0, "l: [{ a: 1 }, { when: [tbf], c: 2 }, { when: tbf }]\n", &mut Vec::new()).unwrap();
        assert!(root.says_the_same(&expected), "{root:?}");
    }

    #[test]
    fn features_are_no_variants() {
        assert_eq!(Condition::read("not sysctl:net.x"), None);
        assert_eq!(Condition::read("not a=b"), Some(Condition { axis: "a", variant: "b", wanted: false }));
    }
}
