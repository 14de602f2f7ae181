//! What a proxy must take from and add to the head of a message (RFC 9110, 7.6).

use std::borrow::Cow;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use uuid::Uuid;

use super::hop::Hop;
use super::is_websocket;
use super::response::Stream;
use super::trace_context::TraceContext;
use crate::event_stream::{Format, MEDIA_TYPE, is_media_type};
use crate::upstream::RequestHead;

/// Fields that concern one connection only, whether `Connection` names them or not (RFC 9110, 7.6.1).
/// `Trailer` goes too: trailers are discarded on the way (RFC 9110, 6.5.1 allows it), so none must be announced.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");

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
    let nominated = nominated(&downstream.headers);
    let is_passed = |name: &[u8]| {
        let is_named = |other: &HeaderName| name.eq_ignore_ascii_case(other.as_str().as_bytes());
        !HOP_BY_HOP.iter().chain(&nominated).any(is_named)
    };
    let mut request = RequestHead::of(downstream, &origin_form(downstream), is_passed);
    let host = host(downstream);
    // HTTP/1.1 has two ways to delimit a body; HTTP/2 needs neither (RFC 9113, 8.1).
    if has_body && !request.contains(header::CONTENT_LENGTH.as_str()) {
        request.append("Transfer-Encoding", "chunked");
    }
    one_cookie(downstream, &mut request);
    if downstream.uri.authority().is_some() || !request.contains(header::HOST.as_str()) {
        request.set("Host", host.unwrap_or(authority));
    }
    let trace = forwarded(&mut request, hop, host);
    request.append("Via", via(downstream.version));
    (request, trace)
}

/// Adds the forwarding fields; also for the requests that take pingora's stock path.
pub fn forwarded(request: &mut RequestHead, hop: Hop<'_>, host: Option<&str>) -> TraceContext {
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
fn one_cookie(downstream: &RequestHeader, request: &mut RequestHead) {
    let name = header::COOKIE.as_str();
    if downstream.version != Version::HTTP_2 || request.values(name).count() < 2 {
        return;
    }
    let cookie = request.values(name).collect::<Vec<_>>().join(&b"; "[..]);
    request.set("Cookie", cookie);
}

/// The id of a request; empty if it has none yet.
pub fn request_id(request: &RequestHeader) -> &[u8] {
    request.headers.get(X_REQUEST_ID).map_or(&[][..], HeaderValue::as_bytes)
}

/// Makes the head of the response that goes downstream, framed for that client.
///
/// `has_body`: a body follows the head. An HTTP/1.1 client gets `Content-Length` as it was, or chunks; an
/// HTTP/1.0 client without `Content-Length` a body that the close delimits.
pub fn downstream_response(
    mut response: ResponseHeader,
    client: Version,
    has_body: bool,
) -> pingora::Result<ResponseHeader> {
    strip(&mut response);
    response.set_version(Version::HTTP_11);
    if has_body && client == Version::HTTP_11 && !response.headers.contains_key(header::CONTENT_LENGTH) {
        response.insert_header(header::TRANSFER_ENCODING, CHUNKED)?;
    }
    Ok(response)
}

/// Makes a stream pass through whatever stands between here and the client, and says what it has become.
pub fn stream_response(
    response: &mut ResponseHeader,
    client: Version,
    stream: Stream,
) -> pingora::Result<()> {
    response.remove_header(&header::CONTENT_LENGTH);
    if client == Version::HTTP_11 && !response.headers.contains_key(header::TRANSFER_ENCODING) {
        response.insert_header(header::TRANSFER_ENCODING, CHUNKED)?;
    }
    if stream.coding.is_some() {
        response.remove_header(&header::CONTENT_ENCODING);
    }
    let content_type = response.headers.get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    if stream.format == Format::EventStream && !is_media_type(content_type, MEDIA_TYPE) {
        response.insert_header(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))?;
    }
    // nginx consumes X-Accel-* from upstream, so a second nginx needs it from us (ngx_http_proxy_module).
    response.insert_header("X-Accel-Buffering", HeaderValue::from_static("no"))?;
    let cache_control = cache_control(&response.headers);
    response.insert_header(header::CACHE_CONTROL, cache_control)
}

/// What the response says already about caching, and that nobody on the way may keep or change it.
fn cache_control(headers: &HeaderMap) -> HeaderValue {
    const ADDED: [&str; 2] = ["no-cache", "no-transform"];
    let mut said = joined(headers, header::CACHE_CONTROL.as_str());
    for directive in ADDED {
        let present = said.split(',').any(|d| d.trim().eq_ignore_ascii_case(directive));
        if !present {
            let separator = if said.is_empty() { "" } else { ", " };
            said.extend([separator, directive]);
        }
    }
    // Bytes beyond ASCII have been replaced, and what is added has none.
    HeaderValue::try_from(said).unwrap_or(HeaderValue::from_static("no-cache, no-transform"))
}

/// All values of a list field as one.
pub fn joined(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()));
    values.collect::<Vec<_>>().join(", ")
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

fn strip(response: &mut ResponseHeader) {
    let nominated = nominated(&response.headers);
    let is_stripped = |name: &&HeaderName| HOP_BY_HOP.contains(name) || nominated.contains(name);
    for name in response.headers.keys().filter(is_stripped).cloned().collect::<Vec<_>>() {
        response.remove_header(&name);
    }
}

/// The fields that `Connection` says are for the next hop only (RFC 9110, 7.6.1).
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let options = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let names = options.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
    // What frames and routes the message is not for the peer to take away.
    names.filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH).collect()
}

/// Whether a request asks for the one upgrade that is passed on.
pub fn asks_for_websocket(request: &RequestHeader) -> bool {
    request.version == Version::HTTP_11
        && request.headers.get(header::UPGRADE).is_some_and(|v| is_websocket(v.as_bytes()))
}
