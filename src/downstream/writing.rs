//! Writing a response to a client: its head, its body and its end.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::client::ClientConn;
use super::http1::LOOK;
use super::{Client, ClientLost, Http1Client, Link, poll_once};
use crate::config::HalfClose;
use crate::http1::{BodyFraming, Chunk, Fields, ResponseHead, has_body, last_chunk};
use crate::net::pingora::http_date;

/// Number of checks per `write_timeout` for whether a blocked client has accepted data.
const LOOKS_PER_TIMEOUT: u32 = 8;

impl Client {
    /// Writes a response head without delay.
    pub async fn write_head(&mut self, response: ResponseHead) -> Result<(), ClientLost> {
        self.begin(response)?;
        self.release().await
    }

    /// Writes a response head. Over HTTP/1.1 it is held back until the next write or
    /// [release](Self::release), so that both go out together.
    pub fn begin(&mut self, mut response: ResponseHead) -> Result<(), ClientLost> {
        if self.has_left() {
            return Ok(());
        }
        if response.status.is_informational() {
            // Interim responses are not forwarded over HTTP/2.
            if let ClientConn::Http1(http1) = &mut self.conn {
                http1.hold_back(&response.to_wire());
            }
            return Ok(());
        }
        // Before this, nothing was written that a slow reader could leave unread.
        match &self.conn {
            ClientConn::Http1(http1) => http1.link().follow_write_timeout(self.bounds.write_timeout),
            ClientConn::Http2(http2) => http2.link().allow_write_timeout(self.bounds.write_timeout),
        }
        self.framing = BodyFraming::of_response(&response, &self.request().method);
        // A body that ends with the connection leaves no room for another request.
        self.keeps_alive &= self.framing != BodyFraming::UntilClose;
        response.fields.set("Date", http_date());
        match &mut self.conn {
            ClientConn::Http1(http1) => {
                let option = if self.keeps_alive { "keep-alive" } else { "close" };
                response.fields.append("Connection", option);
                http1.hold_back(&response.to_wire());
                Ok(())
            }
            ClientConn::Http2(http2) => {
                let has_body = has_body(&self.request.method, response.status);
                let written = if has_body { http2.write_head(&response) } else { http2.answer(&response) };
                self.is_answered = !has_body;
                written.map_err(|_| ClientLost::Gone)
            }
        }
    }

    /// Writes the head of a 101 response without delay. The bytes that follow it have no framing.
    pub async fn switch_protocols(&mut self, response: &ResponseHead) -> Result<(), ClientLost> {
        self.set_last();
        let limit = self.bounds.write_timeout;
        match &mut self.conn {
            ClientConn::Http1(http1) => {
                http1.link().follow_write_timeout(limit);
                http1.hold_back(&response.to_wire());
                write_all(http1, limit, [&[]; 3]).await
            }
            // Upgrades exist only in HTTP/1.1 (RFC 9113, 8.6).
            ClientConn::Http2(_) => Err(ClientLost::Gone),
        }
    }

    /// Prepares for an event stream.
    pub fn expect_stream(&mut self) {
        match &mut self.conn {
            ClientConn::Http1(http1) => http1.link().limit_unsent(),
            ClientConn::Http2(http2) => http2.expect_stream(),
        }
    }

    /// Writes what is held back.
    pub async fn release(&mut self) -> Result<(), ClientLost> {
        let (has_left, limit) = (self.has_left(), self.bounds.write_timeout);
        match &mut self.conn {
            ClientConn::Http1(http1) if http1.holds() && !has_left => write_all(http1, limit, [&[]; 3]).await,
            _ => Ok(()),
        }
    }

    /// Writes a non-empty piece of the body as one chunk or one DATA frame, if it is small and the client
    /// accepts it without blocking. If only a part of a chunk is accepted, the rest [is held
    /// back](Self::is_behind) until [`Self::release`]. Returns whether the piece was written.
    pub fn try_write(&mut self, piece: &[u8]) -> bool {
        if self.has_left() {
            return false;
        }
        match &mut self.conn {
            ClientConn::Http1(http1) if self.framing == BodyFraming::Chunked => {
                http1.try_write(Chunk::of(piece).pieces())
            }
            ClientConn::Http1(_) => false,
            ClientConn::Http2(http2) => {
                http2.response_body.as_mut().is_some_and(|body| body.try_write(piece))
            }
        }
    }

    /// Whether written data waits for [`Self::release`].
    pub fn is_behind(&self) -> bool {
        matches!(&self.conn, ClientConn::Http1(http1) if http1.is_behind())
    }

