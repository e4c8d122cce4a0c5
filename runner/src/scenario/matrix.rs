//! The matrix: one scenario text for each combination of its axes. The main type is [`Matrix`].
//!
//! Variables are filled into the text, so that a variant can be shown, stored in a recording and read again. A value
//! goes in as it is written, quotes included, where `$name` is a whole scalar, and without its quotes within one.

use std::ops::Range;

use super::decided::{ALWAYS, Condition, NEVER};
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
    name: String,
    in_list_form: bool,
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
    /// Where its scalars are in there, and whether they are plain.
    scalars: Vec<(Range<usize>, bool)>,
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
        for variable in self.axes.iter().flat_map(|axis| &axis.variants).flat_map(|variant| &variant.variables) {
            for name in references(&variable.raw).iter().filter_map(|it| it.name) {
                match names.iter().position(|known| *known == name) {
                    Some(index) => used[index] = true,
                    None if self.incomplete => {}
                    None => unknown.push((variable.place, name.to_owned())),
                }
            }
        }
        let decisive = self.check_conditions(root, found);
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
        self.check_circles(found);
        for axis in self.axes.iter().filter(|axis| axis.variables().is_empty() && !decisive.contains(&axis.name)) {
            let message = format!("the axis `{}` defines no variable, and no `when:` names it", axis.name);
            found.push(Diagnostic::new(axis.place, message));
        }
        let owners = self.axes.iter().flat_map(|axis| axis.variables().iter().map(move |variable| (axis, variable)));
        for ((axis, variable), used) in owners.zip(used) {
            if !used && !decisive.contains(&axis.name) {
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

    /// Each `when: AXIS=VARIANT` has a meaning. Gives the axes.
    fn check_conditions(&self, root: &Node, found: &mut Vec<Diagnostic>) -> Vec<String> {
        let mut decisive = Vec::new();
        self.conditions(root, &mut |condition, node| {
            decisive.push(condition.axis.to_owned());
            let Some(axis) = self.axes.iter().find(|axis| axis.name == condition.axis) else {
                if !self.incomplete {
                    let message = format!("the matrix has no axis `{}`", condition.axis);
                    let help = suggestion(condition.axis, self.axes.iter().map(|axis| axis.name.as_str()));
                    let diagnostic = Diagnostic::new(node.place, message);
                    found.push(match help {
                        Some(help) => diagnostic.help(help),
                        None => diagnostic,
                    });
                }
                return;
            };
            if !axis.variants.iter().any(|variant| axis.is(variant, condition.variant)) {
                let message = format!("the axis `{}` has no variant `{}`", axis.name, condition.variant);
                let labels = axis.variants.iter().map(|variant| axis.short(variant));
                let help = suggestion(condition.variant, labels.collect::<Vec<_>>()).unwrap_or_default();
                found.push(Diagnostic::new(node.place, message).help(help));
            }
        });
        decisive
    }

    /// No variable stands for itself, by whatever detour.
    fn check_circles(&self, found: &mut Vec<Diagnostic>) {
        let variants = || self.axes.iter().flat_map(|axis| &axis.variants);
        for variable in self.axes.iter().flat_map(Axis::variables) {
            let mut reached: Vec<&str> = vec![&variable.name];
            let mut next = 0;
            while let Some(name) = reached.get(next).copied() {
                next += 1;
                for same in variants().flat_map(|variant| &variant.variables).filter(|other| other.name == name) {
                    for name in references(&same.raw).iter().filter_map(|it| it.name) {
                        if name == variable.name {
                            let message = format!("the variable `{}` contains itself", variable.name);
                            found.push(Diagnostic::new(variable.place, message));
                            return;
                        }
                        if !reached.contains(&name) {
                            reached.push(name);
                        }
                    }
                }
            }
        }
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
        let variables = resolved(chosen)?;
        let mut scalars = Vec::new();
        self.scalars(root, &mut |scalar| scalars.push((scalar.range.clone(), scalar.plain)));
        let mut edits = edits(text, &scalars, &variables);
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

/// The variables of a combination, those in their values filled in. `None` if one becomes too long.
fn resolved(chosen: &[&AxisVariant]) -> Option<Vec<Variable>> {
    let mut open: Vec<Variable> = chosen.iter().flat_map(|variant| &variant.variables).cloned().collect();
    let mut done: Vec<Variable> = Vec::new();
    // None contains itself, so each round has one that needs nothing but those that are done.
    while !open.is_empty() {
        let is_done = |name: &str| done.iter().any(|it| it.name == name);
        let is_ready = |it: &Variable| references(&it.raw).iter().all(|reference| reference.name.is_none_or(is_done));
        let ready: Vec<Variable> = open.extract_if(.., |variable| is_ready(variable)).collect();
        if ready.is_empty() {
            return None;
        }
        for mut variable in ready {
            if let Some(text) = &mut variable.text {
                *text = applied(text, &edits(text, &[(0..text.len(), false)], &done), LONGEST_VALUE)?;
            }
            variable.raw = applied(&variable.raw, &edits(&variable.raw, &variable.scalars, &done), LONGEST_VALUE)?;
            done.push(variable);
        }
    }
    Some(done)
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

impl Axis {
    /// What a condition calls a variant: of an axis in list form, the variant `checksum-1` of `checksum` is `1`.
    fn short<'a>(&self, variant: &'a AxisVariant) -> &'a str {
        let below = variant.label.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('-'));
        below.filter(|_| self.in_list_form).unwrap_or(&variant.label)
    }

    fn is(&self, variant: &AxisVariant, word: &str) -> bool {
        self.short(variant) == word
    }

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
