//! Makes the tests at one point; the test of many streams is in `at_once.rs`.

use std::time::Duration;

use http::{Method, Version};

use super::observe::{Ask, Leave, Observation, ResponseEnd, observe};
use super::origin_api::{OriginApi, StreamAccount, not_the_origin};
use super::tests::{self, EVENTS, EVERY, FIRST_AFTER, Kind, StreamTest, Test};
use crate::doctor::judge::{
    Arrival, Difference, EndingSeen, Figures, LeavingSeen, NotMade, Pacing, PreflightSeen, SampleSeen,
    StreamSeen, Units, arrivals, flow,
};
use crate::doctor::sample;
use crate::http1::ResponseHead;

/// Extra time for a request beyond the length of its stream.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long a short request may take.
pub(super) const SHORT: Duration = Duration::from_secs(5);

/// A stream as the probe saw it, and as the origin did.
struct Streamed {
    seen: Observation,
    account: StreamAccount,
}

pub(super) const EVENTS_ACCEPTED: &[(&str, &str)] = &[("Accept", "text/event-stream")];

impl OriginApi<'_> {
    /// Makes a test.
    pub async fn make(&self, test: &Test) -> Result<Figures, NotMade> {
        match &test.kind {
            Kind::Stream(stream) => self.stream(stream).await.map(Figures::Stream),
            Kind::Heartbeats(size) => self.heartbeats(*size).await.map(Figures::Heartbeats),
            Kind::Sample => self.sample().await.map(Figures::Sample),
            Kind::Ending(order) => self.ending(order).await.map(Figures::Ending),
            Kind::Leaving(order) => self.leaving(order).await.map(Figures::Leaving),
            Kind::Preflight => self.preflight().await.map(Figures::Preflight),
            Kind::AtOnce => self.at_once().await.map(Figures::AtOnce),
            Kind::Idle => Err("it is made beside the others".into()),
        }
    }

    /// Measures a stream of numbered events.
    async fn stream(&self, test: &StreamTest) -> Result<StreamSeen, NotMade> {
        let order = format!(
            "events={EVENTS}&every={}&first_after={}&{}",
            EVERY.as_millis(),
            FIRST_AFTER.as_millis(),
            test.order
        );
        let body = (test.method == Method::POST).then_some(&b"{\"stream\":true}"[..]);
        let mut fields = test.fields.to_vec();
        if body.is_some() {
            fields.push(("Content-Type", "application/json"));
        }
        let limit = FIRST_AFTER + EVERY * EVENTS as u32 + PATIENCE;
        let ask = self.order(&order, test.method.clone(), &fields, body, limit);
        let Streamed { seen, account } = self.streamed(ask).await?;
        let came = arrivals(&seen.body, &seen.reads, test.units);
        let first_came = came.iter().find(|arrival| !arrival.is_comment).map(|arrival| arrival.first_at);
        let head = seen.head.as_ref().ok_or("no response")?;
        Ok(StreamSeen {
            flow: flow(&account.sent_ms, &came),
            version: self.version(head).to_owned(),
            fields: seen.fields(),
            content_coding: seen.coding(),
            is_last: !self.point.is_http2() && !head.keeps_alive(),
            has_ended: seen.ended != ResponseEnd::StillRunning,
            head_gap_sent: account.sent_ms.first().copied().unwrap_or_default()
                - account.head_ms.unwrap_or_default(),
            head_gap: first_came.unwrap_or_default() - seen.head_at.unwrap_or_default(),
        })
    }

    /// Measures comments: a hop may hold them back although it passes events.
    async fn heartbeats(&self, size: usize) -> Result<Pacing, NotMade> {
        const BEATS: usize = 12;
        let every = EVERY * 3;
        let order = format!(
            "events={}&every={}&first_after=100&shape=comments&size={size}",
            BEATS + 2,
            every.as_millis()
        );
        let limit = every * (BEATS as u32 + 2) + PATIENCE;
        let ask = self.order(&order, Method::GET, EVENTS_ACCEPTED, None, limit);
        let Streamed { seen, account } = self.streamed(ask).await?;
        // The first and the last are events. A proxy may add its own heartbeats.
        let beats = arrivals(&seen.body, &seen.reads, Units::Events).into_iter();
        let beats = beats.filter(|arrival| arrival.is_comment && arrival.bytes + 1 >= size);
        let beats: Vec<_> = beats.enumerate().map(|(n, beat)| Arrival { number: Some(n), ..beat }).collect();
        let sent = account.sent_ms.get(1..account.sent_ms.len().saturating_sub(1)).unwrap_or_default();
        Ok(flow(sent, &beats))
    }

    /// Compares a fixed body byte for byte.
    async fn sample(&self) -> Result<SampleSeen, NotMade> {
        let ask = self.order("shape=sample", Method::GET, EVENTS_ACCEPTED, None, SHORT);
        let Streamed { seen, .. } = self.streamed(ask).await?;
        if seen.ended == ResponseEnd::StillRunning {
            return Err(format!("the stream had not ended after {SHORT:?}").into());
        }
        let sent = without_comments(&sample::sample().concat().concat());
        let seen = Observation { body: without_comments(&seen.body), ..seen };
        let differs = |at: usize| sent.get(at) != seen.body.get(at);
        let offset = (0..sent.len().max(seen.body.len())).find(|at| differs(*at));
        Ok(SampleSeen {
            sent_bytes: sent.len(),
            bytes: seen.body.len(),
            first_difference: offset.map(|offset| Difference {
                offset,
                sent: excerpt(&sent, offset),
                arrived: excerpt(&seen.body, offset),
            }),
        })
    }

    /// Looks how a stream that breaks at the origin ends here.
    async fn ending(&self, order: &str) -> Result<EndingSeen, NotMade> {
        let run = run_id();
        let order = format!("{order}&events=3&every=50&run={run}");
        let ask = self.order(&order, Method::GET, EVENTS_ACCEPTED, None, SHORT);
        let seen = observe(self.point, &ask).await;
        // An answer in place of the origin's says nothing about its stream.
        self.account(&run).await.map_err(|failure| without_account(failure, &seen))?;
        // An error status in place of the stream makes the break visible too.
        let is_told = seen.status().is_some_and(|status| status >= 500);
        let is_named = |sign: &[u8]| memchr::memmem::find(&seen.body, sign).is_some();
        let has_error_event = is_told || is_named(b"\"error\"") || is_named(b"event: error");
        let is_complete = seen.ended == ResponseEnd::Complete;
        let has_ended = seen.ended != ResponseEnd::StillRunning;
        Ok(EndingSeen { ended: seen.ended.as_str(), is_complete, has_ended, has_error_event })
    }

    /// Leaves a stream, and asks the origin when it noticed.
    async fn leaving(&self, order: &str) -> Result<LeavingSeen, NotMade> {
        let run = run_id();
        let mut ask = self.order(order, Method::GET, EVENTS_ACCEPTED, None, SHORT);
        ask.query = format!("{}&run={run}", ask.query);
        ask.leave = Some(Leave { after_events: 3, after: Duration::from_millis(800) });
        let seen = observe(self.point, &ask).await;
        if seen.ended != ResponseEnd::Left || seen.status().is_some_and(|status| status != 200) {
            return Err(not_the_origin(&seen));
        }
        let known_after = self.knows_of_leaving(&run, tests::KNOWS_WITHIN).await?;
        Ok(LeavingSeen { known_after, waited: tests::KNOWS_WITHIN.as_secs_f64() * 1000.0 })
    }

    /// Sends the OPTIONS request that a browser sends before a request to another site.
    async fn preflight(&self) -> Result<PreflightSeen, NotMade> {
        // A browser sends it without credentials.
        let fields = tests::PREFLIGHT.to_vec();
        let ask = Ask { fields, ..self.order("do=echo", Method::OPTIONS, &[], None, SHORT) };
        let seen = observe(self.point, &ask).await;
        let busy = [429, 502, 503, 504];
        let Some(status) = seen.status().filter(|status| !busy.contains(status)) else {
            return Err(not_the_origin(&seen));
        };
        Ok(PreflightSeen { status, missing: missing_for_browsers(&seen, status) })
    }

    fn version(&self, head: &ResponseHead) -> &'static str {
        match head.version() {
            _ if self.point.is_http2() => "HTTP/2",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        }
    }

    pub(super) fn order<'a>(
        &'a self,
        order: &str,
        method: Method,
        fields: &[(&'a str, &'a str)],
        body: Option<&'a [u8]>,
        limit: Duration,
    ) -> Ask<'a> {
        let order = if order.starts_with("do=") { order.to_owned() } else { format!("do=stream&{order}") };
        Ask { method, query: self.query(&order), fields: self.fields(fields), body, leave: None, limit }
    }

    async fn streamed(&self, mut ask: Ask<'_>) -> Result<Streamed, NotMade> {
        let run = run_id();
        ask.query = format!("{}&run={run}", ask.query);
        let seen = observe(self.point, &ask).await;
        if seen.status() != Some(200) {
            return Err(not_the_origin(&seen));
        }
        match self.account(&run).await {
            Ok(account) => Ok(Streamed { seen, account }),
            // Without any events it may be a page of a hop.
            Err(failure) if arrivals(&seen.body, &seen.reads, Units::Events).is_empty() => {
                Err(without_account(failure, &seen))
            }
            Err(why) => Err(why),
        }
    }
}

