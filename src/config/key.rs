//! The table of keys: what each key of the file is called, takes, means and is by default.
//!
//! A key stands in the table once, beside the function that reads its section. The reader, `sidestream check`, the sample file, the
//! reference and the JSON Schema all use that row.

use super::tree;
use super::values::{ValueKind, ValueShape};

/// A key whose values become a `T`.
pub struct Key<T: 'static> {
    pub row: Row,
    pub kind: ValueKind<T>,
}

/// What the documents say about a key.
#[derive(Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    /// The version that brought the key.
    pub since: &'static str,
    /// The name of its kind of value.
    pub kind: &'static str,
    pub shape: ValueShape,
    pub many: Many,
    pub absent: Absent,
    /// One to three plain sentences.
    pub meaning: &'static str,
    /// A value, as YAML. Empty: the default is example enough.
    pub example: &'static str,
}

/// How many values or sections stand at a key.
#[derive(Clone, Copy)]
pub enum Many {
    One,
    /// A list of at least one.
    List,
    /// A single one, or a list of at least one.
    OneOrList,
    /// The same; an empty list or `off` is none.
    OneOrListOrNone,
    /// A mapping with names of the user's choice.
    Named(&'static Names),
}

/// The names in a mapping.
pub struct Names {
    pub example: &'static str,
    /// A regular expression for the JSON Schema, as those of [`ValueShape`].
    pub pattern: fn() -> String,
}

/// What holds without the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    Required,
    /// This value, as YAML. The reader of the key reads it, so the two cannot disagree.
    Default(&'static str),
    /// Nothing, or what the meaning says.
    Unset,
}

/// A mapping with known keys.
pub struct Section {
    pub name: &'static str,
    pub since: &'static str,
    pub many: Many,
    pub absent: Absent,
    pub can_be_off: bool,
    /// A key whose value can stand in place of the mapping, and an example.
    pub short_form: Option<(&'static Row, &'static str)>,
    /// The key without which the others mean nothing.
    pub main_key: Option<&'static Row>,
    pub meaning: &'static str,
    /// The section on one line, for messages and documents.
    pub example: &'static str,
    pub entries: Entries,
}

/// The keys of a section.
pub enum Entries {
    These(&'static [Entry]),
    /// The same as those of another section.
    SameAs(&'static Section),
}

/// A key of a section.
#[derive(Clone, Copy)]
pub enum Entry {
    Value(&'static Row),
    Section(&'static Section),
}

/// A row of the table. `default` is YAML.
pub const fn key<T>(
    name: &'static str,
    since: &'static str,
    kind: ValueKind<T>,
    default: &'static str,
    meaning: &'static str,
) -> Key<T> {
    Key::new(name, since, kind, Absent::Default(default), meaning)
}

/// A row of a key that has to be given.
pub const fn required<T>(
    name: &'static str,
    since: &'static str,
    kind: ValueKind<T>,
    example: &'static str,
    meaning: &'static str,
) -> Key<T> {
    Key::new(name, since, kind, Absent::Required, meaning).example(example)
}

/// A row of a key whose absence no value expresses.
pub const fn optional<T>(
    name: &'static str,
    since: &'static str,
    kind: ValueKind<T>,
    example: &'static str,
    meaning: &'static str,
) -> Key<T> {
    Key::new(name, since, kind, Absent::Unset, meaning).example(example)
}

impl<T> Key<T> {
    const fn new(
        name: &'static str,
        since: &'static str,
        kind: ValueKind<T>,
        absent: Absent,
        meaning: &'static str,
    ) -> Self {
        let (kind_name, shape) = (kind.name, kind.shape);
        let row = Row { name, since, kind: kind_name, shape, many: Many::One, absent, meaning, example: "" };
        Self { row, kind }
    }

    pub const fn example(self, example: &'static str) -> Self {
        Self { row: Row { example, ..self.row }, ..self }
    }

    pub const fn many(self, many: Many) -> Self {
        Self { row: Row { many, ..self.row }, ..self }
    }

    /// The default of a key that has one.
    ///
    /// # Panics
    /// If the table is wrong. Every default is read by a test, because a configuration without optional keys reads them all.
    #[expect(clippy::panic, reason = "a mistake in the table, not in a file")]
    pub fn default(&self) -> T {
        match self.row.absent {
            Absent::Default(default) => match self.read_text(default) {
                Some(value) => value,
                None => panic!("`{default}` is no value of `{}`", self.row.name),
            },
            _ => panic!("`{}` has no default", self.row.name),
        }
    }

    fn read_text(&self, yaml: &str) -> Option<T> {
        let value = tree::parse(yaml).ok()?;
        (self.kind.read)(&value).ok()
    }

    /// `name: value`, as YAML.
    pub fn line(&self, value: &T) -> String {
        format!("{}: {}", self.row.name, (self.kind.show)(value))
    }

    /// `name: [value, value]`, as YAML.
    pub fn list_line<'a>(&self, values: impl IntoIterator<Item = &'a T>) -> String {
        let values: Vec<String> = values.into_iter().map(self.kind.show).collect();
        format!("{}: [{}]", self.row.name, values.join(", "))
    }
}

impl Section {
    pub const fn new(
        name: &'static str,
        since: &'static str,
        meaning: &'static str,
        entries: &'static [Entry],
    ) -> Self {
        Self {
            name,
            since,
            many: Many::One,
            absent: Absent::Unset,
            can_be_off: false,
            short_form: None,
            main_key: None,
            meaning,
            example: "",
            entries: Entries::These(entries),
        }
    }

    pub fn entries(&self) -> &'static [Entry] {
        match self.entries {
            Entries::These(entries) => entries,
            Entries::SameAs(other) => other.entries(),
        }
    }

    /// `name: { line, line }`, as YAML.
    pub fn line(&self, lines: &[String]) -> String {
        format!("{}: {{ {} }}", self.name, lines.join(", "))
    }

    /// Whether one of its keys has to be given.
    pub fn has_required_keys(&self) -> bool {
        self.entries().iter().any(|entry| entry.absent() == Absent::Required)
    }

    /// Whether null is a mistake. It may be a variable without a value, and a listener would silently take plaintext. In a
    /// section that can be off, null is the same as no section.
    pub fn is_never_empty(&self) -> bool {
        self.has_required_keys() && !self.can_be_off
    }
}

impl Entry {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Value(row) => row.name,
            Self::Section(section) => section.name,
        }
    }

    pub fn absent(&self) -> Absent {
        match self {
            Self::Value(row) => row.absent,
            Self::Section(section) => section.absent,
        }
    }
}
