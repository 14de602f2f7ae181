//! The order of the modules: arrows point down the map only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The modules from the top to the bottom: each may use what stands below it, and nothing else of this crate.
const MAP: [&str; 18] = [
    "main",
    "cli",
    "demo",
    "process",
    "admin",
    "doctor",
    "exchange",
    "downstream",
    "routing",
    "upstream",
    "headers",
    "telemetry",
    "config",
    "net",
    "session",
    "http1",
    "outcome",
    "content_coding",
];

/// What does no input or output. It stands at the bottom.
const SANS_IO: [&str; 4] = ["session", "http1", "outcome", "content_coding"];

/// What the rest may use and these may not.
const OUTSIDE: [&str; 6] = ["tokio", "pingora", "prometheus", "Instant::now", "SystemTime::now", "tracing::"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The files of a module, with what they say outside of tests.
fn files(module: &str) -> Vec<(PathBuf, String)> {
    let mut paths = vec![source().join(format!("{module}.rs"))];
    let mut folders = vec![source().join(module)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { paths.push(path) }
        }
    }
    let files = paths.into_iter().filter_map(|path| {
        let text = std::fs::read_to_string(&path).ok()?;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines();
        let code = code.filter(|line| !line.trim_start().starts_with("//"));
        Some((path, code.collect::<Vec<_>>().join("\n")))
    });
    files.collect()
}

/// The modules of this crate that a text names.
fn imports(code: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let after = |at: usize| code[at..].split(|c| !is_name(c)).next().unwrap_or_default();
    let library = code.match_indices("use sidestream::").map(|(at, text)| at + text.len());
    code.match_indices("crate::").map(|(at, text)| at + text.len()).chain(library).map(after).collect()
}

#[test]
fn modules_use_only_what_stands_below_them() {
    for (place, module) in MAP.iter().enumerate() {
        let files = files(module);
        assert!(!files.is_empty(), "there is no module {module}");
        for (path, code) in files {
            for import in imports(&code) {
                let is_below = MAP[place..].contains(&import);
                assert!(is_below, "{} imports {import}, which does not stand below {module}", path.display());
            }
        }
    }
}

#[test]
fn what_does_no_input_or_output_has_neither_runtime_nor_clock() {
    for module in SANS_IO {
        for (path, code) in files(module) {
            for outside in OUTSIDE {
                assert!(!code.contains(outside), "{} uses {outside}", path.display());
            }
        }
    }
}

#[test]
fn what_crosses_the_seam_to_pingora_stands_in_one_file() {
    let seam = source().join("net/pingora.rs");
    for module in MAP {
        for (path, code) in files(module).into_iter().filter(|(path, _)| *path != seam) {
            let code = code.replace("net::pingora::", "");
            assert!(!code.contains("pingora::"), "{} uses pingora", path.display());
        }
    }
}

#[test]
fn every_module_has_a_place_in_the_map() {
    for entry in std::fs::read_dir(source()).expect("sources") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let module = name.trim_end_matches(".rs");
        assert!(module == "lib" || MAP.contains(&module), "{module} has no place here: say what it may use");
    }
}

#[test]
fn no_two_types_have_one_name() {
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (path, code) in MAP.iter().flat_map(|module| files(module)) {
        for name in code.lines().filter_map(type_name) {
            places.entry(name.to_owned()).or_default().push(path.clone());
        }
    }
    let twice: Vec<_> = places.iter().filter(|(_, paths)| paths.len() > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// The name of the type that a line defines.
fn type_name(line: &str) -> Option<&str> {
    let words = ["struct", "enum", "trait", "union"];
    let mut parts = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
    parts.next().filter(|word| words.contains(word))?;
    parts.next()?.split(|c: char| !c.is_ascii_alphanumeric()).next()
}
