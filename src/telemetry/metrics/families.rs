//! All metrics: name, type, labels and help. The table in docs/metrics.md is generated from this list.

use std::fmt::Write;

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// All series of one metric name.
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
    "Time from reading the request head to delivering the first event. Streams only; heartbeats and comments do not count.",
);
pub const TIME_TO_FIRST_TOKEN: Family = histogram(
    "sidestream_time_to_first_token_seconds",
    &["route", "model"],
    "Time from reading the request head to delivering the first event with content. Roles, starts and pings do not count.",
);
pub const INTER_EVENT: Family = histogram(
    "sidestream_inter_event_seconds",
    &["route"],
    "Time between two delivered events. Updated at least once a second while events arrive, and when the stream ends.",
);
pub const STREAM_DURATION: Family = histogram(
    "sidestream_stream_duration_seconds",
    &["route", "outcome"],
    "Time from reading the request head to the end of the stream.",
);
pub const CONNECTIONS_OPEN: Family =
    gauge("sidestream_connections_open", &[], "Open client connections of all listeners.");
pub const CONNECTIONS_REFUSED: Family = counter(
    "sidestream_connections_refused_total",
    &[],
    "Client connections that were refused because of `limits.max_connections`, or because file descriptors were nearly used up.",
);
pub const STREAMS_STARTED: Family = counter(
    "sidestream_streams_started_total",
    &["route"],
    "Streams whose response head was sent, and requests that ended before theirs: the sum of sidestream_streams_total and \
     sidestream_streams_active.",
);
pub const STREAMS: Family = counter(
    "sidestream_streams_total",
    &["route", "outcome"],
    "Streams that ended. Requests that ended before their response head count as streams.",
);
pub const STREAMS_ACTIVE: Family =
    gauge("sidestream_streams_active", &["route"], "Running streams whose response head was sent.");
pub const STREAMS_WAITING: Family = gauge(
    "sidestream_streams_waiting",
    &["route"],
    "Requests that wait for the response head or for the first event of the stream (prefill).",
);
pub const CANCEL_PROPAGATION: Family = histogram(
    "sidestream_cancel_propagation_seconds",
    &["phase"],
    "Time from detecting that the client is gone to closing the upstream connection.",
);
pub const EVENTS: Family = counter("sidestream_events_total", &["route"], "Events delivered to clients.");
pub const EVENT_BYTES: Family = counter(
    "sidestream_event_bytes_total",
    &["route"],
    "Bytes of streams delivered to clients, without heartbeats and error events.",
);
pub const EVENTS_PER_READ: Family = histogram(
    "sidestream_events_per_read",
    &["route"],
    "Events per read from the backend. More than one event per read, after a silence, indicates a hop that buffers.",
);
pub const HEARTBEATS: Family =
    counter("sidestream_heartbeats_total", &["route"], "Heartbeat comments sent during silence.");
pub const ERROR_EVENTS: Family =
    counter("sidestream_error_events_total", &["route", "code"], "Error events sent to clients.");
