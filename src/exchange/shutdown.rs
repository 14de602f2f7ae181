//! The shutdown signals for exchanges.

use tokio::sync::watch;

/// Signals when the process stops accepting requests, and when every open stream must end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stopping: watch::Receiver<bool>,
    ending: watch::Receiver<bool>,
}

impl Shutdown {
    /// `stopping` becomes true when the process stops accepting requests. `ending` becomes true when it no
    /// longer waits for open ones.
    pub fn new(stopping: watch::Receiver<bool>, ending: watch::Receiver<bool>) -> Self {
        Self { stopping, ending }
    }

    /// Ready when the process accepts no more requests.
    pub async fn has_begun(&self) {
        is_true(&self.stopping).await;
    }

    /// Ready when all streams must end.
    pub async fn wait(&self) {
        is_true(&self.ending).await;
    }
}

async fn is_true(flag: &watch::Receiver<bool>) {
    if flag.clone().wait_for(|is_true| *is_true).await.is_err() {
        // The sender is gone, so the signal will never come.
        std::future::pending().await
    }
}
