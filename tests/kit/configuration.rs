//! Configuration files, parsed with a fixed set of environment variables.

use sidestream::config::{self, Config, UpstreamConfig, effective_yaml};

pub const LISTENER: &str = "listeners: [{ address: 127.0.0.1:0 }]\n";
pub const UPSTREAM: &str = "upstreams: { llm: { servers: [http://127.0.0.1:8000] } }\n";

/// The environment variables.
fn variable(name: &str) -> Option<std::ffi::OsString> {
    let value = match name {
        "PORT" => "8123",
        "MAX" => "100",
        "YES" => "true",
        "NO" => "false",
        "IDLE" => "90s",
        "OFF" => "off",
        "EMPTY" => "",
        "SECRET" => "-----BEGIN PRIVATE KEY-----",
        "URL" => "http://10.0.0.7:8000",
        "STRUCTURE" => "{ address: 127.0.0.1:1, http2: false }",
        "DOLLARS" => "${PORT} $$ $PORT",
        _ => return None,
    };
    Some(value.into())
}

pub fn read(yaml: &str) -> Result<Config, String> {
    config::parse_with(yaml, "my.yaml", &variable).map_err(|error| error.to_string())
}

#[track_caller]
pub fn valid(yaml: &str) -> Config {
    read(yaml).unwrap_or_else(|error| panic!("{error}\nin\n{yaml}"))
}

/// Parses a file with a listener, an upstream and these lines, which begin at line 3.
#[track_caller]
pub fn valid_with(lines: &str) -> Config {
    valid(&format!("{LISTENER}{UPSTREAM}{lines}"))
}

#[track_caller]
pub fn mistake(yaml: &str, message: &str) {
    assert_eq!(read(yaml).expect_err("a mistake"), message, "in\n{yaml}");
}

#[track_caller]
pub fn mistake_with(lines: &str, message: &str) {
    mistake(&format!("{LISTENER}{UPSTREAM}{lines}"), message);
}

pub const TWO: &str = "servers: [http://127.0.0.1:1, http://127.0.0.1:2]";

/// A file whose upstream has these keys.
pub fn group(keys: &str) -> String {
    format!("{LISTENER}upstreams: {{ llm: {{ {keys} }} }}\n")
}

/// Parses a file, and parses again what `check` prints for it. Both results must agree.
#[track_caller]
pub fn reread(yaml: &str) -> Config {
    let config = valid(yaml);
    let printed = effective_yaml(&config);
    let again =
        config::parse(&printed, "printed.yaml").unwrap_or_else(|error| panic!("{error}\nin\n{printed}"));
    assert_eq!(printed, effective_yaml(&again));
    assert_eq!(config.upstreams, again.upstreams);
    assert_eq!(config.limits, again.limits);
    for (route, again) in config.routes.iter().zip(&again.routes) {
        assert_eq!(route.per_client, again.per_client);
    }
    config
}

/// An upstream with two servers and these keys.
#[track_caller]
pub fn upstream(keys: &str) -> UpstreamConfig {
    reread(&group(&format!("{TWO}, {keys}"))).upstreams[0].as_ref().clone()
}

/// Asserts that these keys of an upstream cause exactly one error. `message` is the start of its key path
/// (below the upstream) and text.
#[track_caller]
pub fn upstream_mistake(keys: &str, message: &str) {
    let error = read(&group(keys)).expect_err(keys);
    assert!(error.contains(&format!(": upstreams.llm{message}")), "{error}\nis not\n{message}");
    assert_eq!(error.matches("my.yaml:2:").count(), 1, "{error}");
}

/// Like [`upstream_mistake`], with two servers in addition.
#[track_caller]
pub fn group_mistake(keys: &str, message: &str) {
    upstream_mistake(&format!("{TWO}, {keys}"), message);
}
