//! The client of one exchange: its request, its presence, and what is [written](super::writing) to it.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::Reason;
use http::Version;
use tokio::time::{sleep, timeout};

use super::{Http1Client, Http2Client, Received};
use crate::config::{HalfClose, StreamPolicy};
use crate::headers::grpc;
use crate::http1::{BodyFraming, RequestHead, list};
use crate::outcome::{Failure, Phase};

/// Bytes of a request's body that are read before an answer that does not depend on it.
const READ_AT_MOST: usize = 64 * 1024;

/// How long a client that still sends after its response may go on, so that it gets to read it (as nginx's lingering_time).
const LINGER: Duration = Duration::from_secs(30);

/// How long it may send nothing meanwhile (as nginx's lingering_timeout).
const SILENCE: Duration = Duration::from_secs(5);

/// How long the frames of a stream have to go out before it is reset.
const LAST_FRAMES: Duration = Duration::from_secs(1);

/// How long a client has to read what was written last before its connection breaks: a reset overtakes what is on its way, and
/// browsers and curl drop what they have received and not handed over yet.
const LAST_BYTES: Duration = Duration::from_millis(100);

/// Why nothing more can be written to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientLost {
    /// It closed or reset its connection.
    Gone,
    /// It took nothing for `write_timeout`.
    Slow,
}

/// A client with the request that it has sent.
pub struct Client {
    pub(super) conn: ClientConn,
    pub(super) request: RequestHead,
    peer: Option<IpAddr>,
    pub(super) bounds: Bounds,
    /// Bytes of its request body so far.
    received: usize,
    /// How the response's body ends over HTTP/1.1.
    pub(super) framing: BodyFraming,
    /// The connection may carry another request after this one.
    pub(super) keeps_alive: bool,
    /// All of the response was written.
    pub(super) is_answered: bool,
    /// The client may have something more to say that nobody needs.
    awaits_end: bool,
    /// It has left in this phase, and its answer is read on without it.
    left: Option<Phase>,
    /// Its request is a call of gRPC.
    is_grpc: bool,
}

/// A client's connection, or its stream of one.
#[allow(clippy::large_enum_variant, reason = "the large one is nearly every one")]
pub(super) enum ClientConn {
    Http1(Http1Client),
    Http2(Box<Http2Client>),
}

/// What a client may do.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long it may take nothing of what is written to it.
    pub write_timeout: Option<Duration>,
    /// Bytes of its request body.
    pub max_body: Option<usize>,
    /// What of a FIN while its response is still to come.
    pub half_close: HalfClose,
}

/// For answers of our own, which no route has settings for.
impl Default for Bounds {
    fn default() -> Self {
        let write_timeout = StreamPolicy::default().write_timeout;
        Self { write_timeout, max_body: None, half_close: HalfClose::Cancel }
    }
}

impl Client {
    /// A connection of HTTP/1.1. `peer`: whom it is from; `None`: connected to a unix socket.
    pub fn http1(http1: Http1Client, peer: Option<IpAddr>) -> Self {
        Self::new(ClientConn::Http1(http1), RequestHead::default(), peer)
    }

    /// A stream of HTTP/2.
    pub fn http2(http2: Http2Client, request: RequestHead, peer: Option<IpAddr>) -> Self {
        let is_grpc = grpc::is_call(&request);
        Self { is_grpc, ..Self::new(ClientConn::Http2(Box::new(http2)), request, peer) }
    }

    fn new(conn: ClientConn, request: RequestHead, peer: Option<IpAddr>) -> Self {
        Self {
            conn,
            request,
            peer,
            bounds: Bounds::default(),
            received: 0,
            framing: BodyFraming::Length,
            keeps_alive: false,
            is_answered: false,
            awaits_end: false,
            left: None,
            is_grpc: false,
        }
    }

    /// Begins a request on a connection of HTTP/1.1. `is_last`: the connection is to take none after it.
    pub fn begin_request(&mut self, request: RequestHead, is_last: bool) {
        self.keeps_alive = !is_last && asks_to_keep_alive(&request);
        self.is_grpc = grpc::is_call(&request);
        self.request = request;
        (self.received, self.framing, self.is_answered) = (0, BodyFraming::Length, false);
    }

    /// Whether the connection can carry another request (RFC 9112, 9.3): all of this one was read, and all of its response
    /// written.
    pub fn takes_another_request(&self) -> bool {
        self.keeps_alive && self.is_answered && self.left.is_none() && self.is_body_read()
    }

