//! What the documents name exists: links, files, metrics, make targets, tests and environment variables.

use std::path::Path;

use sidestream::config;
use sidestream::telemetry::metrics::families::{self, MetricKind};

use crate::kit::markdown::{Page, Piece, files, pages, read, root};

/// Fails with the places of all names that do not exist.
fn all_exist(missing: &[Piece]) {
    let lines: Vec<String> = missing.iter().map(|piece| format!("{}: {}", piece.place, piece.text)).collect();
    assert!(missing.is_empty(), "these do not exist:\n{}", lines.join("\n"));
}

fn is_part_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_part_of_name(c)).filter(|name| !name.is_empty())
}

/// Whether a name stands for others, such as `NAME.rs`, `X.Y.Z` or `tests/*`.
fn is_pattern(text: &str) -> bool {
    let is_upper = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase());
    text.contains(['*', '…', '<', '$', '{']) || text.split(|c: char| !c.is_alphanumeric()).any(is_upper)
}

#[test]
fn links_lead_somewhere() {
    let pages = pages();
    let leads_nowhere = |page: &Page, link: &Piece| {
        let (file, anchor) = link.text.split_once('#').unwrap_or((&link.text, ""));
        let path = if file.is_empty() { root().join(&page.name) } else { page.folder().join(file) };
        let Ok(path) = path.canonicalize() else { return true };
        let is_target = |other: &&Page| root().join(&other.name).canonicalize().is_ok_and(|at| at == path);
        let target = pages.iter().find(is_target);
        !anchor.is_empty() && target.is_some_and(|page| !page.anchors().iter().any(|known| known == anchor))
    };
    let is_relative = |link: &Piece| !link.text.contains("://") && !link.text.starts_with("mailto:");
    let missing = pages.iter().flat_map(|page| {
        let links = page.links().into_iter().filter(is_relative);
        links.filter(|link| leads_nowhere(page, link)).collect::<Vec<_>>()
    });
    all_exist(&missing.collect::<Vec<_>>());
}

