//! Relays a response body from the backend to the client, and records its progress.
//!
//! It does the I/O for a [`Session`], which decides what is written, when to wake up, and how the exchange
//! ends.

use http::StatusCode;
use tokio::time::Instant;

use super::alarms::FAR;
use super::observer::Observer;
use super::{Ended, Exchange, ResponseKind};
use crate::downstream::{Client, ClientLost};
use crate::outcome::Outcome;
use crate::session::Session;

/// A response in progress, without its upstream connection.
pub struct Relay {
    pub client: Box<Client>,
    pub exchange: Box<Exchange>,
    pub session: Session,
    /// Present for event streams.
    pub observer: Option<Observer>,
}

impl Relay {
    /// Writes pending data as far as the client accepts it without blocking. Returns whether everything was
    /// written.
    pub fn try_write(&mut self, now: Instant) -> bool {
        while let Some(bytes) = self.session.poll_write(now.into_std()) {
            if !self.client.try_write(bytes) {
                return false;
            }
            self.note_written(now);
        }
        // The socket may have accepted only a part, and the head may still be held back.
        !self.client.is_behind()
    }

    /// Writes all pending data, and the head if it is still held back.
    pub async fn write(&mut self) -> Result<(), ClientLost> {
        while let Some(bytes) = self.session.poll_write(Instant::now().into_std()) {
            self.client.write(bytes).await?;
            self.note_written(Instant::now());
        }
        self.client.release().await
    }

    pub fn note_written(&mut self, now: Instant) {
        let delivered = self.session.handle_written(now.into_std());
        if delivered.is_first_event {
            self.exchange.judge_trial();
        }
        match (&mut self.observer, self.client.has_left()) {
            (Some(observer), false) => observer.note_delivery(&delivered, now),
            (Some(observer), true) => observer.note_discarded(&delivered),
            (None, false) => {
                self.exchange.record.add(0, delivered.bytes, now);
            }
            (None, true) => {}
        }
    }

    pub fn next_due(&self) -> Instant {
        self.session.poll_timeout().map_or_else(|| Instant::now() + FAR, Instant::from_std)
    }

    /// Records the result and returns the client. `status` is the status of the response.
    pub fn end(mut self, outcome: Outcome, status: StatusCode) -> Box<Client> {
        let outcome = self.client.left().map_or(outcome, |phase| outcome.without_client(phase));
        if let Some(observer) = &mut self.observer {
            observer.note_end(outcome, &self.session, &self.exchange);
        }
        let kind = match self.observer.take() {
            Some(_) => ResponseKind::EventStream,
            None => ResponseKind::Other,
        };
        self.exchange.end(&self.client, Ended { outcome, status: Some(status), kind });
        self.client
    }
}
