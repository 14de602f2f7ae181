//! The content of an access log line. Names follow OpenTelemetry where it defines them (semantic conventions
//! for HTTP and generative AI). docs/access-log.md explains them.

use std::net::IpAddr;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::Record;
use crate::http1::RequestHead;
use crate::outcome::Outcome;

/// The maximum length of a value from a client, in bytes.
const MAX_VALUE: usize = 512;

/// A line under construction. Bytes from clients are only written as JSON strings, so they cannot end the
/// line or add fields.
pub struct LogLine(Map<String, Value>);

impl LogLine {
    /// Starts the line of a request with the client's address and the request head. The query and fields that
    /// may hold secrets are not logged.
    pub fn of(request: &RequestHead, client: Option<IpAddr>) -> Self {
        let mut line = Self(Map::new());
        line.put("timestamp", humantime::format_rfc3339_millis(SystemTime::now()).to_string());
        // A head that was refused may lack these.
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

    /// Adds the ids that the backend receives too.
    pub fn ids(&mut self, request_id: &[u8], trace: Option<(&str, &str)>) {
        if !request_id.is_empty() {
            self.put("request_id", clipped(request_id));
        }
        if let Some((trace_id, parent_id)) = trace {
            self.put("trace_id", trace_id);
            self.put("parent_id", parent_id);
        }
    }

    /// Adds the result of a relayed request.
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

    /// Adds the status of a gRPC call, because its HTTP status says nothing.
    pub fn grpc_status(&mut self, status: Option<u8>) {
        self.put("rpc.grpc.status_code", status);
    }

    /// Adds the error code, which clients also see if a response can still carry it.
    pub fn error(&mut self, code: Option<&str>) {
        self.put("error.type", code);
    }

    /// Adds the bytes received from a WebSocket client, and the side that closed it.
    pub fn websocket(&mut self, received: u64, closed_by: Option<&str>) {
        self.put("bytes_received", received);
        if let Some(closed_by) = closed_by {
            self.put("ended_by", closed_by);
        }
    }

    /// Completes the line. `status`: the status that the client saw. `seconds`: the time since the request
    /// head was read.
    pub fn end(mut self, kind: &str, status: u16, seconds: f64) -> String {
        self.put("kind", kind);
        self.put("http.response.status_code", status);
        self.put("duration", rounded(seconds));
        Value::Object(self.0).to_string()
    }

    /// Adds a value unless it is null.
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        if !value.is_null() {
            self.0.insert(name.to_owned(), value);
        }
    }
}

/// Rounds to microseconds.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// The bytes as text, cut to 512 bytes.
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
