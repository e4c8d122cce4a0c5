//! What the variables and variants of a matrix are used for: each name means something, and each is used.

use std::ops::Range;

use super::super::diagnostic::Diagnostic;
use super::super::model::Place;
use super::super::nearest::suggestion;
use super::super::variable::references;
use super::super::yaml::{Node, Value};
use super::Matrix;
use super::axis::{Axis, Variable};

impl Matrix {
    /// No variable belongs to two axes, no two variants have the same label.
    pub(super) fn check_names(&self, found: &mut Vec<Diagnostic>) {
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
    pub(super) fn check_uses(&self, root: &Node, text: &str, found: &mut Vec<Diagnostic>) {
        let names: Vec<&str> =
            self.axes.iter().flat_map(Axis::variables).map(|variable| variable.name.as_str()).collect();
        let mut repeats = Vec::new();
        repeat_variables(root, &mut repeats);
        for repeat in repeats.iter().filter(|repeat| names.contains(&repeat.name)) {
            let message = format!("the matrix also has a variable `{}`", repeat.name);
            found.push(Diagnostic::new(repeat.place, message).help("rename one of them"));
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
        self.check_effects(&decisive, &used, found);
    }

    /// Each axis makes a difference, and so does each variable. `decisive`: the axes that a `when:` names; `used`: which
    /// variables are.
    fn check_effects(&self, decisive: &[String], used: &[bool], found: &mut Vec<Diagnostic>) {
        for axis in self.axes.iter().filter(|axis| axis.variables().is_empty() && !decisive.contains(&axis.name)) {
            let message =
                format!("the axis `{}` has no effect: it defines no variable, and no `when:` names it", axis.name);
            found.push(Diagnostic::new(axis.place, message));
        }
        let owners = self.axes.iter().flat_map(|axis| axis.variables().iter().map(move |variable| (axis, variable)));
        for ((axis, variable), used) in owners.zip(used) {
            if !*used && !decisive.contains(&axis.name) {
                found.push(
                    Diagnostic::new(variable.place, format!("the variable `{}` is never used", variable.name)).help(
                        format!("all variants would be the same; write `${}` where its value belongs", variable.name),
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
                    found.push(Diagnostic::new(node.place, message).maybe_help(help));
                }
                return;
            };
            if !axis.variants.iter().any(|variant| axis.is(variant, condition.variant)) {
                let message = format!("the axis `{}` has no variant `{}`", axis.name, condition.variant);
                let labels = axis.variants.iter().map(|variant| axis.short(variant));
                let help = suggestion(condition.variant, labels.collect::<Vec<_>>());
                found.push(Diagnostic::new(node.place, message).maybe_help(help));
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
