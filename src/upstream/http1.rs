//! One HTTP/1.1 exchange with a backend.
//!
//! pingora's client is not used here. It keeps a buffer of 64 KiB per body, returns one chunk per call, and
//! passes each through four layers, which costs memory per stream and time per event. This client keeps no
//! buffer for a stream that waits.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::Method;
use tokio::io::{AsyncWriteExt, ReadBuf};

use super::connection::{BodyProgress, HeadError};
use super::pool::PoolKey;
use super::write_behind::{UpstreamLink, WriteBehind};
use crate::http1::{
    BodyDecoder, BodyFraming, Chunk, Fields, LAST_CHUNK, Malformed, RequestHead, ResponseHead, TrailerLines,
};
use crate::outcome::{Cause, Failure, Fault};

/// The size of the read buffer, in bytes.
const ROOM: usize = 32 * 1024;

/// The receive buffer of an event stream in the kernel, in bytes: as large as the window of an HTTP/2 stream.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// Subtracted from the keep-alive timeout that the backend promised, because its timer starts at a different
/// moment.
const MARGIN: Duration = Duration::from_millis(500);

/// Bytes of a request that every kernel buffers for a backend that does not read yet.
const PROMPTLY_READ: usize = 32 * 1024;

thread_local! {
    /// The read buffer. It is shared by all connections of a thread, because read bytes are consumed
    /// immediately.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM].into());
}

/// A connection that carries one exchange at a time. Dropping it closes it.
pub struct Http1Exchange {
    stream: WriteBehind,
    key: PoolKey,
    method: Method,
    upload: BodyFraming,
    /// Bytes of the request body written so far.
    uploaded: usize,
    /// Bytes read together with a head that are not part of it.
    input: BytesMut,
    body: BodyDecoder,
    /// Whether the response allows the connection to be reused.
    keeps_alive: bool,
    /// The keep-alive timeout that the backend promised, less [`MARGIN`].
    promised: Option<Duration>,
    /// Where trailers are kept, if they are.
    trailers: Option<Box<TrailerLines>>,
}

impl Http1Exchange {
    /// `stream`: a new connection, or one from the pool.
    pub fn new(mut stream: WriteBehind, key: PoolKey) -> Self {
        stream.begin_exchange();
        Self {
            stream,
            key,
            method: Method::GET,
            upload: BodyFraming::Length,
            uploaded: 0,
            input: BytesMut::new(),
            body: BodyDecoder::Ended,
            keeps_alive: false,
            promised: None,
            trailers: None,
        }
    }

    /// Returns the connection if both sides have completed the exchange and the backend keeps it open, with
    /// the promised keep-alive timeout, if any.
    pub fn into_reusable(self) -> Option<(WriteBehind, PoolKey, Option<Duration>)> {
        let is_done = self.keeps_alive && self.body.is_ended() && self.input.is_empty();
        (is_done && self.stream.link().is_clear()).then_some((self.stream, self.key, self.promised))
    }

    /// Reads the fields that each event needs, to prefetch their cache lines.
    #[inline]
    pub fn touch(&self) -> bool {
        self.input.is_empty() | self.body.is_ended() | self.keeps_alive | self.stream.has_received()
    }

    pub fn link(&self) -> UpstreamLink {
        self.stream.link()
    }

    pub fn keep_trailers(&mut self) {
        self.trailers = Some(Box::default());
    }

