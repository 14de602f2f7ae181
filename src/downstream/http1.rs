//! An HTTP/1.1 client connection: reading requests in sequence, and raw writes. The framing of responses is
//! in `writing`.
//!
//! An idle connection holds no buffer: reads go into a buffer that all connections of a thread share.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::{ClientWire, Link};
use crate::config::HalfClose;
use crate::http1::{BadHead, BodyDecoder, RequestHead, RequestParser};
use crate::outcome::Failure;

/// Size of one read, in bytes.
const ROOM: usize = 32 * 1024;

/// Interval of checks for a broken connection while the socket is not read because the backend accepts no
/// data. The end of the stream is then behind unread data.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Bytes of pipelined requests that are read while one request is served. The end of the stream is detected
/// only after them.
const MAX_AHEAD: usize = 64 * 1024;

thread_local! {
    /// The shared read buffer.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM].into());
}

/// The result of reading a request body, or of watching the client after it.
#[derive(Debug)]
pub enum Received {
    /// A piece of the body. The last piece may be empty.
    Piece {
        piece: Bytes,
        is_last: bool,
    },
    /// The client closed or reset its connection or its stream.
    Gone,
    Bad(Failure),
}

#[derive(Debug)]
pub struct Http1Client {
    wire: ClientWire,
    /// Bytes that were read but not consumed.
    input: BytesMut,
    body: BodyDecoder,
    /// The end of the request is unknown, so the bytes that follow are no request (RFC 9112, 9.3).
    is_broken: bool,
    half_close: HalfClose,
    is_half_closed: bool,
    /// Time of the next check for a broken connection while the socket is not read.
    look: Option<Pin<Box<Sleep>>>,
    /// Data that is held back and goes out before anything else.
    held: Vec<u8>,
}

impl Http1Client {
    /// `begun` holds the bytes that were already read from the connection.
    pub fn new(wire: ClientWire, begun: &[u8]) -> Self {
        Self {
            wire,
            // Copied into an exact allocation: bytes after a head may stay for a long time.
            input: BytesMut::from(begun),
            body: BodyDecoder::Ended,
            is_broken: false,
            half_close: HalfClose::Cancel,
            is_half_closed: false,
            look: None,
            held: Vec::new(),
        }
    }

    pub fn link(&self) -> &Arc<Link> {
        self.wire.link()
    }

    /// Whether the transport is unencrypted.
    pub fn is_plain(&self) -> bool {
        self.wire.is_plain()
    }

    pub fn half_close(&self) -> HalfClose {
        self.half_close
    }

    /// The effect of a FIN from the client before the response is complete.
    pub fn set_half_close(&mut self, half_close: HalfClose) {
        self.half_close = half_close;
    }

    /// Whether a request has begun. Empty lines before it do not count (RFC 9112, 2.2).
    pub fn has_begun(&self) -> bool {
        self.input.iter().any(|byte| !b"\r\n".contains(byte))
    }

    /// Reads the next request head; `None` means that the connection has ended. A rejected head is returned
    /// with the part that was parsed. Cancel-safe if called again with the same parser.
    pub fn poll_read_head(
        &mut self,
        cx: &mut Context<'_>,
        parser: &mut RequestParser,
        max_size: usize,
    ) -> Poll<Option<(RequestHead, Result<(), BadHead>)>> {
        loop {
            if !self.input.is_empty() {
                match parser.advance(&self.input, max_size) {
                    Ok(None) => {}
                    Ok(Some(length)) => {
                        let head = parser.head(&self.input).unwrap_or_default();
                        let _ = self.take_input(length);
                        self.body = head.body();
                        return Poll::Ready(Some((head, Ok(()))));
                    }
                    Err(bad) => {
                        self.is_broken = true;
                        return Poll::Ready(Some((parser.head(&self.input).unwrap_or_default(), Err(bad))));
                    }
                }
            }
            if !matches!(ready!(self.poll_fill(cx)), Ok(1..)) {
                return Poll::Ready(None);
            }
        }
    }

    /// Abandons an incomplete head. Returns the part that was parsed.
    pub fn give_up(&mut self, parser: &RequestParser) -> RequestHead {
        self.is_broken = true;
        parser.head(&self.input).unwrap_or_default()
    }

    /// Whether the request was read completely.
    pub fn is_body_read(&self) -> bool {
        self.body.is_ended() && !self.is_broken
    }

    /// Whether bytes were read that belong to no request.
    pub fn has_surplus(&self) -> bool {
        !self.input.is_empty()
    }

