//! One attempt: sends the request on a connection and waits for the response head.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep_until};

use super::Exchange;
use super::stream_request::{accepts_event_stream, asks_for_stream};
use super::upload::ClientEvent;
use crate::config::TreatAsEventStream;
use crate::downstream::{Client, ClientLost};
use crate::headers::hop_by_hop;
use crate::http1::{RequestHead, ResponseHead};
use crate::outcome::{Failure, Fault, Phase};
use crate::upstream::{Connection, HeadError, Needs};

/// Handles a client event while the response head is awaited.
pub fn handle_client_event(
    client: &mut Client,
    exchange: &mut Exchange,
    event: ClientEvent,
) -> Result<(), NoHead> {
    match event {
        ClientEvent::Uploaded => Ok(()),
        ClientEvent::Gone if exchange.try_read_on(client, ClientLost::Gone, Phase::Prefill) => Ok(()),
        ClientEvent::Gone => Err(NoHead::Client(ClientLost::Gone)),
        ClientEvent::BadBody(bad) => Err(NoHead::Fault(bad.into())),
    }
}

/// The deadline for the first event or the head of another response, and the failure if it passes.
pub fn deadline(exchange: &Exchange) -> (Option<Instant>, NoHead) {
    let (policy, end) = (&exchange.policy().session, exchange.max_duration_end().map(Instant::into_std));
    // Both sides of a gRPC call may stay open for its whole duration, so the client is not considered late.
    let awaits_client = exchange.upload.awaits_client() && !exchange.is_grpc;
    let (end, failure) = exchange.waiting.end(policy, end, awaits_client);
    (end.map(Instant::from_std), NoHead::Fault(failure.into()))
}

/// Why there is no response, or not enough of it to decide on its treatment.
pub enum NoHead {
    Fault(Fault),
    Client(ClientLost),
}

/// Why an attempt has no response head.
pub enum AttemptFailure {
    NoHead(NoHead),
    /// The backend has not processed the request, so it may be resent over another connection.
    Unprocessed,
    /// The server is slow, so another one should be tried.
    Late,
}

impl From<NoHead> for AttemptFailure {
    fn from(no_head: NoHead) -> Self {
        Self::NoHead(no_head)
    }
}

/// The request on one connection.
pub struct Attempt<'a> {
    pub client: &'a mut Client,
    pub exchange: &'a mut Exchange,
    pub connection: &'a mut Connection,
    pub request: &'a mut RequestHead,
    pub may_resend: bool,
    /// Time until another server is tried, if one is available.
    pub patience: Option<Duration>,
    pub needs: &'a Needs,
}

