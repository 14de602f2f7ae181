//! The request body on its way upstream. It keeps a copy until the response arrives, for retries.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::pieces::Pieces;
use super::request_members::RequestMembers;
use crate::config::{FailoverOn, FailoverPolicy};
use crate::downstream::{Client, Received};
use crate::outcome::Failure;

/// Minimum number of body bytes that are kept, for resending and for knowing what was requested.
const KEPT: usize = 64 * 1024;

/// Number of body bytes that are searched for the key of the server. They are held until a server is chosen.
const KEY_WITHIN: usize = 64 * 1024;

/// An event of a watched client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// A piece or the end of the request body is in the [`Upload`].
    Uploaded,
    /// The client closed or reset its connection.
    Gone,
    BadBody(Failure),
}

/// A request body between the client and the backend.
#[derive(Debug)]
pub struct Upload {
    /// Data read but not sent upstream: usually one piece. More while a server is being chosen or data is
    /// resent.
    pieces: Pieces,
    /// Whether the end of the body was read.
    read: bool,
    /// Whether the end of the body was sent upstream, or the backend accepts no more.
    sent: bool,
    kept: Pieces,
    /// Whether `kept` contains everything that was sent.
    is_kept: bool,
    /// Maximum size of `kept`, in bytes.
    max_kept: usize,
    /// Maximum size of a body that is resent to another server after it was sent to a failing one, in bytes.
    max_repeated: usize,
    members: RequestMembers,
}

impl Upload {
    /// `read` means that the body is empty or completely read. `failover` decides how much is kept.
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

    /// Whether the request has no body.
    pub fn is_empty(&self) -> bool {
        self.read && self.pieces.is_empty() && self.is_kept && self.kept.is_empty()
    }

    /// Waits until the client uploads data or leaves. Cancel-safe.
    ///
    /// While a piece is pending, nothing more is read, so flow control holds the client back.
    pub async fn watch(&mut self, client: &mut Client) -> ClientEvent {
        poll_fn(|cx| self.poll_watch(cx, client)).await
    }

    /// Like [`Self::watch`].
    pub fn poll_watch(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Poll<ClientEvent> {
        self.poll_receive(cx, client, self.pieces.is_empty())
    }

    /// Like [`Self::watch`], but also reads while pieces are pending. The caller must bound the amount.
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

    /// Adds data read from the client. With `is_last`, the body ends.
    fn receive(&mut self, piece: Bytes, is_last: bool) {
        self.members.push(&piece);
        self.pieces.push(piece);
        self.read = is_last;
    }

    /// Whether data waits to be sent.
    pub fn has_piece(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Takes the next piece to send.
    pub fn take_piece(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop()?;
        if self.is_kept && self.kept.length() + piece.len() <= self.max_kept {
            self.kept.push(piece.clone());
        } else {
            self.forget();
        }
        Some(piece)
    }

    /// Whether everything sent so far can be resent.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether it may be resent to another server.
    pub fn may_repeat(&self) -> bool {
        self.is_kept && self.kept.length() <= self.max_repeated
    }

    /// Drops the copy.
    pub fn forget(&mut self) {
        self.kept = Pieces::default();
        self.is_kept = false;
    }

    /// The whole body, if the client has sent all of it and it is small enough to be kept.
    pub fn whole(&self) -> Option<Vec<u8>> {
        let is_whole = self.is_kept && self.read && self.pieces.is_empty() && self.kept.length() <= KEPT;
        is_whole.then(|| self.kept.concat())
    }

    /// Searches the body for these keys, which select a server. Must be called before anything is read.
    pub fn watch_keys<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.members.watch(names, KEY_WITHIN);
    }

    /// Whether more of the body may decide which key applies.
    pub fn seeks_key(&self) -> bool {
        !self.read && self.members.seeks_key()
    }

    /// The index and value of the first key in the body. Ends the search.
    pub fn take_key(&mut self) -> Option<(usize, Box<[u8]>)> {
        self.members.take_key()
    }

    /// What the body says about the request, as far as it has been read.
    pub fn members(&self) -> &RequestMembers {
        &self.members
    }

    /// Queues the data that was sent, ahead of all other data, for another connection.
    pub fn reopen(&mut self) {
        self.pieces.prepend(std::mem::take(&mut self.kept));
        self.sent = false;
    }

    /// Marks the upload as complete: nothing more is sent upstream.
    pub fn close(&mut self) {
        self.sent = true;
    }

    /// Whether a piece or the end of the body must be sent upstream.
    pub fn waits(&self) -> bool {
        !self.sent && (self.has_piece() || self.read)
    }

    /// Whether the client must send more before anything can be sent upstream.
    pub fn awaits_client(&self) -> bool {
        !self.read && self.pieces.is_empty()
    }

    /// Whether the request was read completely.
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

    /// The data that is sent until none is pending.
    fn sent(upload: &mut Upload) -> Vec<u8> {
        std::iter::from_fn(|| upload.take_piece()).flatten().collect()
    }

    fn failing_over_on(cause: FailoverOn, max_body: usize) -> Upload {
        Upload::new(false, &FailoverPolicy { on: vec![cause], max_body, ..FailoverPolicy::default() })
    }

    #[test]
    fn a_reopened_upload_resends_everything_in_order() {
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
    fn failover_decides_how_much_is_kept() {
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