    /// Writes a non-empty piece of the body as one chunk, or as DATA frames.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), ClientLost> {
        let limit = self.bounds.write_timeout;
        if self.has_left() {
            return Ok(());
        }
        match &mut self.conn {
            ClientConn::Http1(http1) => write_all(http1, limit, self.framing.pieces(&Chunk::of(piece))).await,
            ClientConn::Http2(http2) => {
                // Without an open response body the stream is gone.
                let body = http2.response_body.as_mut().ok_or(ClientLost::Gone)?;
                body.write(piece, limit).await
            }
        }
    }

    /// Writes the last piece of the body, which may be empty, and ends the body. Over HTTP/1.1 both go out in
    /// one write.
    pub async fn write_last(&mut self, piece: &[u8]) -> Result<(), ClientLost> {
        if self.has_left() || self.is_answered {
            return Ok(());
        }
        if self.is_http2() && !piece.is_empty() {
            self.write(piece).await?;
        }
        let limit = self.bounds.write_timeout;
        match &mut self.conn {
            ClientConn::Http1(http1) => {
                let chunk = Chunk::of(piece);
                let pieces = self.framing.last_pieces(&chunk);
                if !http1.try_write(pieces) {
                    write_all(http1, limit, pieces).await?;
                }
                if http1.holds() || !http1.is_plain() {
                    flush(http1, limit).await?;
                }
            }
            ClientConn::Http2(http2) => {
                http2.response_body.as_mut().map_or(Err(ClientLost::Gone), |b| b.finish())?
            }
        }
        self.is_answered = true;
        Ok(())
    }

    /// Like [`Self::write_last`], with trailers if the framing allows them.
    pub async fn write_trailers(&mut self, piece: &[u8], trailers: &Fields) -> Result<(), ClientLost> {
        if self.has_left() || (!self.is_http2() && self.framing != BodyFraming::Chunked) {
            return self.write_last(piece).await;
        }
        let limit = self.bounds.write_timeout;
        match &mut self.conn {
            ClientConn::Http1(http1) => {
                let mut wire = if piece.is_empty() { Vec::new() } else { Chunk::of(piece).pieces().concat() };
                wire.extend(last_chunk(trailers));
                write_all(http1, limit, [&wire, &[], &[]]).await?;
                flush(http1, limit).await?;
            }
            ClientConn::Http2(http2) => {
                let body = http2.response_body.as_mut().ok_or(ClientLost::Gone)?;
                body.write(piece, limit).await?;
                body.finish_with(trailers)?;
            }
        }
        self.is_answered = true;
        Ok(())
    }

    /// Writes a response without a body. Over HTTP/2 the head ends the stream.
    pub async fn answer(&mut self, mut response: ResponseHead) -> Result<(), ClientLost> {
        let has_left = self.has_left();
        if let ClientConn::Http2(http2) = &mut self.conn {
            if !has_left {
                response.fields.set("Date", http_date());
                http2.answer(&response).map_err(|_| ClientLost::Gone)?;
                self.is_answered = true;
            }
            return Ok(());
        }
        response.fields.set("Content-Length", "0");
        self.begin(response)?;
        self.finish().await
    }

    /// Ends the body.
    pub async fn finish(&mut self) -> Result<(), ClientLost> {
        self.write_last(&[]).await
    }
}

async fn write_all(
    http1: &mut Http1Client,
    limit: Option<Duration>,
    pieces: [&[u8]; 3],
) -> Result<(), ClientLost> {
    let (link, half_close) = (http1.link().clone(), http1.half_close());
    bounded(&link, half_close, limit, http1.write_all(pieces)).await
}

async fn flush(http1: &mut Http1Client, limit: Option<Duration>) -> Result<(), ClientLost> {
    let (link, half_close) = (http1.link().clone(), http1.half_close());
    bounded(&link, half_close, limit, http1.flush()).await
}

/// Runs a write, bounded by `limit` without progress. Most writes complete at once and start no timer.
async fn bounded(
    link: &Link,
    half_close: HalfClose,
    limit: Option<Duration>,
    write: impl Future<Output = io::Result<()>>,
) -> Result<(), ClientLost> {
    let mut write = pin!(write);
    match poll_once(write.as_mut()).await {
        Poll::Ready(result) => result.map_err(|_| ClientLost::Gone),
        // Boxed, so that its state does not enlarge every future that writes.
        Poll::Pending => Box::pin(in_time(link, half_close, limit, write)).await,
    }
}

/// Runs a write that would block. Fails when the client closes, or accepts no data for `limit`.
async fn in_time(
    link: &Link,
    half_close: HalfClose,
    limit: Option<Duration>,
    mut write: Pin<&mut impl Future<Output = io::Result<()>>>,
) -> Result<(), ClientLost> {
    let pause = limit.map_or(LOOK, |limit| (limit / LOOKS_PER_TIMEOUT).min(LOOK));
    let (mut written, mut since) = (link.written(), Instant::now());
    loop {
        let turn = poll_fn(|cx| {
            if let Poll::Ready(result) = write.as_mut().poll(cx) {
                return Poll::Ready(result.map_err(|_| ClientLost::Gone));
            }
            match half_close {
                HalfClose::Cancel => link.poll_ended(cx).map(|()| Err(ClientLost::Gone)),
                HalfClose::Tolerate if link.is_broken() => Poll::Ready(Err(ClientLost::Gone)),
                HalfClose::Tolerate => Poll::Pending,
            }
        });
        if let Ok(result) = timeout(pause, turn).await {
            return result;
        }
        if link.written() != written {
            (written, since) = (link.written(), Instant::now());
        } else if limit.is_some_and(|limit| since.elapsed() >= limit) {
            return Err(ClientLost::Slow);
        }
    }
}
