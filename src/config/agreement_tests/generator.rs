//! Files for the test: valid ones, in which one value can be changed.

use fastrand::Rng;
use tempfile::TempDir;

use crate::config::key::{Absent, Entry, Many, Row, Section};
use crate::config::values::ValueShape;

/// What is written in place of some value, whatever its kind. `4.0` is missing: a schema takes it for a whole number.
const ODD: &[&str] = &[
    "15",
    "0",
    "1",
    "-1",
    "4.5",
    "101",
    "1025",
    "99999999999",
    "'7'",
    "'0'",
    "'07'",
    "true",
    "false",
    "'true'",
    "'False'",
    "off",
    "'off'",
    "Off",
    "no",
    "yes",
    "none",
    "null",
    "''",
    "auto",
    "always",
    "hash",
    "drain",
    "openai",
    "otel",
    "json",
    "429",
    "5xx",
    "4xx",
    "10s",
    "0s",
    "0",
    "1h 30m",
    "1.5s",
    "5 minuts",
    "10",
    "99ms",
    "500d",
    "64KiB",
    "64KB",
    "2GiB",
    "0B",
    "50%",
    "101%",
    "/x",
    "'/x?y#z'",
    "x",
    "http://a.test",
    "ftp://a.test",
    "unix:/a",
    "unix:a",
    "127.0.0.1:80",
    "10.0.0.0/8",
    "'header:x-a'",
    "'cookie:'",
    "address",
    "'${GOOD}'",
    "'$HOME'",
    "'${EMPTY:-}'",
    "' 5s'",
    "'64KiB '",
    "1.50",
    "0x10",
    "'010'",
    "é",
    "\"a\\tb\"",
    "256.0.0.1:80",
    "127.0.0.1:65536",
    "10.0.0.0/33",
    "'http://[zz]:80'",
    "18446744073709551616",
];

/// The same, of other shapes.
const SHAPES: &[&str] = &["[]", "{}", "[[1]]", "{ a: 1 }", "[10s, 20s]", "{ path: /x }"];

/// A file, as long as it can still be changed.
pub enum Doc {
    Text(String),
    List(Vec<Doc>),
    Mapping(Vec<(String, Doc)>),
}

pub struct Generator {
    pub random: Rng,
    /// Holds a certificate and its key.
    pub folder: TempDir,
    /// Makes addresses and URLs differ.
    pub count: usize,
}

impl Generator {
    pub fn mapping(&mut self, section: &'static Section) -> Doc {
        let mut keys = Vec::new();
        for entry in section.entries() {
            if entry.absent() == Absent::Required || self.random.u8(..) < 80 {
                keys.push((entry.name().to_owned(), self.entry(entry)));
            }
        }
        self.observe_rules(&mut keys);
        self.random.shuffle(&mut keys);
        Doc::Mapping(keys)
    }

    /// Keeps the rules that only the reader knows, or too few files would be valid.
    fn observe_rules(&mut self, keys: &mut Vec<(String, Doc)>) {
        let has = |keys: &[(String, Doc)], name: &str| keys.iter().any(|(key, _)| key == name);
        let text = |text: &str| Doc::Text(text.to_owned());
        if has(keys, "hash") && has(keys, "servers") {
            keys.retain(|(key, _)| key != "balance");
            keys.push(("balance".to_owned(), text("hash")));
        }
        if has(keys, "queue") {
            keys.retain(|(key, _)| key != "max_streams");
            keys.push(("max_streams".to_owned(), text("4")));
        }
        if (has(keys, "fairness") || has(keys, "timeout") && !has(keys, "path")) && !has(keys, "size") {
            keys.push(("size".to_owned(), text("9")));
        }
    }

    fn entry(&mut self, entry: &Entry) -> Doc {
        let section = match entry {
            Entry::Value(row) => return self.row(row),
            Entry::Section(section) => section,
        };
        match section.many {
            Many::Named(names) => Doc::Mapping(vec![(names.example.to_owned(), self.mapping(section))]),
            Many::List => {
                let items = (0..self.random.usize(1..4)).map(|_| match section.short_form {
                    Some((row, _)) if self.random.bool() => self.value(row),
                    _ => self.mapping(section),
                });
                Doc::List(items.collect())
            }
            _ if section.can_be_off && self.random.u8(..) < 50 => Doc::Text("off".to_owned()),
            _ => self.mapping(section),
        }
    }

