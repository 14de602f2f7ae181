//! W3C Trace Context: the ids that tie a request to its log line and to the traces of others.

use http::HeaderMap;
use pingora::http::RequestHeader;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Bytes of a `traceparent` of version 00 (W3C Trace Context, 3.2.2).
const LENGTH: usize = 55;

/// The ids of a `traceparent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: String,
    pub parent_id: String,
}

impl TraceContext {
    /// The one of a request; `None` if it has none that is valid.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next()?.to_str().ok()?;
        let is_alone = values.next().is_none();
        let mut fields = value.split('-');
        let (version, trace_id, parent_id, flags) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_valid = is_alone
            && (value.len() == LENGTH || (version != "00" && value.len() > LENGTH))
            && is_hex(version, 2)
            && version != "ff"
            && is_id(trace_id, 32)
            && is_id(parent_id, 16)
            && is_hex(flags, 2);
        is_valid.then(|| Self { trace_id: trace_id.to_owned(), parent_id: parent_id.to_owned() })
    }

    /// Gives a request one if it has none. What it has instead is dropped, with the state that belongs to it.
    pub fn ensure(request: &mut RequestHeader) -> pingora::Result<()> {
        if Self::of(&request.headers).is_some() {
            return Ok(());
        }
        let trace_id = uuid::Uuid::new_v4().simple().to_string();
        let parent_id = uuid::Uuid::new_v4().simple().to_string();
        request.remove_header(TRACESTATE);
        // Sampled, so that a backend whose sampler asks its parent decides as it did when it had none.
        request.insert_header(TRACEPARENT, format!("00-{trace_id}-{}-01", &parent_id[..16]))
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_id(text: &str, length: usize) -> bool {
    is_hex(text, length) && text.bytes().any(|b| b != b'0')
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn request(values: &[&str]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).expect("a request");
        for value in values {
            request.append_header(TRACEPARENT, *value).expect("a field");
        }
        request.insert_header(TRACESTATE, "a=b").expect("a field");
        request
    }

    #[test]
    fn a_valid_context_passes() {
        for valid in [VALID, "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings"]
        {
            let mut request = request(&[valid]);
            TraceContext::ensure(&mut request).expect("a request");
            assert_eq!(request.headers[TRACEPARENT], valid);
            assert_eq!(request.headers[TRACESTATE], "a=b");
            let ids = TraceContext::of(&request.headers).expect("a context");
            assert_eq!((&ids.trace_id[..4], &ids.parent_id[..4]), ("4bf9", "00f0"));
        }
    }

    #[test]
    fn an_absent_or_invalid_one_is_minted() {
        let zero = VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        for invalid in [
            &[][..],
            &[VALID, VALID],
            &[zero.as_str()],
            &["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            &["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"],
            &["nonsense"],
        ] {
            let mut request = request(invalid);
            TraceContext::ensure(&mut request).expect("a request");
            let minted = TraceContext::of(&request.headers).expect("a context");
            assert_ne!(minted.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
            assert!(!request.headers.contains_key(TRACESTATE));
        }
    }
}
