use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::Within;

/// A client that speaks raw HTTP/1.x and sees every chunk as it was framed.
pub struct Client {
    pub tcp: TcpStream,
    buffer: Vec<u8>,
}

/// The head of a response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
}

impl Response {
    /// The value of a field, if there is exactly one.
    pub fn field(&self, name: &str) -> Option<&str> {
        match self.fields(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    pub fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.expect("a connection");
        Self::over(tcp)
    }

    /// A client whose kernel takes only so many bytes before it reads.
    pub async fn connect_with_window(address: SocketAddr, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a socket");
        Self::over(socket.connect(address).await.expect("a connection"))
    }

    fn over(tcp: TcpStream) -> Self {
        tcp.set_nodelay(true).expect("a socket");
        Self { tcp, buffer: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tcp.write_all(bytes.as_ref()).await.expect("a peer that reads");
    }

    /// Sends to a peer that may be gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.tcp.write_all(bytes.as_ref()).await
    }

    /// Sends a GET and reads the head of its response.
    pub async fn get(&mut self, path: &str) -> Response {
        self.send_get(path).await;
        self.response().await
    }

    pub async fn send_get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
    }

    /// Reads the head of a response, informational ones included.
    pub async fn response(&mut self) -> Response {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert_ne!(self.read_more().await, 0, "the connection ended before a head");
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head in ASCII");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        Response { status, head }
    }

    /// Reads one chunk; `None` is the last one. Fails if the connection ends instead.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        self.chunk_or_end().await.expect("a chunk and not the end of the connection")
    }

    /// Reads one chunk: `Ok(None)` is the last one, `Err` the end of the connection.
    pub async fn chunk_or_end(&mut self) -> Result<Option<Vec<u8>>, &'static str> {
        let line_end = loop {
            if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                break at;
            }
            if self.read_more().await == 0 {
                return Err(if self.buffer.is_empty() { "ended" } else { "torn" });
            }
        };
        let size = std::str::from_utf8(&self.buffer[..line_end]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        let whole = line_end + 2 + size + 2;
        while self.buffer.len() < whole {
            if self.read_more().await == 0 {
                return Err("torn");
            }
        }
        let framed: Vec<u8> = self.buffer.drain(..whole).collect();
        assert!(framed.ends_with(b"\r\n"), "a chunk ends in CRLF");
        Ok((size > 0).then(|| framed[line_end + 2..whole - 2].to_vec()))
    }

    /// Reads chunks to the last one.
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

    /// Reads a chunked body to where its connection breaks between two chunks, as text.
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

    /// Reads exactly so many bytes of a body.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert_ne!(self.read_more().await, 0, "the body ended early");
        }
        self.buffer.drain(..length).collect()
    }

    /// Reads to the end of the connection. `Err` if that was a reset.
    pub async fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        self.tcp.read_to_end(&mut self.buffer).soon().await?;
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads to where the connection is reset, as text.
    pub async fn until_reset(&mut self) -> String {
        let read = self.tcp.read_to_end(&mut self.buffer).soon().await;
        assert!(read.is_err(), "a clean end would look like a finished answer");
        String::from_utf8(std::mem::take(&mut self.buffer)).expect("UTF-8")
    }

    /// Whether the connection ends now, with nothing more on it.
    pub async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.read_more().await == 0
    }

    /// Closes the sending side only.
    pub async fn half_close(&mut self) {
        self.tcp.shutdown().await.expect("a connection");
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.tcp);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket");
    }

    /// Reads whatever is there next into the buffer; 0 at the end of the connection.
    async fn read_more(&mut self) -> usize {
        self.tcp.read_buf(&mut self.buffer).soon().await.unwrap_or(0)
    }
}