#[test]
fn metrics_exist() {
    let is_metric = |name: &str| {
        let is_series = |family: &families::Family| {
            let suffix = name.strip_prefix(family.name);
            suffix.is_some_and(|suffix| match family.kind {
                MetricKind::Histogram => matches!(suffix, "" | "_bucket" | "_sum" | "_count"),
                MetricKind::Counter | MetricKind::Gauge => suffix.is_empty(),
            })
        };
        families::ALL.iter().any(is_series)
    };
    let looks_like_one = |name: &&str| {
        name.strip_prefix("sidestream_")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let unknown = |piece: Piece| {
        let unknown = names(&piece.text).filter(looks_like_one).find(|name| !is_metric(name))?;
        Some(Piece { text: unknown.to_owned(), place: piece.place })
    };
    let missing = pages().into_iter().flat_map(|page| page.all_code()).filter_map(unknown);
    all_exist(&missing.collect::<Vec<_>>());
}

#[test]
fn make_targets_exist() {
    let makefile = read(&root().join("Makefile"));
    let rules = makefile.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let targets: Vec<&str> =
        rules.filter_map(|line| line.split_once(':')).flat_map(|(targets, _)| targets.split(' ')).collect();
    let is_missing = |piece: &Piece| {
        let target = piece.text.strip_prefix("make ").and_then(|rest| rest.split_whitespace().next());
        target.is_some_and(|target| !targets.contains(&target))
    };
    let missing = pages().into_iter().flat_map(|page| page.all_code()).filter(is_missing);
    all_exist(&missing.collect::<Vec<_>>());
}

/// A path may begin at the top of the repository, or at any folder that the text speaks of.
#[test]
fn files_exist() {
    let files = files();
    let extension = |name: &str| Path::new(name).extension().and_then(|end| end.to_str()).map(str::to_owned);
    let mut extensions: Vec<String> = files.iter().filter_map(|name| extension(name)).collect();
    extensions.sort_unstable();
    extensions.dedup();
    let looks_like_one = |text: &str| {
        let is_path = text.contains('/') && !text.starts_with(['/', '.']) && !text.contains("://");
        let is_source = extension(text).is_some_and(|end| end == "rs" || end == "py");
        let is_known = extension(text).is_some_and(|end| extensions.contains(&end));
        let is_plain = !text.contains([' ', ':', '=']) && !is_pattern(text) && !text.starts_with("target/");
        (is_path || is_source) && is_known && is_plain
    };
    let exists = |text: &str| files.iter().any(|file| Path::new(file).ends_with(text));
    let is_missing = |span: &Piece| looks_like_one(&span.text) && !exists(&span.text);
    let missing = pages().into_iter().flat_map(|page| page.spans()).filter(is_missing);
    all_exist(&missing.collect::<Vec<_>>());
}

/// Names of the socket API look like variables.
const SOCKET_API: [&str; 3] = ["MSG_", "SO_", "TCP_"];

/// A variable is read where its name stands in a file that is not a document.
#[test]
fn environment_variables_are_read_somewhere() {
    let is_text = |name: &String| !name.ends_with(".md");
    let bytes: Vec<Vec<u8>> = files()
        .iter()
        .filter(|name| is_text(name))
        .filter_map(|name| std::fs::read(root().join(name)).ok())
        .collect();
    let program = bytes.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect::<Vec<_>>().join("\n");
    let mut known: Vec<&str> = names(&program).filter(|name| is_variable(name)).collect();
    known.sort_unstable();
    known.dedup();
    let unknown = |piece: &Piece| {
        let assigned = piece.text.split(' ').filter_map(|word| word.split_once('=')).map(|(name, _)| name);
        let named = Some(piece.text.as_str()).filter(|text| text.contains('_'));
        let variables = assigned.chain(named).filter(|name| is_variable(name));
        let unknown: Vec<&str> = variables.filter(|name| known.binary_search(name).is_err()).collect();
        Some(unknown.join(", ")).filter(|unknown| !unknown.is_empty())
    };
    // These pages name variables of other programs.
    let is_own =
        |page: &Page| !page.name.starts_with("docs/in-front-of/") && !page.name.starts_with("docs/behind/");
    let pieces = pages().into_iter().filter(is_own).flat_map(|page| page.all_code());
    let missing = pieces.filter_map(|piece| unknown(&piece).map(|text| Piece { text, place: piece.place }));
    all_exist(&missing.collect::<Vec<_>>());
}

fn is_variable(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let is_constant = SOCKET_API.iter().any(|prefix| name.starts_with(prefix));
    name.len() > 2
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(is_part)
        && !is_constant
}

/// A test is named with its module, such as `operates::what_needs_a_restart…`; three dots stand for the rest of its name.
#[test]
fn tests_exist() {
    let files = files();
    let is_missing = |span: &Piece| {
        let Some((module, test)) = span.text.rsplit_once("::") else { return false };
        let is_type = test.starts_with(|c: char| c.is_ascii_uppercase());
        let path = format!("tests/promises/{}", module.replace("::", "/"));
        let of_module = files.iter().filter(|file| {
            file.strip_prefix(&path).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        });
        let of_module: Vec<&String> = of_module.collect();
        let function = format!("fn {}", test.trim_end_matches('…'));
        let is_module = |file: &&String| file.ends_with(&format!("/{test}.rs"));
        let has_test = |file: &&String| read(&root().join(file)).contains(&function);
        !is_type && !of_module.is_empty() && !of_module.iter().any(|file| is_module(file) || has_test(file))
    };
    let missing = pages().into_iter().flat_map(|page| page.spans()).filter(is_missing);
    all_exist(&missing.collect::<Vec<_>>());
}

#[test]
fn configurations_are_valid() {
    let mut count = 0;
    for block in pages().into_iter().flat_map(|page| page.code) {
        let is_whole = ["listeners:", "upstreams:"].iter().all(|key| block.text.contains(key));
        if block.language == "yaml" && is_whole {
            // A variable without a default stands for a URL or a text here, and a URL is either.
            let has_default = |name: &str| block.text.contains(&format!("${{{name}:-"));
            let variable = |name: &str| (!has_default(name)).then(|| "http://127.0.0.1:8000".into());
            let config = config::parse_with(&block.text, &block.place, &variable);
            assert!(config.is_ok(), "{}", config.err().map(|error| error.to_string()).unwrap_or_default());
            count += 1;
        }
    }
    assert!(count > 1, "{count} configurations");
}
