//! The client's side of an exchange: its upload, its presence, and writes to it that are bounded in time.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use h2::Reason;
use http::Version;
use pingora::ErrorType;
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::server::HttpSession;
use pingora::protocols::http::{ServerSession, date};
use tokio::time::Instant;

use super::http2_body::Http2Body;
use super::outcome::{BadBody, Phase};
use super::response::has_body;
use super::upload::Upload;
use crate::head::ResponseHead;
use crate::transport::{Chunk, LAST_CHUNK, Link};

/// How often a blocked write looks whether the client took something, per `write_timeout`.
const LOOKS_PER_TIMEOUT: u32 = 8;

/// How long a client that is still uploading after its response may go on, so that it gets to read it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long it may send nothing meanwhile (as nginx's lingering_timeout).
const DRAIN_SILENCE: Duration = Duration::from_secs(5);

/// How long the frames of a stream have to go out before it is reset.
const LAST_FRAMES: Duration = Duration::from_millis(50);

/// Bytes of a last piece that are copied to go out with the end of the body.
const MAX_HELD: usize = 16 * 1024;

/// Why nothing more can be written to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientLost {
    /// It closed or reset its connection.
    Gone,
    /// It took nothing for `write_timeout`.
    Slow,
}

/// What a client did while it was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// A piece of its request body, or the body's end, is in the [`Upload`].
    Uploaded,
    /// It closed or reset its connection.
    Gone,
    BadBody(BadBody),
}

/// A client in one exchange.
pub struct Client<'a> {
    session: &'a mut ServerSession,
    link: &'a Link,
    /// What the response's body goes out by over HTTP/2, once its head is out.
    http2_body: Option<Http2Body>,
    /// How the response's body ends over HTTP/1.1.
    framing: Framing,
    bounds: Bounds,
    /// Bytes of its request body so far.
    received: usize,
    /// It has left in this phase, and its answer is read on without it.
    left: Option<Phase>,
}

/// How the body of a response over HTTP/1.1 ends (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Chunked,
    /// With its last byte: its length is known, or it has none.
    Length,
    /// With the connection.
    UntilClose,
}

/// What a client may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// How long it may take nothing of what is written to it.
    pub write_timeout: Option<Duration>,
    /// Bytes of its request body.
    pub max_body: Option<usize>,
}

impl<'a> Client<'a> {
    pub fn new(session: &'a mut ServerSession, link: &'a Link, bounds: Bounds) -> Self {
        let framing = Framing::Length;
        Self { session, link, http2_body: None, framing, bounds, received: 0, left: None }
    }

    pub fn request(&self) -> &RequestHeader {
        self.session.req_header()
    }

    pub fn version(&self) -> Version {
        self.session.req_header().version
    }

    /// The body of this client's request.
    pub fn upload(&mut self) -> Upload {
        Upload::new(self.session.is_body_done())
    }

    /// Waits until the client uploads something or leaves. Safe to drop and call again.
    ///
    /// Over HTTP/1.1 pending for as long as a piece waits in `upload`: the socket's own window then holds the client back.
    pub async fn watch(&mut self, upload: &mut Upload) -> ClientEvent {
        poll_fn(|cx| self.poll_watch(cx, upload)).await
    }

    /// Like [`Self::watch`].
    pub fn poll_watch(&mut self, cx: &mut Context<'_>, upload: &mut Upload) -> Poll<ClientEvent> {
        if self.has_left() {
            return Poll::Pending;
        }
        // Most of the time nothing is there, and asking pingora for that costs more.
        if self.link.is_plain() && upload.is_read() && self.link.poll_readable(cx).is_pending() {
            return Poll::Pending;
        }
        pin!(self.read(upload)).poll(cx)
    }

