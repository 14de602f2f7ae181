//! Configuration files, read with some variables of the environment.

use sidestream::config::{self, Config};

pub const LISTENER: &str = "listeners: [{ address: 127.0.0.1:0 }]\n";
pub const UPSTREAM: &str = "upstreams: { llm: { servers: [http://127.0.0.1:8000] } }\n";

/// The variables that there are.
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

/// A file with listener, upstream and these lines, which begin in line 3.
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
