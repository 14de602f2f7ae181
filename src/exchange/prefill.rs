//! The time before the response header: a connection is found, the request is sent, the model reads its prompt.

use std::future::poll_fn;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep_until};

use super::Exchange;
use super::body::Body;
use super::stream_request::{accepts_event_stream, asks_for_stream};
use super::treatment::{Stream, Treatment};
use super::upload::ClientEvent;
use crate::config::TreatAsEventStream;
use crate::downstream::{Client, ClientLost};
use crate::headers::hop_by_hop;
use crate::http1::{RequestHead, ResponseHead};
use crate::net::descriptors;
use crate::outcome::{EndedBy, Failure, Fault, Outcome, Phase};
use crate::session::begins_with_event;
use crate::upstream::{BodyProgress, ConnectError, Connection, HeadError};

/// How long the head of a text is held back, and the beginning of it, while that may be an event and is none beyond doubt.
const DOUBT: Duration = Duration::from_secs(1);

/// How often a request is sent again that its backend has not looked at.
const MAX_RESENDS: u32 = 2;

/// A response whose body is still to be relayed.
pub struct UpstreamAnswer {
    pub body: Box<Body>,
    pub head: ResponseHead,
    pub treatment: Treatment,
    /// What was read of the body to decide that.
    pub begun: Vec<u8>,
}

/// What a backend has answered.
pub enum Answered {
    Response(UpstreamAnswer),
    /// The connection is a WebSocket's from now on.
    Switched(Box<Switched>),
}

/// A connection that has changed its protocol.
pub struct Switched {
    pub connection: Connection,
    /// As it goes to the client.
    pub head: ResponseHead,
}

/// Gets the final response head, over a pooled connection or a new one.
///
/// What seldom happens is boxed, in here and below: its state would be made room for with every request.
pub async fn run(
    client: &mut Client,
    exchange: &mut Exchange,
    mut request: RequestHead,
) -> Result<Answered, Outcome> {
    if exchange.is_grpc && !exchange.route.upstream.config().servers[0].origin.protocol.is_http2() {
        return Err(Failure::GrpcOverHttp1.into());
    }
    let mut resends = 0;
    let mut connection = match exchange.route.upstream.pooled(exchange.connection_use()).await {
        Some(connection) => connection,
        None => Box::pin(open(client, exchange)).await?,
    };
    exchange.record.set_phase(Phase::Prefill);
    loop {
        let may_resend = resends < MAX_RESENDS;
        let attempt =
            Attempt { client, exchange, connection: &mut connection, request: &mut request, may_resend };
        match attempt.run().await {
            Ok(head) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                return Ok(Answered::Switched(Box::new(Switched { connection, head })));
            }
            Ok(head) => return look_at(client, exchange, connection, head).await.map(Answered::Response),
            Err(NoHead::Unprocessed) => {
                tracing::debug!("the backend has not looked at the request: sending it once more");
                resends += 1;
                drop(connection);
                exchange.upload.reopen();
                connection = Box::pin(open(client, exchange)).await?;
            }
            Err(no_head) => {
                if no_head.is_timeout() {
                    connection.distrust();
                }
                return Err(Box::pin(give_up(exchange, connection, no_head)).await);
            }
        }
    }
}

/// Opens a connection while watching the client.
async fn open(client: &mut Client, exchange: &mut Exchange) -> Result<Connection, Outcome> {
    let upstream = exchange.route.upstream.clone();
    let mut opening = Box::pin(upstream.open(exchange.connection_use()));
    let (began, proxy) = (Instant::now(), exchange.proxy.clone());
    loop {
        let lost = tokio::select! {
            opened = &mut opening => return opened.map_err(|error| {
                let (upstream, request_id) = (&upstream.config().name, &exchange.record.request_id);
                match error {
                    ConnectError::NoDescriptors { .. } => descriptors::note_refused(),
                    _ => tracing::warn!(upstream, request_id, tried_for = ?began.elapsed(), %error, "no connection to the upstream"),
                }
                Outcome::Failed(error.fault())
            }),
            event = exchange.upload.watch(client) => match event {
                ClientEvent::Uploaded => continue,
                ClientEvent::Gone => ClientLost::Gone,
                ClientEvent::BadBody(bad) => return Err(bad.into()),
            },
            // A look-up may hang for longer than anybody who stops a process waits.
            () = proxy.shutdown.has_begun(), if !upstream.is_located() => match upstream.is_located() {
                true => continue,
                false => return Err(Failure::ShuttingDown.into()),
            },
            () = until(exchange.waiting.next_heartbeat()) => match exchange.send_early_heartbeat(client).await {
                Ok(()) => continue,
                Err(lost) => lost,
            },
        };
        return Err(exchange.cancel(opening, lost, Phase::Connecting).await);
    }
}