impl Attempt<'_> {
    pub async fn run(mut self) -> Result<ResponseHead, AttemptFailure> {
        self.ask_for_identity().await?;
        if self.exchange.passes_trailers {
            self.connection.keep_trailers();
        }
        let has_body = !self.exchange.upload.is_empty();
        let sent = self.connection.write_head(self.request, has_body).await;
        sent.or_else(|error| self.failed(error))?;
        self.exchange.waiting.handle_sent(Instant::now().into_std());
        loop {
            self.exchange.forward_upload(self.connection).await;
            if let Some(head) = self.turn().await? {
                return Ok(head);
            }
        }
    }

    /// Requests the response without a content coding if a stream is expected. For every coding, there are
    /// backends that buffer the response to compress it.
    async fn ask_for_identity(&mut self) -> Result<(), NoHead> {
        let accepts_coding = self.request.fields.contains("Accept-Encoding");
        let is_never = self.exchange.policy().treat_as_event_stream == TreatAsEventStream::Never;
        if !accepts_coding || is_never || self.exchange.is_grpc {
            return Ok(());
        }
        let is_awaited = may_tell_by_its_body(self.client.request());
        while is_awaited && !self.exchange.upload.has_piece() && !self.exchange.upload.is_read() {
            let (deadline, late) = deadline(self.exchange);
            tokio::select! {
                event = self.exchange.upload.watch(self.client) => {
                    handle_client_event(self.client, self.exchange, event)?;
                }
                () = until(deadline) => return Err(late),
            }
        }
        if asks_for_stream(self.client.request(), &self.exchange.upload) {
            self.request.fields.set("Accept-Encoding", "identity");
        }
        Ok(())
    }

    /// Waits for one event. Returns the final response head once it has arrived.
    async fn turn(&mut self) -> Result<Option<ResponseHead>, AttemptFailure> {
        let link = self.connection.link();
        let (deadline, late) = self.deadline();
        tokio::select! {
            biased;
            event = self.exchange.upload.watch(self.client) => {
                Ok(handle_client_event(self.client, self.exchange, event).map(|()| None)?)
            }
            head = self.connection.read_head() => match head {
                Ok(head) => Ok(self.received(head).await?),
                Err(error) => self.failed(error).map(|()| None),
            },
            () = link.cleared(), if self.exchange.upload.waits() => Ok(None),
            () = until(deadline) => self.give_up(late),
            () = until(self.exchange.waiting.next_heartbeat()) => {
                match Box::pin(self.exchange.send_early_heartbeat(self.client, None)).await {
                    Err(lost) if !self.exchange.try_read_on(self.client, lost, Phase::Prefill) => {
                        Err(NoHead::Client(lost).into())
                    }
                    _ => Ok(None),
                }
            }
        }
    }

    /// The deadline for this server, and the reason to abandon it.
    fn deadline(&self) -> (Option<Instant>, AttemptFailure) {
        let (end, late) = deadline(self.exchange);
        let switch = self.patience.map(|patience| Instant::from_std(self.exchange.waiting.sent() + patience));
        match (end, switch) {
            (end, Some(switch)) if end.is_none_or(|end| switch < end) => (Some(switch), AttemptFailure::Late),
            (end, _) => (end, late.into()),
        }
    }

    /// Handles a timeout. If another server should be tried but none is available, it keeps waiting for this
    /// one.
    fn give_up(&mut self, late: AttemptFailure) -> Result<Option<ResponseHead>, AttemptFailure> {
        if matches!(late, AttemptFailure::Late) && !self.exchange.may_switch(self.needs) {
            self.patience = None;
            return Ok(None);
        }
        Err(late)
    }

    /// Forwards interim responses (RFC 9110, 15.2) and returns the final one.
    async fn received(&mut self, mut head: ResponseHead) -> Result<Option<ResponseHead>, NoHead> {
        if !head.status.is_informational() {
            let waited = (Instant::now().into_std() - self.exchange.waiting.sent()).as_secs_f64();
            self.exchange.route.metrics.upstream_header.observe(waited);
            return Ok(Some(head));
        }
        let version = self.client.version();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // A switch to any other protocol was not requested.
            let is_asked =
                self.exchange.asks_for_websocket && hop_by_hop::switching_response(&mut head.fields);
            return if is_asked { Ok(Some(head)) } else { Err(NoHead::Fault(Failure::Invalid.into())) };
        }
        // HTTP/1.0 has no interim responses, and they cannot follow a final head.
        if version == http::Version::HTTP_11 && !self.exchange.has_begun {
            hop_by_hop::downstream_response(&mut head.fields, version, false, false);
            Box::pin(self.client.write_head(head)).await.map_err(NoHead::Client)?;
        }
        Ok(None)
    }

    fn failed(&mut self, error: HeadError) -> Result<(), AttemptFailure> {
        let died = matches!(error.fault.failure, Failure::Closed | Failure::Reset);
        let unanswered = died && error.before_any_byte && self.connection.is_reused();
        // RFC 9110, 9.2.2. The part of the body that was sent must still be available.
        let may_repeat = error.is_unprocessed || (unanswered && self.request.method.is_idempotent());
        if may_repeat && self.may_resend && self.exchange.upload.is_kept() {
            return Err(AttemptFailure::Unprocessed);
        }
        Err(NoHead::Fault(error.fault).into())
    }
}

pub async fn until<I: Into<Instant>>(deadline: Option<I>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Whether the start of the request body is worth waiting for, because it shows whether a stream is
/// requested. Only if the body is on its way: a client that sent `Expect` waits for us.
fn may_tell_by_its_body(request: &RequestHead) -> bool {
    let fields = &request.fields;
    !accepts_event_stream(fields) && fields.contains("Content-Length") && !fields.contains("Expect")
}
