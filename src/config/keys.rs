//! Walks the YAML tree: nodes and keys that know where they are, and collect what is wrong with them.

use super::issue::{At, ConfigIssue, Step};
use super::resolve::OWN;
use super::tree::Value;
use super::values::{self, Problem};

/// A node of the tree, where it is, and where to report what is wrong with it.
pub struct Node<'a> {
    pub value: &'a Value,
    pub path: Vec<Step>,
    pub mistakes: &'a mut Vec<ConfigIssue>,
}

impl<'a> Node<'a> {
    pub fn keys(self) -> Keys<'a> {
        Keys::of(self.value, self.path, self.mistakes)
    }

    /// The same, of a section that is short enough for one line: `example` is how it is written.
    pub fn keys_such_as(self, example: &str) -> Keys<'a> {
        Keys::such_as(self.value, self.path, self.mistakes, &format!("write `{example}`"))
    }

    /// Whether nothing is to be read: it is empty, or something is wrong with it that has been reported.
    pub fn says_nothing(&self) -> bool {
        matches!(self.value, Value::Null | Value::Unusable)
    }

    /// Whether the section is switched off.
    pub fn is_off(&mut self) -> bool {
        if values::means_off(self.value) {
            let problem = format!("{} is not a mapping", values::quoted(self.value));
            self.mistakes.push(ConfigIssue::new(self.path.clone(), problem, values::DID_YOU_MEAN_OFF));
            return true;
        }
        values::is_off(self.value)
    }

    pub fn read<T>(self, read: impl FnOnce(&Value) -> Result<T, Problem>) -> Option<T> {
        if *self.value == Value::Unusable {
            return None;
        }
        read(self.value)
            .map_err(|Problem { problem, remedy }| {
                self.mistakes.push(ConfigIssue::new(self.path, problem, remedy));
            })
            .ok()
    }
}

/// The keys of a mapping. Each is asked for by name; [`Keys::finish`] reports those that nobody asked for.
pub struct Keys<'a> {
    mapping: Option<&'a [(String, Value)]>,
    /// It is no mapping, which is one mistake, and that keys are missing is no other.
    is_reported: bool,
    pub path: Vec<Step>,
    asked: Vec<String>,
    pub mistakes: &'a mut Vec<ConfigIssue>,
}

impl<'a> Keys<'a> {
    pub fn of(value: &'a Value, path: Vec<Step>, mistakes: &'a mut Vec<ConfigIssue>) -> Self {
        Self::such_as(value, path, mistakes, "write `key: value` lines here")
    }

    fn such_as(value: &'a Value, path: Vec<Step>, mistakes: &'a mut Vec<ConfigIssue>, remedy: &str) -> Self {
        let (mapping, is_reported) = match value {
            Value::Mapping(mapping) => (Some(mapping.as_slice()), false),
            // An empty section says nothing, which is no mistake.
            Value::Null => (None, false),
            Value::Unusable => (None, true),
            _ => {
                let problem = format!("{} is not a mapping", values::quoted(value));
                mistakes.push(ConfigIssue::new(path.clone(), problem, remedy));
                (None, true)
            }
        };
        Self { mapping, is_reported, path, asked: Vec::new(), mistakes }
    }

    pub fn is_empty(&self) -> bool {
        self.mapping.is_none_or(<[_]>::is_empty)
    }

    pub fn names(&self) -> Vec<String> {
        self.mapping.into_iter().flatten().map(|(key, _)| key.clone()).collect()
    }

    pub fn child(&self, key: &str) -> impl Iterator<Item = Step> + use<> {
        self.path.clone().into_iter().chain([Step::Key(key.to_owned())])
    }

    pub fn take(&mut self, key: &str) -> Option<Node<'_>> {
        if self.asked.iter().all(|asked| asked != key) {
            self.asked.push(key.to_owned());
        }
        let mapping = self.mapping?;
        let (_, value) = mapping.iter().find(|(name, _)| name == key)?;
        let path = self.child(key).collect();
        Some(Node { value, path, mistakes: &mut *self.mistakes })
    }

    pub fn section<T>(&mut self, key: &str, read: impl FnOnce(Node) -> T) -> Option<T> {
        self.take(key).map(read)
    }

    pub fn get<T>(&mut self, key: &str, default: T, read: impl FnOnce(&Value) -> Result<T, Problem>) -> T {
        self.take(key).and_then(|node| node.read(read)).unwrap_or(default)
    }

    /// The same, but `None` where there is a mistake.
    pub fn checked<T>(
        &mut self,
        key: &str,
        default: T,
        read: impl FnOnce(&Value) -> Result<T, Problem>,
    ) -> Option<T> {
        self.take(key).map_or(Some(default), |node| node.read(read))
    }

    pub fn required<T>(
        &mut self,
        key: &str,
        example: &str,
        read: impl FnOnce(&Value) -> Result<T, Problem>,
    ) -> Option<T> {
        if let Some(node) = self.take(key) {
            return node.read(read);
        }
        self.missing(key, &format!("add `{key}:` here, {example}"));
        None
    }

    /// Reads a list; `None` if the key is absent. A list that is empty is a mistake.
    pub fn list<T>(&mut self, key: &str, mut read: impl FnMut(Node) -> Option<T>) -> Option<Vec<T>> {
        let Node { value, path, mistakes } = self.take(key)?;
        let items = match value {
            Value::List(items) if !items.is_empty() => items,
            Value::Unusable => return Some(Vec::new()),
            _ => {
                let problem = format!("{} is not a list of at least one item", values::quoted(value));
                let remedy = "write the items below it, each after a `- `";
                mistakes.push(ConfigIssue::new(path, problem, remedy));
                return Some(Vec::new());
            }
        };
        let read_item = |(index, value)| {
            let path = path.iter().cloned().chain([Step::Index(index)]).collect();
            read(Node { value, path, mistakes })
        };
        Some(items.iter().enumerate().filter_map(read_item).collect())
    }

    /// The same, where one item can stand in place of the list.
    pub fn one_or_more<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&Value) -> Result<T, Problem>,
    ) -> Option<Vec<T>> {
        match self.take(key)? {
            Node { value: Value::List(_), .. } => self.list(key, |node| node.read(&mut read)),
            node => Some(node.read(read).into_iter().collect()),
        }
    }

    pub fn missing(&mut self, key: &str, remedy: &str) {
        if !self.is_reported {
            self.report(&format!("`{key}` is missing"), remedy);
        }
    }

    pub fn report(&mut self, problem: &str, remedy: &str) {
        self.mistakes.push(ConfigIssue::new(self.path.clone(), problem, remedy));
    }

    /// Reports the keys that nobody asked for.
    pub fn check_unknown(&mut self) {
        for name in self.names() {
            if !self.asked.contains(&name) {
                let remedy =
                    did_you_mean(&name, self.asked.iter().map(String::as_str)).unwrap_or_else(|| {
                        if name.starts_with(OWN) {
                            return "move it to the top of the file: only there, `x-` keys are yours"
                                .to_owned();
                        }
                        format!("known here: {}", self.asked.join(", "))
                    });
                let path = self.child(&name).collect();
                let mistake = ConfigIssue::new(path, "this key is not known here", remedy).at(At::Key);
                self.mistakes.push(mistake);
            }
        }
    }

    pub fn finish(mut self) {
        self.check_unknown();
    }
}

/// What a misspelt name most likely stands for.
pub fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let near = known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min()?;
    Some(format!("did you mean `{}`?", near.1))
}
