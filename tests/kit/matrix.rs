//! Clients of every downstream protocol, behind one interface.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use tempfile::TempDir;
use tokio::net::UnixStream;

use super::backend::Backend;
use super::client::Client;
use super::sidestream::Sidestream;
use super::socket::Io;
use super::steps::Transport;
use super::tls::Authority;
use super::within::Within;

/// A sidestream with one downstream protocol in front of a backend.
pub struct Edge {
    pub proxy: Sidestream,
    downstream: Transport,
    authority: Arc<Authority>,
    socket: PathBuf,
    _folder: TempDir,
}

impl Edge {
    /// `stream` contains keys of the `stream` section.
    pub async fn between(
        downstream: Transport,
        authority: &Arc<Authority>,
        backend: &Backend,
        stream: &str,
    ) -> Self {
        let folder = TempDir::new().expect("a folder");
        let socket = folder.path().join("http.sock");
        let mut setup = Sidestream::before(&backend.url).stream(stream);
        setup = match downstream {
            Transport::Http1Unix => setup.address(format!("unix:{}", socket.display())),
            Transport::Http1 | Transport::Http2 => setup,
            Transport::Http1Tls | Transport::Http2Tls => setup.listener(authority.listener()),
        };
        if backend.url.starts_with("https") || backend.url.starts_with("h2s") {
            let ca = authority.path("ca.pem");
            setup = setup.upstream(format!("tls: {{ ca: {}, server_name: localhost }}", ca.display()));
        }
        let proxy = setup.start().await;
        Self { proxy, downstream, authority: authority.clone(), socket, _folder: folder }
    }

    /// Connects a client.
    pub async fn connect(&self) -> EdgeClient {
        let io: Box<dyn Io> = match self.downstream {
            Transport::Http1Unix => Box::new(UnixStream::connect(&self.socket).await.expect("a connection")),
            _ => self.proxy.client().await.into_io(),
        };
        let handshake = async |io, alpn| self.authority.connect(io, alpn, None).await.expect("a handshake").0;
        match self.downstream {
            Transport::Http1 | Transport::Http1Unix => EdgeClient::Http1(Client::over(io)),
            Transport::Http1Tls => EdgeClient::Http1(Client::over(handshake(io, &["http/1.1"][..]).await)),
            Transport::Http2 => EdgeClient::Http2(http2(io).await),
            Transport::Http2Tls => {
                EdgeClient::Http2(http2(handshake(io, &["h2", "http/1.1"][..]).await).await)
            }
        }
    }
}

/// Opens an HTTP/2 connection.
pub async fn http2(io: impl Io + 'static) -> SendRequest<Bytes> {
    let (client, connection) = h2::client::handshake(io).await.expect("a handshake");
    tokio::spawn(connection);
    client
}

/// Like [`http2`], with this window for each stream.
pub async fn http2_with_window(io: impl Io + 'static, bytes: u32) -> SendRequest<Bytes> {
    let mut settings = h2::client::Builder::new();
    settings.initial_window_size(bytes).initial_connection_window_size(1 << 20);
    let (client, connection) = settings.handshake(io).await.expect("a handshake");
    tokio::spawn(connection);
    client
}

/// A client on one connection.
pub enum EdgeClient {
    Http1(Client),
    Http2(SendRequest<Bytes>),
}

/// A request that was sent. Dropping it closes the connection or resets the stream.
pub enum EdgeExchange {
    Http1 { client: Client, length: Option<usize> },
    Http2 { response: Option<ResponseFuture>, stream: Option<h2::RecvStream> },
}

impl EdgeClient {
    /// Sends a request. An HTTP/2 connection can then carry more.
    pub async fn send(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> EdgeExchange {
        match self {
            Self::Http1(client) => {
                let length = body.map_or_else(String::new, |b| format!("Content-Length: {}\r\n", b.len()));
                client.send(format!("{method} {path} HTTP/1.1\r\nHost: example.org\r\n{length}\r\n")).await;
                client.send(body.unwrap_or_default()).await;
                let client = std::mem::replace(client, Client::over(tokio::io::duplex(1).0));
                EdgeExchange::Http1 { client, length: None }
            }
            Self::Http2(client) => {
                let mut client = client.clone().ready().await.expect("a connection");
                let request =
                    http::Request::builder().method(method).uri(format!("http://example.org{path}"));
                let request = request.body(()).expect("a request");
                let (response, mut stream) =
                    client.send_request(request, body.is_none()).expect("a connection");
                if let Some(body) = body {
                    stream.send_data(Bytes::copy_from_slice(body), true).expect("a stream");
                }
                EdgeExchange::Http2 { response: Some(response), stream: None }
            }
        }
    }
}

impl EdgeExchange {
    /// Reads the response head. Returns its status, and its fields in lower case, one per line.
    pub async fn head(&mut self) -> (u16, String) {
        match self {
            Self::Http1 { client, length } => {
                let response = client.response().await;
                *length = response.length();
                (response.status, response.head.to_lowercase().replace("\r\n", "\n"))
            }
            Self::Http2 { response, stream } => {
                let response = response.take().expect("read once").soon().await.expect("a response");
                let (head, body) = response.into_parts();
                *stream = Some(body);
                let fields = head.headers.iter();
                let fields = fields.map(|(n, v)| format!("{n}: {}\n", String::from_utf8_lossy(v.as_bytes())));
                (head.status.as_u16(), fields.collect::<String>().to_lowercase())
            }
        }
    }

    /// Reads the next chunk or DATA frame. For a body with a length, reads the available data. `None` at the
    /// end; `Err` if the body broke off.
    pub async fn piece(&mut self) -> Result<Option<Vec<u8>>, ()> {
        match self {
            Self::Http1 { length: Some(0), .. } => Ok(None),
            Self::Http1 { client: Client { connection }, length: Some(length) } => {
                if connection.unread().is_empty() && connection.read_more().await == 0 {
                    return Err(());
                }
                let piece = connection.take();
                *length -= piece.len();
                Ok(Some(piece))
            }
            Self::Http1 { client, length: None } => client.chunk_or_end().await.map_err(drop),
            Self::Http2 { stream, .. } => {
                let stream = stream.as_mut().expect("a head was read");
                loop {
                    match stream.data().soon().await {
                        Some(Ok(data)) => {
                            let _ = stream.flow_control().release_capacity(data.len());
                            // The frame with END_STREAM may be empty.
                            if !data.is_empty() {
                                return Ok(Some(data.to_vec()));
                            }
                        }
                        Some(Err(_)) => return Err(()),
                        None => return Ok(None),
                    }
                }
            }
        }
    }

    /// Reads to the end. `Err` contains what arrived before the body broke off.
    pub async fn pieces(&mut self) -> Result<Vec<Vec<u8>>, Vec<Vec<u8>>> {
        let mut pieces = Vec::new();
        loop {
            match self.piece().await {
                Ok(Some(piece)) => pieces.push(piece),
                Ok(None) => return Ok(pieces),
                Err(()) => return Err(pieces),
            }
        }
    }
}
