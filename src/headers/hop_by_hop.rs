//! What a proxy must remove from and add to the head of a message (RFC 9110, 7.6).

use http::Version;
use uuid::Uuid;

use super::forwarded::Hop;
use super::{TraceContext, trailers};
use crate::config::{HostHeader, UpstreamConfig};
use crate::http1::{Fields, RequestHead, is_one_of, list};

/// Fields for a single connection, whether or not `Connection` lists them (RFC 9110, 7.6.1).
///
/// `Trailer` is one of them unless the trailers are forwarded: dropped trailers (RFC 9110, 6.5.1 allows that) must not
/// be announced.
const HOP_BY_HOP: [&str; 8] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    TE,
    TRAILER,
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
];

const TE: &str = "TE";
const TRAILER: &str = "Trailer";

/// The name of the field with the id of the request.
pub const X_REQUEST_ID: &str = "X-Request-Id";

/// The only protocol that sidestream forwards an upgrade to (RFC 6455, 4.1).
const WEBSOCKET: &str = "websocket";

/// A request as it is sent upstream.
pub struct UpstreamRequest {
    pub head: RequestHead,
    pub trace: TraceContext,
    /// It is an upgrade to the WebSocket protocol.
    pub asks_for_websocket: bool,
    /// The client accepts trailers in the response.
    pub takes_trailers: bool,
    /// `Host` is still to be set to the server that the request is sent to.
    pub names_server: bool,
}

/// Makes the request that goes upstream.
///
/// `is_grpc`: it is a gRPC call, so its response always has trailers, which carry the status.
pub fn upstream_request(
    downstream: &RequestHead,
    has_body: bool,
    is_grpc: bool,
    hop: Hop<'_>,
    upstream: &UpstreamConfig,
) -> UpstreamRequest {
    let (nominated, mut has_te) = (nominated(&downstream.fields), false);
    let mut request = downstream.forwarded(|name| {
        let is_dropped = is_for_this_hop(name, &nominated);
        has_te |= is_dropped && name.len() == TE.len();
        !is_dropped
    });
    let asks_for_websocket = asks_for_websocket(downstream, has_body);
    let takes_trailers =
        !asks_for_websocket && (is_grpc || (has_te && trailers::are_accepted_by(downstream)));
    let fields = &mut request.fields;
    // An HTTP/2 request may have a body without a length (RFC 9113, 8.1). HTTP/1.1 needs chunks for that.
    if has_body && !fields.contains("Content-Length") {
        fields.append("Transfer-Encoding", "chunked");
    }
    if asks_for_websocket {
        upgrade(fields);
    } else if takes_trailers {
        fields.append(TE, "trailers");
        fields.append("Connection", TE);
    }
    one_cookie(downstream.version, fields);
    let names_server = match &upstream.host {
        HostHeader::Name(name) => {
            fields.set("Host", name);
            false
        }
        HostHeader::Upstream => true,
        // HTTP/1.0 needs no host, and in HTTP/1.1 it may be empty (RFC 9112, 3.2).
        HostHeader::Client => fields.value("Host").is_none_or(<[u8]>::is_empty),
    };
    hop.forward(fields, downstream.host());
    if !fields.contains(X_REQUEST_ID) {
        let mut room = Uuid::encode_buffer();
        fields.append(X_REQUEST_ID, Uuid::new_v4().hyphenated().encode_lower(&mut room));
    }
    let trace = TraceContext::ensure(fields);
    if upstream.via {
        fields.append("Via", via(downstream.version));
    }
    UpstreamRequest { head: request, trace, asks_for_websocket, takes_trailers, names_server }
}

/// Joins the `Cookie` fields into one. HTTP/2 may split them; HTTP/1.1 may not (RFC 9113, 8.2.3).
fn one_cookie(downstream: Version, request: &mut Fields) {
    if downstream != Version::HTTP_2 || request.values("Cookie").count() < 2 {
        return;
    }
    let cookie = request.values("Cookie").collect::<Vec<_>>().join(&b"; "[..]);
    request.set("Cookie", cookie);
}

/// Turns the head of an upstream response into the one that goes downstream, with framing for that client.
///
/// `has_body`: a body follows the head. For HTTP/1.1, `Content-Length` is kept, or else the body is chunked. For
/// HTTP/1.0 without `Content-Length`, the end of the connection ends the body. `takes_trailers`: the trailers are
/// forwarded, which over HTTP/1.1 works in chunked bodies only.
pub fn downstream_response(response: &mut Fields, client: Version, has_body: bool, takes_trailers: bool) {
    let has_length = response.contains("Content-Length");
    let announces = takes_trailers && !(has_length && client == Version::HTTP_11);
    let nominated = nominated(response);
    response.retain(|name| {
        !is_for_this_hop(name, &nominated) || (announces && name.eq_ignore_ascii_case(TRAILER.as_bytes()))
    });
    if has_body && client == Version::HTTP_11 && !has_length {
        response.append("Transfer-Encoding", "chunked");
    }
}

/// Turns the head of a 101 response into the one that goes downstream. Returns whether the response switches to the
/// WebSocket protocol, as the client asked.
pub fn switching_response(response: &mut Fields) -> bool {
    let is_websocket = has_option(response, "Upgrade", WEBSOCKET);
    let nominated = nominated(response);
    response.retain(|name| !is_for_this_hop(name, &nominated));
    upgrade(response);
    is_websocket
}

fn upgrade(fields: &mut Fields) {
    fields.append("Connection", "Upgrade");
    fields.append("Upgrade", WEBSOCKET);
}

fn via(received: Version) -> &'static str {
    match received {
        Version::HTTP_10 => "1.0 sidestream",
        Version::HTTP_2 => "2.0 sidestream",
        _ => "1.1 sidestream",
    }
}

/// The additional field names that `Connection` lists as hop-by-hop (RFC 9110, 7.6.1).
fn nominated(fields: &Fields) -> Vec<Vec<u8>> {
    // A peer must not be able to remove the fields that frame and route the message.
    const KEPT: [&str; 2] = ["Host", "Content-Length"];
    let names = list(fields.values("Connection"));
    names
        .filter(|name| !is_one_of(name, &HOP_BY_HOP) && !is_one_of(name, &KEPT))
        .map(<[u8]>::to_vec)
        .collect()
}

/// Whether a field is hop-by-hop regardless of `Connection`.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    is_one_of(name, &HOP_BY_HOP)
}

fn is_for_this_hop(name: &[u8], nominated: &[Vec<u8>]) -> bool {
    is_hop_by_hop(name) || nominated.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Whether a list field contains this element, in any case.
fn has_option(fields: &Fields, name: &str, option: &str) -> bool {
    list(fields.values(name)).any(|other| other.eq_ignore_ascii_case(option.as_bytes()))
}

/// Whether a request asks for an upgrade to the WebSocket protocol. The upgrade of a request with a body is ignored,
/// which RFC 9110, 7.8 allows.
fn asks_for_websocket(request: &RequestHead, has_body: bool) -> bool {
    request.version == Version::HTTP_11
        && !has_body
        && has_option(&request.fields, "Upgrade", WEBSOCKET)
        && has_option(&request.fields, "Connection", "Upgrade")
}
