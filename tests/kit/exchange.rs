//! A connection as the script of a backend sees it.

use std::io;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::backend::Said;
use super::connection::Connection;

/// The channel between a script and the test.
#[derive(Clone)]
pub struct Cues {
    pub(super) say: mpsc::UnboundedSender<Said>,
    pub(super) go_on: Arc<Semaphore>,
}

impl Cues {
    /// Reports to the test.
    pub fn say(&self, what: Said) {
        let _ = self.say.send(what);
    }

    /// Waits until the test calls [`Backend::go_on`](super::Backend::go_on).
    pub async fn wait(&self) {
        self.go_on.acquire().await.expect("a test that lives").forget();
    }
}

/// A connection as a backend sees it.
pub struct Exchange {
    /// For operations without a method here.
    pub connection: Connection,
    pub cues: Cues,
    /// The number of this connection, from 0.
    pub number: usize,
}

impl Exchange {
    /// Waits until the test calls [`Backend::go_on`](super::Backend::go_on).
    pub async fn wait(&self) {
        self.cues.wait().await;
    }

    /// Reads the next request head; `None` means that the connection ended.
    pub async fn request(&mut self) -> Option<String> {
        let head = self.connection.head().await?;
        self.cues.say(Said::Request(head.clone()));
        Some(head)
    }

    /// Reads the next request with its body, and returns its head; `None` means that the connection ended.
    pub async fn whole_request(&mut self) -> Option<String> {
        let head = self.request().await?;
        self.connection.body_of(&head).await.expect("a whole body");
        Some(head)
    }

    /// Reads exactly `length` bytes of a request body.
    pub async fn body(&mut self, length: usize) -> Vec<u8> {
        self.connection.exactly(length).await.expect("a whole body")
    }

    /// Reads up to and including these bytes.
    pub async fn body_until(&mut self, end: &[u8]) -> Vec<u8> {
        self.connection.until(end).await.expect("a whole body")
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // Some tests expect the peer to be gone.
        let _ = self.connection.send(bytes.as_ref()).await;
    }

    /// Sends, and returns an error if the peer is gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.connection.send(bytes.as_ref()).await
    }

    /// Sends back everything until the end of the stream.
    pub async fn echo(&mut self) {
        loop {
            let bytes = self.connection.take();
            self.send(bytes).await;
            if self.connection.read_more().await == 0 {
                return self.cues.say(Said::Closed(Instant::now()));
            }
        }
    }

    /// Closes only the sending side.
    pub async fn half_close(&mut self) {
        // Some tests expect the peer to be gone.
        let _ = self.connection.half_close().await;
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.connection.read_more().await > 0 {}
        self.connection.take()
    }

    /// Waits until the connection ends, and reports it to the test.
    pub async fn closed(&mut self) {
        self.rest().await;
        self.cues.say(Said::Closed(Instant::now()));
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.connection.reset();
    }
}
