//! What a proxy must take from and add to the head of a message (RFC 9110, 7.6).

use std::borrow::Cow;

use http::Version;
use http::header::{self, HeaderValue};
use pingora::http::RequestHeader;
use uuid::Uuid;

use super::hop::Hop;
use super::is_websocket;
use super::response::Stream;
use super::trace_context::TraceContext;
use crate::event_stream::{Format, MEDIA_TYPE, is_media_type};
use crate::head::{Fields, RequestHead};

/// Fields that concern one connection only, whether `Connection` names them or not (RFC 9110, 7.6.1).
/// `Trailer` goes too: trailers are discarded on the way (RFC 9110, 6.5.1 allows it), so none must be announced.
const HOP_BY_HOP: [&str; 8] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
];

pub const X_FORWARDED_FOR: &str = "X-Forwarded-For";
pub const X_FORWARDED_PROTO: &str = "X-Forwarded-Proto";
pub const X_FORWARDED_HOST: &str = "X-Forwarded-Host";
pub const X_REQUEST_ID: &str = "X-Request-Id";

/// Makes the request that goes upstream. `has_body`: it has a body; `authority` is the upstream's, for HTTP/1.0 clients
/// that send no `Host`.
pub fn upstream_request(
    downstream: &RequestHeader,
    has_body: bool,
    hop: Hop<'_>,
    authority: &str,
) -> (RequestHead, TraceContext) {
    let connection = downstream.headers.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes);
    let nominated = nominated(connection);
    let is_passed = |name: &[u8]| !is_for_this_hop(name, &nominated);
    let mut request = RequestHead::of(downstream, &origin_form(downstream), is_passed);
    let (host, fields) = (host(downstream), &mut request.fields);
    // HTTP/1.1 has two ways to delimit a body; HTTP/2 needs neither (RFC 9113, 8.1).
    if has_body && !fields.contains("Content-Length") {
        fields.append("Transfer-Encoding", "chunked");
    }
    one_cookie(downstream, fields);
    if downstream.uri.authority().is_some() || !fields.contains("Host") {
        fields.set("Host", host.unwrap_or(authority));
    }
    let trace = forwarded(fields, hop, host);
    fields.append("Via", via(downstream.version));
    (request, trace)
}

/// Adds the forwarding fields; also for the requests that take pingora's stock path.
pub fn forwarded(request: &mut Fields, hop: Hop<'_>, host: Option<&str>) -> TraceContext {
    hop.forward(request, host);
    if !request.contains(X_REQUEST_ID) {
        let mut room = Uuid::encode_buffer();
        request.append(X_REQUEST_ID, Uuid::new_v4().hyphenated().encode_lower(&mut room));
    }
    TraceContext::ensure(request)
}

/// What a request names as its host (RFC 9112, 3.2.2: the request target comes first; RFC 9113, 8.3.1).
pub fn host(request: &RequestHeader) -> Option<&str> {
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    authority.or_else(|| request.headers.get(header::HOST)?.to_str().ok())
}

/// HTTP/2 may send `Cookie` in pieces, which HTTP/1.1 does not know (RFC 9113, 8.2.3).
fn one_cookie(downstream: &RequestHeader, request: &mut Fields) {
    if downstream.version != Version::HTTP_2 || request.values("Cookie").count() < 2 {
        return;
    }
    let cookie = request.values("Cookie").collect::<Vec<_>>().join(&b"; "[..]);
    request.set("Cookie", cookie);
}

/// The id of a request; empty if it has none yet.
pub fn request_id(request: &RequestHeader) -> &[u8] {
    request.headers.get(X_REQUEST_ID).map_or(&[][..], HeaderValue::as_bytes)
}

