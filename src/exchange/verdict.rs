//! Reports to the upstream group what an exchange reveals about its server.

use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::Exchange;
use crate::http1::{Fields, ResponseHead};
use crate::outcome::{Failure, Outcome};
use crate::telemetry::metrics::FAILED_STATUSES;
use crate::upstream::{Seat, ServerVerdict};

/// Cooldown of a server that asks for a pause without a valid duration.
const PAUSE: Duration = Duration::from_secs(5);

/// Minimum and maximum cooldown.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

impl Exchange {
    /// Reports what a response head reveals about its server.
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

    /// A server on trial has recovered once its first event arrives.
    #[cold]
    pub fn judge_trial(&mut self) {
        if let Some(seat) = self.seat.filter(|seat| seat.is_trial && !self.is_judged) {
            self.route.upstream.judge(seat, ServerVerdict::Good, "");
            self.seat = Some(Seat { is_trial: false, ..seat });
        }
    }

    /// Reports the outcome of the exchange.
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

    /// Whether the client may be the cause: a server gives up if the request body does not arrive.
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

/// The cooldown that the response asks for, within bounds.
fn pause(fields: &Fields) -> Duration {
    let text = fields.value("Retry-After").and_then(|value| std::str::from_utf8(value).ok()).map(str::trim);
    let asked = text.filter(|text| !text.is_empty()).and_then(|text| retry_after(text, SystemTime::now()));
    asked.unwrap_or(PAUSE).clamp(PAUSES[0], PAUSES[1])
}

/// Parses `Retry-After`: seconds or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // All digits but not parseable: too large.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    // A date in the past means no pause.
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
    fn retry_after_is_clamped() {
        let cases = [("7", 7), (" 7 ", 7), ("0", 1), ("3600", 60), ("99999999999999999999999", 60)];
        for (value, seconds) in cases.into_iter().chain([("", 5), ("-3", 5), ("soon", 5)]) {
            assert_eq!(pause_of(value), Duration::from_secs(seconds), "{value}");
        }
        assert_eq!(pause(&Fields::default()), PAUSE);
    }

    #[test]
    fn retry_after_accepts_each_date_format() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:00 GMT").ok();
        let now = now.unwrap_or_else(|| panic!("a date"));
        for date in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(retry_after(date, now), Some(Duration::from_secs(37)), "{date}");
        }
        assert_eq!(pause_of("Sun, 06 Nov 1994 08:49:37 GMT"), PAUSES[0], "a date in the past");
        let tomorrow = SystemTime::now() + Duration::from_secs(24 * 3600);
        assert_eq!(pause_of(&httpdate::fmt_http_date(tomorrow)), PAUSES[1]);
    }
}
