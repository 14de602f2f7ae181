//! What is written to a client: the head of a response, its body and its end.
//!
//! Where there is no TLS, all of it goes to the client's socket, and pingora's session is only read from. Over TLS pingora writes it,
//! and over HTTP/2 the head.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use pingora::protocols::http::v1::server::HttpSession;
use pingora::protocols::http::{ServerSession, date};
use tokio::time::Instant;

use super::{Client, ClientLost, poll_once};
use crate::head::ResponseHead;
use crate::proxy::http2_body::Http2Body;
use crate::proxy::response::has_body;
use crate::transport::{Chunk, LAST_CHUNK, Link};

/// How often a blocked write looks whether the client took something, per `write_timeout`.
const LOOKS_PER_TIMEOUT: u32 = 8;

/// Bytes of a last piece that are copied to go out with the end of the body.
const MAX_HELD: usize = 16 * 1024;

/// How the body of a response over HTTP/1.1 ends (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Chunked,
    /// With its last byte: its length is known, or it has none.
    Length,
    /// With the connection.
    UntilClose,
}

impl Client<'_> {
    /// Writes a response head, at once.
    pub async fn write_head(&mut self, response: ResponseHead) -> Result<(), ClientLost> {
        self.begin(response).await?;
        self.release().await
    }

    /// Writes a response head, which over HTTP/1.1 is held back until something else is written or [released](Self::release).
    pub async fn begin(&mut self, mut response: ResponseHead) -> Result<(), ClientLost> {
        if self.has_left() {
            return Ok(());
        }
        let is_final = !response.status.is_informational();
        if is_final {
            self.framing = self.framing_of(&response);
        }
        if !self.writes_past_pingora() {
            return Box::pin(self.begin_by_pingora(response, is_final)).await;
        }
        if is_final {
            self.conclude(&mut response);
        }
        self.link.hold_back(&response.to_wire());
        Ok(())
    }

    async fn begin_by_pingora(&mut self, response: ResponseHead, is_final: bool) -> Result<(), ClientLost> {
        // Fails only for what is no field; and what a head was parsed or made of is.
        let response = response.to_pingora().map_err(|_| ClientLost::Gone)?;
        self.link.hold();
        let write = self.session.write_response_header(Box::new(response));
        let written = bounded(self.link, self.bounds.write_timeout, write).await;
        self.link.release();
        written?;
        if let ServerSession::H2(session) = &mut *self.session
            && is_final
        {
            self.http2_body = session.take_response_body_writer().map(Http2Body::new);
        }
        Ok(())
    }

    fn framing_of(&self, response: &ResponseHead) -> Framing {
        let has = |name| response.fields.contains(name);
        if has("Transfer-Encoding") {
            Framing::Chunked
        } else if has("Content-Length") || !has_body(&self.request().method, response.status) {
            Framing::Length
        } else {
            Framing::UntilClose
        }
    }

    /// Adds what concerns this connection, as pingora does.
    fn conclude(&mut self, response: &mut ResponseHead) {
        if self.framing == Framing::UntilClose {
            self.session.set_keepalive(None);
        }
        let is_kept = self.session.as_http1().is_some_and(HttpSession::will_keepalive);
        response.fields.set("Date", date::get_cached_date());
        response.fields.append("Connection", if is_kept { "keep-alive" } else { "close" });
    }

    /// Tells that the response is a stream of events.
    pub fn expect_stream(&self) {
        self.link.limit_unsent();
    }

    /// Writes what is held back.
    pub async fn release(&mut self) -> Result<(), ClientLost> {
        if self.has_left() || !self.link.holds() {
            return Ok(());
        }
        bounded(self.link, self.bounds.write_timeout, self.link.write_all([&[]; 3])).await
    }

    /// Writes one piece of the body as one chunk, if that is small and the client's socket takes it at once; must not be empty.
    /// Of a chunk that it takes in part, the rest [waits](Self::is_behind) to be [released](Self::release). Returns whether it was
    /// written.
    pub fn try_write(&mut self, piece: &[u8]) -> bool {
        self.writes_chunks() && self.link.try_write(Chunk::of(piece).pieces())
    }

    /// Whether chunks are written to the client's socket past pingora.
    fn writes_chunks(&self) -> bool {
        self.writes_past_pingora() && self.framing == Framing::Chunked && !self.has_left()
    }

    /// Whether the response is written to the client's socket, and pingora's session only read from.
    fn writes_past_pingora(&self) -> bool {
        self.link.is_plain()
    }

    /// Whether something that was written waits to be [released](Self::release).
    pub fn is_behind(&self) -> bool {
        self.link.holds()
    }

    /// Writes one piece of the body as one chunk, or in DATA frames; must not be empty.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), ClientLost> {
        let limit = self.bounds.write_timeout;
        if self.has_left() {
            return Ok(());
        }
        if let Some(body) = &mut self.http2_body {
            return body.write(piece, limit).await;
        }
        if self.writes_past_pingora() {
            let chunk = Chunk::of(piece);
            let pieces = if self.framing == Framing::Chunked { chunk.pieces() } else { [piece, &[], &[]] };
            return bounded(self.link, limit, self.link.write_all(pieces)).await;
        }
        match &mut *self.session {
            ServerSession::H1(session) => bounded(self.link, limit, session.write_body(piece)).await?,
            // Without a body to write to there is nobody who reads it.
            _ => return Err(ClientLost::Gone),
        }
        self.release().await
    }

    /// Writes the last piece of the body, if it is not empty, and ends the body, together where that is not much.
    pub async fn write_last(&mut self, piece: &[u8]) -> Result<(), ClientLost> {
        if self.writes_chunks() {
            return self.end_chunks(piece).await;
        }
        let is_held = piece.len() <= MAX_HELD && !self.has_left() && !self.writes_past_pingora();
        match &mut *self.session {
            _ if piece.is_empty() => {}
            ServerSession::H1(session) if is_held => {
                self.link.hold();
                let written = bounded(self.link, self.bounds.write_timeout, session.write_body(piece)).await;
                self.link.release();
                written?;
            }
            _ => self.write(piece).await?,
        }
        self.finish().await
    }

    /// Ends the body.
    pub async fn finish(&mut self) -> Result<(), ClientLost> {
        if self.has_left() {
            return Ok(());
        }
        if let Some(body) = &mut self.http2_body {
            return body.finish();
        }
        if self.writes_chunks() {
            return self.end_chunks(&[]).await;
        }
        if self.writes_past_pingora() {
            return self.release().await;
        }
        bounded(self.link, self.bounds.write_timeout, self.session.finish_body()).await
    }

    /// Writes the last chunks: that of the last piece, if it is not empty, and the one that ends the body.
    async fn end_chunks(&mut self, piece: &[u8]) -> Result<(), ClientLost> {
        let chunk = Chunk::of(piece);
        let pieces = if piece.is_empty() { [LAST_CHUNK, &[], &[]] } else { chunk.last_pieces() };
        if self.link.try_write(pieces) {
            return self.release().await;
        }
        bounded(self.link, self.bounds.write_timeout, self.link.write_all(pieces)).await
    }
}

