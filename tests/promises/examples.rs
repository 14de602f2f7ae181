//! The examples are valid: every file in them is YAML, and every configuration in them is one that sidestream takes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_yaml::Value;
use sidestream::config::{self, Config};

/// Folders with files that people copy.
const FOLDERS: [&str; 3] = ["examples", "conf", ".github"];

/// All files below a folder of this repository, but for templates, which are YAML only once they are filled in.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let below = |path: PathBuf| match path {
        path if path.ends_with("templates") => Vec::new(),
        path if path.is_dir() => files(&path),
        path => vec![path],
    };
    entries.flat_map(below).collect()
}

/// The documents of every YAML file that people copy, with the name of their file.
fn documents() -> Vec<(String, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = FOLDERS.iter().flat_map(|folder| files(&root.join(folder)));
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).expect("a file of ours").display().to_string();
        let text = std::fs::read_to_string(&path).expect("a file");
        let parse = |document| {
            Value::deserialize(document).unwrap_or_else(|error| panic!("{name} is not YAML: {error}"))
        };
        let documents: Vec<Value> = serde_yaml::Deserializer::from_str(&text).map(parse).collect();
        documents.into_iter().map(move |document| (name.clone(), document))
    };
    files.filter(is_yaml).flat_map(read).collect()
}

/// The configuration of sidestream that a document is or holds.
fn configuration(name: &str, document: &Value) -> Option<Config> {
    let text = if let Some(text) = document["data"]["sidestream.yaml"].as_str() {
        text.to_owned()
    } else if name.ends_with("/sidestream.yaml") {
        serde_yaml::to_string(document).expect("YAML")
    } else if name.ends_with("/values.yaml") {
        serde_yaml::to_string(&document["config"]).expect("YAML")
    } else {
        return None;
    };
    // The environment of whoever runs the tests decides nothing.
    let config = config::parse_with(&text, name, &|_| None);
    Some(config.unwrap_or_else(|error| panic!("{error}")))
}

fn drain(config: &Config) -> Duration {
    config.server.drain_delay + config.server.drain_timeout
}

#[test]
fn every_file_is_yaml_and_every_configuration_is_valid() {
    let mut valid: Vec<String> = documents()
        .into_iter()
        .filter_map(|(name, document)| configuration(&name, &document).map(|_| name))
        .collect();
    valid.sort_unstable();
    for name in [
        "conf/kubernetes/gateway.yaml",
        "conf/kubernetes/sidecar.yaml",
        "conf/sidestream.yaml",
        "examples/compose/sidestream.yaml",
        "examples/helm/sidestream/values.yaml",
        "examples/kubernetes/sidecar-before-1.29.yaml",
        "examples/systemd/sidestream.yaml",
    ] {
        assert!(valid.iter().any(|valid| valid == name), "{name} is not among {valid:?}");
    }
}

#[test]
fn streams_are_drained_before_whoever_supervises_the_process_kills_it() {
    let documents = documents();
    let config_of = |name: &str| {
        let of_file = documents.iter().filter(|(other, _)| other == name);
        of_file
            .into_iter()
            .find_map(|(name, document)| configuration(name, document))
            .expect("a configuration")
    };
    let mut checked = 0;
    for (name, document) in &documents {
        let pod = &document["spec"]["template"]["spec"];
        let of_pod = pod["terminationGracePeriodSeconds"].as_u64();
        let of_chart = document["terminationGracePeriodSeconds"].as_u64();
        if let Some(seconds) = of_pod.or(of_chart) {
            assert!(drain(&config_of(name)) < Duration::from_secs(seconds), "{name}");
            checked += 1;
        }
    }
    assert!(checked >= 4, "{checked} pods");

    let (_, compose) = documents.iter().find(|(name, _)| name.ends_with("compose.yaml")).expect("a file");
    let grace = compose["services"]["sidestream"]["stop_grace_period"].as_str().expect("a duration");
    let seconds = grace.trim_end_matches('s').parse().expect("seconds");
    assert!(drain(&config_of("examples/compose/sidestream.yaml")) < Duration::from_secs(seconds), "{grace}");

    let unit = include_str!("../../examples/systemd/sidestream.service.d/drain.conf");
    let seconds = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("a time");
    let seconds = seconds.parse().expect("seconds");
    assert!(drain(&config_of("examples/systemd/sidestream.yaml")) < Duration::from_secs(seconds), "{unit}");
}

#[test]
fn they_name_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_text = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml" || end == "md");
    let mut named = 0;
    for path in FOLDERS.iter().flat_map(|folder| files(&root.join(folder))).filter(is_text) {
        let text = std::fs::read_to_string(&path).expect("a file");
        for (_, tag) in text.match_indices("sidestream:").map(|(at, name)| text.split_at(at + name.len())) {
            if tag.starts_with(|c: char| c.is_ascii_digit()) {
                assert!(tag.starts_with(version), "{} names another version", path.display());
                named += 1;
            }
        }
    }
    assert!(named >= 4, "{named}");
    let documents = documents();
    let (_, chart) = documents.iter().find(|(name, _)| name.ends_with("/Chart.yaml")).expect("a chart");
    assert_eq!((chart["version"].as_str(), chart["appVersion"].as_str()), (Some(version), Some(version)));
    let package = include_str!("../../packaging/changelog");
    assert!(
        package.starts_with(&format!("sidestream ({version}-")),
        "packaging/changelog is of another version"
    );
}
