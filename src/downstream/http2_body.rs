//! The body of a response over HTTP/2: whole events in each DATA frame, if it is a stream of events.

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

/// The most that every peer takes in one frame (RFC 9113, 4.2).
const MAX_FRAME: usize = 16 * 1024;

/// How long a frame waits for a window that takes only a part of it. A client that updates its window late may be waiting
/// for just this part.
const GRACE: Duration = Duration::from_millis(100);

/// Stands for no limit.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A body that is being sent. h2 keeps what the connection does not take at once, bounded by `max_send_buffer_size`.
pub struct Http2Body {
    stream: SendStream<Bytes>,
    holds_events: bool,
}

impl Http2Body {
    pub fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream, holds_events: false }
    }

    /// Makes frames end where events end, as far as the events fit. Otherwise they have what there is, and what the windows take.
    pub fn expect_events(&mut self) {
        self.holds_events = true;
    }

    /// Sends these bytes as one frame, if they fit into one and the client's windows take them now. Returns whether they are sent.
    pub fn try_write(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > MAX_FRAME {
            return false;
        }
        self.stream.reserve_capacity(bytes.len());
        self.stream.capacity() >= bytes.len()
            && self.stream.send_data(Bytes::copy_from_slice(bytes), false).is_ok()
    }

    /// Sends these bytes.
    ///
    /// `limit`: how long the client may take none of it.
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

    /// Ends the stream cleanly, with these fields.
    pub fn finish_with(&mut self, trailers: &Fields) -> Result<(), ClientLost> {
        self.stream.send_trailers(trailers.into()).map_err(|_| ClientLost::Gone)
    }

    /// Ends the stream in a way that cannot be taken for its end. No other stream of the connection is touched.
    pub fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Ready when the client has reset the stream, or its connection is gone.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Whatever the result says, nobody reads any more.
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

    /// Waits until the client's windows take this many bytes, or only a part of them, which of events is waited for.
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

/// Where the first frame of these bytes ends: after the last event that fits, or else the last line.
fn frame_end(bytes: &[u8]) -> usize {
    if bytes.len() <= MAX_FRAME {
        return bytes.len();
    }
    // The LF of a CRLF stays with its CR.
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
    fn what_has_no_end_is_cut_where_the_frame_is_full() {
        assert_eq!(frame_end(&vec![b'x'; 3 * MAX_FRAME]), MAX_FRAME);
    }
}