    /// Reads the next piece of the body if `is_wanted`. Otherwise, or after the body, detects that the client
    /// leaves. Cancel-safe.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, is_wanted: bool) -> Poll<Received> {
        if self.is_broken {
            return Poll::Ready(Received::Bad(Failure::MalformedBody));
        }
        if self.body.is_ended() {
            return self.poll_gone(cx).map(|()| Received::Gone);
        }
        // Unread data fills the TCP receive window, which is the backpressure for the client.
        if !is_wanted {
            return self.poll_gone_unread(cx).map(|()| Received::Gone);
        }
        self.look = None;
        loop {
            if !self.input.is_empty() {
                let Ok(piece) = self.body.take(&mut self.input) else {
                    self.is_broken = true;
                    return Poll::Ready(Received::Bad(Failure::MalformedBody));
                };
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                }
                let is_last = self.body.is_ended();
                if is_last || !piece.is_empty() {
                    return Poll::Ready(Received::Piece { piece, is_last });
                }
            }
            if !matches!(ready!(self.poll_fill(cx)), Ok(1..)) {
                self.is_broken = true;
                return Poll::Ready(Received::Gone);
            }
        }
    }

    /// Ready when a client whose request is complete leaves. Bytes of a pipelined request are kept.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The fast path: nothing to read.
        if let ClientWire::Plain(link) = &self.wire
            && link.poll_readable(cx).is_pending()
        {
            return Poll::Pending;
        }
        while !self.is_half_closed && self.input.len() < MAX_AHEAD {
            match ready!(self.poll_fill(cx)) {
                Ok(0) if self.half_close == HalfClose::Tolerate => self.is_half_closed = true,
                Ok(1..) => {}
                _ => return Poll::Ready(()),
            }
        }
        self.poll_gone_unread(cx)
    }

    /// Ready when a client leaves whose data is not being read.
    // Kept out of the code path of each event.
    #[cold]
    #[inline(never)]
    fn poll_gone_unread(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.half_close == HalfClose::Cancel {
            return self.link().poll_ended(cx);
        }
        loop {
            let look = self.look.get_or_insert_with(|| Box::pin(sleep(LOOK)));
            ready!(look.as_mut().poll(cx));
            self.look = None;
            if self.link().is_broken() {
                return Poll::Ready(());
            }
        }
    }

    /// Reads once; 0 means the end of the stream.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { wire, input, .. } = self;
        READ.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(wire).poll_read(cx, &mut room))?;
            input.extend_from_slice(room.filled());
            Poll::Ready(Ok(room.filled().len()))
        })
    }

    /// The bytes that were read but not consumed.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// Consumes `length` of these bytes.
    pub fn take_input(&mut self, length: usize) -> Bytes {
        let taken = self.input.split_to(length).freeze();
        if self.input.is_empty() {
            // Frees the buffer as well.
            self.input = BytesMut::new();
        }
        taken
    }

    /// Holds data back until the next write or [flush](Self::flush).
    pub fn hold_back(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Writes held-back data and then `pieces`, if everything is small and the connection accepts some of it
    /// without blocking. The rest is held back. Returns whether the pieces were written or held back.
    pub fn try_write(&mut self, pieces: [&[u8]; 3]) -> bool {
        let pieces = [&self.held[..], pieces[0], pieces[1], pieces[2]];
        match self.wire.try_write(&pieces) {
            Ok(0) | Err(_) => false,
            Ok(written) => {
                let mut slices = pieces.map(IoSlice::new);
                let mut slices = &mut slices[..];
                IoSlice::advance_slices(&mut slices, written);
                self.held = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                true
            }
        }
    }

    /// Whether written data has not reached the socket yet.
    pub fn is_behind(&self) -> bool {
        self.holds() || self.wire.is_behind()
    }

    /// Writes held-back data and then all pieces, in one system call if the socket accepts it. If the future
    /// is dropped after it has begun, the remaining data is lost.
    pub async fn write_all(&mut self, pieces: [&[u8]; 3]) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let pieces = [&held[..], pieces[0], pieces[1], pieces[2]];
        let mut slices = pieces.map(IoSlice::new);
        let mut slices = &mut slices[..];
        let mut written = match self.wire.try_write(&pieces) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            written => written?,
        };
        loop {
            IoSlice::advance_slices(&mut slices, written);
            if slices.is_empty() {
                return Ok(());
            }
            written = poll_fn(|cx| self.poll_write(cx, slices)).await?;
            if written == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
    }

    /// Writes as much as the connection accepts now, bypassing held-back data.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.wire.poll_write(cx, slices)
    }

    /// Writes held-back data and flushes TLS.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.holds() {
            self.write_all([&[]; 3]).await?;
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Flushes TLS only.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_flush(cx)
    }

    /// Shuts down the sending side.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_shutdown(cx)
    }

    /// Reads and discards data from the client. Returns the number of bytes; 0 means the end of the stream.
    pub async fn discard(&mut self) -> io::Result<usize> {
        self.input.clear();
        poll_fn(|cx| self.poll_fill(cx)).await
    }
}
