//! The time before the response head: finds a connection, sends the request, and waits while the model reads
//! its prompt.

use std::future::poll_fn;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::Exchange;
use super::attempt::{Attempt, AttemptFailure, NoHead, deadline, handle_client_event, until};
use super::body::Body;
use super::failover::{self, ServerFailure};
use super::hash_key;
use super::placement;
use super::stream_request::asks_for_stream;
use super::treatment::{Stream, Treatment};
use super::upload::ClientEvent;
use crate::config::{Balance, FailoverOn};
use crate::downstream::{Client, ClientLost};
use crate::http1::{RequestHead, ResponseHead};
use crate::net::descriptors;
use crate::outcome::{EndedBy, Failure, Fault, Outcome, Phase};
use crate::session::begins_with_event;
use crate::upstream::{BodyProgress, ConnectError, Connection, Needs, Slot};

/// How long the head and the start of a text response are held back while the text may still turn out to be
/// an event stream.
const DOUBT: Duration = Duration::from_secs(1);

/// How often a request is resent that its backend did not process.
const MAX_RESENDS: u32 = 2;

/// A response whose body is still to be relayed.
pub struct UpstreamAnswer {
    pub body: Box<Body>,
    pub head: ResponseHead,
    pub treatment: Treatment,
    /// The part of the body that was read to decide on the treatment.
    pub begun: Vec<u8>,
}

/// The answer of a backend.
pub enum Answered {
    Response(UpstreamAnswer),
    /// The connection is now a WebSocket.
    Switched(Box<Switched>),
}

/// A connection that has switched protocols.
pub struct Switched {
    pub connection: Connection,
    /// The head to send to the client.
    pub head: ResponseHead,
}

/// Gets the final response head, from one server or another.
///
/// Rare cases are boxed, here and below, so that their state does not enlarge the future of every request.
pub async fn run(
    client: &mut Client,
    exchange: &mut Exchange,
    mut request: RequestHead,
) -> Result<Answered, Outcome> {
    let mut needs = placement::needs(client, exchange);
    if exchange.route.config.upstream.balance == Balance::Hash {
        needs.key = Box::pin(hash_key::find(client, exchange)).await?;
    }
    let mut slot = placement::place(client, exchange, &needs).await?;
    let (body, head) = loop {
        exchange.begin_attempt(&slot, &mut request);
        let attempted = on_server(client, exchange, &mut request, slot, &needs).await;
        if let Err(NoAnswer::Failed(failure)) = &attempted {
            // Recorded regardless of whether failover succeeds.
            exchange.judge_outcome((*failure).into());
        }
        let other = match exchange.failover_cause(&attempted) {
            Some(cause) => Box::pin(failover::switch(client, exchange, &mut needs, cause)).await?,
            None => None,
        };
        let Some(other) = other else { break attempted? };
        exchange.upload.reopen();
        slot = other;
    };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Answered::Switched(Box::new(Switched { connection: body.connection, head })));
    }
    look_at(client, exchange, body, head).await.map(Answered::Response)
}

/// A response whose head was read.
pub type Headed = (Box<Body>, ResponseHead);

/// Why there is no response.
pub enum NoAnswer {
    /// The exchange is over, because of the client or a shutdown.
    Ended(Outcome),
    Failed(ServerFailure),
}

impl From<NoAnswer> for Outcome {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::Ended(outcome) => outcome,
            NoAnswer::Failed(failure) => failure.into(),
        }
    }
}

/// Gets the final response head from the server of a slot, over a pooled or a new connection.
async fn on_server(
    client: &mut Client,
    exchange: &mut Exchange,
    request: &mut RequestHead,
    slot: Slot,
    needs: &Needs,
) -> Result<Headed, NoAnswer> {
    // Boxed, because it is passed on until the end of the exchange.
    let mut body = match slot.server().pooled(exchange.connection_use()).await {
        Some(connection) => Box::new(Body::new(connection)),
        None => Box::new(Body::new(Box::pin(open(client, exchange, &slot, needs)).await?)),
    };
    body.connection.hold(slot);
    exchange.record.set_phase(Phase::Prefill);
    let mut resends = 0;
    loop {
        let (may_resend, patience) = (resends < MAX_RESENDS, exchange.patience());
        let connection = &mut body.connection;
        let attempt = Attempt { client, exchange, connection, request, may_resend, patience, needs };
        match attempt.run().await {
            Ok(head) => {
                exchange.judge_head(&head);
                return Ok((body, head));
            }
            Err(AttemptFailure::Unprocessed) => {
                tracing::debug!("the backend has not processed the request; resending it");
                resends += 1;
                exchange.upload.reopen();
                // `hold` was called on every connection of this function, so it has a slot.
                let slot = body.connection.close().ok_or(NoAnswer::Ended(Failure::Closed.into()))?;
                let connection = Box::pin(open(client, exchange, &slot, needs)).await?;
                body = Box::new(Body::new(connection));
                body.connection.hold(slot);
            }
            Err(AttemptFailure::Late) => return Err(exchange.server_failed(&body, ServerFailure::late())),
            Err(AttemptFailure::NoHead(no_head)) => {
                return Err(Box::pin(give_up(exchange, body, no_head)).await);
            }
        }
    }
}

