//! The client's side of an exchange: its upload, its presence, and writes to it that are bounded in time.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use pingora::ErrorType;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;
use tokio::time::Instant;

use super::outcome::Phase;
use super::upload::Upload;
use crate::transport::Link;

/// How often a blocked write looks whether the client took something, per `write_timeout`.
const LOOKS_PER_TIMEOUT: u32 = 8;

/// How long a client that is still uploading after its response may go on, so that it gets to read it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// Its request body breaks the rules of its framing.
    Malformed,
}

/// A client in one exchange.
pub struct Client<'a> {
    session: &'a mut ServerSession,
    link: &'a Link,
    write_timeout: Option<Duration>,
    /// It has left in this phase, and its answer is read on without it.
    left: Option<Phase>,
}

impl<'a> Client<'a> {
    pub fn new(session: &'a mut ServerSession, link: &'a Link, write_timeout: Option<Duration>) -> Self {
        Self { session, link, write_timeout, left: None }
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
    /// Pending for as long as a piece waits in `upload`: the socket's own window then holds the client back.
    pub async fn watch(&mut self, upload: &mut Upload) -> ClientEvent {
        if self.has_left() {
            return std::future::pending().await;
        }
        if upload.piece().is_some() && !upload.is_read() {
            return std::future::pending().await;
        }
        loop {
            match self.session.read_body_or_idle(upload.is_read()).await {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => {
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
                        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::ReadTimedout => {
                            ClientEvent::Gone
                        }
                        _ => ClientEvent::Malformed,
                    };
                }
            }
        }
    }

    /// Writes a response head, at once.
    pub async fn write_head(&mut self, response: ResponseHeader) -> Result<(), ClientLost> {
        if self.has_left() {
            return Ok(());
        }
        let write = self.session.write_response_header(Box::new(response));
        bounded(self.link, self.write_timeout, write).await
    }

    /// Writes one piece of the body as one chunk; must not be empty.
    pub async fn write(&mut self, body: &[u8]) -> Result<(), ClientLost> {
        if self.has_left() {
            return Ok(());
        }
        match &mut *self.session {
            ServerSession::H1(session) => {
                bounded(self.link, self.write_timeout, session.write_body(body)).await
            }
            session => {
                let body = Bytes::copy_from_slice(body);
                bounded(self.link, self.write_timeout, session.write_response_body(body, false)).await
            }
        }
    }

    /// Ends the body.
    pub async fn finish(&mut self) -> Result<(), ClientLost> {
        if self.has_left() {
            return Ok(());
        }
        bounded(self.link, self.write_timeout, self.session.finish_body()).await
    }

    /// Reads what the client still uploads after its response, for a limited time, so that closing the connection
    /// does not reset it before the client has read that response.
    pub async fn drain(&mut self, upload: &mut Upload) {
        let drain = async {
            upload.forget();
            while !upload.is_read() {
                upload.take_piece();
                if self.watch(upload).await != ClientEvent::Uploaded {
                    break;
                }
            }
        };
        // A client that goes on for longer has to live with the reset.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, drain).await;
    }

    /// Breaks the connection, so that the response cannot be taken for a complete one.
    pub fn sever(&mut self) {
        let framed = self.session.response_written().is_none_or(|head| {
            let has = |name| head.headers.contains_key(name);
            has(http::header::TRANSFER_ENCODING) || has(http::header::CONTENT_LENGTH)
        });
        if framed {
            self.link.sever()
        } else {
            self.link.reset()
        }
        self.session.set_keepalive(None);
    }

    /// Breaks the connection to a client that has left or takes nothing.
    pub fn abandon(&mut self) {
        self.link.reset();
        self.session.set_keepalive(None);
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
async fn bounded<T>(
    link: &Link,
    limit: Option<Duration>,
    write: impl Future<Output = pingora::Result<T>>,
) -> Result<(), ClientLost> {
    let done = |result: pingora::Result<T>| result.map(drop).map_err(|_| ClientLost::Gone);
    let mut write = pin!(write);
    if let Poll::Ready(result) = poll_once(write.as_mut()).await {
        return done(result);
    }
    let Some(limit) = limit else { return done(write.await) };
    let (mut written, mut since) = (link.written(), Instant::now());
    loop {
        if let Ok(result) = tokio::time::timeout(limit / LOOKS_PER_TIMEOUT, write.as_mut()).await {
            return done(result);
        }
        if link.written() != written {
            (written, since) = (link.written(), Instant::now());
        } else if since.elapsed() >= limit {
            return Err(ClientLost::Slow);
        }
    }
}
