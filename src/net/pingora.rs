//! What crosses the seam to pingora: TLS of both sides, connecting over it, and HTTP/2 to backends.
//!
//! Nothing else of this crate names pingora, so this file is what a change of it touches.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderValue;
use pingora::connectors::http::v2;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::{HeaderNameVariant, RequestHeader, ResponseHeader};
use pingora::protocols::ALPN;
use pingora::protocols::TcpKeepalive;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::upstreams::peer::{HttpPeer, Peer};

use super::{Endpoint, Keepalive};
use crate::http1::{Fields, Malformed, RequestHead, ResponseHead};

pub use pingora::protocols::Stream as TlsStream;
pub use pingora::protocols::http::date::get_cached_date as http_date;
pub use pingora::tls::{
    RootCertStore, ServerConfig, ServerTlsStream, TlsAcceptor, WebPkiClientVerifier,
    install_default_crypto_provider, load_native_certs, version,
};
pub use pingora::utils::tls::WrappedX509;

/// Idle connections of HTTP/2 that are kept.
const POOL_SIZE: usize = 1024;

/// What the backend may send on one HTTP/2 stream before it is read, in bytes: a slow reader costs no more.
const STREAM_WINDOW: u32 = 64 * 1024;

/// Streams on one HTTP/2 connection.
const STREAMS: u32 = 100;

/// A file of authorities without any. pingora reads those of the system otherwise, and panics where it cannot.
pub const NO_AUTHORITIES: &str = "/dev/null";

/// Why no connection could be opened.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct OpenError {
    text: String,
    /// The operating system's error behind it.
    pub io: Option<io::ErrorKind>,
    pub errno: Option<i32>,
    pub tls: Option<TlsProblem>,
}

/// What is wrong with a server over TLS, where that can be told in other words than rustls's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsProblem {
    /// Its certificate is an authority itself, which rustls takes from nobody.
    IsAuthority,
    /// What it answers is none.
    NotTls,
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        let (io, errno) = (Some(error.kind()), error.raw_os_error());
        Self { text: error.to_string(), io, errno, tls: None }
    }
}

impl From<Box<pingora::Error>> for OpenError {
    fn from(error: Box<pingora::Error>) -> Self {
        // pingora's errors have a chain of their own.
        if let Some(io) = error.root_cause().downcast_ref::<io::Error>()
            && let Some(errno) = io.raw_os_error()
        {
            let text = io.to_string();
            return Self { text, io: Some(io.kind()), errno: Some(errno), tls: None };
        }
        let text = error.to_string();
        // rustls has them in types of its own that nobody can look into.
        let known =
            [("CaUsedAsEndEntity", TlsProblem::IsAuthority), ("InvalidContentType", TlsProblem::NotTls)];
        let tls = known.iter().find(|(word, _)| text.contains(word)).map(|(_, problem)| *problem);
        Self { text, io: None, errno: None, tls }
    }
}

/// Whom to connect to, and how.
#[derive(Clone)]
pub struct TlsPeer(Box<HttpPeer>);

/// How a peer is connected to.
pub struct PeerOptions<'a> {
    pub is_tls: bool,
    /// The name in its certificate. Never empty with TLS: pingora verifies no certificate then.
    pub server_name: &'a str,
    pub verifies: bool,
    /// In place of the system's authorities.
    pub authorities: Option<Arc<[WrappedX509]>>,
    /// Keeps connections apart that are to the same address but opened in another way.
    pub group: u64,
    pub speaks_http2: bool,
    /// Its connections carry several streams, at once and one after the other.
    pub is_pooled: bool,
    pub keepalive: Option<Keepalive>,
    /// After how long a connection of HTTP/2 is asked whether it is alive; `None`: never.
    pub ping_interval: Option<Duration>,
}

