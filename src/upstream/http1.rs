//! One HTTP/1.1 exchange with a backend.

use std::io::ErrorKind;

use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

use super::HeadError;
use crate::proxy::UpstreamFault;
use crate::transport::{UpstreamLink, WriteBehind};

/// A connection that carries one exchange at a time. Dropping it closes it.
pub struct Http1 {
    session: HttpSession,
    peer: Box<HttpPeer>,
    link: UpstreamLink,
}

impl Http1 {
    pub fn fresh(stream: Stream, peer: HttpPeer) -> Self {
        let stream = WriteBehind::new(stream);
        let link = stream.link();
        Self { session: HttpSession::new(Box::new(stream)), peer: Box::new(peer), link }
    }

    pub fn reused(stream: Stream, peer: HttpPeer) -> Self {
        // Only streams that `fresh` wrapped come back from the pool.
        let wrapped = stream.as_any().downcast_ref::<WriteBehind>();
        let link = wrapped.map(WriteBehind::link).unwrap_or_default();
        link.begin_exchange();
        Self { session: HttpSession::new(stream), peer: Box::new(peer), link }
    }

    /// The stream, if both sides are done with the exchange and the backend keeps the connection.
    pub async fn into_reusable(mut self) -> Option<(Stream, HttpPeer)> {
        if !self.link.is_clear() {
            return None;
        }
        self.session.respect_keepalive();
        let stream = self.session.reuse().await?;
        Some((stream, *self.peer))
    }

    pub fn link(&self) -> UpstreamLink {
        self.link.clone()
    }

    pub async fn write_head(&mut self, request: RequestHeader) -> Result<(), UpstreamFault> {
        let written = self.session.write_request_header(Box::new(request)).await;
        written.map(drop).map_err(|e| fault(&e))
    }

    pub async fn write_body(&mut self, piece: &[u8]) -> Result<(), UpstreamFault> {
        self.session.write_body(piece).await.map(drop).map_err(|e| fault(&e))
    }

    pub async fn finish_body(&mut self) -> Result<(), UpstreamFault> {
        self.session.finish_body().await.map(drop).map_err(|e| fault(&e))
    }

    /// Safe to drop and call again: pingora keeps what it has read in the session.
    pub async fn read_head(&mut self) -> Result<ResponseHeader, HeadError> {
        match self.session.read_response().await {
            Ok(_) => match self.session.resp_header() {
                Some(header) => Ok(header.clone()),
                None => Err(HeadError::answered(UpstreamFault::Invalid)),
            },
            Err(e) if self.link.received() => Err(HeadError::answered(fault(&e))),
            Err(e) => Err(HeadError::unanswered(fault(&e))),
        }
    }

    /// Safe to drop and call again: pingora's body readers keep their state in the session, and its own proxy drops
    /// this future in its `select!` as well.
    pub async fn read_body(&mut self) -> Result<Option<&[u8]>, UpstreamFault> {
        self.session.read_body_ref().await.map_err(|e| fault(&e))
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
