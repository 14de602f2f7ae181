//! The keys of a `stream` section.

use std::time::Duration;

use super::key::Entry::{Section as Sub, Value as Scalar};
use super::key::{Key, Section, key};
use super::stream::{HalfClose, OnDisconnect, TreatAsEventStream};
use super::tree::Value;
use super::values::ValueShape::{AnyOf, Null, Off, Text, Words};
use super::values::{
    BOOLEAN, DURATION, DURATION_OR_OFF, PADDING, Parsed, Problem, SIZE, ValueKind, Word, is_off, one_of,
    shown_or_null, text, word, word_for,
};
use crate::session::dialect::{ALL, Dialect, GENERIC};
use crate::session::{ErrorEvents, Heartbeats, Terminal};

pub static STREAM: Section = Section {
    example: "{ heartbeat: 15s, idle_timeout: 5m }",
    ..Section::new(
        "stream",
        "0.1.0",
        "How streams are treated. Routes can override each key.",
        &[
            Scalar(&HEARTBEAT.row),
            Scalar(&EARLY_HEARTBEAT.row),
            Scalar(&HEARTBEAT_PADDING.row),
            Scalar(&FIRST_EVENT_TIMEOUT.row),
            Scalar(&IDLE_TIMEOUT.row),
            Scalar(&MAX_DURATION.row),
            Scalar(&WRITE_TIMEOUT.row),
            Scalar(&HALF_CLOSE.row),
            Scalar(&ON_DISCONNECT.row),
            Scalar(&DRAIN_TIMEOUT.row),
            Scalar(&DIALECT.row),
            Scalar(&ERROR_EVENTS.row),
            Scalar(&DETECT_TRUNCATION.row),
            Scalar(&TERMINAL.row),
            Scalar(&COALESCE.row),
            Scalar(&MAX_EVENT_SIZE.row),
            Scalar(&TREAT_AS_EVENT_STREAM.row),
            Scalar(&NDJSON_TO_SSE.row),
            Sub(&WEBSOCKET),
        ],
    )
};

pub static HEARTBEAT: Key<Option<Duration>> = key(
    "heartbeat",
    "0.1.0",
    DURATION_OR_OFF,
    "15s",
    "Silence towards the client after which a heartbeat comment is sent.",
);

pub static EARLY_HEARTBEAT: Key<Option<Duration>> = key(
    "early_heartbeat",
    "0.1.0",
    DURATION_OR_OFF,
    "off",
    "The time from the request head after which heartbeats begin, though the backend has not answered yet. Only for requests \
     that ask for a stream, and for routes whose streams are event streams. The status is then 200: SDKs do not retry, and an \
     error status of the backend becomes an error event.",
)
.example("20s");

pub static HEARTBEAT_PADDING: Key<Heartbeats> = key(
    "heartbeat_padding",
    "0.1.0",
    PADDING,
    "0",
    "Bytes that are added to each heartbeat, for hops that hold small writes back.",
)
.example("4KiB");

pub static FIRST_EVENT_TIMEOUT: Key<Option<Duration>> = key(
    "first_event_timeout",
    "0.1.0",
    DURATION_OR_OFF,
    "10m",
    "The time from the request being sent to the first event; of responses that are no streams, to the head.",
);

pub static IDLE_TIMEOUT: Key<Option<Duration>> = key(
    "idle_timeout",
    "0.1.0",
    DURATION_OR_OFF,
    "5m",
    "The longest silence of the backend inside a response. Heartbeats do not count. gRPC calls are silent only while both sides \
     are; for routes of subscriptions, switch this and `first_event_timeout` off.",
);

pub static MAX_DURATION: Key<Option<Duration>> = key(
    "max_duration",
    "0.1.0",
    DURATION_OR_OFF,
    "off",
    "The longest time from the request head to the end of the stream.",
)
.example("1h");

pub static WRITE_TIMEOUT: Key<Option<Duration>> = key(
    "write_timeout",
    "0.1.0",
    DURATION_OR_OFF,
    "30s",
    "A client that takes nothing for this long is disconnected.",
);

pub static HALF_CLOSE: Key<HalfClose> = key(
    "half_close",
    "0.1.0",
    word::<HalfClose>(),
    "cancel",
    "The meaning of a client's FIN: it has left (`cancel`), or it still reads (`tolerate`).",
);

pub static ON_DISCONNECT: Key<OnDisconnect> = key(
    "on_disconnect",
    "0.1.0",
    word::<OnDisconnect>(),
    "cancel",
    "After a client left, the backend's work is cancelled (`cancel`), or its answer is read to the end, so that it is counted and \
     billed (`drain`).",
);

pub static DRAIN_TIMEOUT: Key<Duration> = key(
    "drain_timeout",
    "0.1.0",
    DURATION,
    "5m",
    "The longest time for which `on_disconnect: drain` reads an answer.",
);

pub static DIALECT: Key<Option<&'static Dialect>> = key(
    "dialect",
    "0.1.0",
    word::<Option<&'static Dialect>>(),
    "auto",
    "The protocol of the events (docs/dialects.md). `auto` learns it from them.",
);