    fn row(&mut self, row: &'static Row) -> Doc {
        match row.many {
            Many::Named(names) => Doc::Text(format!("{{ {}: x }}", names.example)),
            Many::One => self.value(row),
            Many::OneOrList | Many::OneOrListOrNone if self.random.bool() => self.value(row),
            _ => Doc::List(vec![self.value(row)]),
        }
    }

    /// A value that fits.
    fn value(&mut self, row: &'static Row) -> Doc {
        self.count += 1;
        let count = self.count;
        let good: Vec<String> = match row.name {
            "address" => vec![
                format!("127.1.{}.{}:80", count >> 8 & 255, count & 255),
                format!("unix:/run/{count}.sock"),
            ],
            "url" => {
                vec![format!("https://s{count}.test"), format!("'h2s://S{count}.test:{}'", 1 + count % 65535)]
            }
            "certificate" | "client_ca" | "ca" => vec![self.file("cert.pem")],
            "key" if row.kind == "PEM file" => vec![self.file("key.pem")],
            "trusted_proxies" => ["unix", "10.0.0.0/8", "'2001:db8::/32'"].map(str::to_owned).to_vec(),
            "models" => ["gpt-4o", "7"].map(str::to_owned).to_vec(),
            "balance" => ["least_streams", "p2c"].map(str::to_owned).to_vec(),
            "backup" => vec!["false".to_owned()],
            "base_ejection_time" => ["1s", "5s 500ms"].map(str::to_owned).to_vec(),
            "max_ejection_time" => ["1h", "10m"].map(str::to_owned).to_vec(),
            "attempts" => ["2", "'3'"].map(str::to_owned).to_vec(),
            _ => words(&row.shape)
                .into_iter()
                .map(|word| format!("'{word}'"))
                .chain(match row.absent {
                    Absent::Default(default) => Some(default.to_owned()),
                    _ => None,
                })
                .chain(
                    Some(row.example.to_owned())
                        .filter(|example| !example.is_empty() && !example.starts_with('[')),
                )
                .collect(),
        };
        Doc::Text(good[self.random.usize(..good.len())].clone())
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Changes one value, drops one key or adds one.
    pub fn mutate(&mut self, doc: &mut Doc) {
        let place = self.random.usize(..size(doc));
        let odd = match self.random.u8(..8) {
            0 => SHAPES[self.random.usize(..SHAPES.len())],
            _ => ODD[self.random.usize(..ODD.len())],
        };
        let doc = at(doc, &mut place.clone()).expect("a node");
        match (self.random.u8(..6), doc) {
            (0, Doc::Mapping(keys)) => keys.push(("unknown".to_owned(), Doc::Text(odd.to_owned()))),
            (1..4, Doc::Mapping(keys)) if !keys.is_empty() => {
                keys.remove(self.random.usize(..keys.len()));
            }
            (_, doc) => *doc = Doc::Text(odd.to_owned()),
        }
    }
}

/// The closed set of words that a shape is.
fn words(shape: &ValueShape) -> Vec<&'static str> {
    if let ValueShape::Words(words) = shape { words() } else { Vec::new() }
}

fn size(doc: &Doc) -> usize {
    1 + match doc {
        Doc::List(items) => items.iter().map(size).sum(),
        Doc::Mapping(keys) => keys.iter().map(|(_, doc)| size(doc)).sum(),
        Doc::Text(_) => 0,
    }
}

/// The node with this number, from the top.
fn at<'a>(doc: &'a mut Doc, number: &mut usize) -> Option<&'a mut Doc> {
    if *number == 0 {
        return Some(doc);
    }
    *number -= 1;
    match doc {
        Doc::List(items) => items.iter_mut().find_map(|doc| at(doc, number)),
        Doc::Mapping(keys) => keys.iter_mut().find_map(|(_, doc)| at(doc, number)),
        Doc::Text(_) => None,
    }
}

pub fn yaml(doc: &Doc) -> String {
    match doc {
        Doc::Text(text) => text.clone(),
        Doc::List(items) => format!("[{}]", items.iter().map(yaml).collect::<Vec<_>>().join(", ")),
        Doc::Mapping(keys) => {
            let keys: Vec<String> = keys.iter().map(|(key, doc)| format!("{key}: {}", yaml(doc))).collect();
            format!("{{ {} }}", keys.join(", "))
        }
    }
}
