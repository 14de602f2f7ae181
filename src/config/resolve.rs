//! Resolves the tree of a file: merge keys, environment variables and `x-` keys.

use super::environment::{self, Variables};
use super::issue::{At, ConfigIssue, Step};
use super::tree::Value;
use super::values::{self, Problem};

/// The merge key of YAML 1.1 (yaml.org/type/merge). It adds the keys of another mapping, unless this mapping has them.
pub const MERGE: &str = "<<";

/// The prefix of keys at the top of the file that are ignored, as in a compose file. Anchors can stand there.
pub const OWN: &str = "x-";

/// Returns the tree to read, in which no key is repeated, and the mistakes so far.
pub fn resolve(written: &Value, variables: Variables) -> (Value, Vec<ConfigIssue>) {
    let mut resolution = Resolution { variables, path: Vec::new(), mistakes: Vec::new() };
    let resolved = match written {
        Value::Mapping(entries) => {
            let mut entries = resolution.merged(entries);
            entries.retain(|(key, _)| !key.starts_with(OWN));
            resolution.entries(entries)
        }
        other => resolution.value(other),
    };
    (resolved, resolution.mistakes)
}

struct Resolution<'a> {
    variables: Variables<'a>,
    /// The current node.
    path: Vec<Step>,
    mistakes: Vec<ConfigIssue>,
}

impl Resolution<'_> {
    fn value(&mut self, written: &Value) -> Value {
        match written {
            Value::String(text) => match environment::expand(text, self.variables) {
                Ok(None) => written.clone(),
                // As in YAML, where `key:` without a value is null.
                Ok(Some(text)) if matches!(text.as_str(), "" | "null") => Value::Null,
                Ok(Some(expanded)) => Value::Expanded { written: text.clone(), text: expanded },
                Err(problem) => self.unusable(problem),
            },
            Value::List(items) => {
                let item = |(index, item)| self.within(Step::Index(index), |this| this.value(item));
                Value::List(items.iter().enumerate().map(item).collect())
            }
            Value::Mapping(entries) => {
                let merged = self.merged(entries);
                self.entries(merged)
            }
            other => other.clone(),
        }
    }

    fn entries(&mut self, entries: Vec<(&str, &Value)>) -> Value {
        let entry = |(key, value): (&str, &Value)| {
            let value = self.within(Step::Key(key.to_owned()), |this| this.value(value));
            (key.to_owned(), value)
        };
        Value::Mapping(entries.into_iter().map(entry).collect())
    }

    /// The entries of a mapping and of those that it merges. Each key is there once.
    fn merged<'v>(&mut self, entries: &'v [(String, Value)]) -> Vec<(&'v str, &'v Value)> {
        let mut merged: Vec<(&str, &Value)> = Vec::new();
        for (key, value) in entries {
            if merged.iter().any(|(other, _)| other == key) {
                let path = self.path.iter().cloned().chain([Step::Key(key.clone())]).collect();
                let remedy =
                    if key == MERGE { "merge a list: `<<: [*one, *other]`" } else { "keep one of them" };
                self.mistakes
                    .push(ConfigIssue::new(path, "this key is given twice", remedy).at(At::Repetition));
            } else {
                merged.push((key, value));
            }
        }
        let Some(place) = merged.iter().position(|(key, _)| *key == MERGE) else { return merged };
        let (_, source) = merged.remove(place);
        let sources = self.within(Step::Key(MERGE.to_owned()), |this| this.sources(source));
        for (key, value) in sources {
            if merged.iter().all(|(other, _)| *other != key) {
                merged.push((key, value));
            }
        }
        merged
    }

    /// The entries that a merge key adds, those of higher precedence first.
    fn sources<'v>(&mut self, source: &'v Value) -> Vec<(&'v str, &'v Value)> {
        match source {
            Value::Mapping(entries) => self.merged(entries),
            Value::List(items) if items.iter().all(|item| matches!(item, Value::Mapping(_))) => {
                let item = |(index, item)| self.within(Step::Index(index), |this| this.sources(item));
                items.iter().enumerate().flat_map(item).collect()
            }
            other => {
                let problem = format!("{} cannot be merged", values::quoted(other));
                self.unusable(Problem::new(
                    problem,
                    "name the anchor of a mapping, or a list of anchors: `<<: *anchor`",
                ));
                Vec::new()
            }
        }
    }

    fn within<T>(&mut self, step: Step, what: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let result = what(self);
        self.path.pop();
        result
    }

    fn unusable(&mut self, Problem { problem, remedy }: Problem) -> Value {
        self.mistakes.push(ConfigIssue::new(self.path.clone(), problem, remedy));
        Value::Unusable
    }
}

/// The path in the written tree of a node of the resolved tree. A merged node is below a merge key there.
pub fn written_path(written: &Value, path: &[Step]) -> Vec<Step> {
    let (mut node, mut steps) = (Some(written), Vec::new());
    for step in path {
        let found = match (node, step) {
            (Some(Value::Mapping(entries)), Step::Key(key)) => find(entries, key),
            (Some(Value::List(items)), Step::Index(index)) => {
                items.get(*index).map(|item| (vec![step.clone()], item))
            }
            _ => None,
        };
        match found {
            Some((way, child)) => {
                steps.extend(way);
                node = Some(child);
            }
            // A missing key, or a node below one.
            None => {
                steps.push(step.clone());
                node = None;
            }
        }
    }
    steps
}

/// The value of a key of a mapping and the path to it, through any number of merge keys.
fn find<'v>(entries: &'v [(String, Value)], key: &str) -> Option<(Vec<Step>, &'v Value)> {
    if let Some((_, value)) = entries.iter().find(|(name, _)| name == key) {
        return Some((vec![Step::Key(key.to_owned())], value));
    }
    let (_, source) = entries.iter().find(|(name, _)| name == MERGE)?;
    let through = |before: Vec<Step>, source: &'v Value| {
        let Value::Mapping(entries) = source else { return None };
        let (way, value) = find(entries, key)?;
        Some((before.into_iter().chain(way).collect(), value))
    };
    let merge = Step::Key(MERGE.to_owned());
    match source {
        Value::List(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| through(vec![merge.clone(), Step::Index(index)], item))
        }
        source => through(vec![merge], source),
    }
}
