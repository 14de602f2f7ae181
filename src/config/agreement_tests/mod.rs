//! The JSON Schema and the reader agree on generated files, good and bad.
//!
//! The generator walks the table of keys. Then it changes one value to something else, which may or may not fit there. The verdict
//! of the schema comes from Python's `jsonschema`, which `make test-setup` installs.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod generator;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use fastrand::Rng;
use generator::{Generator, yaml};
use tempfile::TempDir;

use super::key::{Absent, Entry, Many, Section};
use super::read::ROOT;
use super::tree::{Value, parse};
use super::{json_schema, parse_with};

const FILES: usize = 2000;

/// Mistakes that a schema cannot find, by their messages.
const READER_ONLY: &[&str] = &[
    // Rules across keys.
    "there is nothing to wait for: no server has `max_streams`",
    "`hash` is missing",
    "this is for `balance: hash` only",
    "there is no further attempt: `attempts` is 1",
    "`base_ejection_time` is longer than `max_ejection_time`",
    "there is nothing to look up",
    "no server is reached over TLS",
    "every server is a backup",
    "this is the same server as",
    "is where the live page and /metrics are",
    "there is no upstream",
    "cannot be used together",
    // Files.
    "cannot read the",
    // Names of headers in upper and lower case.
    "this header is given twice",
    // Addresses of IPv6, and the length of names.
    "is not an address to listen on",
    "is not an address or a network",
    "is not the URL of a server",
    "is not a server name",
    "is not a host\n",
    // The spelling of numbers: to a schema, `0x10` is 16 and `4.0` is 4.
    "write decimal digits without a leading zero",
    // Sizes that do not fit 64 bits.
    "is too much\n  write at most `1048576GiB`",
    // Numbers inside of strings.
    "is too short\n  write at least `100ms`",
    "is too long\n  write at most a year",
    "is not a duration in whole seconds",
    // The values of variables.
    "the environment variable `GOOD` is not set",
    "an empty value is not",
    // Grammars of others.
    "is not a log level",
];

/// The written tree as JSON.
fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Plain(spelling) => serde_yaml::from_str(spelling)
            // JSON has numbers beyond 64 bits, as this library does only in floating point.
            .unwrap_or_else(|_| spelling.parse::<f64>().expect("a number").into()),
        Value::String(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Mapping(entries) => {
            serde_json::Value::Object(entries.iter().map(|(key, value)| (key.clone(), json(value))).collect())
        }
        Value::Null | Value::Expanded { .. } | Value::Unusable => serde_json::Value::Null,
    }
}

const VALIDATOR: &str = "
import json, sys
from jsonschema import Draft202012Validator
schema, documents = json.load(sys.stdin)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
json.dump([[e.json_path + ': ' + e.message for e in validator.iter_errors(d)] for d in documents], sys.stdout)
";

/// What the schema says about each file.
fn validate(files: &[String]) -> Vec<Vec<String>> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).expect("JSON");
    let tree = |file: &String| json(&parse(file).expect("YAML"));
    let documents: Vec<serde_json::Value> = files.iter().map(tree).collect();
    let mut child = Command::new(python)
        .args(["-c", VALIDATOR])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`make test-setup` installs it");
    let input = serde_json::json!([schema, documents]).to_string();
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("a program that reads");
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What the reader says about a file.
fn read(file: &str) -> Result<(), String> {
    parse_with(file, "file", &|_| None).map(drop).map_err(|error| error.to_string())
}

#[test]
fn the_schema_and_the_reader_agree() {
    let folder = TempDir::new().expect("a folder");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).expect("a certificate");
    std::fs::write(folder.path().join("cert.pem"), certificate.pem()).expect("a file");
    std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).expect("a file");
    let mut generator = Generator { random: Rng::with_seed(1), folder, count: 0 };
    let mut files = Vec::new();
    for number in 0..FILES {
        let mut doc = generator.mapping(&ROOT);
        if number % 4 != 0 {
            generator.mutate(&mut doc);
        }
        files.push(yaml(&doc));
    }
    let (mut counts, mut disagreements) = (BTreeMap::new(), Vec::new());
    for (file, complaints) in files.iter().zip(validate(&files)) {
        let mistakes = read(file);
        let verdict = match (&mistakes, complaints.is_empty()) {
            (Ok(()), true) => "valid",
            (Err(_), false) => "invalid",
            (Err(mistakes), true) if READER_ONLY.iter().any(|known| mistakes.contains(known)) => {
                "reader only"
            }
            _ => {
                disagreements.push(format!("reader: {mistakes:?}\nschema: {complaints:?}\n{file}\n"));
                "disagreement"
            }
        };
        *counts.entry(verdict).or_insert(0) += 1;
    }
    assert!(disagreements.is_empty(), "{counts:?}\n{}", disagreements.join("\n"));
    assert!(counts["valid"] > 500 && counts["invalid"] > 500, "{counts:?}");
}

