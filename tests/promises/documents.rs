//! What the documents say is what the program does.

use std::path::Path;

use sidestream::config;
use sidestream::doctor::finding_id::FindingId;
use sidestream::outcome;
use sidestream::session::dialect;
use sidestream::telemetry::metrics::{Metrics, families};

const SMALLEST: &str =
    "listeners: [{ address: 0.0.0.0:8080 }]\nupstreams: { llm: { servers: [http://127.0.0.1:8000] } }\n";

fn document(name: &str) -> (std::path::PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = std::fs::read_to_string(&path).expect("the document");
    (path, text)
}

/// `UPDATE_DOCUMENTS=1 cargo test documents` writes the table anew.
fn has_table(name: &str, table: &str) {
    let (_, text) = document(name);
    let (before, rest) = text.split_once("<!-- table -->\n").expect("a mark");
    let (_, after) = rest.split_once("<!-- /table -->").expect("a mark");
    is_generated(name, &format!("{before}<!-- table -->\n{table}<!-- /table -->{after}"));
}

/// The same, of a whole file.
fn is_generated(name: &str, new: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(path, new).expect("a file");
    } else {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        assert!(text == new, "{name} is out of date: UPDATE_DOCUMENTS=1 cargo test documents");
    }
}

#[test]
fn the_table_of_metrics_is_that_of_the_program() {
    has_table("docs/metrics.md", &families::table());
}

#[test]
fn the_table_of_failures_is_that_of_the_program() {
    has_table("docs/access-log.md", &outcome::table());
}

#[test]
fn the_table_of_dialects_is_that_of_the_program() {
    has_table("docs/dialects.md", &dialect::table());
}

#[test]
fn the_sample_file_is_that_of_the_table_of_keys() {
    is_generated("conf/sidestream.yaml", &config::sample_file());
}

#[test]
fn the_schema_of_the_configuration_is_that_of_the_table_of_keys() {
    is_generated("conf/sidestream.schema.json", &config::json_schema());
}

#[test]
fn the_reference_of_keys_is_that_of_the_table_of_keys() {
    has_table("docs/configuration.md", &config::reference());
}

#[test]
fn the_example_of_a_group_of_servers_is_a_valid_configuration() {
    let (path, text) = document("docs/servers.md");
    let examples: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 1, "{}", path.display());
    let config = config::parse(examples[0], "docs/servers.md").expect("a valid configuration");
    let upstream = &config.upstreams[0];
    let max_streams: Vec<_> =
        upstream.servers.iter().map(|server| server.max_streams.map(|max| max.get())).collect();
    assert_eq!(max_streams, [Some(64), Some(128), Some(64), Some(64)]);
    assert!(upstream.servers[2].is_each_address && upstream.servers[3].is_backup);
}

#[test]
fn the_page_about_servers_explains_the_keys_of_a_group() {
    let (_, text) = document("docs/servers.md");
    let effective = config::effective_yaml(&config::parse(SMALLEST, "smallest").expect("a configuration"));
    for key in ["balance", "queue", "health", "outlier_detection", "failover", "slow_start", "max_streams"] {
        assert!(effective.contains(&format!("{key}:")) && text.contains(key), "{key}");
    }
}

#[test]
fn every_metric_exists_from_the_start_and_no_other() {
    let metrics = Metrics::new(&config::MetricsPolicy::default()).expect("distinct names");
    metrics.route("default");
    metrics.upstream("llm");
    metrics.upstream("llm").show_queue(0, 0);
    let server = metrics.server("llm", "http://127.0.0.1:8000", &["balance"]);
    server.show(0, true);
    metrics.requests("default").count(200);
    let mut listed: Vec<&str> = families::ALL.iter().map(|family| family.name).collect();
    listed.sort_unstable();
    let mut gathered: Vec<String> = metrics.gather().iter().map(|family| family.name().to_owned()).collect();
    gathered.sort_unstable();
    // Those of the process have the names that Prometheus gives them everywhere.
    gathered.retain(|name| !name.starts_with("process_"));
    // Its series appear with the first stream, because their labels tell how streams ended.
    listed.retain(|name| *name != families::GEN_AI_REQUEST_DURATION.name);
    assert_eq!(gathered, listed);
}

#[test]
fn the_schema_of_what_the_doctor_says_has_every_finding() {
    let (path, text) = document("docs/doctor.schema.json");
    let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let ids = &schema["$defs"]["finding"]["properties"]["id"]["enum"];
    assert_eq!(*ids, serde_json::json!(FindingId::ALL), "{}", path.display());
}

/// The examples are written by `tests/doctor/chains.py --write`.
#[test]
fn the_guide_to_troubleshooting_has_examples_of_chains_and_findings_that_there_are() {
    let (_, guide) = document("docs/troubleshooting.md");
    let (_, cases) = document("tests/doctor/cases.py");
    let chains: Vec<_> =
        guide.lines().filter_map(|line| line.strip_prefix("<!-- chain: ")?.strip_suffix(" -->")).collect();
    assert!(!chains.is_empty());
    for chain in chains {
        assert!(cases.contains(&format!("\"{chain}\"")), "there is no chain `{chain}`");
    }
    // As in `1. error buffered: between origin and nginx`.
    let found: Vec<_> =
        guide.lines().filter_map(|line| line.split_once(": between ")?.0.split(' ').nth(2)).collect();
    assert!(found.len() > 10, "{found:?}");
    for id in found {
        assert!(FindingId::ALL.iter().any(|known| known.as_str() == id), "the doctor knows no `{id}`");
    }
}
