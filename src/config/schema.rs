//! The JSON Schema of the configuration file (draft 2020-12), for editors.
//!
//! It describes the file as it is written: with variables, `x-` keys and merge keys. The reader is stricter where a schema cannot
//! be: in rules across keys, in files and names that must exist, in the numbers inside of strings, and in the spelling of numbers.

use serde_json::{Map, Value, json};

use super::key::{Absent, Entries, Entry, Many, Names, Row, Section};
use super::read::ROOT;
use super::resolve::{MERGE, OWN};
use super::values::ValueShape;

/// A `$` that stands for itself, or any other character.
macro_rules! literal {
    () => {
        r"[^$]|\$\$|\$(?![A-Za-z_{$])"
    };
}

/// `${NAME}` or `${NAME:-default}`.
macro_rules! reference {
    () => {
        r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::-(?:[^$}]|\$\$|\$(?![A-Za-z_{$]))*)?\}"
    };
}

const TEXT: &str = concat!("^(?:", literal!(), "|", reference!(), ")*$");
const VARIABLE: &str =
    concat!("^(?:", literal!(), ")*", reference!(), "(?:", literal!(), "|", reference!(), ")*$");

/// The JSON Schema of the configuration file.
pub fn json_schema() -> String {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration of sidestream",
    });
    let root = keys(&ROOT);
    let own = json!({ format!("^{OWN}"): { "description": "Ignored. Anchors can stand here." } });
    merge(&mut schema, root);
    merge(&mut schema, json!({ "patternProperties": own, "$defs": definitions() }));
    format!("{schema:#}\n")
}

fn definitions() -> Value {
    let mut definitions = json!({
        "variable": {
            "description": "A string with environment variables: `${NAME}` or `${NAME:-default}`.",
            "type": "string",
            "pattern": VARIABLE,
        },
        "text": {
            "description": "A string in which each `$` begins a variable or is doubled.",
            "pattern": TEXT,
        },
        "off": { "anyOf": [{ "const": "off" }, { "const": false }, spelling("false|False|FALSE")] },
        "merge": {
            "description": "The merge key of YAML 1.1: `<<: *anchor`, or a list of anchors.",
            "type": ["object", "array"],
        },
    });
    for section in shared(&ROOT) {
        merge(&mut definitions, json!({ section.name: one(section, keys(section)) }));
    }
    definitions
}

