//! Every metric: its name, its labels and what it says. The table in docs/metrics.md is made of this.

use std::fmt::Write;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// All series of one name.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub name: &'static str,
    pub kind: MetricKind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: MetricKind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: MetricKind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: MetricKind::Histogram, labels, help }
}

pub const TIME_TO_FIRST_EVENT: Family = histogram(
    "sidestream_time_to_first_event_seconds",
    &["route", "model"],
    "Request head read to first event delivered; streams only, heartbeats and comments never count.",
);
pub const TIME_TO_FIRST_TOKEN: Family = histogram(
    "sidestream_time_to_first_token_seconds",
    &["route", "model"],
    "Request head read to first event with content delivered: roles, starts and pings do not count.",
);
pub const INTER_EVENT: Family = histogram(
    "sidestream_inter_event_seconds",
    &["route"],
    "Gap between delivered events; written once a second, and when the stream ends.",
);
pub const STREAM_DURATION: Family = histogram(
    "sidestream_stream_duration_seconds",
    &["route", "outcome"],
    "Request head read to the end of the stream.",
);
pub const CONNECTIONS_OPEN: Family =
    gauge("sidestream_connections_open", &[], "Client connections that are open, of all listeners.");
pub const CONNECTIONS_REFUSED: Family = counter(
    "sidestream_connections_refused_total",
    &[],
    "Client connections that were refused, because `limits.max_connections` were open or descriptors are nearly used up.",
);
pub const STREAMS_STARTED: Family = counter(
    "sidestream_streams_started_total",
    &["route"],
    "Streams whose response header is out, and requests that ended before theirs: the sum of sidestream_streams_total and \
     sidestream_streams_active.",
);
pub const STREAMS: Family = counter(
    "sidestream_streams_total",
    &["route", "outcome"],
    "Streams that have ended; requests that ended before their response header count as streams.",
);
pub const STREAMS_ACTIVE: Family =
    gauge("sidestream_streams_active", &["route"], "Streams whose response header is out.");
pub const STREAMS_WAITING: Family = gauge(
    "sidestream_streams_waiting",
    &["route"],
    "Requests whose response header, or whose stream's first event, is still to come (prefill).",
);
pub const CANCEL_PROPAGATION: Family = histogram(
    "sidestream_cancel_propagation_seconds",
    &["phase"],
    "Client found gone to upstream connection closed.",
);
pub const EVENTS: Family = counter("sidestream_events_total", &["route"], "Events delivered.");
pub const EVENT_BYTES: Family = counter(
    "sidestream_event_bytes_total",
    &["route"],
    "Bytes of streams delivered, heartbeats and error events aside.",
);
pub const EVENTS_PER_READ: Family = histogram(
    "sidestream_events_per_read",
    &["route"],
    "Events that were there at once when the backend was read. More than one at a time, after a silence, is the mark of a hop \
     that buffers.",
);
pub const HEARTBEATS: Family =
    counter("sidestream_heartbeats_total", &["route"], "Heartbeat comments sent into silence.");
pub const ERROR_EVENTS: Family =
    counter("sidestream_error_events_total", &["route", "code"], "Error events sent to clients.");
pub const TOKENS: Family = counter(
    "sidestream_tokens_total",
    &["route", "model", "direction"],
    "Tokens as backends count them in their streams (`usage`), `input` and `output`.",
);
pub const WEBSOCKETS: Family = counter(
    "sidestream_websockets_total",
    &["route", "outcome"],
    "WebSockets that have ended. An upgrade that is refused is an ordinary request.",
);
pub const WEBSOCKETS_ACTIVE: Family =
    gauge("sidestream_websockets_active", &["route"], "WebSockets that are open.");
pub const WEBSOCKET_BYTES: Family = counter(
    "sidestream_websocket_bytes_total",
    &["route", "direction"],
    "Bytes of WebSockets, `received` from clients and `sent` to them.",
);
pub const WEBSOCKET_DURATION: Family = histogram(
    "sidestream_websocket_duration_seconds",
    &["route", "outcome"],
    "Request head read to the end of the WebSocket.",
);
pub const REQUESTS: Family = counter(
    "sidestream_requests_total",
    &["route", "status"],
    "Requests by the status that their clients saw; 499 is a client that left before the header.",
);
pub const UPSTREAM_CONNECT: Family = histogram(
    "sidestream_upstream_connect_seconds",
    &["upstream"],
    "Opening an upstream connection; reused ones do not count.",
);
pub const LOOKUPS: Family = counter(
    "sidestream_upstream_lookups_total",
    &["upstream", "result"],
    "Look-ups of the name of an upstream's server, `ok` and `failed`; what was found last holds after one that failed.",
);
pub const SERVER_STREAMS: Family = gauge(
    "sidestream_server_streams_active",
    &["upstream", "server"],
    "Exchanges that a server carries, from its choice to their end, other responses and WebSockets included.",
);
pub const SERVER_UP: Family = gauge(
    "sidestream_server_up",
    &["upstream", "server"],
    "1 while a server is up, 0 while it is out: unhealthy, ejected, cooling down, leaving or unresolved. Where all are out, some of them \
     get requests all the same.",
);
pub const SERVER_SELECTED: Family = counter(
    "sidestream_server_selected_total",
    &["upstream", "server", "reason"],
    "Choices of a server: by `balance`, for its key (`affinity`), in place of the one of the key (`overflow`), after another one has \
     failed (`failover`), or because none is up (`panic`).",
);
pub const SERVER_FAILURES: Family = counter(
    "sidestream_server_failures_total",
    &["upstream", "server", "kind"],
    "Failures that count for `outlier_detection`, by the code that the access log has for them, or the status.",
);
pub const SERVER_EJECTIONS: Family = counter(
    "sidestream_server_ejections_total",
    &["upstream", "server", "reason"],
    "How often a server was taken out, by what found it first: its answers (`outlier`) or its probes (`health`). A trial that fails \
     does not count again.",
);
pub const SERVER_COOLDOWNS: Family = counter(
    "sidestream_server_cooldowns_total",
    &["upstream", "server", "status"],
    "How often a server began to cool down, by the status that asked for it: 429 or 503. Further ones within that pause do not count, \
     and each prolongs it: a server that answers nothing else counts once.",
);
pub const QUEUE_LENGTH: Family =
    gauge("sidestream_queue_length", &["upstream"], "Requests that wait for a server.");
