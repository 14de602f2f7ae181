//! `early_heartbeat`: begins an event stream before the backend has answered.

use http::{StatusCode, Version};
use tokio::time::Instant;

use super::Exchange;
use super::stream_request::{accepts_event_stream, asks_for_stream};
use super::upload::Upload;
use crate::config::StreamPolicy;
use crate::downstream::{Client, ClientLost};
use crate::headers::stream_response;
use crate::http1::{RequestHead, ResponseHead};
use crate::session::dialect::Heartbeat;
use crate::session::{Format, MEDIA_TYPE};

/// Paths on which Ollama's native API streams (github.com/ollama/ollama, docs/api.md).
const OLLAMA: [&str; 2] = ["/api/chat", "/api/generate"];

impl Exchange {
    /// Sends a due heartbeat, preceded by the head of an event stream if it is the first. `number` is the
    /// position in the queue; the heartbeat contains it before the padding.
    pub async fn send_early_heartbeat(
        &mut self,
        client: &mut Client,
        number: Option<usize>,
    ) -> Result<(), ClientLost> {
        self.waiting.handle_heartbeat(&self.route.config.stream.session, Instant::now().into_std());
        if !self.has_begun {
            if !asks_for_event_stream(client.request(), &self.upload, self.policy()) {
                if self.upload.is_read() {
                    self.waiting.stop_heartbeats();
                }
                return Ok(());
            }
            self.has_begun = true;
            client.write_head(head(client.version())).await?;
        }
        let kind = self.asked(client.request()).heartbeat();
        let heartbeats = &self.policy().session.heartbeats;
        let number = number.filter(|_| kind == Heartbeat::Comment);
        if let Some(number) = number {
            client.write(format!(": queued {number}\n").as_bytes()).await?;
        }
        if number.is_none() || heartbeats.padding() > 0 {
            client.write(heartbeats.get(kind, false)).await?;
        }
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
    stream_response(&mut head.fields, version, Format::EventStream, false);
    head
}

/// Whether the response is known to be an event stream. A heartbeat would break any other response.
fn asks_for_event_stream(request: &RequestHead, upload: &Upload, policy: &StreamPolicy) -> bool {
    // Ollama's native API answers in JSON lines, but its requests look like those of OpenAI.
    let is_for_lines = OLLAMA.iter().any(|path| request.path().ends_with(path)) && !policy.ndjson_to_sse;
    accepts_event_stream(&request.fields) || (asks_for_stream(request, upload) && !is_for_lines)
}