pub const TOKENS: Family = counter(
    "sidestream_tokens_total",
    &["route", "model", "direction"],
    "Tokens as reported by backends in their streams (`usage`), `input` and `output`.",
);
pub const WEBSOCKETS: Family = counter(
    "sidestream_websockets_total",
    &["route", "outcome"],
    "WebSockets that ended. A refused upgrade counts as an ordinary request.",
);
pub const WEBSOCKETS_ACTIVE: Family = gauge("sidestream_websockets_active", &["route"], "Open WebSockets.");
pub const WEBSOCKET_BYTES: Family = counter(
    "sidestream_websocket_bytes_total",
    &["route", "direction"],
    "Bytes of WebSockets, `received` from clients or `sent` to them.",
);
pub const WEBSOCKET_DURATION: Family = histogram(
    "sidestream_websocket_duration_seconds",
    &["route", "outcome"],
    "Time from reading the request head to the end of the WebSocket.",
);
pub const REQUESTS: Family = counter(
    "sidestream_requests_total",
    &["route", "status"],
    "Requests by the status that the client saw. 499: the client left before the response head.",
);
pub const UPSTREAM_CONNECT: Family = histogram(
    "sidestream_upstream_connect_seconds",
    &["upstream"],
    "Time to open an upstream connection. Reused connections do not count.",
);
pub const LOOKUPS: Family = counter(
    "sidestream_upstream_lookups_total",
    &["upstream", "result"],
    "Look-ups of the names of the upstream's servers, `ok` or `failed`. After a failed look-up, the addresses found last stay in use.",
);
pub const SERVER_STREAMS: Family = gauge(
    "sidestream_server_streams_active",
    &["upstream", "server"],
    "Exchanges in progress on a server, from the choice of the server to their end. Includes WebSockets and responses that are not streams.",
);
pub const SERVER_UP: Family = gauge(
    "sidestream_server_up",
    &["upstream", "server"],
    "1 while a server is up; 0 while it is unhealthy, ejected, cooling down, leaving or unresolved. If no server is up, ejected and \
     cooling-down servers still get requests.",
);
pub const SERVER_SELECTED: Family = counter(
    "sidestream_server_selected_total",
    &["upstream", "server", "reason"],
    "Choices of a server by reason: `balance`, the server of the key (`affinity`), instead of the server of the key (`overflow`), \
     after another server failed (`failover`), or because no server is up (`panic`).",
);
pub const SERVER_FAILURES: Family = counter(
    "sidestream_server_failures_total",
    &["upstream", "server", "kind"],
    "Failures that count for `outlier_detection`, by the error code of the access log, or by the status.",
);
pub const SERVER_EJECTIONS: Family = counter(
    "sidestream_server_ejections_total",
    &["upstream", "server", "reason"],
    "Times that a server was taken out, by what detected the failure first: its answers (`outlier`) or its probes (`health`). A failed \
     trial does not count again.",
);
pub const SERVER_COOLDOWNS: Family = counter(
    "sidestream_server_cooldowns_total",
    &["upstream", "server", "status"],
    "Cooldowns that began, by the status that asked for them: 429 or 503. Further such answers during a cooldown extend it and do not \
     count, so a server that answers nothing else counts once.",
);
pub const QUEUE_LENGTH: Family =
    gauge("sidestream_queue_length", &["upstream"], "Requests in the queue for a server.");
pub const QUEUE_SIZE: Family =
    gauge("sidestream_queue_size", &["upstream"], "The size of the queue: `queue.size`.");
pub const QUEUE_SECONDS: Family = histogram(
    "sidestream_queue_seconds",
    &["upstream", "outcome"],
    "Time that requests waited in the queue, by how the wait ended: `served`, `timeout`, `client_gone` or `drain`. Requests that did not \
     wait do not count.",
);
pub const QUEUE_REJECTED: Family = counter(
    "sidestream_queue_rejected_total",
    &["upstream", "reason"],
    "Requests answered with 503 because no server was available: all servers and the queue, if any, were `full`; the request waited too \
     long (`timeout`); the process drains (`drain`); or no server was up (`no_server`).",
);
pub const FAILOVERS: Family = counter(
    "sidestream_failovers_total",
    &["upstream", "cause", "result"],
    "Requests that were sent to another server after one failed (`switched`), or for which no other server was available (`none`), by \
     the `cause` from `failover.on`. `reset` includes invalid HTTP.",
);
pub const FAILOVER_BUDGET_EXHAUSTED: Family = counter(
    "sidestream_failover_budget_exhausted_total",
    &["upstream"],
    "Requests that were not sent to another server because `failover.budget` was exhausted.",
);
pub const UPSTREAM_HEADER: Family = histogram(
    "sidestream_upstream_header_seconds",
    &["route"],
    "Time from sending the request to the backend to receiving the response head.",
);
pub const ACCESS_LOG_DROPPED: Family = counter(
    "sidestream_access_log_dropped_total",
    &[],
    "Lines of the access log that were dropped because writing failed or was too slow.",
);
pub const BUILD_INFO: Family =
    gauge("sidestream_build_info", &["version"], "Always 1. The label holds the version.");
pub const GEN_AI_TIME_TO_FIRST_TOKEN: Family = histogram(
    "gen_ai_server_time_to_first_token_seconds",
    &["gen_ai_request_model"],
    "The time to first token under its OpenTelemetry name.",
);
pub const GEN_AI_TIME_PER_OUTPUT_TOKEN: Family = histogram(
    "gen_ai_server_time_per_output_token_seconds",
    &["gen_ai_request_model"],
    "Time from delivering the first token to the end of a complete answer, divided by the number of further tokens, if the backend \
     reports it.",
);
pub const GEN_AI_REQUEST_DURATION: Family = histogram(
    "gen_ai_server_request_duration_seconds",
    &["gen_ai_request_model", "error_type"],
    "The duration of streams under its OpenTelemetry name. `error_type` is the outcome of incomplete streams.",
);

/// All metrics, in the order of the documentation.
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
