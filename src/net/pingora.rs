//! The interface to pingora: TLS on both sides, connecting over TLS, and HTTP/2 to backends.
//!
//! No other file of this crate names pingora, so a change of pingora's API affects this file only.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderValue;
use http::uri::PathAndQuery;
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

/// Capacity of the pool of idle HTTP/2 connections.
const POOL_SIZE: usize = 1024;

/// Flow-control window of one HTTP/2 stream, in bytes. It bounds the memory that a slow reader costs.
const STREAM_WINDOW: u32 = 64 * 1024;

/// An empty file of certificate authorities. Given no file, pingora loads those of the system and panics if
/// that fails.
pub const NO_AUTHORITIES: &str = "/dev/null";

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct OpenError {
    text: String,
    /// The underlying error of the operating system.
    pub io: Option<io::ErrorKind>,
    pub errno: Option<i32>,
    pub tls: Option<TlsProblem>,
}

/// TLS problems for which there is a clearer message than that of rustls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsProblem {
    /// The server presents a CA certificate as its own, which rustls never accepts.
    IsAuthority,
    /// The server does not answer with TLS.
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
        // pingora's errors keep their causes in a chain that is separate from [`std::error::Error::source`].
        if let Some(io) = error.root_cause().downcast_ref::<io::Error>()
            && let Some(errno) = io.raw_os_error()
        {
            let text = io.to_string();
            return Self { text, io: Some(io.kind()), errno: Some(errno), tls: None };
        }
        let text = error.to_string();
        // rustls reports these in types that cannot be downcast from here, so the text is searched.
        let known =
            [("CaUsedAsEndEntity", TlsProblem::IsAuthority), ("InvalidContentType", TlsProblem::NotTls)];
        let tls = known.iter().find(|(word, _)| text.contains(word)).map(|(_, problem)| *problem);
        Self { text, io: None, errno: None, tls }
    }
}

/// A server with the options to connect to it.
#[derive(Clone)]
pub struct TlsPeer(Box<HttpPeer>);

/// The options of a [`TlsPeer`].
pub struct PeerOptions<'a> {
    pub is_tls: bool,
    /// The expected name in its certificate. Must not be empty with TLS: pingora would not verify the
    /// certificate.
    pub server_name: &'a str,
    pub verifies: bool,
    /// Certificate authorities to use instead of those of the system.
    pub authorities: Option<Arc<[WrappedX509]>>,
    /// Separates pooled connections to the same address that were opened with different options.
    pub group: u64,
    pub speaks_http2: bool,
    /// Whether a connection carries several streams, concurrently and in sequence. Otherwise it ends with its
    /// stream.
    pub is_pooled: bool,
    /// How many streams a pooled HTTP/2 connection carries at once, if its server allows as many.
    pub http2_streams: u32,
    pub keepalive: Option<Keepalive>,
    /// Interval of HTTP/2 PING frames that check the connection; `None` means never.
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
        options.max_h2_streams = if wanted.is_pooled { wanted.http2_streams as usize } else { 1 };
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        // As large as the windows of all streams together, so that an unread stream does not block the
        // others.
        options.h2_connection_window_size = Some(STREAM_WINDOW * wanted.http2_streams);
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

/// Opens connections over TLS and for HTTP/2, and pools idle HTTP/2 connections.
pub struct PingoraConnector(v2::Connector);

impl PingoraConnector {
    /// `ca_file` replaces the certificate authorities of the system. Must be called within a tokio runtime.
    pub fn new(ca_file: Option<&str>) -> Self {
        let mut options = ConnectorOptions::new(POOL_SIZE);
        options.ca_file = ca_file.map(str::to_owned);
        Self(v2::Connector::new(Some(options)))
    }

    /// Opens a TLS connection for HTTP/1.1.
    pub async fn open_tls(&self, peer: &TlsPeer) -> Result<TlsStream, OpenError> {
        let transport: &TransportConnector = self.0.transport();
        Ok(transport.new_stream(&*peer.0).await?)
    }

    /// Opens an HTTP/2 connection and a stream on it. Returns `None` if the server does not speak HTTP/2.
    pub async fn open_http2(&self, peer: &TlsPeer) -> Result<Option<Http2Stream>, OpenError> {
        match self.0.new_http_session::<_, ()>(&*peer.0).await? {
            HttpSession::H2(session) => Ok(Some(Http2Stream(session))),
            _ => Ok(None),
        }
    }

    /// Opens a stream on a pooled connection, if there is one whose server accepts another stream now.
    ///
    /// pingora's own lookup checks the limit only when it puts a connection into the pool. A stream beyond
    /// the limit would wait until another one ends.
    pub async fn pooled_http2(&self, peer: &TlsPeer) -> Option<Http2Stream> {
        let key = peer.0.reuse_hash();
        let in_use = self.0.in_use_pool().get(key).filter(|connection| !connection.is_closed());
        let connection = in_use.or_else(|| self.0.idle_pool().get(&key))?;
        if !connection.can_accept_streams(1) {
            // The connection returns to the pool when one of its streams ends.
            return None;
        }
        let session = connection.spawn_stream().await.ok()?;
        if connection.more_streams_allowed() {
            self.0.in_use_pool().insert(key, connection);
        }
        session.map(Http2Stream)
    }