/// Decides what is done with the body, if necessary by its first bytes.
async fn look_at(
    client: &mut Client,
    exchange: &mut Exchange,
    connection: Connection,
    head: ResponseHead,
) -> Result<UpstreamAnswer, Outcome> {
    let (method, policy) = (&client.request().method, exchange.policy());
    let mut treatment = if exchange.is_grpc {
        Treatment::Opaque
    } else if exchange.has_begun {
        Treatment::of_begun(&head, method, policy).map_err(Outcome::Failed)?
    } else {
        Treatment::of(&head, method, asks_for_stream(client.request(), &exchange.upload), policy)
    };
    let mut body = Box::new(Body::new(connection, treatment.coding()));
    let mut begun = Vec::new();
    if treatment == Treatment::Undecided {
        match Box::pin(begins_with_events(client, exchange, &mut body, &mut begun)).await {
            Ok(true) => treatment = Treatment::Stream(Stream::EVENTS),
            Ok(false) => treatment = Treatment::Opaque,
            Err(no_head) => return Err(give_up(exchange, body, no_head).await),
        }
    }
    Ok(UpstreamAnswer { body, head, treatment, begun })
}

/// Reads the beginning of a body, as much as it takes to tell.
async fn begins_with_events(
    client: &mut Client,
    exchange: &mut Exchange,
    body: &mut Body,
    begun: &mut Vec<u8>,
) -> Result<bool, NoHead> {
    let link = body.connection.link();
    let doubt_end = Some(Instant::now() + DOUBT);
    loop {
        if let Some(verdict) = begins_with_event(begun) {
            return Ok(verdict);
        }
        let (deadline, late) = deadline(exchange);
        tokio::select! {
            biased;
            event = exchange.upload.watch(client) => heed(client, exchange, event)?,
            read = poll_fn(|cx| body.poll_read(cx, &mut |bytes| begun.extend_from_slice(bytes))) => match read {
                Ok(BodyProgress::More | BodyProgress::Waits) => {}
                Ok(BodyProgress::End) => return Ok(begins_with_event(begun).unwrap_or(false)),
                Err(fault) => return Err(NoHead::Fault(fault)),
            },
            () = link.cleared(), if exchange.upload.waits() => {}
            () = until(doubt_end) => return Ok(false),
            () = until(deadline) => return Err(late),
        }
        exchange.forward_upload(&mut body.connection).await;
    }
}

async fn give_up(exchange: &Exchange, upstream: impl Send, no_head: NoHead) -> Outcome {
    match no_head {
        // Only another connection can help there, and there was one already.
        NoHead::Unprocessed => Failure::Closed.into(),
        NoHead::Fault(fault) if fault.failure.facts().ended_by == EndedBy::Client => Outcome::Failed(fault),
        NoHead::Fault(fault) => {
            let (upstream, server) = (&*exchange.record.upstream, &*exchange.record.server);
            let request_id = &exchange.record.request_id;
            tracing::warn!(upstream, server, request_id, error = %fault.code(), cause = fault.cause.map(tracing::field::display), "no response from the upstream");
            Outcome::Failed(fault)
        }
        NoHead::Client(lost) => exchange.cancel(upstream, lost, Phase::Prefill).await,
    }
}

/// Takes notice of what a client did while its response is waited for.
fn heed(client: &mut Client, exchange: &mut Exchange, event: ClientEvent) -> Result<(), NoHead> {
    match event {
        ClientEvent::Uploaded => Ok(()),
        ClientEvent::Gone if exchange.try_read_on(client, ClientLost::Gone, Phase::Prefill) => Ok(()),
        ClientEvent::Gone => Err(NoHead::Client(ClientLost::Gone)),
        ClientEvent::BadBody(bad) => Err(NoHead::Fault(bad.into())),
    }
}

/// When the first event, or the head of another response, must be there, and what it is if it is not.
fn deadline(exchange: &Exchange) -> (Option<Instant>, NoHead) {
    let (policy, end) = (&exchange.policy().session, exchange.max_duration_end().map(Instant::into_std));
    // A call of gRPC may stay open on both sides for as long as it runs, so that nobody in particular is waited for.
    let awaits_client = exchange.upload.awaits_client() && !exchange.is_grpc;
    let (end, failure) = exchange.waiting.end(policy, end, awaits_client);
    (end.map(Instant::from_std), NoHead::Fault(failure.into()))
}

/// Why there is no response head.
enum NoHead {
    Fault(Fault),
    Client(ClientLost),
    /// The backend has not looked at the request, which may be sent once more over another connection.
    Unprocessed,
}

impl NoHead {
    /// Whether the backend was given up because it took too long.
    fn is_timeout(&self) -> bool {
        matches!(self, Self::Fault(fault) if fault.failure == Failure::FirstEventTimeout)
    }
}

/// The request on one connection.
struct Attempt<'a> {
    client: &'a mut Client,
    exchange: &'a mut Exchange,
    connection: &'a mut Connection,
    request: &'a mut RequestHead,
    may_resend: bool,
}

