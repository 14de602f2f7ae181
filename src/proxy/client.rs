//! The client's side of an exchange: its upload, its presence, and what is [written](writing) to it.

mod writing;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use h2::Reason;
use http::Version;
use pingora::ErrorType;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;

use super::http2_body::Http2Body;
use super::outcome::{BadBody, Phase};
use super::upload::Upload;
use crate::transport::Link;
use writing::Framing;

/// How long a client that is still uploading after its response may go on, so that it gets to read it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long it may send nothing meanwhile (as nginx's lingering_timeout).
const DRAIN_SILENCE: Duration = Duration::from_secs(5);

/// How long the frames of a stream have to go out before it is reset.
const LAST_FRAMES: Duration = Duration::from_millis(50);

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