    /// Makes this the last request of its connection.
    pub fn set_last(&mut self) {
        self.keeps_alive = false;
    }

    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        if let ClientConn::Http1(http1) = &mut self.conn {
            http1.set_half_close(bounds.half_close);
            http1.link().follow_probes();
        }
    }

    pub fn request(&self) -> &RequestHead {
        &self.request
    }

    /// Whether the request is a call of gRPC, so that each answer to it is in gRPC's form.
    pub fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    pub fn version(&self) -> Version {
        self.request.version
    }

    /// Whom it is from; `None`: connected to a unix socket.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// The connection, if it is of HTTP/1.1.
    pub fn as_http1(&mut self) -> Option<&mut Http1Client> {
        match &mut self.conn {
            ClientConn::Http1(http1) => Some(http1),
            ClientConn::Http2(_) => None,
        }
    }

    /// A little of what an event needs.
    #[inline]
    pub fn touch(&self) -> (u64, bool, BodyFraming) {
        let written = match &self.conn {
            ClientConn::Http1(http1) => http1.link().written(),
            ClientConn::Http2(_) => 0,
        };
        (written, self.left.is_some(), self.framing)
    }

    pub fn is_http2(&self) -> bool {
        matches!(self.conn, ClientConn::Http2(_))
    }

    /// Whether all of the request was read.
    pub fn is_body_read(&self) -> bool {
        match &self.conn {
            ClientConn::Http1(http1) => http1.is_body_read(),
            ClientConn::Http2(http2) => http2.is_body_read(),
        }
    }

    /// Reads the next piece of the request's body if it `is_wanted`, and notices that the client leaves. Nothing is lost if it is
    /// not called again.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, is_wanted: bool) -> Poll<Received> {
        if self.has_left() {
            return Poll::Pending;
        }
        let received = match &mut self.conn {
            ClientConn::Http1(http1) => ready!(http1.poll_receive(cx, is_wanted)),
            ClientConn::Http2(http2) => ready!(http2.poll_receive(cx, is_wanted)),
        };
        if let Received::Piece { piece, .. } = &received {
            self.received += piece.len();
            if self.bounds.max_body.is_some_and(|max| self.received > max) {
                return Poll::Ready(Received::Bad(Failure::BodyTooLarge));
            }
        }
        Poll::Ready(received)
    }

    /// Like [`Self::poll_receive`]. Safe to drop and call again.
    pub async fn receive(&mut self, is_wanted: bool) -> Received {
        poll_fn(|cx| self.poll_receive(cx, is_wanted)).await
    }

    /// Reads of the request what is there already, for an answer that does not depend on it. Where that is not all, the connection
    /// takes no other request (RFC 9112, 9.3).
    pub async fn read_what_is_there(&mut self) {
        let mut left = READ_AT_MOST;
        while !self.is_body_read()
            && left > 0
            && let Poll::Ready(Received::Piece { piece, .. }) = poll_once(pin!(self.receive(true))).await
        {
            left = left.saturating_sub(piece.len());
        }
        if !self.is_body_read() {
            self.set_last();
        }
    }

    /// Reads what the client still uploads after its response, for a limited time: then the connection can carry another request,
    /// and closing it does not reset it before the client has read the response.
    ///
    /// A stream of HTTP/2 could just be reset (RFC 9113, 8.1), but clients take that for a failure while they still send, and what they
    /// have sent by then counts against their connection, and so against all of its streams.
    pub async fn drain(&mut self) {
        if !self.is_answered || self.is_body_read() {
            return;
        }
        // What goes nowhere may be of any size.
        self.bounds.max_body = None;
        let drain = async {
            while !self.is_body_read()
                && let Ok(Received::Piece { .. }) = timeout(SILENCE, self.receive(true)).await
            {}
        };
        // A client that goes on for longer has to live with the reset.
        let _ = timeout(LINGER, drain).await;
    }

    /// Takes no more of the request of a stream of HTTP/2, which is reset without an error once its response has gone out (RFC 9113, 8.1).
    pub fn dismiss_request(&mut self) {
        if let ClientConn::Http2(http2) = &mut self.conn {
            http2.dismiss_request();
        }
    }

    /// Ends a connection of HTTP/1.1 so that the client gets to read the response: what it still sends is read, for a limited time,
    /// because a close would become a reset (RFC 9112, 9.6).
    pub async fn close(&mut self, limit: Duration) {
        let is_over = self.is_answered && self.left.is_none();
        let ClientConn::Http1(http1) = &mut self.conn else { return };
        if !is_over || http1.link().is_severed() {
            return;
        }
        let is_read = http1.is_body_read() && !http1.has_surplus() && !self.awaits_end;
        let shutdown = timeout(SILENCE, poll_fn(|cx| http1.poll_shutdown(cx))).await;
        if is_read || !matches!(shutdown, Ok(Ok(()))) {
            return;
        }
        let discard = async { while let Ok(Ok(1..)) = timeout(SILENCE, http1.discard()).await {} };
        // Whoever goes on for longer has to live with the reset.
        let _ = timeout(limit.min(LINGER), discard).await;
    }

    /// Notes that a tunnel has ended: the connection is closed, and not broken, and its client may close it first.
    pub fn end_tunnel(&mut self) {
        (self.is_answered, self.awaits_end) = (true, true);
    }

    /// Breaks the connection, or the stream of one, so that the response cannot be taken for a complete one.
    pub async fn sever(&mut self) {
        // What was written before is to arrive; and if it does not, the connection breaks all the same.
        let _ = self.release().await;
        if let ClientConn::Http2(http2) = &self.conn {
            http2.written(LAST_FRAMES).await;
        }
        sleep(LAST_BYTES).await;
        match &mut self.conn {
            ClientConn::Http2(http2) => http2.reset(Reason::INTERNAL_ERROR),
            // Where only the close ends the body, a FIN would look like its end.
            ClientConn::Http1(http1) if self.framing == BodyFraming::UntilClose => http1.link().reset(),
            ClientConn::Http1(http1) => http1.link().sever(),
        }
        self.set_last();
    }

    /// Breaks the connection to a client that has left or takes nothing, or its stream.
    pub fn abandon(&mut self) {
        match &mut self.conn {
            ClientConn::Http2(http2) => http2.reset(Reason::CANCEL),
            ClientConn::Http1(http1) => http1.link().reset(),
        }
        self.set_last();
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

/// Whether a client wants its connection to carry another request (RFC 9112, 9.3).
fn asks_to_keep_alive(request: &RequestHead) -> bool {
    let has = |wanted: &[u8]| {
        list(request.fields.values("Connection")).any(|option| option.eq_ignore_ascii_case(wanted))
    };
    match request.version {
        Version::HTTP_11 => !has(b"close"),
        _ => has(b"keep-alive") && !has(b"close"),
    }
}

/// Polls a future once, with the task's own waker.
pub async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}
