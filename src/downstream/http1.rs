//! A client's connection over HTTP/1.1: what is read from it, one request after the other, and what is written to it.
//!
//! Nothing is kept for a connection that waits: bytes are read into room that all connections of a thread share.

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

/// Bytes of one read.
const ROOM: usize = 32 * 1024;

/// How often a client is looked at that nobody reads from, because its backend takes nothing: what it has sent lies before its end.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Bytes of later requests that are read while one is served. A client that leaves is noticed at its end, and so behind them.
const MAX_AHEAD: usize = 64 * 1024;

thread_local! {
    /// What is read goes here first.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM].into());
}

/// What came of a client while its request's body was read, or after that.
#[derive(Debug)]
pub enum Received {
    /// A piece of the body, which may be empty at its end.
    Piece {
        piece: Bytes,
        is_last: bool,
    },
    /// It closed or reset its connection, or the stream of one.
    Gone,
    Bad(Failure),
}

/// A connection.
#[derive(Debug)]
pub struct Http1Client {
    wire: ClientWire,
    /// Read, and not part of anything yet.
    input: BytesMut,
    body: BodyDecoder,
    /// Where the request ends is not known any more, and so nothing that follows is one (RFC 9112, 9.3).
    is_broken: bool,
    half_close: HalfClose,
    is_half_closed: bool,
    /// When it is looked at next, while nobody reads from it.
    look: Option<Pin<Box<Sleep>>>,
    /// Written, and held back; goes out before anything else.
    held: Vec<u8>,
}

impl Http1Client {
    /// `begun`: what was read of the connection already.
    pub fn new(wire: ClientWire, begun: &[u8]) -> Self {
        Self {
            wire,
            // Without the room that it was read into: what follows a head may have to wait for long.
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

    /// Whether what is written to the socket is what the client reads.
    pub fn is_plain(&self) -> bool {
        self.wire.is_plain()
    }

    pub fn half_close(&self) -> HalfClose {
        self.half_close
    }

    /// What of a FIN from the client, while its response is still to come.
    pub fn set_half_close(&mut self, half_close: HalfClose) {
        self.half_close = half_close;
    }

    /// Whether a byte of a request is there. Empty lines before it are none (RFC 9112, 2.2).
    pub fn has_begun(&self) -> bool {
        self.input.iter().any(|byte| !b"\r\n".contains(byte))
    }

    /// Reads the head of the next request; `None`: the connection has ended. A head that is refused is told with what is
    /// known of it. To be called again with the same parser.
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

    /// Gives up on a head of which only a part has come; returns what is known of it.
    pub fn give_up(&mut self, parser: &RequestParser) -> RequestHead {
        self.is_broken = true;
        parser.head(&self.input).unwrap_or_default()
    }

    /// Whether all of the request was read.
    pub fn is_body_read(&self) -> bool {
        self.body.is_ended() && !self.is_broken
    }

    /// Whether bytes were read that nobody wants.
    pub fn has_surplus(&self) -> bool {
        !self.input.is_empty()
    }

    /// Reads the next piece of the body if it `is_wanted`; where there is none, notices the client's leaving. Nothing is lost if
    /// it is not called again.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, is_wanted: bool) -> Poll<Received> {
        if self.is_broken {
            return Poll::Ready(Received::Bad(Failure::MalformedBody));
        }
        if self.body.is_ended() {
            return self.poll_gone(cx).map(|()| Received::Gone);
        }
        // The socket's own window holds the client back.
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

    /// Ready when a client that has sent its whole request leaves. What it sends of its next one is kept.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Most of the time nothing is there.
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

    /// Ready when a client leaves that nobody reads from.
    // Kept out of the way of each event.
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

    /// Reads once; 0 is the end of the connection.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { wire, input, .. } = self;
        READ.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(wire).poll_read(cx, &mut room))?;
            input.extend_from_slice(room.filled());
            Poll::Ready(Ok(room.filled().len()))
        })
    }

    /// What was read and is not part of a request.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// Takes so much of it.
    pub fn take_input(&mut self, length: usize) -> Bytes {
        let taken = self.input.split_to(length).freeze();
        if self.input.is_empty() {
            // Not even the room for it is kept.
            self.input = BytesMut::new();
        }
        taken
    }

    /// Holds these back, until somebody writes or [flushes](Self::flush).
    pub fn hold_back(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Whether something is held back.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Writes these, after what is held back, if all of it is small and the connection takes some of it at once: then what it does
    /// not take is held back. Returns whether they are written.
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

    /// Whether something that was written is not with the socket yet.
    pub fn is_behind(&self) -> bool {
        self.holds() || self.wire.is_behind()
    }

    /// Writes all of these, after what is held back, in one system call if the socket takes it. Nothing is left of them when it
    /// has begun and the future is dropped.
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

    /// Writes what the connection takes now, past what is held back.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.wire.poll_write(cx, slices)
    }

    /// Writes what is held back, here and by TLS.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.holds() {
            self.write_all([&[]; 3]).await?;
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Likewise, of TLS alone.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_flush(cx)
    }

    /// Ends what is sent to the client.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_shutdown(cx)
    }

    /// Reads and drops what the client still sends; returns how much that was, which is nothing at the end of the connection.
    pub async fn discard(&mut self) -> io::Result<usize> {
        self.input.clear();
        poll_fn(|cx| self.poll_fill(cx)).await
    }
}
