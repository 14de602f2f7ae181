//! The request body on its way upstream, and what is kept of it until the response is there.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::pieces::Pieces;
use super::request_members::RequestMembers;
use crate::config::{FailoverOn, FailoverPolicy};
use crate::downstream::{Client, Received};
use crate::outcome::Failure;

/// Bytes of a request body that are kept at least: for a retry over another connection, and to know what was asked for.
const KEPT: usize = 64 * 1024;

/// Bytes of it in which the key is looked for that a server is chosen by. They wait until one is chosen.
const KEY_WITHIN: usize = 64 * 1024;

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
    /// Read and not yet sent upstream: one piece, or all that waited for a server to be chosen, or all that is sent once more.
    pieces: Pieces,
    /// The end of the body was read.
    read: bool,
    /// The end of the body was sent upstream, or upstream wants no more of it.
    sent: bool,
    /// What was sent upstream so far.
    kept: Pieces,
    /// `kept` lacks nothing.
    is_kept: bool,
    /// Bytes that are kept.
    max_kept: usize,
    /// Bytes that may have been sent to a server that fails, for another one to get them.
    max_repeated: usize,
    members: RequestMembers,
}

impl Upload {
    /// `read`: there is no body, or all of it has been read; `failover`: when what was sent is to be sent again.
    pub fn new(read: bool, failover: &FailoverPolicy) -> Self {
        let may_have_been_taken = |cause: &FailoverOn| *cause != FailoverOn::Connect;
        let repeats = failover.on.iter().any(may_have_been_taken) || failover.first_event_timeout.is_some();
        Self {
            pieces: Pieces::default(),
            read,
            sent: read,
            kept: Pieces::default(),
            is_kept: true,
            max_kept: if repeats { failover.max_body.max(KEPT) } else { KEPT },
            max_repeated: failover.max_body,
            members: RequestMembers::default(),
        }
    }

    /// Whether the request has no body at all.
    pub fn is_empty(&self) -> bool {
        self.read && self.pieces.is_empty() && self.is_kept && self.kept.is_empty()
    }

    /// Waits until the client uploads something or leaves. Safe to drop and call again.
    ///
    /// While a piece waits here, nothing more is taken: the client's window then holds it back.
    pub async fn watch(&mut self, client: &mut Client) -> ClientEvent {
        poll_fn(|cx| self.poll_watch(cx, client)).await
    }

    /// Like [`Self::watch`].
    pub fn poll_watch(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Poll<ClientEvent> {
        self.poll_receive(cx, client, self.pieces.is_empty())
    }

    /// Likewise, but takes more while pieces wait here. The caller bounds them.
    pub async fn read_on(&mut self, client: &mut Client) -> ClientEvent {
        poll_fn(|cx| self.poll_receive(cx, client, true)).await
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        is_wanted: bool,
    ) -> Poll<ClientEvent> {
        Poll::Ready(match ready!(client.poll_receive(cx, is_wanted && !self.read)) {
            Received::Piece { piece, is_last } => {
                self.receive(piece, is_last);
                ClientEvent::Uploaded
            }
            Received::Gone => ClientEvent::Gone,
            Received::Bad(bad) => ClientEvent::BadBody(bad),
        })
    }

    /// Takes what was read from the client; `is_last`: nothing follows.
    fn receive(&mut self, piece: Bytes, is_last: bool) {
        self.members.push(&piece);
        self.pieces.push(piece);
        self.read = is_last;
    }

    /// Whether something of the body waits to be sent.
    pub fn has_piece(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Takes the piece that is to be sent next.
    pub fn take_piece(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop()?;
        if self.is_kept && self.kept.length() + piece.len() <= self.max_kept {
            self.kept.push(piece.clone());
        } else {
            self.forget();
        }
        Some(piece)
    }

    /// Whether all that was sent so far could be sent again.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether it may be, to another server than the one that has it.
    pub fn may_repeat(&self) -> bool {
        self.is_kept && self.kept.length() <= self.max_repeated
    }

    /// Keeps nothing any more.
    pub fn forget(&mut self) {
        self.kept = Pieces::default();
        self.is_kept = false;
    }

    /// The whole body, if the client has sent all of it and it was small enough to be kept.
    pub fn whole(&self) -> Option<Vec<u8>> {
        let is_whole = self.is_kept && self.read && self.pieces.is_empty() && self.kept.length() <= KEPT;
        is_whole.then(|| self.kept.concat())
    }

    /// Looks for these members of the body, by which a server is chosen. To be called before any of it is read.
    pub fn watch_keys<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.members.watch(names, KEY_WITHIN);
    }

    /// Whether more of the body, if it comes, may tell which of them is the key.
    pub fn seeks_key(&self) -> bool {
        !self.read && self.members.seeks_key()
    }

    /// The first of them that the body has: its index, and its value. None is looked for any longer.
    pub fn take_key(&mut self) -> Option<(usize, Box<[u8]>)> {
        self.members.take_key()
    }

    /// What the body says of what is asked for, if it is a JSON object, as far as it has been read.
    pub fn members(&self) -> &RequestMembers {
        &self.members
    }

    /// Makes all that was sent be sent again, on another connection, and first.
    pub fn reopen(&mut self) {
        self.pieces.prepend(std::mem::take(&mut self.kept));
        self.sent = false;
    }

    /// Notes that nothing more is to be sent upstream.
    pub fn close(&mut self) {
        self.sent = true;
    }

    /// Whether something is to be sent upstream: a piece, or the end of the body.
    pub fn waits(&self) -> bool {
        !self.sent && (self.has_piece() || self.read)
    }

    /// Whether it is the client that more of the body must come from.
    pub fn awaits_client(&self) -> bool {
        !self.read && self.pieces.is_empty()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent of a body until nothing waits.
    fn sent(upload: &mut Upload) -> Vec<u8> {
        std::iter::from_fn(|| upload.take_piece()).flatten().collect()
    }

    fn failing_over_on(cause: FailoverOn, max_body: usize) -> Upload {
        Upload::new(false, &FailoverPolicy { on: vec![cause], max_body, ..FailoverPolicy::default() })
    }

    #[test]
    fn what_was_sent_is_sent_again_in_its_order_and_once() {
        let mut upload = failing_over_on(FailoverOn::Connect, 0);
        upload.receive(vec![1; 40_000].into(), false);
        upload.receive(vec![2; 10_000].into(), false);
        assert_eq!(upload.take_piece().map(|piece| piece.len()), Some(40_000));
        upload.receive(vec![3; 10].into(), true);
        assert!(upload.whole().is_none(), "some of it was not sent");
        for _ in 0..2 {
            upload.reopen();
            let sent = sent(&mut upload);
            assert_eq!(sent, [vec![1; 40_000], vec![2; 10_000], vec![3; 10]].concat());
            assert_eq!(upload.whole(), Some(sent));
        }
    }

    #[test]
    fn as_much_is_kept_as_failover_may_send_again() {
        for (mut upload, is_kept, may_repeat) in [
            (failing_over_on(FailoverOn::Connect, 1 << 20), [true, false], [true, false]),
            (failing_over_on(FailoverOn::Unavailable, 1 << 20), [true, true], [true, true]),
            (failing_over_on(FailoverOn::Reset, 10), [true, false], [false, false]),
        ] {
            for at in 0..2 {
                upload.receive(vec![0; KEPT].into(), false);
                sent(&mut upload);
                assert_eq!((upload.is_kept(), upload.may_repeat()), (is_kept[at], may_repeat[at]));
            }
        }
    }
}
