//! An HTTP/2 stream of a client.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use tokio::time::timeout;

use super::http2_body::Http2Body;
use super::{Link, Received, TrailerCounts, Turns};
use crate::http1::{ResponseHead, is_token};
use crate::outcome::Failure;

/// A stream. Dropping it before its end resets it; the connection and its other streams continue.
pub struct Http2Client {
    request_body: RecvStream,
    is_body_read: bool,
    respond: SendResponse<Bytes>,
    trailer_counts: TrailerCounts,
    turns: Turns,
    link: Arc<Link>,
    /// Present once the response head was written.
    pub(super) response_body: Option<Http2Body>,
}

impl Http2Client {
    /// `trailer_counts`, `turns` and `link` belong to its connection.
    pub fn new(
        request_body: RecvStream,
        respond: SendResponse<Bytes>,
        trailer_counts: TrailerCounts,
        turns: Turns,
        link: Arc<Link>,
    ) -> Self {
        let is_body_read = request_body.is_end_stream();
        Self { request_body, is_body_read, respond, trailer_counts, turns, link, response_body: None }
    }

    /// The socket below, shared by all streams of the connection.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Whether the request was read completely.
    pub fn is_body_read(&self) -> bool {
        self.is_body_read
    }

    /// Ignores the rest of the request. When this is dropped, h2 resets the stream, with NO_ERROR if the
    /// response has ended.
    pub fn dismiss_request(&mut self) {
        self.is_body_read = true;
    }

    /// Reads the next piece of the body if `is_wanted`, and detects that the client leaves. Cancel-safe.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, is_wanted: bool) -> Poll<Received> {
        let reset = match &mut self.response_body {
            Some(body) => body.poll_reset(cx),
            None => self.respond.poll_reset(cx).map(drop),
        };
        if reset.is_ready() {
            return Poll::Ready(Received::Gone);
        }
        if self.is_body_read || !is_wanted {
            return Poll::Pending;
        }
        loop {
            let (piece, is_end) = match ready!(self.request_body.poll_data(cx)) {
                Some(Ok(piece)) => (piece, self.request_body.is_end_stream()),
                // Trailers are not forwarded, but must be valid.
                None if !ready!(self.poll_trailers(cx)) => {
                    return Poll::Ready(Received::Bad(Failure::MalformedBody));
                }
                None => (Bytes::new(), true),
                // The stream was reset, or its connection is gone.
                Some(Err(_)) => return Poll::Ready(Received::Gone),
            };
            // Fails only if no more data can be received.
            let _ = self.request_body.flow_control().release_capacity(piece.len());
            self.is_body_read = is_end;
            // An empty DATA frame without END_STREAM carries nothing.
            if is_end || !piece.is_empty() {
                return Poll::Ready(Received::Piece { piece, is_last: is_end });
            }
        }
    }

    /// Whether the trailers, if any, are valid fields (RFC 9113, 8.1 and 8.2.1).
    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        // Fails if the stream was reset in the meantime.
        let Ok(trailers) = ready!(self.request_body.poll_trailers(cx)) else { return Poll::Ready(false) };
        let trailers = trailers.unwrap_or_default();
        let received = self.trailer_counts.take(self.request_body.stream_id().into());
        // h2 drops pseudo-header fields. If fewer fields arrive than were received, the trailers contained
        // some.
        let are_all = received.is_none_or(|received| received == trailers.len());
        Poll::Ready(are_all && trailers.keys().all(|name| is_token(name.as_str().as_bytes())))
    }

    /// Writes the final response head; a body follows.
    pub fn write_head(&mut self, response: &ResponseHead) -> Result<(), h2::Error> {
        let response = response.to_http2().ok_or(Reason::INTERNAL_ERROR)?;
        self.response_body = Some(Http2Body::new(self.respond.send_response(response, false)?));
        Ok(())
    }

    /// Marks the response as an event stream.
    pub fn expect_stream(&mut self) {
        if let Some(body) = &mut self.response_body {
            body.expect_events();
        }
    }

    /// Writes a response head that ends the stream.
    pub fn answer(&mut self, response: &ResponseHead) -> Result<(), h2::Error> {
        let response = response.to_http2().ok_or(Reason::INTERNAL_ERROR)?;
        self.response_body = Some(Http2Body::new(self.respond.send_response(response, true)?));
        Ok(())
    }

    /// Waits until queued frames are written, because h2 discards the queue of a stream that is reset.
    pub async fn written(&self, limit: Duration) {
        // Times out if the connection's task is gone and takes no more turns.
        let _ = timeout(limit, self.turns.next()).await;
    }

    /// Resets the stream; the connection and its other streams continue.
    pub fn reset(&mut self, reason: Reason) {
        match &mut self.response_body {
            Some(body) => body.reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}
