//! The request body on its way upstream, and what is kept of it until the response is there.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::stream_request::RequestMembers;
use crate::downstream::{Client, Received};
use crate::outcome::Failure;

/// Bytes of a request body that are kept: for the one retry of an idempotent request, and to know what was asked for.
const KEPT: usize = 64 * 1024;

/// What a client did while it was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// A piece of its request body, or the body's end, is in the [`Upload`].
    Uploaded,
    /// It closed or reset its connection.
    Gone,
    BadBody(Failure),
}

/// A request body between the client and the backend.
#[derive(Debug)]
pub struct Upload {
    /// Read and not yet sent upstream.
    piece: Option<Bytes>,
    /// The end of the body was read.
    read: bool,
    /// The end of the body was sent upstream, or upstream wants no more of it.
    sent: bool,
    /// What was sent upstream so far.
    kept: Vec<Bytes>,
    /// `kept` lacks nothing.
    is_kept: bool,
    members: RequestMembers,
}

impl Upload {
    /// `read`: there is no body, or all of it has been read.
    pub fn new(read: bool) -> Self {
        Self {
            piece: None,
            read,
            sent: read,
            kept: Vec::new(),
            is_kept: true,
            members: RequestMembers::default(),
        }
    }

    /// Whether the request has no body at all.
    pub fn is_empty(&self) -> bool {
        self.read && self.piece.is_none() && self.is_kept && self.kept.is_empty()
    }

    /// Waits until the client uploads something or leaves. Safe to drop and call again.
    ///
    /// While a piece waits here, nothing more is taken: the client's window then holds it back.
    pub async fn watch(&mut self, client: &mut Client) -> ClientEvent {
        poll_fn(|cx| self.poll_watch(cx, client)).await
    }

    /// Like [`Self::watch`].
    pub fn poll_watch(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Poll<ClientEvent> {
        let is_wanted = self.piece.is_none() && !self.read;
        Poll::Ready(match ready!(client.poll_receive(cx, is_wanted)) {
            Received::Piece { piece, is_last } => {
                // No empty piece is ever passed on, for it would end the body twice.
                self.receive(Some(piece).filter(|piece| !piece.is_empty()), is_last);
                ClientEvent::Uploaded
            }
            Received::Gone => ClientEvent::Gone,
            Received::Bad(bad) => ClientEvent::BadBody(bad),
        })
    }

    /// Takes what was read from the client; `end`: nothing follows.
    fn receive(&mut self, piece: Option<Bytes>, end: bool) {
        if let Some(piece) = &piece {
            self.members.push(piece);
        }
        self.piece = piece.or(self.piece.take());
        self.read = end;
    }

    /// The piece that is to be sent next.
    pub fn piece(&self) -> Option<&Bytes> {
        self.piece.as_ref()
    }

    /// Takes the piece that is to be sent next.
    pub fn take_piece(&mut self) -> Option<Bytes> {
        let piece = self.piece.take()?;
        let kept: usize = self.kept.iter().map(Bytes::len).sum();
        if self.is_kept && kept + piece.len() <= KEPT {
            self.kept.push(piece.clone());
        } else {
            self.forget();
        }
        Some(piece)
    }

    /// What was sent so far, if that [is kept](Self::is_kept).
    pub fn kept(&self) -> &[Bytes] {
        &self.kept
    }

    /// Whether all that was sent so far could be sent again.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Keeps nothing any more.
    pub fn forget(&mut self) {
        self.kept = Vec::new();
        self.is_kept = false;
    }

    /// The whole body, if the client has sent all of it and it was small enough to be kept.
    pub fn whole(&self) -> Option<Vec<u8>> {
        (self.is_kept && self.read && self.piece.is_none()).then(|| self.kept.concat())
    }

    /// What the body says of what is asked for, if it is a JSON object, as far as it has been read.
    pub fn members(&self) -> &RequestMembers {
        &self.members
    }

    /// Makes the end of the body be sent again, on another connection.
    pub fn reopen(&mut self) {
        self.sent = false;
    }

    /// Notes that nothing more is to be sent upstream.
    pub fn close(&mut self) {
        self.sent = true;
    }

    /// Whether something is to be sent upstream: a piece, or the end of the body.
    pub fn waits(&self) -> bool {
        !self.sent && (self.piece.is_some() || self.read)
    }

    /// Whether it is the client that more of the body must come from.
    pub fn awaits_client(&self) -> bool {
        !self.read && self.piece.is_none()
    }

    /// Whether the client has sent all of its request.
    pub fn is_read(&self) -> bool {
        self.read
    }

    /// Whether nothing more is to be sent upstream.
    pub fn is_closed(&self) -> bool {
        self.sent
    }
}
