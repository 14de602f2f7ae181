//! The time before the response header: a connection is found, the request is sent, the model reads its prompt.

use http::StatusCode;
use pingora::http::{RequestHeader, ResponseHeader};
use tokio::time::{Instant, sleep_until};

use super::client::{Client, ClientEvent, ClientLost};
use super::exchange::Exchange;
use super::hygiene;
use super::outcome::{Outcome, Phase, UpstreamFault};
use crate::upstream::{ConnectError, Connection, HeadError};

/// Gets the final response head, over a pooled connection or a new one.
pub async fn run(
    client: &mut Client<'_>,
    exchange: &mut Exchange<'_>,
    request: RequestHeader,
) -> Result<(Connection, ResponseHeader), Outcome> {
    let mut connection = match exchange.route.upstream.pooled().await {
        Some(connection) => connection,
        None => open(client, exchange).await?,
    };
    loop {
        let attempt = Attempt { client, exchange, connection: &mut connection, request: &request };
        match attempt.run().await {
            Ok(head) => return Ok((connection, head)),
            Err(NoHead::Dead) => {
                tracing::debug!("a pooled connection died before any response byte: sending once more");
                drop(connection);
                exchange.upload.reopen();
                connection = open(client, exchange).await?;
            }
            Err(NoHead::Fault(fault)) => return Err(Outcome::Upstream(fault)),
            Err(NoHead::Malformed) => return Err(Outcome::Malformed),
            Err(NoHead::Client(lost)) => return Err(exchange.cancel(connection, lost, Phase::Prefill)),
        }
    }
}

/// Opens a connection while watching the client.
async fn open(client: &mut Client<'_>, exchange: &mut Exchange<'_>) -> Result<Connection, Outcome> {
    let upstream = exchange.route.upstream.clone();
    let mut opening = Box::pin(upstream.open());
    loop {
        tokio::select! {
            opened = &mut opening => return opened.map_err(|error| {
                let upstream = &upstream.config().name;
                tracing::warn!(upstream, %error, "no connection to the upstream");
                Outcome::Upstream(connect_fault(&error))
            }),
            event = client.watch(&mut exchange.upload) => match event {
                ClientEvent::Uploaded => {}
                ClientEvent::Gone => {
                    let noticed = Instant::now();
                    drop(opening);
                    let seconds = noticed.elapsed().as_secs_f64();
                    exchange.route.metrics.observe_cancel(Phase::Connecting, seconds);
                    return Err(Outcome::ClientGone(Phase::Connecting));
                }
                ClientEvent::Malformed => return Err(Outcome::Malformed),
            },
        }
    }
}

fn connect_fault(error: &ConnectError) -> UpstreamFault {
    match error {
        ConnectError::TimedOut(_) => UpstreamFault::ConnectTimeout,
        ConnectError::NoResources { .. } => UpstreamFault::NoResources,
        ConnectError::Resolve { .. } | ConnectError::NoAddress { .. } | ConnectError::Connect { .. } => {
            UpstreamFault::ConnectFailed
        }
    }
}

/// Why there is no response head.
enum NoHead {
    Fault(UpstreamFault),
    Client(ClientLost),
    Malformed,
    /// The connection came from the pool and was dead, and the request may be sent once more.
    Dead,
}

/// The request on one connection.
struct Attempt<'a, 'c, 'e> {
    client: &'a mut Client<'c>,
    exchange: &'a mut Exchange<'e>,
    connection: &'a mut Connection,
    request: &'a RequestHeader,
}

impl Attempt<'_, '_, '_> {
    async fn run(mut self) -> Result<ResponseHeader, NoHead> {
        let sent = self.connection.write_head(self.request.clone()).await;
        sent.or_else(|fault| self.failed(HeadError::unanswered(fault)))?;
        self.exchange.sent = Instant::now();
        // On a second connection: what the first one has taken.
        for piece in self.exchange.upload.kept().to_vec() {
            let sent = self.connection.write_body(&piece).await;
            sent.or_else(|fault| self.failed(HeadError::unanswered(fault)))?;
        }
        loop {
            if self.connection.link().is_clear() {
                self.exchange.forward_upload(self.connection).await;
            }
            if let Some(head) = self.turn().await? {
                return Ok(head);
            }
        }
    }

    /// Waits for one thing to happen; returns the final head when it is there.
    async fn turn(&mut self) -> Result<Option<ResponseHeader>, NoHead> {
        let link = self.connection.link();
        let (deadline, fault) = self.deadline();
        tokio::select! {
            biased;
            event = self.client.watch(&mut self.exchange.upload) => match event {
                ClientEvent::Uploaded => Ok(None),
                ClientEvent::Gone => Err(NoHead::Client(ClientLost::Gone)),
                ClientEvent::Malformed => Err(NoHead::Malformed),
            },
            head = self.connection.read_head() => match head {
                Ok(head) => self.received(head).await,
                Err(error) => self.failed(error).map(|()| None),
            },
            () = link.cleared(), if !link.is_clear() => Ok(None),
            () = until(deadline) => Err(NoHead::Fault(fault)),
        }
    }

    /// Passes informational responses on (RFC 9110, 15.2) and returns the final one.
    async fn received(&mut self, head: ResponseHeader) -> Result<Option<ResponseHeader>, NoHead> {
        if !head.status.is_informational() {
            return Ok(Some(head));
        }
        let version = self.client.version();
        let invalid = NoHead::Fault(UpstreamFault::Invalid);
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // Nothing was asked for that could be switched to.
            return Err(invalid);
        }
        // HTTP/1.0 has no informational responses.
        if version == http::Version::HTTP_11 {
            let Ok(head) = hygiene::downstream_response(&head, version, false) else { return Err(invalid) };
            self.client.write_head(head).await.map_err(NoHead::Client)?;
        }
        Ok(None)
    }

    fn deadline(&self) -> (Option<Instant>, UpstreamFault) {
        let first = self.exchange.policy().first_event_timeout.map(|limit| self.exchange.sent + limit);
        match (first, self.exchange.max_duration_end()) {
            (Some(first), Some(end)) if end < first => (Some(end), UpstreamFault::MaxDuration),
            (None, end @ Some(_)) => (end, UpstreamFault::MaxDuration),
            (first, _) => (first, UpstreamFault::FirstEventTimeout),
        }
    }

    fn failed(&mut self, error: HeadError) -> Result<(), NoHead> {
        let died = matches!(error.fault, UpstreamFault::Closed | UpstreamFault::Reset);
        let unanswered = died && error.before_any_byte && self.connection.is_reused();
        // RFC 9110, 9.2.2; and only if all that was sent of the body is still here.
        if unanswered && self.request.method.is_idempotent() && self.exchange.upload.is_kept() {
            return Err(NoHead::Dead);
        }
        Err(NoHead::Fault(error.fault))
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
