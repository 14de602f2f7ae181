//! Answers of our own apps: the admin listener, and the demo's model.

use std::future::Future;

use bytes::Bytes;
use http::{StatusCode, header};
use pingora::apps::{HttpPersistentSettings, ReusedHttpStream};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

/// The client of an answer has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// A field of a response's head.
pub type Field = (&'static str, String);

/// Answers with a whole body.
pub async fn respond(
    session: &mut ServerSession,
    status: StatusCode,
    content_type: &str,
    fields: &[Field],
    body: Bytes,
) -> Result<(), Gone> {
    let length = (header::CONTENT_LENGTH.as_str(), body.len().to_string());
    let fields = [fields, &[length]].concat();
    write_head(session, status, content_type, &fields).await?;
    let is_head = session.req_header().method == http::Method::HEAD;
    if is_head || body.is_empty() {
        return session.finish_body().await.map_err(|_| Gone);
    }
    session.write_response_body(body, true).await.map_err(|_| Gone)
}

/// Begins an answer whose body is written piece by piece.
pub async fn begin(session: &mut ServerSession, content_type: &str) -> Result<(), Gone> {
    let fields = [
        (header::TRANSFER_ENCODING.as_str(), "chunked".to_owned()),
        (header::CACHE_CONTROL.as_str(), "no-store".to_owned()),
    ];
    write_head(session, StatusCode::OK, content_type, &fields).await
}

/// Writes a piece of the body, at once.
pub async fn write(session: &mut ServerSession, piece: impl Into<Bytes>) -> Result<(), Gone> {
    session.write_response_body(piece.into(), false).await.map_err(|_| Gone)
}

/// Does what is worth the time only as long as somebody waits for it.
pub async fn while_connected<T>(
    session: &mut ServerSession,
    work: impl Future<Output = T>,
) -> Result<T, Gone> {
    tokio::select! {
        done = work => Ok(done),
        // No byte is expected before the answer is complete.
        _ = session.read_body_or_idle(true) => Err(Gone),
    }
}

/// Ends an answer; returns the connection if it takes another request.
pub async fn finish(session: ServerSession) -> Option<ReusedHttpStream> {
    let settings = HttpPersistentSettings::for_session(&session);
    let stream = session.finish().await.ok()??;
    Some(ReusedHttpStream::from_reusable_stream(stream, settings))
}

async fn write_head(
    session: &mut ServerSession,
    status: StatusCode,
    content_type: &str,
    fields: &[Field],
) -> Result<(), Gone> {
    // Building it fails only for values that are no header fields, and these are ours.
    let mut head = ResponseHeader::build(status, None).map_err(|_| Gone)?;
    head.insert_header(header::CONTENT_TYPE, content_type).map_err(|_| Gone)?;
    for (name, value) in fields {
        head.insert_header(*name, value.as_str()).map_err(|_| Gone)?;
    }
    session.write_response_header(Box::new(head)).await.map_err(|_| Gone)
}
