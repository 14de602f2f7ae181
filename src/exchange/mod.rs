//! One request and its response, from choosing a server to the end of the body. Reading requests belongs to
//! `downstream`, connecting to `upstream`, and the meaning of events to `session`.

mod account;
mod alarms;
mod attempt;
mod body;
mod client_limits;
mod early_heartbeat;
mod failover;
mod grpc;
mod hash_key;
mod key_members;
mod max_forwards;
mod observer;
mod pieces;
mod placement;
mod prefill;
mod proxy;
mod relay;
mod relay_ends;
mod relaying;
mod request_members;
mod shutdown;
mod stream_request;
mod treatment;
mod upload;
mod verdict;
mod websocket;
mod websocket_frames;

use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::headers::{TraceContext, hop_by_hop, stream_response};
use client_limits::ClientSlot;
use prefill::{Answered, UpstreamAnswer};
use relay::Relay;
use relaying::RunningRelay;
use treatment::{Stream, Treatment};

use crate::config::{Listener, OnDisconnect, StreamPolicy};
use crate::downstream::{Client, ClientLost, LocalReply, Served, send_reply};
use crate::http1::{RequestHead, ResponseHead, has_body};
use crate::outcome::{EndedBy, Failure, Outcome, Phase};
use crate::routing::Route;
use crate::session::{Asked, Waiting};
use crate::telemetry::metrics::{GaugeGuard, ModelMetrics};
use crate::telemetry::{LiveEntry, Record};
use crate::upstream::{Connection, Seat, Use};
use upload::Upload;

pub use proxy::{Proxy, ProxyState};
pub use relaying::Relaying;
pub use request_members::RequestMembers;
pub use shutdown::Shutdown;

/// How an exchange ended, and what its client saw.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub outcome: Outcome,
    /// The status that the client received, if any.
    pub status: Option<StatusCode>,
    pub kind: ResponseKind,
}

/// The kind of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    /// There was no response from the backend.
    Unknown,
    EventStream,
    /// `received` counts the bytes from the client; `closed_by` is the side that sent the first close frame.
    WebSocket {
        received: u64,
        closed_by: Option<&'static str>,
    },
    Other,
    /// The request was rejected, possibly in the middle of its body.
    Refused,
}

impl ResponseKind {
    /// The value in the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unanswered",
            Self::EventStream => "stream",
            Self::WebSocket { .. } => "websocket",
            Self::Other => "other",
            Self::Refused => "refused",
        }
    }
}

/// The initial data of an exchange.
pub struct Begun {
    pub proxy: Arc<ProxyState>,
    pub listener: Arc<Listener>,
    pub route: Arc<Route>,
    pub record: Arc<Record>,
    pub trace: TraceContext,
    pub asks_for_websocket: bool,
    pub passes_trailers: bool,
    pub names_server: bool,
}

/// The state of an exchange that all its phases share.
pub struct Exchange {
    pub proxy: Arc<ProxyState>,
    /// The listener that received the request.
    pub listener: Arc<Listener>,
    pub route: Arc<Route>,
    pub record: Arc<Record>,
    /// Lists the request among the live ones.
    _shown: LiveEntry,
    pub trace: TraceContext,
    /// The time at which the request head was read.
    pub started: Instant,
    pub upload: Upload,
    /// The deadlines and heartbeats until the response head arrives.
    pub waiting: Waiting,
    /// Whether the head of an event stream was sent, so that no other status can be sent.
    pub has_begun: bool,
    pub asks_for_websocket: bool,
    /// Whether the request is a gRPC call.
    pub is_grpc: bool,
    /// Whether the trailers of the response are forwarded to the client.
    pub passes_trailers: bool,
    /// Whether `Host` is set to the chosen server.
    pub names_server: bool,
    /// The current or most recent server.
    pub seat: Option<Seat>,
    /// Whether the exchange has reported its verdict on that server.
    pub is_judged: bool,
    /// Counts the request against the limit of its client.
    pub client_slot: Option<ClientSlot>,
    /// Deadline for reading the response of a client that has left (`on_disconnect: drain`).
    drain_end: Option<Instant>,
}

