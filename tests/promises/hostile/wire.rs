//! The client: it writes the bytes of a case, and parses the responses strictly.

use std::net::SocketAddr;

use super::case::Case;
use crate::kit::{Client, GENEROUS, Response, first_chunk, head_length};

/// What the client received. HTTP/2 responses are not parsed.
#[derive(Debug)]
pub struct Heard {
    /// The final HTTP/1.1 responses, and 101.
    pub answers: Vec<Response>,
    /// The proxy closed or reset the connection.
    pub is_closed: bool,
}

impl Heard {
    pub fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(|answer| answer.status).collect()
    }
}

/// Whether the response is from the recorder, which marks its responses.
pub fn is_from_backend(answer: &Response) -> bool {
    answer.field("x-from") == Some("backend")
}

pub fn keeps_alive(answer: &Response) -> bool {
    answer.fields("connection").iter().any(|value| value.eq_ignore_ascii_case("keep-alive"))
}

/// Runs the client's side of a case.
pub async fn talk(proxy: SocketAddr, case: &Case) -> Heard {
    let mut client = Client::connect(proxy).await;
    let enough = |bytes: &[u8]| match case.enough() {
        // The first response may only come after a timeout of the proxy.
        _ if bytes.is_empty() => Some(GENEROUS),
        usize::MAX => Some(case.patience()),
        enough => (answers(bytes).len() < enough).then(|| case.patience()),
    };
    // Ignores write errors: the proxy may reject the request before all of it is sent.
    let is_closed = client.connection.converse(&case.writes, case.pause, case.ends, enough).await;
    Heard { answers: answers(client.connection.unread()), is_closed }
}

/// The final responses with a complete head, without the informational ones before them (RFC 9110, 15.2).
fn answers(mut bytes: &[u8]) -> Vec<Response> {
    let mut answers = Vec::new();
    while bytes.starts_with(b"HTTP/1.")
        && let Some(length) = head_length(bytes)
    {
        let (head, rest) = bytes.split_at(length);
        bytes = rest;
        let Some(answer) = Response::of(String::from_utf8_lossy(head).into_owned()) else { break };
        if (100..200).contains(&answer.status) && answer.status != 101 {
            continue;
        }
        let rest = after_body(&answer, bytes);
        answers.push(answer);
        let Some(rest) = rest else { break };
        bytes = rest;
    }
    answers
}

/// The bytes after the body of a response. `None`: the body is incomplete, or it ends with the connection.
fn after_body<'a>(answer: &Response, mut bytes: &'a [u8]) -> Option<&'a [u8]> {
    if let Some(length) = answer.length() {
        return bytes.get(length..);
    }
    answer.field("transfer-encoding")?;
    loop {
        let (data, length) = first_chunk(bytes).ok()??;
        bytes = &bytes[length..];
        if data.is_empty() {
            return Some(bytes);
        }
    }
}
