//! Turns the YAML tree into the configuration, collecting every mistake on the way.

use std::net::SocketAddr;

use super::Config;
use super::issue::ConfigIssue;
use super::key::Entry::{Section as Sub, Value as Scalar};
use super::key::{Key, Section, key};
use super::keys::{Keys, Written};
use super::limits::{LIMITS, limits};
use super::listener::{LISTENERS, ListenAddress, Listener, listeners, report_address};
use super::route::{ROUTES, routes};
use super::server::{SERVER, server};
use super::stream_keys::stream;
use super::stream_table::STREAM;
use super::telemetry::{ACCESS_LOG, METRICS, access_log, metrics};
use super::tree::Value;
use super::upstream::{UPSTREAMS, Upstreams, upstreams};
use super::values::ADMIN_ADDRESS;

/// The top of the file.
pub static ROOT: Section = Section::new(
    "",
    "0.1.0",
    "The configuration of sidestream.",
    &[
        Sub(&LISTENERS),
        Sub(&ADMIN),
        Sub(&UPSTREAMS),
        Sub(&ROUTES),
        Sub(&STREAM),
        Sub(&LIMITS),
        Sub(&ACCESS_LOG),
        Sub(&METRICS),
        Sub(&SERVER),
    ],
);

pub static ADMIN: Section = Section {
    can_be_off: true,
    example: "{ address: 127.0.0.1:9090 }",
    ..Section::new(
        "admin",
        "0.1.0",
        "The admin listener: the live page, `/metrics`, `/streams`, `/healthz` and `/readyz`.",
        &[Scalar(&ADMIN_ADDRESS_KEY.row)],
    )
};

pub static ADMIN_ADDRESS_KEY: Key<Option<SocketAddr>> = key(
    "address",
    "0.1.0",
    ADMIN_ADDRESS,
    "127.0.0.1:9090",
    "An IP address and port. It shows requests to everyone who can connect, so keep it off public networks.",
);

/// Reads a whole configuration; the mistakes come in the order of the keys below. It is usable only if there are none.
pub fn config(value: &Value, mistakes: &mut Vec<ConfigIssue>) -> Config {
    let mut root = Keys::of(&ROOT, value, Vec::new(), mistakes);
    let listeners = listeners(&mut root);
    let admin = root.section(&ADMIN, |mut keys| {
        let address = keys.get(&ADMIN_ADDRESS_KEY);
        keys.finish();
        address
    });
    let admin = match admin {
        Written::Nothing => ADMIN_ADDRESS_KEY.default(),
        written => written.keys().flatten(),
    };
    admin_apart(&mut root, admin, &listeners);
    let upstreams = upstreams(&mut root);
    let stream = root.section(&STREAM, |keys| stream(keys, None)).keys();
    let stream = stream.unwrap_or_default();
    let routes = routes(&mut root, &upstreams, &stream);
    let Upstreams { upstreams, .. } = upstreams;
    let limits = root.section(&LIMITS, limits).keys().unwrap_or_else(|| Keys::defaults(&LIMITS, limits));
    let access_log = access_log(&mut root);
    let metrics = root.section(&METRICS, metrics).keys().unwrap_or_default();
    let server = root.section(&SERVER, server).keys().unwrap_or_else(|| Keys::defaults(&SERVER, server));
    root.finish();
    Config { listeners, admin, upstreams, routes, stream, limits, access_log, metrics, server }
}

/// Reports a listener with the address of the admin listener.
fn admin_apart(root: &mut Keys, admin: Option<SocketAddr>, listeners: &[Listener]) {
    let Some(admin) = admin.filter(|admin| admin.port() != 0) else { return };
    let taken = listeners.iter().position(|listener| listener.address == ListenAddress::Tcp(admin));
    if let Some(index) = taken {
        let problem = format!("`{admin}` is where the live page and /metrics are");
        report_address(root, index, &problem, "choose another port, or set `admin.address`");
    }
}