    /// Closes the pooled connections that carry no stream.
    pub fn close_idle_http2(&self, peer: &TlsPeer) {
        while self.0.idle_pool().get(&peer.0.reuse_hash()).is_some() {}
    }

    /// Ends a stream. Its connection stays pooled for `idle` after its last stream.
    pub fn give_back_http2(&self, stream: Http2Stream, peer: &TlsPeer, idle: Duration) {
        self.0.release_http_session(stream.0, &*peer.0, Some(idle));
    }
}

/// An HTTP/2 stream to a backend. Dropping it before its end resets the stream.
pub struct Http2Stream(Http2Session);

impl Http2Stream {
    /// Writes a request head; its `Host` becomes `:authority` (RFC 9113, 8.3.1). Returns the writer of the
    /// body if `has_body`.
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

    /// Reads a piece of the body. `None` means that the body has ended.
    pub fn poll_read_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        self.0.poll_read_response_body(cx)
    }

    /// Reads the trailers of a body that has ended. `None` means that there are none.
    pub fn poll_read_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Fields>, h2::Error>> {
        // Cancel-safe: the future keeps no state outside h2. At the end of a body, the trailers have arrived.
        let trailers = ready!(pin!(self.0.read_trailers()).poll(cx));
        Poll::Ready(match trailers {
            Ok(trailers) => Ok(trailers.map(|trailers| Fields::from(&trailers))),
            Err(mut error) => match error.cause.take().map(|cause| cause.downcast::<h2::Error>()) {
                Some(Ok(error)) => Err(*error),
                _ => Err(Reason::PROTOCOL_ERROR.into()),
            },
        })
    }

    /// Opens no further streams on its connection.
    pub fn distrust_connection(&self) {
        self.0.conn.mark_shutdown();
    }
}

/// Why a head could not be written.
pub enum WriteError {
    /// The head cannot be expressed in HTTP/2.
    Invalid,
    Http2(h2::Error),
}

/// Why a head could not be read.
pub enum ReadError {
    /// The head is invalid and cannot be forwarded.
    Invalid,
    Http2(h2::Error),
}

fn http2_request(head: &RequestHead, scheme: &str) -> Option<RequestHeader> {
    let mut request = RequestHeader::build(head.method.clone(), b"/", None).ok()?;
    for (name, value) in head.fields.iter() {
        let mut value = HeaderValue::from_bytes(value).ok()?;
        // Never indexed (RFC 7541, 7.1): many clients share the connection and therefore its dynamic table.
        // Some gRPC servers fail the calls of all clients if the table contains one value that they cannot
        // parse.
        value.set_sensitive(true);
        request.append_header(String::from_utf8_lossy(name).into_owned(), value).ok()?;
    }
    // In HTTP/2, frames delimit the body, and connection-specific fields other than TE are forbidden (RFC
    // 9113, 8.2.2).
    request.remove_header(&http::header::TRANSFER_ENCODING);
    request.remove_header(&http::header::CONNECTION);
    let host = request.remove_header(&http::header::HOST)?;
    let uri = http::Uri::builder()
        .scheme(scheme)
        .authority(host.as_bytes())
        .path_and_query(path_and_query(head.target())?)
        .build();
    request.set_uri(uri.ok()?);
    Some(request)
}

/// A target as a part of a URI. Some clients of HTTP/1.1 send bytes that no URI has. Most servers accept them,
/// but HTTP/2 cannot express them, so the target is percent-encoded.
fn path_and_query(target: &[u8]) -> Option<PathAndQuery> {
    PathAndQuery::try_from(target).or_else(|_| PathAndQuery::try_from(percent_encoded(target))).ok()
}

/// Encodes the bytes that a path or query must not contain (RFC 3986, 3.3 and 3.4).
fn percent_encoded(target: &[u8]) -> String {
    let mut encoded = String::with_capacity(2 * target.len());
    for byte in target {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | ..=b' ' | 0x7f.. => {
                encoded.push_str(&format!("%{byte:02X}"));
            }
            _ => encoded.push(char::from(*byte)),
        }
    }
    encoded
}

fn response_head(response: &ResponseHeader) -> Result<ResponseHead, Malformed> {
    let mut fields = Fields::default();
    // The closure never fails, so `map` does not either.
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
    fn a_request_over_http2_keeps_its_content() {
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
        assert!(request.headers.values().all(HeaderValue::is_sensitive), "clients share the dynamic table");
    }

    #[test]
    fn the_error_of_the_operating_system_is_extracted() {
        let refused = io::Error::from_raw_os_error(111);
        let error = pingora::Error::because(pingora::ErrorType::ConnectError, "connecting", refused);
        let error = OpenError::from(error);
        assert_eq!((error.io, error.errno), (Some(io::ErrorKind::ConnectionRefused), Some(111)));
        assert_eq!(error.to_string(), "Connection refused (os error 111)");
    }
}
