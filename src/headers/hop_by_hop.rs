//! What a proxy must take from and add to the head of a message (RFC 9110, 7.6).

use http::Version;
use uuid::Uuid;

use super::forwarded::Hop;
use super::{TraceContext, trailers};
use crate::config::{HostHeader, UpstreamConfig};
use crate::http1::{Fields, RequestHead, is_one_of, list};

/// Fields that concern one connection only, whether `Connection` names them or not (RFC 9110, 7.6.1).
/// `Trailer` goes too, where trailers are discarded on the way (RFC 9110, 6.5.1 allows it): then none must be announced.
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

pub const X_REQUEST_ID: &str = "X-Request-Id";

/// The one upgrade that is passed on (RFC 6455, 4.1).
const WEBSOCKET: &str = "websocket";

/// A request as it goes upstream.
pub struct UpstreamRequest {
    pub head: RequestHead,
    pub trace: TraceContext,
    /// It is the one upgrade that is passed on.
    pub asks_for_websocket: bool,
    /// Its client takes the trailers of its response.
    pub takes_trailers: bool,
    /// Its `Host` is the server that it goes to.
    pub names_server: bool,
}

/// Makes the request that goes upstream. `has_body`: it has a body; `is_grpc`: it is a call of gRPC, whose status is in trailers.
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
    // HTTP/1.1 has two ways to delimit a body; HTTP/2 needs neither (RFC 9113, 8.1).
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
        // An HTTP/1.0 client may have named none.
        HostHeader::Client => !fields.contains("Host"),
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

/// HTTP/2 may send `Cookie` in pieces, which HTTP/1.1 does not know (RFC 9113, 8.2.3).
fn one_cookie(downstream: Version, request: &mut Fields) {
    if downstream != Version::HTTP_2 || request.values("Cookie").count() < 2 {
        return;
    }
    let cookie = request.values("Cookie").collect::<Vec<_>>().join(&b"; "[..]);
    request.set("Cookie", cookie);
}

/// Makes the head of a response one that goes downstream, framed for that client.
///
/// `has_body`: a body follows the head. An HTTP/1.1 client gets `Content-Length` as it was, or chunks; an
/// HTTP/1.0 client without `Content-Length` a body that the close delimits. `takes_trailers`: it gets what trailers there are, for which
/// HTTP/1.1 needs chunks.
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

/// Makes the head of a response that switches to the WebSocket protocol one that goes downstream. Returns whether it does switch to
/// that, as was asked.
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

/// The names that `Connection` says are for the next hop only (RFC 9110, 7.6.1), beside those that always are.
fn nominated(fields: &Fields) -> Vec<Vec<u8>> {
    // What frames and routes the message is not for the peer to take away.
    const KEPT: [&str; 2] = ["Host", "Content-Length"];
    let names = list(fields.values("Connection"));
    names
        .filter(|name| !is_one_of(name, &HOP_BY_HOP) && !is_one_of(name, &KEPT))
        .map(<[u8]>::to_vec)
        .collect()
}

/// Whether a field concerns one connection only, whatever `Connection` says.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    is_one_of(name, &HOP_BY_HOP)
}

fn is_for_this_hop(name: &[u8], nominated: &[Vec<u8>]) -> bool {
    is_hop_by_hop(name) || nominated.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Whether a list field has this element.
fn has_option(fields: &Fields, name: &str, option: &str) -> bool {
    list(fields.values(name)).any(|other| other.eq_ignore_ascii_case(option.as_bytes()))
}

/// Whether a request asks for the one upgrade that is passed on. One with a body is not asked for it: RFC 9110, 7.8 leaves that to
/// the server.
fn asks_for_websocket(request: &RequestHead, has_body: bool) -> bool {
    request.version == Version::HTTP_11
        && !has_body
        && has_option(&request.fields, "Upgrade", WEBSOCKET)
        && has_option(&request.fields, "Connection", "Upgrade")
}
