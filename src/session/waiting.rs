//! The deadlines before the response head: early heartbeats and timeouts.

use std::time::Instant;

use super::policy::Policy;
use crate::outcome::Failure;

/// The timers of an exchange that waits for the response head. All times come from the caller.
#[derive(Debug)]
pub struct Waiting {
    next_heartbeat: Option<Instant>,
    /// When part of the request was last sent upstream, or received for that. `first_event_timeout` counts from here.
    sent: Instant,
    /// The last heartbeat.
    heartbeat: Option<Instant>,
}

impl Waiting {
    /// `started`: when the request head was read.
    pub fn new(policy: &Policy, started: Instant) -> Self {
        Self {
            next_heartbeat: policy.early_heartbeat.map(|wait| started + wait),
            sent: started,
            heartbeat: None,
        }
    }

    /// Notes that part of the request was sent upstream.
    pub fn handle_sent(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Notes that part of the request body arrived while no server is chosen yet.
    pub fn handle_received(&mut self, now: Instant) {
        self.sent = now;
    }

    /// When part of the request was last sent upstream, or received for that.
    pub fn sent(&self) -> Instant {
        self.sent
    }

    /// Notes a heartbeat. The next one is due after the interval of the stream, `heartbeat`.
    pub fn handle_heartbeat(&mut self, policy: &Policy, now: Instant) {
        self.next_heartbeat = policy.heartbeat.or(policy.early_heartbeat).map(|interval| now + interval);
        self.heartbeat = Some(now);
    }

    /// Turns early heartbeats off, because the request may not ask for an event stream.
    pub fn stop_heartbeats(&mut self) {
        self.next_heartbeat = None;
    }

    /// The last heartbeat, if there was one.
    pub fn last_heartbeat(&self) -> Option<Instant> {
        self.heartbeat
    }

    /// When the next heartbeat is due. `None`: never.
    pub fn next_heartbeat(&self) -> Option<Instant> {
        self.next_heartbeat
    }

    /// The deadline for the response, and the failure if it passes.
    ///
    /// `end`: the deadline of the whole exchange. `awaits_client`: the request body is incomplete, so the client causes the
    /// delay.
    pub fn end(
        &self,
        policy: &Policy,
        end: Option<Instant>,
        awaits_client: bool,
    ) -> (Option<Instant>, Failure) {
        let first = policy.first_event_timeout.map(|limit| self.sent + limit);
        match (first, end) {
            (Some(first), Some(end)) if end <= first => (Some(end), Failure::MaxDuration),
            (None, end @ Some(_)) => (end, Failure::MaxDuration),
            (first, _) if awaits_client => (first, Failure::BodyTimeout),
            (first, _) => (first, Failure::FirstEventTimeout),
        }
    }
}
