//! The tests that are made at a point.

use std::time::Duration;

use http::Method;

use crate::doctor::judge::Units;

/// Fields that a browser sends with `fetch` or an `EventSource`.
const BROWSER: &[(&str, &str)] = &[
    ("Accept", "text/event-stream"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-US,en;q=0.9"),
    ("Cache-Control", "no-cache"),
    ("Sec-Fetch-Dest", "empty"),
    ("Sec-Fetch-Mode", "cors"),
    ("Sec-Fetch-Site", "same-origin"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    ),
];

/// Fields that nearly every HTTP library sends.
const LIBRARY: &[(&str, &str)] = &[("Accept", "*/*"), ("Accept-Encoding", "gzip, deflate")];

const PLAIN: &[(&str, &str)] = &[("Accept", "text/event-stream")];

/// A test that is made at each point.
pub struct Test {
    /// The name in the output of `--json`. Stable: users script against it.
    pub id: &'static str,
    /// The text in the report.
    pub what: &'static str,
    pub kind: Kind,
}

/// What a test does.
pub enum Kind {
    Stream(StreamTest),
    /// Comments of this many bytes.
    Heartbeats(usize),
    /// A fixed body that must arrive unchanged.
    Sample,
    /// A stream that breaks off.
    Ending(&'static str),
    /// A stream whose client leaves.
    Leaving(&'static str),
    Preflight,
    AtOnce,
    /// Streams that are silent for a long time.
    Idle,
}

/// A stream of numbered events, and how it is requested.
pub struct StreamTest {
    pub method: Method,
    pub fields: &'static [(&'static str, &'static str)],
    /// The order, without `run`, `events`, `every` and `first_after`.
    pub order: &'static str,
    pub units: Units,
}

/// Events of a stream.
pub const EVENTS: usize = 40;

/// From one event to the next.
pub const EVERY: Duration = Duration::from_millis(50);

/// From the head to the first event.
pub const FIRST_AFTER: Duration = Duration::from_millis(300);

const fn test(id: &'static str, what: &'static str, kind: Kind) -> Test {
    Test { id, what, kind }
}

const fn get(fields: &'static [(&'static str, &'static str)], order: &'static str) -> Kind {
    Kind::Stream(StreamTest { method: Method::GET, fields, order, units: Units::Events })
}

const fn lines(order: &'static str) -> Kind {
    Kind::Stream(StreamTest { method: Method::GET, fields: LIBRARY, order, units: Units::Lines })
}

const POST: Kind =
    Kind::Stream(StreamTest { method: Method::POST, fields: PLAIN, order: "size=200", units: Units::Events });

/// The tests, in groups that run at the same time. A group is small enough for any hop that is fit for streams. The first stream is the
/// reference for the others.
pub const TESTS: [&[Test]; 4] = [
    &[
        test("stream_200b", "GET, events of 200 B", get(PLAIN, "size=200")),
        test("stream_12b", "GET, events of 12 B", get(PLAIN, "size=12")),
        test("stream_16k", "GET, events of 16 KiB", get(PLAIN, "size=16384")),
        test("post", "POST, events of 200 B", POST),
    ],
    &[
        test("browser", "browser", get(BROWSER, "size=200")),
        test("no_transform", "browser, no-transform", get(BROWSER, "size=200&transform=no")),
        test("accel", "X-Accel-Buffering: no", get(PLAIN, "size=200&accel=no")),
        test("ndjson", "application/x-ndjson", lines("size=200&type=ndjson")),
        test("text_plain", "text/plain", lines("size=200&type=plain")),
    ],
    &[
        test("heartbeats_30b", "heartbeats of 30 B", Kind::Heartbeats(30)),
        test("heartbeats_4k", "heartbeats of 4 KiB", Kind::Heartbeats(4096)),
        test("sample", "bytes unaltered", Kind::Sample),
        test(
            "ends_truncated",
            "stream cut at the origin",
            Kind::Ending("size=200&first_after=50&end=truncated"),
        ),
        test("ends_reset", "stream reset at the origin", Kind::Ending("size=200&first_after=50&end=reset")),
        test("leaves_prefill", "client leaves before the head", Kind::Leaving("events=1&head_after=12000")),
        test(
            "leaves_stream",
            "client leaves after 3 events",
            Kind::Leaving("events=240&every=50&first_after=50"),
        ),
        test("preflight", "CORS preflight", Kind::Preflight),
    ],
    &[test("at_once", "streams at once", Kind::AtOnce)],
];

/// Runs beside all others, with `--idle`.
pub const IDLE: Test = test("idle", "silent streams", Kind::Idle);

/// How long the origin is asked whether it has noticed that a client left.
pub const KNOWS_WITHIN: Duration = Duration::from_secs(3);

/// A stream that lasts long enough for the others to begin.
pub const AT_ONCE: &str = "events=1&size=64&first_after=2500";

/// A stream that begins within this time runs beside the others, because none of them has ended yet.
pub const AT_ONCE_WITHIN: Duration = Duration::from_millis(2000);

/// Streams that are opened at once. Over HTTP/1.1 one more than the six connections that a browser opens to a host; over HTTP/2 one
/// more than the 100 that a server should allow on one connection at the least (RFC 9113, 6.5.2).
pub const AT_ONCE_HTTP1: usize = 7;
pub const AT_ONCE_HTTP2: u32 = 101;

/// Request fields that must reach the origin.
pub const CARRIED: [(&str, &str); 4] = [
    ("Accept", "text/event-stream"),
    ("Authorization", "Bearer sidestream-doctor"),
    ("Last-Event-ID", "41"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
];

/// The fields of the OPTIONS request of a browser whose page requests a stream of another site.
pub const PREFLIGHT: [(&str, &str); 3] = [
    ("Origin", "https://doctor.invalid"),
    ("Access-Control-Request-Method", "POST"),
    ("Access-Control-Request-Headers", "authorization,content-type,last-event-id"),
];
