//! A connection that writes raw bytes and reads HTTP/1.1 framing, for clients and backends.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::socket::{Io, reset_at_the_end};
use super::wire;
use super::within::Within;

/// One end of a connection. It writes exactly the given bytes and reads HTTP/1.1 as it was framed.
pub struct Connection {
    io: Box<dyn Io>,
    buffer: Vec<u8>,
    patience: Option<Duration>,
}

impl Connection {
    /// `patience` is the time after which a read panics.
    pub fn over(io: impl Io + 'static, patience: Option<Duration>) -> Self {
        Self { io: Box::new(io), buffer: Vec::new(), patience }
    }

    /// The underlying connection. Panics if buffered data would be lost.
    pub fn into_io(self) -> Box<dyn Io> {
        assert!(self.buffer.is_empty(), "{:?} would be lost", String::from_utf8_lossy(&self.buffer));
        self.io
    }

    /// Reads the next available data. Returns 0 at the end of the connection.
    pub async fn read_more(&mut self) -> usize {
        let read = self.io.read_buf(&mut self.buffer);
        match self.patience {
            Some(limit) => read.within(limit).await,
            None => read.await,
        }
        .unwrap_or(0)
    }

    /// Data that was read but not consumed.
    pub fn unread(&self) -> &[u8] {
        &self.buffer
    }

    /// Consumes that data.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Reads a head; `None` means that the connection ended.
    pub async fn head(&mut self) -> Option<String> {
        let head = self.until(b"\r\n\r\n").await?;
        Some(String::from_utf8(head).expect("a head in ASCII"))
    }

    /// Reads up to and including these bytes; `None` means that the connection ended.
    pub async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = wire::find(&self.buffer, end) {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            if self.read_more().await == 0 {
                return None;
            }
        }
    }

    /// Reads exactly `length` bytes; `None` means that the connection ended.
    pub async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            if self.read_more().await == 0 {
                return None;
            }
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// Reads one chunk. `Ok(None)` is the last one; `Err` means that the connection ended.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, &'static str> {
        loop {
            if let Some((data, length)) = wire::first_chunk(&self.buffer).expect("a chunk") {
                let framed: Vec<u8> = self.buffer.drain(..length).collect();
                return Ok((!data.is_empty()).then(|| framed[data].to_vec()));
            }
            if self.read_more().await == 0 {
                return Err(if self.buffer.is_empty() { "ended" } else { "torn" });
            }
        }
    }

    /// Reads the body of a request with this head; `None` means that the connection ended.
    pub async fn body_of(&mut self, head: &str) -> Option<Vec<u8>> {
        if wire::fields(head, "transfer-encoding").is_empty() {
            let length = wire::fields(head, "content-length");
            let length = length.first().map_or(0, |length| length.parse().expect("a length"));
            return self.exactly(length).await;
        }
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await.ok()? {
            body.extend(chunk);
        }
        Some(body)
    }

    /// Reads to the end of the connection. `Err` means a reset.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let read = self.io.read_to_end(&mut self.buffer);
        match self.patience {
            Some(limit) => read.within(limit).await,
            None => read.await,
        }?;
        Ok(self.take())
    }

    /// Sends to a peer that may be gone.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// Sends pieces while reading, because the peer may answer before the request is complete. After each
    /// read, `enough` gets all data so far and returns how long to wait for more; `None` stops. Returns
    /// whether the peer closed the connection. Pieces that are unsent by then are dropped.
    pub async fn converse(
        &mut self,
        pieces: &[Vec<u8>],
        pause: Duration,
        then_ends: bool,
        mut enough: impl FnMut(&[u8]) -> Option<Duration>,
    ) -> bool {
        let (mut reader, mut writer) = tokio::io::split(&mut self.io);
        let sending = async {
            for (number, piece) in pieces.iter().enumerate() {
                match pause {
                    Duration::ZERO => tokio::task::yield_now().await,
                    _ if number > 0 => tokio::time::sleep(pause).await,
                    _ => {}
                }
                if writer.write_all(piece).await.is_err() {
                    break;
                }
            }
            if then_ends {
                let _ = writer.shutdown().await;
            }
            std::future::pending::<()>().await;
        };
        let reading = async {
            while let Some(patience) = enough(&self.buffer) {
                match tokio::time::timeout(patience, reader.read_buf(&mut self.buffer)).await {
                    Ok(Ok(read)) if read > 0 => {}
                    Ok(_) => return true,
                    Err(_) => return false,
                }
            }
            false
        };
        tokio::select! {
            is_closed = reading => is_closed,
            () = sending => unreachable!("the sender never completes"),
        }
    }

    /// Closes only the sending side.
    pub async fn half_close(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }

    /// Closes with a reset.
    pub fn reset(self) {
        reset_at_the_end(self.io.tcp().expect("a connection of TCP"));
    }
}
