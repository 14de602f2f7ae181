//! The front door: which route a request takes, and its relay to the backend and back.
//!
//! pingora reads the heads of requests and [`FrontDoor`] decides. Only WebSocket upgrades go down pingora's own proxy
//! ([`upgrade`]); every other request is answered here, because pingora's body filters run only when bytes arrive: with them
//! there is no heartbeat, no end of our own making and no retry before the first event. Its state for one request is also as
//! large as everything here together.

mod alarms;
mod body;
mod client;
mod clock;
mod early_heartbeat;
mod end_of_all;
mod exchange;
mod gathered;
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
mod upgrade;
mod upload;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};

use arc_swap::ArcSwap;
use pingora::ErrorType;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::server::ReusableHttpStream;
use pingora::protocols::http::v1::server::HttpSession;
use tokio::sync::watch;
use tokio::time::Instant;

pub use client::poll_once;
pub use end_of_all::EndOfAll;
pub use exchange::RunningRoute;
pub use outcome::{Outcome, Phase, UpstreamFault};
pub use stream_request::RequestMembers;
pub use strict_head::check as check_head;
pub use table::Table;

use crate::access_log::AccessLog;
use crate::config::{HalfClose, Limits, Listener};
use crate::metrics::RequestCounter;
use crate::streams::{LiveStreams, Record};
use crate::transport::Link;
use client::{Bounds, Client};
use exchange::{Ended, Kind};
use hop::Hop;
use log_line::LogLine;
use refusal::Refusal;
use strict_head::Doubt;
use upgrade::Upgrades;

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

impl Shared {
    /// Writes the line of a request that has ended.
    fn log(
        &self,
        kind: &str,
        session: &ServerSession,
        context: &Context,
        status: u16,
        add: impl FnOnce(&mut LogLine),
    ) {
        if self.log.is_on() {
            let mut line = LogLine::of(session, Hop::of(session, &context.listener));
            add(&mut line);
            self.log.write(line.end(kind, status, context.started.elapsed().as_secs_f64()));
        }
    }
}

/// Answers the requests of one listener.
pub struct FrontDoor {
    shared: Arc<Shared>,
    /// Replaced by a reload.
    listener: Arc<ArcSwap<Listener>>,
    upgrades: Upgrades,
}

/// One request.
#[derive(Clone)]
struct Context {
    started: Instant,
    link: Arc<Link>,
    listener: Arc<Listener>,
}

impl FrontDoor {
    /// `ca_file`: authorities in place of the system's.
    pub fn new(shared: Arc<Shared>, listener: Arc<ArcSwap<Listener>>, ca_file: Option<&str>) -> Self {
        let upgrades = Upgrades::new(shared.clone(), ca_file);
        Self { shared, listener, upgrades }
    }

    /// Answers a request that is not to be relayed.
    async fn refuse(&self, session: &mut ServerSession, context: &Context, refusal: Refusal) {
        prepare(session, HalfClose::Cancel);
        let mut client = Client::new(session, &context.link, Bounds::default());
        let sent = refusal::send(&mut client, refusal).await;
        let status = sent.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16());
        self.shared.unrouted.count(status);
        self.shared.log("refused", session, context, status, |_| {});
    }

    /// Answers a request, unless it is an upgrade: then returns its route.
    async fn answer(&self, session: &mut ServerSession, context: &Context) -> Option<Arc<RunningRoute>> {
        let table = self.shared.table.load_full();
        let limits = &table.limits;
        if let Err(refusal) = admit(session, limits) {
            Box::pin(self.refuse(session, context, refusal)).await;
            return None;
        }
        let Some(route) = table.route(session.req_header()) else {
            Box::pin(self.refuse(session, context, Refusal::NO_ROUTE)).await;
            return None;
        };
        // A request with a body is relayed, and asked for no upgrade then: RFC 9110, 7.8 leaves that to the server.
        if hygiene::asks_for_websocket(session.req_header()) && session.is_body_done() {
            return Some(route);
        }
        let max_request_body = limits.max_request_body;
        drop(table);
        self.relay(session, context, &route, max_request_body).await;
        None
    }

    async fn relay(
        &self,
        session: &mut ServerSession,
        context: &Context,
        route: &RunningRoute,
        max_body: Option<usize>,
    ) {
        let (has_body, hop) = (!session.is_body_done(), Hop::of(session, &context.listener));
        let (request, trace) =
            hygiene::upstream_request(session.req_header(), has_body, hop, route.upstream.authority());
        let policy = &route.config.stream;
        prepare(session, policy.half_close);
        let request_id = log_line::clipped(request.fields.value(hygiene::X_REQUEST_ID).unwrap_or_default());
        let record = Arc::new(Record::new(route.names.clone(), request_id, context.started));
        let shown = self.shared.live.show(record.clone());
        let bounds = Bounds { write_timeout: policy.write_timeout, max_body };
        let mut client = Client::new(session, &context.link, bounds);
        let ended = exchange::run(&mut client, route, request, &record, &self.shared.end_of_all).await;
        drop(shown);
        account(route, context.started, ended);
        let status = ended.status.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16());
        self.shared.log(ended.kind.as_str(), session, context, status, |line| {
            line.ids(record.request_id.as_bytes(), Some(&trace));
            line.record(&record, ended.outcome);
        });
    }
}

