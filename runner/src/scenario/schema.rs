//! The JSON schemas of scenarios, topologies and lists of kernels, made from the grammar's tables, for editors.

use serde_json::{Map, Value, json};

use super::grammar::{KERNELS, Kind, Record, SCENARIO, Shape, TOPOLOGY};
use super::model::{Feature, RULE_NAMES};
use super::read::PARTS;
use super::scalar::COUNTER_GROUPS;

/// The JSON schema (draft 2020-12) of scenario files. Those of topologies and of lists of kernels are the definitions
/// `topology` and `kernels` in it.
///
/// It accepts whatever [`super::load`] accepts, and refuses what can be seen to be wrong in one place. What takes more
/// than that (names that must exist, keys that contradict each other) only `load` knows.
pub fn json_schema() -> Value {
    let mut schema = Schema::default();
    let root = schema.record(&SCENARIO, Mode::Fixed);
    for record in [TOPOLOGY, KERNELS] {
        schema.record(record, Mode::Fixed);
    }
    schema.definitions.sort_keys();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mptcplab scenario",
        "description": "A scenario of mptcplab, version 1 of the language. See scenarios/README.md.",
        "$ref": root["$ref"],
        "$defs": schema.definitions,
    })
}

/// Whether what stands somewhere may depend on a feature of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It may not.
    Fixed,
    /// As a value: `{ when: FEATURE, is: VALUE, else: VALUE }`.
    Value,
    /// As an item of a list: the same, or `when:` beside the other keys.
    Item,
}

/// Records that need one of these keys, or several. The reader has words of its own for each.
const SOME_OF: [(&str, &[&str]); 3] = [
    ("scenario", &["steps", "expect"]),
    ("scenario", &["topology", "links", "namespaces"]),
    ("limits", &["subflows", "add_addr_accepted"]),
];

/// Records that say nothing without a key.
const NOT_EMPTY: [&str; 2] = ["expect", "alternative"];

#[derive(Default)]
struct Schema {
    definitions: Map<String, Value>,
}

impl Schema {
    /// A reference to a definition, which is made if it isn't there yet.
    fn define(&mut self, name: String, make: impl FnOnce(&mut Self) -> Value) -> Value {
        let reference = json!({ "$ref": format!("#/$defs/{name}") });
        if !self.definitions.contains_key(&name) {
            // A placeholder first: records may contain themselves.
            self.definitions.insert(name.clone(), Value::Null);
            let definition = make(self);
            self.definitions.insert(name, definition);
        }
        reference
    }

    fn record(&mut self, record: &'static Record, mode: Mode) -> Value {
        let name = match mode {
            Mode::Fixed => record.name.to_owned(),
            Mode::Value => format!("{}_by_kernel", record.name),
            Mode::Item => format!("{}_item", record.name),
        };
        self.define(name, |schema| schema.object(record, mode))
    }

