//! The matrix: one scenario text for each combination of its axes. The main type is [`Matrix`].
//!
//! Variables are filled into the text, so that a variant can be shown, stored in a recording and read again. A value
//! goes in as it is written, quotes included, where `$name` is a whole scalar, and without its quotes within one.

use std::ops::Range;

use super::diagnostic::Diagnostic;
use super::model::Place;
use super::nearest::suggestion;
use super::variable::{VARIABLE_NAME, is_variable_name, references};
use super::yaml::{Entry, Node, Value};

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

#[derive(Debug)]
struct Axis {
    place: Place,
    variants: Vec<AxisVariant>,
}

#[derive(Debug)]
struct AxisVariant {
    label: String,
    place: Place,
    variables: Vec<Variable>,
}

#[derive(Debug, Clone)]
struct Variable {
    name: String,
    place: Place,
    /// As it is written, quotes included.
    raw: String,
    /// As it is meant; `None` for a list.
    text: Option<String>,
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

    /// No variable belongs to two axes, no two variants have the same label.
    fn check_names(&self, found: &mut Vec<Diagnostic>) {
        let mut known: Vec<&Variable> = Vec::new();
        for axis in &self.axes {
            for variable in axis.variables() {
                if let Some(other) = known.iter().find(|other| other.name == variable.name) {
                    found.push(
                        Diagnostic::new(variable.place, format!("two axes define the variable `{}`", variable.name))
                            .context(other.place, "the other one"),
                    );
                }
            }
            known.extend(axis.variables());
            for (index, variant) in axis.variants.iter().enumerate() {
                if let Some(other) = axis.variants.iter().take(index).find(|other| other.label == variant.label) {
                    found.push(
                        Diagnostic::new(variant.place, format!("two variants are called `{}`", variant.label))
                            .context(other.place, "the other one"),
                    );
                }
            }
        }
    }

