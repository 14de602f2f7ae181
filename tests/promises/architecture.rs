//! The order of the modules: arrows point down the map only.

use std::path::{Path, PathBuf};

/// What does no input or output, from the top to the bottom: each may use what stands below it, and nothing else of this crate.
const SANS_IO: [&str; 4] = ["session", "http1", "outcome", "content_coding"];

/// Modules of the shell, which stand above.
const SHELL: [&str; 15] = [
    "access_log",
    "admin",
    "config",
    "demo",
    "downstream",
    "metrics",
    "proxy",
    "server",
    "service",
    "streams",
    "transport",
    "upstream",
    "websocket",
    "main",
    "man",
];

/// What only the shell may use.
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
    let after = |(at, _): (usize, &str)| {
        code[at + "crate::".len()..].split(|c| !is_name(c)).next().unwrap_or_default()
    };
    code.match_indices("crate::").map(after).collect()
}

#[test]
fn what_does_no_input_or_output_uses_only_what_stands_below_it() {
    for (place, module) in SANS_IO.iter().enumerate() {
        let files = files(module);
        assert!(!files.is_empty(), "there is no module {module}");
        for (path, code) in files {
            for import in imports(&code) {
                let is_below = SANS_IO[place..].contains(&import);
                assert!(is_below, "{} imports {import}, which does not stand below {module}", path.display());
            }
            // Heads are converted to and from pingora's where they stand.
            for outside in OUTSIDE.iter().filter(|outside| (**outside, *module) != ("pingora", "http1")) {
                assert!(!code.contains(outside), "{} uses {outside}", path.display());
            }
        }
    }
}

#[test]
fn every_module_has_a_place_in_the_map() {
    for entry in std::fs::read_dir(source()).expect("sources") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let module = name.trim_end_matches(".rs");
        assert!(
            module == "lib" || SANS_IO.contains(&module) || SHELL.contains(&module),
            "{module} has no place here: say which modules it may use"
        );
    }
}
