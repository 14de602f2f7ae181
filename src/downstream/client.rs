//! The client of one exchange: its request, and whether it is still connected. Writing the response is in
//! [`writing`](super::writing).

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

/// Bytes of a request body that are read before a response that does not depend on them.
const READ_AT_MOST: usize = 64 * 1024;

/// Total time for which data from a client is read and discarded after its response, so that the client can
/// read the response (like nginx's lingering_time).
const LINGER: Duration = Duration::from_secs(30);

/// Longest silence in that time (like nginx's lingering_timeout).
const SILENCE: Duration = Duration::from_secs(5);

/// Time for queued HTTP/2 frames to be written before the stream is reset.
const LAST_FRAMES: Duration = Duration::from_secs(1);

/// Time for a client to read the last bytes before its connection breaks. A reset overtakes data in transit,
/// and browsers and curl discard received data that they have not delivered yet.
const LAST_BYTES: Duration = Duration::from_millis(100);

/// Why no more can be written to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientLost {
    /// The client closed or reset its connection.
    Gone,
    /// The client accepted no data for `write_timeout`.
    Slow,
}

/// A client and its current request.
pub struct Client {
    pub(super) conn: ClientConn,
    pub(super) request: RequestHead,
    peer: Option<IpAddr>,
    pub(super) bounds: Bounds,
    /// Bytes of the request body received so far.
    received: usize,
    /// How the end of the response body is marked over HTTP/1.1.
    pub(super) framing: BodyFraming,
    /// Whether the connection may carry another request after this one.
    pub(super) keeps_alive: bool,
    /// Whether the response was written completely.
    pub(super) is_answered: bool,
    /// Whether the client may still send data that is not needed, such as the end of its tunnel.
    awaits_end: bool,
    /// The phase in which the client left. Its response is read to the end without it.
    left: Option<Phase>,
    /// Whether the request is a gRPC call.
    is_grpc: bool,
}

/// An HTTP/1.1 connection or an HTTP/2 stream.
#[allow(clippy::large_enum_variant, reason = "the large one is nearly every one")]
pub(super) enum ClientConn {
    Http1(Http1Client),
    Http2(Box<Http2Client>),
}

/// Limits on a client.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long the client may accept no data while something is being written.
    pub write_timeout: Option<Duration>,
    /// Maximum size of the request body, in bytes.
    pub max_body: Option<usize>,
    /// The effect of a FIN before the response is complete.
    pub half_close: HalfClose,
}

/// For local responses, which no route configures.
impl Default for Bounds {
    fn default() -> Self {
        let write_timeout = StreamPolicy::default().write_timeout;
        Self { write_timeout, max_body: None, half_close: HalfClose::Cancel }
    }
}

impl Client {
    /// A client on an HTTP/1.1 connection. `peer` is `None` for a Unix socket.
    pub fn http1(http1: Http1Client, peer: Option<IpAddr>) -> Self {
        Self::new(ClientConn::Http1(http1), RequestHead::default(), peer)
    }

    /// A client on an HTTP/2 stream.
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

    /// Begins a request on an HTTP/1.1 connection. With `is_last`, the connection closes after it.
    pub fn begin_request(&mut self, request: RequestHead, is_last: bool) {
        self.keeps_alive = !is_last && asks_to_keep_alive(&request);
        self.is_grpc = grpc::is_call(&request);
        self.request = request;
        (self.received, self.framing, self.is_answered) = (0, BodyFraming::Length, false);
    }

    /// Whether the connection can carry another request (RFC 9112, 9.3). The request must be read completely
    /// and the response written completely.
    pub fn takes_another_request(&self) -> bool {
        self.keeps_alive && self.is_answered && self.left.is_none() && self.is_body_read()
    }

    /// Closes the connection after this request.
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

    /// Whether the request is a gRPC call, so that every response to it uses gRPC's form.
    pub fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    pub fn version(&self) -> Version {
        self.request.version
    }

    /// The client's address; `None` for a Unix socket.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// The connection, if it is HTTP/1.1.
    pub fn as_http1(&mut self) -> Option<&mut Http1Client> {
        match &mut self.conn {
            ClientConn::Http1(http1) => Some(http1),
            ClientConn::Http2(_) => None,
        }
    }

    /// Bytes written over HTTP/1.1 (0 for HTTP/2), whether the client has left, and the framing. Reading them
    /// pulls the client's memory into the cache before an event is processed.
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

