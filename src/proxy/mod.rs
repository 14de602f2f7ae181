//! The front door: which route a request takes, and its relay to the backend and back.
//!
//! pingora reads requests and asks [`FrontDoor`] what to do with them. Only WebSocket upgrades go down
//! pingora's own path; every other request is answered in `request_filter`, because pingora's body filters run only when
//! bytes arrive: with them there is no heartbeat, no end of our own making and no retry before the first event.

mod body;
mod client;
mod clock;
mod early_heartbeat;
mod end_of_all;
mod exchange;
mod hop;
mod http2_body;
mod hygiene;
mod log_line;
mod outcome;
mod payload;
mod prefill;
mod refusal;
mod relay;
mod response;
mod stream_request;
mod strict_head;
mod table;
mod trace_context;
mod upload;

use std::any::Any;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use tokio::time::Instant;

pub use client::poll_once;
pub use end_of_all::EndOfAll;
pub use exchange::RunningRoute;
pub use outcome::{Outcome, Phase, UpstreamFault};
pub use stream_request::RequestMembers;
pub use strict_head::check as check_head;
pub use table::Table;

use crate::access_log::AccessLog;
use crate::config::{HalfClose, Listener};
use crate::metrics::RequestCounter;
use crate::streams::{LiveStreams, Record};
use crate::transport::Link;
use client::{Bounds, Client};
use exchange::{Ended, Kind};
use hop::Hop;
use log_line::LogLine;
use refusal::Refusal;
use strict_head::Doubt;
use trace_context::TraceContext;

/// What nginx logs for a client that left before its response; no status ever goes out with it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What the front doors of all listeners share.
pub struct Shared {
    /// Replaced as a whole by a reload.
    pub table: ArcSwap<Table>,
    /// For requests that no route matches.
    pub unrouted: RequestCounter,
    pub live: Arc<LiveStreams>,
    pub log: AccessLog,
    pub end_of_all: EndOfAll,
}

/// Decides what becomes of each request of one listener.
pub struct FrontDoor {
    shared: Arc<Shared>,
    /// Replaced by a reload.
    listener: Arc<ArcSwap<Listener>>,
}

/// One request, between pingora's calls.
pub struct Context {
    started: Instant,
    link: Arc<Link>,
    listener: Arc<Listener>,
    /// The route of a request that takes pingora's own path.
    upgrade: Option<Arc<RunningRoute>>,
}

impl FrontDoor {
    pub fn new(shared: Arc<Shared>, listener: Arc<ArcSwap<Listener>>) -> Self {
        Self { shared, listener }
    }

    /// Answers a request that is not to be relayed.
    async fn refuse(&self, session: &mut ServerSession, context: &Context, refusal: Refusal) {
        prepare(session, HalfClose::Cancel);
        let mut client = Client::new(session, &context.link, Bounds::default());
        let sent = refusal::send(&mut client, refusal).await;
        let status = sent.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16());
        self.shared.unrouted.count(status);
        self.log("refused", session, context, status, |_| {});
    }

    /// Writes the line of a request that has ended.
    fn log(
        &self,
        kind: &str,
        session: &ServerSession,
        context: &Context,
        status: u16,
        add: impl FnOnce(&mut LogLine),
    ) {
        if self.shared.log.is_on() {
            let mut line = LogLine::of(session, Hop::of(session, &context.listener));
            add(&mut line);
            self.shared.log.write(line.end(kind, status, context.started.elapsed().as_secs_f64()));
        }
    }

    async fn relay(
        &self,
        session: &mut ServerSession,
        context: &Context,
        route: &RunningRoute,
        max_body: Option<usize>,
    ) {
        let authority = route.upstream.config().server.authority();
        let (has_body, hop) = (!session.is_body_done(), Hop::of(session, &context.listener));
        let Ok(request) = hygiene::upstream_request(session.req_header(), has_body, hop, &authority) else {
            return self.refuse(session, context, Refusal::MALFORMED_BODY).await;
        };
        let policy = &route.config.stream;
        prepare(session, policy.half_close);
        let trace = TraceContext::of(&request.headers);
        let request_id = log_line::clipped(hygiene::request_id(&request));
        let record = Arc::new(Record::new(route.names.clone(), request_id, context.started));
        let shown = self.shared.live.show(record.clone());
        let bounds = Bounds { write_timeout: policy.write_timeout, max_body };
        let mut client = Client::new(session, &context.link, bounds);
        let ended = exchange::run(&mut client, route, request, &record, &self.shared.end_of_all).await;
        drop(shown);
        account(route, context.started, ended);
        let status = ended.status.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16());
        self.log(ended.kind.as_str(), session, context, status, |line| {
            line.ids(record.request_id.as_bytes(), trace.as_ref());
            line.record(&record, ended.outcome);
        });
    }
}

/// Counts what has ended. The one place where an outcome becomes a metric.
fn account(route: &RunningRoute, started: Instant, ended: Ended) {
    let seconds = started.elapsed().as_secs_f64();
    route.metrics.requests.count(ended.status.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16()));
    match ended.kind {
        Kind::EventStream => route.metrics.count_stream(ended.outcome, seconds),
        Kind::Unknown => {
            route.metrics.count_start();
            route.metrics.count_stream(ended.outcome, seconds);
        }
        Kind::Other => {}
    }
    tracing::debug!(route = route.config.name, ?ended, seconds, "request ended");
}

