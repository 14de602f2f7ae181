//! The body of a response as it is read: a stream in a content coding is decoded on the way.

use super::outcome::UpstreamFault;
use crate::content_coding::{ContentCoding, Decoder};
use crate::upstream::Connection;

/// Bytes that are decoded at once.
const ROOM: usize = 16 * 1024;

/// The upstream connection whose response's body is being read.
pub struct Body {
    pub connection: Connection,
    decoding: Option<Box<Decoding>>,
}

struct Decoding {
    decoder: Decoder,
    room: [u8; ROOM],
}

impl Body {
    pub fn new(connection: Connection, coding: Option<ContentCoding>) -> Self {
        let decoding =
            coding.map(|coding| Box::new(Decoding { decoder: Decoder::new(coding), room: [0; ROOM] }));
        Self { connection, decoding }
    }

    /// Reads what comes next of the body; `None` at its end. May be empty, which means nothing.
    ///
    /// Safe to drop and call again.
    pub async fn read(&mut self) -> Result<Option<&[u8]>, UpstreamFault> {
        let Some(Decoding { decoder, room }) = self.decoding.as_deref_mut() else {
            return self.connection.read_body().await;
        };
        while !decoder.has_more() {
            match self.connection.read_body().await? {
                Some(bytes) => decoder.push(bytes),
                None if decoder.finish() => return Ok(None),
                None => return Err(UpstreamFault::Truncated),
            }
        }
        let decoded = decoder.decode(room).map_err(|_| UpstreamFault::Invalid)?;
        Ok(Some(&room[..decoded]))
    }
}
