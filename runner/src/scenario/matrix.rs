//! The matrix: one scenario text for each combination of its axes. The main type is [`Matrix`].
//!
//! Variables are filled into the text, so that a variant can be shown, stored in a recording and read again. A value
//! goes in as it is written, quotes included, where `$name` is a whole scalar, and without its quotes within one.

mod axis;
mod uses;

use std::ops::Range;

use super::decided::{ALWAYS, Condition, NEVER};
use super::diagnostic::Diagnostic;
use super::model::Place;
use super::variable::references;
use super::yaml::{Entry, Node, Value};
use axis::{Axis, AxisVariant, Variable, read_axis};

/// The most variants of a scenario.
const MOST: usize = 256;

/// The most bytes of a value.
const LONGEST_VALUE: usize = 256;

/// The most bytes of all variants of a scenario together.
const MOST_TEXT: usize = 16 << 20;

/// The axes of a scenario, checked.
#[derive(Debug, Default)]
pub struct Matrix {
    axes: Vec<Axis>,
    /// The bytes of the `matrix:` block, in which nothing is filled in.
    block: Range<usize>,
    /// Some axis has errors, so that its variables are not known.
    incomplete: bool,
}

/// One combination.
#[derive(Debug)]
pub struct Variant {
    /// The labels of the axes joined with `-`; `None` if there is no matrix.
    pub label: Option<String>,
    /// The text with all variables filled in.
    pub text: String,
    /// Its tree, if it is known already.
    pub tree: Option<Node>,
}

impl Matrix {
    /// Reads the `matrix:` of a scenario and checks it against the rest of the text.
    pub fn read(root: &Node, text: &str, found: &mut Vec<Diagnostic>) -> Self {
        let mut matrix = Self::default();
        if let Some(entry) = root.entries().iter().find(|entry| entry.key == "matrix") {
            matrix.block = entry.range.start..entry.value.range.end;
            matrix.read_axes(&entry.value, text, found);
        }
        matrix.check_uses(root, text, found);
        matrix
    }

    fn read_axes(&mut self, node: &Node, text: &str, found: &mut Vec<Diagnostic>) {
        if node.entries().is_empty() {
            found.push(Diagnostic::new(node.place, "`matrix` must be a map of axes").help(
                "like `matrix: { family: { ipv4: { server: 10.0.1.1 }, ipv6: { server: \"dead:beef:1::1\" } } }`",
            ));
            return;
        }
        for entry in node.entries() {
            match read_axis(entry, text, found) {
                Some(axis) => self.axes.push(axis),
                None => self.incomplete = true,
            }
        }
        let combinations = self.axes.iter().try_fold(1_usize, |all, axis| all.checked_mul(axis.variants.len()));
        if combinations.is_none_or(|all| all > MOST) {
            let count = combinations.map_or_else(|| "far too many".to_owned(), |all| all.to_string());
            found.push(
                Diagnostic::new(node.place, format!("the matrix has too many variants: {count}"))
                    .help(format!("at most {MOST}")),
            );
        }
        self.check_names(found);
    }