fn prepare(session: &mut ServerSession, half_close: HalfClose) {
    if let ServerSession::H1(session) = session {
        // A client that sends its next request early would otherwise end this one's stream.
        session.set_pipelining_enabled(true);
        session.set_abort_on_close(half_close == HalfClose::Cancel);
        // The relay drains an upload that outlasts its response, so the connection stays fit for another request.
        session.set_close_on_response_before_downstream_finish(false);
    }
}

#[async_trait]
impl ProxyHttp for FrontDoor {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        let listener = self.listener.load_full();
        Context { started: Instant::now(), link: Arc::default(), listener, upgrade: None }
    }

    /// Takes over what the accept loop knows about the connection.
    fn on_connection_reuse(&self, _: &mut Session, context: &mut Context, link: Box<dyn Any + Send + Sync>) {
        if let Ok(link) = link.downcast::<Arc<Link>>() {
            context.link = *link;
            context.link.complete_head();
        }
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> pingora::Result<bool> {
        let downstream = &mut session.downstream_session;
        let table = self.shared.table.load_full();
        let limits = &table.limits;
        let head = downstream.as_http1().map(|h1| h1.get_headers_raw_bytes());
        let refusal = if head.as_ref().is_some_and(|head| head.len() > limits.max_header_size) {
            Some(Refusal::HEAD_TOO_LARGE)
        } else if let Err(doubt) = in_doubt(downstream.req_header(), head.as_deref()) {
            // Where its body ends is in doubt too, and with it where the next request begins.
            downstream.set_keepalive(None);
            Some(Refusal::from(doubt))
        } else if limits.max_request_body.is_some_and(|max| announces_more_than(downstream.req_header(), max))
        {
            Some(Refusal::BODY_TOO_LARGE)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.refuse(downstream, context, refusal).await;
            return Ok(true);
        }
        let Some(route) = table.route(downstream.req_header()) else {
            self.refuse(downstream, context, Refusal::NO_ROUTE).await;
            return Ok(true);
        };
        if hygiene::asks_for_websocket(downstream.req_header()) {
            context.upgrade = Some(route);
            return Ok(false);
        }
        self.relay(downstream, context, &route, limits.max_request_body).await;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, context: &mut Context) -> pingora::Result<Box<HttpPeer>> {
        let Some(route) = &context.upgrade else {
            return Error::e_explain(ErrorType::InternalError, "only upgrades are proxied by pingora itself");
        };
        let peer = route.upstream.stock_peer().await;
        peer.map(Box::new).map_err(|e| Error::because(ErrorType::ConnectError, "resolving the upstream", e))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        let host = hygiene::host(request).map(str::to_owned);
        let hop = Hop::of(&session.downstream_session, &context.listener);
        hygiene::forwarded(request, hop, host.as_deref())
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, _: &mut Context) -> FailToProxy {
        let fault = match error.etype() {
            ErrorType::ConnectTimedout | ErrorType::ReadTimedout => UpstreamFault::ConnectTimeout,
            _ => UpstreamFault::ConnectFailed,
        };
        let refusal = Refusal::from(fault);
        let body = refusal.body();
        // Nothing can be done for a client that is gone.
        if session.response_written().is_none()
            && let Ok(head) = refusal.head(&body)
            && session.write_response_header(Box::new(head), false).await.is_ok()
        {
            let _ = session.write_response_body(Some(body.into()), true).await;
        }
        FailToProxy { error_code: refusal.status.as_u16(), can_reuse_downstream: false }
    }

    /// Every request that failed is in the metrics; a client that left is no error.
    fn suppress_error_log(&self, _: &Session, _: &Context, _: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Context) {
        if let Some(route) = &context.upgrade {
            let status =
                session.response_written().map_or(CLIENT_CLOSED_REQUEST, |head| head.status.as_u16());
            route.metrics.requests.count(status);
            let downstream = &session.downstream_session;
            self.log("upgrade", downstream, context, status, |line| {
                let request = downstream.req_header();
                line.ids(hygiene::request_id(request), TraceContext::of(&request.headers).as_ref());
            });
            if let Some(error) = error {
                tracing::debug!(route = route.config.name, %error, "an upgraded connection ended");
            }
        }
    }
}

/// `head`: as it was received over HTTP/1.1.
fn in_doubt(request: &RequestHeader, head: Option<&[u8]>) -> Result<(), Doubt> {
    match head {
        Some(head) => strict_head::check(head),
        None => strict_head::check_http2(request),
    }
}

/// Whether a request says that its body is larger than this.
fn announces_more_than(request: &RequestHeader, max: usize) -> bool {
    let length = request.headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    // One that is no number has been refused by pingora.
    length.and_then(|length| length.parse::<u128>().ok()).is_some_and(|length| length > max as u128)
}

/// Whether an `Upgrade` field asks for a WebSocket (RFC 6455, 4.1).
fn is_websocket(upgrade: &[u8]) -> bool {
    upgrade.trim_ascii().eq_ignore_ascii_case(b"websocket")
}
