//! Answers of our own apps: the admin listener, and the demo's model.

use std::future::Future;

use http::StatusCode;

use crate::downstream::{Client, ClientLost};
use crate::http1::ResponseHead;

/// A field of a response's head.
pub type Field<'a> = (&'a str, &'a str);

/// Answers with a whole body.
pub async fn respond(
    client: &mut Client,
    status: StatusCode,
    content_type: &str,
    fields: &[Field<'_>],
    body: &[u8],
) -> Result<(), ClientLost> {
    client.read_what_is_there().await;
    let length = body.len().to_string();
    let fields = [fields, &[("Content-Length", length.as_str())]].concat();
    client.begin(head(status, content_type, &fields))?;
    let is_head = client.request().method == http::Method::HEAD;
    client.write_last(if is_head { &[] } else { body }).await
}

/// Begins an answer whose body is written piece by piece.
pub async fn begin(client: &mut Client, content_type: &str) -> Result<(), ClientLost> {
    let mut head = head(StatusCode::OK, content_type, &[("Cache-Control", "no-store")]);
    if client.version() == http::Version::HTTP_11 {
        head.fields.append("Transfer-Encoding", "chunked");
    }
    client.write_head(head).await
}

/// Does what is worth the time only as long as somebody waits for it.
pub async fn while_connected<T>(client: &mut Client, work: impl Future<Output = T>) -> Result<T, ClientLost> {
    tokio::select! {
        done = work => Ok(done),
        // No byte is expected before the answer is complete.
        _ = client.receive(false) => Err(ClientLost::Gone),
    }
}

fn head(status: StatusCode, content_type: &str, fields: &[Field<'_>]) -> ResponseHead {
    let mut head = ResponseHead::new(status);
    head.fields.append("Content-Type", content_type);
    fields.iter().for_each(|(name, value)| head.fields.append(name, value));
    head
}
