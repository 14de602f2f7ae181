//! A backend that sends the response of the row that a request names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::kit::{Backend, Exchange, LAST_CHUNK, chunk};
use crate::session::streams::{End, Framing, Row};

/// Replaces all pauses of the table. The results do not depend on their length.
const PAUSE: Duration = Duration::from_millis(2);

/// A row in progress.
pub struct Running {
    pub row: Row,
    /// Gets a permit when the client has received everything that is relayed before the end.
    pub has_received: Semaphore,
}

/// Rows by `X-Request-Id`.
pub type Table = Arc<HashMap<String, Running>>;

/// Starts the backend.
pub async fn backend(table: Table) -> Backend {
    Backend::script(move |mut exchange| {
        let table = table.clone();
        async move {
            while let Some(head) = exchange.whole_request().await {
                let head = head.to_lowercase();
                let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("an id");
                let Running { row, has_received } = &table[id];
                exchange.send(response_head(row)).await;
                for piece in &row.pieces {
                    if !piece.pause.is_zero() {
                        tokio::time::sleep(PAUSE).await;
                    }
                    send(&mut exchange, row, &piece.bytes).await;
                }
                match (row.end, row.head.framing) {
                    (End::Closed, _) | (End::Clean, Framing::Close) => return,
                    (End::Clean, Framing::Chunked) => exchange.send(LAST_CHUNK).await,
                    (End::Clean, Framing::Length | Framing::Nothing) => {}
                    (End::Stall, _) => return exchange.closed().await,
                    (End::Reset, _) => {
                        // A reset could overtake bytes that were sent before.
                        let _ = has_received.acquire().await;
                        return exchange.reset();
                    }
                }
            }
        }
    })
    .await
}

fn response_head(row: &Row) -> String {
    let head = &row.head;
    let types: String = head.content_types.iter().map(|value| format!("Content-Type: {value}\r\n")).collect();
    let framing = match head.framing {
        Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        Framing::Length => format!("Content-Length: {}\r\n", length(row)),
        Framing::Close | Framing::Nothing => String::new(),
    };
    let version = if head.framing == Framing::Close { "1.0" } else { "1.1" };
    format!("HTTP/{version} {}\r\n{types}{}{framing}\r\n", head.status, head.more)
}

/// The length of the body.
pub fn length(row: &Row) -> usize {
    row.pieces.iter().map(|piece| piece.bytes.len()).sum()
}

async fn send(exchange: &mut Exchange, row: &Row, bytes: &[u8]) {
    match row.head.framing {
        _ if bytes.is_empty() => {}
        Framing::Chunked => exchange.send(chunk(bytes)).await,
        Framing::Length | Framing::Close | Framing::Nothing => exchange.send(bytes).await,
    }
}
