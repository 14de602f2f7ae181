//! The reference of all keys, as Markdown: the second part of docs/configuration.md.

use super::key::{Absent, Entries, Entry, Many, Row, Section};
use super::read::ROOT;
use super::values::ValueShape;

/// A table of keys for each section, with an example.
pub fn reference() -> String {
    let mut out = String::new();
    write(&mut out, &ROOT, "");
    out
}

/// Writes a section, whose keys have this path, and those inside of it.
fn write(out: &mut String, section: &Section, path: &str) {
    let heading = if path.is_empty() { "The top of the file".to_owned() } else { format!("`{path}`") };
    out.push_str(&format!("### {heading}\n\n"));
    if !path.is_empty() {
        out.push_str(&format!("{}\n\n", section_meaning(section)));
    }
    if !section.example.is_empty() {
        out.push_str(&format!("```yaml\n{}: {}\n```\n\n", section.name, section.example));
    }
    if let Entries::SameAs(other) = section.entries {
        let original = find(&ROOT, "", other).unwrap_or_default();
        out.push_str(&format!("Its keys are those of {}.\n\n", link(&original)));
        return;
    }
    out.push_str("| key | type | default | meaning | since |\n|---|---|---|---|---|\n");
    for entry in section.entries() {
        out.push_str(&match entry {
            Entry::Value(row) => value(row),
            Entry::Section(section) => {
                let path = join(path, section);
                let default = match section.absent {
                    Absent::Unset if !section.has_required_keys() => "those of its keys".to_owned(),
                    absent => default(absent),
                };
                let (meaning, since) = (cell(section.meaning), section.since);
                format!("| `{}` | {} | {default} | {meaning} | {since} |\n", section.name, link(&path))
            }
        });
    }
    out.push('\n');
    for entry in section.entries() {
        if let Entry::Section(section) = entry {
            write(out, section, &join(path, section));
        }
    }
}

fn value(row: &Row) -> String {
    let kind = match row.shape {
        ValueShape::Words(words) => alternatives(&words()),
        _ => row.kind.to_owned(),
    };
    let kind = match row.many {
        Many::One => kind,
        Many::List => format!("list: {kind}"),
        Many::OneOrList => format!("one or a list: {kind}"),
        Many::OneOrListOrNone => format!("one or a list: {kind}; or `off`"),
        Many::Named(_) => format!("names with values: {kind}"),
    };
    let (default, since) = (default(row.absent), row.since);
    format!("| `{}` | {} | {default} | {} | {since} |\n", row.name, cell(&kind), cell(&with_example(row)))
}

/// The meaning of a section.
pub fn section_meaning(section: &Section) -> String {
    let off = if section.can_be_off { " It can be `off`." } else { "" };
    format!("{}{off}", required(section.absent, section.meaning))
}

/// The meaning of a key, with its words and its example as far as nothing else shows them.
pub fn meaning(row: &Row) -> String {
    let meaning = required(row.absent, &with_example(row));
    match row.shape {
        ValueShape::Words(words) if words().iter().any(|word| !meaning.contains(&format!("`{word}`"))) => {
            format!("{meaning} One of {}.", alternatives(&words()))
        }
        _ => meaning,
    }
}

/// Marks what has to be given.
fn required(absent: Absent, meaning: &str) -> String {
    match absent {
        Absent::Required => format!("Required. {meaning}"),
        _ => meaning.to_owned(),
    }
}

fn with_example(row: &Row) -> String {
    match row.absent {
        Absent::Default(_) if !row.example.is_empty() => {
            format!("{} Example: `{}`.", row.meaning, row.example)
        }
        _ => row.meaning.to_owned(),
    }
}

/// As in "`a`, `b` or `c`".
fn alternatives(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn default(absent: Absent) -> String {
    match absent {
        Absent::Required => "required".to_owned(),
        Absent::Default(default) => format!("`{default}`"),
        Absent::Unset => "none".to_owned(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn join(path: &str, section: &Section) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    let end = match section.many {
        Many::List => "[]",
        Many::Named(_) => ".NAME",
        _ => "",
    };
    format!("{path}{dot}{}{end}", section.name)
}

/// A link to the heading of a section.
fn link(path: &str) -> String {
    let anchor: String = path.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    format!("[`{path}`](#{})", anchor.to_ascii_lowercase())
}

/// The path of a section.
fn find(within: &Section, path: &str, wanted: &Section) -> Option<String> {
    within.entries().iter().find_map(|entry| match entry {
        Entry::Section(section) => {
            let path = join(path, section);
            if std::ptr::eq(*section, wanted) { Some(path) } else { find(section, &path, wanted) }
        }
        Entry::Value(_) => None,
    })
}
