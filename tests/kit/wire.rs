//! HTTP/1.1 wire format, as scripted clients and backends use it.

use std::ops::Range;

/// The head of a chunked event stream, as most backends send it.
pub const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The end of a chunked body.
pub const LAST_CHUNK: &str = "0\r\n\r\n";

/// A request for a WebSocket.
pub const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The response that accepts a WebSocket.
pub const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Frames bytes as one chunk.
pub fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    framed
}

/// An event stream of one chunk, from its head to its end.
pub fn stream_of(chunk: impl AsRef<[u8]>) -> Vec<u8> {
    [&stream_begun(chunk)[..], LAST_CHUNK.as_bytes()].concat()
}

/// Like [`stream_of`], without the end.
pub fn stream_begun(chunk: impl AsRef<[u8]>) -> Vec<u8> {
    [STREAM_HEAD.as_bytes(), &self::chunk(chunk)].concat()
}

/// The position of `wanted`.
pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The length of a head with its blank line; `None` means that it is incomplete.
pub fn head_length(bytes: &[u8]) -> Option<usize> {
    find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// The position of the first chunk's data, and the length of the whole chunk. `Ok(None)` means that it is
/// incomplete.
pub fn first_chunk(bytes: &[u8]) -> Result<Option<(Range<usize>, usize)>, String> {
    let Some(line) = find(bytes, b"\r\n") else { return Ok(None) };
    let size = String::from_utf8_lossy(&bytes[..line]);
    let size = usize::from_str_radix(&size, 16).map_err(|error| format!("chunk size {size:?}: {error}"))?;
    let data = line + 2..line + 2 + size;
    match bytes.get(data.end..data.end + 2) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some((data.clone(), data.end + 2))),
        Some(other) => Err(format!("a chunk that ends with {other:?}")),
    }
}

/// The values of a field in a head.
pub fn fields<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}
