//! One HTTP/2 exchange with a backend: one HTTP/2 stream of a connection that may carry others.

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

/// An HTTP/2 stream. Dropping it before its end resets this stream only. The connection goes back to the
/// pool.
pub struct Http2Exchange {
    /// Taken when the connection goes back to the pool.
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

/// The request body. Bytes that exceed the flow-control window are kept and sent while the response is read.
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

    /// Opens no more streams on this connection if no response has arrived on this one: the backend may be
    /// gone.
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
            // The connection was closed since it was taken from the pool.
            WriteError::Http2(error) => HeadError::unsent(fault(&error)),
            WriteError::Invalid => HeadError::answered(Failure::Invalid.into()),
        })?;
        Ok(())
    }

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

    /// Sends as much of the body as the flow-control window allows.
    pub async fn flush(&mut self) {
        poll_fn(|cx| {
            self.upload.poll(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Cancel-safe.
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

    /// Reads the available body into `sink`.
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
        // h2 resets a stream with CANCEL when its last handle is dropped before its end.
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
                    // An error here is also reported to the reader of the stream.
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

/// Whether the backend declared that it did not process the request (RFC 9113, 8.7). It may then be sent
/// again.
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
        // h2 reports these when a connection ends with open streams.
        Some(ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof) => Failure::Closed,
        Some(_) => Failure::Reset,
        None if error.is_remote() => Failure::Reset,
        None => Failure::Invalid,
    };
    let cause = if error.is_go_away() { Cause::GoAway } else { Cause::Http2 };
    let reason = error.reason().map(|reason| cause(reason.into()));
    Fault::caused(failure, io.and_then(std::io::Error::raw_os_error).map(Cause::Os).or(reason))
}
