//! `early_heartbeat`: a stream that begins before the backend has answered.

use http::{StatusCode, Version};
use tokio::time::Instant;

use super::exchange::Exchange;
use super::hygiene;
use super::response::Stream;
use super::stream_request::{accepts_event_stream, asks_for_stream};
use super::upload::Upload;
use crate::config::StreamPolicy;
use crate::downstream::{Client, ClientLost};
use crate::event_stream::{MEDIA_TYPE, heartbeat};
use crate::http1::{RequestHead, ResponseHead};

/// Where Ollama's own API streams (github.com/ollama/ollama, docs/api.md).
const OLLAMA: [&str; 2] = ["/api/chat", "/api/generate"];

/// The heartbeats of one exchange before the backend's response header.
#[derive(Debug)]
pub struct EarlyHeartbeat {
    next: Option<Instant>,
    has_begun: bool,
}

impl EarlyHeartbeat {
    pub fn new(policy: &StreamPolicy, started: Instant) -> Self {
        Self { next: policy.early_heartbeat.map(|wait| started + wait), has_begun: false }
    }

    /// When the next one is due; `None`: never.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether the head of an event stream is out, so that no status can be sent any more.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }
}

impl Exchange<'_> {
    /// Sends the heartbeat that is due, and before the first one the head of an event stream.
    pub async fn send_early_heartbeat(&mut self, client: &mut Client) -> Result<(), ClientLost> {
        let interval = self.policy().heartbeat.or(self.policy().early_heartbeat);
        self.early.next = interval.map(|interval| Instant::now() + interval);
        if !self.early.has_begun {
            if !asks_for_event_stream(client.request(), &self.upload, self.policy()) {
                if self.upload.is_read() {
                    self.early.next = None;
                }
                return Ok(());
            }
            self.early.has_begun = true;
            client.write_head(head(client.version())).await?;
        }
        client.write(heartbeat(false)).await?;
        if !client.has_left() {
            self.route.metrics.heartbeats.inc();
            self.record.note_heartbeat();
        }
        Ok(())
    }
}

fn head(version: Version) -> ResponseHead {
    let mut head = ResponseHead::new(StatusCode::OK);
    head.fields.append("Content-Type", MEDIA_TYPE);
    hygiene::stream_response(&mut head.fields, version, Stream::EVENTS);
    head
}

/// Whether what is asked for is known to be an event stream, for a heartbeat would break any other answer.
fn asks_for_event_stream(request: &RequestHead, upload: &Upload, policy: &StreamPolicy) -> bool {
    // Ollama's own API answers in JSON lines, and is asked as OpenAI's is.
    let is_for_lines = OLLAMA.iter().any(|path| request.path().ends_with(path)) && !policy.ndjson_to_sse;
    accepts_event_stream(&request.fields) || (asks_for_stream(request, upload) && !is_for_lines)
}
