//! The records of running requests, for the admin listener and the access log.
//!
//! Each request has one [`Record`]. Its relay writes it with plain atomic stores, and any thread may read it,
//! so no event waits for a reader.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::metrics::RouteMetrics;
use crate::outcome::Phase;
use crate::session::dialect::Usage;

/// A time that has not occurred yet, in microseconds.
const NEVER: u64 = u64::MAX;

/// An unknown gRPC status. The 17 defined ones are below.
const NO_STATUS: u8 = u8::MAX;

/// The state of one request, during and after it. Times are in microseconds since its start.
pub struct Record {
    pub route: Arc<str>,
    pub upstream: Arc<str>,
    /// The server chosen last, by its configured name.
    server: Mutex<Option<Arc<str>>>,
    /// The number of servers tried.
    attempts: AtomicU32,
    /// The time in the queue.
    queued: AtomicU64,
    pub request_id: String,
    tally: Tally,
    model: OnceLock<String>,
    /// The dialect of the stream.
    dialect: OnceLock<&'static str>,
    phase: AtomicU8,
    grpc_status: AtomicU8,
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
    /// The counters for the events of a stream.
    counters: OnceLock<EventCounters>,
}

/// The counters of events, which all threads share. Each stream counts locally and [reports](Record::report)
/// from time to time.
struct EventCounters {
    metrics: Arc<RouteMetrics>,
    reported_events: AtomicU64,
    reported_bytes: AtomicU64,
}

impl EventCounters {
    fn report(&self, tally: &Tally) {
        let more = |count: &AtomicU64, reported: &AtomicU64| {
            let count = count.load(Relaxed);
            // A concurrent call may have reported a later count.
            count.saturating_sub(reported.fetch_max(count, Relaxed))
        };
        self.metrics.events.inc_by(more(&tally.events, &self.reported_events));
        self.metrics.event_bytes.inc_by(more(&tally.bytes, &self.reported_bytes));
    }
}

/// The fields that each event writes, in one cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Tally {
    started: Instant,
    first_event: AtomicU64,
    first_token: AtomicU64,
    /// When data was last delivered. For a WebSocket, when either side last sent data.
    last_activity: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    heartbeats: AtomicU64,
}

impl Record {
    /// `names`: of the route and its upstream.
    pub fn new(names: [Arc<str>; 2], request_id: String, started: Instant) -> Self {
        let [route, upstream] = names;
        Self {
            route,
            upstream,
            server: Mutex::default(),
            attempts: AtomicU32::new(0),
            queued: AtomicU64::new(NEVER),
            request_id,
            tally: Tally {
                started,
                first_event: AtomicU64::new(NEVER),
                first_token: AtomicU64::new(NEVER),
                last_activity: AtomicU64::new(NEVER),
                events: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                heartbeats: AtomicU64::new(0),
            },
            model: OnceLock::new(),
            dialect: OnceLock::new(),
            phase: AtomicU8::new(Phase::Connecting as u8),
            grpc_status: AtomicU8::new(NO_STATUS),
            input_tokens: AtomicU64::new(NEVER),
            output_tokens: AtomicU64::new(NEVER),
            counters: OnceLock::new(),
        }
    }

    pub fn started(&self) -> Instant {
        self.tally.started
    }

