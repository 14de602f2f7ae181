//! A raw HTTP/1.x client.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};

use super::connection::Connection;
use super::socket::Io;
use super::wire;
use super::within::GENEROUS;

/// A client that speaks raw HTTP/1.x and sees each chunk as it was framed.
pub struct Client {
    /// For operations without a method here.
    pub connection: Connection,
}

/// The head of a response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
}

impl Response {
    /// `None` if this is not a response head.
    pub fn of(head: String) -> Option<Self> {
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head })
    }

    /// The value of a field that occurs exactly once.
    pub fn field(&self, name: &str) -> Option<&str> {
        match self.fields(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    pub fn fields(&self, name: &str) -> Vec<&str> {
        wire::fields(&self.head, name)
    }

    /// The value of `Content-Length`.
    pub fn length(&self) -> Option<usize> {
        self.field("content-length").map(|length| length.parse().expect("a length"))
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.expect("a connection");
        tcp.set_nodelay(true).expect("a socket");
        Self::over(tcp)
    }

    /// A client with a receive buffer of this size, so that the peer's writes soon block while the client
    /// does not read.
    pub async fn connect_with_window(address: SocketAddr, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a socket");
        let tcp = socket.connect(address).await.expect("a connection");
        tcp.set_nodelay(true).expect("a socket");
        Self::over(tcp)
    }

    /// A client on an open connection.
    pub fn over(io: impl Io + 'static) -> Self {
        Self { connection: Connection::over(io, Some(GENEROUS)) }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("a peer that reads");
    }

    /// Sends to a peer that may be gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.connection.send(bytes.as_ref()).await
    }

    /// Sends a GET request and reads the response head.
    pub async fn get(&mut self, path: &str) -> Response {
        self.send_get(path).await;
        self.response().await
    }

    pub async fn send_get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
    }

    /// Reads a response head. This may be an interim response.
    pub async fn response(&mut self) -> Response {
        let head = self.connection.head().await.expect("a head and not the end of the connection");
        Response::of(head).expect("a status")
    }

    /// Reads the body of a response with `Content-Length`.
    pub async fn body_of(&mut self, response: &Response) -> Vec<u8> {
        self.exactly(response.length().expect("a length")).await
    }

    /// Reads a local reply of sidestream. Returns its status and its error code.
    pub async fn refusal(&mut self) -> (u16, String) {
        let response = self.response().await;
        assert_eq!(response.field("content-type"), Some("application/json"));
        let body: Value = serde_json::from_slice(&self.body_of(&response).await).expect("JSON");
        assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string(), "{body}");
        (response.status, body["error"]["code"].as_str().expect("a code").to_owned())
    }

    /// Reads one chunk; `None` is the last one. Panics if the connection ends instead.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        self.chunk_or_end().await.expect("a chunk and not the end of the connection")
    }

    /// Reads one chunk. `Ok(None)` is the last one; `Err` means that the connection ended.
    pub async fn chunk_or_end(&mut self) -> Result<Option<Vec<u8>>, &'static str> {
        self.connection.chunk().await
    }

    /// Reads chunks up to the last one.
    pub async fn chunks(&mut self) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        while let Some(chunk) = self.chunk().await {
            chunks.push(chunk);
        }
        chunks
    }

    /// Reads a chunked body to its end, as text.
    pub async fn text(&mut self) -> String {
        String::from_utf8(self.chunks().await.concat()).expect("UTF-8")
    }

    /// Reads a chunked body until the connection breaks between two chunks, as text.
    pub async fn broken_text(&mut self) -> String {
        let mut text = Vec::new();
        loop {
            match self.chunk_or_end().await {
                Ok(Some(chunk)) => text.extend(chunk),
                Ok(None) => panic!("the stream looks finished: {}", String::from_utf8_lossy(&text)),
                Err(how) => {
                    assert_eq!(how, "ended");
                    return String::from_utf8(text).expect("UTF-8");
                }
            }
        }
    }

    /// Reads a chunked body as text, up to its last chunk or the end of the connection.
    pub async fn text_to_its_end(&mut self) -> String {
        let mut text = Vec::new();
        while let Ok(Some(chunk)) = self.chunk_or_end().await {
            text.extend(chunk);
        }
        String::from_utf8(text).expect("UTF-8")
    }

    /// Reads exactly `length` bytes of a body.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        self.connection.exactly(length).await.expect("a whole body")
    }

    /// Reads to the end of the connection. `Err` means a reset.
    pub async fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        self.connection.rest().await
    }

    /// Reads until the connection is reset, as text.
    pub async fn until_reset(&mut self) -> String {
        let read = self.connection.rest().await;
        assert!(read.is_err(), "a clean end would look like a complete response");
        String::from_utf8(self.connection.take()).expect("UTF-8")
    }

    /// Whether the connection ends now, without more data.
    pub async fn is_closed(&mut self) -> bool {
        self.connection.unread().is_empty() && self.connection.read_more().await == 0
    }

    /// Closes only the sending side.
    pub async fn half_close(&mut self) {
        self.connection.half_close().await.expect("a connection");
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.connection.reset();
    }

    /// The underlying connection, for another protocol or for using both directions at once.
    pub fn into_io(self) -> Box<dyn Io> {
        self.connection.into_io()
    }
}
