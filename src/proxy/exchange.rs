//! One request and its response, from a connection to the backend to the end of the body.

use std::sync::Arc;

use http::{Method, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use prometheus::IntGauge;
use tokio::time::Instant;

use super::client::{Client, ClientLost};
use super::hygiene;
use super::outcome::{Outcome, Phase};
use super::prefill;
use super::refusal::{self, Refusal};
use super::relay::Relay;
use super::upload::Upload;
use crate::config::{Route, StreamPolicy};
use crate::event_stream::dialect::OpenRequests;
use crate::event_stream::is_event_stream;
use crate::metrics::RouteMetrics;
use crate::upstream::{Connection, Upstream};

/// A route with everything it needs at run time.
pub struct RunningRoute {
    pub config: Arc<Route>,
    pub upstream: Arc<Upstream>,
    pub metrics: Arc<RouteMetrics>,
}

/// How an exchange ended, and what its client saw.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub outcome: Outcome,
    /// The status that went downstream, if one did.
    pub status: Option<StatusCode>,
    pub kind: Kind,
}

/// What a response turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There was no response from the backend, so nobody can tell.
    Unknown,
    EventStream,
    Other,
}

/// Keeps a gauge raised by one for as long as it lives.
pub struct Raised(IntGauge);

impl Raised {
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The state of an exchange that all of its phases share.
pub struct Exchange<'a> {
    pub route: &'a RunningRoute,
    /// When the request's head was read.
    pub started: Instant,
    pub upload: Upload,
    /// When something was last sent upstream; the first event is waited for from then on.
    pub sent: Instant,
}

impl Exchange<'_> {
    pub fn policy(&self) -> &StreamPolicy {
        &self.route.config.stream
    }

    /// When the whole exchange must be over.
    pub fn max_duration_end(&self) -> Option<Instant> {
        self.policy().max_duration.map(|limit| self.started + limit)
    }

    /// The JSON-RPC requests that the response is to answer; `None` if the request has none that can be read.
    pub fn json_rpc_requests(&self) -> Option<OpenRequests> {
        OpenRequests::of_request(&self.upload.whole()?)
    }

    /// Sends upstream what the client uploaded. A backend that takes no more ends the upload, not the exchange: its
    /// answer may be there already.
    pub async fn forward_upload(&mut self, connection: &mut Connection) {
        let piece = self.upload.take_piece();
        if self.upload.is_closed() {
            return;
        }
        let mut result = Ok(());
        if let Some(piece) = piece {
            result = connection.write_body(&piece).await;
            self.sent = Instant::now();
        }
        if self.upload.is_read() && result.is_ok() {
            result = connection.finish_body().await;
            self.upload.close();
        }
        if result.is_err() {
            self.upload.close();
        }
    }

    /// Closes the upstream connection of a client that is lost.
    pub fn cancel(&self, connection: Connection, lost: ClientLost, phase: Phase) -> Outcome {
        let noticed = Instant::now();
        drop(connection);
        match lost {
            ClientLost::Gone => {
                self.route.metrics.observe_cancel(phase, noticed.elapsed().as_secs_f64());
                Outcome::ClientGone(phase)
            }
            ClientLost::Slow => Outcome::SlowReader,
        }
    }
}

/// Relays one request and its response.
pub async fn run(
    client: &mut Client<'_>,
    route: &RunningRoute,
    request: RequestHeader,
    started: Instant,
) -> Ended {
    let upload = client.upload();
    let mut exchange = Exchange { route, started, upload, sent: started };
    let waiting = Raised::new(&route.metrics.waiting);
    // Boxed, so that the state of the prefill does not take memory for as long as the response runs.
    match Box::pin(prefill::run(client, &mut exchange, request)).await {
        Ok((connection, head)) => relay_response(client, exchange, connection, &head, waiting).await,
        Err(outcome) => {
            drop(waiting);
            end_without_response(client, outcome).await
        }
    }
}

async fn relay_response(
    client: &mut Client<'_>,
    exchange: Exchange<'_>,
    connection: Connection,
    head: &ResponseHeader,
    waiting: Raised,
) -> Ended {
    let status = head.status;
    let has_body = has_body(&client.request().method, status);
    let is_stream = has_body && is_readable_event_stream(head);
    let kind = if is_stream { Kind::EventStream } else { Kind::Other };
    let phase = if is_stream { Phase::Streaming } else { Phase::Body };
    let Ok(response) = response_head(head, client.version(), has_body, is_stream) else {
        drop(connection);
        client.abandon();
        return Ended { outcome: Outcome::INVALID_RESPONSE, status: None, kind };
    };
    if let Err(lost) = client.write_head(response).await {
        let outcome = exchange.cancel(connection, lost, phase);
        client.abandon();
        return Ended { outcome, status: None, kind };
    }
    let waiting = is_stream.then_some(waiting);
    let outcome = Relay::new(client, exchange, waiting, is_stream).run(connection).await;
    Ended { outcome, status: Some(status), kind }
}

fn response_head(
    head: &ResponseHeader,
    version: http::Version,
    has_body: bool,
    is_stream: bool,
) -> pingora::Result<ResponseHeader> {
    let mut response = hygiene::downstream_response(head, version, has_body)?;
    if is_stream {
        hygiene::event_stream_response(&mut response, version)?;
    }
    Ok(response)
}

/// Answers with a status, or with nothing if nobody is there to read it.
async fn end_without_response(client: &mut Client<'_>, outcome: Outcome) -> Ended {
    let refusal = match outcome {
        Outcome::Upstream(fault) => Refusal::from(fault),
        Outcome::Malformed => Refusal::MALFORMED_BODY,
        Outcome::Completed | Outcome::ReportedError | Outcome::ClientGone(_) | Outcome::SlowReader => {
            client.abandon();
            return Ended { outcome, status: None, kind: Kind::Unknown };
        }
    };
    let status = refusal::send(client, refusal).await;
    Ended { outcome, status, kind: Kind::Unknown }
}

/// Whether a response to this method with this status has a body (RFC 9112, 6.3).
fn has_body(method: &Method, status: StatusCode) -> bool {
    method != Method::HEAD && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// An event stream whose bytes are what they seem: a compressed one passes untouched.
fn is_readable_event_stream(head: &ResponseHeader) -> bool {
    let is_plain = |encoding: &http::HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"identity");
    head.headers.get(header::CONTENT_TYPE).is_some_and(|v| is_event_stream(v.as_bytes()))
        && head.headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain)
}