/// A file for the example of each section below this one. `around` puts a mapping of this section into a file.
fn examples(section: &'static Section, around: &dyn Fn(String) -> String, files: &mut Vec<String>) {
    for entry in section.entries() {
        let Entry::Section(inner) = entry else { continue };
        let with = |value: &str| {
            let is_other = |entry: &&Entry| entry.absent() == Absent::Required && entry.name() != inner.name;
            let others = section.entries().iter().filter(is_other).map(|entry| match entry {
                Entry::Value(row) => format!("{}: {}", row.name, row.example),
                Entry::Section(section) => format!("{}: {}", section.name, section.example),
            });
            let keys: Vec<String> = others.chain([format!("{}: {value}", inner.name)]).collect();
            around(format!("{{ {} }}", keys.join(", ")))
        };
        files.push(with(inner.example));
        let inside = |mapping: String| match inner.many {
            Many::List => with(&format!("[{mapping}]")),
            Many::Named(names) => with(&format!("{{ {}: {mapping} }}", names.example)),
            _ => with(&mapping),
        };
        examples(inner, &inside, files);
    }
}

#[test]
fn the_examples_of_sections_are_valid() {
    let mut files = Vec::new();
    examples(&ROOT, &|file| file, &mut files);
    assert!(files.len() > 20);
    for (file, complaints) in files.iter().zip(validate(&files)) {
        assert!(complaints.is_empty(), "{complaints:?}\n{file}");
        if let Err(mistakes) = read(file) {
            assert!(READER_ONLY.iter().any(|known| mistakes.contains(known)), "{mistakes}\n{file}");
        }
    }
}

#[test]
fn the_schema_takes_what_only_yaml_has() {
    let good = "x-own: &own { via: true }\nlisteners: [{ address: '127.0.0.1:${PORT:-80}' }]\nadmin: '${ADMIN}'\n\
                upstreams: { llm: { <<: *own, servers: ['${URL}'], max_streams: '${MAX}' } }\n";
    let bad = [
        good.replace("x-own", "own"),
        good.replace("<<", "<"),
        good.replace("${PORT:-80}", "$PORT"),
        good.replace("${MAX}", "$${MAX}"),
    ];
    let files: Vec<String> = std::iter::once(good.to_owned()).chain(bad).collect();
    let complaints = validate(&files);
    assert!(complaints[0].is_empty(), "{complaints:?}");
    assert!(complaints[1..].iter().all(|complaints| !complaints.is_empty()), "{complaints:?}");
}

/// Files with one part of the upstream, the listener or the top of the file each.
const GOOD: &[&str] = &[
    "x-a: &a { path: /, timeout: 1s }\nu: { health: { <<: *a } }",
    "x-a: &a { size: 1 }\nu: { max_streams: 1, queue: { <<: *a, timeout: 1s } }",
    "x-a: &a { servers: [http://a.test] }\nupstreams: { llm: { <<: *a } }",
    "u: { health: { path: /, headers: { a: 1.50, B-c: true, Host: '' } } }",
    "u: { health: null, queue: ~ }",
    "u: { queue: '${X:-}', tls: '${X:-}', failover: '${X:-}' }\nstream: '${X:-}'\nlimits: { per_client: '${X:-}' }",
    "u: { max_streams: 4294967295 }",
    "stream: { terminal: 'event:é', max_event_size: 18446744073709551615 }",
    "stream: { heartbeat: 1h  30m, idle_timeout: 1 s, max_event_size: 64 KiB }",
    "l: { address: '127.0.0.255:0', trusted_proxies: [255.1.2.3/32, '::/128'] }",
    "l: { address: '[::1]:65535' }",
    "u: { host: 'a:65535', servers: ['http://a.test:65535', 'http://[::1]'] }",
];

