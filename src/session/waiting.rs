//! The time before the response header: until when it is waited for, and when heartbeats are due meanwhile.

use std::time::Instant;

use super::policy::Policy;
use crate::outcome::Failure;

/// When the header is waited for, and since when.
#[derive(Debug)]
pub struct Waiting {
    next_heartbeat: Option<Instant>,
    /// When something was last sent upstream, or came that is to be; the first event is waited for from then on.
    sent: Instant,
    /// When a heartbeat was last written.
    heartbeat: Option<Instant>,
}

impl Waiting {
    /// `started`: when the request's head was read.
    pub fn new(policy: &Policy, started: Instant) -> Self {
        Self {
            next_heartbeat: policy.early_heartbeat.map(|wait| started + wait),
            sent: started,
            heartbeat: None,
        }
    }

    /// Something was sent upstream.
    pub fn handle_sent(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Something came from the client that waits for a server to be chosen.
    pub fn handle_received(&mut self, now: Instant) {
        self.sent = now;
    }

    pub fn sent(&self) -> Instant {
        self.sent
    }

    /// A heartbeat was written; the next one follows as in a stream.
    pub fn handle_heartbeat(&mut self, policy: &Policy, now: Instant) {
        self.next_heartbeat = policy.heartbeat.or(policy.early_heartbeat).map(|interval| now + interval);
        self.heartbeat = Some(now);
    }

    /// No heartbeat may be written, because what is asked for is not known to be an event stream.
    pub fn stop_heartbeats(&mut self) {
        self.next_heartbeat = None;
    }

    /// When a heartbeat was last written, if one was.
    pub fn last_heartbeat(&self) -> Option<Instant> {
        self.heartbeat
    }

    /// When the next heartbeat is due; `None`: never.
    pub fn next_heartbeat(&self) -> Option<Instant> {
        self.next_heartbeat
    }

    /// When the first event, or the head of another response, must be there, and what it is if it is not. `end`: when the whole
    /// exchange must be over; `awaits_client`: it is the client that keeps it waiting.
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
