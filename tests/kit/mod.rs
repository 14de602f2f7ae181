//! The harness: a scripted backend, a raw client that sees chunk boundaries, and a sidestream between them.

mod backend;
mod client;
mod log;
mod matrix;
mod process;
mod sidestream;
pub mod strict;
mod tls;
mod websocket;
mod within;

pub use backend::{Backend, Exchange};
pub use client::Client;
pub use log::log_lines;
pub use matrix::{Downstream, Edge, EdgeBackend, EdgeClient, LAST_WORDS, Step, Upstream};
pub use process::{Process, signal_to};
pub use sidestream::Sidestream;
pub use tls::Authority;
pub use websocket::{SWITCHING, UPGRADE};
pub use within::{GENEROUS, Within, stands_still, until};

/// A connection of any kind.
pub trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Io for T {}

/// The head of a chunked event stream, as most backends send it.
pub const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The end of a chunked body.
pub const LAST_CHUNK: &str = "0\r\n\r\n";

/// Frames bytes as one HTTP/1.1 chunk.
pub fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    framed
}
