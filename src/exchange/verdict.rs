//! What an exchange shows of its server.

use std::time::Duration;

use http::StatusCode;

use super::Exchange;
use crate::http1::{Fields, ResponseHead};
use crate::outcome::Outcome;
use crate::telemetry::metrics::FAILED_STATUSES;
use crate::upstream::{Seat, ServerVerdict};

/// How long a server is spared that asks for it and does not say for how long.
const PAUSE: Duration = Duration::from_secs(5);

/// What it may ask for.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

impl Exchange {
    /// Takes what a head says of its server.
    pub fn judge_head(&mut self, head: &ResponseHead) {
        match head.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                self.judge(ServerVerdict::Busy(pause(&head.fields)), "");
            }
            status if FAILED_STATUSES.contains(&status.as_str()) => {
                self.judge(ServerVerdict::Failed, status.as_str());
            }
            _ => {}
        }
    }

    /// A server that is tried out is well as soon as its first event is there.
    #[cold]
    pub fn judge_trial(&mut self) {
        if let Some(seat) = self.seat.filter(|seat| seat.is_trial) {
            self.route.upstream.judge(seat, ServerVerdict::Good, "");
            self.seat = Some(Seat { is_trial: false, ..seat });
        }
    }

    /// Takes how the exchange has ended.
    pub fn judge_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Completed | Outcome::ReportedError | Outcome::Drained(_) => {
                self.judge(ServerVerdict::Good, "")
            }
            Outcome::Failed(fault) if fault.failure.is_servers() => {
                self.judge(ServerVerdict::Failed, fault.failure.facts().code);
            }
            Outcome::Failed(_) | Outcome::ClientGone(_) | Outcome::SlowReader => {}
        }
    }

    fn judge(&mut self, verdict: ServerVerdict, kind: &str) {
        if let Some(seat) = self.seat.filter(|_| !self.is_judged) {
            self.is_judged = true;
            self.route.upstream.judge(seat, verdict, kind);
        }
    }
}

/// How long a server is to be spared (RFC 9110, 10.2.3; the form of a date is not looked at).
fn pause(fields: &Fields) -> Duration {
    let seconds =
        fields.value("Retry-After").and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    seconds.map_or(PAUSE, Duration::from_secs).clamp(PAUSES[0], PAUSES[1])
}
