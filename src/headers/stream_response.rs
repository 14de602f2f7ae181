//! The head of a response whose body is a stream.

use http::Version;

use crate::http1::{Fields, list};
use crate::session::{Format, MEDIA_TYPE, is_media_type};

/// Makes a stream pass through whatever stands between here and the client, and says what it has become.
///
/// `is_decoded`: its content coding is undone on the way.
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
    // nginx consumes X-Accel-* from upstream, so a second nginx needs it from us (ngx_http_proxy_module).
    response.set("X-Accel-Buffering", "no");
    response.set("Cache-Control", cache_control(response));
}

/// What the response says already about caching, and that nobody on the way may keep or change it.
fn cache_control(response: &Fields) -> Vec<u8> {
    const ADDED: [&[u8]; 2] = [b"no-cache", b"no-transform"];
    let values = || response.values("Cache-Control");
    let is_missing = |added: &&[u8]| !list(values()).any(|said| said.eq_ignore_ascii_case(added));
    let said = values().filter(|value| !value.is_empty());
    said.chain(ADDED.into_iter().filter(is_missing)).collect::<Vec<_>>().join(&b", "[..])
}
