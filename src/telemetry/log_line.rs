//! What the access log says of a request. The names are OpenTelemetry's where it has any (semantic conventions for HTTP and
//! generative AI); docs/access-log.md explains them.

use std::net::IpAddr;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::Record;
use crate::http1::RequestHead;
use crate::outcome::Outcome;

/// Bytes that a value from a client may take in a line.
const MAX_VALUE: usize = 512;

/// One line, as it is put together. Clients' bytes get into it as JSON strings only, so none can end it or add to it.
pub struct LogLine(Map<String, Value>);

impl LogLine {
    /// Begins the line of a request, with whom it is from and what its head says. Neither the query nor any field that may hold a secret is logged.
    pub fn of(request: &RequestHead, client: Option<IpAddr>) -> Self {
        let mut line = Self(Map::new());
        line.put("timestamp", humantime::format_rfc3339_millis(SystemTime::now()).to_string());
        // A head that is refused may have had none of these.
        if !request.target().is_empty() {
            line.put("http.request.method", clipped(request.method.as_str().as_bytes()));
            line.put("url.path", clipped(request.path().as_bytes()));
        }
        line.put("server.address", request.host().map(|host| clipped(host.as_bytes())));
        line.put("network.protocol.version", version(request));
        line.put("client.address", client.map(|address| address.to_string()));
        line.put("user_agent.original", request.fields.value("User-Agent").map(clipped));
        line
    }

    /// Adds the ids that the backend gets too.
    pub fn ids(&mut self, request_id: &[u8], trace: Option<(&str, &str)>) {
        if !request_id.is_empty() {
            self.put("request_id", clipped(request_id));
        }
        if let Some((trace_id, parent_id)) = trace {
            self.put("trace_id", trace_id);
            self.put("parent_id", parent_id);
        }
    }

    /// Adds what became of a request that was relayed.
    pub fn record(&mut self, record: &Record, outcome: Outcome) {
        let seconds = |duration: Option<std::time::Duration>| duration.map(|d| rounded(d.as_secs_f64()));
        self.put("http.route", &*record.route);
        self.put("upstream", &*record.upstream);
        self.put("upstream.server", record.server().as_deref());
        self.put("upstream.attempts", record.attempts());
        self.put("queue_time", seconds(record.queued()));
        self.put("outcome", outcome.label());
        self.put("ended_by", outcome.ended_by().as_str());
        let fault = outcome.fault();
        self.error(fault.map(|fault| fault.code()).as_deref());
        self.put("error.cause", fault.and_then(|fault| fault.cause).map(|cause| cause.to_string()));
        self.put("phase", outcome.phase().unwrap_or(record.phase()).as_str());
        self.put("time_to_first_event", seconds(record.time_to_first_event()));
        self.put("time_to_first_token", seconds(record.time_to_first_token()));
        self.put("dialect", record.dialect());
        self.put("events", record.events());
        self.put("bytes", record.bytes());
        self.put("heartbeats", record.heartbeats());
        self.put("gen_ai.request.model", record.model().map(|model| clipped(model.as_bytes())));
        let usage = record.usage();
        self.put("gen_ai.usage.input_tokens", usage.input_tokens);
        self.put("gen_ai.usage.output_tokens", usage.output_tokens);
        self.grpc_status(record.grpc_status());
    }

    /// Adds what a call of gRPC has ended with, whose HTTP status says nothing.
    pub fn grpc_status(&mut self, status: Option<u8>) {
        self.put("rpc.grpc.status_code", status);
    }

    /// Adds why it was refused, or failed: a code that clients see too, or would see.
    pub fn error(&mut self, code: Option<&str>) {
        self.put("error.type", code);
    }

    /// Adds what is known of a WebSocket: bytes from its client, and who closed it.
    pub fn websocket(&mut self, received: u64, closed_by: Option<&str>) {
        self.put("bytes_received", received);
        if let Some(closed_by) = closed_by {
            self.put("ended_by", closed_by);
        }
    }

    /// Ends the line. `status`: what the client saw; `seconds` since the request's head was read.
    pub fn end(mut self, kind: &str, status: u16, seconds: f64) -> String {
        self.put("kind", kind);
        self.put("http.response.status_code", status);
        self.put("duration", rounded(seconds));
        Value::Object(self.0).to_string()
    }

    /// Adds a value; what is unknown is left out.
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        if !value.is_null() {
            self.0.insert(name.to_owned(), value);
        }
    }
}

/// To a microsecond.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// The text that these bytes are, or the beginning of it.
pub fn clipped(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut end = text.len().min(MAX_VALUE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn version(request: &RequestHead) -> &'static str {
    match request.version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
