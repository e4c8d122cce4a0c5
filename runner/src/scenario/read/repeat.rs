//! Steps that are taken again and again: a `repeat` step becomes the steps that it stands for.

use super::super::diagnostic::Diagnostic;
use super::super::grammar;
use super::super::model::Step;
use super::super::scalar;
use super::super::variable;
use super::super::yaml::{Entry, Node, Value};
use super::scope::Scope;
use super::{Fields, MOST_STEPS, Read, Reader, Reported, all, step};

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
    let fields = reader.record(node, &grammar::REPEAT)?;
    let name = fields.need("variable", variable::variable_name);
    let (from, to) = (number(&fields, "from"), number(&fields, "to"));
    let body = reader.list(fields.need_node("steps")?, "`steps`")?;
    let (name, from, to) = (name?, from?, to?);
    if from > to {
        let diagnostic = Diagnostic::new(fields.place_of("to"), "the last number is less than the first");
        return Err(reader.report(diagnostic.context(fields.place_of("from"), "the first")));
    }
    let mut taken = Vec::new();
    for number in from..=to {
        let number = number.to_string();
        let body: Vec<Node> = body.iter().map(|step| filled_in(step, &name, &number)).collect();
        // What is wrong with one round is wrong with the others, too.
        taken.extend(steps(reader, &body, scope, room)?);
    }
    Ok(taken)
}

fn number(fields: &Fields<'_>, key: &str) -> Read<u64> {
    fields.need(key, scalar::integer(0, 65535))
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
