//! Properties of requests by which they are spread, queued and limited.

use std::fmt;
use std::num::NonZeroU32;

use http::HeaderName;

use super::group::{ClientKey, HashKey, PerClientLimit};
use super::key::Entry::Value as Scalar;
use super::key::{Absent, Key, Section, required};
use super::keys::Keys;
use super::tree::Value;
use super::values::ValueShape::{AnyOf, Null, Off, Pattern, Text, Words};
use super::values::{self, COUNT, Parsed, Problem, ValueKind, shown_or_off, text};
use crate::http1::is_token;

const HEADER: &str = "^header:[!#%&'*+.^_`|~0-9A-Za-z-]+$";

/// An item of `hash.key`.
pub const HASH_KEY: ValueKind<HashKey> = ValueKind {
    name: "request key",
    shape: AnyOf(&[
        Words(|| vec!["address"]),
        Text("^(?:header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+$"),
        Text("^body:."),
    ]),
    read: |value| request_key(value, "write `header:NAME`, `cookie:NAME`, `body:MEMBER` or `address`"),
    show: |key| text(&key.to_string()),
};

/// A header that requests take turns by. Bodies are not read while requests wait, so it cannot be a member of one.
pub const HEADER_OR_OFF: ValueKind<Option<String>> = ValueKind {
    name: "`header:NAME` or `off`",
    shape: AnyOf(&[Pattern(HEADER), Off, Null]),
    read: header_or_off,
    show: |name| shown_or_off(name.as_ref(), |name| text(&format!("header:{name}"))),
};

/// `per_client` of the top-level limits.
pub static PER_CLIENT: Section = Section {
    can_be_off: true,
    absent: Absent::Default("off"),
    example: "{ key: header:authorization, max_streams: 8 }",
    ..Section::new(
        "per_client",
        "0.1.0",
        "The streams that one client has at once, from the request head to the end of the exchange. Beyond it the answer is 429. \
         Requests that wait in the queue and WebSockets count too. A reload keeps the counts.",
        &[Scalar(&CLIENT_KEY.row), Scalar(&CLIENT_MAX_STREAMS.row)],
    )
};

pub static CLIENT_KEY: Key<ClientKey> = required(
    "key",
    "0.1.0",
    ValueKind {
        name: "`header:NAME` or `address`",
        shape: AnyOf(&[Words(|| vec!["address"]), Pattern(HEADER)]),
        read: client_key,
        show: |key| text(&key.to_string()),
    },
    "header:authorization",
    "What identifies a client: the value of a header, or `address`. Requests without the header, or with `address` from a unix \
     socket, are not limited.",
);

pub static CLIENT_MAX_STREAMS: Key<NonZeroU32> =
    required("max_streams", "0.1.0", COUNT, "8", "Streams of one client at once.");

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

/// Reads any key; `remedy` lists the allowed ones.
fn request_key(value: &Value, remedy: &str) -> Parsed<HashKey> {
    let text = value.as_str().unwrap_or_default();
    let no_name_of = |what| {
        let problem = format!("{} names no {what}", values::quoted(value));
        Problem::new(problem, format!("write the name of a {what} after the colon"))
    };
    match text.split_once(':') {
        None if text == "address" => Ok(HashKey::Address),
        Some(("header", name)) => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Ok(HashKey::Header(name.as_str().to_owned())),
            Err(_) => Err(no_name_of("header")),
        },
        Some(("cookie", name)) if is_token(name.as_bytes()) => Ok(HashKey::Cookie(name.to_owned())),
        Some(("cookie", _)) => Err(no_name_of("cookie")),
        Some(("body", "")) => Err(no_name_of("member")),
        Some(("body", member)) => Ok(HashKey::Body(member.to_owned())),
        _ => Err(unknown(value, remedy)),
    }
}

fn header_or_off(value: &Value) -> Parsed<Option<String>> {
    let remedy = "write the name of a header, such as `header:x-tenant`, or `off`";
    if value.is_null() || values::is_off(value) {
        return Ok(None);
    }
    match request_key(value, remedy).map_err(|problem| values::or_off(value, problem))? {
        HashKey::Header(name) => Ok(Some(name)),
        _ => Err(unknown(value, remedy)),
    }
}

fn client_key(value: &Value) -> Parsed<ClientKey> {
    let remedy = "write the name of a header, such as `header:authorization`, or `address`";
    match request_key(value, remedy)? {
        HashKey::Header(name) => Ok(ClientKey::Header(name)),
        HashKey::Address => Ok(ClientKey::Address),
        _ => Err(unknown(value, remedy)),
    }
}

/// Reads `per_client`; `None` where there is a mistake.
pub fn per_client(mut keys: Keys) -> Option<PerClientLimit> {
    let key = keys.required(&CLIENT_KEY);
    let max_streams = keys.required(&CLIENT_MAX_STREAMS);
    keys.finish();
    Some(PerClientLimit { key: key?, max_streams: max_streams? })
}

fn unknown(value: &Value, remedy: &str) -> Problem {
    Problem::not(value, "a key that is known here", remedy)
}
