//! One upstream connection during one exchange.

use std::io::ErrorKind;

use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

use crate::proxy::UpstreamFault;
use crate::transport::{UpstreamLink, WriteBehind};

/// An HTTP/1.1 connection to a backend. Dropping it closes it, which is how a backend learns that its client left.
pub struct Connection {
    session: HttpSession,
    peer: Box<HttpPeer>,
    link: UpstreamLink,
    reused: bool,
}

impl Connection {
    pub(super) fn fresh(stream: Stream, peer: HttpPeer) -> Self {
        let stream = WriteBehind::new(stream);
        let link = stream.link();
        Self { session: HttpSession::new(Box::new(stream)), peer: Box::new(peer), link, reused: false }
    }

    pub(super) fn reused(stream: Stream, peer: HttpPeer) -> Self {
        // Only streams that `fresh` wrapped come back from the pool.
        let wrapped = stream.as_any().downcast_ref::<WriteBehind>();
        let link = wrapped.map(WriteBehind::link).unwrap_or_default();
        link.begin_exchange();
        Self { session: HttpSession::new(stream), peer: Box::new(peer), link, reused: true }
    }

    /// The stream, if both sides are done with the exchange and the backend keeps the connection.
    pub(super) async fn into_reusable(mut self) -> Option<(Stream, HttpPeer)> {
        if !self.link.is_clear() {
            return None;
        }
        self.session.respect_keepalive();
        let stream = self.session.reuse().await?;
        Some((stream, *self.peer))
    }

    /// Whether it came from the pool.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    pub fn link(&self) -> UpstreamLink {
        self.link.clone()
    }

    pub async fn write_head(&mut self, request: RequestHeader) -> Result<(), UpstreamFault> {
        let written = self.session.write_request_header(Box::new(request)).await;
        written.map(drop).map_err(|e| fault(&e))
    }

    /// Writes a piece of the request body; must not be empty.
    pub async fn write_body(&mut self, piece: &[u8]) -> Result<(), UpstreamFault> {
        self.session.write_body(piece).await.map(drop).map_err(|e| fault(&e))
    }

    /// Ends the request body.
    pub async fn finish_body(&mut self) -> Result<(), UpstreamFault> {
        self.session.finish_body().await.map(drop).map_err(|e| fault(&e))
    }

    /// Reads the next response head: an informational one, or the final one.
    ///
    /// Safe to drop and call again: pingora keeps what it has read in the session.
    pub async fn read_head(&mut self) -> Result<ResponseHeader, HeadError> {
        match self.session.read_response().await {
            Ok(_) => match self.session.resp_header() {
                Some(header) => Ok(header.clone()),
                None => Err(HeadError { fault: UpstreamFault::Invalid, before_any_byte: false }),
            },
            Err(e) => Err(HeadError { fault: fault(&e), before_any_byte: !self.link.received() }),
        }
    }

    /// Reads what comes next of the response body; `None` at its end. May be empty, which means nothing.
    ///
    /// Safe to drop and call again: pingora's body readers keep their state in the session, and its own proxy drops
    /// this future in its `select!` as well.
    pub async fn read_body(&mut self) -> Result<Option<&[u8]>, UpstreamFault> {
        self.session.read_body_ref().await.map_err(|e| fault(&e))
    }
}

/// Why no response head was read.
#[derive(Clone, Copy, Debug)]
pub struct HeadError {
    pub fault: UpstreamFault,
    /// The connection died before the first byte of an answer.
    pub before_any_byte: bool,
}

impl HeadError {
    /// The request could not be sent, so nothing can have been answered.
    pub fn unanswered(fault: UpstreamFault) -> Self {
        Self { fault, before_any_byte: true }
    }
}

/// What an error of pingora's says about the backend.
fn fault(error: &Error) -> UpstreamFault {
    match error.etype() {
        ErrorType::ConnectionClosed => UpstreamFault::Closed,
        ErrorType::ReadError | ErrorType::WriteError => {
            match super::io_error(error).map(std::io::Error::kind) {
                Some(ErrorKind::UnexpectedEof) => UpstreamFault::Closed,
                _ => UpstreamFault::Reset,
            }
        }
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => UpstreamFault::IdleTimeout,
        _ => UpstreamFault::Invalid,
    }
}