    /// Whether the request was read completely.
    pub fn is_body_read(&self) -> bool {
        match &self.conn {
            ClientConn::Http1(http1) => http1.is_body_read(),
            ClientConn::Http2(http2) => http2.is_body_read(),
        }
    }

    /// Reads the next piece of the request body if `is_wanted`, and detects that the client leaves.
    /// Cancel-safe.
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

    /// Like [`Self::poll_receive`]. Cancel-safe.
    pub async fn receive(&mut self, is_wanted: bool) -> Received {
        poll_fn(|cx| self.poll_receive(cx, is_wanted)).await
    }

    /// Reads the part of the request body that has already arrived, before a response that does not depend on
    /// it. If the body is not complete then, the connection closes after the response (RFC 9112, 9.3).
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

    /// Reads and discards the rest of the request body after the response, for a limited time. The connection
    /// can then carry another request, and closing it does not reset it before the client has read the
    /// response.
    ///
    /// An HTTP/2 stream could simply be reset (RFC 9113, 8.1). But clients that are still sending treat that
    /// as a failure. Also, the data that they have sent counts against the flow-control window of the
    /// connection, and thus of all its streams.
    pub async fn drain(&mut self) {
        if !self.is_answered || self.is_body_read() {
            return;
        }
        // The size of discarded data does not matter.
        self.bounds.max_body = None;
        let drain = async {
            while !self.is_body_read()
                && let Ok(Received::Piece { .. }) = timeout(SILENCE, self.receive(true)).await
            {}
        };
        // A client that sends for longer gets a reset.
        let _ = timeout(LINGER, drain).await;
    }

    /// Ignores the rest of the request of an HTTP/2 stream. The stream is reset with NO_ERROR once the
    /// response has been sent (RFC 9113, 8.1).
    pub fn dismiss_request(&mut self) {
        if let ClientConn::Http2(http2) = &mut self.conn {
            http2.dismiss_request();
        }
    }

    /// Closes an HTTP/1.1 connection so that the client can read the response. Data that the client still
    /// sends is read for a limited time, because closing with unread data would cause a reset (RFC 9112,
    /// 9.6).
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
        // A client that sends for longer gets a reset.
        let _ = timeout(limit.min(LINGER), discard).await;
    }

    /// Marks a tunnel as ended. The connection is then closed cleanly, and the client may close it first.
    pub fn end_tunnel(&mut self) {
        (self.is_answered, self.awaits_end) = (true, true);
    }

    /// Breaks the connection or the HTTP/2 stream, so that the client cannot take the response for complete.
    pub async fn sever(&mut self) {
        // Data written before should still arrive. The connection breaks even if that fails.
        let _ = self.release().await;
        if let ClientConn::Http2(http2) = &self.conn {
            http2.written(LAST_FRAMES).await;
        }
        sleep(LAST_BYTES).await;
        match &mut self.conn {
            ClientConn::Http2(http2) => http2.reset(Reason::INTERNAL_ERROR),
            // If the body ends with the connection, a FIN would look like its end.
            ClientConn::Http1(http1) if self.framing == BodyFraming::UntilClose => http1.link().reset(),
            ClientConn::Http1(http1) => http1.link().sever(),
        }
        self.set_last();
    }

    /// Breaks the connection or the HTTP/2 stream of a client that has left or accepts no data.
    pub fn abandon(&mut self) {
        match &mut self.conn {
            ClientConn::Http2(http2) => http2.reset(Reason::CANCEL),
            ClientConn::Http1(http1) => http1.link().reset(),
        }
        self.set_last();
    }

    /// Continues without a client that has left. The client is no longer watched, and writes are discarded.
    pub fn leave(&mut self, phase: Phase) {
        self.abandon();
        self.left = Some(phase);
    }

    pub fn has_left(&self) -> bool {
        self.left.is_some()
    }

    /// The phase in which the client left, if its response is still read.
    pub fn left(&self) -> Option<Phase> {
        self.left
    }
}

/// Whether the client wants the connection to persist (RFC 9112, 9.3).
fn asks_to_keep_alive(request: &RequestHead) -> bool {
    let has = |wanted: &[u8]| {
        list(request.fields.values("Connection")).any(|option| option.eq_ignore_ascii_case(wanted))
    };
    match request.version {
        Version::HTTP_11 => !has(b"close"),
        _ => has(b"keep-alive") && !has(b"close"),
    }
}

/// Polls a future once with the waker of the current task.
pub async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}
