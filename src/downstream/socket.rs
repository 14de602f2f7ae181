//! A client connection before its protocol is known. It reads the first bytes to detect the protocol, and
//! hands them on.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::Link;
use super::proxy_protocol::ProxyHeader;

/// The connection preface of HTTP/2 (RFC 9113, 3.4).
pub const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Size of the first read, in bytes. Most request heads fit, so protocol detection costs no extra read.
const FIRST_READ: usize = 4096;

#[derive(Debug)]
pub struct DownstreamSocket {
    /// Bytes that were read to detect the protocol.
    begun: BytesMut,
    link: Arc<Link>,
}

impl DownstreamSocket {
    pub fn new(link: Arc<Link>) -> Self {
        Self { begun: BytesMut::new(), link }
    }

    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The socket, and the bytes read from it so far.
    pub fn into_parts(self) -> (Arc<Link>, BytesMut) {
        (self.link, self.begun)
    }

    /// Whether the client speaks HTTP/2 with prior knowledge. The bytes read for this check stay buffered for
    /// the next reader.
    pub async fn begins_with_http2(&mut self) -> io::Result<bool> {
        loop {
            let common = self.begun.len().min(HTTP2_PREFACE.len());
            if self.begun[..common] != HTTP2_PREFACE[..common] {
                return Ok(false);
            }
            if common == HTTP2_PREFACE.len() {
                return Ok(true);
            }
            self.begun.reserve(FIRST_READ);
            if self.read_more().await? == 0 {
                return Ok(false);
            }
        }
    }

    /// Reads the PROXY protocol header, which must come first. Returns the client address that it names.
    pub async fn read_proxy_header(&mut self) -> io::Result<Option<SocketAddr>> {
        loop {
            if let Some(header) = ProxyHeader::read(&self.begun)? {
                self.begun.advance(header.length);
                return Ok(header.client);
            }
            self.begun.reserve(FIRST_READ);
            if self.read_more().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn read_more(&mut self) -> io::Result<usize> {
        let Self { link, begun, .. } = self;
        Unread(link).read_buf(begun).await
    }
}

/// Reads past the buffer, directly from the socket.
struct Unread<'a>(&'a Link);

impl AsyncRead for Unread<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

impl AsyncRead for DownstreamSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.begun.is_empty() {
            return self.link.poll_read(cx, buf);
        }
        let length = self.begun.len().min(buf.remaining());
        buf.put_slice(&self.begun.split_to(length));
        if self.begun.is_empty() {
            self.begun = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for DownstreamSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.link.poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.link.poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(if self.link.is_severed() { Ok(()) } else { self.link.shut_down() })
    }
}