/// Makes the head of a response one that goes downstream, framed for that client.
///
/// `has_body`: a body follows the head. An HTTP/1.1 client gets `Content-Length` as it was, or chunks; an
/// HTTP/1.0 client without `Content-Length` a body that the close delimits.
pub fn downstream_response(response: &mut Fields, client: Version, has_body: bool) {
    let nominated = nominated(response.values("Connection"));
    response.retain(|name| !is_for_this_hop(name, &nominated));
    if has_body && client == Version::HTTP_11 && !response.contains("Content-Length") {
        response.append("Transfer-Encoding", "chunked");
    }
}

/// Makes a stream pass through whatever stands between here and the client, and says what it has become.
pub fn stream_response(response: &mut Fields, client: Version, stream: Stream) {
    response.remove("Content-Length");
    if client == Version::HTTP_11 && !response.contains("Transfer-Encoding") {
        response.append("Transfer-Encoding", "chunked");
    }
    if stream.coding.is_some() {
        response.remove("Content-Encoding");
    }
    let content_type = response.value("Content-Type").unwrap_or_default();
    if stream.format == Format::EventStream && !is_media_type(content_type, MEDIA_TYPE) {
        response.set("Content-Type", MEDIA_TYPE);
    }
    // nginx consumes X-Accel-* from upstream, so a second nginx needs it from us (ngx_http_proxy_module).
    response.set("X-Accel-Buffering", "no");
    response.set("Cache-Control", cache_control(response));
}

/// What the response says already about caching, and that nobody on the way may keep or change it.
fn cache_control(response: &Fields) -> String {
    const ADDED: [&str; 2] = ["no-cache", "no-transform"];
    let mut said = joined(response.values("Cache-Control"));
    for directive in ADDED {
        let present = said.split(',').any(|d| d.trim().eq_ignore_ascii_case(directive));
        if !present {
            let separator = if said.is_empty() { "" } else { ", " };
            said.extend([separator, directive]);
        }
    }
    said
}

/// All values of a list field as one.
pub fn joined<'a>(values: impl Iterator<Item = &'a [u8]>) -> String {
    values.map(String::from_utf8_lossy).collect::<Vec<_>>().join(", ")
}

fn via(received: Version) -> &'static str {
    match received {
        Version::HTTP_10 => "1.0 sidestream",
        Version::HTTP_2 => "2.0 sidestream",
        _ => "1.1 sidestream",
    }
}

/// A request to a proxy may name the whole URI; an origin wants the path (RFC 9112, 3.2.1).
fn origin_form(request: &RequestHeader) -> Cow<'_, [u8]> {
    if request.uri.authority().is_some() {
        return request.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes().into();
    }
    // pingora keeps an absolute target of HTTP/1.1 as it came.
    let target = request.raw_path();
    let Some(scheme) =
        target.windows(3).position(|bytes| bytes == b"://").filter(|_| !target.starts_with(b"/"))
    else {
        return target.into();
    };
    let after = &target[scheme + 3..];
    let path = after.iter().position(|byte| matches!(byte, b'/' | b'?')).map_or(&b"/"[..], |at| &after[at..]);
    if path.starts_with(b"/") { path.into() } else { [b"/", path].concat().into() }
}

/// The names that `Connection` says are for the next hop only (RFC 9110, 7.6.1), beside those that always are.
fn nominated<'a>(connection: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    // What frames and routes the message is not for the peer to take away.
    const KEPT: [&str; 2] = ["Host", "Content-Length"];
    let names = connection.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let names = names.filter(|name| !is_one_of(name, &HOP_BY_HOP) && !is_one_of(name, &KEPT));
    names.map(<[u8]>::to_vec).collect()
}

fn is_for_this_hop(name: &[u8], nominated: &[Vec<u8>]) -> bool {
    is_one_of(name, &HOP_BY_HOP) || nominated.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Whether a field has one of these names, in any case.
pub fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

/// Whether a request asks for the one upgrade that is passed on.
pub fn asks_for_websocket(request: &RequestHeader) -> bool {
    request.version == Version::HTTP_11
        && request.headers.get(header::UPGRADE).is_some_and(|v| is_websocket(v.as_bytes()))
}