impl Exchange {
    // Boxed, because every function that takes it would otherwise hold a copy in its future.
    pub fn new(begun: Begun, client: &Client) -> Box<Self> {
        let Begun {
            proxy,
            listener,
            route,
            record,
            trace,
            asks_for_websocket,
            passes_trailers,
            names_server,
        } = begun;
        let (started, is_grpc) = (record.started(), client.is_grpc());
        let mut waiting = Waiting::new(&route.config.stream.session, started.into_std());
        if is_grpc {
            waiting.stop_heartbeats();
        }
        let upload = Upload::new(client.is_body_read(), &route.config.upstream.failover);
        Box::new(Self {
            _shown: proxy.live.show(record.clone()),
            proxy,
            listener,
            route,
            record,
            trace,
            started,
            upload,
            waiting,
            has_begun: false,
            asks_for_websocket,
            is_grpc,
            passes_trailers,
            names_server,
            seat: None,
            is_judged: false,
            client_slot: None,
            drain_end: None,
        })
    }

    pub fn policy(&self) -> &StreamPolicy {
        &self.route.config.stream
    }

    /// The purpose of the upstream connection.
    pub fn connection_use(&self) -> Use {
        match self {
            Self { asks_for_websocket: true, .. } => Use::Upgrade,
            Self { is_grpc: true, .. } => Use::Grpc,
            _ => Use::Exchange,
        }
    }

    /// The deadline of the whole exchange.
    pub fn max_duration_end(&self) -> Option<Instant> {
        let end = self.policy().session.max_duration.map(|limit| self.started + limit);
        [end, self.drain_end].into_iter().flatten().min()
    }

    /// The metrics of the requested model.
    pub fn model(&self) -> Arc<ModelMetrics> {
        self.route.metrics.model(self.record.model())
    }

    /// What the request reveals about the stream that will answer it.
    pub fn asked(&self, request: &RequestHead) -> Asked {
        let is_mcp =
            request.fields.contains("Mcp-Session-Id") || request.fields.contains("Mcp-Protocol-Version");
        let is_get = request.method == Method::GET;
        if is_get {
            return Asked::of_listener(is_mcp);
        }
        Asked::of_request(&request.path(), is_mcp, self.upload.whole().as_deref())
    }

    /// Sends uploaded data upstream. A backend that accepts no more ends the upload but not the exchange: its
    /// response may already be on the way. Nothing is sent while the connection has a backlog.
    pub async fn forward_upload(&mut self, connection: &mut Connection) {
        while self.upload.is_closed() || connection.link().is_clear() {
            self.forward_piece(connection).await;
            if !self.upload.has_piece() {
                return;
            }
        }
    }

    async fn forward_piece(&mut self, connection: &mut Connection) {
        let piece = self.upload.take_piece();
        if self.record.model().is_none()
            && let Some(model) = self.upload.members().model()
        {
            self.record.set_model(model);
        }
        if self.upload.is_closed() {
            return;
        }
        let mut result = Ok(());
        if let Some(piece) = piece {
            result = connection.write_body(&piece).await;
            self.waiting.handle_sent(Instant::now().into_std());
        }
        if self.upload.is_read() && !self.upload.has_piece() && result.is_ok() {
            result = connection.finish_body().await;
            self.upload.close();
        }
        if result.is_err() {
            self.upload.close();
        }
    }

    /// Continues without a client that is gone, if `on_disconnect: drain` is set and the backend has the
    /// whole request. Returns whether it does. From then on, nothing is read from the client or written to
    /// it.
    pub fn try_read_on(&mut self, client: &mut Client, lost: ClientLost, phase: Phase) -> bool {
        let goes_on = lost == ClientLost::Gone
            && self.policy().on_disconnect == OnDisconnect::Drain
            && !self.is_grpc
            && self.upload.is_read()
            && self.upload.is_closed();
        if goes_on {
            client.leave(phase);
            self.drain_end = Some(Instant::now() + self.policy().drain_timeout);
        }
        goes_on
    }

    /// Closes the upstream connection of a client that is gone or too slow. `upstream` owns that connection.
    pub async fn cancel(&self, upstream: impl Send, lost: ClientLost, phase: Phase) -> Outcome {
        let noticed = Instant::now();
        drop(upstream);
        let outcome = match lost {
            ClientLost::Gone => {
                self.route.metrics.observe_cancel(phase, noticed.elapsed().as_secs_f64());
                Outcome::ClientGone(phase)
            }
            ClientLost::Slow => Outcome::SlowReader,
        };
        // If many clients leave at once, this yield lets all upstream connections close before any cleanup.
        tokio::task::yield_now().await;
        outcome
    }
}

