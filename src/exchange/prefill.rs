//! The time before the response header: a connection is found, the request is sent, the model reads its prompt.

use std::future::poll_fn;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::Exchange;
use super::attempt::{Attempt, NoHead, deadline, heed, until};
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

/// Gets the final response head, from one server or another.
///
/// What seldom happens is boxed, in here and below: its state would be made room for with every request.
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
            // Whatever becomes of the request.
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

/// Why there is no answer.
pub enum NoAnswer {
    /// The exchange is over: the client's doing, or the process's.
    Ended(Outcome),
    /// The server has failed.
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

/// Gets the final response head from the server of a slot, over a pooled connection or a new one.
async fn on_server(
    client: &mut Client,
    exchange: &mut Exchange,
    request: &mut RequestHead,
    slot: Slot,
    needs: &Needs,
) -> Result<Headed, NoAnswer> {
    // Boxed, for it is handed on from here to the end of the exchange.
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
            Err(NoHead::Unprocessed) => {
                tracing::debug!("the backend has not looked at the request: sending it once more");
                resends += 1;
                exchange.upload.reopen();
                // It holds one, as whatever came from here does.
                let slot = body.connection.close().ok_or(NoAnswer::Ended(Failure::Closed.into()))?;
                let connection = Box::pin(open(client, exchange, &slot, needs)).await?;
                body = Box::new(Body::new(connection));
                body.connection.hold(slot);
            }
            Err(no_head) => return Err(Box::pin(give_up(exchange, body, no_head)).await),
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
    // A server that refuses is waited for only where no other takes the request.
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
            // A look-up may hang for longer than anybody who stops a process waits.
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

/// Decides what is done with the body, if necessary by its first bytes.
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

/// Gives up on a body of which too little is there to tell what it is.
async fn give_up_body(exchange: &Exchange, body: Box<Body>, no_head: NoHead) -> Outcome {
    match no_head {
        NoHead::Client(lost) => exchange.cancel(body, lost, Phase::Prefill).await,
        NoHead::Fault(fault) => {
            if fault.failure.facts().ended_by != EndedBy::Client {
                exchange.warn_of(fault);
            }
            Outcome::Failed(fault)
        }
        // Nothing of the kind is waited for any more.
        NoHead::Unprocessed | NoHead::Late => Failure::Closed.into(),
    }
}

async fn give_up(exchange: &Exchange, body: Box<Body>, no_head: NoHead) -> NoAnswer {
    if no_head.is_timeout() {
        body.connection.distrust();
    }
    let failure = match no_head {
        NoHead::Client(lost) => {
            return NoAnswer::Ended(exchange.cancel(body, lost, Phase::Prefill).await);
        }
        NoHead::Fault(fault) if fault.failure.facts().ended_by == EndedBy::Client => {
            return NoAnswer::Ended(Outcome::Failed(fault));
        }
        // Only another connection can help there, and there was one already.
        NoHead::Unprocessed => return NoAnswer::Ended(Failure::Closed.into()),
        NoHead::Late => ServerFailure::late(),
        NoHead::Fault(fault) => ServerFailure::of(fault),
    };
    exchange.warn_of(failure.fault);
    NoAnswer::Failed(failure)
}

impl Exchange {
    fn warn_of(&self, fault: Fault) {
        let (upstream, server, request_id) =
            (&*self.record.upstream, self.record.server(), &self.record.request_id);
        let server = server.as_deref().map(tracing::field::display);
        tracing::warn!(upstream, server, request_id, error = %fault.code(), cause = fault.cause.map(tracing::field::display), "no response from the upstream");
    }
}
