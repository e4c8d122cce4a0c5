//! The axes of a matrix: their variants, and the variables of those. The main type is [`Axis`].

use std::ops::Range;

use super::super::diagnostic::Diagnostic;
use super::super::model::Place;
use super::super::variable::{VARIABLE_NAME, is_variable_name};
use super::super::yaml::{Entry, Node, Value};
use super::LONGEST_VALUE;

/// An axis whose variants all have the same variables.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) name: String,
    pub(super) in_list_form: bool,
    pub(super) place: Place,
    pub(super) variants: Vec<AxisVariant>,
}

#[derive(Debug)]
pub(super) struct AxisVariant {
    pub(super) label: String,
    pub(super) place: Place,
    pub(super) variables: Vec<Variable>,
}

#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) place: Place,
    /// As it is written, quotes included.
    pub(super) raw: String,
    /// Where its scalars are in there, and whether they are plain.
    pub(super) scalars: Vec<(Range<usize>, bool)>,
    /// As it is meant; `None` for a list.
    pub(super) text: Option<String>,
}

impl Axis {
    /// What a condition calls a variant: of an axis in list form, the variant `checksum-1` of `checksum` is `1`.
    pub(super) fn short<'a>(&self, variant: &'a AxisVariant) -> &'a str {
        let below = variant.label.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('-'));
        below.filter(|_| self.in_list_form).unwrap_or(&variant.label)
    }

    pub(super) fn is(&self, variant: &AxisVariant, word: &str) -> bool {
        self.short(variant) == word
    }

    /// Those of the first variant; the others have the same.
    pub(super) fn variables(&self) -> &[Variable] {
        self.variants.first().map_or(&[], |variant| &variant.variables)
    }
}

/// Reads an axis.
pub(super) fn read_axis(entry: &Entry, text: &str, found: &mut Vec<Diagnostic>) -> Option<Axis> {
    let before = found.len();
    let variants: Vec<AxisVariant> = match &entry.value.value {
        Value::List(_) if check_name(&entry.key, entry.place, found).is_none() => Vec::new(),
        Value::List(items) => items.iter().filter_map(|item| list_variant(entry, item, text, found)).collect(),
        Value::Map(entries) => entries.iter().filter_map(|variant| map_variant(variant, text, found)).collect(),
        Value::Scalar { .. } => Vec::new(),
    };
    let in_list_form = matches!(entry.value.value, Value::List(_));
    let axis = Axis { name: entry.key.clone(), in_list_form, place: entry.place, variants };
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
    let odd = |c: char| c.is_control() || c == '\\';
    if value.is_absent()
        || raw.len() > LONGEST_VALUE
        || raw.contains(odd)
        || meant.as_ref().is_some_and(|meant| meant.contains(['"', '\'']))
    {
        let message = format!("the variable `{name}` has a value that can't be filled in");
        found.push(
            Diagnostic::new(value.place, message)
                .help(format!("one line of at most {LONGEST_VALUE} bytes, without quotes within, or `\\`")),
        );
        return None;
    }
    let scalars = match &value.value {
        Value::List(items) => items.as_slice(),
        Value::Scalar { .. } | Value::Map(_) => std::slice::from_ref(value),
    };
    let start = value.range.start;
    let within = |scalar: &Node| scalar.range.start.saturating_sub(start)..scalar.range.end.saturating_sub(start);
    let is_plain = |scalar: &Node| matches!(scalar.value, Value::Scalar { plain: true, .. });
    let scalars = scalars.iter().map(|scalar| (within(scalar), is_plain(scalar))).collect();
    Some(Variable { name: name.to_owned(), place, raw, scalars, text: meant })
}
