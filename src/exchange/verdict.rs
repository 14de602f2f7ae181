//! What an exchange shows of its server.

use std::time::Duration;

use http::StatusCode;

use super::Exchange;
use crate::http1::{Fields, ResponseHead};
use crate::outcome::{Failure, Outcome};
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
                self.judge(ServerVerdict::Busy(pause(&head.fields)), head.status.as_str());
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
        if let Some(seat) = self.seat.filter(|seat| seat.is_trial && !self.is_judged) {
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
            Outcome::Failed(fault) if fault.failure.is_servers() && !self.is_clients_doing(fault.failure) => {
                self.judge(ServerVerdict::Failed, fault.failure.facts().code);
            }
            Outcome::Failed(_) | Outcome::ClientGone(_) | Outcome::SlowReader => {}
        }
    }

    /// Whether it may be the client that is to blame: a server gives up on a body that does not come.
    fn is_clients_doing(&self, failure: Failure) -> bool {
        let had_connection = !matches!(
            failure,
            Failure::ConnectFailed | Failure::ConnectTimeout | Failure::LookupFailed | Failure::LookupTimeout
        );
        had_connection && !self.upload.is_read()
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
    let text = fields.value("Retry-After").and_then(|value| std::str::from_utf8(value).ok()).map(str::trim);
    let digits = text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    // What is no number then is one too large.
    let seconds = digits.map(|digits| digits.parse().unwrap_or(u64::MAX));
    seconds.map_or(PAUSE, Duration::from_secs).clamp(PAUSES[0], PAUSES[1])
}
