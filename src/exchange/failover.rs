//! Decides when a request goes to another server, before any part of a response was delivered.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::Exchange;
use super::placement;
use super::prefill::{Headed, NoAnswer};
use crate::config::FailoverOn;
use crate::downstream::Client;
use crate::outcome::{Failure, Fault, Outcome, Phase};
use crate::upstream::{Needs, Placement, Slot};

/// A server that rejects a request without processing it does so within this time. A slower answer may have
/// cost it work.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The failure of a server.
#[derive(Clone, Copy, Debug)]
pub struct ServerFailure {
    pub fault: Fault,
    cause: Option<FailoverCause>,
}

/// Why another server is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailoverCause {
    On(FailoverOn),
    /// The server has not begun to answer within `failover.first_event_timeout`.
    FirstEventTimeout,
}

impl FailoverCause {
    /// The value of the `cause` label.
    fn as_str(self) -> &'static str {
        match self {
            Self::On(FailoverOn::Connect) => "connect",
            Self::On(FailoverOn::TooManyRequests) => "429",
            Self::On(FailoverOn::Unavailable) => "503",
            Self::On(FailoverOn::ServerError) => "5xx",
            Self::On(FailoverOn::Reset) => "reset",
            Self::FirstEventTimeout => "first_event_timeout",
        }
    }

    /// Whether there is a response that can still be delivered. Its connection and its slot are held
    /// meanwhile.
    fn has_answer(self) -> bool {
        matches!(
            self,
            Self::On(FailoverOn::TooManyRequests | FailoverOn::Unavailable | FailoverOn::ServerError)
        )
    }

    /// Whether the server cannot have received anything.
    fn is_free(self) -> bool {
        self == Self::On(FailoverOn::Connect)
    }
}

impl ServerFailure {
    /// The server did not accept a connection.
    pub fn connecting(fault: Fault) -> Self {
        Self { fault, cause: Some(FailoverCause::On(FailoverOn::Connect)) }
    }

    /// The server did not answer before another one should be tried.
    pub fn late() -> Self {
        Self { fault: Failure::FirstEventTimeout.into(), cause: Some(FailoverCause::FirstEventTimeout) }
    }

    /// The server failed while its response was awaited.
    pub fn of(fault: Fault) -> Self {
        let is_reset = matches!(fault.failure, Failure::Reset | Failure::Closed | Failure::Invalid);
        Self { fault, cause: is_reset.then_some(FailoverCause::On(FailoverOn::Reset)) }
    }
}

impl From<ServerFailure> for Outcome {
    fn from(failure: ServerFailure) -> Self {
        Self::Failed(failure.fault)
    }
}

impl Exchange {
    pub fn fails_over_on(&self, cause: FailoverOn) -> bool {
        let policy = &self.route.config.upstream.failover;
        policy.on.contains(&cause) && self.record.attempts() < policy.attempts.get()
    }

    /// The reason to try another server, if there is one.
    pub fn failover_cause(&self, attempted: &Result<Headed, NoAnswer>) -> Option<FailoverCause> {
        let cause = match attempted {
            Ok((_, head)) => FailoverCause::On(self.cause_of_status(head.status)?),
            Err(NoAnswer::Failed(failure)) => failure.cause?,
            Err(NoAnswer::Ended(_)) => return None,
        };
        let is_wanted = match cause {
            FailoverCause::On(on) => self.fails_over_on(on),
            FailoverCause::FirstEventTimeout => true,
        };
        // Data that was sent must still be available to be sent again.
        let can_repeat = cause.is_free() || self.upload.may_repeat();
        (is_wanted && can_repeat && !self.has_begun).then_some(cause)
    }

    fn cause_of_status(&self, status: StatusCode) -> Option<FailoverOn> {
        if status.as_u16() < 429 {
            return None;
        }
        let is_at_once = self.waiting.sent() + AT_ONCE >= Instant::now().into_std();
        match status {
            StatusCode::TOO_MANY_REQUESTS => is_at_once.then_some(FailoverOn::TooManyRequests),
            StatusCode::SERVICE_UNAVAILABLE => is_at_once.then_some(FailoverOn::Unavailable),
            status => status.is_server_error().then_some(FailoverOn::ServerError),
        }
    }

    /// Time for the response head of this server until another server is tried.
    pub fn patience(&self) -> Option<Duration> {
        let policy = &self.route.config.upstream.failover;
        let is_last = self.record.attempts() >= policy.attempts.get();
        policy.first_event_timeout.filter(|_| !is_last && !self.has_begun)
    }

    /// Whether another server has a free slot.
    pub fn has_other(&self, needs: &Needs) -> bool {
        let mut needs = needs.clone();
        needs.tried.extend(self.seat.map(|seat| seat.server));
        self.route.upstream.has_other(&needs)
    }

    /// Whether the request may go to another server now, while a response is awaited.
    pub fn may_switch(&self, needs: &Needs) -> bool {
        self.upload.may_repeat() && !self.has_begun && self.has_other(needs)
    }
}

/// Gets a slot on another server. `None` means that the result of the last attempt stands.
pub async fn switch(
    client: &mut Client,
    exchange: &mut Exchange,
    needs: &mut Needs,
    cause: FailoverCause,
) -> Result<Option<Slot>, Outcome> {
    let upstream = exchange.route.upstream.clone();
    needs.tried.extend(exchange.seat.map(|seat| seat.server));
    // Waiting for a slot while holding one could deadlock with requests that wait for the held slot.
    let may_wait = !cause.has_answer();
    if !may_wait && !upstream.has_other(needs) {
        upstream.metrics().count_failover(cause.as_str(), false);
        return Ok(None);
    }
    if client.has_left() || !upstream.may_fail_over(cause.is_free()) {
        return Ok(None);
    }
    let slot = match upstream.admit(needs, may_wait, Instant::now().into_std()) {
        Placement::Slot(slot) => Some(slot),
        Placement::Queued(place) => match placement::wait(client, exchange, place).await {
            Ok(slot) => Some(slot),
            // No other server became free in time.
            Err(Outcome::Failed(fault))
                if matches!(fault.failure, Failure::QueueTimeout | Failure::NoServer) =>
            {
                exchange.record.set_phase(Phase::Prefill);
                None
            }
            Err(outcome) => return Err(outcome),
        },
        Placement::Refused(_) => None,
    };
    upstream.metrics().count_failover(cause.as_str(), slot.is_some());
    Ok(slot)
}
