//! Steps that are taken again and again: a `repeat` step becomes the steps that it stands for.

use super::super::diagnostic::Diagnostic;
use super::super::grammar::REPEAT;
use super::super::model::Step;
use super::super::record::{Group as _, record};
use super::super::scalar::{Round, VariableName};
use super::super::variable;
use super::super::yaml::{Entry, Node, Value};
use super::scope::Scope;
use super::{At, MOST_STEPS, Read, Reader, Reported, all, step};

record! {
    /// The numbers of a `repeat` step.
    Numbers then upwards {
        variable: need VariableName = "variable", "Its name; `$name` in the steps is replaced by the number.";
        from: need Round = "from", "The first number.";
        to: need Round = "to", "The last number.";
    }
}

/// The numbers grow.
fn upwards(at: &At<'_>, numbers: Numbers) -> Read<Numbers> {
    if numbers.from <= numbers.to {
        return Ok(numbers);
    }
    let diagnostic = Diagnostic::new(at.fields.place_of("to"), "the last number is smaller than the first");
    Err(at.reader.report(diagnostic.context(at.fields.place_of("from"), "the first")))
}

/// Reads a list of steps. `room` is how many the scenario may still have.
pub(super) fn steps(reader: &Reader, items: &[Node], scope: &mut Scope, room: &mut usize) -> Read<Vec<Step>> {
    let parts = all(items.iter().map(|item| match item.get("repeat") {
        Some(node) if item.entries().len() == 1 => repeated(reader, node, scope, room),
        _ => {
            *room = room.checked_sub(1).ok_or_else(|| too_many(reader, item))?;
            step::read(reader, item, scope).map(|step| vec![step])
        }
    }))?;
    Ok(parts.into_iter().flatten().collect())
}

fn too_many(reader: &Reader, node: &Node) -> Reported {
    reader.error(node.place, format!("the scenario has too many steps: at most {MOST_STEPS} are allowed"))
}

fn repeated(reader: &Reader, node: &Node, scope: &mut Scope, room: &mut usize) -> Read<Vec<Step>> {
    let fields = reader.record(node, &REPEAT)?;
    let numbers = Numbers::from_keys(&At::new(&fields, scope));
    let body = reader.list(fields.need_node("steps")?, "`steps`")?;
    let Numbers { variable, from, to } = numbers?;
    let mut taken = Vec::new();
    for number in from..=to {
        let number = number.to_string();
        let body: Vec<Node> = body.iter().map(|step| filled_in(step, &variable, &number)).collect();
        // What is wrong with one round is wrong with the others, too.
        taken.extend(steps(reader, &body, scope, room)?);
    }
    Ok(taken)
}

/// The same tree with the number in the place of the variable.
fn filled_in(node: &Node, name: &str, number: &str) -> Node {
    let value = match &node.value {
        Value::Scalar { text, plain } => {
            Value::Scalar { text: variable::with_value(text, name, number), plain: *plain }
        }
        Value::List(items) => Value::List(items.iter().map(|item| filled_in(item, name, number)).collect()),
        Value::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|entry| Entry {
                    key: variable::with_value(&entry.key, name, number),
                    value: filled_in(&entry.value, name, number),
                    ..entry.clone()
                })
                .collect(),
        ),
    };
    Node { place: node.place, range: node.range.clone(), value }
}