    /// Calls `visit` with each condition about a variant.
    fn conditions(&self, node: &Node, visit: &mut dyn FnMut(&Condition<'_>, &Node)) {
        if let Value::List(items) = &node.value {
            for item in items {
                self.conditions(item, visit);
            }
        }
        let is_matrix = |entry: &Entry| !self.block.is_empty() && entry.range.start == self.block.start;
        for entry in node.entries().iter().filter(|entry| !is_matrix(entry)) {
            self.conditions(&entry.value, visit);
            let conditions = match &entry.value.value {
                Value::List(items) => items.as_slice(),
                Value::Scalar { .. } | Value::Map(_) => std::slice::from_ref(&entry.value),
            };
            for node in conditions.iter().filter(|_| entry.key == "when") {
                if let Some(condition) = node.text().and_then(Condition::read) {
                    visit(&condition, node);
                }
            }
        }
    }

    /// Calls `visit` with each scalar and key outside the matrix.
    fn scalars(&self, node: &Node, visit: &mut dyn FnMut(&Scalar)) {
        match &node.value {
            Value::Scalar { plain, .. } => {
                visit(&Scalar { place: node.place, range: node.range.clone(), plain: *plain });
            }
            Value::List(items) => items.iter().for_each(|item| self.scalars(item, visit)),
            Value::Map(entries) => {
                let is_matrix = |entry: &Entry| !self.block.is_empty() && entry.range.start == self.block.start;
                for entry in entries.iter().filter(|entry| !is_matrix(entry)) {
                    visit(&Scalar { place: entry.place, range: entry.range.clone(), plain: true });
                    self.scalars(&entry.value, visit);
                }
            }
        }
    }

    /// All combinations of a matrix without errors, the last axis changing first.
    pub fn variants(&self, root: &Node, text: &str) -> Result<Vec<Variant>, Diagnostic> {
        let mut combinations: Vec<Vec<&AxisVariant>> = vec![Vec::new()];
        for axis in &self.axes {
            combinations = combinations
                .iter()
                .flat_map(|chosen| {
                    axis.variants.iter().map(move |variant| {
                        let mut chosen = chosen.clone();
                        chosen.push(variant);
                        chosen
                    })
                })
                .collect();
        }
        let mut left = MOST_TEXT;
        let mut variants = Vec::new();
        for chosen in &combinations {
            let variables = resolved(chosen)?;
            let variant = self.fill_in(chosen, &variables, root, text, left).ok_or_else(|| {
                let message = format!("the variants of the matrix are too large: more than {MOST_TEXT} bytes");
                Diagnostic::of_file(message).help("reduce the number of variants or the use of long values")
            })?;
            left -= variant.text.len();
            variants.push(variant);
        }
        Ok(variants)
    }

    /// `None` if the text would be longer than `most`.
    fn fill_in(
        &self,
        chosen: &[&AxisVariant],
        variables: &[Variable],
        root: &Node,
        text: &str,
        most: usize,
    ) -> Option<Variant> {
        let mut scalars = Vec::new();
        self.scalars(root, &mut |scalar| scalars.push((scalar.range.clone(), scalar.plain)));
        let mut edits = edits(text, &scalars, variables);
        // What a variant decides is decided in its text: a recording has nothing else.
        self.conditions(root, &mut |condition, node| {
            let axis = self.axes.iter().zip(chosen).find(|(axis, _)| axis.name == condition.axis);
            let holds = axis.is_some_and(|(axis, variant)| axis.is(variant, condition.variant) == condition.wanted);
            edits.push((node.range.clone(), if holds { ALWAYS } else { NEVER }));
        });
        edits.sort_by_key(|(range, _)| range.start);
        let filled = applied(text, &edits, most)?;
        let labels: Vec<&str> = chosen.iter().map(|variant| variant.label.as_str()).collect();
        Some(Variant { label: (!labels.is_empty()).then(|| labels.join("-")), text: filled, tree: None })
    }
}

/// The variables of a combination, those in their values filled in. An error if one becomes too long.
fn resolved(chosen: &[&AxisVariant]) -> Result<Vec<Variable>, Diagnostic> {
    let mut open: Vec<Variable> = chosen.iter().flat_map(|variant| &variant.variables).cloned().collect();
    let mut done: Vec<Variable> = Vec::new();
    // None contains itself, so each round has one that needs nothing but those that are done.
    while !open.is_empty() {
        let is_done = |name: &str| done.iter().any(|it| it.name == name);
        let is_ready = |it: &Variable| references(&it.raw).iter().all(|reference| reference.name.is_none_or(is_done));
        let ready: Vec<Variable> = open.extract_if(.., |variable| is_ready(variable)).collect();
        if ready.is_empty() {
            break;
        }
        for mut variable in ready {
            let too_long = || {
                let message = format!("the value of the variable `{}` is too long", variable.name);
                let help = format!("at most {LONGEST_VALUE} bytes, with the variables in it filled in");
                Diagnostic::new(variable.place, message).help(help)
            };
            let raw = applied(&variable.raw, &edits(&variable.raw, &variable.scalars, &done), LONGEST_VALUE);
            let raw = raw.ok_or_else(too_long)?;
            if let Some(text) = &mut variable.text {
                let filled = applied(text, &edits(text, &[(0..text.len(), false)], &done), LONGEST_VALUE);
                // Without its quotes, it is no longer.
                *text = filled.unwrap_or_else(|| raw.clone());
            }
            variable.raw = raw;
            done.push(variable);
        }
    }
    Ok(done)
}

/// What is filled in for the variables in these scalars of a text.
fn edits<'a>(text: &str, scalars: &[(Range<usize>, bool)], variables: &'a [Variable]) -> Vec<(Range<usize>, &'a str)> {
    let mut edits = Vec::new();
    for (scalar, plain) in scalars {
        for reference in references(text.get(scalar.clone()).unwrap_or_default()) {
            let range = scalar.start + reference.range.start..scalar.start + reference.range.end;
            let value = match reference.name.map(|name| variables.iter().find(|it| it.name == name)) {
                None => "$",
                Some(None) => continue,
                Some(Some(variable)) if *plain && range == *scalar => &variable.raw,
                Some(Some(variable)) => variable.text.as_ref().unwrap_or(&variable.raw),
            };
            edits.push((range, value));
        }
    }
    edits
}

/// The text with these edits, which are in its order. `None` if it would be longer than `most`.
fn applied(text: &str, edits: &[(Range<usize>, &str)], most: usize) -> Option<String> {
    let added: usize = edits.iter().map(|(range, value)| value.len().saturating_sub(range.len())).sum();
    if text.len() + added > most {
        return None;
    }
    let mut filled = String::with_capacity(text.len() + added);
    let mut copied = 0;
    for (range, value) in edits {
        filled.push_str(text.get(copied..range.start).unwrap_or_default());
        filled.push_str(value);
        copied = range.end;
    }
    filled.push_str(text.get(copied..).unwrap_or_default());
    Some(filled)
}

struct Scalar {
    place: Place,
    range: Range<usize>,
    plain: bool,
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    fn variants(text: &str) -> (Vec<Variant>, Vec<Diagnostic>) {
        let mut found = Vec::new();
        let root = parse(0, text, &mut found).unwrap();
        let matrix = Matrix::read(&root, text, &mut found);
        (matrix.variants(&root, text).unwrap(), found)
    }

