//! One HTTP/2 exchange with a backend: a stream of a connection that may carry others.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::connection::{BodyProgress, HeadError};
use super::connector::Connector;
use super::write_behind::UpstreamLink;
use crate::http1::{Fields, RequestHead, ResponseHead};
use crate::net::pingora::{Http2Stream, ReadError, TlsPeer, WriteError};
use crate::outcome::{Cause, Failure, Fault};

/// A stream. Dropping it before its end resets it, and nothing else on its connection; the connection goes back to the pool.
pub struct Http2Exchange {
    /// Taken when it goes back.
    stream: Option<Http2Stream>,
    connector: Arc<Connector>,
    peer: TlsPeer,
    is_tls: bool,
    keepalive_idle: Option<Duration>,
    has_received: bool,
    keeps_trailers: bool,
    trailers: Option<Box<Fields>>,
    upload: RequestBody,
}

/// The request's body on its way: what the backend's window does not take yet is kept, and goes out while the
/// response is read.
#[derive(Default)]
struct RequestBody {
    writer: Option<SendStream<Bytes>>,
    backlog: Bytes,
    is_ended: bool,
    link: UpstreamLink,
}

impl Http2Exchange {
    pub fn new(
        stream: Http2Stream,
        connector: Arc<Connector>,
        peer: TlsPeer,
        is_tls: bool,
        keepalive_idle: Option<Duration>,
    ) -> Self {
        Self {
            stream: Some(stream),
            connector,
            peer,
            is_tls,
            keepalive_idle,
            has_received: false,
            keeps_trailers: false,
            trailers: None,
            upload: RequestBody::default(),
        }
    }

    pub fn keep_trailers(&mut self) {
        self.keeps_trailers = true;
    }

    pub fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take().map(|trailers| *trailers)
    }

    pub fn link(&self) -> UpstreamLink {
        self.upload.link.clone()
    }

    /// Takes no other stream on the connection if nothing has come over this one: its backend may have vanished.
    pub fn distrust(&self) {
        if let (Some(stream), false) = (&self.stream, self.has_received) {
            stream.distrust_connection();
        }
    }

    /// `has_body`: a body follows.
    pub fn write_head(&mut self, request: &RequestHead, has_body: bool) -> Result<(), HeadError> {
        let scheme = if self.is_tls { "https" } else { "http" };
        let stream = self.stream.as_mut().ok_or(HeadError::unsent(Failure::Closed.into()))?;
        self.upload.writer = stream.write_head(request, scheme, has_body).map_err(|error| match error {
            // Its connection has gone away since it was looked at.
            WriteError::Http2(error) => HeadError::unsent(fault(&error)),
            WriteError::Invalid => HeadError::answered(Failure::Invalid.into()),
        })?;
        Ok(())
    }

    /// Takes a piece of the request's body.
    pub fn write_body(&mut self, piece: &[u8]) {
        let waiting = std::mem::take(&mut self.upload.backlog);
        self.upload.backlog = match waiting.is_empty() {
            true => Bytes::copy_from_slice(piece),
            false => [&waiting[..], piece].concat().into(),
        };
        self.upload.note_backlog();
    }

    pub fn finish_body(&mut self) {
        self.upload.is_ended = true;
        self.upload.note_backlog();
    }

    /// Sends of the body what the backend takes now.
    pub async fn flush(&mut self) {
        poll_fn(|cx| {
            self.upload.poll(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Safe to drop and call again.
    pub async fn read_head(&mut self) -> Result<ResponseHead, HeadError> {
        let Self { stream, upload, .. } = self;
        let stream = stream.as_mut().ok_or(HeadError::answered(Failure::Closed.into()))?;
        let head = poll_fn(|cx| {
            upload.poll(cx);
            stream.poll_read_head(cx)
        });
        let head = head.await.map_err(|error| match error {
            ReadError::Invalid => HeadError::answered(Failure::Invalid.into()),
            ReadError::Http2(error) => {
                HeadError { is_unprocessed: is_unprocessed(&error), ..HeadError::unanswered(fault(&error)) }
            }
        })?;
        self.has_received = true;
        Ok(head)
    }

    /// Reads what is there of the body into `sink`.
    pub fn poll_read_body(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<BodyProgress, Fault>> {
        self.upload.poll(cx);
        let stream = self.stream.as_mut().ok_or(Failure::Closed)?;
        Poll::Ready(match ready!(stream.poll_read_body(cx)) {
            Some(Ok(bytes)) => {
                sink(&bytes);
                Ok(BodyProgress::More)
            }
            Some(Err(error)) => Err(fault(&error)),
            None if self.keeps_trailers => return self.poll_end(cx),
            None => Ok(BodyProgress::End),
        })
    }

    /// Reads the trailers, if there are any.
    #[cold]
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyProgress, Fault>> {
        let stream = self.stream.as_mut().ok_or(Failure::Closed)?;
        if let Some(trailers) = ready!(stream.poll_read_trailers(cx)).map_err(|error| fault(&error))? {
            self.trailers = Some(Box::new(trailers));
        }
        Poll::Ready(Ok(BodyProgress::End))
    }
}

impl Drop for Http2Exchange {
    fn drop(&mut self) {
        // A stream whose last handle is gone before its end is reset by h2, with CANCEL.
        self.upload.writer = None;
        if let (Some(stream), Some(idle)) = (self.stream.take(), self.keepalive_idle) {
            self.connector.pingora().give_back_http2(stream, &self.peer, idle);
        }
    }
}

impl RequestBody {
    fn poll(&mut self, cx: &mut Context<'_>) {
        while let Some(writer) = &mut self.writer {
            if self.backlog.is_empty() {
                if self.is_ended {
                    // A stream that takes no more has told its reader why.
                    let _ = writer.send_data(Bytes::new(), true);
                    self.writer = None;
                }
                break;
            }
            writer.reserve_capacity(self.backlog.len());
            let room = writer.capacity().min(self.backlog.len());
            if room == 0 {
                match writer.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Ready(_) => self.writer = None,
                    Poll::Pending => {}
                }
                break;
            }
            if writer.send_data(self.backlog.split_to(room), false).is_err() {
                self.writer = None;
            }
        }
        if self.writer.is_none() {
            self.backlog.clear();
            self.is_ended = false;
        }
        self.note_backlog();
    }

    fn note_backlog(&self) {
        self.link.note_backlog(!self.backlog.is_empty() || self.is_ended);
    }
}

/// Whether the backend says that it has not looked at the request (RFC 9113, 8.7): then it may be sent again.
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote()
        && match error.reason() {
            Some(Reason::REFUSED_STREAM) => true,
            Some(Reason::NO_ERROR) => error.is_go_away(),
            _ => false,
        }
}

fn fault(error: &h2::Error) -> Fault {
    let io = error.get_io();
    let failure = match io.map(std::io::Error::kind) {
        // What h2 makes of the end of a connection with open streams.
        Some(ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof) => Failure::Closed,
        Some(_) => Failure::Reset,
        None if error.is_remote() => Failure::Reset,
        None => Failure::Invalid,
    };
    let cause = if error.is_go_away() { Cause::GoAway } else { Cause::Http2 };
    let reason = error.reason().map(|reason| cause(reason.into()));
    Fault::caused(failure, io.and_then(std::io::Error::raw_os_error).map(Cause::Os).or(reason))
}
