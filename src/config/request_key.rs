//! Keys that requests have, by which they are spread, queued and limited.

use std::fmt;

use http::HeaderName;

use super::keys::Node;
use super::tree::Value;
use super::values::{self, Problem};
use super::{ClientKey, HashKey, PerClientLimit, RoutePerClient};
use crate::http1::is_token;

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Address => f.write_str("address"),
            Self::Body(member) => write!(f, "body:{member}"),
        }
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Address => f.write_str("address"),
        }
    }
}

/// An item of `hash.key`.
pub fn hash_key(value: &Value) -> Result<HashKey, Problem> {
    request_key(value, "write `header:NAME`, `cookie:NAME`, `body:MEMBER` or `address`")
}

/// Any key; `remedy` says which ones are wanted.
fn request_key(value: &Value, remedy: &str) -> Result<HashKey, Problem> {
    let text = value.as_str().unwrap_or_default();
    let names_no = |what| {
        let problem = format!("{} names no {what}", values::quoted(value));
        Problem::new(problem, format!("write the name of a {what} after the colon"))
    };
    match text.split_once(':') {
        None if text == "address" => Ok(HashKey::Address),
        Some(("header", name)) => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Ok(HashKey::Header(name.as_str().to_owned())),
            Err(_) => Err(names_no("header")),
        },
        Some(("cookie", name)) if is_token(name.as_bytes()) => Ok(HashKey::Cookie(name.to_owned())),
        Some(("cookie", _)) => Err(names_no("cookie")),
        Some(("body", "")) => Err(names_no("member")),
        Some(("body", member)) => Ok(HashKey::Body(member.to_owned())),
        _ => Err(unknown(value, remedy)),
    }
}

/// Reads `queue.fairness`, which is a field of the head: bodies are not read while requests wait.
pub fn fairness(value: &Value) -> Result<Option<String>, Problem> {
    let remedy = "write the name of a header, such as `header:x-tenant`, or `off`";
    if value.is_null() || values::is_off(value) {
        return Ok(None);
    }
    match request_key(value, remedy).map_err(|problem| values::or_off(value, problem))? {
        HashKey::Header(name) => Ok(Some(name)),
        _ => Err(unknown(value, remedy)),
    }
}

fn client_key(value: &Value) -> Result<ClientKey, Problem> {
    let remedy = "write the name of a header, such as `header:authorization`, or `address`";
    match request_key(value, remedy)? {
        HashKey::Header(name) => Ok(ClientKey::Header(name)),
        HashKey::Address => Ok(ClientKey::Address),
        _ => Err(unknown(value, remedy)),
    }
}

/// Reads `per_client`.
pub fn per_client(mut node: Node) -> RoutePerClient {
    if node.says_nothing() {
        return RoutePerClient::Inherit;
    }
    if node.is_off() {
        return RoutePerClient::Off;
    }
    let mut keys = node.keys_such_as("per_client: { key: header:authorization, max_streams: 8 }");
    let key = keys.required("key", "such as `key: header:authorization`, or `key: address`", client_key);
    let max_streams = keys.required("max_streams", "such as `max_streams: 8`", values::count);
    keys.finish();
    match (key, max_streams) {
        (Some(key), Some(max_streams)) => RoutePerClient::Limit(PerClientLimit { key, max_streams }),
        _ => RoutePerClient::Off,
    }
}

fn unknown(value: &Value, remedy: &str) -> Problem {
    Problem::new(format!("{} is not a key that is known here", values::quoted(value)), remedy)
}