/// Why there is no account of a stream: a hop refused the request for the account, or the answer was not the origin's.
fn without_account(failure: NotMade, seen: &Observation) -> NotMade {
    match failure.status {
        Some(status) if status != 200 => failure,
        _ => not_the_origin(seen),
    }
}

/// The part of this answer for which a browser would not send its request (Fetch, 4.8 "CORS-preflight fetch").
fn missing_for_browsers(seen: &Observation, status: u16) -> Option<String> {
    if !(200..300).contains(&status) {
        return Some(format!("the status is {status}"));
    }
    let origin = seen.field("Access-Control-Allow-Origin").unwrap_or_default();
    if origin != "*" && origin != tests::PREFLIGHT[0].1 {
        return Some("Access-Control-Allow-Origin".to_owned());
    }
    let allowed = seen.field("Access-Control-Allow-Headers").unwrap_or_default().to_ascii_lowercase();
    let allowed: Vec<_> = allowed.split(',').map(str::trim).collect();
    let lacks = |name: &str| !allowed.contains(&name) && (name == "authorization" || !allowed.contains(&"*"));
    let missing: Vec<_> = tests::PREFLIGHT[2].1.split(',').filter(|name| lacks(name)).collect();
    (!missing.is_empty()).then(|| format!("{} in Access-Control-Allow-Headers", missing.join(", ")))
}

/// A stream without comments, because proxies add heartbeats. The blank line after a comment between two events goes with it.
fn without_comments(stream: &[u8]) -> Vec<u8> {
    let mut kept: Vec<u8> = Vec::with_capacity(stream.len());
    let mut lines = stream.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        if !line.starts_with(b":") {
            kept.extend_from_slice(line);
        } else if kept.is_empty() || kept.ends_with(b"\n\n") || kept.ends_with(b"\r\n\r\n") {
            lines.next_if(|next| matches!(*next, b"\n" | b"\r\n"));
        }
    }
    kept
}

fn excerpt(bytes: &[u8], offset: usize) -> String {
    let end = bytes.len().min(offset + 24);
    bytes.get(offset..end).unwrap_or_default().escape_ascii().to_string()
}

pub(super) fn run_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
