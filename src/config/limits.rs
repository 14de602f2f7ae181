//! Bounds on what clients may send: the `limits` sections.

use std::num::NonZeroUsize;

use super::group::{PerClientLimit, RoutePerClient};
use super::key::Entry::{Section as Sub, Value as Scalar};
use super::key::{Absent, Entries, Key, Section, key};
use super::keys::{Keys, Written};
use super::request_key::{PER_CLIENT, per_client};
use super::values::{COUNT_OR_OFF, HEADER_SIZE, SIZE_OR_OFF};

pub static LIMITS: Section = Section {
    example: "{ max_request_body: 10MiB, max_connections: 10000 }",
    ..Section::new(
        "limits",
        "0.1.0",
        "Bounds on what clients may send.",
        &[
            Scalar(&MAX_REQUEST_BODY.row),
            Scalar(&MAX_HEADER_SIZE.row),
            Scalar(&MAX_CONNECTIONS.row),
            Sub(&PER_CLIENT),
        ],
    )
};

pub static MAX_REQUEST_BODY: Key<Option<usize>> = key(
    "max_request_body",
    "0.1.0",
    SIZE_OR_OFF,
    "off",
    "The size of a request body. Beyond it the answer is 413.",
)
.example("10MiB");

pub static MAX_HEADER_SIZE: Key<usize> = key(
    "max_header_size",
    "0.1.0",
    HEADER_SIZE,
    "64KiB",
    "The size of a whole request head. Beyond it the answer is 431.",
);

pub static MAX_CONNECTIONS: Key<Option<NonZeroUsize>> = key(
    "max_connections",
    "0.1.0",
    COUNT_OR_OFF,
    "off",
    "Client connections at once, of all listeners together. Beyond it a new one is answered 503, or closed if it uses TLS.",
)
.example("10000");

/// `limits` of a route.
pub static ROUTE_LIMITS: Section = Section {
    example: "{ per_client: off }",
    ..Section::new("limits", "0.1.0", "The limits of this route.", &[Sub(&ROUTE_PER_CLIENT)])
};

pub static ROUTE_PER_CLIENT: Section = Section {
    can_be_off: true,
    absent: Absent::Unset,
    example: "{ key: address, max_streams: 2 }",
    entries: Entries::SameAs(&PER_CLIENT),
    ..Section::new(
        "per_client",
        "0.1.0",
        "Replaces `limits.per_client` for this route; `off` is no limit. Without it that limit holds, and counts the streams of all \
         such routes together.",
        &[],
    )
};

/// Bounds on what clients may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body. Beyond it the answer is 413.
    pub max_request_body: Option<usize>,
    /// Bytes of a whole request head. Beyond it the answer is 431.
    pub max_header_size: usize,
    /// Client connections at once, of all listeners together. Beyond it a new one is answered 503.
    pub max_connections: Option<NonZeroUsize>,
    /// Streams of one client at once. Beyond it the answer is 429. Routes can override it.
    pub per_client: Option<PerClientLimit>,
}

/// Reads `limits`.
pub fn limits(mut keys: Keys) -> Limits {
    let limits = Limits {
        max_request_body: keys.get(&MAX_REQUEST_BODY),
        max_connections: keys.get(&MAX_CONNECTIONS),
        max_header_size: keys.get(&MAX_HEADER_SIZE),
        per_client: keys.section(&PER_CLIENT, per_client).keys().flatten(),
    };
    keys.finish();
    limits
}

/// Reads `limits` of a route; returns their `per_client`.
pub fn route_limits(mut keys: Keys) -> RoutePerClient {
    let per_client = match keys.section(&ROUTE_PER_CLIENT, per_client) {
        Written::Nothing => RoutePerClient::Inherit,
        Written::Off => RoutePerClient::Off,
        Written::Keys(limit) => limit.map_or(RoutePerClient::Off, RoutePerClient::Limit),
    };
    keys.finish();
    per_client
}
