//! The head of an HTTP/1.1 response (RFC 9112, 4 and 5). Sans-IO.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Version, header};
use pingora::http::ResponseHeader;

use super::framing::Malformed;

/// Fields of a head.
const MAX_FIELDS: usize = 256;
/// Bytes of a head.
const MAX_SIZE: usize = 256 * 1024;

/// Fields that it gets here before it goes on; room for them is made at once.
const ADDED_FIELDS: usize = 3;

/// Takes a whole head out of what was read; `None`: more of it is to come.
pub fn parse(input: &mut BytesMut) -> Result<Option<ResponseHeader>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    // What applications of all kinds send, and what every proxy lets pass.
    config.allow_spaces_after_header_name_in_responses(true);
    config.allow_obsolete_multiline_headers_in_responses(true);
    let length = match config.parse_response_with_uninit_headers(&mut response, input, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if input.len() <= MAX_SIZE => return Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Malformed),
    };
    let status = response.code.ok_or(Malformed)?;
    let room = response.headers.len() + ADDED_FIELDS;
    let mut head = ResponseHeader::build(status, Some(room)).map_err(|_| Malformed)?;
    head.set_version(if response.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 });
    head.set_reason_phrase(response.reason).map_err(|_| Malformed)?;
    // One copy for all names and values, instead of one for each.
    let bytes = Bytes::copy_from_slice(&input[..length]);
    let copied = |piece: &[u8]| match piece.as_ptr().addr().checked_sub(input.as_ptr().addr()) {
        Some(start) if !piece.is_empty() => bytes.slice(start..start + piece.len()),
        // One of no length may be anywhere.
        _ => Bytes::new(),
    };
    for field in response.headers.iter() {
        let value = HeaderValue::from_maybe_shared(copied(field.value)).map_err(|_| Malformed)?;
        head.append_header(copied(field.name.as_bytes()), value).map_err(|_| Malformed)?;
    }
    if head.headers.contains_key(header::TRANSFER_ENCODING) {
        // It overrides the length, and a proxy removes that (RFC 9112, 6.3).
        head.remove_header(&header::CONTENT_LENGTH);
    }
    let _ = input.split_to(length);
    Ok(Some(head))
}

/// Whether the connection may carry another exchange after a whole response with this head (RFC 9112, 9.3).
pub fn keeps_alive(head: &ResponseHeader) -> bool {
    let options = head.headers.get_all(header::CONNECTION).iter();
    let mut options = options.flat_map(|v| v.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    match head.version {
        Version::HTTP_11 => !options.any(|option| option.eq_ignore_ascii_case(b"close")),
        // RFC 9112, 6.1: one with a transfer coding is not to be trusted.
        _ => {
            !head.headers.contains_key(header::TRANSFER_ENCODING)
                && options.any(|option| option.eq_ignore_ascii_case(b"keep-alive"))
        }
    }
}