/// The sections whose keys another section has too.
fn shared(section: &'static Section) -> Vec<&'static Section> {
    let subsections = section.entries().iter().filter_map(|entry| match entry {
        Entry::Section(section) => Some(*section),
        Entry::Value(_) => None,
    });
    subsections
        .flat_map(|section| match section.entries {
            Entries::SameAs(other) => vec![other],
            Entries::These(_) => shared(section),
        })
        .collect()
}

/// A mapping with the keys of a section.
fn keys(section: &'static Section) -> Value {
    let properties: Map<String, Value> =
        section.entries().iter().map(|entry| (entry.name().to_owned(), self::entry(entry))).collect();
    let required: Vec<&str> = section
        .entries()
        .iter()
        .filter(|entry| entry.absent() == Absent::Required)
        .map(Entry::name)
        .collect();
    let mut keys = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    keys["properties"][MERGE] = json!({ "$ref": "#/$defs/merge" });
    // What is merged may have them.
    let mut needed = Map::new();
    if !required.is_empty() {
        needed.insert("required".to_owned(), json!(required));
    }
    if let Some(main) = section.main_key {
        let others = section.entries().iter().map(Entry::name).filter(|name| *name != main.name);
        let others: Map<String, Value> = others.map(|name| (name.to_owned(), json!([main.name]))).collect();
        needed.insert("dependentRequired".to_owned(), json!(others));
    }
    if !needed.is_empty() {
        keys["anyOf"] = json!([needed, { "required": [MERGE] }]);
    }
    keys
}

/// What the names in a mapping are like.
fn names(names: &Names) -> Value {
    any_of(vec![json!({ "const": MERGE }), json!({ "pattern": (names.pattern)() })])
}

fn entry(entry: &Entry) -> Value {
    match *entry {
        Entry::Value(row) => {
            let mut schema = json!({ "description": row.meaning });
            merge(&mut schema, values(row));
            annotate(&mut schema, row.absent, row.example);
            schema
        }
        Entry::Section(section) => {
            let mut schema = json!({ "description": section.meaning });
            merge(&mut schema, sections(section));
            annotate(&mut schema, section.absent, section.example);
            schema
        }
    }
}

fn annotate(schema: &mut Value, absent: Absent, example: &str) {
    // Every text of the table is YAML: a test reads the sample file.
    let parse = |yaml: &str| serde_yaml::from_str::<Value>(yaml).unwrap_or_default();
    if let Absent::Default(default) = absent {
        schema["default"] = parse(default);
    }
    if !example.is_empty() {
        schema["examples"] = json!([parse(example)]);
    }
}

fn sections(section: &'static Section) -> Value {
    let original = match section.entries {
        Entries::SameAs(other) => other,
        Entries::These(_) => section,
    };
    if shared(&ROOT).iter().any(|shared| std::ptr::eq(*shared, original)) {
        return json!({ "$ref": format!("#/$defs/{}", original.name) });
    }
    let keys = keys(section);
    match section.many {
        Many::Named(names) => {
            json!({
                "type": "object",
                "minProperties": 1,
                "propertyNames": self::names(names),
                "properties": { MERGE: { "$ref": "#/$defs/merge" } },
                "additionalProperties": keys,
            })
        }
        Many::List => {
            let item = match section.short_form {
                Some((row, _)) => any_of([alternatives(&row.shape), vec![keys]].concat()),
                None => keys,
            };
            json!({ "type": "array", "minItems": 1, "items": item })
        }
        Many::One | Many::OneOrList | Many::OneOrListOrNone => one(section, keys),
    }
}

/// A single section. An empty one is null, or a variable without a value.
fn one(section: &Section, mut keys: Value) -> Value {
    if section.can_be_off {
        keys["type"] = json!(["object", "null"]);
        any_of(vec![keys, json!({ "$ref": "#/$defs/off" }), json!({ "$ref": "#/$defs/variable" })])
    } else if section.is_never_empty() {
        keys
    } else {
        can_be_empty(keys)
    }
}

/// Allows null and variables in place of a mapping.
fn can_be_empty(mut mapping: Value) -> Value {
    mapping["type"] = json!(["object", "null", "string"]);
    // Other values than strings have no pattern.
    mapping["pattern"] = json!(VARIABLE);
    mapping
}

fn values(row: &Row) -> Value {
    let alternatives = || alternatives(&row.shape);
    let list = |least: usize| json!({ "type": "array", "minItems": least, "items": any_of(alternatives()) });
    match row.many {
        Many::One => any_of(alternatives()),
        Many::List => list(1),
        Many::OneOrList => any_of([alternatives(), vec![list(1)]].concat()),
        Many::OneOrListOrNone => {
            any_of([alternatives(), vec![json!({ "$ref": "#/$defs/off" }), list(0)]].concat())
        }
        Many::Named(names) => can_be_empty(json!({
            "propertyNames": self::names(names),
            "properties": { MERGE: { "$ref": "#/$defs/merge" } },
            "additionalProperties": any_of(alternatives()),
        })),
    }
}

fn any_of(alternatives: Vec<Value>) -> Value {
    json!({ "anyOf": alternatives })
}

/// What can be written for a value, variables included.
fn alternatives(shape: &ValueShape) -> Vec<Value> {
    let mut alternatives = Vec::new();
    add(shape, &mut alternatives);
    alternatives.push(json!({ "$ref": "#/$defs/variable" }));
    alternatives
}

fn add(shape: &ValueShape, to: &mut Vec<Value>) {
    let alternative = match shape {
        ValueShape::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
        ValueShape::Text(pattern) => {
            json!({ "type": "string", "pattern": pattern, "$ref": "#/$defs/text" })
        }
        ValueShape::Scalar => {
            json!({ "type": ["string", "number", "boolean"], "minLength": 1, "$ref": "#/$defs/text" })
        }
        ValueShape::Count { from, to, or } => {
            json!({ "type": ["integer", "string"], "minimum": from, "maximum": to, "pattern": or })
        }
        ValueShape::Number { from, to, or } => {
            json!({ "type": ["number", "string"], "minimum": from, "maximum": to, "pattern": or })
        }
        ValueShape::Words(words) => {
            let words = words();
            // YAML reads `429` as a number.
            let numbers = words.iter().filter_map(|word| word.parse::<u16>().ok()).map(Value::from);
            let all: Vec<Value> = words.iter().map(|word| json!(word)).chain(numbers).collect();
            if words.contains(&"off") {
                to.push(json!({ "$ref": "#/$defs/off" }));
            }
            json!({ "enum": all })
        }
        ValueShape::Boolean => {
            to.push(json!({ "type": "boolean" }));
            spelling("true|True|TRUE|false|False|FALSE")
        }
        ValueShape::Off => json!({ "$ref": "#/$defs/off" }),
        ValueShape::Null => json!({ "type": "null" }),
        ValueShape::AnyOf(shapes) => return shapes.iter().for_each(|shape| add(shape, to)),
    };
    to.push(alternative);
}

/// A boolean in quotes.
fn spelling(words: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^(?:{words})$") })
}

/// Adds the members of an object to another.
fn merge(object: &mut Value, other: Value) {
    if let (Value::Object(object), Value::Object(other)) = (object, other) {
        object.extend(other);
    }
}
