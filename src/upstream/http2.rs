//! One HTTP/2 exchange with a backend: a stream of a connection that may carry others.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::header;
use pingora::http::RequestHeader;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::upstreams::peer::HttpPeer;

use super::UpstreamLink;
use super::connection::{HeadError, Progress};
use super::connector::Connector;
use crate::http1::{RequestHead, ResponseHead};
use crate::outcome::{Cause, Failure, Fault};

/// A stream. Dropping it before its end resets it, and nothing else on its connection; the connection goes back to the pool.
pub struct Http2 {
    /// Taken when it goes back.
    session: Option<Http2Session>,
    connector: Arc<Connector>,
    peer: Box<HttpPeer>,
    keepalive_idle: Option<Duration>,
    upload: Upload,
}

/// The request's body on its way: what the backend's window does not take yet is kept, and goes out while the
/// response is read.
#[derive(Default)]
struct Upload {
    writer: Option<SendStream<Bytes>>,
    backlog: Bytes,
    is_ended: bool,
    link: UpstreamLink,
}

impl Http2 {
    pub fn new(
        session: Http2Session,
        connector: Arc<Connector>,
        peer: HttpPeer,
        keepalive_idle: Option<Duration>,
    ) -> Self {
        let upload = Upload::default();
        Self { session: Some(session), connector, peer: Box::new(peer), keepalive_idle, upload }
    }

    pub fn link(&self) -> UpstreamLink {
        self.upload.link.clone()
    }

    /// `has_body`: a body follows.
    pub fn write_head(&mut self, request: &RequestHead, has_body: bool) -> Result<(), Fault> {
        let mut request = request.to_pingora().map_err(|_| Failure::Invalid)?;
        // The frames delimit the body (RFC 9113, 8.2.2).
        request.remove_header(&header::TRANSFER_ENCODING);
        self.name_authority(&mut request).ok_or(Failure::Invalid)?;
        let session = self.session.as_mut().ok_or(Failure::Closed)?;
        let written = session.write_request_header(Box::new(request), !has_body);
        written.map_err(|error| match error.root_cause().downcast_ref() {
            Some(error) => fault(error),
            None => Failure::Invalid.into(),
        })?;
        self.upload.writer = session.take_request_body_writer().filter(|_| has_body);
        Ok(())
    }

    /// Says in `:scheme` and `:authority` what HTTP/1.1 says in `Host` (RFC 9113, 8.3.1).
    fn name_authority(&self, request: &mut RequestHeader) -> Option<()> {
        let host = request.remove_header(&header::HOST)?;
        let uri = http::Uri::builder()
            .scheme(if self.peer.is_tls() { "https" } else { "http" })
            .authority(host.as_bytes())
            .path_and_query(request.uri.path_and_query()?.as_str())
            .build()
            .ok()?;
        request.set_uri(uri);
        Some(())
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
        let Self { session, upload, .. } = self;
        let session = session.as_mut().ok_or(HeadError::answered(Failure::Closed.into()))?;
        poll_fn(|cx| {
            upload.poll(cx);
            session.poll_read_response_header(cx)
        })
        .await
        .map_err(|error| HeadError {
            is_unprocessed: is_unprocessed(&error),
            ..HeadError::unanswered(fault(&error))
        })?;
        let head = session.response_header().and_then(|head| ResponseHead::try_from(head).ok());
        head.ok_or(HeadError::answered(Failure::Invalid.into()))
    }

    /// Reads what is there of the body into `sink`.
    pub fn poll_read_body(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Progress, Fault>> {
        self.upload.poll(cx);
        let session = self.session.as_mut().ok_or(Failure::Closed)?;
        Poll::Ready(match ready!(session.poll_read_response_body(cx)) {
            Some(Ok(bytes)) => {
                sink(&bytes);
                Ok(Progress::More)
            }
            Some(Err(error)) => Err(fault(&error)),
            None => Ok(Progress::End),
        })
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        // A stream whose last handle is gone before its end is reset by h2, with CANCEL.
        self.upload.writer = None;
        if let (Some(session), Some(idle)) = (self.session.take(), self.keepalive_idle) {
            self.connector.give_back_http2(session, &self.peer, idle);
        }
    }
}

impl Upload {
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
    let reason = error.reason().map(|reason| Cause::Http2(reason.into()));
    Fault { failure, cause: io.and_then(std::io::Error::raw_os_error).map(Cause::Os).or(reason) }
}