/// Runs a write for as long as the client keeps taking bytes. Most writes are done at once and set no timer.
async fn bounded<T, E>(
    link: &Link,
    limit: Option<Duration>,
    write: impl Future<Output = Result<T, E>>,
) -> Result<(), ClientLost> {
    let done = |result: Result<T, E>| result.map(drop).map_err(|_| ClientLost::Gone);
    let mut write = pin!(write);
    if let Poll::Ready(result) = poll_once(write.as_mut()).await {
        return done(result);
    }
    // Boxed, because every future that writes would have room for it.
    match limit {
        Some(limit) => Box::pin(in_time(link, limit, write)).await.and_then(done),
        None => done(write.await),
    }
}

/// Runs a write that the client does not take at once.
async fn in_time<T>(
    link: &Link,
    limit: Duration,
    mut write: Pin<&mut impl Future<Output = T>>,
) -> Result<T, ClientLost> {
    let (mut written, mut since) = (link.written(), Instant::now());
    loop {
        if let Ok(result) = tokio::time::timeout(limit / LOOKS_PER_TIMEOUT, write.as_mut()).await {
            return Ok(result);
        }
        if link.written() != written {
            (written, since) = (link.written(), Instant::now());
        } else if since.elapsed() >= limit {
            return Err(ClientLost::Slow);
        }
    }
}
