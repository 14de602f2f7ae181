//! The head of a response whose body is a stream.

use http::Version;

use crate::http1::{Fields, list};
use crate::session::{Format, MEDIA_TYPE, is_media_type};

/// Adapts the head of a stream: no length, no buffering or caching by intermediaries, and the right media type.
///
/// `is_decoded`: sidestream decodes the body, so `Content-Encoding` goes.
pub fn stream_response(response: &mut Fields, client: Version, format: Format, is_decoded: bool) {
    response.remove("Content-Length");
    if client == Version::HTTP_11 && !response.contains("Transfer-Encoding") {
        response.append("Transfer-Encoding", "chunked");
    }
    if is_decoded {
        response.remove("Content-Encoding");
    }
    let content_type = response.value("Content-Type").unwrap_or_default();
    if format == Format::EventStream && !is_media_type(content_type, MEDIA_TYPE) {
        response.set("Content-Type", MEDIA_TYPE);
    }
    // Each nginx removes X-Accel-* from the upstream response, so one between us and the client needs it from us
    // (ngx_http_proxy_module).
    response.set("X-Accel-Buffering", "no");
    response.set("Cache-Control", cache_control(response));
}

/// The response's own `Cache-Control`, plus `no-cache` and `no-transform`, so that no intermediary stores or alters it.
fn cache_control(response: &Fields) -> Vec<u8> {
    const ADDED: [&[u8]; 2] = [b"no-cache", b"no-transform"];
    let values = || response.values("Cache-Control");
    let is_missing = |added: &&[u8]| !list(values()).any(|said| said.eq_ignore_ascii_case(added));
    let said = values().filter(|value| !value.is_empty());
    said.chain(ADDED.into_iter().filter(is_missing)).collect::<Vec<_>>().join(&b", "[..])
}
