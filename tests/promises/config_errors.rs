//! A mistake in the configuration is one clear message that names file, line, key and remedy.

use sidestream::config::{self, effective_yaml};

use crate::kit::Authority;

const VALID: &str =
    "listeners:\n  - address: 127.0.0.1:0\nupstreams:\n  llm:\n    servers: [http://127.0.0.1:8000]\n";

fn errors(yaml: &str) -> String {
    config::parse(yaml, "my.yaml").expect_err("a mistake").to_string()
}

/// A valid file with this after it has exactly one mistake, with this message.
#[track_caller]
fn one_mistake(addition: &str, message: &str) {
    assert_eq!(errors(&format!("{VALID}{addition}")), message);
}

#[test]
fn an_unknown_key_is_named_with_the_one_that_was_meant() {
    one_mistake(
        "stream:\n  hartbeat: 1s\n",
        "my.yaml:7:3: stream.hartbeat: this key is not known here\n  did you mean `heartbeat`?",
    );
}

#[test]
fn a_bad_duration_is_shown_with_a_good_one() {
    one_mistake(
        "stream:\n  idle_timeout: 5 minuts\n",
        "my.yaml:7:17: stream.idle_timeout: `5 minuts` is not a duration\n  \
         write a number and a unit, such as `300s` or `5m`, or `off`",
    );
}

#[test]
fn a_wrong_type_is_told() {
    one_mistake(
        "server: 4\n",
        "my.yaml:6:9: server: `4` is not a mapping\n  write `server: { threads: 4, drain_timeout: 10m }`",
    );
    let text = errors("listeners: [5]\nupstreams: 6\n");
    assert_eq!(text.matches("is not a mapping\n  write `key: value` lines here").count(), 2, "{text}");
    one_mistake(
        "stream: { max_event_size: big }\n",
        "my.yaml:6:27: stream.max_event_size: `big` is not a size\n  \
         write a number and a unit, such as `64KiB` or `1MiB`",
    );
}

#[test]
fn a_missing_upstream_is_told() {
    let text = errors("listeners: [{ address: 127.0.0.1:0 }]\n");
    assert!(text.contains("`upstreams` is missing\n  add `upstreams:` with a name"), "{text}");
    one_mistake(
        "routes:\n  - match: { path: /v1/ }\n    upstream: lmm\n",
        "my.yaml:8:15: routes[0].upstream: there is no upstream `lmm`\n  did you mean `llm`?",
    );
}

#[test]
fn an_unreadable_certificate_is_told() {
    let text = errors(
        "listeners:\n  - address: 127.0.0.1:0\n    tls: { certificate: /nowhere/c.pem, key: /nowhere/k.pem }\n\
         upstreams: { llm: { servers: [http://127.0.0.1:8000] } }\n",
    );
    assert!(
        text.contains(
            "my.yaml:3:25: listeners[0].tls.certificate: cannot read the certificate `/nowhere/c.pem`: \
             No such file or directory"
        ),
        "{text}"
    );
}

#[test]
fn an_empty_tls_section_is_not_plaintext() {
    for empty in ["", " null", " ~", " ${SIDESTREAM_TEST_UNSET:-}"] {
        let yaml = VALID.replace("127.0.0.1:0\n", &format!("127.0.0.1:0\n    tls:{empty}\n"));
        let text = errors(&yaml);
        let message = "listeners[0].tls: `tls` is empty\n  write `certificate` and `key`, or remove it";
        assert!(text.starts_with("my.yaml:3:") && text.ends_with(message), "{text}");
    }
}

#[test]
fn an_empty_section_that_can_be_off_is_off() {
    let yaml = VALID.replace("8000]\n", "8000]\n    health:\nlimits:\n  per_client: null\n");
    let config = config::parse(&yaml, "my.yaml").expect("a configuration");
    assert!(config.upstreams[0].health.is_none() && config.limits.per_client.is_none());
}

#[test]
fn what_a_file_holds_cannot_forge_a_line_of_a_message() {
    one_mistake(
        "\"\\e[31mX\\nerror: fake\": 1\n",
        "my.yaml:6:1: \\u{1b}[31mX\\nerror: fake: this key is not known here\n  known here: listeners, admin, \
         upstreams, routes, stream, limits, access_log, metrics, server",
    );
    one_mistake(
        "stream: { heartbeat: \"1\\r\\n\\u2028\\u202e\\t2\" }\n",
        "my.yaml:6:22: stream.heartbeat: `1\\r\\n\\u{2028}\\u{202e}\\t2` is not a duration\n  \
         write a number and a unit, such as `300s` or `5m`, or `off`",
    );
}

#[test]
fn an_empty_key_is_told_with_its_place() {
    one_mistake(
        "stream:\n  \"\": 1\n",
        "my.yaml:7:3: stream.\"\": this key is empty\n  write the name of a key, or remove it",
    );
}

#[test]
fn a_second_document_is_told_with_its_place() {
    for (before, after, line) in [
        ("", "---\nstream: {}\n", 6),
        ("# a comment\n--- # one\n", "--- {}\n", 8),
        ("%YAML 1.2\n---\n", "...\n# a comment\n\n--- # two\na: b\n", 11),
        ("", "...\nstream: {}\n", 7),
    ] {
        assert_eq!(
            errors(&format!("{before}{VALID}{after}")),
            format!(
                "my.yaml:{line}:1: a second document begins here\n  keep one of them: the configuration is one YAML \
                 document"
            )
        );
    }
}