    /// Records that the request is sent to this server.
    pub fn note_server(&self, server: &Arc<str>) {
        self.attempts.fetch_add(1, Relaxed);
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.clone());
    }

    /// The server chosen last, by its configured name.
    pub fn server(&self) -> Option<Arc<str>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of servers tried.
    pub fn attempts(&self) -> u32 {
        self.attempts.load(Relaxed)
    }

    /// Records the time in the queue.
    pub fn note_queued(&self, waited: Duration) {
        self.queued.store(u64::try_from(waited.as_micros()).unwrap_or(NEVER), Relaxed);
    }

    /// The time in the queue, if the request was queued.
    pub fn queued(&self) -> Option<Duration> {
        known(&self.queued).map(Duration::from_micros)
    }

    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    pub fn phase(&self) -> Phase {
        let phase = usize::from(self.phase.load(Relaxed));
        Phase::ALL.get(phase).copied().unwrap_or(Phase::Connecting)
    }

    /// Records the status of a gRPC call.
    pub fn set_grpc_status(&self, status: u8) {
        self.grpc_status.store(status, Relaxed);
    }

    pub fn grpc_status(&self) -> Option<u8> {
        Some(self.grpc_status.load(Relaxed)).filter(|status| *status != NO_STATUS)
    }

    /// Only the first call has an effect.
    pub fn set_model(&self, model: String) {
        // A second call would set the same value.
        let _ = self.model.set(model);
    }

    /// Only the first call has an effect.
    pub fn set_dialect(&self, dialect: &'static str) {
        // A second call would set the same value.
        let _ = self.dialect.set(dialect);
    }

    pub fn dialect(&self) -> Option<&'static str> {
        self.dialect.get().copied()
    }

    pub fn model(&self) -> Option<&str> {
        self.model.get().map(String::as_str)
    }

    /// Counts delivered events for the route from now on.
    pub fn count_events(&self, metrics: Arc<RouteMetrics>) {
        let counters =
            EventCounters { metrics, reported_events: AtomicU64::new(0), reported_bytes: AtomicU64::new(0) };
        // A second call would set the same value.
        let _ = self.counters.set(counters);
    }

    /// Adds what is not yet reported to the shared counters.
    pub fn report(&self) {
        if let Some(counters) = self.counters.get() {
            counters.report(&self.tally);
        }
    }

    /// Records delivered events and bytes. Both are 0 when a WebSocket client sent data. Returns the time
    /// since the start, in microseconds.
    pub fn add(&self, events: u64, bytes: u64, now: Instant) -> u64 {
        add(&self.tally.bytes, bytes);
        let now = self.at(now);
        self.tally.last_activity.store(now, Relaxed);
        if events > 0 {
            add(&self.tally.events, events);
            if self.tally.first_event.load(Relaxed) == NEVER {
                self.tally.first_event.store(now, Relaxed);
            }
        }
        now
    }

    pub fn note_first_token(&self, now: Instant) {
        self.tally.first_token.store(self.at(now), Relaxed);
    }

    pub fn note_heartbeat(&self) {
        add(&self.tally.heartbeats, 1);
    }

    pub fn set_usage(&self, usage: Usage) {
        self.input_tokens.store(usage.input_tokens.unwrap_or(NEVER), Relaxed);
        self.output_tokens.store(usage.output_tokens.unwrap_or(NEVER), Relaxed);
    }

    pub fn usage(&self) -> Usage {
        Usage { input_tokens: known(&self.input_tokens), output_tokens: known(&self.output_tokens) }
    }

    pub fn events(&self) -> u64 {
        self.tally.events.load(Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.tally.bytes.load(Relaxed)
    }

    pub fn heartbeats(&self) -> u64 {
        self.tally.heartbeats.load(Relaxed)
    }

    /// Time from reading the request head to delivering the first event.
    pub fn time_to_first_event(&self) -> Option<Duration> {
        known(&self.tally.first_event).map(Duration::from_micros)
    }

    /// Time from reading the request head to delivering the first event with content.
    pub fn time_to_first_token(&self) -> Option<Duration> {
        known(&self.tally.first_token).map(Duration::from_micros)
    }

    fn time_to_last_activity(&self) -> Option<Duration> {
        known(&self.tally.last_activity).map(Duration::from_micros)
    }

    /// The time since the last delivery, or since the start of the request if there was none.
    pub fn silence(&self, now: Instant) -> Duration {
        (now - self.tally.started).saturating_sub(self.time_to_last_activity().unwrap_or_default())
    }

    /// The time to the first token, or to now if there is none yet. 0 for exchanges that are not streams.
    pub fn wait(&self, now: Instant) -> Duration {
        let is_no_stream = matches!(self.phase(), Phase::Body | Phase::Tunnel);
        let until_now = if is_no_stream { Duration::ZERO } else { now - self.tally.started };
        self.time_to_first_token().or(self.time_to_first_event()).unwrap_or(until_now)
    }

    fn at(&self, now: Instant) -> u64 {
        u64::try_from((now - self.tally.started).as_micros()).unwrap_or(NEVER)
    }

    /// The entry of the request in `/streams`. Times are in seconds.
    fn json(&self, id: u64, now: Instant) -> Value {
        let age = now - self.tally.started;
        let silence = self.silence(now);
        let events = self.events();
        let rate = self.time_to_first_event().zip(self.time_to_last_activity()).map(|(first, last)| {
            // Event counts are far below 2^53.
            #[allow(clippy::cast_precision_loss)]
            let after_first = events.saturating_sub(1) as f64;
            let streaming = last.saturating_sub(first).as_secs_f64();
            if streaming > 0.0 { after_first / streaming } else { 0.0 }
        });
        json!({
            "id": id,
            "request_id": self.request_id,
            "route": &*self.route,
            "upstream": &*self.upstream,
            "server": self.server().as_deref(),
            "attempts": self.attempts(),
            "model": self.model(),
            "phase": self.phase().as_str(),
            "age": age.as_secs_f64(),
            "ttfe": self.time_to_first_event().map(|d| d.as_secs_f64()),
            "ttft": self.time_to_first_token().map(|d| d.as_secs_f64()),
            "events": events,
            "bytes": self.bytes(),
            "rate": rate,
            "silence": silence.as_secs_f64(),
            "heartbeats": self.heartbeats(),
        })
    }
}

