//! What the pages of `docs/in-front-of/` say is valid, and real programs stream behind their configurations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use sidestream::config;
use sidestream::telemetry::metrics::families;

use crate::kit::drive;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The texts of these files by their names, without those that are not of one of these kinds.
fn texts(folder: &str, kinds: &[&str]) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_wanted =
        |path: &PathBuf| path.extension().is_some_and(|end| kinds.iter().any(|kind| end == *kind));
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    paths
        .filter(is_wanted)
        .map(|path| (name(&path), std::fs::read_to_string(&path).expect("a file")))
        .collect()
}

/// The pages, but for the index of them.
fn pages() -> BTreeMap<String, String> {
    let mut pages = texts("docs/in-front-of", &["md"]);
    pages.remove("README.md").expect("an index");
    assert!(pages.len() >= 9, "{:?}", pages.keys());
    pages
}

/// The blocks of code in this language; of none, `""`.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fences: Vec<&str> = page.split("```").collect();
    let inside = fences.iter().skip(1).step_by(2);
    inside.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

#[test]
fn every_configuration_is_valid_and_asks_whether_its_servers_are_up() {
    for (name, page) in pages() {
        let blocks = blocks(&page, "yaml");
        assert!(!blocks.is_empty(), "{name} has no configuration");
        for block in blocks {
            let config = config::parse(block, &name).unwrap_or_else(|error| panic!("{name}: {error}"));
            for upstream in &config.upstreams {
                assert!(upstream.health.is_some(), "{name}: `{}` has no health check", upstream.name);
            }
        }
    }
}

#[test]
fn every_command_line_is_one_that_the_program_takes() {
    for (name, page) in pages() {
        let joined = blocks(&page, "").join("\n").replace("\\\n", "");
        let lines: Vec<&str> = joined.lines().filter(|line| line.starts_with("sidestream ")).collect();
        assert!(lines.iter().any(|line| line.starts_with("sidestream doctor ")), "{name}: {lines:?}");
        for line in lines {
            // The shell splits it. With `--help` at its end it is parsed, and nothing is done.
            let script = format!("sidestream() {{ \"$PROGRAM\" \"$@\" --help; }}; {line}");
            let output = Command::new("sh")
                .args(["-c", &script])
                .env("PROGRAM", env!("CARGO_BIN_EXE_sidestream"))
                .output()
                .expect("a shell");
            assert!(output.status.success(), "{name}: {line}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn every_metric_exists() {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (name, page) in pages() {
        let named = page.split(|c| !is_name(c)).filter(|word| word.starts_with("sidestream_"));
        let named: Vec<&str> = named.collect();
        assert!(!named.is_empty(), "{name} says nothing of metrics");
        for metric in named {
            assert!(families::ALL.iter().any(|family| family.name == metric), "{name}: {metric}");
        }
    }
}

#[test]
fn the_code_of_the_pages_is_that_of_the_programs_that_are_run() {
    let mut programs = texts("tests/in_front_of", &["py", "mjs"]);
    programs.extend(texts("tests/in_front_of/app/chat", &["js"]));
    let mut count = 0;
    for (name, page) in pages() {
        for block in ["python", "js"].iter().flat_map(|language| blocks(&page, language)) {
            assert!(programs.values().any(|program| program.contains(block)), "{name}: nothing runs {block}");
            count += 1;
        }
    }
    assert!(count >= 3, "only {count} pages show code");
}

#[test]
fn the_index_has_every_page_and_no_page_is_long() {
    let index = std::fs::read_to_string(root().join("docs/in-front-of/README.md")).expect("an index");
    for (name, page) in pages() {
        assert!(index.contains(&format!("]({name}) |")), "the index lacks {name}");
        assert!(page.lines().count() <= 80, "{name} has {} lines", page.lines().count());
    }
}

#[test]
fn real_programs_stream_behind_the_configurations_of_their_pages() {
    drive("in_front_of/run.py", &[]);
}
