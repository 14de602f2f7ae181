//! The client: it writes what a case says, and reads answers as strictly as they must be framed.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::case::Case;
use crate::kit::GENEROUS;

/// A final answer of HTTP/1.1, or the one that switches protocols.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The recorder says so of its own.
    pub fn is_from_backend(&self) -> bool {
        self.field("x-from") == Some("backend")
    }

    pub fn keeps_alive(&self) -> bool {
        self.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive"))
    }
}

/// What a client has heard. Answers over HTTP/2 are not read.
#[derive(Debug)]
pub struct Heard {
    pub answers: Vec<Answer>,
    /// The proxy has closed the connection, or reset it.
    pub is_closed: bool,
}

impl Heard {
    pub fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(|answer| answer.status).collect()
    }
}

/// Runs the client's side of a case.
pub async fn talk(proxy: SocketAddr, case: &Case) -> Heard {
    let tcp = TcpStream::connect(proxy).await.expect("a connection");
    tcp.set_nodelay(true).expect("a socket");
    let (mut read, mut write) = tcp.into_split();
    let (writes, pause, ends) = (case.writes.clone(), case.pause, case.ends);
    // It may be refused before all of it is sent.
    let sending = tokio::spawn(async move {
        for (n, bytes) in writes.iter().enumerate() {
            if n > 0 {
                tokio::time::sleep(pause).await;
            }
            let _ = write.write_all(bytes).await;
        }
        if ends {
            let _ = write.shutdown().await;
        }
        write
    });
    let mut bytes = Vec::new();
    let is_closed = loop {
        // Before the first answer there may be a timeout of the proxy to wait for.
        let patience = if bytes.is_empty() { GENEROUS } else { case.patience() };
        match tokio::time::timeout(patience, read.read_buf(&mut bytes)).await {
            Ok(Ok(n)) if n > 0 => {}
            Ok(_) => break true,
            Err(_) => break false,
        }
        if case.enough() < usize::MAX && answers(&bytes).len() >= case.enough() {
            break false;
        }
    };
    sending.abort();
    Heard { answers: answers(&bytes), is_closed }
}

/// The final answers whose heads are there (RFC 9110, 15.2: informational ones come before them).
fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while bytes.starts_with(b"HTTP/1.")
        && let Some(end) = position(bytes, b"\r\n\r\n")
    {
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes = &bytes[end + 4..];
        let Some(status) = head.get(9..12).and_then(|status| status.parse().ok()) else { break };
        let answer = Answer { status, head };
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let rest = after_body(&answer, bytes);
        answers.push(answer);
        let Some(rest) = rest else { break };
        bytes = rest;
    }
    answers
}

/// What follows the body of an answer; `None`: nothing can, or nothing has yet.
fn after_body<'a>(answer: &Answer, mut bytes: &'a [u8]) -> Option<&'a [u8]> {
    if let Some(length) = answer.field("content-length") {
        return bytes.get(length.parse().ok()?..);
    }
    answer.field("transfer-encoding")?;
    loop {
        let line = position(bytes, b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).ok()?, 16).ok()?;
        bytes = bytes.get(line + 2 + size + 2..)?;
        if size == 0 {
            return Some(bytes);
        }
    }
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
