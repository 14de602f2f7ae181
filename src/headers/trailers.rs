//! Trailers: the fields after a body (RFC 9110, 6.5).

use http::Version;

use super::hop_by_hop::is_hop_by_hop;
use crate::http1::{Fields, RequestHead, is_one_of, is_token, list};

/// Fields for routing, framing and content, which are not allowed in trailers (RFC 9110, 6.5.1).
const NEVER: [&str; 5] = ["Host", "Content-Length", "Content-Encoding", "Content-Type", "Content-Range"];

/// Whether a client accepts trailers (RFC 9110, 10.1.4). HTTP/1.0 has none.
pub fn are_accepted_by(request: &RequestHead) -> bool {
    request.version != Version::HTTP_10
        && list(request.fields.values("TE")).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// Removes the fields that are not allowed in trailers or are hop-by-hop.
pub fn forward(trailers: &mut Fields) {
    let nominated: Vec<_> = list(trailers.values("Connection")).map(<[u8]>::to_vec).collect();
    trailers.retain(|name| {
        let is_nominated = nominated.iter().any(|other| name.eq_ignore_ascii_case(other));
        is_token(name) && !is_hop_by_hop(name) && !is_one_of(name, &NEVER) && !is_nominated
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_routing_and_hop_by_hop_fields_are_removed() {
        let mut trailers = Fields::default();
        for name in
            ["Grpc-Status", "connection", "TE", "trailer", "Host", "content-length", "X-Checksum", "X-Hop"]
        {
            trailers.append(name, "x-hop");
        }
        forward(&mut trailers);
        assert_eq!(
            trailers.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            [&b"Grpc-Status"[..], b"X-Checksum"]
        );
    }
}
