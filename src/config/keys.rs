//! Walks the YAML tree: nodes and keys that know where they are, and collect what is wrong with them.

use super::issue::{At, ConfigIssue, Step};
use super::key::{Absent, Entry, Key, Many, Section};
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
    /// The keys of the section that this node is.
    pub fn keys(self, section: &'static Section) -> Keys<'a> {
        Keys::of(section, self.value, self.path, self.mistakes)
    }

    /// The entries of the mapping with free names that this node is.
    pub fn named_entries(self) -> Keys<'a> {
        static NAMES: Section = Section::new("", "", "", &[]);
        self.keys(&NAMES)
    }

    pub fn read<T>(self, read: impl FnOnce(&Value) -> Result<T, Problem>) -> Option<T> {
        if *self.value == Value::Unusable {
            return None;
        }
        read(self.value).map_err(|Problem { problem, remedy }| self.report(&problem, &remedy)).ok()
    }

    pub fn report(self, problem: &str, remedy: &str) {
        self.mistakes.push(ConfigIssue::new(self.path, problem, remedy));
    }

    /// Reports a section that is null, but has keys that have to be given.
    pub fn report_empty(self, section: &'static Section) {
        let is_required = |entry: &&Entry| entry.absent() == Absent::Required;
        let required = section.entries().iter().filter(is_required);
        let keys: Vec<String> = required.map(|entry| format!("`{}`", entry.name())).collect();
        let problem = format!("`{}` is empty", section.name);
        self.report(&problem, &format!("write {}, or remove it", keys.join(" and ")));
    }

    /// The items of a list of at least one.
    fn items(self, mut read: impl FnMut(Node)) {
        let Node { value, path, mistakes } = self;
        match value {
            Value::Unusable => {}
            Value::List(items) if !items.is_empty() => {
                for (index, value) in items.iter().enumerate() {
                    let path = path.iter().cloned().chain([Step::Index(index)]).collect();
                    read(Node { value, path, mistakes });
                }
            }
            Value::List(_) => {
                Node { value, path, mistakes }.report("this list is empty", "write at least one item")
            }
            _ => {
                let problem = format!("{} is not a list", values::quoted(value));
                Node { value, path, mistakes }
                    .report(&problem, "write the items below it, each after a `- `");
            }
        }
    }
}

/// What the file has at the key of a section.
pub enum Written<T> {
    /// No keys: it is absent or empty, or a mistake in it was reported.
    Nothing,
    Off,
    Keys(T),
}

impl<T> Written<T> {
    pub fn keys(self) -> Option<T> {
        match self {
            Self::Keys(keys) => Some(keys),
            Self::Nothing | Self::Off => None,
        }
    }
}

/// The keys of a section. [`Keys::finish`] reports those that the table does not have.
pub struct Keys<'a> {
    section: &'static Section,
    mapping: Option<&'a [(String, Value)]>,
    /// It is no mapping, which was reported. Then no key is reported as missing.
    is_reported: bool,
    pub path: Vec<Step>,
    pub mistakes: &'a mut Vec<ConfigIssue>,
}

impl<'a> Keys<'a> {
    pub fn of(
        section: &'static Section,
        value: &'a Value,
        path: Vec<Step>,
        mistakes: &'a mut Vec<ConfigIssue>,
    ) -> Self {
        let (mapping, is_reported) = match value {
            Value::Mapping(mapping) => (Some(mapping.as_slice()), false),
            // An empty section is one without keys.
            Value::Null => (None, false),
            Value::Unusable => (None, true),
            _ => {
                let remedy = if section.can_be_off && values::means_off(value) {
                    values::DID_YOU_MEAN_OFF.to_owned()
                } else if matches!(section.many, Many::One) && !section.example.is_empty() {
                    format!("write `{}: {}`", section.name, section.example)
                } else {
                    "write `key: value` lines here".to_owned()
                };
                let problem = format!("{} is not a mapping", values::quoted(value));
                mistakes.push(ConfigIssue::new(path.clone(), problem, remedy));
                (None, true)
            }
        };
        Self { section, mapping, is_reported, path, mistakes }
    }

    /// What a reader makes of a section without keys: the defaults.
    pub fn defaults<T>(section: &'static Section, read: impl FnOnce(Keys) -> T) -> T {
        read(Keys::of(section, &Value::Null, Vec::new(), &mut Vec::new()))
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
        let mapping = self.mapping?;
        let (_, value) = mapping.iter().find(|(name, _)| name == key)?;
        let path = self.child(key).collect();
        Some(Node { value, path, mistakes: &mut *self.mistakes })
    }

    /// Reads a key. Its default stands for a mistake too.
    pub fn get<T>(&mut self, key: &Key<T>) -> T {
        self.optional(key).unwrap_or_else(|| key.default())
    }