pub static ERROR_EVENTS: Key<ErrorEvents> = key(
    "error_events",
    "0.1.0",
    word::<ErrorEvents>(),
    "auto",
    "The form of the event that ends a broken stream. `auto`: the one that clients of the dialect need. `off`: no event, a broken \
     connection. Streams of JSON lines have one form only.",
);

pub static DETECT_TRUNCATION: Key<bool> = key(
    "detect_truncation",
    "0.1.0",
    ValueKind {
        name: "word",
        shape: Words(|| vec!["auto", "off"]),
        read: |value| one_of(value, truncation_words(), &[]),
        show: |detect| word_for(truncation_words(), detect).to_owned(),
    },
    "auto",
    "`auto`: a clean end without the dialect's terminal event, or inside an event, is an error. `off`: it is not.",
);

pub static TERMINAL: Key<Option<Terminal>> = key(
    "terminal",
    "0.1.0",
    ValueKind {
        name: "text or `null`",
        // YAML reads an unquoted word of digits as a number, which is refused.
        shape: AnyOf(&[
            Text(concat!(
                r"^(?!.*[\u0000-\u001f\u007f-\u009f])",
                r"(?:(?:event|member):[^\s]+|(?![A-Za-z0-9_-]+:)[^\s](?:.*[^\s])?)$",
            )),
            Null,
            Off,
        ]),
        read: terminal,
        show: |terminal| shown_or_null(terminal.as_ref(), |terminal| text(&terminal.to_string())),
    },
    "null",
    "The end of streams in no known dialect: the data of the last event, `event:NAME` or `member:NAME`. A clean end without it \
     is an error, unless `detect_truncation` is off.",
)
.example("\"[DONE]\"");

pub static COALESCE: Key<Option<Duration>> = key(
    "coalesce",
    "0.1.0",
    DURATION_OR_OFF,
    "off",
    "At most one write in this time while events keep coming, for pages that render each token anew. The first event and the end \
     of an answer never wait. Nothing waits longer than `heartbeat`.",
)
.example("20ms");

pub static MAX_EVENT_SIZE: Key<usize> = key(
    "max_event_size",
    "0.1.0",
    SIZE,
    "1MiB",
    "Bytes of an incomplete event that are held back. A larger event passes through as it arrives.",
);

pub static TREAT_AS_EVENT_STREAM: Key<TreatAsEventStream> = key(
    "treat_as_event_stream",
    "0.1.0",
    word::<TreatAsEventStream>(),
    "auto",
    "Which responses are event streams. `auto`: by content type; and `text/plain` that is one beyond doubt, where a stream was \
     asked for. `always`: every successful one. `never`: none.",
);

pub static NDJSON_TO_SSE: Key<bool> = key(
    "ndjson_to_sse",
    "0.1.0",
    BOOLEAN,
    "false",
    "Whether streams of JSON lines, such as those of Ollama's own API, become event streams.",
);

pub static WEBSOCKET: Section = Section {
    example: "{ idle_timeout: 10m }",
    ..Section::new(
        "websocket",
        "0.1.0",
        "WebSockets. Of the other keys, `first_event_timeout` (to the 101), `max_duration` and `write_timeout` (in both directions) \
         apply to them. A FIN is passed on, whatever `half_close` says.",
        &[Scalar(&WEBSOCKET_IDLE_TIMEOUT.row)],
    )
};

pub static WEBSOCKET_IDLE_TIMEOUT: Key<Option<Duration>> = key(
    "idle_timeout",
    "0.1.0",
    DURATION_OR_OFF,
    "off",
    "A WebSocket is closed after both sides were silent for this long. Pings count as traffic.",
)
.example("10m");

impl Word for HalfClose {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("cancel", Self::Cancel), ("tolerate", Self::Tolerate)]
    }
}

impl Word for OnDisconnect {
    // Nothing keeps an answer for a client that comes back.
    const LATER: &'static [&'static str] = &["detach"];

    fn words() -> Vec<(&'static str, Self)> {
        vec![("cancel", Self::Cancel), ("drain", Self::Drain)]
    }
}

impl Word for TreatAsEventStream {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)]
    }
}

impl Word for ErrorEvents {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("auto", Self::Auto),
            ("openai", Self::OpenAi),
            ("anthropic", Self::Anthropic),
            ("responses", Self::Responses),
            ("mcp", Self::Mcp),
            ("generic", Self::Generic),
            ("off", Self::Off),
        ]
    }
}

impl Word for Option<&'static Dialect> {
    fn words() -> Vec<(&'static str, Self)> {
        let named = ALL.into_iter().chain([&GENERIC]).map(|dialect| (dialect.name, Some(dialect)));
        std::iter::once(("auto", None)).chain(named).collect()
    }
}

fn truncation_words() -> Vec<(&'static str, bool)> {
    vec![("auto", true), ("off", false)]
}

fn terminal(value: &Value) -> Parsed<Option<Terminal>> {
    if value.is_null() || is_off(value) {
        return Ok(None);
    }
    let parsed = match value.as_str() {
        Some(text) => text.parse(),
        None => Err(
            "write the data of the last event in quotes, such as `\"[DONE]\"`, or `event:NAME`, or `member:NAME`",
        ),
    };
    parsed.map(Some).map_err(|remedy| Problem::not(value, "what can end a stream", remedy))
}