impl HttpServerApp for FrontDoor {
    // Written out, because the future that `async_trait` makes has room for the session twice.
    fn process_new_http<'a, 'b, 'all>(
        self: &'a Arc<Self>,
        mut session: ServerSession,
        stopped: &'b watch::Receiver<bool>,
    ) -> Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'all>>
    where
        'a: 'all,
        'b: 'all,
        Self: 'all,
    {
        Box::pin(async move {
            // What the accept loop knows about the connection; a stream of HTTP/2 has none of its own.
            let link =
                session.take_connection_user_context().and_then(|link| link.downcast::<Arc<Link>>().ok());
            let link = link.map_or_else(|| Arc::new(Link::of_stream()), |link| *link);
            if !read_head(&mut session).await {
                return None;
            }
            link.complete_head();
            if *stopped.borrow() {
                session.set_keepalive(None);
            }
            let context = Context { started: Instant::now(), link, listener: self.listener.load_full() };
            match self.answer(&mut session, &context).await {
                Some(route) => {
                    context.link.note_all_read(false);
                    Box::pin(self.upgrades.serve(session, context, route, stopped)).await
                }
                None => next_request(session, &context.link).await,
            }
        })
    }
}

/// Hands the connection back for its next request, if it takes one.
async fn next_request(mut session: ServerSession, link: &Link) -> Option<ReusedHttpStream> {
    let mut settings = HttpPersistentSettings::for_session(&session);
    let is_read = session.is_body_done();
    let reusable = match session {
        // The response is written. What will not be used again is left to pingora to close.
        ServerSession::H1(session) if is_read && session.will_keepalive() => reuse(session),
        session => Box::pin(session.finish()).await.ok().flatten(),
    };
    let (stream, begun) = reusable?.into_parts();
    link.note_all_read(begun.is_none());
    if let Some(begun) = begun {
        settings.set_pipelined_prefix(begun);
    }
    Some(ReusedHttpStream::new(stream, Some(settings)))
}

/// Takes the connection out of a session whose request is read: nothing is left to wait for then, and the future of each request
/// needs no room for its state.
fn reuse(session: HttpSession) -> Option<ReusableHttpStream> {
    let mut context = std::task::Context::from_waker(Waker::noop());
    match pin!(session.reuse()).poll(&mut context) {
        Poll::Ready(reusable) => reusable.ok().flatten(),
        Poll::Pending => None,
    }
}

/// Reads the head of a request; false if there is none to be answered.
async fn read_head(session: &mut ServerSession) -> bool {
    let status = match session.read_request().await {
        // Tunnels change what a message is (RFC 9110, 9.3.6), and nobody asks a backend for one.
        Ok(true) if session.req_header().method == http::Method::CONNECT => 405,
        Ok(is_there) => return is_there,
        Err(error) if *error.etype() == ErrorType::InvalidHTTPHeader => 400,
        Err(_) => return false,
    };
    // Whether the client takes it or not, its connection ends.
    let _ = Box::pin(session.respond_error(status)).await;
    Box::pin(session.shutdown()).await;
    false
}

/// Whether a request may be relayed, as far as its head tells.
fn admit(session: &mut ServerSession, limits: &Limits) -> Result<(), Refusal> {
    let head = session.as_http1().map(|h1| h1.get_headers_raw_bytes());
    if head.as_ref().is_some_and(|head| head.len() > limits.max_header_size) {
        return Err(Refusal::HEAD_TOO_LARGE);
    }
    if let Err(doubt) = in_doubt(session.req_header(), head.as_deref()) {
        // Where its body ends is in doubt too, and with it where the next request begins.
        session.set_keepalive(None);
        return Err(Refusal::from(doubt));
    }
    match limits.max_request_body {
        Some(max) if announces_more_than(session.req_header(), max) => Err(Refusal::BODY_TOO_LARGE),
        _ => Ok(()),
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