    /// The same with another default, if there is one.
    pub fn get_or<T>(&mut self, key: &Key<T>, default: Option<T>) -> T {
        self.optional(key).or(default).unwrap_or_else(|| key.default())
    }

    /// Reads a key; `None` where there is a mistake.
    pub fn checked<T>(&mut self, key: &Key<T>) -> Option<T> {
        match self.take(key.row.name) {
            Some(node) => node.read(key.kind.read),
            None => Some(key.default()),
        }
    }

    /// Reads a key; `None` where it is absent or there is a mistake.
    pub fn optional<T>(&mut self, key: &Key<T>) -> Option<T> {
        self.take(key.row.name)?.read(key.kind.read)
    }

    /// Reads a key that has to be given.
    pub fn required<T>(&mut self, key: &Key<T>) -> Option<T> {
        if self.take(key.row.name).is_none() {
            self.missing_key(key);
        }
        self.optional(key)
    }

    /// Reads a list of values; `None` if the key is absent.
    pub fn list<T>(&mut self, key: &Key<T>) -> Option<Vec<T>> {
        let node = self.take(key.row.name)?;
        let is_nothing = values::is_off(node.value) || *node.value == Value::List(Vec::new());
        let is_list = matches!(node.value, Value::List(_));
        let mut read = Vec::new();
        match key.row.many {
            Many::OneOrListOrNone if is_nothing => {}
            Many::OneOrList | Many::OneOrListOrNone if !is_list => read.extend(node.read(key.kind.read)),
            _ => node.items(|node| read.extend(node.read(key.kind.read))),
        }
        Some(read)
    }

    /// Reads a section.
    pub fn section<T>(&mut self, section: &'static Section, read: impl FnOnce(Keys) -> T) -> Written<T> {
        match self.take(section.name) {
            Some(node) if section.can_be_off && values::is_off(node.value) => Written::Off,
            Some(node) if node.value.is_null() && section.is_never_empty() => {
                node.report_empty(section);
                Written::Nothing
            }
            Some(node) => {
                let keys = node.keys(section);
                if keys.mapping.is_some() { Written::Keys(read(keys)) } else { Written::Nothing }
            }
            None => Written::Nothing,
        }
    }

    /// Reads a list of sections, or of what stands in place of them; `None` if the key is absent.
    pub fn sections<T>(
        &mut self,
        section: &'static Section,
        mut read: impl FnMut(Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut sections = Vec::new();
        self.take(section.name)?.items(|node| sections.extend(read(node)));
        Some(sections)
    }

    pub fn missing_key<T>(&mut self, key: &Key<T>) {
        let name = key.row.name;
        self.missing(name, &format!("add `{name}:` here, such as `{name}: {}`", key.row.example));
    }

    pub fn missing(&mut self, key: &str, remedy: &str) {
        if !self.is_reported {
            self.report(&format!("`{key}` is missing"), remedy);
        }
    }

    pub fn report(&mut self, problem: &str, remedy: &str) {
        self.mistakes.push(ConfigIssue::new(self.path.clone(), problem, remedy));
    }

    /// Reports a mistake in the value of a key.
    pub fn report_at(&mut self, key: &str, problem: &str, remedy: &str) {
        let path = self.child(key).collect();
        self.mistakes.push(ConfigIssue::new(path, problem, remedy));
    }

    /// Reports the keys that the table does not have.
    pub fn check_unknown(&mut self) {
        let known = || self.section.entries().iter().map(Entry::name);
        let unknown = self.names().into_iter().filter(|name| known().all(|known| known != name));
        for name in unknown.collect::<Vec<_>>() {
            if name.is_empty() {
                let path = self.child(&name).collect();
                let remedy = "write the name of a key, or remove it";
                self.mistakes.push(ConfigIssue::new(path, "this key is empty", remedy).at(At::Key));
                continue;
            }
            let known: Vec<&str> = known().collect();
            let remedy = did_you_mean(&name, known.iter().copied()).unwrap_or_else(|| {
                if name == "true" && known.contains(&"on") {
                    "write `\"on\"` in quotes: in YAML 1.1 `on` without quotes is `true`".to_owned()
                } else if name.starts_with(OWN) {
                    "move it to the top of the file: only there, `x-` keys are yours".to_owned()
                } else {
                    format!("known here: {}", known.join(", "))
                }
            });
            let path = self.child(&name).collect();
            self.mistakes.push(ConfigIssue::new(path, "this key is not known here", remedy).at(At::Key));
        }
    }

    pub fn finish(mut self) {
        let names = self.names();
        let is_given = |entry: &Entry| names.iter().any(|name| name == entry.name());
        if let Some(main) = self.section.main_key
            && self.section.entries().iter().any(is_given)
            && self.take(main.name).is_none()
        {
            let remedy = format!("add `{0}:` here, such as `{0}: {1}`", main.name, main.example);
            self.missing(main.name, &remedy);
        }
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