impl TlsPeer {
    pub fn new(endpoint: Endpoint<'_>, wanted: PeerOptions<'_>) -> Result<Self, OpenError> {
        let name = wanted.server_name.to_owned();
        let mut peer = match endpoint {
            Endpoint::Tcp(address) => HttpPeer::new(address, wanted.is_tls, name),
            Endpoint::Unix(path) => unix_peer(path, name)?,
        };
        peer.group_key = wanted.group;
        let options = &mut peer.options;
        options.verify_cert = wanted.verifies;
        options.verify_hostname = wanted.verifies;
        options.ca = wanted.authorities;
        options.alpn = if wanted.speaks_http2 { ALPN::H2 } else { ALPN::H1 };
        // Without a pool, a connection ends with its stream.
        options.max_h2_streams = if wanted.is_pooled { STREAMS as usize } else { 1 };
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        // As much as all its streams may use: one that is not read holds up no other.
        options.h2_connection_window_size = Some(STREAM_WINDOW * STREAMS);
        options.h2_ping_interval = wanted.ping_interval;
        options.tcp_keepalive = wanted.keepalive.map(|keepalive| TcpKeepalive {
            idle: keepalive.idle,
            interval: keepalive.interval(),
            count: Keepalive::PROBES as usize,
            user_timeout: keepalive.user_timeout,
        });
        Ok(Self(Box::new(peer)))
    }
}

fn unix_peer(path: &Path, name: String) -> Result<HttpPeer, OpenError> {
    Ok(HttpPeer::new_uds(&path.to_string_lossy(), false, name)?)
}

/// Opens connections over TLS and for HTTP/2, and keeps the idle ones of HTTP/2.
pub struct PingoraConnector(v2::Connector);

impl PingoraConnector {
    /// `ca_file`: authorities in place of the system's. Must be called within a tokio runtime.
    pub fn new(ca_file: Option<&str>) -> Self {
        let mut options = ConnectorOptions::new(POOL_SIZE);
        options.ca_file = ca_file.map(str::to_owned);
        Self(v2::Connector::new(Some(options)))
    }

    /// Opens a connection for HTTP/1.1 over TLS.
    pub async fn open_tls(&self, peer: &TlsPeer) -> Result<TlsStream, OpenError> {
        let transport: &TransportConnector = self.0.transport();
        Ok(transport.new_stream(&*peer.0).await?)
    }

    /// Opens a connection for HTTP/2, and a stream on it; `None`: the server does not speak it.
    pub async fn open_http2(&self, peer: &TlsPeer) -> Result<Option<Http2Stream>, OpenError> {
        match self.0.new_http_session::<_, ()>(&*peer.0).await? {
            HttpSession::H2(session) => Ok(Some(Http2Stream(session))),
            _ => Ok(None),
        }
    }

    /// Opens a stream on a connection that is there, if its server takes one more now.
    ///
    /// pingora's own way looks at the limit only when a connection is put into the pool, and a stream beyond it would wait
    /// for the end of another one.
    pub async fn pooled_http2(&self, peer: &TlsPeer) -> Option<Http2Stream> {
        let key = peer.0.reuse_hash();
        let in_use = self.0.in_use_pool().get(key).filter(|connection| !connection.is_closed());
        let connection = in_use.or_else(|| self.0.idle_pool().get(&key))?;
        if !connection.can_accept_streams(1) {
            // It is put back when one of its streams ends.
            return None;
        }
        let session = connection.spawn_stream().await.ok()?;
        if connection.more_streams_allowed() {
            self.0.in_use_pool().insert(key, connection);
        }
        session.map(Http2Stream)
    }

    /// Closes the connections that carry no stream.
    pub fn close_idle_http2(&self, peer: &TlsPeer) {
        while self.0.idle_pool().get(&peer.0.reuse_hash()).is_some() {}
    }

    /// Ends a stream, and keeps its connection for this long after its last one.
    pub fn give_back_http2(&self, stream: Http2Stream, peer: &TlsPeer, idle: Duration) {
        self.0.release_http_session(stream.0, &*peer.0, Some(idle));
    }
}

/// A stream of HTTP/2 to a backend. Dropping it before its end resets it.
pub struct Http2Stream(Http2Session);

impl Http2Stream {
    /// Writes the head of a request whose `Host` becomes `:authority` (RFC 9113, 8.3.1). Returns what its body is written to, if
    /// one follows.
    pub fn write_head(
        &mut self,
        request: &RequestHead,
        scheme: &str,
        has_body: bool,
    ) -> Result<Option<SendStream<Bytes>>, WriteError> {
        let request = http2_request(request, scheme).ok_or(WriteError::Invalid)?;
        let written = self.0.write_request_header(Box::new(request), !has_body);
        written.map_err(|mut error| match error.cause.take().map(|cause| cause.downcast::<h2::Error>()) {
            Some(Ok(error)) => WriteError::Http2(*error),
            _ => WriteError::Invalid,
        })?;
        Ok(self.0.take_request_body_writer().filter(|_| has_body))
    }