    #[test]
    fn values_are_filled_in_as_they_are_meant() {
        let text = "matrix:\n  family:\n    v4: { s: 10.0.1.1, any: 0.0.0.0, flags: [a, b] }\n    \
                    v6: { s: \"dead:beef::1\", any: \"::\", flags: [c] }\n\
                    # $nothing in a comment\n\
                    a: $s\nb: $any\nc: $s/64\nd: [$s, \"$s\"]\ne: $flags\nf: costs $$5\n";
        let (variants, found) = variants(text);
        assert_eq!(found, []);
        assert_eq!(variants.len(), 2);
        assert_eq!(variants[1].label.as_deref(), Some("v6"));
        assert!(variants[1].text.ends_with(
            "# $nothing in a comment\na: \"dead:beef::1\"\nb: \"::\"\nc: dead:beef::1/64\n\
             d: [\"dead:beef::1\", \"dead:beef::1\"]\ne: [c]\nf: costs $5\n"
        ));
    }

    #[test]
    fn the_variable_of_a_repeat_step_is_left_to_the_steps() {
        let text = "matrix: { a: [x] }\nsteps:\n  - repeat: { variable: n, steps: [$n, $a] }\n  - $n\n";
        let (variants, found) = variants(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].place().map(|place| place.line), Some(4));
        assert!(variants[0].text.contains("steps: [$n, x]"), "{}", variants[0].text);
    }

    #[test]
    fn variables_stand_in_keys_and_in_other_variables() {
        let text = "matrix:\n  family:\n    v4: { net: 10.0.1, second: $net.2, both: [$second, \"$net.3\"], host: c }\n    \
                    v6: { net: \"dead:beef:\", second: \"$net:2\", both: [$second], host: d }\n  \
                    far: [$second, x$host]\na: $second\nb: $both\n$host: $far\nc: $net\n";
        let (variants, found) = variants(text);
        assert_eq!(found, []);
        let filled: Vec<_> = variants.iter().map(|it| it.text.split_once("\na: ").unwrap().1).collect();
        assert_eq!(filled[0], "10.0.1.2\nb: [10.0.1.2, \"10.0.1.3\"]\nc: 10.0.1.2\nc: 10.0.1\n");
        assert_eq!(filled[3], "\"dead:beef::2\"\nb: [\"dead:beef::2\"]\nd: xd\nc: \"dead:beef:\"\n");
    }

    #[test]
    fn a_value_that_becomes_too_long_is_named() {
        let long = "x".repeat(200);
        let text = format!("matrix: {{ a: {{ one: {{ b: {long}, c: $b-$b }} }} }}\nv: $c\n");
        let mut found = Vec::new();
        let root = parse(0, &text, &mut found).unwrap();
        let error = Matrix::read(&root, &text, &mut found).variants(&root, &text).unwrap_err();
        assert_eq!(found, []);
        assert_eq!(error.message(), "the value of the variable `c` is too long");
        assert_eq!(error.place().map(|place| place.line), Some(1));
    }

    #[test]
    fn a_variable_that_contains_itself_is_refused() {
        let text = "matrix: { a: { x: { b: $c, c: $b } } }\nv: $b\n";
        let mut found = Vec::new();
        let root = parse(0, text, &mut found).unwrap();
        Matrix::read(&root, text, &mut found);
        assert_eq!(found.iter().map(Diagnostic::message).collect::<Vec<_>>(), ["the variable `b` contains itself"]);
    }

    #[test]
    fn what_a_variant_decides_is_decided_in_its_text() {
        let text = "matrix: { family: { v4: {}, v6: {} }, sum: [0, 1] }\n\
                    steps: [{ when: family=v6, a: $sum }, { when: [not family=v6, tbf], b: { when: sum=1, is: 2 } }]\n";
        let (variants, found) = variants(text);
        assert_eq!(found, []);
        let steps: Vec<_> = variants.iter().map(|it| it.text.split_once("steps: ").unwrap().1).collect();
        assert_eq!(steps[1], "[{ when: never, a: 1 }, { when: [always, tbf], b: { when: always, is: 2 } }]\n");
        assert_eq!(steps[2], "[{ when: always, a: 0 }, { when: [never, tbf], b: { when: never, is: 2 } }]\n");
    }

    #[test]
    fn axes_multiply_and_labels_join() {
        let (variants, found) = variants("matrix: { a: [x, y], b: { p: { q: 1 }, r: { q: 2 } } }\nv: $a $q\n");
        assert_eq!(found, []);
        let labels: Vec<_> = variants.iter().map(|variant| variant.label.as_deref().unwrap()).collect();
        assert_eq!(labels, ["a-x-p", "a-x-r", "a-y-p", "a-y-r"]);
    }

    #[test]
    fn without_a_matrix_there_is_one_variant_without_a_label() {
        let (variants, found) = variants("a: b\n");
        assert_eq!(found, []);
        assert_eq!((variants.len(), &variants[0].label), (1, &None));
    }
}
