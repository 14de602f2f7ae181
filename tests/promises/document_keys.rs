//! The keys that the documents name exist, their values are valid, and the defaults in prose are those of the program.

use serde_yaml::{Mapping, Value};
use sidestream::config;

use crate::kit::keys::{KEYS, keys, plain};
use crate::kit::markdown::{Page, Piece, all_exist, is_foreign, pages, read, root};

/// A configuration that most keys can be added to.
const PLAIN: &str = "
listeners: [{ address: 127.0.0.1:8080 }]
upstreams: { llm: { servers: [{ url: http://llm.test:8000 }] } }
routes: [{ match: { path: / }, upstream: llm }]
";

/// The same with the keys that others require.
const RICH: &str = "
listeners: [{ address: 127.0.0.1:8080 }]
upstreams:
  llm:
    servers: [{ url: https://llm.test:8000 }]
    max_streams: 4
    queue: { size: 10 }
    balance: hash
    hash: { key: address }
    health: { path: /health }
routes: [{ match: { path: / }, upstream: llm }]
";

/// Fields of events and of other programs that look like `key: value`.
const NO_KEYS: [&str; 5] = ["data: ", "event: ", "finish_reason: ", "image: ", "timeout: 0s"];

/// Adds `overlay` to `base`. Of two lists of mappings, the first entries become one.
fn merge(base: &mut Value, overlay: Value) {
    match (base, overlay) {
        (Value::Mapping(base), Value::Mapping(overlay)) => {
            for (key, value) in overlay {
                match base.get_mut(&key) {
                    Some(known) => merge(known, value),
                    None => drop(base.insert(key, value)),
                }
            }
        }
        (Value::Sequence(base), Value::Sequence(overlay))
            if base.first().is_some_and(Value::is_mapping)
                && overlay.first().is_some_and(Value::is_mapping) =>
        {
            let mut overlay = overlay.into_iter();
            if let (Some(base), Some(first)) = (base.first_mut(), overlay.next()) {
                merge(base, first);
            }
            base.extend(overlay);
        }
        (base, overlay) => *base = overlay,
    }
}

/// A value at the place of a section, in the first entry of lists and in the upstream `llm`.
fn placed(section: &str, value: Value) -> Value {
    section.rsplit('.').filter(|part| !part.is_empty()).fold(value, |value, part| {
        let (name, value) = match part.strip_suffix("[]") {
            Some(name) => (name, Value::Sequence(vec![value])),
            None if part == "NAME" => ("llm", value),
            None => (part, value),
        };
        Value::Mapping(Mapping::from_iter([(name.into(), value)]))
    })
}

/// Why the keys are not valid in any section that has all of them; `None` if they are.
fn mistake(keys: &Mapping) -> Option<String> {
    let names: Vec<&str> = keys.keys().filter_map(Value::as_str).collect();
    let (extensions, names): (Vec<&str>, Vec<&str>) =
        names.into_iter().partition(|name| name.starts_with("x-"));
    let mut sections: Vec<&str> = KEYS.iter().map(|key| key.section.as_str()).collect();
    sections.dedup();
    let has = |section: &str, name: &str| KEYS.iter().any(|key| key.section == section && key.name == name);
    sections.retain(|section| names.iter().all(|name| has(section, name)));
    sections.retain(|section| extensions.is_empty() || section.is_empty());
    let mut mistake = format!("no section has all of {}", names.join(", "));
    for section in sections {
        for base in [PLAIN, RICH] {
            let mut file: Value = serde_yaml::from_str(base).expect("YAML");
            merge(&mut file, placed(section, Value::Mapping(keys.clone())));
            let text = serde_yaml::to_string(&file).expect("YAML");
            match config::parse_with(&text, "merged", &variable) {
                Ok(_) => return None,
                Err(error) if names_absent_files_only(&error.to_string()) => return None,
                Err(error) => mistake = error.to_string(),
            }
        }
    }
    Some(mistake)
}

/// The certificates of the examples do not exist here.
fn names_absent_files_only(error: &str) -> bool {
    error.matches("merged:").count() == error.matches(": No such file or directory").count()
}

/// The variables of the examples stand for URLs, tokens and texts.
fn variable(name: &str) -> Option<std::ffi::OsString> {
    Some(if name.ends_with("TOKEN") { "0123456789abcdef" } else { "http://127.0.0.1:8000" }.into())
}

fn mapping(yaml: &str) -> Option<Mapping> {
    serde_yaml::from_str::<Value>(yaml).ok()?.as_mapping().cloned()
}

/// The `key: value` of a span; `a | b` stands for alternatives.
fn key_and_values(span: &str) -> Option<(&str, Vec<String>)> {
    let (key, value) = span.split_once(": ")?;
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    (!key.is_empty() && key.chars().all(is_part) && !span.contains('…'))
        .then(|| (key, value.split(" | ").map(|value| format!("{key}: {value}")).collect()))
}

#[test]
fn keys_in_code_spans_exist_and_their_values_are_valid() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        for span in page.spans() {
            let Some((key, lines)) = key_and_values(&span.text) else { continue };
            let is_no_key = NO_KEYS.iter().any(|start| span.text.starts_with(start));
            let is_other = is_no_key || (is_foreign(&page) && keys(key).is_empty());
            for line in lines.iter().filter(|_| !is_other) {
                count += 1;
                let mistake = mapping(line).map_or(Some("not YAML".to_owned()), |keys| mistake(&keys));
                wrong.extend(mistake.map(|why| Piece { text: format!("{line}: {why}"), ..span.clone() }));
            }
        }
    }
    assert!(count > 40, "{count} keys");
    all_exist(&wrong);
}

#[test]
fn parts_of_configurations_are_valid() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        for block in page.code.iter().filter(|block| block.language == "yaml") {
            let Some(part) = mapping(&block.text) else { continue };
            let is_whole = ["listeners", "upstreams"].iter().all(|key| part.contains_key(*key));
            let is_own = part.keys().any(|key| key.as_str().is_some_and(|key| !keys(key).is_empty()));
            if !is_whole && (is_own || !is_foreign(&page)) {
                count += 1;
                wrong.extend(mistake(&part).map(|text| Piece { text, place: block.place.clone() }));
            }
        }
    }
    assert!(count > 25, "{count} configurations");
    all_exist(&wrong);
}

#[test]
fn keys_with_their_path_exist() {
    let sections: Vec<String> = KEYS
        .iter()
        .flat_map(|key| plain(&key.section).split('.').map(str::to_owned).collect::<Vec<_>>())
        .filter(|name| !name.is_empty())
        .collect();
    let source = |file: &str| read(&root().join("src").join(file));
    let (log, streams) = (source("telemetry/log_line.rs"), source("admin/upstreams.rs"));
    let is_field = |path: &str| log.contains(&format!("(\"{path}\""));
    let is_member = |path: &str| {
        path.strip_prefix("servers[].").is_some_and(|name| streams.contains(&format!("\"{name}\"")))
    };
    let mut count = 0;
    let mut is_missing = |span: &Piece| {
        let path = span.text.strip_prefix("config.").unwrap_or(&span.text);
        let is_part = |part: &str| {
            let name = part.trim_end_matches("[]");
            part == "NAME" || !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        let first = path.split(['.', '[']).next().unwrap_or_default();
        let is_file = [".rs", ".py", ".yaml"].iter().any(|end| path.ends_with(end));
        let is_path = path.contains(['.', '[']) && path.split('.').all(is_part) && !is_file;
        if !is_path || !sections.iter().any(|name| name == first) {
            return false;
        }
        count += 1;
        keys(path).is_empty() && !is_field(path) && !is_member(path)
    };
    let missing: Vec<Piece> = pages().iter().flat_map(Page::spans).filter(|span| is_missing(span)).collect();
    assert!(count > 60, "{count} paths");
    all_exist(&missing);
}

/// A duration or size as configurations have it: `5m` for `5 min`.
fn figure(text: &str) -> Option<String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "min" => "m",
        unit @ ("" | "ms" | "s" | "h" | "KiB" | "MiB" | "GiB") => unit,
        _ => return None,
    };
    (!number.is_empty())
        .then(|| format!("{number}{unit}"))
        .or_else(|| (text == "off").then(|| text.to_owned()))
}

fn has_default(key: &str, default: &str) -> bool {
    let is_zero = |text: &str| text.trim_end_matches(char::is_alphabetic) == "0";
    keys(key).iter().any(|key| key.default == default || is_zero(&key.default) && is_zero(default))
}

/// As in "`stream.heartbeat` (15 s)".
#[test]
fn defaults_in_prose_are_those_of_the_program() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        for paragraph in page.prose.split("\n\n") {
            let text = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
            let parts: Vec<&str> = text.split('`').collect();
            for pair in parts[1..].chunks_exact(2).filter(|pair| !keys(pair[0]).is_empty()) {
                let after =
                    pair[1].strip_prefix(" (").and_then(|after| after.split([')', ',', ';', ':']).next());
                let Some(default) = after.and_then(figure) else { continue };
                count += 1;
                if !has_default(pair[0], &default) {
                    wrong
                        .push(Piece { place: page.name.clone(), text: format!("`{}` ({default})", pair[0]) });
                }
            }
        }
    }
    assert!(count > 15, "{count} defaults");
    all_exist(&wrong);
}

/// The tables that have a column for keys and one for their defaults, except the generated ones.
#[test]
fn defaults_in_tables_are_those_of_the_program() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        let mut columns = None;
        for line in page.prose.lines() {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let column = |name: &str| cells.iter().position(|cell| *cell == name);
            if !line.starts_with('|') || (column("key").is_some() && column("type").is_some()) {
                columns = None;
            } else if let (Some(key), Some(default)) = (column("key"), column("default")) {
                columns = Some((key, default));
            } else if let Some((key, default)) = columns {
                let (key, default) = (cells[key].trim_matches('`'), cells[default]);
                let written = figure(default).unwrap_or_else(|| default.to_owned());
                if key.starts_with(|c: char| c.is_ascii_lowercase()) {
                    count += 1;
                    if !has_default(key, &written) {
                        wrong.push(Piece { place: page.name.clone(), text: format!("`{key}`: {default}") });
                    }
                }
            }
        }
    }
    assert!(count > 6, "{count} defaults");
    all_exist(&wrong);
}
