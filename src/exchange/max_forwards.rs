//! OPTIONS and TRACE requests whose `Max-Forwards` is 0. The proxy answers them itself (RFC 9110, 7.6.2).

use http::{Method, StatusCode};

use crate::downstream::Client;
use crate::http1::{RequestHead, ResponseHead, is_one_of};

const MAX_FORWARDS: &str = "Max-Forwards";

/// The fields that a TRACE response shows. Others may contain secrets (RFC 9110, 9.3.8).
const SHOWN: [&str; 5] = ["Host", "Via", MAX_FORWARDS, "User-Agent", "Accept"];

/// A request that the proxy answers as its final recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    Options,
    Trace,
}

impl Recipient {
    /// `None` if the request must be forwarded.
    pub fn of(request: &RequestHead) -> Option<Self> {
        let recipient = match request.method {
            Method::OPTIONS => Self::Options,
            Method::TRACE => Self::Trace,
            _ => return None,
        };
        (max_forwards(request) == Some(0)).then_some(recipient)
    }

    /// Answers the request. Returns the status if the response was written.
    pub async fn answer(self, client: &mut Client) -> Option<u16> {
        let mut head = ResponseHead::new(StatusCode::OK);
        let body = match self {
            Self::Options => Vec::new(),
            Self::Trace => {
                head.fields.append("Content-Type", "message/http");
                shown(client.request())
            }
        };
        head.fields.append("Content-Length", body.len().to_string());
        client.read_what_is_there().await;
        client.begin(head).ok()?;
        client.write_last(&body).await.ok()?;
        Some(StatusCode::OK.as_u16())
    }
}

/// Decrements `Max-Forwards`.
pub fn count_down(request: &mut RequestHead) {
    if matches!(request.method, Method::OPTIONS | Method::TRACE)
        && let Some(left) = max_forwards(request)
    {
        request.fields.set(MAX_FORWARDS, left.saturating_sub(1).to_string());
    }
}

/// An invalid number is left for the backend to reject. A number that exceeds `u64` counts as its maximum.
fn max_forwards(request: &RequestHead) -> Option<u64> {
    let value = request.fields.value(MAX_FORWARDS)?;
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(value).ok()?.parse().ok()).map(|number| number.unwrap_or(u64::MAX))
}

fn shown(request: &RequestHead) -> Vec<u8> {
    let line = [request.method.as_str().as_bytes(), b" ", request.target(), b" HTTP/1.1\r\n"].concat();
    let fields = request.fields.iter().filter(|(name, _)| is_one_of(name, &SHOWN));
    fields.fold(line, |shown, (name, value)| [&shown[..], name, b": ", value, b"\r\n"].concat())
}
