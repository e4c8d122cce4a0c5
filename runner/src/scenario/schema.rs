//! The JSON schema of scenario files, made from the grammar's tables, for editors.

use serde_json::{Map, Value, json};

use super::grammar::{Key, Kind, Record, SCENARIO, Shape};
use super::model::Feature;

/// The JSON schema (draft 2020-12) of a scenario file.
///
/// It is what an editor can check while one types; the whole truth is what [`super::load`] says.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    let root = reference(&SCENARIO, &mut definitions);
    definitions.sort_keys();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mptcplab scenario",
        "description": "A scenario of mptcplab, version 1 of the language. See scenarios/README.md.",
        "$ref": root["$ref"],
        "$defs": definitions,
    })
}

/// Records that stand in lists of which an item may depend on a feature. So may anything else, but where it is likely
/// the schema knows it.
const IN_LISTS: [&str; 6] = ["step", "event_item", "wire_item", "subflow", "endpoint", "alternative"];

/// The condition of an item or a choice.
fn when(description: &str) -> Value {
    let condition = json!({ "type": "string", "pattern": format!("^(not )?({})$|\\$[a-z]", features()) });
    json!({ "anyOf": [condition, { "type": "array", "items": condition }], "description": description })
}

/// A value, or one that depends on a feature.
#[expect(clippy::needless_pass_by_value, reason = "it is always made on the spot")]
fn or_choice(schema: Value) -> Value {
    json!({ "anyOf": [schema, {
        "type": "object",
        "properties": { "when": when("The feature that decides."), "is": schema, "else": schema },
        "required": ["when", "is"],
        "additionalProperties": false,
    }] })
}

/// A reference to a record's definition, which is made if it isn't there yet.
fn reference(record: &'static Record, definitions: &mut Map<String, Value>) -> Value {
    if !definitions.contains_key(record.name) {
        // A placeholder first: records may contain themselves.
        definitions.insert(record.name.to_owned(), Value::Null);
        let definition = object(record, definitions);
        definitions.insert(record.name.to_owned(), definition);
    }
    json!({ "$ref": format!("#/$defs/{}", record.name) })
}

fn object(record: &'static Record, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for key in record.all_keys() {
        properties.insert(key.name.to_owned(), described(key, definitions));
    }
    if IN_LISTS.contains(&record.name) {
        let condition = "It is there only on kernels with this feature; `not` in front of it: on those without.";
        properties.insert("when".to_owned(), when(condition));
    }
    let mut object = json!({
        "type": "object",
        "description": record.what,
        "properties": properties,
        "additionalProperties": false,
    });
    let required: Vec<&str> = record.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    if !record.one_of.is_empty() {
        object["oneOf"] = record.one_of.iter().map(|key| json!({ "required": [key.name] })).collect();
    }
    object
}

fn described(key: &'static Key, definitions: &mut Map<String, Value>) -> Value {
    let mut schema = value(&key.shape, definitions);
    schema["description"] = json!(key.doc);
    schema
}

fn value(shape: &'static Shape, definitions: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Scalar(kind) => scalar(*kind),
        Shape::List(inner) => or_variable(json!({ "type": "array", "items": value(inner, definitions) })),
        Shape::Record(record) => reference(record, definitions),
        Shape::Table(key, inner) => json!({
            "type": "object",
            "propertyNames": { "description": key },
            "additionalProperties": value(inner, definitions),
        }),
        Shape::Either(choices) => {
            let choices: Vec<Value> = choices.iter().map(|inner| value(inner, definitions)).collect();
            json!({ "anyOf": choices })
        }
    }
}

/// What may also be a variable of the matrix.
#[expect(clippy::needless_pass_by_value, reason = "it is always made on the spot")]
fn or_variable(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "string", "pattern": "\\$[a-z]" }] })
}

/// A scalar; wherever the type or the spelling is restricted, a variable of the matrix may stand instead.
fn scalar(kind: Kind) -> Value {
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": format!("^({pattern})$|\\$[a-z]") });
    let integer = |min: u64, max: u64| or_variable(json!({ "type": "integer", "minimum": min, "maximum": max }));
    match kind {
        Kind::Line => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Switch => or_variable(json!({ "type": "boolean" })),
        Kind::Integer(min, max) => integer(min, max),
        Kind::Port => integer(1, 65535),
        Kind::Address => pattern("[0-9a-fA-F:.]+"),
        Kind::AddressPrefix => pattern("[0-9a-fA-F:.]+/[0-9]{1,3}"),
        Kind::Destination => pattern("default|[0-9a-fA-F:.]+/[0-9]{1,3}"),
        Kind::Name => pattern("[A-Za-z][A-Za-z0-9_-]{0,31}"),
        Kind::Device => pattern("[A-Za-z0-9_.@-]{1,15}"),
        Kind::Duration => pattern("[0-9]+ ?(us|µs|ms|s|min)"),
        Kind::Size => json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, pattern("[0-9]+ ?(B|KiB|MiB|GiB)?")] }),
        Kind::Rate => pattern("[0-9]+ ?[kMG]?bit/s"),
        Kind::Percent => pattern("[0-9]+(\\.[0-9]+)? ?%"),
        Kind::Count => or_choice(json!({
            "anyOf": [{ "type": "integer", "minimum": 0 }, pattern("[0-9]+|[0-9]+\\.\\.[0-9]+|[<>]=[0-9]+")],
        })),
        Kind::Errno => or_choice(pattern("E[A-Z0-9]+")),
        Kind::Outcome => pattern("mptcp|tcp|E[A-Z0-9]+"),
        Kind::ErrorPattern => pattern("none|any|E[A-Z0-9]+"),
        Kind::Flag => pattern("signal|subflow|backup|fullmesh|implicit|laminar|raw (0x)?[0-9a-fA-F]+"),
        Kind::Counter => pattern("[A-Za-z0-9]+"),
        Kind::Sysctl => pattern("net\\.[A-Za-z0-9_./-]+"),
        Kind::Feature => pattern(&features()),
        Kind::Text | Kind::Side => json!({ "type": "string" }),
        Kind::Variable => json!({ "type": "string", "pattern": "^[a-z][a-z0-9_]{0,31}$" }),
        Kind::Word(["true"]) => or_variable(json!({ "const": true })),
        Kind::Word(words) => or_variable(json!({ "enum": words })),
    }
}

/// What a feature's word may be.
fn features() -> String {
    let plain: Vec<&str> = Feature::PLAIN.iter().map(|(word, _)| *word).collect();
    format!("{}|counter:[A-Za-z0-9]+|sysctl:net\\..+|info:[a-z_]+", plain.join("|"))
}