    /// Each `$name` is defined, each variable is used.
    fn check_uses(&self, root: &Node, text: &str, found: &mut Vec<Diagnostic>) {
        let names: Vec<&str> =
            self.axes.iter().flat_map(Axis::variables).map(|variable| variable.name.as_str()).collect();
        let mut repeats = Vec::new();
        repeat_variables(root, &mut repeats);
        for repeat in repeats.iter().filter(|repeat| names.contains(&repeat.name)) {
            let message = format!("the matrix has a variable `{}`, too", repeat.name);
            found.push(Diagnostic::new(repeat.place, message).help("give one of the two another name"));
        }
        let mut used = vec![false; names.len()];
        let mut unknown = Vec::new();
        self.scalars(root, &mut |scalar| {
            for name in references(text.get(scalar.range.clone()).unwrap_or_default()).iter().filter_map(|it| it.name) {
                let is_counted = |it: &RepeatVariable<'_>| it.name == name && it.block.contains(&scalar.range.start);
                match names.iter().position(|known| *known == name) {
                    Some(index) => used[index] = true,
                    None if self.incomplete || repeats.iter().any(is_counted) => {}
                    None => unknown.push((scalar.place, name.to_owned())),
                }
            }
        });
        for (place, name) in unknown {
            let diagnostic = Diagnostic::new(place, format!("no axis of the matrix defines the variable `{name}`"));
            let help = suggestion(&name, names.iter().copied());
            found.push(
                diagnostic.help(
                    help.unwrap_or_else(|| "define it below `matrix:`, or write `$$` for a dollar sign".to_owned()),
                ),
            );
        }
        for (variable, used) in self.axes.iter().flat_map(Axis::variables).zip(used) {
            if !used {
                found.push(
                    Diagnostic::new(variable.place, format!("the variable `{}` is never used", variable.name)).help(
                        format!(
                            "its variants would all be the same; write `${}` where its value belongs",
                            variable.name
                        ),
                    ),
                );
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
            let variant = self.fill_in(chosen, root, text, left).ok_or_else(|| {
                let message = format!("the variants of the matrix are too large: more than {MOST_TEXT} bytes");
                Diagnostic::of_file(message).help("fewer variants, or fewer uses of long values")
            })?;
            left -= variant.text.len();
            variants.push(variant);
        }
        Ok(variants)
    }

    /// `None` if the text would be longer than `most`.
    fn fill_in(&self, chosen: &[&AxisVariant], root: &Node, text: &str, most: usize) -> Option<Variant> {
        let variable = |name: &str| chosen.iter().flat_map(|variant| &variant.variables).find(|it| it.name == name);
        let mut edits: Vec<(Range<usize>, &str)> = Vec::new();
        self.scalars(root, &mut |scalar| {
            let written = text.get(scalar.range.clone()).unwrap_or_default();
            for reference in references(written) {
                let range = scalar.range.start + reference.range.start..scalar.range.start + reference.range.end;
                let value = match reference.name.map(variable) {
                    None => "$",
                    Some(None) => continue,
                    Some(Some(variable)) if scalar.plain && range == scalar.range => &variable.raw,
                    Some(Some(variable)) => variable.text.as_ref().unwrap_or(&variable.raw),
                };
                edits.push((range, value));
            }
        });
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
        let labels: Vec<&str> = chosen.iter().map(|variant| variant.label.as_str()).collect();
        Some(Variant { label: (!labels.is_empty()).then(|| labels.join("-")), text: filled, tree: None })
    }
}

struct Scalar {
    place: Place,
    range: Range<usize>,
    plain: bool,
}

impl Axis {
    /// Those of the first variant; the others have the same.
    fn variables(&self) -> &[Variable] {
        self.variants.first().map_or(&[], |variant| &variant.variables)
    }
}

fn read_axis(entry: &Entry, text: &str, found: &mut Vec<Diagnostic>) -> Option<Axis> {
    let before = found.len();
    let variants: Vec<AxisVariant> = match &entry.value.value {
        Value::List(_) if check_name(&entry.key, entry.place, found).is_none() => Vec::new(),
        Value::List(items) => items.iter().filter_map(|item| list_variant(entry, item, text, found)).collect(),
        Value::Map(entries) => entries.iter().filter_map(|variant| map_variant(variant, text, found)).collect(),
        Value::Scalar { .. } => Vec::new(),
    };
    let axis = Axis { place: entry.place, variants };
    if found.len() > before {
        return None;
    }
    if axis.variants.is_empty() {
        let message = format!("the axis `{}` has no variants", entry.key);
        found.push(Diagnostic::new(entry.place, message).help("a list of values, or a map from labels to variables"));
        return None;
    }
    same_variables(&axis, &entry.key, found);
    Some(axis)
}

/// All variants of an axis define the same variables.
fn same_variables(axis: &Axis, name: &str, found: &mut Vec<Diagnostic>) {
    let Some((first, others)) = axis.variants.split_first() else { return };
    let has = |variant: &AxisVariant, name: &str| variant.variables.iter().any(|it| it.name == name);
    for other in others {
        let missing = first.variables.iter().filter(|it| !has(other, &it.name)).map(|it| (other, first, it));
        let extra = other.variables.iter().filter(|it| !has(first, &it.name)).map(|it| (first, other, it));
        for (lacks, defines, variable) in missing.chain(extra) {
            let message = format!("the variants of the axis `{name}` define different variables");
            found.push(
                Diagnostic::new(lacks.place, message)
                    .label(format!("does not define `{}`", variable.name))
                    .context(variable.place, format!("`{}` does", defines.label)),
            );
        }
    }
    if axis.variables().is_empty() {
        found.push(Diagnostic::new(axis.place, format!("the axis `{name}` defines no variable")));
    }
}

/// A value of an axis in list form: the variable is named like the axis.
fn list_variant(axis: &Entry, item: &Node, text: &str, found: &mut Vec<Diagnostic>) -> Option<AxisVariant> {
    let variable = variable(&axis.key, item.place, item, text, found)?;
    let written = variable.text.clone().unwrap_or_else(|| variable.raw.clone());
    let words: Vec<&str> = written.split(|c: char| !is_label(c)).filter(|word| !word.is_empty()).collect();
    Some(AxisVariant {
        label: format!("{}-{}", axis.key, words.join("-")),
        place: item.place,
        variables: vec![variable],
    })
}

/// A variant of an axis in map form.
fn map_variant(entry: &Entry, text: &str, found: &mut Vec<Diagnostic>) -> Option<AxisVariant> {
    if entry.key.is_empty() || entry.key.len() > 32 || !entry.key.chars().all(is_label) {
        found.push(
            Diagnostic::new(entry.place, format!("`{}` can't be the label of a variant", entry.key))
                .help("letters, digits, `_`, `.` and `-`; at most 32"),
        );
        return None;
    }
    let Value::Map(entries) = &entry.value.value else {
        found.push(
            Diagnostic::new(entry.value.place, format!("the variant `{}` must be a map of variables", entry.key))
                .help("like `ipv4: { server: 10.0.1.1 }`"),
        );
        return None;
    };
    let variables = entries
        .iter()
        .filter_map(|it| {
            check_name(&it.key, it.place, found)?;
            variable(&it.key, it.place, &it.value, text, found)
        })
        .collect();
    Some(AxisVariant { label: entry.key.clone(), place: entry.place, variables })
}

fn is_label(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

fn check_name(name: &str, place: Place, found: &mut Vec<Diagnostic>) -> Option<()> {
    let fine = is_variable_name(name);
    if !fine {
        let diagnostic = Diagnostic::new(place, format!("`{name}` can't be the name of a variable"));
        found.push(diagnostic.help(VARIABLE_NAME));
    }
    fine.then_some(())
}

fn variable(name: &str, place: Place, value: &Node, text: &str, found: &mut Vec<Diagnostic>) -> Option<Variable> {
    let raw = text.get(value.range.clone()).unwrap_or_default().to_owned();
    let meant = match &value.value {
        Value::Scalar { text, .. } => Some(text.clone()),
        Value::List(items) if items.iter().all(|item| item.text().is_some()) => None,
        _ => {
            found.push(Diagnostic::new(value.place, "the value of a variable is a scalar or a list of scalars"));
            return None;
        }
    };
    let odd = |c: char| c.is_control() || c == '\\' || c == '$';
    if value.is_absent()
        || raw.len() > LONGEST_VALUE
        || raw.contains(odd)
        || meant.as_ref().is_some_and(|meant| meant.contains(['"', '\'']))
    {
        let message = format!("the variable `{name}` has a value that can't be filled in");
        found.push(
            Diagnostic::new(value.place, message)
                .help(format!("one line of at most {LONGEST_VALUE} bytes, without quotes within, `$` or `\\`")),
        );
        return None;
    }
    Some(Variable { name: name.to_owned(), place, raw, text: meant })
}

/// The variable of a `repeat` step, which is filled in when the steps are read.
struct RepeatVariable<'a> {
    name: &'a str,
    place: Place,
    block: Range<usize>,
}

fn repeat_variables<'a>(node: &'a Node, into: &mut Vec<RepeatVariable<'a>>) {
    for entry in node.entries() {
        let variable = entry.value.get("variable").filter(|_| entry.key == "repeat");
        if let Some((place, name)) = variable.and_then(|variable| Some((variable.place, variable.text()?))) {
            into.push(RepeatVariable { name, place, block: entry.value.range.clone() });
        }
        repeat_variables(&entry.value, into);
    }
    if let Value::List(items) = &node.value {
        for item in items {
            repeat_variables(item, into);
        }
    }
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