/// Relays a request and its response. Returns when the exchange is over or its relay can run on the fast
/// path.
pub async fn run(
    mut client: Box<Client>,
    mut exchange: Box<Exchange>,
    request: RequestHead,
) -> Served<Relaying> {
    let (waiting, proxy) = (GaugeGuard::new(&exchange.route.metrics.waiting), exchange.proxy.clone());
    let answered = match exchange.count_for_client(&client) {
        Err(failure) => Err(failure.into()),
        Ok(()) => tokio::select! {
            biased;
            answered = prefill::run(&mut client, &mut exchange, request) => answered,
            () = proxy.shutdown.wait() => Err(Failure::ShuttingDown.into()),
        },
    };
    let ended = match answered {
        Ok(Answered::Response(mut answer)) => {
            let at_once = match exchange.is_grpc {
                true => Box::pin(grpc::answer_at_once(&mut client, &exchange, &mut answer)).await,
                false => None,
            };
            match at_once {
                Some(ended) => ended,
                None => return relay_response(client, exchange, answer, waiting).await,
            }
        }
        Ok(Answered::Switched(switched)) => {
            exchange.judge_trial();
            drop(waiting);
            Box::pin(websocket::run(&mut client, &exchange, switched)).await
        }
        Err(outcome) => return Box::pin(end_without_response(client, exchange, outcome, waiting)).await,
    };
    exchange.end(&client, ended);
    Served::Answered(client)
}

async fn relay_response(
    mut client: Box<Client>,
    mut exchange: Box<Exchange>,
    answer: UpstreamAnswer,
    waiting: GaugeGuard,
) -> Served<Relaying> {
    let UpstreamAnswer { mut body, head, treatment, begun } = answer;
    let stream = match treatment {
        Treatment::Stream(stream) => Some(stream),
        Treatment::Opaque | Treatment::Undecided => None,
    };
    // The verdict on a stream waits for its first event.
    if stream.is_none() {
        exchange.judge_trial();
    }
    let (unbegun, phase) = match stream {
        Some(_) => (ResponseKind::Unknown, Phase::Streaming),
        None => (ResponseKind::Other, Phase::Body),
    };
    let mut status = head.status;
    if exchange.has_begun {
        status = StatusCode::OK;
    } else if let Err(lost) = client.begin(response_head(&client, &exchange, head, stream))
        && !exchange.try_read_on(&mut client, lost, phase)
    {
        let outcome = exchange.cancel(body, lost, phase).await;
        client.abandon();
        exchange.end(&client, Ended { outcome, status: None, kind: unbegun });
        return Served::Answered(client);
    }
    if stream.is_some() {
        body.connection.expect_stream();
        client.expect_stream();
    }
    let waiting = stream.map(|_| waiting);
    let relay = Relay::new(client, exchange, waiting, stream, &begun);
    drop(begun);
    RunningRelay::new(relay, body, status).begin().await
}

fn response_head(
    client: &Client,
    exchange: &Exchange,
    mut head: ResponseHead,
    stream: Option<Stream>,
) -> ResponseHead {
    let (version, has_body) = (client.version(), has_body(&client.request().method, head.status));
    hop_by_hop::downstream_response(&mut head.fields, version, has_body, exchange.passes_trailers);
    if let Some(stream) = stream {
        stream_response(&mut head.fields, version, stream.format, stream.coding.is_some());
    }
    head
}

/// Answers with a status, or with an error event if the head of a stream was already sent. If the client is
/// gone, it answers nothing.
async fn end_without_response(
    mut client: Box<Client>,
    exchange: Box<Exchange>,
    outcome: Outcome,
    waiting: GaugeGuard,
) -> Served<Relaying> {
    let has_begun = exchange.has_begun;
    let fault = outcome.fault();
    let is_clients = outcome.ended_by() == EndedBy::Client;
    let reply = match fault {
        Some(fault) if has_begun && !is_clients => {
            let mut relay = Relay::new(client, exchange, Some(waiting), Some(Stream::EVENTS), &[]);
            let outcome = relay.fail_unanswered(fault).await;
            return Served::Answered(relay.end(outcome, StatusCode::OK));
        }
        Some(fault) if !has_begun => LocalReply::from(fault),
        _ => {
            client.abandon();
            let status = has_begun.then_some(StatusCode::OK);
            exchange.end(&client, Ended { outcome, status, kind: ResponseKind::Unknown });
            return Served::Answered(client);
        }
    };
    drop(waiting);
    if exchange.is_grpc {
        exchange.record.set_grpc_status(reply.grpc_status.code());
    }
    let status = send_reply(&mut client, reply).await;
    let is_refused = is_clients || fault == Some(Failure::GrpcOverHttp1.into());
    let kind = if is_refused { ResponseKind::Refused } else { ResponseKind::Unknown };
    exchange.end(&client, Ended { outcome, status, kind });
    Served::Answered(client)
}
