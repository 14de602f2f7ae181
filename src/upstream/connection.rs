//! One exchange with a backend, over HTTP/1.1 or HTTP/2.

use std::task::{Context, Poll};

use super::http1::Http1Exchange;
use super::http2::Http2Exchange;
use super::slot::Slot;
use super::write_behind::UpstreamLink;
use crate::headers::trailers;
use crate::http1::{Fields, RequestHead, ResponseHead};
use crate::outcome::Fault;

/// An HTTP/1.1 connection to a backend, or one HTTP/2 stream. Dropping it closes the connection or resets the
/// stream, so a backend learns that the client left.
pub struct Connection {
    exchange: HttpExchange,
    reused: bool,
    /// Freed when the connection is closed or returned to the pool. Probes hold no slot.
    slot: Option<Slot>,
}

#[allow(clippy::large_enum_variant, reason = "nearly all exchanges are the large variant")]
enum HttpExchange {
    Http1(Http1Exchange),
    Http2(Box<Http2Exchange>),
}

impl Connection {
    /// `reused`: the connection came from the pool.
    pub(super) fn http1(http1: Http1Exchange, reused: bool) -> Self {
        Self { exchange: HttpExchange::Http1(http1), reused, slot: None }
    }

    /// `reused`: the connection has carried other streams.
    pub(super) fn http2(http2: Http2Exchange, reused: bool) -> Self {
        Self { exchange: HttpExchange::Http2(Box::new(http2)), reused, slot: None }
    }

    pub fn hold(&mut self, slot: Slot) {
        self.slot = Some(slot);
    }

    /// Closes the connection and returns its slot for the next attempt.
    pub fn close(self) -> Option<Slot> {
        self.slot
    }

    /// Returns the exchange if it is HTTP/1.1, with its slot.
    pub fn into_http1(self) -> Option<(Http1Exchange, Option<Slot>)> {
        match self.exchange {
            HttpExchange::Http1(http1) => Some((http1, self.slot)),
            HttpExchange::Http2(_) => None,
        }
    }

    /// Returns the connection to the pool if it can be reused. An HTTP/2 stream does this when it is dropped.
    pub fn give_back(self) {
        if let Some((http1, Some(slot))) = self.into_http1() {
            slot.server().give_back(http1);
        }
    }

    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Reads the fields that each event needs, to prefetch their cache lines.
    #[inline]
    pub fn touch(&self) -> bool {
        match &self.exchange {
            HttpExchange::Http1(http1) => http1.touch(),
            HttpExchange::Http2(_) => self.reused,
        }
    }

    pub fn link(&self) -> UpstreamLink {
        match &self.exchange {
            HttpExchange::Http1(http1) => http1.link(),
            HttpExchange::Http2(http2) => http2.link(),
        }
    }

    /// The backend did not answer in time. On a shared connection, no new exchange may be started.
    pub fn distrust(&self) {
        if let HttpExchange::Http2(http2) = &self.exchange {
            http2.distrust();
        }
    }

    /// Keeps the trailers of the response for [`Self::take_trailers`].
    pub fn keep_trailers(&mut self) {
        match &mut self.exchange {
            HttpExchange::Http1(http1) => http1.keep_trailers(),
            HttpExchange::Http2(http2) => http2.keep_trailers(),
        }
    }

    /// Returns the trailers after the end of the response, if they were kept and there are any.
    pub fn take_trailers(&mut self) -> Option<Fields> {
        let trailers = match &mut self.exchange {
            HttpExchange::Http1(http1) => http1.take_trailers(),
            HttpExchange::Http2(http2) => http2.take_trailers(),
        };
        let mut trailers = trailers?;
        trailers::forward(&mut trailers);
        let are_any = trailers.iter().next().is_some();
        are_any.then_some(trailers)
    }

    /// `has_body`: a body follows.
    pub async fn write_head(&mut self, request: &RequestHead, has_body: bool) -> Result<(), HeadError> {
        match &mut self.exchange {
            HttpExchange::Http1(http1) => http1.write_head(request).await.map_err(HeadError::unanswered),
            HttpExchange::Http2(http2) => http2.write_head(request, has_body),
        }
    }

    /// Writes a piece of the request body, which must not be empty.
    pub async fn write_body(&mut self, piece: &[u8]) -> Result<(), Fault> {
        match &mut self.exchange {
            HttpExchange::Http1(http1) => http1.write_body(piece).await,
            HttpExchange::Http2(http2) => {
                http2.write_body(piece);
                http2.flush().await;
                Ok(())
            }
        }
    }

    /// Ends the request body.
    pub async fn finish_body(&mut self) -> Result<(), Fault> {
        match &mut self.exchange {
            HttpExchange::Http1(http1) => http1.finish_body().await,
            HttpExchange::Http2(http2) => {
                http2.finish_body();
                http2.flush().await;
                Ok(())
            }
        }
    }

    /// Reads the next response head, informational or final. Cancel-safe.
    pub async fn read_head(&mut self) -> Result<ResponseHead, HeadError> {
        match &mut self.exchange {
            HttpExchange::Http1(http1) => http1.read_head().await,
            HttpExchange::Http2(http2) => http2.read_head().await,
        }
    }

    /// Announces that the response is an event stream, which bounds the receive buffer. HTTP/2 has a window
    /// per stream anyway.
    pub fn expect_stream(&mut self) {
        if let HttpExchange::Http1(http1) = &mut self.exchange {
            http1.expect_stream();
        }
    }

    /// Reads the available response body into `sink`. No data is lost if it is not polled again.
    pub fn poll_read_body(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<BodyProgress, Fault>> {
        match &mut self.exchange {
            HttpExchange::Http1(http1) => http1.poll_read_body(cx, sink),
            HttpExchange::Http2(http2) => http2.poll_read_body(cx, sink),
        }
    }
}

/// The progress of reading a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyProgress {
    /// There may be more.
    More,
    /// A read would block. The task is woken when there is more.
    Waits,
    /// The body is complete, including the bytes just read.
    End,
}

/// Why no response head was read.
#[derive(Clone, Copy, Debug)]
pub struct HeadError {
    pub fault: Fault,
    /// The connection failed before the first byte of a response.
    pub before_any_byte: bool,
    /// The request was not processed: it was not sent, or the backend declared so.
    pub is_unprocessed: bool,
}

impl HeadError {
    /// The backend has begun to answer.
    pub fn answered(fault: Fault) -> Self {
        Self { fault, before_any_byte: false, is_unprocessed: false }
    }

    /// The request was not sent.
    pub fn unsent(fault: Fault) -> Self {
        Self { fault, before_any_byte: true, is_unprocessed: true }
    }

    /// The request was sent, and no byte of a response arrived.
    pub fn unanswered(fault: Fault) -> Self {
        Self { fault, before_any_byte: true, is_unprocessed: false }
    }
}
