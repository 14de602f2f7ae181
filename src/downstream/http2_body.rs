//! The body of an HTTP/2 response. In an event stream, DATA frames hold whole events.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use memchr::memrchr;
use tokio::time::{Instant, timeout_at};

use super::ClientLost;
use crate::http1::Fields;
use crate::session::BoundaryScanner;

/// The frame size that every peer accepts, in bytes (RFC 9113, 4.2).
const MAX_FRAME: usize = 16 * 1024;

/// How long a frame waits for a flow-control window that would fit only part of it. A client that updates its
/// window late may be waiting for exactly that part.
const GRACE: Duration = Duration::from_millis(100);

/// A timeout that means no limit.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A body in transmission. h2 buffers data that the connection does not accept yet, up to
/// `max_send_buffer_size`.
pub struct Http2Body {
    stream: SendStream<Bytes>,
    holds_events: bool,
}

impl Http2Body {
    pub fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream, holds_events: false }
    }

    /// Makes frames end at event boundaries, if the events fit into a frame. Otherwise a frame ends where the
    /// data or the flow-control window ends.
    pub fn expect_events(&mut self) {
        self.holds_events = true;
    }

    /// Sends the bytes as one frame, if they fit into one and the windows allow it now. Returns whether they
    /// were sent.
    pub fn try_write(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > MAX_FRAME {
            return false;
        }
        self.stream.reserve_capacity(bytes.len());
        self.stream.capacity() >= bytes.len()
            && self.stream.send_data(Bytes::copy_from_slice(bytes), false).is_ok()
    }

    /// Sends the bytes. Fails if the client accepts none of them for `limit`.
    pub async fn write(&mut self, mut bytes: &[u8], limit: Option<Duration>) -> Result<(), ClientLost> {
        while !bytes.is_empty() {
            let end = if self.holds_events { frame_end(bytes) } else { bytes.len().min(MAX_FRAME) };
            let (frame, rest) = bytes.split_at(end);
            self.send(Bytes::copy_from_slice(frame), limit.unwrap_or(FAR)).await?;
            bytes = rest;
        }
        Ok(())
    }

    /// Ends the stream cleanly.
    pub fn finish(&mut self) -> Result<(), ClientLost> {
        self.stream.send_data(Bytes::new(), true).map_err(|_| ClientLost::Gone)
    }

    /// Ends the stream cleanly with trailers.
    pub fn finish_with(&mut self, trailers: &Fields) -> Result<(), ClientLost> {
        self.stream.send_trailers(trailers.into()).map_err(|_| ClientLost::Gone)
    }

    /// Resets the stream, so that the client cannot take it for complete. Other streams of the connection
    /// continue.
    pub fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Ready when the client has reset the stream or the connection is gone.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A reset and an error both mean that the client no longer reads.
        self.stream.poll_reset(cx).map(drop)
    }

    async fn send(&mut self, mut frame: Bytes, limit: Duration) -> Result<(), ClientLost> {
        while !frame.is_empty() {
            self.stream.reserve_capacity(frame.len());
            let room = self.room(frame.len(), limit).await?;
            self.stream.send_data(frame.split_to(room), false).map_err(|_| ClientLost::Gone)?;
        }
        Ok(())
    }

    /// Waits until the flow-control windows allow `wanted` bytes, and returns how many may be sent. In an
    /// event stream, a smaller window is used only after [`GRACE`].
    async fn room(&mut self, wanted: usize, limit: Duration) -> Result<usize, ClientLost> {
        let since = Instant::now();
        loop {
            let room = self.stream.capacity();
            if room >= wanted {
                return Ok(wanted);
            }
            if room > 0 && !self.holds_events {
                return Ok(room);
            }
            let patience = if room == 0 { limit } else { GRACE.min(limit) };
            match timeout_at(since + patience, poll_fn(|cx| self.stream.poll_capacity(cx))).await {
                Ok(Some(Ok(_))) => {}
                Ok(_) => return Err(ClientLost::Gone),
                Err(_) if room == 0 => return Err(ClientLost::Slow),
                Err(_) => return Ok(room),
            }
        }
    }
}

/// The end of the first frame: after the last event that fits, else after the last line that fits.
fn frame_end(bytes: &[u8]) -> usize {
    if bytes.len() <= MAX_FRAME {
        return bytes.len();
    }
    // Keeps CR and LF in one frame.
    let most = if bytes[MAX_FRAME - 1] == b'\r' { MAX_FRAME - 1 } else { MAX_FRAME };
    let fitting = &bytes[..most];
    let boundary = BoundaryScanner::default().scan(fitting, |_, _| {}).boundary;
    boundary.or_else(|| memrchr(b'\n', fitting).map(|lf| lf + 1)).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_end_where_events_end() {
        let event = [b"data: ".to_vec(), vec![b'x'; 1000], b"\r\n\r\n".to_vec()].concat();
        let events = event.repeat(40);
        let end = frame_end(&events);
        assert!(end <= MAX_FRAME && end + event.len() > MAX_FRAME);
        assert_eq!(end % event.len(), 0);
        assert_eq!(frame_end(&event), event.len());
    }

    #[test]
    fn a_crlf_is_never_split() {
        for length in MAX_FRAME - 8..MAX_FRAME {
            let bytes = [vec![b'x'; length], b"\r\n\r\n".to_vec(), vec![b'y'; MAX_FRAME]].concat();
            let end = frame_end(&bytes);
            assert!(!(bytes[end - 1] == b'\r' && bytes[end] == b'\n'), "{length}");
        }
    }

    #[test]
    fn an_event_that_is_too_large_fills_its_frame() {
        assert_eq!(frame_end(&vec![b'x'; 3 * MAX_FRAME]), MAX_FRAME);
    }
}
