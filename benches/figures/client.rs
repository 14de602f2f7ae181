//! A lightweight client, which counts events without parsing them.

use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::backend::MARK;
use crate::kit::socket::reset_at_the_end;

pub struct Client {
    tcp: TcpStream,
    buffer: BytesMut,
}

impl Client {
    /// Connects and requests a path.
    pub async fn get(address: SocketAddr, path: &str) -> Self {
        let mut client = Self::connect(address).await;
        client.ask(path).await;
        client
    }

    /// Like [`Self::get`], with a small receive window, for a client that reads slowly.
    pub async fn get_with_window(address: SocketAddr, path: &str, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a socket");
        let mut client = Self::over(socket.connect(address).await.expect("a proxy"));
        client.ask(path).await;
        client
    }

    /// Connects without a request.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("a proxy"))
    }

    fn over(tcp: TcpStream) -> Self {
        tcp.set_nodelay(true).expect("a socket");
        Self { tcp, buffer: BytesMut::with_capacity(64 * 1024) }
    }

    pub async fn ask(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: figures\r\n\r\n");
        self.tcp.write_all(request.as_bytes()).await.expect("a proxy");
    }

    /// Reads once. Returns no bytes at the end of the connection.
    pub async fn read(&mut self) -> &[u8] {
        self.buffer.clear();
        self.tcp.read_buf(&mut self.buffer).await.unwrap_or(0);
        &self.buffer
    }

    /// Reads until these bytes have arrived.
    pub async fn read_until(&mut self, wanted: &[u8]) {
        let mut seen = Vec::new();
        while memchr::memmem::find(&seen, wanted).is_none() {
            let bytes = self.read().await;
            assert!(!bytes.is_empty(), "the connection ended after {:?}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(bytes);
        }
    }

    /// Reads once, up to this many bytes.
    pub async fn read_at_most(&mut self, bytes: usize) -> usize {
        let mut buffer = vec![0; bytes];
        self.tcp.read(&mut buffer).await.expect("a connection")
    }

    /// Closes the connection with a FIN or a reset.
    pub fn leave(self, reset: bool) {
        if reset {
            reset_at_the_end(&self.tcp);
        }
    }
}

/// The number of events that begin in these bytes.
pub fn events(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(MARK, bytes).count() as u64
}
