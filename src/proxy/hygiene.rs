//! What a proxy must take from and add to the head of a message (RFC 9110, 7.6).

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Version};
use pingora::http::{RequestHeader, ResponseHeader};

use super::hop::Hop;
use super::is_websocket;
use super::response::Stream;
use super::trace_context::TraceContext;
use crate::event_stream::{Format, MEDIA_TYPE, is_media_type};

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

pub const X_FORWARDED_FOR: &str = "X-Forwarded-For";
pub const X_FORWARDED_PROTO: &str = "X-Forwarded-Proto";
pub const X_FORWARDED_HOST: &str = "X-Forwarded-Host";
const X_REQUEST_ID: &str = "X-Request-Id";

/// Makes the request that goes upstream. `has_body`: it has a body; `authority` is the upstream's, for HTTP/1.0 clients
/// that send no `Host`.
pub fn upstream_request(
    downstream: &RequestHeader,
    has_body: bool,
    hop: Hop<'_>,
    authority: &str,
) -> pingora::Result<RequestHeader> {
    let mut request = downstream.clone();
    let via = via(downstream.version);
    let host = host(downstream).map(str::to_owned);
    strip(&mut request);
    // HTTP/1.1 has two ways to delimit a body; HTTP/2 needs neither (RFC 9113, 8.1).
    if has_body && !request.headers.contains_key(header::CONTENT_LENGTH) {
        request.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    one_cookie(&mut request)?;
    origin_form(&mut request)?;
    request.set_version(Version::HTTP_11);
    if downstream.uri.authority().is_some() || !request.headers.contains_key(header::HOST) {
        request.insert_header(header::HOST, host.as_deref().unwrap_or(authority))?;
    }
    forwarded(&mut request, hop, host.as_deref())?;
    request.append_header("Via", via)?;
    Ok(request)
}

/// Adds the forwarding fields; also for the requests that take pingora's stock path.
pub fn forwarded(request: &mut RequestHeader, hop: Hop<'_>, host: Option<&str>) -> pingora::Result<()> {
    hop.forward(request, host)?;
    if !request.headers.contains_key(X_REQUEST_ID) {
        request.insert_header(X_REQUEST_ID, uuid::Uuid::new_v4().to_string())?;
    }
    TraceContext::ensure(request)
}

/// What a request names as its host (RFC 9112, 3.2.2: the request target comes first; RFC 9113, 8.3.1).
pub fn host(request: &RequestHeader) -> Option<&str> {
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    authority.or_else(|| request.headers.get(header::HOST)?.to_str().ok())
}

/// HTTP/2 may send `Cookie` in pieces, which HTTP/1.1 does not know (RFC 9113, 8.2.3).
fn one_cookie(request: &mut RequestHeader) -> pingora::Result<()> {
    if request.version != Version::HTTP_2 || request.headers.get_all(header::COOKIE).iter().count() < 2 {
        return Ok(());
    }
    let cookies: Vec<&[u8]> =
        request.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let cookie = cookies.join(&b"; "[..]);
    request.insert_header(header::COOKIE, cookie)
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
    upstream: &ResponseHeader,
    client: Version,
    has_body: bool,
) -> pingora::Result<ResponseHeader> {
    let mut response = upstream.clone();
    strip(&mut response);
    response.set_version(Version::HTTP_11);
    if has_body && client == Version::HTTP_11 && !response.headers.contains_key(header::CONTENT_LENGTH) {
        response.insert_header(header::TRANSFER_ENCODING, "chunked")?;
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
    if client == Version::HTTP_11 {
        response.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    if stream.coding.is_some() {
        response.remove_header(&header::CONTENT_ENCODING);
    }
    let content_type = response.headers.get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    if stream.format == Format::EventStream && !is_media_type(content_type, MEDIA_TYPE) {
        response.insert_header(header::CONTENT_TYPE, MEDIA_TYPE)?;
    }
    // nginx consumes X-Accel-* from upstream, so a second nginx needs it from us (ngx_http_proxy_module).
    response.insert_header("X-Accel-Buffering", "no")?;
    let mut cache_control = joined(&response.headers, header::CACHE_CONTROL.as_str());
    for directive in ["no-cache", "no-transform"] {
        let present = cache_control.split(',').any(|d| d.trim().eq_ignore_ascii_case(directive));
        if !present {
            if !cache_control.is_empty() {
                cache_control.push_str(", ");
            }
            cache_control.push_str(directive);
        }
    }
    response.insert_header(header::CACHE_CONTROL, cache_control)
}

/// All values of a list field as one.
pub fn joined(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()));
    values.collect::<Vec<_>>().join(", ")
}

fn via(received: Version) -> HeaderValue {
    HeaderValue::from_static(match received {
        Version::HTTP_10 => "1.0 sidestream",
        Version::HTTP_2 => "2.0 sidestream",
        _ => "1.1 sidestream",
    })
}

/// A request to a proxy may name the whole URI; an origin wants the path (RFC 9112, 3.2.1).
fn origin_form(request: &mut RequestHeader) -> pingora::Result<()> {
    if request.uri.authority().is_some() {
        let path = request.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        return request.set_raw_path(path.as_bytes());
    }
    // pingora keeps an absolute target of HTTP/1.1 as it came.
    let target = request.raw_path();
    let Some(scheme) =
        target.windows(3).position(|bytes| bytes == b"://").filter(|_| !target.starts_with(b"/"))
    else {
        return Ok(());
    };
    let after = &target[scheme + 3..];
    let path = after.iter().position(|byte| matches!(byte, b'/' | b'?')).map_or(&b"/"[..], |at| &after[at..]);
    let path = if path.starts_with(b"/") { path.to_vec() } else { [b"/", path].concat() };
    request.set_raw_path(&path)
}

/// Messages from which hop-by-hop fields can be stripped.
trait Head {
    fn headers(&self) -> &HeaderMap;
    fn remove(&mut self, name: &HeaderName);
}

impl Head for RequestHeader {
    fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }
}

impl Head for ResponseHeader {
    fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }
}

fn strip(head: &mut impl Head) {
    let nominated: Vec<HeaderName> = head
        .headers()
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // What frames and routes the message is not for the peer to take away (RFC 9110, 7.6.1).
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .collect();
    for name in nominated.iter().chain(&HOP_BY_HOP) {
        head.remove(name);
    }
}

/// Whether a request asks for the one upgrade that is passed on.
pub fn asks_for_websocket(request: &RequestHeader) -> bool {
    request.version == Version::HTTP_11
        && request.headers.get(header::UPGRADE).is_some_and(|v| is_websocket(v.as_bytes()))
}