    /// Reads from the client; nothing is lost if the future is dropped.
    async fn read(&mut self, upload: &mut Upload) -> ClientEvent {
        let awaits_reader = upload.piece().is_some() && !upload.is_read();
        if awaits_reader && !self.is_http2() {
            return std::future::pending().await;
        }
        loop {
            let read = match &mut self.http2_body {
                Some(body) if awaits_reader || upload.is_read() => {
                    body.client_reset().await;
                    return ClientEvent::Gone;
                }
                Some(body) => tokio::select! {
                    biased;
                    () = body.client_reset() => return ClientEvent::Gone,
                    read = self.session.read_body_or_idle(false) => read,
                },
                None => self.session.read_body_or_idle(awaits_reader || upload.is_read()).await,
            };
            match read {
                // Nothing, or an empty frame that ends the body; no empty piece is ever passed on, for it would end it twice.
                Ok(Some(piece)) if piece.is_empty() && !self.session.is_body_done() => {}
                Ok(Some(piece)) if piece.is_empty() => {
                    upload.receive(None, true);
                    return ClientEvent::Uploaded;
                }
                Ok(Some(piece)) => {
                    self.received += piece.len();
                    if self.bounds.max_body.is_some_and(|max| self.received > max) {
                        return ClientEvent::BadBody(BadBody::TooLarge);
                    }
                    // The end of a body of known length is not read, it is reached.
                    upload.receive(Some(piece), self.session.is_body_done());
                    return ClientEvent::Uploaded;
                }
                Ok(None) => {
                    upload.receive(None, true);
                    return ClientEvent::Uploaded;
                }
                Err(e) => {
                    return match e.etype() {
                        ErrorType::ConnectionClosed
                        | ErrorType::ReadError
                        | ErrorType::ReadTimedout
                        // A stream that was reset, or one of a connection that is gone.
                        | ErrorType::H2Error => ClientEvent::Gone,
                        _ => ClientEvent::BadBody(BadBody::Malformed),
                    };
                }
            }
        }
    }

    fn is_http2(&self) -> bool {
        self.session.is_http2()
    }

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

    /// Reads what the client still uploads after its response, for a limited time, so that closing the connection
    /// does not reset it before the client has read that response.
    ///
    /// A stream of HTTP/2 is just over then, and its connection goes on.
    pub async fn drain(&mut self, upload: &mut Upload) {
        if self.is_http2() {
            return;
        }
        // What goes nowhere may be of any size.
        self.bounds.max_body = None;
        let drain = async {
            upload.forget();
            while !upload.is_read() {
                upload.take_piece();
                match tokio::time::timeout(DRAIN_SILENCE, self.watch(upload)).await {
                    Ok(ClientEvent::Uploaded) => {}
                    _ => break,
                }
            }
        };
        // A client that goes on for longer has to live with the reset.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, drain).await;
    }

    /// Breaks the connection, or the stream of one, so that the response cannot be taken for a complete one.
    pub async fn sever(&mut self) {
        // What was written before is to arrive; and if it does not, the connection breaks all the same.
        let _ = self.release().await;
        if self.is_http2() {
            // A reset overtakes what waits in h2 for its connection's task; what was written before is to arrive.
            tokio::time::sleep(LAST_FRAMES).await;
            return self.reset_http2(Reason::INTERNAL_ERROR);
        }
        // Where only the close ends the body, a FIN would look like its end.
        if self.framing == Framing::UntilClose {
            self.link.reset()
        } else {
            self.link.sever()
        }
        self.session.set_keepalive(None);
    }

    /// Breaks the connection to a client that has left or takes nothing, or its stream.
    pub fn abandon(&mut self) {
        if self.is_http2() {
            return self.reset_http2(Reason::CANCEL);
        }
        self.link.reset();
        self.session.set_keepalive(None);
    }

    fn reset_http2(&mut self, reason: Reason) {
        match (&mut self.http2_body, &mut *self.session) {
            (Some(body), _) => body.reset(reason),
            (None, ServerSession::H2(session)) => session.shutdown_with_reason(reason),
            (None, _) => {}
        }
    }

    /// Goes on without a client that has left: it is no longer watched, and what is written goes nowhere.
    pub fn leave(&mut self, phase: Phase) {
        self.abandon();
        self.left = Some(phase);
    }

    pub fn has_left(&self) -> bool {
        self.left.is_some()
    }

    /// The phase in which it has left, if its answer was read on.
    pub fn left(&self) -> Option<Phase> {
        self.left
    }
}

/// Polls a future once, with the task's own waker.
pub async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
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