    fn object(&mut self, record: &'static Record, mode: Mode) -> Value {
        let mut properties = Map::new();
        for key in record.all_keys() {
            let is_gated = mode != Mode::Fixed || (record.name == SCENARIO.name && PARTS.contains(&key.name));
            let mut value = self.value(&key.shape, if is_gated { Mode::Value } else { Mode::Fixed });
            value["description"] = json!(key.doc);
            properties.insert(key.name.to_owned(), value);
        }
        if mode == Mode::Item {
            let when = self.when();
            properties.insert("when".to_owned(), when);
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
        let one_of = |keys: &[&str]| -> Vec<Value> { keys.iter().map(|key| json!({ "required": [key] })).collect() };
        if !record.one_of.is_empty() {
            let keys: Vec<&str> = record.one_of.iter().map(|key| key.name).collect();
            object["oneOf"] = json!(one_of(&keys));
        }
        let some_of = SOME_OF.iter().filter(|(name, _)| *name == record.name);
        let some_of: Vec<Value> = some_of.map(|(_, keys)| json!({ "anyOf": one_of(keys) })).collect();
        if !some_of.is_empty() {
            object["allOf"] = json!(some_of);
        }
        if NOT_EMPTY.contains(&record.name) {
            object["minProperties"] = json!(1);
        }
        object
    }

    /// What stands at a place.
    fn value(&mut self, shape: &'static Shape, mode: Mode) -> Value {
        if mode == Mode::Fixed {
            return self.plain(shape, mode);
        }
        let name = format!("{}{}_or_choice", if mode == Mode::Item { "item_" } else { "" }, name(shape));
        self.define(name.clone(), |schema| {
            let plain = schema.plain(shape, mode);
            let itself = json!({ "$ref": format!("#/$defs/{name}") });
            let choice = json!({
                "type": "object",
                "description": "A value that depends on a feature of the kernel.",
                "properties": { "when": schema.when(), "is": itself, "else": itself },
                "required": ["when", "is"],
                "additionalProperties": false,
            });
            json!({ "anyOf": [plain, choice] })
        })
    }

    /// The same without a choice.
    fn plain(&mut self, shape: &'static Shape, mode: Mode) -> Value {
        let inner_mode = if mode == Mode::Fixed { Mode::Fixed } else { Mode::Value };
        match shape {
            Shape::Scalar(kind) => self.define(kind_name(*kind), |_| scalar(*kind)),
            Shape::List(inner) => {
                let item = if mode == Mode::Fixed { Mode::Fixed } else { Mode::Item };
                let items = self.value(inner, item);
                or_variable(json!({ "type": "array", "items": items }))
            }
            Shape::Some(inner) => {
                let mut list = self.plain(inner, mode);
                list["anyOf"][0]["minItems"] = json!(1);
                list
            }
            Shape::Record(record) => self.record(record, mode),
            Shape::Table(what, key, inner) => json!({
                "type": "object",
                "description": format!("By {what}."),
                "propertyNames": self.define(kind_name(*key), |_| scalar(*key)),
                "additionalProperties": self.value(inner, inner_mode),
            }),
            Shape::Either(choices) => {
                let choices: Vec<Value> = choices.iter().map(|inner| self.plain(inner, mode)).collect();
                json!({ "anyOf": choices })
            }
        }
    }

    /// The condition of an item or a choice.
    fn when(&mut self) -> Value {
        self.define("when".to_owned(), |_| {
            let condition = json!({ "type": "string", "pattern": format!("^(not +)?({}|[^= ]+=[^= ]+)$|\\$[a-z]", features(true)) });
            json!({
                "anyOf": [condition, { "type": "array", "items": condition, "minItems": 1 }],
                "description": "Only on kernels with this feature, or in this variant of the matrix; `not` in front of it: not there.",
            })
        })
    }
}

/// A name for what has this shape, the same for all that have it.
fn name(shape: &Shape) -> String {
    match shape {
        Shape::Scalar(kind) => kind_name(*kind),
        Shape::List(inner) => format!("list_of_{}", name(inner)),
        Shape::Some(inner) => format!("some_{}", name(inner)),
        Shape::Record(record) => record.name.to_owned(),
        Shape::Table(_, key, inner) => format!("{}_by_{}", name(inner), kind_name(*key)),
        Shape::Either(choices) => choices.iter().map(name).collect::<Vec<_>>().join("_or_"),
    }
}

fn kind_name(kind: Kind) -> String {
    match kind {
        Kind::Integer(min, max) => format!("integer_{min}_{max}"),
        Kind::Word(words) => format!("word_{}", words.join("_")),
        plain => format!("{plain:?}").to_lowercase(),
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
    // A number with `0x` in front is a number in YAML, and a text in quotes.
    let integer = |min: u64, max: u64| {
        let number = json!({ "type": "integer", "minimum": min, "maximum": max });
        json!({ "anyOf": [number, pattern("0x[0-9a-fA-F]+|[0-9]+")] })
    };
    match kind {
        Kind::Line => json!({
            "type": ["string", "number", "boolean"],
            "pattern": "^\\s*\\S([^\\n]{0,198}\\S)?\\s*$",
        }),
        Kind::Text => json!({ "type": ["string", "number", "boolean"], "pattern": "\\S" }),
        Kind::Side => json!({ "type": "string", "minLength": 1 }),
        Kind::Switch => or_variable(json!({ "type": "boolean" })),
        Kind::Integer(min, max) => integer(min, max),
        Kind::Port => integer(1, 65535),
        Kind::Address => pattern("[0-9a-fA-F:.]+"),
        Kind::ScopedAddress => pattern("[0-9a-fA-F:.]+(%[A-Za-z0-9_.@-]{1,15})?"),
        Kind::AddressPrefix => pattern("[0-9a-fA-F:.]+/[0-9]{1,3}"),
        Kind::Destination => pattern("default|[0-9a-fA-F:.]+/[0-9]{1,3}"),
        Kind::Selector => pattern("[0-9a-fA-F:.]+(/[0-9]{1,3})?"),
        Kind::Name => pattern("[A-Za-z][A-Za-z0-9_-]{0,31}"),
        Kind::Names => {
            json!({ "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]*( *\\+ *[A-Za-z][A-Za-z0-9_-]*)*$|\\$[a-z]" })
        }
        Kind::Device => pattern("[A-Za-z0-9_.@-]{1,15}"),
        Kind::Duration => pattern("[0-9]+ *(us|µs|ms|s|min)"),
        Kind::Size => json!({ "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": 1 << 30 }, pattern("[0-9]+ *(B|KiB|MiB|GiB)?"),
        ] }),
        Kind::Rate => pattern("[0-9]+ *[kMG]?bit/s"),
        Kind::Percent => pattern("[0-9]+(\\.[0-9]+)? *%"),
        Kind::Count => json!({ "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": u64::MAX },
            pattern(" *[0-9]+ *|[0-9]+ *\\.\\. *[0-9]+|[<>]= *[0-9]+"),
        ] }),
        Kind::Errno => pattern("E[A-Z0-9]+"),
        Kind::Outcome => pattern("mptcp|tcp|E[A-Z0-9]+"),
        Kind::ErrorPattern => pattern("none|any|E[A-Z0-9]+"),
        Kind::Flag => pattern("signal|subflow|backup|fullmesh|implicit|laminar|raw +(0x)?[0-9a-fA-F]+"),
        Kind::Counter => pattern(&counter()),
        Kind::Counters => {
            let counter = counter();
            json!({ "type": "string", "pattern": format!("^(others|{counter}( *- *{counter})?)$|\\$[a-z]") })
        }
        Kind::Sysctl => {
            json!({ "type": "string", "pattern": "^net([./][A-Za-z0-9_-]+)+$|\\$[a-z]", "maxLength": 128 })
        }
        Kind::Feature => pattern(&features(false)),
        Kind::Deciding => pattern(&features(true)),
        Kind::Variable => json!({ "type": "string", "pattern": "^[a-z][a-z0-9_]{0,31}$" }),
        Kind::Rule => or_variable(json!({ "enum": RULE_NAMES.as_slice() })),
        Kind::Argument => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Command => pattern("[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}"),
        Kind::EnvironmentName => json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$" }),
        Kind::FileName => {
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_.+-]+(/[A-Za-z0-9_.+-]+)*$", "maxLength": 200 })
        }
        Kind::SignalName => pattern("SIG[A-Z0-9]+"),
        Kind::EndStatus => json!({ "anyOf": [integer(0, 255), pattern("SIG[A-Z0-9]+")] }),
        Kind::Word(["true"]) => or_variable(json!({ "const": true })),
        Kind::Word(words) => or_variable(json!({ "enum": words })),
    }
}

/// What the name of a counter may be.
fn counter() -> String {
    format!("({})[A-Za-z0-9]+", COUNTER_GROUPS.join("|"))
}

/// What a feature's word may be; `deciding`: of those that decide something.
fn features(deciding: bool) -> String {
    let words = Feature::PLAIN.iter().map(|(word, _)| *word);
    let plain: Vec<&str> = words.filter(|word| !deciding || *word != "mptcp").collect();
    format!(
        "{}|counter:{}|sysctl:net\\..+|info:[a-z_]+|option:[a-z0-9_]+|program:[A-Za-z0-9_][A-Za-z0-9_.+-]*",
        plain.join("|"),
        counter()
    )
}

#[cfg(test)]
mod tests;