impl Attempt<'_> {
    async fn run(mut self) -> Result<ResponseHead, NoHead> {
        self.ask_for_identity().await?;
        if self.exchange.passes_trailers {
            self.connection.keep_trailers();
        }
        let has_body = !self.exchange.upload.is_empty();
        let sent = self.connection.write_head(self.request, has_body).await;
        sent.or_else(|error| self.failed(error))?;
        self.exchange.waiting.handle_sent(Instant::now().into_std());
        // On a second connection: what the first one has taken.
        for piece in self.exchange.upload.kept().to_vec() {
            let sent = self.connection.write_body(&piece).await;
            sent.or_else(|fault| self.failed(HeadError::unanswered(fault)))?;
        }
        loop {
            self.exchange.forward_upload(self.connection).await;
            if let Some(head) = self.turn().await? {
                return Ok(head);
            }
        }
    }

    /// Asks for an answer in no content coding if a stream is asked for: each coding makes some backend buffer.
    async fn ask_for_identity(&mut self) -> Result<(), NoHead> {
        let accepts_coding = self.request.fields.contains("Accept-Encoding");
        let is_never = self.exchange.policy().treat_as_event_stream == TreatAsEventStream::Never;
        if !accepts_coding || is_never || self.exchange.is_grpc {
            return Ok(());
        }
        let is_awaited = may_tell_by_its_body(self.client.request());
        while is_awaited && self.exchange.upload.piece().is_none() && !self.exchange.upload.is_read() {
            let (deadline, late) = deadline(self.exchange);
            tokio::select! {
                event = self.exchange.upload.watch(self.client) => heed(self.client, self.exchange, event)?,
                () = until(deadline) => return Err(late),
            }
        }
        if asks_for_stream(self.client.request(), &self.exchange.upload) {
            self.request.fields.set("Accept-Encoding", "identity");
        }
        Ok(())
    }

    /// Waits for one thing to happen; returns the final head when it is there.
    async fn turn(&mut self) -> Result<Option<ResponseHead>, NoHead> {
        let link = self.connection.link();
        let (deadline, late) = deadline(self.exchange);
        tokio::select! {
            biased;
            event = self.exchange.upload.watch(self.client) => {
                heed(self.client, self.exchange, event).map(|()| None)
            }
            head = self.connection.read_head() => match head {
                Ok(head) => self.received(head).await,
                Err(error) => self.failed(error).map(|()| None),
            },
            () = link.cleared(), if self.exchange.upload.waits() => Ok(None),
            () = until(deadline) => Err(late),
            () = until(self.exchange.waiting.next_heartbeat()) => {
                match Box::pin(self.exchange.send_early_heartbeat(self.client)).await {
                    Err(lost) if !self.exchange.try_read_on(self.client, lost, Phase::Prefill) => {
                        Err(NoHead::Client(lost))
                    }
                    _ => Ok(None),
                }
            }
        }
    }

    /// Passes informational responses on (RFC 9110, 15.2) and returns the final one.
    async fn received(&mut self, mut head: ResponseHead) -> Result<Option<ResponseHead>, NoHead> {
        if !head.status.is_informational() {
            let waited = (Instant::now().into_std() - self.exchange.waiting.sent()).as_secs_f64();
            self.exchange.route.metrics.upstream_header.observe(waited);
            return Ok(Some(head));
        }
        let version = self.client.version();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // Nothing else was asked for that could be switched to.
            let is_asked =
                self.exchange.asks_for_websocket && hop_by_hop::switching_response(&mut head.fields);
            return if is_asked { Ok(Some(head)) } else { Err(NoHead::Fault(Failure::Invalid.into())) };
        }
        // HTTP/1.0 has no informational responses, and after a final head it is too late for them.
        if version == http::Version::HTTP_11 && !self.exchange.has_begun {
            hop_by_hop::downstream_response(&mut head.fields, version, false, false);
            Box::pin(self.client.write_head(head)).await.map_err(NoHead::Client)?;
        }
        Ok(None)
    }

    fn failed(&mut self, error: HeadError) -> Result<(), NoHead> {
        let died = matches!(error.fault.failure, Failure::Closed | Failure::Reset);
        let unanswered = died && error.before_any_byte && self.connection.is_reused();
        // RFC 9110, 9.2.2; and only if all that was sent of the body is still here.
        let may_repeat = error.is_unprocessed || (unanswered && self.request.method.is_idempotent());
        if may_repeat && self.may_resend && self.exchange.upload.is_kept() {
            return Err(NoHead::Unprocessed);
        }
        Err(NoHead::Fault(error.fault))
    }
}

async fn until<I: Into<Instant>>(deadline: Option<I>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Whether the beginning of the request's body is worth waiting for, because it says what is asked for. Only where it is on
/// its way: a client that expects something first would be waited for in vain.
fn may_tell_by_its_body(request: &RequestHead) -> bool {
    let fields = &request.fields;
    !accepts_event_stream(fields) && fields.contains("Content-Length") && !fields.contains("Expect")
}
