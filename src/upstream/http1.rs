//! One HTTP/1.1 exchange with a backend.
//!
//! Ours and not pingora's client, because that one keeps 64 KiB for each body, hands out one chunk per call, and goes through
//! four layers for each: memory and time of every stream and event. Nothing is kept for a stream that waits.

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

/// Bytes of one read.
const ROOM: usize = 32 * 1024;

/// Bytes of a stream that the kernel may receive ahead: as much as the window of a stream of HTTP/2.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// How much sooner a connection is given up than its backend has promised to close it: that counts from another moment.
const MARGIN: Duration = Duration::from_millis(500);

/// Bytes of a request that every kernel takes for a backend that does not read yet.
const PROMPTLY_READ: usize = 32 * 1024;

thread_local! {
    /// What is read goes here first, and from here to whoever takes it at once: no connection keeps room of its own.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM].into());
}

/// A connection that carries one exchange at a time. Dropping it closes it.
pub struct Http1Exchange {
    stream: WriteBehind,
    key: PoolKey,
    method: Method,
    upload: BodyFraming,
    /// Bytes of the request's body so far.
    uploaded: usize,
    /// Read with a head and not part of it.
    input: BytesMut,
    body: BodyDecoder,
    /// The response lets the connection be used again.
    keeps_alive: bool,
    /// For how long the backend has promised to keep it.
    promised: Option<Duration>,
    /// Where trailers are kept.
    trailers: Option<Box<TrailerLines>>,
}

impl Http1Exchange {
    /// `stream`: new, or fresh from the pool.
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

    /// The stream, if both sides are done with the exchange and the backend keeps the connection; and for how long the backend has
    /// promised to keep it, if it has.
    pub fn into_reusable(self) -> Option<(WriteBehind, PoolKey, Option<Duration>)> {
        let is_done = self.keeps_alive && self.body.is_ended() && self.input.is_empty();
        (is_done && self.stream.link().is_clear()).then_some((self.stream, self.key, self.promised))
    }

    /// A little of what an event needs.
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

    /// Bounds what the kernel receives ahead: it would let megabytes of events grow old there while their client is slow,
    /// and the backend go on.
    pub fn expect_stream(&mut self) {
        self.stream.limit_receive_buffer(RECEIVE_BUFFER);
    }

    /// Safe to drop and call again.
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

    /// What was read and is part of nothing yet: after a response that switches protocols, the beginning of the other one.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// Takes so much of it.
    pub fn take_input(&mut self, length: usize) {
        self.input.advance(length);
        if self.input.is_empty() {
            // Not even the room for it is kept.
            self.input = BytesMut::new();
        }
    }

    /// Reads once, past any framing; 0 is the end of the connection.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { stream, input, .. } = self;
        poll_read(stream, cx, |bytes| input.extend_from_slice(bytes))
    }

    /// What is written to the connection, past any framing.
    pub fn writer(&mut self) -> &mut WriteBehind {
        &mut self.stream
    }

    /// Reads what is there of the body into `sink`.
    pub fn poll_read_body(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<BodyProgress, Fault>> {
        // A copy for each, because every event takes this way.
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
                    // Nobody has asked for more than the body.
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
            // A read that leaves room was all there was. To ask for the next here costs less than to come back for it.
            Ok(()) if is_all && stream.poll_read_ready(cx).is_pending() => Ok(BodyProgress::Waits),
            Ok(()) => Ok(BodyProgress::More),
            Err(Malformed) => Err(Failure::Invalid.into()),
        })
    }
}

/// Reads once, and shows what there was to `take`; returns how many bytes.
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

/// What an error of the connection says about the backend.
fn fault(error: &io::Error) -> Fault {
    let failure = match error.kind() {
        ErrorKind::UnexpectedEof => Failure::Closed,
        _ => Failure::Reset,
    };
    Fault::caused(failure, error.raw_os_error().map(Cause::Os))
}