    /// Reads the head of the final response.
    pub fn poll_read_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, ReadError>> {
        ready!(self.0.poll_read_response_header(cx)).map_err(ReadError::Http2)?;
        let head = self.0.response_header().map(response_head);
        Poll::Ready(head.and_then(Result::ok).ok_or(ReadError::Invalid))
    }

    /// Reads a piece of the body; `None`: it has ended.
    pub fn poll_read_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        self.0.poll_read_response_body(cx)
    }

    /// Reads the trailers of a body that has ended; `None`: there are none.
    pub fn poll_read_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Fields>, h2::Error>> {
        // Asks h2 and keeps nothing, so it may be dropped and called again. At the end of a body they are there.
        let trailers = ready!(pin!(self.0.read_trailers()).poll(cx));
        Poll::Ready(match trailers {
            Ok(trailers) => Ok(trailers.map(|trailers| Fields::from(&trailers))),
            Err(mut error) => match error.cause.take().map(|cause| cause.downcast::<h2::Error>()) {
                Some(Ok(error)) => Err(*error),
                _ => Err(Reason::PROTOCOL_ERROR.into()),
            },
        })
    }

    /// Takes no new stream on its connection.
    pub fn distrust_connection(&self) {
        self.0.conn.mark_shutdown();
    }
}

/// Why a head could not be written.
pub enum WriteError {
    /// It is none of HTTP/2.
    Invalid,
    Http2(h2::Error),
}

/// Why a head could not be read.
pub enum ReadError {
    /// It is none that can be forwarded.
    Invalid,
    Http2(h2::Error),
}

fn http2_request(head: &RequestHead, scheme: &str) -> Option<RequestHeader> {
    let mut request = RequestHeader::build(head.method.clone(), head.target(), None).ok()?;
    for (name, value) in head.fields.iter() {
        let mut value = HeaderValue::from_bytes(value).ok()?;
        // Many clients share the connection, and so its table of fields: what one has said stays out of it (RFC 7541, 7.1). Some servers
        // of gRPC would fail the calls of all for one value in it that they cannot parse.
        value.set_sensitive(true);
        request.append_header(String::from_utf8_lossy(name).into_owned(), value).ok()?;
    }
    // The frames delimit the body, and nothing is for one hop but TE (RFC 9113, 8.2.2).
    request.remove_header(&http::header::TRANSFER_ENCODING);
    request.remove_header(&http::header::CONNECTION);
    let host = request.remove_header(&http::header::HOST)?;
    let uri = http::Uri::builder()
        .scheme(scheme)
        .authority(host.as_bytes())
        .path_and_query(request.uri.path_and_query()?.as_str())
        .build();
    request.set_uri(uri.ok()?);
    Some(request)
}

fn response_head(response: &ResponseHeader) -> Result<ResponseHead, Malformed> {
    let mut fields = Fields::default();
    // The closure never fails, so the walk does not.
    let _ = response.map(|name, value| {
        match &name {
            HeaderNameVariant::Case(name) => fields.append(name.as_slice(), value),
            HeaderNameVariant::Titled(name) => fields.append(name.as_bytes(), value),
        }
        Ok(())
    });
    ResponseHead::received(response.status, fields)
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn a_request_over_http2_says_the_same() {
        let request = http::Request::get("http://a.example/v1?a=b")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(())
            .expect("a request");
        let head = RequestHead::of_http2(&request.into_parts().0).expect("a head");
        let request = http2_request(&head, "https").expect("a request");
        assert_eq!(request.uri, "https://a.example/v1?a=b");
        assert_eq!(request.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert!(!request.headers.contains_key("host"));
        assert!(request.headers.values().all(HeaderValue::is_sensitive), "clients share a table of fields");
    }

    #[test]
    fn the_error_of_the_operating_system_is_found() {
        let refused = io::Error::from_raw_os_error(111);
        let error = pingora::Error::because(pingora::ErrorType::ConnectError, "connecting", refused);
        let error = OpenError::from(error);
        assert_eq!((error.io, error.errno), (Some(io::ErrorKind::ConnectionRefused), Some(111)));
        assert_eq!(error.to_string(), "Connection refused (os error 111)");
    }
}
