//! Mistakes in a configuration: where, what, and the remedy.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::locate;
use super::resolve::written_path;
use super::tree::Value;

/// Why there is no configuration to run on.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}\n  {}", path.display(), remedy(error))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file was read, and has these mistakes.
    #[error("{}", join(.0))]
    Mistakes(Vec<ConfigIssue>),
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::InvalidData => "save it as UTF-8",
        _ => "check the path and its permissions",
    }
}

/// All messages. The caller writes `error: ` before the first one.
fn join(mistakes: &[ConfigIssue]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nerror: ")
}

/// A step from a YAML node to one of its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// The part of a node that is the mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Value,
    Key,
    /// The key, at its second place.
    Repetition,
}

/// One mistake: its place, the problem and the remedy.
#[derive(Clone, Debug)]
pub struct ConfigIssue {
    /// `file:line:column`, or the flag.
    place: String,
    /// Line and column, by which mistakes are sorted. Zero without a place in a file.
    position: (usize, usize),
    path: Vec<Step>,
    at: At,
    problem: String,
    remedy: String,
}

impl ConfigIssue {
    pub(super) fn new(path: Vec<Step>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (problem, remedy) = (problem.into(), remedy.into());
        Self { place: String::new(), position: (0, 0), path, at: At::Value, problem, remedy }
    }

    /// Sets the part of the node that is wrong, if it is not the value.
    pub(super) fn at(self, at: At) -> Self {
        Self { at, ..self }
    }

    /// Names the file and looks up the line and column. `written` is the tree of `text`.
    pub(super) fn in_file(mut self, name: &str, text: &str, written: &Value) -> Self {
        let path = written_path(written, &self.path);
        self.place = name.to_owned();
        if let Some((line, column)) = locate::position(text, &path, self.at) {
            self.place = format!("{name}:{line}:{column}");
            self.position = (line, column);
        }
        if self.at == At::Repetition
            && let Some((line, _)) = locate::position(text, &path, At::Key)
        {
            self.problem = format!("{}, first in line {line}", self.problem);
        }
        self
    }

    /// Line and column in the file, if any.
    pub(super) fn position(&self) -> (usize, usize) {
        self.position
    }

    /// Whether it has the same words at the same place. An anchored value can be used, and be wrong, several times.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        self.place == other.place && self.problem == other.problem
    }

    /// A mistake in the YAML itself.
    pub(super) fn syntax(place: String, problem: String, remedy: &str) -> Self {
        Self { place, ..Self::new(Vec::new(), problem, remedy) }
    }

    /// Names the flag that sets the key.
    pub(super) fn on_command_line(mut self) -> Self {
        let flag = match self.path.first() {
            Some(Step::Key(key)) if key == "listeners" => "--listen",
            Some(Step::Key(key)) if key == "admin" => "--admin",
            _ => "--upstream",
        };
        self.place = flag.to_owned();
        self.path.clear();
        self
    }

    /// What stands for the mistakes that are not reported.
    pub(super) fn more(name: &str, count: usize) -> Self {
        let (what, are) = if count == 1 { ("mistake", "is") } else { ("mistakes", "are") };
        let problem = format!("there {are} {count} more {what}");
        let last = (usize::MAX, usize::MAX);
        Self { position: last, ..Self::syntax(name.to_owned(), problem, "correct those above first") }
    }

    fn key_path(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) if key.is_empty() && path.is_empty() => path.push_str("\"\""),
                Step::Key(key) if key.is_empty() => path.push_str(".\"\""),
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => path.push_str(&format!(".{key}")),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }
}

impl fmt::Display for ConfigIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", escaped(&self.place))?;
        if !self.path.is_empty() {
            write!(f, "{}: ", escaped(&self.key_path()))?;
        }
        write!(f, "{}\n  {}", escaped(&self.problem), escaped(&self.remedy))
    }
}

/// Escapes what a terminal would not print as it is. A file must not forge lines of a message.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            // Line ends, and marks that reverse the direction of text.
            '\u{2028}'
            | '\u{2029}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                escaped.extend(c.escape_unicode());
            }
            c if c.is_control() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
        escaped
    })
}
