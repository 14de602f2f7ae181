//! The header fields and trailers of gRPC (grpc/grpc, doc/PROTOCOL-HTTP2.md).

use std::fmt::Write;

use http::Method;

use crate::http1::{Fields, RequestHead};
use crate::outcome::GrpcStatus;

/// The media type of gRPC messages.
pub const MEDIA_TYPE: &str = "application/grpc";
const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";

/// Whether a request is a gRPC call. gRPC-Web is not: its trailers are in the body, so any HTTP version carries it.
pub fn is_call(request: &RequestHead) -> bool {
    request.method == Method::POST && request.fields.value("Content-Type").is_some_and(is_media_type)
}

/// Whether this is the media type, alone or followed by the message format (`+proto`) or a parameter.
fn is_media_type(content_type: &[u8]) -> bool {
    let Some((name, rest)) = content_type.split_at_checked(MEDIA_TYPE.len()) else { return false };
    name.eq_ignore_ascii_case(MEDIA_TYPE.as_bytes())
        && matches!(rest.trim_ascii_start().first(), None | Some(b'+' | b';'))
}

/// The status of a call, if these fields have one.
pub fn status(fields: &Fields) -> Option<u8> {
    std::str::from_utf8(fields.values(STATUS).last()?).ok()?.parse().ok()
}

/// Adds the status of a call and a message for people.
pub fn append_status(fields: &mut Fields, status: GrpcStatus, message: &str) {
    fields.append(STATUS, status.code().to_string());
    fields.append(MESSAGE, percent_encoded(message));
}

/// Encodes a text for `grpc-message`: everything except printable ASCII, and the percent sign itself.
fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        // Writing to a `String` cannot fail.
        let _ = match byte {
            b'%' => encoded.write_str("%25"),
            b' '..=b'~' => encoded.write_char(byte.into()),
            _ => write!(encoded, "%{byte:02X}"),
        };
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_media_types_are_not_grpc() {
        for media_type in [
            "application/grpc",
            "application/grpc+proto",
            "Application/gRPC;charset=x",
            "application/grpc ; a=b",
        ] {
            assert!(is_media_type(media_type.as_bytes()), "{media_type}");
        }
        for media_type in [
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpcx",
            "application/grp",
            "text/plain",
        ] {
            assert!(!is_media_type(media_type.as_bytes()), "{media_type}");
        }
    }

    #[test]
    fn a_message_is_printable_ascii() {
        assert_eq!(percent_encoded("50 % of Grüße\n"), "50 %25 of Gr%C3%BC%C3%9Fe%0A");
    }
}