/// Opens a connection while watching the client.
async fn open(
    client: &mut Client,
    exchange: &mut Exchange,
    slot: &Slot,
    needs: &Needs,
) -> Result<Connection, NoAnswer> {
    let server = slot.server().clone();
    // Waiting for a server that refuses connections makes sense only if no other one can take the request.
    let may_leave = slot.seat().is_trial || exchange.has_other(needs);
    let is_patient = !(may_leave && exchange.fails_over_on(FailoverOn::Connect));
    let mut opening = Box::pin(server.open(exchange.connection_use(), is_patient));
    let (began, proxy) = (Instant::now(), exchange.proxy.clone());
    loop {
        let lost = tokio::select! {
            opened = &mut opening => return match opened {
                Ok(connection) => Ok(connection),
                Err(error) => {
                    let (upstream, request_id) = (&*exchange.record.upstream, &exchange.record.request_id);
                    let label = server.label();
                    match error {
                        ConnectError::NoDescriptors { .. } => descriptors::note_refused(),
                        _ => tracing::warn!(upstream, server = %label, request_id, tried_for = ?began.elapsed(), %error, "no connection to the upstream"),
                    }
                    Err(NoAnswer::Failed(ServerFailure::connecting(error.fault())))
                }
            },
            event = exchange.upload.watch(client) => match event {
                ClientEvent::Uploaded => continue,
                ClientEvent::Gone => ClientLost::Gone,
                ClientEvent::BadBody(bad) => return Err(NoAnswer::Ended(bad.into())),
            },
            // A name lookup may take longer than a shutdown should.
            () = proxy.shutdown.has_begun(), if !server.is_located() => match server.is_located() {
                true => continue,
                false => return Err(NoAnswer::Ended(Failure::ShuttingDown.into())),
            },
            () = until(exchange.waiting.next_heartbeat()) => match exchange.send_early_heartbeat(client, None).await {
                Ok(()) => continue,
                Err(lost) => lost,
            },
        };
        return Err(NoAnswer::Ended(exchange.cancel(opening, lost, Phase::Connecting).await));
    }
}

/// Decides on the treatment of the body, by its first bytes if necessary.
async fn look_at(
    client: &mut Client,
    exchange: &mut Exchange,
    mut body: Box<Body>,
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
    body.decode(treatment.coding());
    let mut begun = Vec::new();
    if treatment == Treatment::Undecided {
        match Box::pin(begins_with_events(client, exchange, &mut body, &mut begun)).await {
            Ok(true) => treatment = Treatment::Stream(Stream::EVENTS),
            Ok(false) => treatment = Treatment::Opaque,
            Err(no_head) => return Err(give_up_body(exchange, body, no_head).await),
        }
    }
    Ok(UpstreamAnswer { body, head, treatment, begun })
}

/// Reads the start of a body, as much as the decision needs.
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
            event = exchange.upload.watch(client) => handle_client_event(client, exchange, event)?,
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

/// Ends an exchange while the type of the body is undecided.
async fn give_up_body(exchange: &Exchange, body: Box<Body>, no_head: NoHead) -> Outcome {
    match no_head {
        NoHead::Client(lost) => exchange.cancel(body, lost, Phase::Prefill).await,
        NoHead::Fault(fault) => {
            if fault.failure.facts().ended_by != EndedBy::Client {
                exchange.warn_of(fault);
            }
            Outcome::Failed(fault)
        }
    }
}

async fn give_up(exchange: &Exchange, body: Box<Body>, no_head: NoHead) -> NoAnswer {
    match no_head {
        NoHead::Client(lost) => NoAnswer::Ended(exchange.cancel(body, lost, Phase::Prefill).await),
        NoHead::Fault(fault) if fault.failure.facts().ended_by == EndedBy::Client => {
            NoAnswer::Ended(Outcome::Failed(fault))
        }
        NoHead::Fault(fault) => exchange.server_failed(&body, ServerFailure::of(fault)),
    }
}

impl Exchange {
    fn server_failed(&self, body: &Body, failure: ServerFailure) -> NoAnswer {
        if failure.fault.failure == Failure::FirstEventTimeout {
            body.connection.distrust();
        }
        self.warn_of(failure.fault);
        NoAnswer::Failed(failure)
    }

    fn warn_of(&self, fault: Fault) {
        let (upstream, server, request_id) =
            (&*self.record.upstream, self.record.server(), &self.record.request_id);
        let server = server.as_deref().map(tracing::field::display);
        tracing::warn!(upstream, server, request_id, error = %fault.code(), cause = fault.cause.map(tracing::field::display), "no response from the upstream");
    }
}