#[test]
fn of_many_mistakes_the_first_hundred_are_told() {
    let lines: String = (0..4000).map(|number| format!("  key_{number}: 1\n")).collect();
    let text = errors(&format!("{VALID}stream:\n{lines}"));
    assert_eq!(text.matches("this key is not known here").count(), 100);
    let end = "\nerror: my.yaml: there are 3900 more mistakes\n  correct those above first";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn a_listener_at_the_admin_address_is_told_where_it_is() {
    let yaml = VALID.replace("127.0.0.1:0", "127.0.0.1:9090");
    assert_eq!(
        errors(&yaml),
        "my.yaml:2:14: listeners[0].address: `127.0.0.1:9090` is where the live page and /metrics are\n  \
         choose another port, or set `admin.address`"
    );
}

#[test]
fn a_bad_log_level_is_shown_with_a_good_one() {
    one_mistake(
        "server: { log: 7x=loud }\n",
        "my.yaml:6:16: server.log: `7x=loud` is not a log level\n  \
         write a level, such as `warn` or `debug`, or levels for parts, such as `info,sidestream::exchange=debug`",
    );
}

#[test]
fn what_is_still_to_come_is_rejected_and_not_ignored() {
    let text = errors(&format!("{VALID}stream:\n  on_disconnect: detach\n"));
    assert!(text.starts_with("my.yaml:7:") && text.contains("is not supported yet\n"), "{text}");
}

#[test]
fn every_mistake_is_reported_and_not_just_the_first() {
    let text =
        errors("listeners: [{ address: here }]\nupstreams: { llm: { servers: [ftp://x] } }\nstreem: {}\n");
    assert_eq!(text.matches("my.yaml:").count(), 3, "{text}");
    assert_eq!(text.matches("\nerror: ").count(), 2, "{text}");
}

#[test]
fn what_is_no_yaml_is_told_with_its_place() {
    let text = errors("listeners:\n  - address: [\n");
    assert!(text.starts_with("my.yaml:") && text.contains("this is not valid YAML"), "{text}");
    assert!(errors("").contains("`listeners` is missing"));
    assert!(errors("- a\n- b\n").contains("a list is not a mapping"));
}

#[test]
fn an_address_that_is_listened_on_twice_is_told() {
    let text = errors(
        "listeners: [{ address: 127.0.0.1:80 }, { address: 127.0.0.1:80 }]\n\
         upstreams: { llm: { servers: [http://127.0.0.1:8000] } }\n",
    );
    assert!(text.contains("listeners[1].address: `127.0.0.1:80` is listened on twice"), "{text}");
}

#[test]
fn the_shipped_configuration_is_valid_and_says_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/sidestream.yaml");
    let shipped = config::load(path.as_ref()).expect("a valid file");
    let bare = config::parse(VALID, "bare.yaml").expect("a valid file");
    assert_eq!(shipped.stream, bare.stream);
    assert_eq!(shipped.limits, bare.limits);
    let [shipped_upstream, bare_upstream] = [&shipped, &bare].map(|config| &config.upstreams[0]);
    assert_eq!(shipped_upstream, bare_upstream);
    assert_eq!(shipped.admin, bare.admin);
}

/// The sample file with the sections that are commented out in place of those that they replace.
fn uncommented() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/sidestream.yaml");
    let text = std::fs::read_to_string(path).expect("a file");
    let (_, keys) = text.split_once("\n\n").expect("a head");
    let lines = keys.lines().map(|line| {
        let indent = line.len() - line.trim_start().len();
        match line.trim_start().strip_prefix("# ") {
            // Further to the right are explanations.
            Some(rest) if indent < 30 => format!("{}{rest}", &line[..indent]),
            _ => line.to_owned(),
        }
    });
    let is_replaced = |line: &String| {
        let key = line.trim_start();
        key.starts_with("health: off") || key.starts_with("per_client: off   ")
    };
    let lines: Vec<String> = lines.filter(|line| !is_replaced(line)).collect();
    lines.join("\n")
}

#[test]
fn everything_in_the_shipped_configuration_is_valid() {
    let text = uncommented().replace("balance: least_streams", "balance: hash");
    let text = text.replace("- http://127.0.0.1:8000", "- https://127.0.0.1:8000");
    let authority = Authority::new();
    let text = text.replace("/etc/sidestream/", &format!("{}/", authority.path("").display()));
    let config = config::parse(&text, "examples.yaml").unwrap_or_else(|error| panic!("{error}\nin\n{text}"));
    let llm = &config.upstreams[0];
    assert_eq!((llm.servers.len(), llm.hash.keys.len()), (2, 1));
    assert!(llm.health.is_some() && config.limits.per_client.is_some() && config.listeners[0].tls.is_some());
}

#[test]
fn the_effective_configuration_reads_back_as_the_same() {
    let text = format!(
        "{VALID}stream: {{ heartbeat: 1500ms, max_duration: 1h, half_close: tolerate, \
         error_events: mcp, dialect: responses, detect_truncation: off }}\n"
    );
    let once = effective_yaml(&config::parse(&text, "a.yaml").expect("a valid file"));
    let twice = effective_yaml(&config::parse(&once, "b.yaml").expect("a valid file"));
    assert_eq!(once, twice);
    for line in ["heartbeat: 1s 500ms", "error_events: mcp", "dialect: responses", "detect_truncation: off"] {
        assert!(once.contains(line), "{once}");
    }
}

#[test]
fn the_configuration_of_the_package_is_valid() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/sidestream.yaml");
    config::load(path.as_ref()).expect("a valid file");
}