pub const QUEUE_SIZE: Family =
    gauge("sidestream_queue_size", &["upstream"], "Requests that may wait for a server: `queue.size`.");
pub const QUEUE_SECONDS: Family = histogram(
    "sidestream_queue_seconds",
    &["upstream", "outcome"],
    "How long requests waited for a server, those that had not to wait aside: `served`, `timeout`, `client_gone` or `drain`.",
);
pub const QUEUE_REJECTED: Family = counter(
    "sidestream_queue_rejected_total",
    &["upstream", "reason"],
    "Requests that were answered 503 for want of a server: all were `full`, and so was the queue if there is one; they had waited for too long (`timeout`), the \
     process ends (`drain`), or no server was up (`no_server`).",
);
pub const FAILOVERS: Family = counter(
    "sidestream_failovers_total",
    &["upstream", "cause", "result"],
    "Requests that went to another server after one had failed (`switched`), or would have and found none (`none`), by the `cause` in \
     `failover.on`: `reset` has invalid HTTP too.",
);
pub const FAILOVER_BUDGET_EXHAUSTED: Family = counter(
    "sidestream_failover_budget_exhausted_total",
    &["upstream"],
    "Requests that did not go to another server because `failover.budget` was used up.",
);
pub const UPSTREAM_HEADER: Family = histogram(
    "sidestream_upstream_header_seconds",
    &["route"],
    "Request sent upstream to response header received.",
);
pub const ACCESS_LOG_DROPPED: Family = counter(
    "sidestream_access_log_dropped_total",
    &[],
    "Lines of the access log that were dropped, because whoever takes them was too slow.",
);
pub const BUILD_INFO: Family =
    gauge("sidestream_build_info", &["version"], "Always 1; the label tells the version.");
pub const GEN_AI_TIME_TO_FIRST_TOKEN: Family = histogram(
    "gen_ai_server_time_to_first_token_seconds",
    &["gen_ai_request_model"],
    "The time to the first token under OpenTelemetry's name.",
);
pub const GEN_AI_TIME_PER_OUTPUT_TOKEN: Family = histogram(
    "gen_ai_server_time_per_output_token_seconds",
    &["gen_ai_request_model"],
    "First token delivered to the end of a complete answer, by the tokens after the first, where the backend counts them.",
);
pub const GEN_AI_REQUEST_DURATION: Family = histogram(
    "gen_ai_server_request_duration_seconds",
    &["gen_ai_request_model", "error_type"],
    "The duration of streams under OpenTelemetry's name; `error_type` is the outcome of those that are not complete.",
);

/// All of them, in the order of the documentation.
pub const ALL: [Family; 42] = [
    TIME_TO_FIRST_EVENT,
    TIME_TO_FIRST_TOKEN,
    INTER_EVENT,
    STREAM_DURATION,
    STREAMS_STARTED,
    STREAMS,
    STREAMS_ACTIVE,
    STREAMS_WAITING,
    CANCEL_PROPAGATION,
    EVENTS,
    EVENT_BYTES,
    EVENTS_PER_READ,
    HEARTBEATS,
    ERROR_EVENTS,
    TOKENS,
    WEBSOCKETS,
    WEBSOCKETS_ACTIVE,
    WEBSOCKET_BYTES,
    WEBSOCKET_DURATION,
    REQUESTS,
    UPSTREAM_CONNECT,
    LOOKUPS,
    SERVER_STREAMS,
    SERVER_UP,
    SERVER_SELECTED,
    SERVER_FAILURES,
    SERVER_EJECTIONS,
    SERVER_COOLDOWNS,
    QUEUE_LENGTH,
    QUEUE_SIZE,
    QUEUE_SECONDS,
    QUEUE_REJECTED,
    FAILOVERS,
    FAILOVER_BUDGET_EXHAUSTED,
    UPSTREAM_HEADER,
    CONNECTIONS_OPEN,
    CONNECTIONS_REFUSED,
    ACCESS_LOG_DROPPED,
    BUILD_INFO,
    GEN_AI_TIME_TO_FIRST_TOKEN,
    GEN_AI_TIME_PER_OUTPUT_TOKEN,
    GEN_AI_REQUEST_DURATION,
];

/// The table of all metrics in Markdown.
pub fn table() -> String {
    let mut table = "| metric | kind | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for Family { name, kind, labels, help } in ALL {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| `{name}` | {kind} | {} | {help} |", labels.join(" "));
    }
    table
}
