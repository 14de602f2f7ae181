//! The host that servers see in requests.

use std::fmt;

use super::tree::Value;
use super::values::ValueShape::Pattern;
use super::values::{self, Parsed, Problem, ValueKind, port, text};

/// The host that requests to a server name: `Host`, or `:authority` in HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The host of the client's request.
    Client,
    /// Host and port of the server's URL.
    Upstream,
    /// Always this host, with or without a port.
    Name(String),
}

impl fmt::Display for HostHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Name(name) => name,
        })
    }
}

pub const HOST_HEADER: ValueKind<HostHeader> = ValueKind {
    name: "`client`, `upstream` or a host",
    shape: Pattern(concat!(
        "^(?:[A-Za-z0-9_][A-Za-z0-9_.-]*|\\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\\])(?::(?!0+$)",
        port!(),
        ")?$",
    )),
    read: host_header,
    show: |host| text(&host.to_string()),
};

fn host_header(value: &Value) -> Parsed<HostHeader> {
    let text = value.as_str().unwrap_or_default();
    match text.to_ascii_lowercase().as_str() {
        word @ ("client" | "upstream") if word != text => {
            let problem = format!("{} is not a word that is known here", values::quoted(value));
            Err(Problem::new(problem, format!("did you mean `{word}`?")))
        }
        "client" => Ok(HostHeader::Client),
        "upstream" => Ok(HostHeader::Upstream),
        _ if is_host(text) => Ok(HostHeader::Name(text.to_owned())),
        _ => {
            let remedy =
                "write `client`, `upstream`, or a host with or without a port, such as `llm.example.org`";
            Err(Problem::not(value, "a host", remedy))
        }
    }
}

/// Whether a text is a name, an IPv4 address or an IPv6 address in brackets, with or without a port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && host.len() <= 253
                && host.chars().all(is_part)
        }
    };
    is_host
        && port.is_none_or(|port| {
            port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0)
        })
}
