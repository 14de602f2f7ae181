//! The sample file: every key with its default, and its meaning as a comment.

use super::key::{Absent, Entries, Entry, Many, Row, Section};
use super::read::ROOT;
use super::reference::{meaning, section_meaning};

const HEAD: &str = "\
# yaml-language-server: $schema=./sidestream.schema.json
#
# Every key of sidestream with its default. Required keys, and the sections that are commented out, show examples.
# Durations are written like `15s`, `500ms` or `2m`, sizes like `64KiB` or `1MiB`. `${NAME}` and `${NAME:-default}` stand for
# environment variables, `$$` for a dollar sign. Anchors, merge keys and `x-` keys at the top work as in a compose file.
# docs/configuration.md has all of it.
";

/// Where comments begin, in columns.
const COMMENT: usize = 36;
const WIDTH: usize = 120;

/// The text of conf/sidestream.yaml.
pub fn sample_file() -> String {
    let mut sample = Sample { text: HEAD.to_owned(), indent: 0, outside: None, is_item: false };
    for entry in ROOT.entries() {
        sample.text.push('\n');
        sample.entry(entry);
    }
    sample.text
}

struct Sample {
    text: String,
    indent: usize,
    /// Where the lines of a section that is commented out begin.
    outside: Option<usize>,
    /// The next line begins an item of a list.
    is_item: bool,
}

impl Sample {
    fn entry(&mut self, entry: &Entry) {
        match entry {
            Entry::Value(row) => self.value(row),
            Entry::Section(section) => self.section(section),
        }
    }

    fn value(&mut self, row: &Row) {
        let value = match (row.absent, row.many) {
            (Absent::Default(default), _) => default.to_owned(),
            (_, Many::Named(names)) => format!("{{ {}: {} }}", names.example, row.example),
            _ => row.example.to_owned(),
        };
        let line = format!("{}: {value}", row.name);
        if row.absent == Absent::Unset {
            self.commented_out(|this| this.line(&line, &meaning(row)));
        } else {
            self.line(&line, &meaning(row));
        }
    }

    fn section(&mut self, section: &'static Section) {
        let (name, meaning) = (section.name, section_meaning(section));
        let is_like_another = matches!(section.entries, Entries::SameAs(_));
        if let Absent::Default(default) = section.absent {
            self.line(&format!("{name}: {default}"), &meaning);
            self.commented_out(|this| {
                this.line(&format!("{name}:"), &format!("In place of `{name}: {default}` above."));
                this.keys(section);
            });
        } else if is_like_another {
            let nothing = if section.can_be_off { "off" } else { "{}" };
            self.line(&format!("{name}: {nothing}"), &meaning);
        } else if section.absent == Absent::Required || !section.has_required_keys() {
            self.line(&format!("{name}:"), &meaning);
            self.keys(section);
        } else {
            self.commented_out(|this| {
                this.line(&format!("{name}:"), &meaning);
                this.keys(section);
            });
        }
    }

    /// The keys of a section, below its name.
    fn keys(&mut self, section: &'static Section) {
        self.indent += 2;
        match (section.many, section.short_form) {
            (Many::Named(names), _) => {
                self.line(&format!("{}:", names.example), "A name of your choice.");
                self.indent += 2;
                section.entries().iter().for_each(|entry| self.entry(entry));
                self.indent -= 2;
            }
            (Many::List, Some((_, example))) => {
                self.line(&format!("- {example}"), "");
                self.commented_out(|this| this.item(section));
            }
            (Many::List, None) => self.item(section),
            _ => section.entries().iter().for_each(|entry| self.entry(entry)),
        }
        self.indent -= 2;
    }

    fn item(&mut self, section: &'static Section) {
        self.is_item = true;
        self.indent += 2;
        section.entries().iter().for_each(|entry| self.entry(entry));
        self.indent -= 2;
    }

    /// Comments lines out, unless they are inside of such lines already.
    fn commented_out(&mut self, write: impl FnOnce(&mut Self)) {
        let before = self.outside;
        // An item begins two columns before its keys.
        self.outside = before.or(Some(self.indent));
        write(self);
        self.outside = before;
    }

    fn line(&mut self, line: &str, comment: &str) {
        let dash = std::mem::take(&mut self.is_item);
        let indent = self.indent - if dash { 2 } else { 0 };
        let line = format!("{}{line}", if dash { "- " } else { "" });
        let mut line = match self.outside {
            Some(column) => format!("{}# {}{line}", " ".repeat(column), " ".repeat(indent - column)),
            None => format!("{}{line}", " ".repeat(indent)),
        };
        for part in wrap(comment, WIDTH - COMMENT - 2) {
            let gap = COMMENT.saturating_sub(line.chars().count()).max(2);
            self.text.push_str(&format!("{line}{}# {part}\n", " ".repeat(gap)));
            line = self.outside.map_or_else(String::new, |column| format!("{}#", " ".repeat(column)));
        }
        if comment.is_empty() {
            self.text.push_str(&format!("{line}\n"));
        }
    }
}

/// The lines of a text, at most this wide. Code in backticks stays on one line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let parts = text.split('`').enumerate();
    let unbroken = |(index, part): (usize, &str)| {
        if index % 2 == 0 { part.to_owned() } else { part.replace(' ', "\u{a0}") }
    };
    let mut lines: Vec<String> = Vec::new();
    for word in parts.map(unbroken).collect::<Vec<_>>().join("`").split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.retain(|line| !line.is_empty());
    lines.iter().map(|line| line.replace('\u{a0}', " ")).collect()
}
