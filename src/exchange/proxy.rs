//! The entry point for requests: selects the route, and starts the relay or answers locally.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::StatusCode;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Shutdown;
use super::account::CLIENT_CLOSED_REQUEST;
use super::client_limits::ClientLimits;
use super::max_forwards::{self, Recipient};
use super::{Begun, Exchange, Relaying};
use crate::config::{Limits, Listener};
use crate::downstream::{App, Bounds, Client, LocalReply, Served, send_reply};
use crate::headers::forwarded::Hop;
use crate::headers::hop_by_hop::{self, UpstreamRequest};
use crate::http1::{BadHead, BodyDecoder, RequestHead};
use crate::outcome::Failure;
use crate::routing::{Route, RoutingTable};
use crate::telemetry::AccessLog;
use crate::telemetry::metrics::RequestCounter;
use crate::telemetry::{LiveStreams, Record};
use crate::telemetry::{LogLine, clipped};

/// State shared by the proxies of all listeners.
pub struct ProxyState {
    /// Replaced as a whole by a reload.
    pub table: ArcSwap<RoutingTable>,
    /// Counts requests that match no route.
    pub unrouted: RequestCounter,
    /// The counts survive reloads.
    pub client_limits: Arc<ClientLimits>,
    pub live: Arc<LiveStreams>,
    pub log: AccessLog,
    pub shutdown: Shutdown,
}

impl ProxyState {
    /// Updates the metrics that are not updated with each event, before they are read.
    pub fn report(&self) {
        self.live.report();
        self.table.load().all_upstreams().for_each(|upstream| upstream.report());
    }
}

/// Answers the requests of one listener.
pub struct Proxy {
    shared: Arc<ProxyState>,
    /// Replaced by a reload.
    listener: Arc<ArcSwap<Listener>>,
}

/// The context of one request.
struct Context {
    started: Instant,
    listener: Arc<Listener>,
}

impl Context {
    fn hop(&self, client: &Client) -> Hop<'_> {
        Hop { peer: client.peer(), listener: &self.listener }
    }
}

impl Proxy {
    pub fn new(shared: Arc<ProxyState>, listener: Arc<ArcSwap<Listener>>) -> Self {
        Self { shared, listener }
    }

    fn context(&self) -> Context {
        Context { started: Instant::now(), listener: self.listener.load_full() }
    }

    /// Answers a request that is not relayed.
    async fn answer_locally(&self, client: &mut Client, context: &Context, reply: LocalReply) {
        client.set_bounds(Bounds::default());
        let status = send_reply(client, reply).await;
        let grpc_status = Some(reply.grpc_status.code()).filter(|_| client.is_grpc());
        self.note_local(client, context, status.map(|status| status.as_u16()), Some(reply.code), grpc_status);
    }

    /// Counts and logs a request that an internal app answered. `status` is `None` if the response was not
    /// completed.
    pub fn note_answered(&self, client: &Client, started: Instant, status: Option<StatusCode>) {
        let context = Context { started, listener: self.listener.load_full() };
        self.note_local(client, &context, status.map(|status| status.as_u16()), None, None);
    }

    /// Counts and logs a request that was not relayed.
    fn note_local(
        &self,
        client: &Client,
        context: &Context,
        status: Option<u16>,
        code: Option<&str>,
        grpc_status: Option<u8>,
    ) {
        let status = status.unwrap_or(CLIENT_CLOSED_REQUEST);
        self.shared.unrouted.count(status);
        self.log("refused", client, context, status, |line| {
            line.ids(client.request().fields.value(hop_by_hop::X_REQUEST_ID).unwrap_or_default(), None);
            line.error(code);
            line.grpc_status(grpc_status);
        });
    }

    /// Writes the access log line of a finished request.
    fn log(
        &self,
        kind: &str,
        client: &Client,
        context: &Context,
        status: u16,
        add: impl FnOnce(&mut LogLine),
    ) {
        let log = &self.shared.log;
        if log.is_on() {
            let mut line =
                LogLine::of(client.request(), context.hop(client).client(&client.request().fields));
            add(&mut line);
            log.write(line.end(kind, status, context.started.elapsed().as_secs_f64()));
        }
    }

    async fn relay(
        &self,
        mut client: Box<Client>,
        context: Context,
        route: Arc<Route>,
        max_body: Option<usize>,
    ) -> Served<Relaying> {
        let (has_body, hop) = (!client.is_body_read(), context.hop(&client));
        let upstream = &route.config.upstream;
        let upstream_request =
            hop_by_hop::upstream_request(client.request(), has_body, client.is_grpc(), hop, upstream);
        let UpstreamRequest { head: mut request, trace, asks_for_websocket, takes_trailers, names_server } =
            upstream_request;
        max_forwards::count_down(&mut request);
        let policy = &route.config.stream;
        let (write_timeout, half_close) = (policy.write_timeout, policy.half_close);
        client.set_bounds(Bounds { write_timeout, max_body, half_close });
        let request_id = clipped(request.fields.value(hop_by_hop::X_REQUEST_ID).unwrap_or_default());
        let record = Arc::new(Record::new(route.names.clone(), request_id, context.started));
        let (proxy, listener) = (self.shared.clone(), context.listener);
        let begun = Begun {
            proxy,
            listener,
            route,
            record,
            trace,
            asks_for_websocket,
            passes_trailers: takes_trailers,
            names_server,
        };
        let exchange = Exchange::new(begun, &client);
        super::run(client, exchange, request).await
    }
}

impl App for Proxy {
    type Relay = Relaying;

    async fn serve(&self, mut client: Box<Client>, _: &watch::Receiver<bool>) -> Served<Relaying> {
        let (context, table) = (self.context(), self.shared.table.load_full());
        let limits = &table.limits;
        let route = match admit(client.request(), limits) {
            Err(reply) => {
                // The following bytes may be meant for a tunnel, or belong to the oversized body.
                client.set_last();
                Err(reply)
            }
            Ok(()) => {
                if let Some(recipient) = Recipient::of(client.request()) {
                    let status = Box::pin(recipient.answer(&mut client)).await;
                    self.note_local(&client, &context, status, None, None);
                    return Served::Answered(client);
                }
                match client.is_grpc() && !client.is_http2() {
                    true => Err(LocalReply::GRPC_OVER_HTTP1),
                    false => table.route(client.request()).ok_or(LocalReply::NO_ROUTE),
                }
            }
        };
        let max_request_body = limits.max_request_body;
        drop(table);
        match route {
            Ok(route) => self.relay(client, context, route, max_request_body).await,
            Err(reply) => {
                Box::pin(self.answer_locally(&mut client, &context, reply)).await;
                Served::Answered(client)
            }
        }
    }

    async fn refuse(&self, client: &mut Client, why: BadHead) {
        Box::pin(self.answer_locally(client, &self.context(), why.into())).await;
    }
}

/// Whether a request may be relayed, judging by its head.
fn admit(request: &RequestHead, limits: &Limits) -> Result<(), LocalReply> {
    // A CONNECT tunnel has no HTTP messages (RFC 9110, 9.3.6), and no backend needs one.
    if request.method == http::Method::CONNECT {
        return Err(LocalReply::CONNECT);
    }
    match (limits.max_request_body, request.body()) {
        (Some(max), BodyDecoder::Length(length)) if length > max as u64 => Err(Failure::BodyTooLarge.into()),
        _ => Ok(()),
    }
}