/// The same, with one mistake each.
const BAD: &[&str] = &[
    "u: { health: {} }",
    "u: { max_streams: 1, queue: { timeout: 1s } }",
    "u: { hash: null }",
    "u: { hash: '${X:-}' }",
    "u: { balance: hash, hash: ~ }",
    "l: { address: 127.0.0.1:0, tls: null }",
    "l: { address: 127.0.0.1:0, tls: '${X:-}' }",
    "l: { address: 127.0.0.1:0, doctor_token: 1234567890123456 }",
    "u: { health: { path: /, headers: { ':path': x } } }",
    "u: { health: { path: /, headers: { 'a b': x } } }",
    "u: { health: { path: /, headers: { connection: x } } }",
    "u: { health: { path: /, headers: { TRANSFER-encoding: x } } }",
    "u: { health: { path: /, headers: { '': x } } }",
    "u: { health: { path: /, headers: { a: é } } }",
    "upstreams: { '': { servers: [http://a.test] } }",
    "upstreams: { \"a\\nb\": { servers: [http://a.test] } }",
    "stream: { terminal: \"a\\tb\" }",
    "stream: { terminal: \"event:\\u0001\" }",
    "stream: { heartbeat: ' 5s' }",
    "stream: { heartbeat: '5s ' }",
    "stream: { heartbeat: \"5s\\t3ms\" }",
    "stream: { max_event_size: '64KiB ' }",
    "stream: { max_event_size: '064KiB' }",
    "stream: { max_event_size: 18446744073709551616 }",
    "u: { max_streams: '010' }",
    "u: { max_streams: 4294967296 }",
    "u: { outlier_detection: { max_ejection_percent: '50 ' } }",
    "u: { outlier_detection: { max_ejection_percent: '050%' } }",
    "server: { drain_delay: '00' }",
    "l: { address: 256.0.0.1:80 }",
    "l: { address: 127.0.0.1:65536 }",
    "l: { address: 127.0.0.1:0, trusted_proxies: [10.0.0.0/33] }",
    "l: { address: 127.0.0.1:0, trusted_proxies: ['::/129'] }",
    "l: { address: 127.0.0.1:0, trusted_proxies: [10.0.0.256] }",
    "u: { tls: { server_name: 300.1.1.1 }, servers: [https://a.test] }",
    "u: { host: 'a:65536' }",
    "u: { host: 'a:0' }",
    "u: { servers: ['http://a.test:65536'] }",
    "u: { servers: ['http://a.test:0'] }",
    "u: { servers: ['http://[1.2.3.4]'] }",
    "u: { servers: ['http://[zz]:80'] }",
    "u: { servers: ['http://[::1%eth0]'] }",
];

/// The whole file. `u:` stands for an upstream, `l:` for a listener.
fn whole(part: &str) -> String {
    let mut file = part.replace("\nu: ", "\nupstreams:\n  llm: ").replace("\nl: ", "\nlisteners:\n- ");
    if let Some(upstream) = part.strip_prefix("u: ") {
        file = format!("upstreams:\n  llm: {upstream}");
    }
    if let Some(listener) = part.strip_prefix("l: ") {
        file = format!("listeners:\n- {listener}");
    }
    if !file.contains("servers:") {
        file = file.replace("llm: {", "llm: { servers: [http://a.test],");
    }
    for (section, example) in
        [("listeners", "[{ address: 127.0.0.1:0 }]"), ("upstreams", "{ llm: { servers: [http://a.test] } }")]
    {
        if !file.contains(&format!("{section}:")) {
            file.push_str(&format!("\n{section}: {example}"));
        }
    }
    file
}

#[test]
fn the_schema_and_the_reader_agree_on_chosen_files() {
    let files: Vec<String> = GOOD.iter().chain(BAD).map(|part| whole(part)).collect();
    for (index, (file, complaints)) in files.iter().zip(validate(&files)).enumerate() {
        let is_good = index < GOOD.len();
        let mistakes = read(file);
        assert!(
            mistakes.is_ok() == is_good && complaints.is_empty() == is_good,
            "{mistakes:?}\n{complaints:?}\n{file}"
        );
    }
}