    pub fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take().map(|lines| lines.fields())
    }

    pub async fn write_head(&mut self, request: &RequestHead) -> Result<(), Fault> {
        let wire = request.to_wire().ok_or(Failure::Invalid)?;
        self.upload = BodyFraming::of_request(&request.fields);
        self.method = request.method.clone();
        self.write(&wire).await
    }

    pub async fn write_body(&mut self, piece: &[u8]) -> Result<(), Fault> {
        self.uploaded = self.uploaded.saturating_add(piece.len());
        if self.uploaded > PROMPTLY_READ {
            self.stream.be_patient(None);
        }
        match self.upload {
            BodyFraming::Chunked => self.write(&Chunk::of(piece).pieces().concat()).await,
            BodyFraming::Length | BodyFraming::UntilClose => self.write(piece).await,
        }
    }

    pub async fn finish_body(&mut self) -> Result<(), Fault> {
        match self.upload {
            BodyFraming::Chunked => self.write(LAST_CHUNK).await,
            BodyFraming::Length | BodyFraming::UntilClose => Ok(()),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        written.await.map_err(|error| fault(&error))
    }

    /// Bounds the receive buffer in the kernel. Otherwise, megabytes of events would queue there for a slow
    /// client, and the backend would not notice the backpressure.
    pub fn expect_stream(&mut self) {
        self.stream.limit_receive_buffer(RECEIVE_BUFFER);
    }

    /// Cancel-safe.
    pub async fn read_head(&mut self) -> Result<ResponseHead, HeadError> {
        poll_fn(|cx| self.poll_read_head(cx)).await
    }

    fn poll_read_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, HeadError>> {
        loop {
            if !self.input.is_empty()
                && let Some(head) = ResponseHead::parse(&mut self.input).map_err(|Malformed| invalid())?
            {
                self.body = BodyDecoder::of_response(&self.method, head.status, &head.fields)
                    .map_err(|Malformed| invalid())?;
                self.keeps_alive = head.keeps_alive() && self.body != BodyDecoder::UntilClose;
                self.promised = head.keep_alive_timeout().map(|promised| promised.saturating_sub(MARGIN));
                return Poll::Ready(Ok(head));
            }
            let Self { stream, input, .. } = self;
            let read = ready!(poll_read(stream, cx, |bytes| input.extend_from_slice(bytes)));
            let fault = match read {
                Ok(0) => Failure::Closed.into(),
                Ok(_) => continue,
                Err(error) => fault(&error),
            };
            let is_answered = self.stream.has_received();
            let error = if is_answered { HeadError::answered(fault) } else { HeadError::unanswered(fault) };
            return Poll::Ready(Err(error));
        }
    }

    /// Bytes that were read and not consumed. After a protocol switch, they are the start of the new
    /// protocol.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// Consumes this many bytes of [`Self::input`].
    pub fn take_input(&mut self, length: usize) {
        self.input.advance(length);
        if self.input.is_empty() {
            // Also frees the allocation.
            self.input = BytesMut::new();
        }
    }

    /// Reads once, without any framing. 0 means the end of the connection.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { stream, input, .. } = self;
        poll_read(stream, cx, |bytes| input.extend_from_slice(bytes))
    }

    /// The raw connection, to write without framing.
    pub fn writer(&mut self) -> &mut WriteBehind {
        &mut self.stream
    }

    /// Reads the available body into `sink`.
    pub fn poll_read_body(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<BodyProgress, Fault>> {
        // Compiled twice, because this is the hot path of every event.
        match &self.trailers {
            None => self.poll_read_body_as::<false>(cx, sink),
            Some(_) => self.poll_read_body_as::<true>(cx, sink),
        }
    }

    fn poll_read_body_as<const KEEPS_TRAILERS: bool>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<BodyProgress, Fault>> {
        let Self { stream, input, body, keeps_alive, trailers, .. } = self;
        let mut decode = |body: &mut BodyDecoder, bytes: &[u8]| match trailers {
            Some(trailers) if KEEPS_TRAILERS => body.decode_with_trailers(bytes, sink, trailers),
            _ => body.decode(bytes, sink),
        };
        if body.is_ended() {
            return Poll::Ready(Ok(BodyProgress::End));
        }
        let mut is_all = false;
        let decoded = if input.is_empty() {
            let mut decoded = Ok(());
            let read = ready!(poll_read(stream, cx, |bytes| {
                decoded = decode(body, bytes).map(|taken| {
                    // Bytes after the body were not requested, so the connection is not reused.
                    *keeps_alive &= taken == bytes.len();
                });
            }));
            match read {
                Ok(0) if body.close() => return Poll::Ready(Ok(BodyProgress::End)),
                Ok(0) => return Poll::Ready(Err(Failure::Closed.into())),
                Ok(length) => {
                    is_all = length < ROOM;
                    decoded
                }
                Err(error) => return Poll::Ready(Err(fault(&error))),
            }
        } else {
            let decoded = decode(body, input).map(|taken| input.advance(taken));
            if input.is_empty() {
                *input = BytesMut::new();
            }
            decoded
        };
        Poll::Ready(match decoded {
            Ok(()) if body.is_ended() => Ok(BodyProgress::End),
            // A read that did not fill the buffer has drained the socket. Checking for readiness here costs
            // less than another call.
            Ok(()) if is_all && stream.poll_read_ready(cx).is_pending() => Ok(BodyProgress::Waits),
            Ok(()) => Ok(BodyProgress::More),
            Err(Malformed) => Err(Failure::Invalid.into()),
        })
    }
}

/// Reads once and passes the bytes to `take`. Returns how many there were.
fn poll_read(
    stream: &mut WriteBehind,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>> {
    READ.with_borrow_mut(|room| {
        let mut room = ReadBuf::new(room);
        ready!(stream.poll_read(cx, &mut room))?;
        take(room.filled());
        Poll::Ready(Ok(room.filled().len()))
    })
}

fn invalid() -> HeadError {
    HeadError::answered(Failure::Invalid.into())
}

/// The failure that an error of the connection stands for.
fn fault(error: &io::Error) -> Fault {
    let failure = match error.kind() {
        ErrorKind::UnexpectedEof => Failure::Closed,
        _ => Failure::Reset,
    };
    Fault::caused(failure, error.raw_os_error().map(Cause::Os))
}
