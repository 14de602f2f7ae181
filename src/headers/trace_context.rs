//! W3C Trace Context: the ids that connect a request with its log line and with distributed traces.

use uuid::Uuid;

use crate::http1::Fields;

/// The name of the field with the trace context.
pub const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Length of a `traceparent` of version 00 in bytes (W3C Trace Context, 3.2.2).
const LENGTH: usize = 55;

/// The ids of a `traceparent`, as lowercase hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 32],
    parent_id: [u8; 16],
}

impl TraceContext {
    /// Parses the values of all `traceparent` fields of a request. `None`: not exactly one, or not valid.
    pub fn of<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let (value, more) = (values.next()?, values.next());
        let mut fields = value.split(|byte| *byte == b'-');
        let (version, trace_id, parent_id, flags) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_valid = more.is_none()
            && (value.len() == LENGTH || (version != b"00" && value.len() > LENGTH))
            && is_hex(version, 2)
            && version != b"ff"
            && is_id(trace_id, 32)
            && is_id(parent_id, 16)
            && is_hex(flags, 2);
        if !is_valid {
            return None;
        }
        Some(Self { trace_id: trace_id.try_into().ok()?, parent_id: parent_id.try_into().ok()? })
    }

    /// Returns the context of a request. If it has no valid one, it gets a new one, and its `tracestate` is dropped.
    pub fn ensure(request: &mut Fields) -> Self {
        if let Some(context) = Self::of(request.values(TRACEPARENT)) {
            return context;
        }
        let context = Self::mint();
        request.remove(TRACESTATE);
        // Flagged as sampled: a parent-based sampler in the backend then records, as it does without a parent.
        let value = [&b"00-"[..], &context.trace_id, b"-", &context.parent_id, b"-01"].concat();
        request.set(TRACEPARENT, value);
        context
    }

    fn mint() -> Self {
        let (mut trace_id, mut digits, mut parent_id) = ([0; 32], [0; 32], [0; 16]);
        Uuid::new_v4().simple().encode_lower(&mut trace_id);
        Uuid::new_v4().simple().encode_lower(&mut digits);
        parent_id.copy_from_slice(&digits[..16]);
        Self { trace_id, parent_id }
    }

    pub fn trace_id(&self) -> &str {
        text(&self.trace_id)
    }

    pub fn parent_id(&self) -> &str {
        text(&self.parent_id)
    }
}

fn text(digits: &[u8]) -> &str {
    // The digits are ASCII.
    std::str::from_utf8(digits).unwrap_or_default()
}

fn is_hex(text: &[u8], length: usize) -> bool {
    text.len() == length && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_id(text: &[u8], length: usize) -> bool {
    is_hex(text, length) && text.iter().any(|byte| *byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn request(values: &[&str]) -> Fields {
        let mut request = Fields::default();
        for value in values {
            request.append("Traceparent", *value);
        }
        request.append(TRACESTATE, "a=b");
        request
    }

    #[test]
    fn a_valid_context_passes() {
        for valid in [VALID, "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings"]
        {
            let mut request = request(&[valid]);
            let ids = TraceContext::ensure(&mut request);
            assert_eq!(request.values(TRACEPARENT).collect::<Vec<_>>(), [valid.as_bytes()]);
            assert_eq!(request.value(TRACESTATE), Some(&b"a=b"[..]));
            assert_eq!((&ids.trace_id()[..4], &ids.parent_id()[..4]), ("4bf9", "00f0"));
        }
    }

    #[test]
    fn an_absent_or_invalid_context_is_replaced() {
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
            let minted = TraceContext::ensure(&mut request);
            assert_eq!(TraceContext::of(request.values(TRACEPARENT)), Some(minted));
            assert_ne!(minted.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert!(!request.contains(TRACESTATE));
        }
    }
}
