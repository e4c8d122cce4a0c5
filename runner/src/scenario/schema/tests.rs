//! The schema, as an independent validator understands it.

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::super::yaml::{self, Node};
use super::json_schema;

/// The validator of the definition with that name.
fn validator(definition: &str) -> Validator {
    let mut schema = json_schema();
    schema["$ref"] = json!(format!("#/$defs/{definition}"));
    jsonschema::draft202012::new(&schema).unwrap()
}

/// A plain scalar of YAML 1.2 (the core schema).
fn scalar(text: &str) -> Value {
    let hexadecimal = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => json!(true),
        "false" => json!(false),
        _ => match (text.parse::<u64>().ok().or(hexadecimal), text.parse::<f64>()) {
            (Some(number), _) => json!(number),
            (None, Ok(number)) if text.bytes().all(|byte| b"+-.eE0123456789".contains(&byte)) => json!(number),
            _ => json!(text),
        },
    }
}

fn json_of(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Scalar { text, plain: true } => scalar(text),
        yaml::Value::Scalar { text, plain: false } => json!(text),
        yaml::Value::List(items) => items.iter().map(json_of).collect(),
        yaml::Value::Map(entries) => {
            Value::Object(entries.iter().map(|entry| (entry.key.clone(), json_of(&entry.value))).collect::<Map<_, _>>())
        }
    }
}

/// What a validator gets of a file; `None` if there is no document in it.
fn document(text: &[u8]) -> Option<Value> {
    let mut found = Vec::new();
    let root = yaml::parse(0, std::str::from_utf8(text).ok()?, &mut found);
    root.filter(|_| found.is_empty()).map(|root| json_of(&root))
}

/// The YAML files below a folder of the workspace.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "{folder}");
    files
}

fn must_accept(validator: &Validator, what: &str, value: &Value) {
    let errors: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error:.200}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: {errors:#?}");
}

#[test]
fn it_accepts_what_check_accepts() {
    let (scenario, topology) = (validator("scenario"), validator("topology"));
    let folders = ["scenarios", "docs", "fixtures/good", "fixtures/topologies", "runner/tests"];
    for path in folders.iter().flat_map(|folder| files(folder)) {
        let is_topology = path.parent().is_some_and(|folder| folder.ends_with("topologies"));
        let value = document(&std::fs::read(&path).unwrap()).unwrap();
        must_accept(if is_topology { &topology } else { &scenario }, &path.display().to_string(), &value);
    }
    let kernels =
        "paths: [scenarios]\nkernels:\n  - running\n  - { name: 6.1, image: boot/vmlinuz, memory: 512, load: [tbf] }\n";
    must_accept(&validator("kernels"), "a list of kernels", &document(kernels.as_bytes()).unwrap());
}

/// What no schema can see is listed with the reason in a file beside the bad scenarios. Nothing else is accepted, and all
/// that is listed is: a schema that learns to see it makes the list shorter.
#[test]
fn it_refuses_what_a_schema_can_see_to_be_wrong() {
    let validator = validator("scenario");
    let list = include_str!("../../../../fixtures/bad/accepted-by-the-schema.txt");
    let lines = list.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut listed: Vec<(&str, &str)> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    let mut wrong = Vec::new();
    for path in files("fixtures/bad") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let reason = listed.iter().position(|(listed, _)| *listed == name).map(|index| listed.remove(index).1);
        let accepted = document(&std::fs::read(&path).unwrap()).map(|value| validator.is_valid(&value));
        let expected = match reason {
            Some(reason) if reason.starts_with("no document") => None,
            reason => Some(reason.is_some()),
        };
        if accepted != expected {
            wrong.push(format!("{name}: accepted {accepted:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(listed.is_empty(), "there are no such files: {listed:?}");
}

/// What some key alone makes wrong is refused.
#[test]
fn single_mistakes_are_refused() {
    let validator = validator("scenario");
    let scenario = |steps: &str, expect: &str| {
        let text = format!("title: x\nabout: x\ntopology: one-link\nsteps: {steps}\nexpect: {expect}\n");
        validator.is_valid(&document(text.as_bytes()).unwrap())
    };
    let fine = ("[{ listen: { in: a } }]", "{ counters: { a+b: { MPTcpExtX - MPTcpExtY: 1 } } }");
    assert!(scenario(fine.0, fine.1));
    for steps in ["[]", "[{ listen: { in: a }, close: {} }]", "[{ listen: { in: a, port: 0 } }]", "[{ sleep: 1 s }]"] {
        assert!(!scenario(steps, fine.1), "{steps}");
    }
    for expect in ["{}", "{ counters: { a: { X: 1 } } }", "{ info: { main: { client: { subflow: 1 } } } }"] {
        assert!(!scenario(fine.0, expect), "{expect}");
    }
}
