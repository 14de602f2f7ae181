//! What an exchange shows of its server.

use std::time::{Duration, SystemTime};

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

/// How long a server is to be spared, within bounds.
fn pause(fields: &Fields) -> Duration {
    let text = fields.value("Retry-After").and_then(|value| std::str::from_utf8(value).ok()).map(str::trim);
    let asked = text.filter(|text| !text.is_empty()).and_then(|text| retry_after(text, SystemTime::now()));
    asked.unwrap_or(PAUSE).clamp(PAUSES[0], PAUSES[1])
}

/// What a `Retry-After` says: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // What is no number then is one too large.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    // One that is over says that it need not be spared any more.
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause_of(value: &str) -> Duration {
        let mut fields = Fields::default();
        fields.append("Retry-After", value);
        pause(&fields)
    }

    #[test]
    fn a_server_is_spared_for_as_long_as_it_asks_for_within_bounds() {
        let cases = [("7", 7), (" 7 ", 7), ("0", 1), ("3600", 60), ("99999999999999999999999", 60)];
        for (value, seconds) in cases.into_iter().chain([("", 5), ("-3", 5), ("soon", 5)]) {
            assert_eq!(pause_of(value), Duration::from_secs(seconds), "{value}");
        }
        assert_eq!(pause(&Fields::default()), PAUSE);
    }

    #[test]
    fn a_date_says_it_too_in_each_of_its_forms() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:00 GMT").ok();
        let now = now.unwrap_or_else(|| panic!("a date"));
        for date in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(retry_after(date, now), Some(Duration::from_secs(37)), "{date}");
        }
        assert_eq!(pause_of("Sun, 06 Nov 1994 08:49:37 GMT"), PAUSES[0], "it is over");
        let tomorrow = SystemTime::now() + Duration::from_secs(24 * 3600);
        assert_eq!(pause_of(&httpdate::fmt_http_date(tomorrow)), PAUSES[1]);
    }
}
