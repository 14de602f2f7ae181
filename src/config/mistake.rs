//! What is wrong with a configuration, said so that it can be put right.

use std::fmt;
use std::path::PathBuf;

use super::locate;

/// Why there is no configuration to run on.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {error}\n  check the path and its permissions", path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{}", join(.0))]
    Mistakes(Vec<Mistake>),
}

/// The messages one after the other, so that a caller's `error: ` in front covers the first.
fn join(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nerror: ")
}

/// A step from a YAML node to one of its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// One thing that is wrong, where, and what to do about it.
#[derive(Clone, Debug)]
pub struct Mistake {
    /// `file:line:column`, or the flag.
    place: String,
    path: Vec<Step>,
    /// The key itself is the mistake, not its value.
    pub(super) at_key: bool,
    problem: String,
    remedy: String,
}

impl Mistake {
    pub(super) fn new(path: Vec<Step>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: String::new(), path, at_key: false, problem: problem.into(), remedy: remedy.into() }
    }

    /// Names the file and looks up the line and column.
    pub(super) fn in_file(mut self, name: &str, text: &str) -> Self {
        self.place = match locate::position(text, &self.path, self.at_key) {
            Some((line, column)) => format!("{name}:{line}:{column}"),
            None => name.to_owned(),
        };
        self
    }

    /// Names the place where the file is no YAML at all.
    pub(super) fn syntax(place: String, problem: String) -> Self {
        let remedy = "correct the YAML; conf/sidestream.yaml shows every key in its place";
        Self { place, ..Self::new(Vec::new(), problem, remedy) }
    }

    /// Names the flag that stands for the key.
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

    fn key_path(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => path.push_str(&format!(".{key}")),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.key_path())?;
        }
        write!(f, "{}\n  {}", self.problem, self.remedy)
    }
}