/// Adds to a counter that has one writer, without a locked instruction.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Relaxed) + more, Relaxed);
}

fn known(value: &AtomicU64) -> Option<u64> {
    Some(value.load(Relaxed)).filter(|value| *value != NEVER)
}

/// The requests in progress.
#[derive(Default)]
pub struct LiveStreams(Mutex<Live>);

#[derive(Default)]
struct Live {
    last_id: u64,
    streams: BTreeMap<u64, Arc<Record>>,
}

impl LiveStreams {
    /// Lists a request until the returned value is dropped. Takes a lock, once per request.
    pub fn show(self: &Arc<Self>, record: Arc<Record>) -> LiveEntry {
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.last_id += 1;
        let id = live.last_id;
        live.streams.insert(id, record);
        LiveEntry { live: self.clone(), id }
    }

    /// The number of requests in progress.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).streams.len()
    }

    /// Updates the event counters. Called before a scrape.
    pub fn report(&self) {
        self.records().iter().for_each(|(_, record)| record.report());
    }

    /// Whether a server delivered an event within this time.
    pub fn shows_life(&self, upstream: &str, server: &str, within: Duration) -> bool {
        let now = Instant::now();
        let is_lively = |record: &Record| record.events() > 0 && record.silence(now) < within;
        let records = self.records();
        let mut of_server =
            records.iter().filter(|(_, r)| *r.upstream == *upstream && r.server().as_deref() == Some(server));
        of_server.any(|(_, record)| is_lively(record))
    }

    /// All requests, oldest first.
    pub fn json(&self) -> Vec<Value> {
        let now = Instant::now();
        self.records().iter().map(|(id, record)| record.json(*id, now)).collect()
    }

    /// The `count` requests with the highest values of `by`, highest first.
    pub fn top(&self, count: usize, by: impl Fn(&Record, Instant) -> Duration) -> Vec<Value> {
        let now = Instant::now();
        let mut records = self.records();
        records.sort_by_key(|(_, record)| std::cmp::Reverse(by(record, now)));
        records.iter().take(count).map(|(id, record)| record.json(*id, now)).collect()
    }

    fn records(&self) -> Vec<(u64, Arc<Record>)> {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.streams.iter().map(|(id, record)| (*id, record.clone())).collect()
    }
}

/// Removes a request from the list when dropped.
pub struct LiveEntry {
    live: Arc<LiveStreams>,
    id: u64,
}

impl Drop for LiveEntry {
    fn drop(&mut self) {
        self.live.0.lock().unwrap_or_else(PoisonError::into_inner).streams.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_listed_while_it_runs() {
        let live = Arc::new(LiveStreams::default());
        let started = Instant::now();
        let record = Arc::new(Record::new(["r", "u"].map(Into::into), "i".to_owned(), started));
        let shown = live.show(record.clone());
        record.set_phase(Phase::Streaming);
        record.add(1, 10, started + Duration::from_secs(1));
        record.add(4, 40, started + Duration::from_secs(3));
        let [stream] = &live.json()[..] else { panic!("one stream") };
        for (key, value) in [
            ("phase", json!("streaming")),
            ("events", json!(5)),
            ("bytes", json!(50)),
            ("ttfe", json!(1.0)),
            ("ttft", json!(null)),
            ("rate", json!(2.0)),
        ] {
            assert_eq!(stream[key], value, "{key}");
        }
        drop(shown);
        assert!(live.json().is_empty());
    }
}
