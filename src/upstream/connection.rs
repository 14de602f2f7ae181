//! One upstream connection during one exchange, whichever exchange it speaks.

use std::task::{Context, Poll};

use super::http1::Http1Exchange;
use super::http2::Http2Exchange;
use super::slot::Slot;
use super::write_behind::UpstreamLink;
use crate::headers::trailers;
use crate::http1::{Fields, RequestHead, ResponseHead};
use crate::outcome::Fault;

/// A connection to a backend, or a stream of one. Dropping it closes or resets it, which is how a backend learns that its
/// client left.
pub struct Connection {
    exchange: HttpExchange,
    reused: bool,
    /// Freed once the connection is closed, or goes back. A probe has none.
    slot: Option<Slot>,
}

#[allow(clippy::large_enum_variant, reason = "the large one is nearly every one")]
enum HttpExchange {
    Http1(Http1Exchange),
    Http2(Box<Http2Exchange>),
}

impl Connection {
    /// `reused`: it came from the pool.
    pub(super) fn http1(http1: Http1Exchange, reused: bool) -> Self {
        Self { exchange: HttpExchange::Http1(http1), reused, slot: None }
    }

    /// `reused`: its connection has carried other streams.
    pub(super) fn http2(http2: Http2Exchange, reused: bool) -> Self {
        Self { exchange: HttpExchange::Http2(Box::new(http2)), reused, slot: None }
    }

    /// Holds the slot from now on.
    pub fn hold(&mut self, slot: Slot) {
        self.slot = Some(slot);
    }

    /// Closes it, and returns its slot, to be held by another one.
    pub fn close(self) -> Option<Slot> {
        self.slot
    }

    /// The exchange, if it is of HTTP/1.1, and the slot that it holds.
    pub fn into_http1(self) -> Option<(Http1Exchange, Option<Slot>)> {
        match self.exchange {
            HttpExchange::Http1(http1) => Some((http1, self.slot)),
            HttpExchange::Http2(_) => None,
        }
    }

    /// Gives it back to the pool, if the exchange left it fit for another; a stream of HTTP/2 goes by itself.
    pub fn give_back(self) {
        if let Some((http1, Some(slot))) = self.into_http1() {
            slot.server().give_back(http1);
        }
    }

    /// Whether it came from the pool.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// A little of what an event needs.
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

    /// Its backend has not answered in time: where connections are shared, no other exchange is to wait for it as well.
    pub fn distrust(&self) {
        if let HttpExchange::Http2(http2) = &self.exchange {
            http2.distrust();
        }
    }

    /// Keeps the trailers of the response, to be taken at its end.
    pub fn keep_trailers(&mut self) {
        match &mut self.exchange {
            HttpExchange::Http1(http1) => http1.keep_trailers(),
            HttpExchange::Http2(http2) => http2.keep_trailers(),
        }
    }

    /// The trailers of a response that has ended, if they were kept and there are any.
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

    /// Writes the head of the request; `has_body`: a body follows.
    pub async fn write_head(&mut self, request: &RequestHead, has_body: bool) -> Result<(), HeadError> {
        match &mut self.exchange {
            HttpExchange::Http1(http1) => http1.write_head(request).await.map_err(HeadError::unanswered),
            HttpExchange::Http2(http2) => http2.write_head(request, has_body),
        }
    }

    /// Writes a piece of the request body; must not be empty.
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

    /// Reads the next response head: an informational one, or the final one. Safe to drop and call again.
    pub async fn read_head(&mut self) -> Result<ResponseHead, HeadError> {
        match &mut self.exchange {
            HttpExchange::Http1(http1) => http1.read_head().await,
            HttpExchange::Http2(http2) => http2.read_head().await,
        }
    }

    /// Tells that the response is a stream of events. HTTP/2 has a window for each stream anyway.
    pub fn expect_stream(&mut self) {
        if let HttpExchange::Http1(http1) = &mut self.exchange {
            http1.expect_stream();
        }
    }

    /// Reads what is there of the response body into `sink`. Nothing is lost if it is not called again.
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

/// How far the reading of a body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyProgress {
    /// There may be more.
    More,
    /// There is no more now: whoever has polled is woken when there is.
    Waits,
    /// That was all, what was just read included.
    End,
}

/// Why no response head was read.
#[derive(Clone, Copy, Debug)]
pub struct HeadError {
    pub fault: Fault,
    /// The connection died before the first byte of an answer.
    pub before_any_byte: bool,
    /// The backend says that it has not begun with the request.
    pub is_unprocessed: bool,
}

impl HeadError {
    /// The backend has begun to answer.
    pub fn answered(fault: Fault) -> Self {
        Self { fault, before_any_byte: false, is_unprocessed: false }
    }

    /// It was not even sent.
    pub fn unsent(fault: Fault) -> Self {
        Self { fault, before_any_byte: true, is_unprocessed: true }
    }

    /// Nothing has been answered.
    pub fn unanswered(fault: Fault) -> Self {
        Self { fault, before_any_byte: true, is_unprocessed: false }
    }
}
