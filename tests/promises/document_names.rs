//! What the documents name exists: links, files, metrics, make targets, tests and environment variables.

use std::collections::BTreeSet;
use std::path::Path;

use sidestream::config;
use sidestream::telemetry::metrics::families::{self, MetricKind};

use crate::kit::markdown::{Page, Piece, all_exist, files, is_foreign, pages, read, root};

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

/// The family of a metric or of one of the series that a histogram has.
fn family(name: &str) -> Option<&'static families::Family> {
    let is_series = |family: &&families::Family| {
        let suffix = name.strip_prefix(family.name);
        suffix.is_some_and(|suffix| match family.kind {
            MetricKind::Histogram => matches!(suffix, "" | "_bucket" | "_sum" | "_count"),
            MetricKind::Counter | MetricKind::Gauge => suffix.is_empty(),
        })
    };
    families::ALL.iter().find(is_series)
}

#[test]
fn metrics_exist() {
    let looks_like_one = |name: &&str| {
        name.strip_prefix("sidestream_")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let unknown = |piece: Piece| {
        let unknown = names(&piece.text).filter(looks_like_one).find(|name| family(name).is_none())?;
        Some(Piece { text: unknown.to_owned(), place: piece.place })
    };
    let pieces = |page: Page| page.all_code().into_iter().chain(page.lines()).collect::<Vec<_>>();
    let missing = pages().into_iter().flat_map(pieces).filter_map(unknown);
    all_exist(&missing.collect::<Vec<_>>());
}

/// As in `sidestream_streams_total{outcome="client_gone"}`.
#[test]
fn labels_exist() {
    let mut count = 0;
    let mut missing = Vec::new();
    for piece in pages().iter().flat_map(Page::all_code) {
        for (before, after) in piece.text.match_indices('{').map(|(at, _)| piece.text.split_at(at)) {
            let Some(family) = before.rsplit(|c| !is_part_of_name(c)).next().and_then(family) else {
                continue;
            };
            let labels = after[1..].split('}').next().unwrap_or_default().split(',');
            for (label, _) in labels.filter_map(|label| label.split_once('=')) {
                let label = label.trim_matches(|c| !is_part_of_name(c));
                count += 1;
                if label != "le" && !family.labels.contains(&label) {
                    missing.push(Piece { text: format!("{}{{{label}}}", family.name), ..piece.clone() });
                }
            }
        }
    }
    assert!(count > 5, "{count} labels");
    all_exist(&missing);
}

#[test]
fn make_targets_exist() {
    let makefile = read(&root().join("Makefile"));
    let rules = makefile.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let targets: Vec<&str> =
        rules.filter_map(|line| line.split_once(':')).flat_map(|(targets, _)| targets.split(' ')).collect();
    let missing_of = |piece: Piece| {
        let command = piece.text.split('#').next().unwrap_or_default();
        let words: Vec<&str> = command.split_whitespace().collect();
        let target = words.windows(2).filter(|pair| pair[0] == "make").map(|pair| pair[1]);
        let missing = target.into_iter().find(|target| !target.contains('=') && !targets.contains(target))?;
        Some(Piece { text: format!("make {missing}"), ..piece.clone() })
    };
    let missing = pages().into_iter().flat_map(|page| page.all_code()).filter_map(missing_of);
    all_exist(&missing.collect::<Vec<_>>());
}

/// Words of other programs, of the kernel and of patterns.
const OTHER_WORDS: [&str; 19] = [
    "Fixes",
    "SO_REUSEPORT",
    "Unreleased",
    "activate",
    "epoll_wait",
    "getsockopt",
    "ip_local_port_range",
    "ipv4",
    "kubectl",
    "perf",
    "pkill",
    "recvfrom",
    "sidestream_X",
    "strace",
    "vX",
    "writev",
    "--max-running-requests",
    "--wait",
    "--workspace",
];

/// A word or flag in a code span or a command stands in a file that is not a document: the program, a test or a configuration.
#[test]
fn words_in_code_stand_somewhere_else_too() {
    let paths = files().into_iter().filter(|name| !name.ends_with(".md"));
    let bytes: Vec<Vec<u8>> = paths.filter_map(|name| std::fs::read(root().join(name)).ok()).collect();
    let program: Vec<String> =
        bytes.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
    let is_part_of_flag = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut known: BTreeSet<&str> = program.iter().flat_map(|text| names(text)).collect();
    known.extend(
        program
            .iter()
            .flat_map(|text| text.split(|c| !is_part_of_flag(c)))
            .filter(|word| word.starts_with("--")),
    );
    let unknown = |piece: &Piece| {
        let flags = piece.text.split([' ', '=']).filter(|word| word.starts_with("--") && word.len() > 2);
        let words = names(&piece.text).filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()));
        // As in `body:MEMBER`.
        let is_placeholder = |word: &str| word.chars().all(|c| c.is_ascii_uppercase());
        let is_unknown =
            |word: &&str| !known.contains(word) && !OTHER_WORDS.contains(word) && !is_placeholder(word);
        let word = flags.chain(words).find(is_unknown)?;
        Some(Piece { text: format!("`{word}` in `{}`", piece.text), ..piece.clone() })
    };
    let is_whole = |piece: &Piece| !piece.text.contains('…');
    let pages = pages().into_iter().filter(|page| !is_foreign(page));
    let pieces =
        pages.flat_map(|page| page.spans().into_iter().chain(page.shell_lines()).collect::<Vec<_>>());
    let missing = pieces.filter(is_whole).filter_map(|piece| unknown(&piece));
    all_exist(&missing.collect::<Vec<_>>());
}

/// A row of the map names a folder, and in other cells files in it.
#[test]
fn the_map_names_files_in_their_folders() {
    let files = files();
    let pages = pages();
    let page = pages.iter().find(|page| page.name == "ARCHITECTURE.md").expect("the map");
    let mut folders = Vec::new();
    let mut count = 0;
    let mut missing = Vec::new();
    for line in page.lines().iter().filter(|line| line.text.starts_with('|')) {
        let spans: Vec<&str> = line.text.split('`').skip(1).step_by(2).collect();
        if line.text.starts_with("| `") {
            folders = spans.iter().copied().filter(|span| span.ends_with('/')).collect();
        }
        let is_file = |span: &&&str| span.ends_with(".rs") || span.ends_with(".yaml");
        let named = spans.iter().filter(is_file).filter(|span| !span.starts_with("tests/"));
        for span in named {
            let is_at = |file: &&String| {
                let is_below = folders.iter().any(|folder| file.starts_with(&format!("src/{folder}")));
                Path::new(file).ends_with(span) && (is_below || ***file == format!("src/{span}"))
            };
            count += 1;
            if !files.iter().any(|file| is_at(&file)) {
                missing.push(Piece { text: format!("{} has no {span}", folders.join(", ")), ..line.clone() });
            }
        }
    }
    assert!(count > 80, "{count} files");
    all_exist(&missing);
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
    let pieces = pages().into_iter().filter(|page| !is_foreign(page)).flat_map(|page| page.all_code());
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
