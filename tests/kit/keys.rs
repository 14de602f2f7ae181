//! All keys of the configuration, as the reference that the program writes lists them.

use std::sync::LazyLock;

use sidestream::config;

/// A key of the reference.
pub struct Key {
    /// The path of its section, such as `routes[].match`; empty at the top of the file.
    pub section: String,
    pub name: String,
    pub default: String,
}

impl Key {
    fn plain_path(&self) -> String {
        plain(&format!("{}.{}", self.section, self.name))
    }
}

/// A path without marks of lists and names, as in `upstreams.queue.size`.
pub fn plain(path: &str) -> String {
    path.replace("[]", "").replace(".NAME", "").trim_start_matches('.').to_owned()
}

/// All keys, from the reference that the program writes.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let reference = config::reference();
    let sections: Vec<(&str, &str)> =
        reference.split("### ").filter_map(|section| section.split_once("\n\n")).collect();
    let path =
        |heading: &str| heading.strip_prefix('`').map_or("", |path| path.trim_end_matches('`')).to_owned();
    let body_of =
        |wanted: &str| sections.iter().find(|(heading, _)| path(heading) == wanted).map(|(_, body)| *body);
    let keys_of = |(heading, body): &(&str, &str)| {
        let same = body.split_once("Its keys are those of [`").and_then(|(_, rest)| rest.split('`').next());
        let rows = same.map_or(*body, |other| body_of(other).expect("a section"));
        let section = path(heading);
        let row = move |line: &str| {
            let cells: Vec<&str> = line.strip_prefix("| `")?.split(" | ").collect();
            let [name, _, default, ..] = cells[..] else { return None };
            let trimmed = |cell: &str| cell.trim_matches('`').to_owned();
            Some(Key { section: section.clone(), name: trimmed(name), default: trimmed(default) })
        };
        rows.lines().filter_map(row).collect::<Vec<_>>()
    };
    sections.iter().flat_map(keys_of).collect()
});

/// The keys that a document means by a name or by the end of a path, such as `queue.size`.
pub fn keys(written: &str) -> Vec<&'static Key> {
    let end = format!(".{}", plain(written));
    KEYS.iter().filter(|key| format!(".{}", key.plain_path()).ends_with(&end)).collect()
}
